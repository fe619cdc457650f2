/*
 * Guarded calls of generated code: what registered code and code in a window
 * does wrong, SIGILL, SIGFPE and SIGTRAP among it, and to whom those go
 * otherwise.
 */
#define _GNU_SOURCE
#include <ucontext.h>

#include "guarded.h"

/* What code may do wrong, and how it is told. */
static const struct wrong {
  const uint8_t *bytes;
  size_t nbytes;
  unsigned at; /* the instruction */
  int signal;
  enum vmm_fault_reason reason;
} wrongs[] = {
  { code_illegal, sizeof(code_illegal), 0, SIGILL, VMM_FAULT_ILLEGAL },
  { code_divide, sizeof(code_divide), 2, SIGFPE, VMM_FAULT_ARITHMETIC },
  { code_trap, sizeof(code_trap), 0, SIGTRAP, VMM_FAULT_TRAP },
};
enum { WRONGS = sizeof(wrongs) / sizeof(wrongs[0]) };

static uint8_t *make_wrong(const struct wrong *wrong)
{
  return make_code(wrong->bytes, wrong->nbytes);
}

/* ---- in registered code ---- */

START_TEST(instruction_of_registered_code_ends_the_call)
{
  const struct wrong *wrong = &wrongs[_i];
  struct vmm_space *space = space_with(1, RW);
  struct vmm_stats own = thread_stats();
  struct vmm_fault fault, last;
  uint8_t *code = make_wrong(wrong);

  register_code(code, decline);
  ck_assert_ended(vmm_guard_call(as_function(code), NULL, 0, &fault), fault,
                  wrong->reason, (uintptr_t)code + wrong->at);
  ck_assert_uint_eq(fault.access, VMM_EXEC);
  ck_assert_ptr_null(fault.space);
  ck_assert_ptr_eq(fault.host_pc, code + wrong->at);
  ck_assert_uint_eq(thread_stats().unresolved - own.unresolved, 1);
  ck_assert_ok(vmm_fault_last(&last));
  ck_assert_uint_eq(last.reason, wrong->reason);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  ck_assert_ok(vmm_code_unregister(code));
  vmm_test_end(space);
}
END_TEST

/* A breakpoint at the very end: the pc is beyond the code already. */
START_TEST(breakpoint_that_ends_the_code_is_of_the_code)
{
  struct vmm_code_options options = { .handler = decline };
  struct vmm_space *space = space_with(1, RW);
  uint8_t *code = make_code(code_trap, sizeof(code_trap));
  struct vmm_fault fault;

  ck_assert_ok(vmm_code_register(code, 1, &options));
  ck_assert_ended(vmm_guard_call(as_function(code), NULL, 0, &fault), fault,
                  VMM_FAULT_TRAP, (uintptr_t)code);
  vmm_test_end(space);
}
END_TEST

START_TEST(access_of_registered_code_ends_the_call_wherever_it_is)
{
  struct vmm_space *space = space_with(1, RW);
  uint8_t *load = make_code(code_load, sizeof(code_load));
  uint8_t *hlt = make_code(code_hlt, sizeof(code_hlt));
  struct vmm_fault fault;

  make_nowhere();
  register_code(load, decline);
  register_code(hlt, decline);
  ck_assert_ended(vmm_guard_call(as_function(load), nowhere, 0, &fault), fault,
                  VMM_FAULT_OUTSIDE, (uintptr_t)nowhere);
  ck_assert_ended(vmm_guard_call(as_function(hlt), NULL, 0, &fault), fault,
                  VMM_FAULT_OUTSIDE, 0);
  ck_assert_ptr_eq(fault.host_pc, hlt);
  vmm_test_end(space);
}
END_TEST

/* ---- in a window ---- */

START_TEST(instruction_in_a_window_ends_the_call)
{
  const struct wrong *wrong = &wrongs[_i];
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  struct vmm_fault fault;

  ck_assert_ok(vmm_copyout(space, AT, wrong->bytes, wrong->nbytes, NULL));
  ck_assert_ended(vmm_guard_call(as_function(vmm_space_base(space) + AT), NULL, 0,
                                 &fault),
                  fault, wrong->reason, AT + wrong->at);
  ck_assert_ptr_eq(fault.space, space);
  ck_assert_uint_eq(fault.access, VMM_EXEC);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  ck_assert_uint_eq(thread_stats().unresolved, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(access_of_code_in_a_window_ends_the_call_wherever_it_is)
{
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  vmm_guard_function *code = as_function(vmm_space_base(space) + AT);
  struct vmm_fault fault;

  make_nowhere();
  ck_assert_ok(vmm_copyout(space, AT, code_load, sizeof(code_load), NULL));
  ck_assert_ended(vmm_guard_call(code, nowhere, 0, &fault), fault,
                  VMM_FAULT_OUTSIDE, (uintptr_t)nowhere);
  /* a call of what is no code */
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  ck_assert_ended(vmm_guard_call(code, NULL, 0, &fault), fault, VMM_FAULT_RIGHTS,
                  AT);
  ck_assert_uint_eq(fault.access, VMM_EXEC);
  vmm_test_end(space);
}
END_TEST

/* ---- the code's handler ---- */

static enum vmm_verdict decide_code(struct vmm_fault *fault, void *arg)
{
  static const uint8_t nops[] = { 0x90, 0x90, 0xc3 };

  (void)arg;
  asked.calls++;
  asked.fault = *fault;
  if (asked.verdict == VMM_RETRY)
    memcpy(fault->host_pc, nops, sizeof(nops));
  if (asked.verdict == VMM_RESUME)
    vmm_fault_set_pc(fault, asked.go_on);
  return asked.verdict;
}

/* With and without a guarded call. */
START_TEST(handler_of_the_code_is_asked_first)
{
  static const enum vmm_verdict verdicts[] = { VMM_SKIP, VMM_RESUME, VMM_RETRY };
  const struct wrong *wrong = &wrongs[_i / 3];
  struct vmm_space *space = space_with(1, RW);
  uint8_t *code = make_wrong(wrong);

  asked.verdict = verdicts[_i % 3];
  asked.go_on = code + wrong->nbytes - 1;
  register_code(code, decide_code);
  ck_assert_ok(vmm_guard_call(as_function(code), NULL, 0, NULL));
  ck_assert_int_eq(asked.calls, 1);
  ck_assert_uint_eq(asked.fault.reason, wrong->reason);
  ck_assert_ptr_eq(asked.fault.host_pc, code + wrong->at);
  memcpy(code, wrong->bytes, wrong->nbytes);
  as_function(code)(NULL);
  ck_assert_int_eq(asked.calls, 2);
  vmm_test_end(space);
}
END_TEST

/* ---- the code of others ---- */

static volatile int notes;
static volatile int noted;

static void skip_two(int signal, siginfo_t *info, void *context)
{
  ucontext_t *user = context;

  (void)info;
  notes++;
  noted = signal;
  if (signal != SIGTRAP)
    user->uc_mcontext.gregs[REG_RIP] += 2;
}

static void install_before(int signal)
{
  struct sigaction action = { .sa_flags = SA_SIGINFO,
                              .sa_sigaction = skip_two };

  ck_assert_int_eq(sigaction(signal, &action, NULL), 0);
}

START_TEST(instruction_of_others_goes_to_the_handler_before_ours)
{
  const struct wrong *wrong = &wrongs[_i];
  uint8_t *code = make_wrong(wrong);
  struct vmm_space *space;

  install_before(wrong->signal);
  space = space_with(1, RW);
  ck_assert_ok(vmm_guard_call(as_function(code), NULL, 0, NULL));
  ck_assert_int_eq(notes, 1);
  ck_assert_int_eq(noted, wrong->signal);
  as_function(code)(NULL);
  ck_assert_int_eq(notes, 2);
  vmm_test_end(space);
}
END_TEST

START_TEST(any_takes_the_instruction_of_others)
{
  const struct wrong *wrong = &wrongs[_i];
  uint8_t *code = make_wrong(wrong);
  struct vmm_space *space;
  struct vmm_fault fault;

  install_before(wrong->signal);
  space = space_with(1, RW);
  ck_assert_ended(vmm_guard_call(as_function(code), NULL, VMM_GUARD_ANY, &fault),
                  fault, wrong->reason, (uintptr_t)code + wrong->at);
  ck_assert_int_eq(notes, 0);
  vmm_test_end(space);
}
END_TEST

static void send_signal(void *signal)
{
  raise(*(int *)signal);
}

START_TEST(sent_signal_goes_to_the_handler_before_ours)
{
  int signal = SIGTRAP;
  struct vmm_space *space;

  install_before(signal);
  space = space_with(1, RW);
  ck_assert_ok(vmm_guard_call(send_signal, &signal, VMM_GUARD_ANY, NULL));
  ck_assert_int_eq(notes, 1);
  vmm_test_end(space);
}
END_TEST

static int fatal; /* which of the wrongs */

static void do_wrong(void)
{
  signal(wrongs[fatal].signal, SIG_DFL);
  space_with(1, RW);
  vmm_guard_call(as_function(make_wrong(&wrongs[fatal])), NULL, 0, NULL);
}

static void send_wrong(void)
{
  signal(wrongs[fatal].signal, SIG_DFL);
  space_with(1, RW);
  raise(wrongs[fatal].signal);
}

static void do_wrong_ignored(void)
{
  signal(wrongs[fatal].signal, SIG_IGN);
  space_with(1, RW);
  raise(wrongs[fatal].signal); /* this is ignored, and the next can't be */
  vmm_guard_call(as_function(make_wrong(&wrongs[fatal])), NULL, 0, NULL);
}

START_TEST(without_another_handler_the_default_ends_the_process)
{
  fatal = _i;
  ck_assert_killed(do_wrong, wrongs[_i].signal);
  ck_assert_killed(send_wrong, wrongs[_i].signal);
  ck_assert_killed(do_wrong_ignored, wrongs[_i].signal);
}
END_TEST

/* ---- handlers of the program's own ---- */

static void forward(int signal, siginfo_t *info, void *context)
{
  notes++;
  if (!vmm_handle_signal(signal, info, context))
    _exit(3);
}

START_TEST(forwarded_instruction_ends_the_call)
{
  const struct wrong *wrong = &wrongs[_i];
  struct sigaction action = { .sa_flags = SA_SIGINFO,
                              .sa_sigaction = forward };
  struct vmm_space *space;
  struct vmm_fault fault;
  uint8_t *code = make_wrong(wrong);
  sigset_t mask;

  ck_assert_ok(vmm_init(VMM_SIGNALS_FORWARDED));
  ck_assert_int_eq(sigaction(wrong->signal, &action, NULL), 0);
  space = space_with(1, RW);
  register_code(code, decline);
  ck_assert_ended(vmm_guard_call(as_function(code), NULL, 0, &fault), fault,
                  wrong->reason, (uintptr_t)code + wrong->at);
  ck_assert_int_eq(notes, 1);
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  ck_assert_int_eq(sigismember(&mask, wrong->signal), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(handlers_are_removed_and_come_back)
{
  struct sigaction now;
  int i;

  for (i = 0; i < WRONGS; i++)
    install_before(wrongs[i].signal);
  vmm_test_end(space_with(1, RW));
  for (i = 0; i < WRONGS; i++) {
    ck_assert_int_eq(sigaction(wrongs[i].signal, NULL, &now), 0);
    ck_assert(now.sa_sigaction != skip_two);
  }
  ck_assert_ok(vmm_signals_remove());
  for (i = 0; i < WRONGS; i++) {
    ck_assert_int_eq(sigaction(wrongs[i].signal, NULL, &now), 0);
    ck_assert(now.sa_sigaction == skip_two);
  }
  vmm_test_end(space_with(1, RW));
  /* one that is displaced is left, and memory's still reach us */
  install_before(SIGFPE);
  ck_assert_int_eq(vmm_signals_installed(), 1);
  ck_assert_error(vmm_signals_remove(), EEXIST);
}
END_TEST

Suite *vmm_suite_guard_code(void)
{
  Suite *suite = suite_create("guard_code");
  TCase *tcase = tcase_create("guard_code");

  tcase_add_loop_test(tcase, instruction_of_registered_code_ends_the_call, 0,
                      WRONGS);
  tcase_add_test(tcase, breakpoint_that_ends_the_code_is_of_the_code);
  tcase_add_test(tcase, access_of_registered_code_ends_the_call_wherever_it_is);
  tcase_add_loop_test(tcase, instruction_in_a_window_ends_the_call, 0, WRONGS);
  tcase_add_test(tcase, access_of_code_in_a_window_ends_the_call_wherever_it_is);
  tcase_add_loop_test(tcase, handler_of_the_code_is_asked_first, 0, 3 * WRONGS);
  tcase_add_loop_test(tcase, instruction_of_others_goes_to_the_handler_before_ours,
                      0, WRONGS);
  tcase_add_loop_test(tcase, any_takes_the_instruction_of_others, 0, WRONGS);
  tcase_add_test(tcase, sent_signal_goes_to_the_handler_before_ours);
  tcase_add_loop_test(tcase, without_another_handler_the_default_ends_the_process,
                      0, WRONGS);
  tcase_add_loop_test(tcase, forwarded_instruction_ends_the_call, 0, WRONGS);
  tcase_add_test(tcase, handlers_are_removed_and_come_back);
  suite_add_tcase(suite, tcase);
  return suite;
}
