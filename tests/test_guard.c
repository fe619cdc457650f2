/*
 * Guarded calls: which faults end one and which go on, nesting, threads,
 * callbacks.
 */
#define _GNU_SOURCE
#include "guarded.h"

/* ---- windows ---- */

START_TEST(fault_in_a_window_ends_the_call)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  char *at = vmm_space_base(space) + AT + 7;
  struct vmm_stats before, after, own = thread_stats();
  struct vmm_fault fault, last;

  before = vmm_test_stats(space);
  ck_assert_ended(vmm_guard_call(write_to, at, 0, &fault), fault,
                  VMM_FAULT_RIGHTS, AT + 7);
  after = vmm_test_stats(space);
  ck_assert_ptr_eq(fault.space, space);
  ck_assert_uint_eq(fault.access, VMM_WRITE);
  ck_assert((uintptr_t)fault.host_pc - (uintptr_t)plain_write < 64);
  ck_assert_uint_eq(after.faults_write - before.faults_write, 1);
  ck_assert_uint_eq(after.faults_read - before.faults_read, 0);
  ck_assert_uint_eq(after.unresolved - before.unresolved, 1);
  ck_assert_uint_eq(after.handled - before.handled, 0);
  ck_assert_uint_eq(thread_stats().unresolved - own.unresolved, 1);
  ck_assert_ok(vmm_fault_last(&last));
  ck_assert_uint_eq(last.va, AT + 7);
  vmm_test_end(space);
}
END_TEST

START_TEST(fault_that_the_table_repairs_ends_nothing)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_fault fault = { .va = 42 };

  ck_assert_faults(space, 0, 1,
                   ck_assert_ok(vmm_guard_call(
                       write_to, vmm_space_base(space) + AT, 0, &fault)));
  ck_assert_uint_eq(fault.va, 42); /* and the record is untouched */
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(record_may_be_left_out)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  char *base = vmm_space_base(space);

  ck_assert_int_eq(vmm_guard_call(write_to, base, 0, NULL), 1);
  ck_assert_int_eq(vmm_guard_call(write_to, base + AT, VMM_GUARD_ANY, NULL), 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(handler_of_the_space_is_asked_first)
{
  struct vmm_fault fault;

  asked.space = space_with(1, VMM_READ);
  ck_assert_ok(vmm_space_set_handler(asked.space, decide, NULL));
  asked.verdict = VMM_DECLINE;
  ck_assert_ended(vmm_guard_call(write_to, vmm_space_base(asked.space) + AT, 0,
                                 &fault),
                  fault, VMM_FAULT_RIGHTS, AT);
  ck_assert_int_eq(asked.calls, 1);
  asked.verdict = VMM_RETRY;
  ck_assert_ok(
      vmm_guard_call(write_to, vmm_space_base(asked.space) + AT, 0, &fault));
  ck_assert_int_eq(asked.calls, 2);
  vmm_test_end(asked.space);
}
END_TEST

static void try_store(void *at)
{
  vmm_try_store_u8(at, 1, fault);
  return;
fault:
  asked.calls = 7;
}

START_TEST(exception_table_comes_first)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  struct vmm_fault fault;

  ck_assert_ok(
      vmm_guard_call(try_store, vmm_space_base(space) + AT, 0, &fault));
  ck_assert_int_eq(asked.calls, 7);
  vmm_test_end(space);
}
END_TEST

/* ---- faults of others ---- */

static volatile int notes;

static void note_and_open(int signal)
{
  (void)signal;
  notes++;
  open_nowhere(PROT_READ | PROT_WRITE);
}

static struct vmm_space *space_after_handler(void)
{
  struct sigaction action = { .sa_handler = note_and_open };

  make_nowhere();
  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
  return space_with(1, RW);
}

START_TEST(fault_of_others_goes_to_the_handler_before_ours)
{
  struct vmm_space *space = space_after_handler();
  struct vmm_fault fault;

  ck_assert_ok(vmm_guard_call(write_to, nowhere, 0, &fault));
  ck_assert_int_eq(notes, 1);
  ck_assert_int_eq(nowhere[0], 1);
  ck_assert_error(vmm_fault_last(&fault), ENOENT);
  vmm_test_end(space);
}
END_TEST

START_TEST(any_takes_the_fault_of_others)
{
  struct vmm_space *space = space_after_handler();
  struct vmm_fault fault;

  ck_assert_ended(vmm_guard_call(write_to, nowhere + 3, VMM_GUARD_ANY, &fault),
                  fault, VMM_FAULT_OUTSIDE, (uintptr_t)nowhere + 3);
  ck_assert_ptr_null(fault.space);
  ck_assert_uint_eq(fault.access, VMM_WRITE);
  ck_assert_ended(vmm_guard_call(write_to, (void *)8, VMM_GUARD_ANY, &fault),
                  fault, VMM_FAULT_OUTSIDE, 8);
  ck_assert_int_eq(notes, 0);
  vmm_test_end(space);
}
END_TEST

static void send_segv(void *arg)
{
  (void)arg;
  raise(SIGSEGV);
}

START_TEST(sent_signal_ends_nothing)
{
  struct vmm_space *space = space_after_handler();
  struct vmm_fault fault;

  ck_assert_ok(vmm_guard_call(send_segv, NULL, VMM_GUARD_ANY, &fault));
  ck_assert_int_eq(notes, 1);
  vmm_test_end(space);
}
END_TEST

static void fault_unguarded(void)
{
  struct vmm_space *space;
  struct vmm_fault fault;

  signal(SIGSEGV, SIG_DFL);
  space = space_with(1, VMM_READ);
  if (vmm_guard_call(write_to, vmm_space_base(space) + AT, 0, &fault) != 1)
    _exit(1);
  plain_write(vmm_space_base(space) + AT);
}

START_TEST(after_the_call_a_fault_ends_the_process)
{
  ck_assert_killed(fault_unguarded, SIGSEGV);
}
END_TEST

/* ---- nesting ---- */

static struct {
  char *at;      /* where the inner call writes */
  uint32_t flags; /* of the inner call */
  int again;     /* then: 1 write there, 2 raise what came back */
  int inner;     /* what the inner call gave */
  int after;     /* what followed it was reached */
  struct vmm_fault fault;
} nest;

static void call_inner(void *arg)
{
  (void)arg;
  nest.inner = vmm_guard_call(write_to, nest.at, nest.flags, &nest.fault);
  if (nest.again == 1)
    plain_write(nest.at);
  if (nest.again == 2)
    vmm_guard_raise(&nest.fault);
  nest.after = 1;
}

START_TEST(inner_call_takes_it_and_the_outer_sees_nothing)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  struct vmm_fault fault;

  nest.at = vmm_space_base(space) + AT;
  ck_assert_ok(vmm_guard_call(call_inner, NULL, VMM_GUARD_ANY, &fault));
  ck_assert_int_eq(nest.inner, 1);
  ck_assert_uint_eq(nest.fault.va, AT);
  ck_assert_int_eq(nest.after, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(fault_after_the_inner_call_ends_the_outer)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  struct vmm_fault fault;

  nest.at = vmm_space_base(space) + AT;
  nest.again = 1;
  ck_assert_ended(vmm_guard_call(call_inner, NULL, 0, &fault), fault,
                  VMM_FAULT_RIGHTS, AT);
  ck_assert_int_eq(nest.inner, 1);
  ck_assert_int_eq(nest.after, 0);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 2);
  vmm_test_end(space);
}
END_TEST

START_TEST(what_came_back_may_be_raised_again)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  struct vmm_fault fault;

  nest.at = vmm_space_base(space) + AT;
  nest.again = 2;
  ck_assert_ended(vmm_guard_call(call_inner, NULL, 0, &fault), fault,
                  VMM_FAULT_RIGHTS, AT);
  ck_assert_int_eq(nest.after, 0);
  ck_assert_ptr_eq(fault.host_pc, nest.fault.host_pc);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  /* and outside of all calls there is nobody to raise it to */
  ck_assert_error(vmm_guard_raise(&fault), ENOENT);
  ck_assert_error(vmm_guard_raise(NULL), EINVAL);
  vmm_test_end(space);
}
END_TEST

/* The inner call doesn't take what is not a window's: the outer one does. */
START_TEST(fault_ends_the_innermost_call_that_takes_it)
{
  struct vmm_space *space = space_after_handler();
  struct vmm_fault fault;

  nest.at = nowhere;
  ck_assert_ended(vmm_guard_call(call_inner, NULL, VMM_GUARD_ANY, &fault), fault,
                  VMM_FAULT_OUTSIDE, (uintptr_t)nowhere);
  ck_assert_int_eq(nest.after, 0);
  ck_assert_int_eq(notes, 0);
  nest.flags = VMM_GUARD_ANY;
  ck_assert_ok(vmm_guard_call(call_inner, NULL, VMM_GUARD_ANY, &fault));
  ck_assert_int_eq(nest.inner, 1);
  vmm_test_end(space);
}
END_TEST

/* => by the depth: each call but the deepest ends by a fault of its own */
static void descend(void *depth)
{
  struct vmm_fault fault;

  if (*(int *)depth > 0) {
    --*(int *)depth;
    ck_assert_ended(vmm_guard_call(descend, depth, 0, &fault), fault,
                    VMM_FAULT_RIGHTS, AT);
    nest.after++;
  }
  plain_write(nest.at);
}

START_TEST(calls_nest_deeply)
{
  struct vmm_space *space = space_with(1, VMM_READ);
  struct vmm_fault fault;
  int depth = 200;

  nest.at = vmm_space_base(space) + AT;
  ck_assert_ended(vmm_guard_call(descend, &depth, 0, &fault), fault,
                  VMM_FAULT_RIGHTS, AT);
  ck_assert_int_eq(nest.after, 200);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 201);
  vmm_test_end(space);
}
END_TEST

/* ---- callbacks ---- */

static enum vmm_verdict guard_in_handler(struct vmm_fault *fault, void *arg)
{
  char *base = vmm_space_base(fault->space);

  (void)arg;
  if (asked.calls++ != 0)
    return VMM_DECLINE;
  nest.inner = vmm_guard_call(write_to, base + AT + page, 0, &nest.fault);
  vmm_protect(fault->space, AT, page, RW);
  return VMM_RETRY;
}

static void check_call_in_handler(struct vmm_space *space, int outer)
{
  struct vmm_fault fault;
  char *at = vmm_space_base(space) + AT;

  ck_assert_ok(vmm_space_set_handler(space, guard_in_handler, NULL));
  if (outer)
    ck_assert_ok(vmm_guard_call(write_to, at, 0, &fault));
  else
    plain_write(at);
  ck_assert_int_eq(nest.inner, 1);
  ck_assert_uint_eq(nest.fault.va, AT + page);
  ck_assert_int_eq(asked.calls, 2);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  ck_assert_uint_eq(vmm_test_stats(space).handled, 1);
  vmm_test_end(space);
}

START_TEST(handler_may_guard_a_call)
{
  check_call_in_handler(space_with(2, VMM_READ), _i & 1);
}
END_TEST

START_TEST(handler_of_an_attached_thread_may_guard_a_call)
{
  ck_assert_ok(vmm_thread_attach());
  check_call_in_handler(space_with(2, VMM_READ), _i & 1);
}
END_TEST

static enum vmm_verdict fault_in_handler(struct vmm_fault *fault, void *arg)
{
  (void)arg;
  if (vmm_guard_raise(fault) != -ENOENT)
    _exit(2);
  if (asked.calls++ == 0)
    plain_write(vmm_space_base(fault->space) + AT + page);
  return VMM_DECLINE;
}

/* The handler's own fault would leave the library half done. */
static void fault_in_handler_of_guarded(void)
{
  struct vmm_space *space;

  signal(SIGSEGV, SIG_DFL);
  space = space_with(2, VMM_READ);
  vmm_space_set_handler(space, fault_in_handler, NULL);
  vmm_guard_call(write_to, vmm_space_base(space) + AT, VMM_GUARD_ANY, NULL);
}

START_TEST(call_from_outside_of_a_callback_does_not_count_in_it)
{
  ck_assert_killed(fault_in_handler_of_guarded, SIGSEGV);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 4, TIMES = 300 };

struct worker {
  struct vmm_space *space;
  vmm_addr_t at;
  uint64_t unresolved;
  int wrong;
};

static void *guard_many(void *arg)
{
  struct worker *worker = arg;
  struct vmm_fault fault;
  int i;

  for (i = 0; i < TIMES; i++) {
    vmm_addr_t at = worker->at + (vmm_addr_t)i % page;

    if (vmm_guard_call(write_to, vmm_space_base(worker->space) + at, 0,
                       &fault) != 1 ||
        fault.va != at)
      worker->wrong++;
    if (vmm_guard_call(write_to, vmm_space_base(worker->space) + AT, 0,
                       &fault) != 0)
      worker->wrong++;
  }
  worker->unresolved = thread_stats().unresolved;
  return NULL;
}

START_TEST(each_thread_has_calls_of_its_own)
{
  struct vmm_space *space = space_with(1 + THREADS, VMM_READ);
  struct worker workers[THREADS];
  pthread_t threads[THREADS];
  int i;

  ck_assert_ok(vmm_protect(space, AT, page, RW));
  for (i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){ space, AT + (1 + (unsigned)i) * page, 0, 0 };
    ck_assert_int_eq(
        pthread_create(&threads[i], NULL, guard_many, &workers[i]), 0);
  }
  for (i = 0; i < THREADS; i++) {
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(workers[i].wrong, 0);
    ck_assert_uint_eq(workers[i].unresolved, TIMES);
  }
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, THREADS * TIMES);
  vmm_test_end(space);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
  struct vmm_fault fault;

  ck_assert_error(vmm_guard_call(NULL, NULL, 0, &fault), EINVAL);
  ck_assert_error(vmm_guard_call(write_to, &fault, 4, &fault), EINVAL);
  ck_assert_error(vmm_guard_call(write_to, &fault, UINT32_MAX, NULL), EINVAL);
}
END_TEST

Suite *vmm_suite_guard(void)
{
  Suite *suite = suite_create("guard");
  TCase *tcase = tcase_create("guard");

  tcase_add_test(tcase, fault_in_a_window_ends_the_call);
  tcase_add_test(tcase, fault_that_the_table_repairs_ends_nothing);
  tcase_add_test(tcase, record_may_be_left_out);
  tcase_add_test(tcase, handler_of_the_space_is_asked_first);
  tcase_add_test(tcase, exception_table_comes_first);
  tcase_add_test(tcase, fault_of_others_goes_to_the_handler_before_ours);
  tcase_add_test(tcase, any_takes_the_fault_of_others);
  tcase_add_test(tcase, sent_signal_ends_nothing);
  tcase_add_test(tcase, after_the_call_a_fault_ends_the_process);
  tcase_add_test(tcase, inner_call_takes_it_and_the_outer_sees_nothing);
  tcase_add_test(tcase, fault_after_the_inner_call_ends_the_outer);
  tcase_add_test(tcase, what_came_back_may_be_raised_again);
  tcase_add_test(tcase, fault_ends_the_innermost_call_that_takes_it);
  tcase_add_test(tcase, calls_nest_deeply);
  tcase_add_loop_test(tcase, handler_may_guard_a_call, 0, 2);
  tcase_add_loop_test(tcase, handler_of_an_attached_thread_may_guard_a_call, 0,
                      2);
  tcase_add_test(tcase, call_from_outside_of_a_callback_does_not_count_in_it);
  tcase_add_test(tcase, each_thread_has_calls_of_its_own);
  tcase_add_test(tcase, wrong_arguments_are_refused);
  suite_add_tcase(suite, tcase);
  return suite;
}
