/*
 * Threads and signals: attached ones and their alternate stacks (S1.10),
 * handlers of the program that touch a window at any moment (S2.16).
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "faults.h"

static stack_t alternate_stack(void)
{
  stack_t stack;

  ck_assert_int_eq(sigaltstack(NULL, &stack), 0);
  return stack;
}

/* => whether the byte can be read */
static int is_readable(const char *at)
{
  uint8_t byte;

  vmm_try_load_u8(byte, at, fault);
  (void)byte;
  return 1;
fault:
  return 0;
}

/* A sanitizer gives each thread an alternate stack: here it has none. */
static void drop_stack(void)
{
  stack_t none = { .ss_flags = SS_DISABLE };

  ck_assert_int_eq(sigaltstack(&none, NULL), 0);
}

static void run_thread(void *(*function)(void *), void *arg)
{
  pthread_t thread;

  ck_assert_int_eq(pthread_create(&thread, NULL, function, arg), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* ---- attaching ---- */

START_TEST(making_a_space_attaches_nobody)
{
  struct vmm_space *space;

  drop_stack();
  space = space_with(1, RW);
  ck_assert_int_eq(alternate_stack().ss_flags, SS_DISABLE);
  ck_assert_error(vmm_thread_detach(), ENOENT);
  vmm_test_end(space);
}
END_TEST

START_TEST(attached_thread_has_a_stack_with_a_guard)
{
  struct vmm_space *space = space_with(1, RW);
  stack_t stack;
  char *low;

  drop_stack();
  ck_assert_ok(vmm_thread_attach());
  ck_assert_ok(vmm_thread_attach()); /* nothing to do */
  stack = alternate_stack();
  low = stack.ss_sp;
  ck_assert_int_eq(stack.ss_flags, 0);
  ck_assert_uint_ge(stack.ss_size, 64 << 10);
  ck_assert_int_eq(is_readable(low), 1);
  ck_assert_int_eq(is_readable(low + stack.ss_size - 1), 1);
  ck_assert_int_eq(is_readable(low - 1), 0);
  ck_assert_int_eq(is_readable(low - page), 0);
  vmm_test_set(space, AT, 1);
  ck_assert_ok(vmm_thread_detach());
  ck_assert_error(vmm_thread_detach(), ENOENT);
  ck_assert_int_eq(alternate_stack().ss_flags, SS_DISABLE);
  ck_assert_int_eq(is_readable(low), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(thread_with_a_stack_of_its_own_keeps_it)
{
  static char own[64 << 10];
  stack_t mine = { .ss_sp = own, .ss_size = sizeof(own) };
  struct vmm_space *space = space_with(1, RW);

  ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
  ck_assert_ok(vmm_thread_attach());
  ck_assert_ptr_eq(alternate_stack().ss_sp, own);
  vmm_test_set(space, AT, 1);
  ck_assert_ok(vmm_thread_detach());
  ck_assert_ptr_eq(alternate_stack().ss_sp, own);
  vmm_test_end(space);
}
END_TEST

/* The program takes another stack meanwhile: that one stays. */
START_TEST(detaching_leaves_a_stack_that_is_not_ours)
{
  static char own[64 << 10];
  stack_t mine = { .ss_sp = own, .ss_size = sizeof(own) };

  drop_stack();
  ck_assert_ok(vmm_thread_attach());
  ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
  ck_assert_ok(vmm_thread_detach());
  ck_assert_ptr_eq(alternate_stack().ss_sp, own);
}
END_TEST

/* S1.10 */
START_TEST(stack_that_lies_in_a_window_is_refused)
{
  struct vmm_space *space = space_with(64, RW);
  stack_t mine = { .ss_size = 64 << 10 };

  ck_assert_ok(vmm_fill(space, AT, 0, 64 * page, NULL));
  mine.ss_sp = vmm_space_base(space) + AT;
  ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
  ck_assert_error(vmm_thread_attach(), EINVAL);
  ck_assert_ptr_eq(alternate_stack().ss_sp, mine.ss_sp);
  ck_assert_error(vmm_thread_detach(), ENOENT);
  /* in a guard too, and with only its end there */
  mine.ss_sp = vmm_space_base(space) + vmm_space_size(space);
  ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
  ck_assert_error(vmm_thread_attach(), EINVAL);
  mine.ss_sp = vmm_space_base(space) - mine.ss_size + 1;
  ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
  ck_assert_error(vmm_thread_attach(), EINVAL);
  mine.ss_flags = SS_DISABLE;
  ck_assert_int_eq(sigaltstack(&mine, NULL), 0);
  ck_assert_ok(vmm_thread_attach());
  vmm_test_end(space);
}
END_TEST

static void *attach_and_end(void *arg)
{
  drop_stack();
  ck_assert_ok(vmm_thread_attach());
  *(stack_t *)arg = alternate_stack();
  return NULL;
}

START_TEST(attached_thread_that_ends_is_detached)
{
  struct vmm_space *space = space_with(1, RW);
  stack_t stack;

  for (int i = 0; i < 100; i++) {
    run_thread(attach_and_end, &stack);
    ck_assert_int_eq(is_readable(stack.ss_sp), 0);
  }
  vmm_test_end(space);
}
END_TEST

/* ---- overflow ---- */

static volatile int never;

static __attribute__((noinline)) int recurse(volatile char *above)
{
  volatile char here[512];

  here[0] = above != NULL ? above[0] : 1;
  return never ? 0 : recurse(here) + here[0];
}

static void end_well(int signal)
{
  (void)signal;
  _exit(42);
}

static void *overflow(void *attach)
{
  drop_stack();
  if (attach != NULL && vmm_thread_attach() != 0)
    _exit(1);
  return (void *)(intptr_t)recurse(NULL);
}

static void overflow_thread(void *attach)
{
  struct sigaction action = { .sa_handler = end_well };
  pthread_attr_t attr;
  pthread_t thread;

  sigaction(SIGSEGV, &action, NULL); /* before ours, without SA_ONSTACK */
  space_with(1, RW);
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 256 << 10);
  pthread_create(&thread, &attr, overflow, attach);
  pthread_join(thread, NULL);
}

static void overflow_attached(void)
{
  overflow_thread("");
}

static void overflow_unattached(void)
{
  overflow_thread(NULL);
}

START_TEST(attached_thread_survives_the_end_of_its_stack)
{
  ck_assert_exits(overflow_attached, 42);
  ck_assert_killed(overflow_unattached, SIGSEGV);
}
END_TEST

static void recurse_in_handler(int signal)
{
  (void)signal;
  recurse(NULL);
}

static void overflow_alternate(void)
{
  struct sigaction action = { .sa_handler = recurse_in_handler };

  sigaction(SIGSEGV, &action, NULL);
  space_with(1, RW);
  make_nowhere();
  drop_stack();
  if (vmm_thread_attach() == 0)
    plain_write(nowhere);
}

START_TEST(end_of_the_alternate_stack_ends_the_process)
{
  ck_assert_killed(overflow_alternate, SIGSEGV);
}
END_TEST

/* The guest's stack, in a window, is the host's while its code runs. */
static __attribute__((noinline)) void write_on_stack(char *top)
{
  __asm__ volatile("movq %%rsp, %%rbx\n\t"
                   "movq %0, %%rsp\n\t"
                   "pushq $7\n\t"
                   "movq %%rbx, %%rsp"
                   :
                   : "r"(top)
                   : "rbx", "memory");
}

START_TEST(attached_thread_may_have_its_stack_in_a_window)
{
  struct vmm_space *space = space_with(4, RW);

  drop_stack();
  ck_assert_ok(vmm_thread_attach());
  ck_assert_faults(space, 0, 1,
                   write_on_stack(vmm_space_base(space) + AT + 4 * page));
  ck_assert_uint_eq(vmm_test_get(space, AT + 4 * page - 8), 7);
  vmm_test_end(space);
}
END_TEST

/* ---- S2.16: handlers of the program at any moment ---- */

enum { SIGNALS = 500, PAGES = 32 };

static struct vmm_space *touched;
static _Atomic int signals_seen, all_sent;

static void touch_window(int signal)
{
  unsigned i = (unsigned)signals_seen++ % PAGES;

  (void)signal;
  vmm_test_set(touched, AT + i * page, (uint8_t)i);
  (void)vmm_test_get(touched, AT + (PAGES - 1 - i) * page);
}

static void *send_signals(void *thread)
{
  for (int i = 0; i < SIGNALS; i++) {
    int before = signals_seen;

    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    while (signals_seen == before && i > 0)
      sched_yield();
  }
  all_sent = 1;
  return NULL;
}

/* Calls of every kind, which take every lock. */
static void call_everything(struct vmm_space *space, unsigned round)
{
  vmm_addr_t at = AT + round % PAGES * page;
  char bytes[256];

  ck_assert_ok(vmm_pages(space, AT, PAGES * page,
                         VMM_PTE_MODIFIED | VMM_PTE_ACCESSED, NULL));
  ck_assert_ok(vmm_protect(space, at, page, VMM_READ));
  ck_assert_ok(vmm_protect(space, at, page, RW));
  ck_assert_ok(vmm_copyin(space, bytes, at + page - 128, 128, NULL));
  ck_assert_ok(vmm_copyout(space, at, bytes, 128, NULL));
  ck_assert_ok(vmm_fixup(space, at, VMM_WRITE));
  ck_assert_ok(vmm_map_anon(space, 0x1000000, page, RW));
  ck_assert_ok(vmm_unmap(space, 0x1000000, page));
  ck_assert_ok(vmm_discard(space, at, page));
}

/* The page that is protected at the time may not be written: the write
 * waits. */
static enum vmm_verdict wait_for_rights(struct vmm_fault *fault, void *arg)
{
  (void)arg;
  return fault->reason == VMM_FAULT_RIGHTS ? VMM_SKIP : VMM_DECLINE;
}

/* S2.16 */
START_TEST(handler_of_the_program_touches_a_window_inside_our_calls)
{
  struct sigaction action = { .sa_handler = touch_window };
  pthread_t self = pthread_self(), sender;
  unsigned round = 0;

  touched = space_with(PAGES, RW);
  ck_assert_ok(vmm_space_set_handler(touched, wait_for_rights, NULL));
  ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
  ck_assert_int_eq(pthread_create(&sender, NULL, send_signals, &self), 0);
  while (!all_sent)
    call_everything(touched, round++);
  ck_assert_int_eq(pthread_join(sender, NULL), 0);
  ck_assert_int_ge(signals_seen, SIGNALS - 1);
  vmm_test_end(touched);
}
END_TEST

static void *touch_for_ever(void *space)
{
  for (unsigned i = 0; !all_sent; i++)
    vmm_test_set(space, AT + i % PAGES * page, (uint8_t)i);
  return NULL;
}

/* S2.16: the same while the thread itself faults, and another one changes the
 * space. */
START_TEST(handler_of_the_program_touches_a_window_inside_a_fault)
{
  struct sigaction action = { .sa_handler = touch_window };
  pthread_t thread, sender;

  touched = space_with(PAGES, RW);
  ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
  ck_assert_int_eq(pthread_create(&thread, NULL, touch_for_ever, touched), 0);
  ck_assert_int_eq(pthread_create(&sender, NULL, send_signals, &thread), 0);
  while (!all_sent)
    ck_assert_ok(vmm_pages(touched, AT, PAGES * page,
                           VMM_PTE_MODIFIED | VMM_PTE_ACCESSED, NULL));
  ck_assert_int_eq(pthread_join(sender, NULL), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_int_ge(signals_seen, SIGNALS - 1);
  vmm_test_end(touched);
}
END_TEST

/* ---- callbacks run outside of the library ---- */

static sigset_t mask_of_callback;

static void touch_another(struct vmm_tracker *tracker, vmm_addr_t at, void *arg)
{
  (void)tracker;
  pthread_sigmask(SIG_SETMASK, NULL, &mask_of_callback);
  vmm_test_set(arg, at + 2 * page, 3);
}

START_TEST(callback_of_a_tracker_may_fault)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_tracker_options options = { .touched = touch_another,
                                         .arg = space };
  struct vmm_tracker *tracker;

  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, page, &options));
  block(SIGUSR2);
  ck_assert_faults(space, 0, 2, vmm_test_set(space, AT, 1));
  check_mask(&mask_of_callback, 0, 0, 1);
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 3);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_thread(void)
{
  Suite *suite = suite_create("thread");
  TCase *tcase = tcase_create("attached");

  tcase_add_test(tcase, making_a_space_attaches_nobody);
  tcase_add_test(tcase, attached_thread_has_a_stack_with_a_guard);
  tcase_add_test(tcase, thread_with_a_stack_of_its_own_keeps_it);
  tcase_add_test(tcase, detaching_leaves_a_stack_that_is_not_ours);
  tcase_add_test(tcase, stack_that_lies_in_a_window_is_refused);
  tcase_add_test(tcase, attached_thread_that_ends_is_detached);
  tcase_add_test(tcase, attached_thread_survives_the_end_of_its_stack);
  tcase_add_test(tcase, end_of_the_alternate_stack_ends_the_process);
  tcase_add_test(tcase, attached_thread_may_have_its_stack_in_a_window);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("interrupted");
  tcase_set_tags(tcase, "async");
  tcase_add_test(tcase,
                 handler_of_the_program_touches_a_window_inside_our_calls);
  tcase_add_test(tcase,
                 handler_of_the_program_touches_a_window_inside_a_fault);
  tcase_add_test(tcase, callback_of_a_tracker_may_fault);
  suite_add_tcase(suite, tcase);
  return suite;
}
