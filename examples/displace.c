/*
 * Stepping over a patched instruction: a breakpoint lies over one instruction
 * of generated code, and stays there.  Whoever meets it is counted, and then
 * executes what stood there out of line, from a page of the guest thread that
 * its hart runs.
 *
 * What this costs beside the breakpoint itself is the writing of one
 * instruction: no second trap is taken, and no other thread runs past a
 * breakpoint that was taken out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <vmm/vmm.h>

/* What a JIT would have made on x86-64: f(n), the sum of 1 to n. */
static const uint8_t generated[] = {
  0x31, 0xc0,       /*     xor  %eax,%eax   */
  0x48, 0x01, 0xf8, /* 1:  add  %rdi,%rax   */
  0x48, 0xff, 0xcf, /*     dec  %rdi        */
  0x75, 0xf8,       /*     jne  1b          */
  0xc3,             /*     ret              */
};
enum { AREA = 4096, SPOTS = 2 };

/* Two breakpoints: at the add, and at the branch. */
static struct breakpoint {
  size_t at;
  const char *name;
  uint8_t saved[15]; /* the most that an instruction takes */
  unsigned hits;
} spots[SPOTS] = { { .at = 2, .name = "add" }, { .at = 8, .name = "jne" } };

static enum vmm_verdict at_breakpoint(struct vmm_fault *fault, void *arg)
{
  const uint8_t *code = arg;

  for (int i = 0; i < SPOTS; i++) {
    struct breakpoint *spot = &spots[i];

    if (fault->reason != VMM_FAULT_TRAP || fault->host_pc != code + spot->at)
      continue;
    spot->hits++;
    if (vmm_displace(fault->context, fault->host_pc, spot->saved,
                     sizeof(spot->saved)) == 0)
      return VMM_RESUME;
  }
  return VMM_DECLINE;
}

static int run(uint8_t *code)
{
  uint64_t (*function)(uint64_t) = (uint64_t(*)(uint64_t))(uintptr_t)code;

  printf("f(10) = %" PRIu64 "\n", function(10));
  for (int i = 0; i < SPOTS; i++) {
    memcpy(spots[i].saved, code + spots[i].at, sizeof(spots[i].saved));
    code[spots[i].at] = 0xcc; /* int3 */
  }
  printf("f(10) = %" PRIu64 " with breakpoints\n", function(10));
  printf("f(1000) = %" PRIu64 "\n", function(1000));
  for (int i = 0; i < SPOTS; i++)
    printf("%s was met %u times\n", spots[i].name, spots[i].hits);
  return 0;
}

static int begin(struct vmm_space **space, struct vmm_hart **hart,
                 uint8_t **code)
{
  struct vmm_code_options options = { .handler = at_breakpoint };

  *code = mmap(NULL, AREA, PROT_READ | PROT_WRITE | PROT_EXEC,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (*code == MAP_FAILED)
    return 1;
  memcpy(*code, generated, sizeof(generated));
  options.arg = *code;
  return vmm_space_create(space, NULL) != 0 || /* which brings the signals */
         vmm_hart_create(hart, NULL) != 0 ||
         vmm_code_register(*code, AREA, &options) != 0;
}

int main(void)
{
  struct vmm_space *space = NULL;
  struct vmm_hart *hart = NULL;
  struct utsname host;
  uint8_t *code;
  int failed;

  if (uname(&host) != 0 || strcmp(host.machine, "x86_64") != 0) {
    puts("displace: the instructions here are x86-64's");
    return 0;
  }
  failed = begin(&space, &hart, &code) != 0 || run(code) != 0;
  if (failed)
    fprintf(stderr, "displace: %s\n", vmm_error_text());
  else
    vmm_code_unregister(code);
  return vmm_hart_destroy(hart) != 0 || vmm_space_destroy(space) != 0 || failed;
}
