/*
 * Stacks in the entry area, entering and leaving, what interrupts, copies of
 * the process.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "view.h"

/* ---- stacks ---- */

/* S3.3 */
START_TEST(what_is_pushed_by_the_alias_stands_on_the_stack)
{
  static const char frame[] = "pc and registers";
  struct vmm_stats before, after;

  set_up();
  set_stack();
  ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP);
  vmm_view_leave(views);
  ck_assert_ptr_eq(views->base, views->user);
  ck_assert_ptr_eq(views->sp, views->stack);
  views->sp -= sizeof(frame);
  memcpy(views->sp, frame, sizeof(frame));
  before = vmm_test_stats(space);
  vmm_view_enter(views);
  after = vmm_test_stats(space);
  ck_assert_ptr_eq(views->base, views->supervisor);
  ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP - sizeof(frame));
  ck_assert_int_eq(memcmp(views->sp, frame, sizeof(frame)), 0);
  ck_assert_uint_eq(after.copies, before.copies);
  ck_assert_uint_eq(after.host_calls, before.host_calls);
  end();
}
END_TEST

/* S3.4 */
START_TEST(an_overflow_of_the_entry_page_meets_the_redzone)
{
  struct vmm_fault fault;
  char *bottom;

  set_up();
  set_stack();
  *views->trap = 4;
  bottom = views->stack - views->page;
  *bottom = 1; /* the lowest byte */
  ck_assert_int_eq(hart_try_set(bottom, (vmm_addr_t)-1, 2), -EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_STACK);
  check_ended(write_to, bottom - views->page, VMM_FAULT_STACK,
              (vmm_addr_t)(bottom - views->page - views->user));
  ck_assert_int_eq(*views->trap, 4);
  ck_assert_int_eq(hart_get(views->supervisor, STACK_TOP - views->page), 1);
  end();
}
END_TEST

/* S3.10 */
START_TEST(the_stack_of_before_can_not_be_reached)
{
  vmm_addr_t second = STACK_TOP - 2 * page;

  set_up();
  second = STACK_TOP - 2 * page;
  set_stack();
  views->stack[-1] = 1;
  ck_assert_ok(vmm_hart_set_stack(hart, second, page));
  ck_assert_int_eq(views->stack[-1], 0); /* the new one */
  views->stack[-1] = 2;
  ck_assert_int_eq(hart_get(views->supervisor, STACK_TOP - 1), 1);
  ck_assert_int_eq(hart_get(views->supervisor, second - 1), 2);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_ok(vmm_hart_set_stack(hart, 0, 0));
  ck_assert_ptr_null(views->stack);
  ck_assert_ptr_null(views->sp);
  ck_assert_int_eq(hart_try_get(views->trap + 3 * views->page, (vmm_addr_t)-1),
                   -EFAULT);
  end();
}
END_TEST

/* S3.7 */
START_TEST(a_region_that_goes_takes_its_frames_from_every_view)
{
  uint64_t frames;

  set_up();
  set_stack();
  hart_set(views->user, AT, 1);
  hart_set(views->supervisor, STACK_TOP - 2 * page, 1);
  views->stack[-1] = 7;
  frames = vmm_test_stats(space).frames;
  ck_assert_ok(vmm_unmap(space, AT, page));
  ck_assert_ok(vmm_unmap(space, STACK_TOP - STACK_PAGES * page,
                         STACK_PAGES * page));
  ck_assert_uint_eq(vmm_test_stats(space).frames, frames - 3);
  ck_assert_int_eq(hart_try_get(views->user, AT), -EFAULT);
  ck_assert_int_eq(hart_try_get(views->supervisor, STACK_TOP - 1), -EFAULT);
  /* the entry area still shows the page, which is nobody else's until then */
  ck_assert_int_eq(views->stack[-1], 7);
  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  hart_set(views->user, AT, 2);
  ck_assert_int_eq(views->stack[-1], 7);
  ck_assert_ok(vmm_hart_set_stack(hart, 0, 0));
  end();
}
END_TEST

START_TEST(a_stack_waits_while_the_hart_turns_to_another_space)
{
  struct vmm_space *other = hart_space(1, RW);
  char *stack;

  set_up();
  set_stack();
  stack = views->stack;
  views->stack[-1] = 3;
  hart_turn(hart, other);
  ck_assert_ptr_null(views->stack);
  ck_assert_ptr_null(views->sp);
  ck_assert_error(vmm_space_destroy(space), EBUSY); /* its page is pinned */
  hart_turn(hart, space);
  ck_assert_ptr_eq(views->stack, stack);
  ck_assert_int_eq(views->stack[-1], 3);
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_ptr_null(views->base);
  vmm_test_end(space); /* nothing of it is in use */
  ck_assert_ok(vmm_hart_destroy(hart));
  vmm_test_end(other);
}
END_TEST

START_TEST(a_rollover_takes_the_stack_along)
{
  struct vmm_space *others[4];

  set_up();
  set_stack();
  for (int i = 0; i < 4; i++) {
    others[i] = hart_space(1, RW);
    hart_turn(hart, others[i]);
    ck_assert_ok(vmm_check(space, 0, 0));
  }
  ck_assert_uint_eq(hart_stats(hart).rollovers, 1);
  hart_turn(hart, space);
  ck_assert_ptr_null(views->stack);
  set_stack();
  views->stack[-1] = 1;
  ck_assert_int_eq(hart_get(views->supervisor, STACK_TOP - 1), 1);
  end();
  for (int i = 0; i < 4; i++)
    vmm_test_end(others[i]);
}
END_TEST

static struct vmm_guest_thread *make_thread(vmm_addr_t stack)
{
  struct vmm_guest_thread_options options = { .stack = stack,
                                              .stack_nbytes = page };
  struct vmm_guest_thread *thread;

  ck_assert_ok(vmm_guest_thread_create(&thread, &options));
  return thread;
}

/* S3.10 */
START_TEST(another_guest_thread_brings_its_own_stack)
{
  struct vmm_guest_thread *one, *two, *wrong, *own;

  set_up();
  own = vmm_hart_thread(hart);
  one = make_thread(STACK_TOP - page);
  two = make_thread(STACK_TOP - 2 * page);
  wrong = make_thread(AT);
  ck_assert_ok(vmm_hart_set_thread(hart, one));
  views->sp -= 32;
  views->stack[-1] = 1;
  ck_assert_ok(vmm_hart_set_thread(hart, two));
  ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP - page);
  ck_assert_int_eq(views->stack[-1], 0);
  views->stack[-1] = 2;
  ck_assert_error(vmm_hart_set_thread(hart, wrong), EACCES);
  ck_assert_ptr_eq(vmm_hart_thread(hart), two);
  ck_assert_int_eq(views->stack[-1], 2);
  ck_assert_ok(vmm_hart_set_thread(hart, one));
  ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP - 32);
  ck_assert_int_eq(views->stack[-1], 1);
  ck_assert_ok(vmm_hart_set_thread(hart, own)); /* which has none */
  ck_assert_ptr_null(views->stack);
  ck_assert_ok(vmm_guest_thread_destroy(one));
  ck_assert_ok(vmm_guest_thread_destroy(two));
  ck_assert_ok(vmm_guest_thread_destroy(wrong));
  end();
}
END_TEST

/* ---- interrupts ---- */

#if defined __x86_64__
/* Each instruction between stepping() and stepped() is followed by an
 * interrupt, whose own steps nest three deep. */
static struct {
  unsigned depth, most, count, wrong;
} interrupts;

static void set_trap_flag(void)
{
  __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" ::: "cc", "memory");
}

static void clear_trap_flag(void)
{
  __asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" ::: "cc", "memory");
}

static void interrupt(int signal)
{
  struct vmm_view_saved saved;
  char *base = views->base, *sp = views->sp;
  unsigned depth = ++interrupts.depth;

  (void)signal;
  interrupts.most = depth > interrupts.most ? depth : interrupts.most;
  interrupts.count++;
  if (depth < 3)
    set_trap_flag();
  vmm_view_interrupt(views, &saved);
  if (depth < 3)
    clear_trap_flag();
  interrupts.wrong += views->base != views->supervisor;
  if (views->sp != NULL) {
    interrupts.wrong += views->sp > views->supervisor + STACK_TOP;
    interrupts.wrong += views->sp <= views->supervisor + STACK_TOP - page;
    views->sp -= 16; /* it pushes something */
  }
  vmm_view_resume(views, &saved);
  interrupts.wrong += views->base != base || views->sp != sp;
  interrupts.depth--;
}

/* S3.9 */
START_TEST(a_signal_at_every_step_restores_the_view_exactly)
{
  struct sigaction action = { .sa_handler = interrupt, .sa_flags = SA_NODEFER };

  set_up();
  set_stack();
  ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
  for (int i = 0; i < 3; i++) {
    set_trap_flag();
    vmm_view_leave(views);
    views->sp -= 8;
    vmm_view_enter(views);
    clear_trap_flag();
    ck_assert_ptr_eq(views->base, views->supervisor);
    ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP - 8 * (i + 1));
  }
  ck_assert_uint_eq(interrupts.most, 3);
  ck_assert_uint_gt(interrupts.count, 300);
  ck_assert_uint_eq(interrupts.wrong, 0);
  ck_assert_uint_eq(interrupts.depth, 0);
  end();
}
END_TEST
#endif

static enum vmm_verdict serve(struct vmm_fault *fault, void *verdict)
{
  ck_assert_ptr_eq(views->base, views->supervisor);
  ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP);
  ck_assert_ok(vmm_protect(fault->space, AT, page, RW));
  views->sp -= 64;
  return *(enum vmm_verdict *)verdict;
}

START_TEST(a_handler_of_a_fault_runs_in_the_supervisor_s_view)
{
  enum vmm_verdict verdict = VMM_RETRY;

  set_up();
  set_stack();
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_ok(vmm_space_set_handler(space, serve, &verdict));
  vmm_view_leave(views);
  hart_set(views->base, AT, 3);
  ck_assert_ptr_eq(views->base, views->user);
  ck_assert_ptr_eq(views->sp, views->stack);
  vmm_view_enter(views);
  end();
}
END_TEST

static void run_user(void *at)
{
  vmm_view_leave(views);
  write_to(at);
}

START_TEST(a_fault_that_ends_a_guarded_call_puts_the_view_back)
{
  set_up();
  set_stack();
  check_ended(run_user, views->user + STACK_TOP - 8, VMM_FAULT_SUPERVISOR,
              STACK_TOP - 8);
  ck_assert_ptr_eq(views->base, views->supervisor);
  ck_assert_ptr_eq(views->sp, views->supervisor + STACK_TOP);
  end();
}
END_TEST

/* ---- fork ---- */

/* S3.12 */
START_TEST(a_child_of_fork_has_no_views)
{
  int status;
  pid_t child;

  set_up();
  set_stack();
  *views->trap = 1;
  child = fork();
  if (child == 0) {
    bool none = reachable_pages(views->trap - views->page,
                                views->user + (1 << 26) + DISPLACEMENT) == 0 &&
                vmm_hart_set_stack(hart, STACK_TOP, page) == -ESTALE &&
                vmm_hart_sync(hart, AT, page) == -ESTALE;

    _exit(none ? 0 : 1);
  }
  ck_assert_int_gt(child, 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  end();
}
END_TEST

/* S3.12 */
START_TEST(a_child_of_process_fork_has_views_of_its_own)
{
  int status, child;

  set_up();
  set_stack();
  *views->trap = 1;
  views->stack[-1] = 2;
  hart_set(views->user, AT, 3);
  child = vmm_process_fork();
  if (child == 0) {
    bool kept = *views->trap == 1 && views->stack[-1] == 2 &&
                hart_try_get(views->user, AT) == 3 &&
                hart_try_get(views->supervisor, STACK_TOP - 1) == 2 &&
                hart_try_get(views->user, STACK_TOP - 1) == -EFAULT &&
                vmm_check(space, 0, 0) == 0;

    *views->trap = 9;
    views->stack[-1] = 9;
    hart_set(views->user, AT, 9);
    _exit(kept && hart_try_get(views->supervisor, STACK_TOP - 1) == 9 ? 0 : 1);
  }
  ck_assert_msg(child > 0, "%s", vmm_error_text());
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(*views->trap, 1);
  ck_assert_int_eq(views->stack[-1], 2);
  ck_assert_int_eq(hart_get(views->user, AT), 3);
  end();
}
END_TEST

Suite *vmm_suite_view_enter(void)
{
  Suite *suite = suite_create("view_enter");
  TCase *tcase = tcase_create("view_enter");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, what_is_pushed_by_the_alias_stands_on_the_stack);
  tcase_add_test(tcase, an_overflow_of_the_entry_page_meets_the_redzone);
  tcase_add_test(tcase, the_stack_of_before_can_not_be_reached);
  tcase_add_test(tcase, a_region_that_goes_takes_its_frames_from_every_view);
  tcase_add_test(tcase, a_stack_waits_while_the_hart_turns_to_another_space);
  tcase_add_test(tcase, a_rollover_takes_the_stack_along);
  tcase_add_test(tcase, another_guest_thread_brings_its_own_stack);
#if defined __x86_64__
  tcase_add_test(tcase, a_signal_at_every_step_restores_the_view_exactly);
#endif
  tcase_add_test(tcase, a_handler_of_a_fault_runs_in_the_supervisor_s_view);
  tcase_add_test(tcase, a_fault_that_ends_a_guarded_call_puts_the_view_back);
  tcase_add_test(tcase, a_child_of_fork_has_no_views);
  tcase_add_test(tcase, a_child_of_process_fork_has_views_of_its_own);
  suite_add_tcase(suite, tcase);
  return suite;
}
