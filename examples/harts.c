/*
 * Harts: one thread runs many guest processes in turns, each in a space of its
 * own.  Its hart keeps a window for each of the last few, so that going back to
 * one of them costs no system call and no new faults.
 */
#include <stdio.h>
#include <vmm/vmm.h>

#define PROCESSES 6
#define ROUNDS 10
#define COUNTER 0x10000

static int report(const char *what)
{
  fprintf(stderr, "harts: %s: %s\n", what, vmm_error_text());
  return 1;
}

/* What a process does when its turn comes: base is where its memory is, for
 * now. */
static unsigned run(char *base)
{
  volatile unsigned *counter = (volatile unsigned *)(base + COUNTER);

  return ++*counter;
}

int main(void)
{
  struct vmm_hart_options options = { 0 };
  struct vmm_hart_stats stats = { 0 };
  struct vmm_space *process[PROCESSES];
  struct vmm_hart *hart;
  unsigned i, turns = 0;
  char *base;

  options.flags = VMM_HART_WINDOWS | VMM_HART_INVALID;
  options.tag_bits = 3; /* 8 windows: more than processes */
  if (vmm_hart_create(&hart, &options) != 0)
    return report("vmm_hart_create");
  for (i = 0; i < PROCESSES; i++)
    if (vmm_space_create(&process[i], NULL) != 0 ||
        vmm_map_anon(process[i], COUNTER, 0x1000, VMM_READ | VMM_WRITE) != 0)
      return report("vmm_space_create");

  for (i = 0; i < PROCESSES * ROUNDS; i++) {
    if (vmm_hart_set_space(hart, process[i % PROCESSES], &base) != 0)
      return report("vmm_hart_set_space");
    turns = run(base);
  }
  stats.struct_size = sizeof(stats);
  vmm_hart_stats(hart, &stats);
  printf("%u processes had %u turns each\n", PROCESSES, turns);
  printf("%llu switches, %llu of them to a live tag, %llu flushes\n",
         (unsigned long long)stats.switches, (unsigned long long)stats.live,
         (unsigned long long)stats.flushes);

  /* a space that a hart runs is not destroyed under it */
  if (vmm_space_destroy(process[PROCESSES - 1]) != 0)
    printf("destroy: %s\n", vmm_error_text());
  vmm_hart_set_space(hart, NULL, NULL);
  for (i = 0; i < PROCESSES; i++)
    vmm_space_destroy(process[i]);
  return vmm_hart_destroy(hart) != 0;
}
