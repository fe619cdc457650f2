/*
 * The host's CPU (lib/arch.h): lengths of instructions against objdump's over
 * libc and this program, what a signal's context says, accesses that may fault.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "../lib/arch.h"
#include "vmm_test.h"

/* ---- lengths ---- */

/* Reads the bytes of a line of objdump's, "  401000:\t48 89 e5 \tmov ...".
 * => their number; 0 if it shows no instruction */
static size_t read_line(const char *line, uint8_t *code)
{
  const char *at = strstr(line, ":\t"), *name;
  size_t n = 0;

  if (at == NULL || line[0] != ' ' || strstr(line, "(bad)") != NULL)
    return 0;
  name = strchr(at + 2, '\t');
  if (name == NULL || strncmp(name + 1, "rex", 3) == 0) /* a prefix for nobody */
    return 0;
  for (at += 2; at < name && n < VMMI_ARCH_INSN_MAX; n++) {
    char *end;

    code[n] = (uint8_t)strtoul(at, &end, 16);
    if (end == at || end > name)
      break;
    at = end;
  }
  return n;
}

/* Compares every instruction of the file.  => their number */
static unsigned compare_with_objdump(const char *path)
{
  char command[4096], line[512];
  unsigned count = 0;
  FILE *pipe;

  snprintf(command, sizeof(command), "LC_ALL=C objdump -d --insn-width=15 '%s'",
           path);
  pipe = popen(command, "r");
  ck_assert_ptr_nonnull(pipe);
  while (fgets(line, sizeof(line), pipe) != NULL) {
    uint8_t code[VMMI_ARCH_INSN_MAX + 1] = { 0 };
    size_t n = read_line(line, code);

    if (n == 0)
      continue;
    count++;
    ck_assert_msg(vmmi_arch_insn_length(code, VMMI_ARCH_INSN_MAX) == n, "%s",
                  line);
    /* and not a byte less is enough */
    ck_assert_msg(vmmi_arch_insn_length(code, n) == n, "%s", line);
    ck_assert_msg(vmmi_arch_insn_length(code, n - 1) == 0, "%s", line);
  }
  ck_assert_int_eq(pclose(pipe), 0);
  return count;
}

START_TEST(lengths_of_libc_and_this_program_are_those_of_objdump)
{
  Dl_info libc;
  void *in_libc = dlsym(RTLD_DEFAULT, "qsort");

  if (system("objdump --version >/dev/null 2>&1") != 0) {
    ck_assert_ptr_null(getenv("CI")); /* there it may not be missing */
    return;
  }
  ck_assert_int_ne(dladdr(in_libc, &libc), 0);
  ck_assert_uint_gt(compare_with_objdump(libc.dli_fname), 100000);
  ck_assert_uint_gt(compare_with_objdump("/proc/self/exe"), 1000);
}
END_TEST

/* What compilers seldom write. */
static const struct {
  uint8_t length;
  char code[12];
} rare[] = {
  { 9, "\xa0\1\2\3\4\5\6\7\x8" },              /* movabs al */
  { 6, "\x67\xa1\1\2\3\4" },                   /* mov eax, with 67 */
  { 10, "\x48\xb8\1\2\3\4\5\6\7\x8" },         /* movabs rax */
  { 5, "\xb8\1\2\3\4" },
  { 4, "\x66\xb8\1\2" },
  { 11, "\x66\x48\xb8\1\2\3\4\5\6\7\x8" },     /* REX.W over 66 */
  { 5, "\x48\x66\xb8\1\2" },                   /* a REX that does not count */
  { 4, "\xc8\1\2\3" },                         /* enter */
  { 3, "\xc2\1\2" },                           /* ret imm16 */
  { 3, "\x0f\x20\x04" },                       /* mov cr: always registers */
  { 10, "\xf7\x05\1\2\3\4\5\6\7\x8" },         /* test m, imm32 */
  { 3, "\xf6\xc0\1" },                         /* test al, imm8 */
  { 2, "\xf6\xd0" },                           /* not al */
  { 5, "\x66\xf7\xc0\1\2" },                   /* test ax, imm16 */
  { 2, "\xf7\xd8" },                           /* neg eax */
  { 7, "\x8b\x04\x25\1\2\3\4" },               /* SIB without base */
  { 4, "\x8b\x44\x24\1" },                     /* SIB, disp8 */
  { 3, "\x8b\x04\x24" },                       /* SIB, base rsp */
  { 4, "\x41\x8b\x04\x24" },                   /* SIB, base r12 */
  { 5, "\x41\x8b\x44\x25\1" },                 /* SIB, base r13 */
  { 8, "\x42\x8b\x04\x25\1\2\3\4" },
  { 6, "\x8b\x05\1\2\3\4" },                   /* rip-relative */
  { 7, "\x8b\x84\x24\1\2\3\4" },               /* SIB, disp32 */
  { 6, "\x66\x0f\x78\xc0\1\2" },               /* extrq, two imm8 */
  { 3, "\x0f\x78\xc0" },                       /* vmread */
  { 4, "\x0f\x0f\xc1\x9e" },                   /* 3DNow! */
  { 4, "\x0f\xc6\xc1\1" },                     /* shufps */
  { 4, "\x0f\x38\x00\xc1" },                   /* pshufb */
  { 6, "\x66\x0f\x3a\x0f\xc1\1" },             /* palignr */
  { 3, "\xc5\xf8\x77" },                       /* vzeroupper */
  { 5, "\xc5\xf9\x70\xc1\1" },                 /* vpshufd */
  { 5, "\xc4\xe2\x79\x00\xc1" },               /* vpshufb */
  { 6, "\xc4\xe3\x79\x0f\xc1\1" },             /* vpalignr */
  { 6, "\x62\xf1\x7c\x48\x28\xc1" },           /* vmovaps zmm */
  { 7, "\x62\xf1\x7c\x48\x28\x40\1" },         /* with disp8*64 */
  { 7, "\x62\xf3\x75\x48\x25\xc2\1" },         /* vpternlogd, imm8 */
  { 6, "\x62\xf5\x7c\x48\x58\xc1" },           /* vaddph, map 5 */
  { 6, "\x8f\xe8\x78\xc0\xc1\1" },             /* XOP, imm8 */
  { 5, "\x8f\xe9\x78\x80\xc1" },               /* XOP */
  { 9, "\x8f\xea\x78\x10\xc1\1\2\3\4" },       /* XOP, imm32 */
  { 2, "\x8f\xc0" },                           /* pop rax, as ModRM */
  { 3, "\xc6\xf8\1" },                         /* xabort */
  { 6, "\xc7\xf8\1\2\3\4" },                   /* xbegin */
  { 6, "\x0f\x84\1\2\3\4" },
  { 4, "\xf3\x0f\x1e\xfa" },                   /* endbr64 */
  { 5, "\xf0\x0f\xb1\x4d\1" },                 /* lock cmpxchg */
  { 1, "\xf4" },
  { 0, "\x06" },                               /* no push es here */
  { 0, "\x9a\1\2\3\4\5\6" },                   /* no far call */
  { 0, "\x66\xc5\xf8\x77" },                   /* a prefix before VEX */
  { 0, "\x48\x62\xf1\x7c\x48\x28\xc1" },       /* REX before EVEX */
  { 0, "\xf0\xc4\xe2\x79\x00\xc1" },           /* lock before VEX */
};

START_TEST(lengths_of_rare_instructions_are_right)
{
  for (size_t i = 0; i < sizeof(rare) / sizeof(rare[0]); i++) {
    uint8_t code[VMMI_ARCH_INSN_MAX] = { 0 };
    size_t length;

    memcpy(code, rare[i].code, sizeof(rare[i].code));
    length = vmmi_arch_insn_length(code, sizeof(code));
    ck_assert_msg(length == rare[i].length, "%zu: %zu, not %u", i, length,
                  rare[i].length);
  }
}
END_TEST

/* A page of the host's with nothing accessible after it. */
static uint8_t *page_with_end(size_t *nbytes)
{
  uint8_t *at;

  *nbytes = (size_t)sysconf(_SC_PAGESIZE);
  at = mmap(NULL, 2 * *nbytes, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(at, MAP_FAILED);
  ck_assert_int_eq(mprotect(at + *nbytes, *nbytes, PROT_NONE), 0);
  return at;
}

START_TEST(random_bytes_are_never_read_beyond_their_end)
{
  size_t nbytes, n;
  uint8_t *page = page_with_end(&nbytes), *end = page + nbytes;
  uint64_t random = 88172645463325252u;

  for (int round = 0; round < 1000000; round++) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    n = random % (VMMI_ARCH_INSN_MAX + 1);
    end[-1 - (ptrdiff_t)(random >> 8 & 15)] = (uint8_t)(random >> 16);
    ck_assert_uint_le(vmmi_arch_insn_length(end - n, n), n);
  }
}
END_TEST

START_TEST(prefixes_alone_are_no_instruction)
{
  uint8_t code[VMMI_ARCH_INSN_MAX + 1];

  memset(code, 0x66, sizeof(code));
  ck_assert_uint_eq(vmmi_arch_insn_length(code, sizeof(code)), 0);
  code[VMMI_ARCH_INSN_MAX - 1] = 0x90;
  ck_assert_uint_eq(vmmi_arch_insn_length(code, sizeof(code)),
                    VMMI_ARCH_INSN_MAX);
  code[VMMI_ARCH_INSN_MAX - 1] = 0x66; /* 16 bytes with the nop */
  code[VMMI_ARCH_INSN_MAX] = 0x90;
  ck_assert_uint_eq(vmmi_arch_insn_length(code, sizeof(code)), 0);
  ck_assert_uint_eq(vmmi_arch_insn_length(code, 0), 0);
}
END_TEST

/* ---- contexts ---- */

static struct {
  unsigned access;
  uintptr_t pc, sp;
  uint64_t registers[16];
  int got, beyond, set_beyond; /* what the calls returned */
  sigset_t mask;
} seen;
static uint8_t *area;
static size_t area_nbytes;

static void look(int signal, siginfo_t *info, void *context)
{
  uint64_t none;

  (void)signal;
  (void)info;
  seen.access = vmmi_arch_access(context);
  seen.pc = vmmi_arch_pc(context);
  seen.sp = vmmi_arch_sp(context);
  for (unsigned n = 0; n < 16; n++)
    seen.got |= vmmi_arch_get_register(context, n, &seen.registers[n]);
  seen.beyond = vmmi_arch_get_register(context, 16, &none);
  seen.set_beyond = vmmi_arch_set_register(context, 16, 0);
  vmmi_arch_mask(context, &seen.mask);
  if (seen.access == VMM_EXEC) { /* as if the call had returned */
    uintptr_t *sp = (uintptr_t *)seen.sp;

    vmmi_arch_set_pc(context, *sp);
    vmmi_arch_set_register(context, 7, (uintptr_t)(sp + 1));
    return;
  }
  mprotect(area, area_nbytes, PROT_READ | PROT_WRITE);
}

/* The access faults, and is of this kind. */
#define ck_assert_access(statement, kind)                                      \
  do {                                                                         \
    seen.access = 0;                                                           \
    statement;                                                                 \
    __asm__ volatile("" : : : "memory");                                       \
    ck_assert_uint_eq(seen.access, (kind));                                    \
  } while (0)

static void catch_faults(void)
{
  struct sigaction action = { .sa_sigaction = look, .sa_flags = SA_SIGINFO };
  sigset_t set;

  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  area_nbytes = (size_t)sysconf(_SC_PAGESIZE);
  area = mmap(NULL, area_nbytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(area, MAP_FAILED);
}

START_TEST(context_tells_the_kind_of_access)
{
  catch_faults();
  ck_assert_access((void)*(volatile uint8_t *)area, VMM_READ);
  ck_assert_int_eq(mprotect(area, area_nbytes, PROT_READ), 0);
  ck_assert_access(*(volatile uint8_t *)area = 1, VMM_WRITE);
  ck_assert_int_eq(mprotect(area, area_nbytes, PROT_READ), 0);
  /* it reads as well */
  ck_assert_access(__atomic_fetch_add(area, 1, __ATOMIC_RELAXED), VMM_WRITE);
  ck_assert_uint_eq(area[0], 2);
  ck_assert_access(((void (*)(void))(void *)area)(), VMM_EXEC);
  ck_assert_uint_eq(seen.pc, (uintptr_t)area);
}
END_TEST

START_TEST(context_tells_the_interrupted_mask)
{
  catch_faults();
  ck_assert_access(*(volatile uint8_t *)area = 1, VMM_WRITE);
  ck_assert_int_eq(sigismember(&seen.mask, SIGUSR1), 1);
  ck_assert_int_eq(sigismember(&seen.mask, SIGUSR2), 0);
  ck_assert_int_eq(sigismember(&seen.mask, SIGSEGV), 0);
}
END_TEST

START_TEST(registers_have_their_dwarf_numbers)
{
  uintptr_t sp;

  catch_faults();
  __asm__ volatile("mov $0xa0, %%rax\n\tmov $0xa1, %%rdx\n\t"
                   "mov $0xa2, %%rcx\n\tmov $0xa3, %%rbx\n\t"
                   "mov $0xa5, %%rdi\n\tmov $0xa8, %%r8\n\t"
                   "mov $0xa9, %%r9\n\tmov $0xaa, %%r10\n\t"
                   "mov $0xab, %%r11\n\tmov $0xac, %%r12\n\t"
                   "mov $0xad, %%r13\n\tmov $0xae, %%r14\n\t"
                   "mov $0xaf, %%r15\n\tmov %%rsp, %0\n"
                   "movb $1, (%%rsi)\n\t"
                   : "=m"(sp)
                   : "S"(area)
                   : "rax", "rdx", "rcx", "rbx", "rdi", "r8", "r9", "r10",
                     "r11", "r12", "r13", "r14", "r15", "memory");
  ck_assert_int_eq(seen.got, 0);
  ck_assert_int_eq(seen.beyond, -EINVAL);
  ck_assert_int_eq(seen.set_beyond, -EINVAL);
  for (unsigned n = 0; n < 16; n++)
    if (n != 4 && n != 6 && n != 7)
      ck_assert_uint_eq(seen.registers[n], 0xa0 + n);
  ck_assert_uint_eq(seen.registers[4], (uintptr_t)area);
  ck_assert_uint_eq(seen.registers[7], sp);
  ck_assert_uint_eq(seen.sp, sp);
}
END_TEST

/* ---- accesses ---- */

START_TEST(accesses_that_fault_give_efault)
{
  struct vmm_space *space = vmm_test_space(1 << 22, 0); /* for the handlers */
  size_t nbytes;
  uint8_t *page = page_with_end(&nbytes), *end = page + nbytes;
  uint64_t a = 0, b = 0x1122334455667788;

  for (size_t n = 1; n <= 8; n *= 2) {
    ck_assert_int_eq(vmmi_arch_store(page, &b, n), 0);
    a = 0;
    ck_assert_int_eq(vmmi_arch_load(page, &a, n), 0);
    ck_assert_uint_eq(a, n == 8 ? b : b & ((1ull << n * 8) - 1));
    ck_assert_int_eq(vmmi_arch_load(end, &a, n), -EFAULT);
    ck_assert_int_eq(vmmi_arch_store(end, &a, n), -EFAULT);
    ck_assert_int_eq(vmmi_arch_cas(end, &a, &b, n), -EFAULT);
    ck_assert_int_eq(vmmi_arch_cas(page, &a, &(uint64_t){ 5 }, n), 0);
    ck_assert_int_eq(vmmi_arch_cas(page, &a, &b, n), 1);
    memset(page, 0, 8);
  }
  ck_assert_int_eq(vmmi_arch_load(page, &a, 3), -EINVAL);
  ck_assert_int_eq(vmmi_arch_store(page, &a, 0), -EINVAL);
  ck_assert_int_eq(vmmi_arch_cas(page, &a, &b, 16), -EINVAL);
  ck_assert_int_eq(vmmi_arch_copy(end - 4, &b, 8), -EFAULT);
  ck_assert_int_eq(vmmi_arch_copy(&a, end - 8, 8), 0);
  ck_assert_int_eq(vmmi_arch_fill(end - 4, 1, 5), -EFAULT);
  ck_assert_int_eq(vmmi_arch_fill(end - 4, 1, 4), 0);
  ck_assert_int_eq(vmmi_arch_probe(end - 1, 0), 0);
  ck_assert_int_eq(vmmi_arch_probe(end - 1, 1), 0);
  ck_assert_uint_eq(end[-1], 1);
  ck_assert_int_eq(mprotect(page, nbytes, PROT_READ), 0);
  ck_assert_int_eq(vmmi_arch_probe(end - 1, 0), 0);
  ck_assert_int_eq(vmmi_arch_probe(end - 1, 1), -EFAULT);
  ck_assert_int_eq(vmmi_arch_probe(end, 0), -EFAULT);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_arch(void)
{
  Suite *suite = suite_create("arch");
  TCase *tcase = tcase_create("lengths");

  tcase_add_test(tcase, lengths_of_libc_and_this_program_are_those_of_objdump);
  tcase_add_test(tcase, lengths_of_rare_instructions_are_right);
  tcase_add_test(tcase, random_bytes_are_never_read_beyond_their_end);
  tcase_add_test(tcase, prefixes_alone_are_no_instruction);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("contexts");
  tcase_add_test(tcase, context_tells_the_kind_of_access);
  tcase_add_test(tcase, context_tells_the_interrupted_mask);
  tcase_add_test(tcase, registers_have_their_dwarf_numbers);
  tcase_add_test(tcase, accesses_that_fault_give_efault);
  suite_add_tcase(suite, tcase);
  return suite;
}
