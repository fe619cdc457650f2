/*
 * Stacks of guarded calls: running on one, its overflow, and the overflow of an
 * attached thread's own.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "guarded.h"

enum { STACK_NBYTES = 64 << 10 };

static char *make_stack(void)
{
  void *stack;

  ck_assert_ok(vmm_stack_create(&stack, STACK_NBYTES));
  return stack;
}

static void free_stack(char *stack)
{
  ck_assert_ok(vmm_stack_destroy(stack, STACK_NBYTES));
}

/* A sanitizer gives each thread an alternate stack: here it has none. */
static void drop_alternate(void)
{
  stack_t none = { .ss_flags = SS_DISABLE };

  ck_assert_int_eq(sigaltstack(&none, NULL), 0);
}

static volatile int never;

static __attribute__((noinline)) int recurse(volatile char *above)
{
  volatile char here[256];

  here[0] = above != NULL ? above[0] : 1;
  return never ? 0 : recurse(here) + here[0];
}

static void overflow(void *unused)
{
  (void)unused;
  recurse(NULL);
}

#define ck_assert_overflows(call, record, low)                                 \
  do {                                                                         \
    ck_assert_int_eq(call, 1);                                                 \
    ck_assert_str_eq(vmm_fault_reason_name((record).reason),                   \
                     "stack overflow");                                        \
    ck_assert_uint_lt((record).va, (uintptr_t)(low));                          \
    ck_assert_uint_ge((record).va, (uintptr_t)(low) - 4096);                   \
    ck_assert_uint_eq((record).access, VMM_WRITE);                             \
    ck_assert_ptr_null((record).space);                                        \
  } while (0)

/* ---- running on one ---- */

static void note_stack(void *at)
{
  *(void *volatile *)at = __builtin_frame_address(0);
}

START_TEST(call_runs_on_the_stack)
{
  struct vmm_space *space = space_with(1, RW);
  char *stack = make_stack(), *seen = NULL;

  ck_assert_ok(
      vmm_guard_call_on(stack, STACK_NBYTES, note_stack, &seen, 0, NULL));
  ck_assert(seen >= stack && seen < stack + STACK_NBYTES);
  free_stack(stack);
  ck_assert_ok(vmm_stack_destroy(NULL, 0));
  vmm_test_end(space);
}
END_TEST

START_TEST(fault_on_the_stack_ends_the_call)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  char *at = vmm_space_base(space) + AT, *stack = make_stack();
  struct vmm_fault fault;

  ck_assert_ended(
      vmm_guard_call_on(stack, STACK_NBYTES, write_to, at, 0, &fault), fault,
      VMM_FAULT_RIGHTS, AT);
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  ck_assert_ok(vmm_guard_call_on(stack, STACK_NBYTES, write_to, at, 0, &fault));
  free_stack(stack);
  vmm_test_end(space);
}
END_TEST

START_TEST(overflow_ends_the_call_each_time)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_stats own = thread_stats();
  char *stack = make_stack();
  struct vmm_fault fault;
  int i;

  drop_alternate();
  for (i = 0; i < 20; i++)
    ck_assert_overflows(
        vmm_guard_call_on(stack, STACK_NBYTES, overflow, NULL, 0, &fault), fault,
        stack);
  ck_assert_uint_eq(thread_stats().unresolved - own.unresolved, 20);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  free_stack(stack);
  vmm_test_end(space);
}
END_TEST

/* ---- nested ---- */

static struct {
  char *stack;
  int ended;
  int after;
  struct vmm_fault fault;
} nest;

static void overflow_inner(void *unused)
{
  nest.ended = vmm_guard_call_on(nest.stack, STACK_NBYTES, overflow, unused, 0,
                                 &nest.fault);
  nest.after = 1;
}

static void guard_overflow(void *unused)
{
  nest.ended = vmm_guard_call(overflow, unused, 0, &nest.fault);
  nest.after = 1;
}

START_TEST(overflow_ends_the_call_whose_stack_it_is)
{
  struct vmm_space *space = space_with(1, RW);
  char *outer = make_stack();
  struct vmm_fault fault;

  nest.stack = make_stack();
  ck_assert_ok(vmm_guard_call_on(outer, STACK_NBYTES, overflow_inner, NULL,
                                 VMM_GUARD_ANY, &fault));
  ck_assert_overflows(nest.ended, nest.fault, nest.stack);
  ck_assert_int_eq(nest.after, 1);
  /* the inner call has no stack of its own, and is left too */
  nest.after = 0;
  ck_assert_overflows(vmm_guard_call_on(outer, STACK_NBYTES, guard_overflow,
                                        NULL, 0, &fault),
                      fault, outer);
  ck_assert_int_eq(nest.after, 0);
  free_stack(outer);
  free_stack(nest.stack);
  vmm_test_end(space);
}
END_TEST

static void call_on_the_same(void *stack)
{
  nest.ended =
      vmm_guard_call_on(stack, STACK_NBYTES, overflow, NULL, 0, &nest.fault);
  nest.after = vmm_stack_destroy(stack, STACK_NBYTES);
}

static void call_on_the_outer(void *unused)
{
  (void)unused;
  call_on_the_same(nest.stack);
}

static void call_on_another(void *other)
{
  ck_assert_ok(
      vmm_guard_call_on(other, STACK_NBYTES, call_on_the_outer, NULL, 0, NULL));
}

START_TEST(stack_that_is_in_use_is_refused)
{
  struct vmm_space *space = space_with(1, RW);
  char *other = make_stack();

  nest.stack = make_stack();
  ck_assert_ok(vmm_guard_call_on(nest.stack, STACK_NBYTES, call_on_the_same,
                                 nest.stack, 0, NULL));
  ck_assert_error(nest.ended, EINVAL);
  ck_assert_error(nest.after, EINVAL);
  nest.ended = nest.after = 0;
  ck_assert_ok(vmm_guard_call_on(nest.stack, STACK_NBYTES, call_on_another,
                                 other, 0, NULL));
  ck_assert_error(nest.ended, EINVAL);
  ck_assert_error(nest.after, EINVAL);
  free_stack(other);
  free_stack(nest.stack);
  vmm_test_end(space);
}
END_TEST

static enum vmm_verdict call_in_handler(struct vmm_fault *fault, void *arg)
{
  (void)arg;
  nest.ended = vmm_guard_call_on(nest.stack, STACK_NBYTES, overflow, NULL, 0,
                                 &nest.fault);
  vmm_protect(fault->space, AT, page, RW);
  return VMM_RETRY;
}

/* A fault on another stack would be told on the alternate one, from its top. */
START_TEST(call_on_a_stack_is_refused_on_the_alternate_one)
{
  struct vmm_space *space = space_with(1, VMM_READ);

  drop_alternate();
  ck_assert_ok(vmm_thread_attach());
  nest.stack = make_stack();
  ck_assert_ok(vmm_space_set_handler(space, call_in_handler, NULL));
  plain_write(vmm_space_base(space) + AT);
  ck_assert_error(nest.ended, EBUSY);
  free_stack(nest.stack);
  vmm_test_end(space);
}
END_TEST

/* ---- a stack in a window ---- */

enum { NPAGES = 32 };

static struct vmm_space *guest;
static volatile int stack_is_used, stack_is_clean;

/* No call of the library may clean the stack that it runs on: another
 * thread's. */
static void *clean_stack(void *unused)
{
  while (!stack_is_used)
    sched_yield();
  ck_assert_ok(vmm_pages(guest, AT, NPAGES * page, VMM_PTE_MODIFIED, NULL));
  stack_is_clean = 1;
  return unused;
}

/* This function writes its pages of the stack again, but not those of who
 * called, four pages above. */
static void write_on_clean_stack(void *at)
{
  volatile char here[4 * 4096];

  here[0] = 1;
  stack_is_used = 1;
  while (!stack_is_clean)
    ;
  plain_write(at);
  (void)here[1];
}

static void guard_in_window(void *unused)
{
  (void)unused;
  nest.ended = vmm_guard_call(write_on_clean_stack,
                              vmm_space_base(guest) + 4096, 0, &nest.fault);
}

/* Runs the function on the stack that ends at top. */
static __attribute__((noinline)) void switch_stack(vmm_guard_function *fn,
                                                   char *top)
{
  __asm__ volatile("movq %%rsp, %%rbx\n\t"
                   "movq %1, %%rsp\n\t"
                   "call *%0\n\t"
                   "movq %%rbx, %%rsp"
                   : "+r"(fn), "+r"(top)
                   :
                   : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10",
                     "r11", "memory", "cc");
}

/* What a fault writes into the frame of the call faults itself, and is
 * repaired.  (Not with AddressSanitizer, which knows nothing of such a
 * stack.) */
START_TEST(frame_of_the_call_may_lie_in_a_window)
{
  pthread_t thread;

  guest = space_with(NPAGES, RW);
  drop_alternate();
  ck_assert_ok(vmm_thread_attach());
#ifndef __SANITIZE_ADDRESS__
  ck_assert_int_eq(pthread_create(&thread, NULL, clean_stack, NULL), 0);
  switch_stack(guard_in_window, vmm_space_base(guest) + AT + NPAGES * page);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_int_eq(nest.ended, 1);
  ck_assert_uint_eq(nest.fault.va, 4096);
  ck_assert_uint_eq(nest.fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(vmm_test_stats(guest).unresolved, 1);
#else
  (void)switch_stack;
  (void)guard_in_window;
  (void)clean_stack;
  (void)thread;
#endif
  vmm_test_end(guest);
}
END_TEST

/* ---- errors ---- */

static int call_on(void *stack, size_t nbytes)
{
  return vmm_guard_call_on(stack, nbytes, note_stack, &nest.stack, 0, NULL);
}

START_TEST(wrong_stacks_are_refused)
{
  struct vmm_space *space = space_with(64, RW);
  char *stack = make_stack(), *base = vmm_space_base(space);
  void *none;

  ck_assert_error(vmm_guard_call_on(stack, STACK_NBYTES, NULL, NULL, 0, NULL),
                  EINVAL);
  ck_assert_error(
      vmm_guard_call_on(stack, STACK_NBYTES, note_stack, NULL, 4, NULL), EINVAL);
  ck_assert_error(call_on(NULL, STACK_NBYTES), EINVAL);
  ck_assert_error(call_on(stack, 0), EINVAL);
  ck_assert_error(call_on(stack, page), EINVAL);
  ck_assert_error(call_on(stack, STACK_NBYTES - 16), EINVAL);
  ck_assert_error(call_on(stack + 16, STACK_NBYTES - page), EINVAL);
  ck_assert_error(call_on(stack, -page), EINVAL);
  ck_assert_error(call_on(base + AT, 16 * page), EINVAL);
  ck_assert_error(call_on(base - 16 * page, 32 * page), EINVAL);
  ck_assert_error(vmm_stack_create(NULL, STACK_NBYTES), EINVAL);
  ck_assert_error(vmm_stack_create(&none, 0), EINVAL);
  ck_assert_error(vmm_stack_create(&none, page), EINVAL);
  ck_assert_error(vmm_stack_create(&none, STACK_NBYTES + 1), EINVAL);
  ck_assert_error(vmm_stack_create(&none, -page), EINVAL);
  ck_assert_error(vmm_stack_create(&none, (size_t)1 << 60), ENOMEM);
  ck_assert_error(vmm_stack_destroy(stack + 1, STACK_NBYTES), EINVAL);
  ck_assert_error(vmm_thread_detach(), ENOENT); /* and nobody was attached */
  free_stack(stack);
  vmm_test_end(space);
}
END_TEST

/* ---- the thread's own stack ---- */

static void *overflow_own(void *record)
{
  struct vmm_fault *fault = record;
  pthread_attr_t attr;
  size_t nbytes;
  void *low;

  drop_alternate();
  ck_assert_ok(vmm_thread_attach());
  ck_assert_int_eq(pthread_getattr_np(pthread_self(), &attr), 0);
  ck_assert_int_eq(pthread_attr_getstack(&attr, &low, &nbytes), 0);
  pthread_attr_destroy(&attr);
  ck_assert_overflows(vmm_guard_call(overflow, NULL, VMM_GUARD_ANY, fault),
                      *fault, low);
  ck_assert_overflows(vmm_guard_call(overflow, NULL, VMM_GUARD_ANY, fault),
                      *fault, low);
  return NULL;
}

static void run_thread(void *(*function)(void *), void *arg)
{
  pthread_attr_t attr;
  pthread_t thread;

  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 256 << 10);
  ck_assert_int_eq(pthread_create(&thread, &attr, function, arg), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  pthread_attr_destroy(&attr);
}

START_TEST(overflow_of_an_attached_thread_is_told)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_fault fault;

  run_thread(overflow_own, &fault);
  vmm_test_end(space);
}
END_TEST

START_TEST(overflow_of_the_first_thread_is_told)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_fault fault;

  overflow_own(&fault);
  vmm_test_end(space);
}
END_TEST

/* A handler before ours has vmm_fault_last() to know it by. */
static void end_by_reason(int signal)
{
  struct vmm_fault fault;

  (void)signal;
  _exit(vmm_fault_last(&fault) == 0 && fault.reason == VMM_FAULT_STACK ? 42 : 1);
}

static void *overflow_unguarded(void *unused)
{
  if (vmm_thread_attach() == 0)
    overflow(unused);
  return NULL;
}

static void overflow_before_a_handler(void)
{
  struct sigaction action = { .sa_handler = end_by_reason };

  sigaction(SIGSEGV, &action, NULL);
  space_with(1, RW);
  drop_alternate();
  run_thread(overflow_unguarded, NULL);
}

START_TEST(handler_before_ours_can_tell_an_overflow)
{
  ck_assert_exits(overflow_before_a_handler, 42);
}
END_TEST

Suite *vmm_suite_guard_stack(void)
{
  Suite *suite = suite_create("guard_stack");
  TCase *tcase = tcase_create("guard_stack");

  tcase_add_test(tcase, call_runs_on_the_stack);
  tcase_add_test(tcase, fault_on_the_stack_ends_the_call);
  tcase_add_test(tcase, overflow_ends_the_call_each_time);
  tcase_add_test(tcase, overflow_ends_the_call_whose_stack_it_is);
  tcase_add_test(tcase, stack_that_is_in_use_is_refused);
  tcase_add_test(tcase, call_on_a_stack_is_refused_on_the_alternate_one);
  tcase_add_test(tcase, frame_of_the_call_may_lie_in_a_window);
  tcase_add_test(tcase, wrong_stacks_are_refused);
  tcase_add_test(tcase, overflow_of_an_attached_thread_is_told);
  tcase_add_test(tcase, overflow_of_the_first_thread_is_told);
  tcase_add_test(tcase, handler_before_ours_can_tell_an_overflow);
  suite_add_tcase(suite, tcase);
  return suite;
}
