/*
 * Guarded calls: what is as it was when one is over.
 */
#define _GNU_SOURCE
#include <fenv.h>

#include "guarded.h"

static void block_and_write(void *at)
{
  block(SIGUSR2);
  plain_write(at);
}

static sigset_t mask_now(void)
{
  sigset_t mask;

  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  return mask;
}

START_TEST(signal_mask_is_the_codes_and_not_a_handlers)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  char *at = vmm_space_base(space) + AT;
  sigset_t mask;

  block(SIGUSR1);
  ck_assert_int_eq(vmm_guard_call(write_to, at, 0, NULL), 1);
  mask = mask_now();
  check_mask(&mask, 0, 1, 0);
  ck_assert_int_eq(vmm_guard_call(block_and_write, at, 0, NULL), 1);
  mask = mask_now();
  check_mask(&mask, 0, 1, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(signal_mask_is_given_back_where_that_is_asked)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  char *at = vmm_space_base(space) + AT;
  sigset_t mask;

  block(SIGUSR1);
  ck_assert_int_eq(vmm_guard_call(block_and_write, at, VMM_GUARD_MASK, NULL), 1);
  mask = mask_now();
  check_mask(&mask, 0, 1, 0);
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  ck_assert_ok(vmm_guard_call(block_and_write, at, VMM_GUARD_MASK, NULL));
  mask = mask_now();
  check_mask(&mask, 0, 1, 0);
  vmm_test_end(space);
}
END_TEST

static uint32_t sse_control(void)
{
  uint32_t word;

  __asm__ volatile("stmxcsr %0" : "=m"(word));
  return word & 0xffc0;
}

static uint16_t x87_control(void)
{
  uint16_t word;

  __asm__ volatile("fnstcw %0" : "=m"(word));
  return word;
}

/* Other control words, a full x87 stack and a pending exception. */
static void spoil_float(void *at)
{
  fesetround(FE_UPWARD);
  feenableexcept(FE_DIVBYZERO | FE_INVALID);
  __asm__ volatile("fldz; fldz; fldz; fldz; fldz; fldz; fldz; fldz; fldz");
  if (at != NULL)
    plain_write(at);
  __asm__ volatile("fninit; fldcw %0" : : "m"((uint16_t){ 0x0c7f }));
}

START_TEST(float_control_is_restored)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  uint32_t sse = sse_control();
  uint16_t x87 = x87_control();
  volatile long double third = 1;

  ck_assert_int_eq(
      vmm_guard_call(spoil_float, vmm_space_base(space) + AT, 0, NULL), 1);
  ck_assert_uint_eq(sse_control(), sse);
  ck_assert_uint_eq(x87_control(), x87);
  third /= 3; /* on a stack that is empty */
  ck_assert(third > 0.3L && third < 0.4L);
  ck_assert_ok(vmm_guard_call(spoil_float, NULL, 0, NULL));
  ck_assert_uint_eq(sse_control(), sse);
  ck_assert_uint_eq(x87_control(), x87);
  vmm_test_end(space);
}
END_TEST

/* The guarded call as assembly sees it: => 0 if each register that a function
 * must keep has its value afterwards, and strings go up */
static __attribute__((noinline)) int call_keeps_registers(vmm_guard_function *fn,
                                                          void *arg)
{
  uint64_t result, direction;

  __asm__ volatile("subq $256, %%rsp\n\t" /* the red zone */
                   "pushq %%rbp\n\t"
                   "movq %%rsp, %%r15\n\t"
                   "andq $-16, %%rsp\n\t"
                   "movq $0x1111, %%rbx\n\t"
                   "movq $0x2222, %%rbp\n\t"
                   "movq $0x3333, %%r12\n\t"
                   "movq $0x4444, %%r13\n\t"
                   "movq $0x5555, %%r14\n\t"
                   "xorl %%edx, %%edx\n\t"
                   "xorl %%ecx, %%ecx\n\t"
                   "call *%%rax\n\t"
                   "subl $1, %%eax\n\t"
                   "subq $0x1111, %%rbx\n\t"
                   "subq $0x2222, %%rbp\n\t"
                   "subq $0x3333, %%r12\n\t"
                   "subq $0x4444, %%r13\n\t"
                   "subq $0x5555, %%r14\n\t"
                   "orq %%rbx, %%rax\n\t"
                   "orq %%rbp, %%rax\n\t"
                   "orq %%r12, %%rax\n\t"
                   "orq %%r13, %%rax\n\t"
                   "orq %%r14, %%rax\n\t"
                   "movq %%r15, %%rsp\n\t"
                   "popq %%rbp\n\t"
                   "pushfq\n\t"
                   "popq %%rdx\n\t"
                   "addq $256, %%rsp\n\t"
                   : "=a"(result), "=d"(direction), "+D"(fn), "+S"(arg)
                   : "a"(vmm_guard_call)
                   : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                     "r15", "memory", "cc");
  return result != 0 || (direction & 0x400) != 0;
}

/* Leaves nothing as it was, and faults. */
static void spoil_registers(void *at)
{
  __asm__ volatile("movl $-1, %%ebx\n\t"
                   "movl $-1, %%r12d\n\t"
                   "movl $-1, %%r13d\n\t"
                   "movl $-1, %%r14d\n\t"
                   "movl $-1, %%r15d\n\t"
                   "movq %0, %%rax\n\t"
                   "movl $-1, %%ebp\n\t"
                   "movl $16, %%esp\n\t"
                   "std\n\t"
                   "movb $1, (%%rax)\n\t"
                   :
                   : "r"(at)
                   : "rax", "rbx", "r12", "r13", "r14", "r15", "memory");
}

/* rsp is nowhere: the handler needs a stack of its own. */
START_TEST(registers_are_restored)
{
  struct vmm_space *space = space_with(1, VMM_READ);

  ck_assert_ok(vmm_thread_attach());
  ck_assert_int_eq(
      call_keeps_registers(spoil_registers, vmm_space_base(space) + AT), 0);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  vmm_test_end(space);
}
END_TEST

static void write_without_faults(void *at)
{
  vmm_nofault_begin();
  vmm_nofault_begin();
  plain_write(at);
}

START_TEST(disabled_faults_are_enabled_again)
{
  struct vmm_space *space = space_with(1, RW);
  char *at = vmm_space_base(space) + AT;
  struct vmm_fault fault;

  ck_assert_ended(vmm_guard_call(write_without_faults, at, 0, &fault), fault,
                  VMM_FAULT_DISABLED, AT);
  ck_assert_ok(vmm_guard_call(write_to, at, 0, &fault));
  /* the depth that it found, not 0 */
  ck_assert_ok(vmm_discard(space, AT, page));
  vmm_nofault_begin();
  ck_assert_ended(vmm_guard_call(write_without_faults, at, 0, &fault), fault,
                  VMM_FAULT_DISABLED, AT);
  ck_assert_ended(vmm_guard_call(write_to, at, 0, &fault), fault,
                  VMM_FAULT_DISABLED, AT);
  vmm_nofault_end();
  ck_assert_ok(vmm_guard_call(write_to, at, 0, &fault));
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_guard_restore(void)
{
  Suite *suite = suite_create("guard_restore");
  TCase *tcase = tcase_create("guard_restore");

  tcase_add_test(tcase, signal_mask_is_the_codes_and_not_a_handlers);
  tcase_add_test(tcase, signal_mask_is_given_back_where_that_is_asked);
  tcase_add_test(tcase, float_control_is_restored);
  tcase_add_test(tcase, registers_are_restored);
  tcase_add_test(tcase, disabled_faults_are_enabled_again);
  suite_add_tcase(suite, tcase);
  return suite;
}
