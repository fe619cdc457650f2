/*
 * Signals: who gets which, with what: the way of a fault past the library
 * (S2.9), modes, removal, being displaced.
 *
 * Where a fault must end the process a child does it, which makes its spaces by
 * itself.
 */
#define _GNU_SOURCE
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "faults.h"

/* ---- S2.9: the handler before ours ---- */

static struct {
  volatile int calls;
  int signal, code;
  void *address, *info, *context;
  uintptr_t pc, rdi;
  sigset_t now, interrupted;
  int error;
} seen;

static void note(int signal)
{
  seen.calls++;
  seen.signal = signal;
  seen.error = errno;
  pthread_sigmask(SIG_SETMASK, NULL, &seen.now);
  open_nowhere(PROT_READ | PROT_WRITE);
  errno = ERANGE;
}

static void note_all(int signal, siginfo_t *info, void *context)
{
  ucontext_t *user = context;

  seen.code = info->si_code;
  seen.address = info->si_addr;
  seen.pc = (uintptr_t)user->uc_mcontext.gregs[REG_RIP];
  seen.rdi = (uintptr_t)user->uc_mcontext.gregs[REG_RDI];
  note(signal);
}

/* Installs a handler of SIGSEGV before the library's, SIGUSR1 in its
 * sa_mask. */
static void install_before(int with_info, int flags)
{
  struct sigaction action = { .sa_flags = flags };

  if (with_info) {
    action.sa_sigaction = note_all;
    action.sa_flags |= SA_SIGINFO;
  } else {
    action.sa_handler = note;
  }
  sigaddset(&action.sa_mask, SIGUSR1);
  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
  make_nowhere();
}

/* S2.9 */
START_TEST(handler_before_ours_gets_the_fault_as_it_was)
{
  uintptr_t start = (uintptr_t)plain_write;
  struct vmm_space *space;
  sigset_t after;

  install_before(1, 0);
  space = space_with(1, RW);
  block(SIGUSR2);
  errno = EXDEV;
  plain_write(nowhere + 5);
  ck_assert_int_eq(errno, EXDEV);
  ck_assert_int_eq(seen.calls, 1);
  ck_assert_int_eq(seen.signal, SIGSEGV);
  ck_assert_int_eq(seen.code, SEGV_ACCERR);
  ck_assert_ptr_eq(seen.address, nowhere + 5);
  ck_assert(seen.pc >= start && seen.pc < start + 64);
  ck_assert_uint_eq(seen.rdi, (uintptr_t)nowhere + 5);
  ck_assert_int_eq(seen.error, EXDEV);
  check_mask(&seen.now, 1, 1, 1);
  ck_assert_int_eq(nowhere[5], 1);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  check_mask(&after, 0, 0, 1);
  vmm_test_set(space, AT, 1); /* and ours is still there */
  ck_assert_int_eq(seen.calls, 1);
  vmm_test_end(space);
}
END_TEST

/* S2.9: it gets no fault that the library ends, and a window's that it
 * doesn't. */
START_TEST(handler_before_ours_gets_what_a_window_denies)
{
  struct vmm_space *space;

  install_before(0, SA_NODEFER);
  space = space_with(1, RW);
  ck_assert_faults(space, 0, 1, plain_write(vmm_space_base(space) + AT));
  ck_assert_int_eq(seen.calls, 0);
  plain_write(nowhere);
  ck_assert_int_eq(seen.calls, 1);
  ck_assert_int_eq(seen.signal, SIGSEGV);
  check_mask(&seen.now, 0, 1, 0);
  vmm_test_end(space);
}
END_TEST

static void fault_twice_with_resethand(void)
{
  install_before(1, (int)SA_RESETHAND);
  space_with(1, RW);
  plain_write(nowhere);
  if (seen.calls != 1)
    _exit(3);
  open_nowhere(PROT_NONE);
  plain_write(nowhere);
}

/* S2.9 */
START_TEST(handler_with_resethand_is_called_once)
{
  ck_assert_killed(fault_twice_with_resethand, SIGSEGV);
}
END_TEST

static void fault_ignored(void)
{
  make_nowhere();
  signal(SIGSEGV, SIG_IGN);
  space_with(1, RW);
  kill(getpid(), SIGSEGV); /* this is ignored */
  raise(SIGSEGV);
  plain_write(nowhere); /* this can't be */
}

static void send_ignored(void)
{
  signal(SIGSEGV, SIG_IGN);
  space_with(1, RW);
  kill(getpid(), SIGSEGV);
  raise(SIGSEGV);
}

/* S2.9 */
START_TEST(ignored_before_ours_means_ignored_unless_it_is_a_fault)
{
  ck_assert_exits(send_ignored, 0);
  ck_assert_killed(fault_ignored, SIGSEGV);
}
END_TEST

static void fault_in_window(void)
{
  signal(SIGSEGV, SIG_DFL);
  plain_write(vmm_space_base(space_with(1, VMM_READ)) + AT);
}

static void fault_nowhere(void)
{
  signal(SIGSEGV, SIG_DFL);
  space_with(1, RW);
  make_nowhere();
  plain_write(nowhere);
}

static void send_segv(void)
{
  signal(SIGSEGV, SIG_DFL);
  space_with(1, RW);
  kill(getpid(), SIGSEGV);
}

static void send_bus_at_a_window(void)
{
  union sigval value = { 0 };

  signal(SIGBUS, SIG_DFL);
  value.sival_ptr = vmm_space_base(space_with(1, RW)) + AT;
  sigqueue(getpid(), SIGBUS, value);
}

START_TEST(without_another_handler_the_default_ends_the_process)
{
  ck_assert_killed(fault_in_window, SIGSEGV);
  ck_assert_killed(fault_nowhere, SIGSEGV);
  ck_assert_killed(send_segv, SIGSEGV);
  ck_assert_killed(send_bus_at_a_window, SIGBUS);
}
END_TEST

/* What a tracer sees of a child that runs the function: the signals of its
 * stops, up to the one that kills it.  => their number */
static int trace(void (*function)(void), siginfo_t *infos, int room)
{
  int status, count = 0;
  pid_t child = fork();

  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    function();
    _exit(0);
  }
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
    ck_assert_int_lt(count, room);
    ck_assert_int_eq(ptrace(PTRACE_GETSIGINFO, child, NULL, &infos[count]), 0);
    count++;
    ptrace(PTRACE_CONT, child, NULL, (void *)(intptr_t)WSTOPSIG(status));
  }
  ck_assert(WIFSIGNALED(status));
  ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
  return count;
}

/* S2.9: what kills is what a core dump shows: the fault as it was. */
START_TEST(fatal_fault_keeps_its_code_and_address)
{
  siginfo_t infos[2];

  ck_assert_int_eq(trace(fault_nowhere, infos, 2), 2);
  ck_assert_int_eq(infos[1].si_code, SEGV_ACCERR);
  ck_assert_ptr_nonnull(infos[1].si_addr);
  ck_assert_ptr_eq(infos[1].si_addr, infos[0].si_addr);
  ck_assert_int_eq(trace(send_segv, infos, 2), 2);
  ck_assert_int_eq(infos[1].si_code, SI_USER);
  ck_assert_int_eq(infos[1].si_pid, infos[0].si_pid);
  ck_assert_int_ne(infos[1].si_pid, getpid());
}
END_TEST

/* A signal that somebody sent is passed on as it is, wherever its address seems
 * to be. */
START_TEST(sent_signal_is_passed_on)
{
  siginfo_t info = { .si_signo = SIGSEGV, .si_code = SI_QUEUE };
  struct vmm_space *space;

  install_before(1, 0);
  space = space_with(1, RW);
  info.si_addr = vmm_space_base(space) + AT;
  ck_assert_faults(space, 0, 0,
                   syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGSEGV,
                           &info));
  ck_assert_int_eq(seen.calls, 1);
  ck_assert_int_eq(seen.code, SI_QUEUE);
  ck_assert_ptr_eq(seen.address, info.si_addr);
  ck_assert_faults(space, 0, 0, kill(getpid(), SIGSEGV));
  ck_assert_int_eq(seen.calls, 2);
  ck_assert_int_eq(seen.code, SI_USER);
  vmm_test_end(space);
}
END_TEST

/* ---- what is kept ---- */

START_TEST(repair_keeps_errno_and_the_mask)
{
  struct vmm_space *space = space_with(3, RW);
  sigset_t before, after;

  block(SIGUSR2);
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  errno = EXDEV;
  vmm_test_set(space, AT, 1);
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 0);
  ck_assert_int_eq(errno, EXDEV);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  for (int n = 1; n < NSIG; n++)
    ck_assert_int_eq(sigismember(&before, n), sigismember(&after, n));
  vmm_test_end(space);
}
END_TEST

static void *touch_pages(void *arg)
{
  struct vmm_space *space = arg;

  for (unsigned i = 0; i < 8; i++)
    vmm_test_set(space, AT + i * page, (uint8_t)i);
  return NULL;
}

START_TEST(thread_that_was_not_attached_faults_like_any)
{
  struct vmm_space *space = space_with(8, RW);
  struct vmm_stats own = { .struct_size = sizeof(own) };
  pthread_t thread;

  ck_assert_int_eq(pthread_create(&thread, NULL, touch_pages, space), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_uint_eq(vmm_test_stats(space).faults_write, 8);
  ck_assert_uint_eq(vmm_test_stats(space).repaired, 8);
  ck_assert_ok(vmm_thread_stats(&own));
  ck_assert_uint_eq(own.faults_write, 0); /* this thread had none */
  vmm_test_end(space);
}
END_TEST

/* ---- modes ---- */

START_TEST(mode_is_chosen_before_the_first_space)
{
  struct vmm_space *space;

  ck_assert_error(vmm_init(3), EINVAL);
  ck_assert_ok(vmm_init(VMM_SIGNALS_OWNED));
  space = space_with(1, RW);
  ck_assert_error(vmm_init(VMM_SIGNALS_NONE), EBUSY);
  vmm_test_end(space);
  ck_assert_ok(vmm_init(VMM_SIGNALS_NONE));
}
END_TEST

static void *handler_of(int signal)
{
  struct sigaction action;

  ck_assert_int_eq(sigaction(signal, NULL, &action), 0);
  return (void *)(uintptr_t)action.sa_sigaction;
}

START_TEST(mode_none_installs_nothing)
{
  struct vmm_space *space;
  void *segv = handler_of(SIGSEGV), *bus = handler_of(SIGBUS);

  ck_assert_ok(vmm_init(VMM_SIGNALS_NONE));
  space = space_with(1, RW);
  ck_assert_ptr_eq(handler_of(SIGSEGV), segv);
  ck_assert_ptr_eq(handler_of(SIGBUS), bus);
  ck_assert_int_eq(vmm_signals_installed(), 0);
  ck_assert_ok(vmm_fill(space, AT, 1, page, NULL));
  vmm_test_end(space);
  ck_assert_error(vmm_signals_remove(), ENOENT);
}
END_TEST

static volatile int forwarded, refused;
static sigset_t mask_of_forwarder, mask_after;
static volatile int errno_after;

static void forward(int signal, siginfo_t *info, void *context)
{
  pthread_sigmask(SIG_SETMASK, NULL, &mask_of_forwarder);
  errno = EXDEV;
  if (vmm_handle_signal(signal, info, context)) {
    forwarded++;
  } else {
    refused++;
    open_nowhere(PROT_READ | PROT_WRITE);
  }
  errno_after = errno;
  pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
}

/* vmm_handle_signal() left its caller as it was. */
static void check_forwarder(void)
{
  ck_assert_int_eq(errno_after, EXDEV);
  for (int n = 1; n < NSIG; n++)
    ck_assert_int_eq(sigismember(&mask_of_forwarder, n),
                     sigismember(&mask_after, n));
}

static struct vmm_space *space_of_forwarder(uint32_t rights, int flags)
{
  struct sigaction action = { .sa_sigaction = forward,
                              .sa_flags = SA_SIGINFO | flags };

  sigaddset(&action.sa_mask, SIGUSR1);
  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
  ck_assert_int_eq(sigaction(SIGBUS, &action, NULL), 0);
  ck_assert_ok(vmm_init(VMM_SIGNALS_FORWARDED));
  make_nowhere();
  return space_with(4, rights);
}

START_TEST(forwarded_faults_are_repaired)
{
  struct vmm_space *space = space_of_forwarder(RW, 0);

  ck_assert_ptr_eq(handler_of(SIGSEGV), (void *)(uintptr_t)forward);
  ck_assert_faults(space, 0, 1, plain_write(vmm_space_base(space) + AT));
  ck_assert_int_eq(forwarded, 1);
  check_forwarder();
  vmm_try_store_u8(vmm_space_base(space), 1, fault);
  ck_abort_msg("no fault");
fault:
  ck_assert_int_eq(forwarded, 2);
  plain_write(nowhere);
  ck_assert_int_eq(refused, 1);
  check_forwarder();
  ck_assert_int_eq(vmm_signals_installed(), 0);
  vmm_test_end(space);
}
END_TEST

/* A handler of a space sees the mask of what was interrupted, and may fault,
 * even if the program's handler blocks more. */
START_TEST(handler_of_a_forwarded_fault_sees_the_interrupted_mask)
{
  struct vmm_space *space = space_of_forwarder(VMM_READ, 0);

  asked.space = space;
  asked.verdict = VMM_RETRY;
  ck_assert_ok(vmm_space_set_handler(space, decide, &asked));
  plain_write(vmm_space_base(space) + AT);
  ck_assert_int_eq(asked.calls, 1);
  check_forwarder();
  check_mask(&mask_of_forwarder, 1, 1, 0);
  check_mask(&asked.mask, 0, 0, 0);
  ck_assert_ok(vmm_space_set_handler(space, fault_again, space));
  ck_assert_ok(vmm_protect(space, AT, 4 * page, RW));
  ck_assert_ok(vmm_protect(space, AT, page, 0));
  vmm_test_set(space, AT, 4);
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 6);
  vmm_test_end(space);
}
END_TEST

START_TEST(other_signals_are_not_ours)
{
  siginfo_t info = { .si_code = 1 };
  ucontext_t context;

  memset(&context, 0, sizeof(context));
  ck_assert_int_eq(vmm_handle_signal(SIGILL, &info, &context), 0);
}
END_TEST

/* ---- installing, removing, being displaced ---- */

START_TEST(removal_restores_what_was_there)
{
  void *bus = handler_of(SIGBUS);
  struct vmm_space *space;

  install_before(1, 0);
  ck_assert_int_eq(vmm_signals_installed(), 0);
  ck_assert_error(vmm_signals_remove(), ENOENT);
  space = space_with(1, RW);
  ck_assert_int_eq(vmm_signals_installed(), 1);
  ck_assert_error(vmm_signals_remove(), EBUSY);
  vmm_test_end(space);
  ck_assert_int_eq(vmm_signals_installed(), 1);
  ck_assert_ok(vmm_signals_remove());
  ck_assert_int_eq(vmm_signals_installed(), 0);
  ck_assert_ptr_eq(handler_of(SIGSEGV), (void *)(uintptr_t)note_all);
  ck_assert_ptr_eq(handler_of(SIGBUS), bus);
  ck_assert_error(vmm_signals_remove(), ENOENT);
  space = space_with(1, RW); /* and once more */
  ck_assert_int_eq(vmm_signals_installed(), 1);
  vmm_test_set(space, AT, 1);
  vmm_test_end(space);
}
END_TEST

static struct sigaction ours;
static volatile int passed_on;

static void displace(int signal, siginfo_t *info, void *context)
{
  passed_on++;
  ours.sa_sigaction(signal, info, context);
}

START_TEST(displaced_handler_is_noticed_and_left)
{
  struct sigaction action = { .sa_sigaction = displace,
                              .sa_flags = SA_SIGINFO | SA_NODEFER };
  void *bus = handler_of(SIGBUS);
  struct vmm_space *space;

  install_before(1, 0);
  space = space_with(2, RW);
  ck_assert_int_eq(sigaction(SIGSEGV, &action, &ours), 0);
  ck_assert_int_eq(vmm_signals_installed(), 0);
  ck_assert_ptr_nonnull(strstr(vmm_error_text(), "over ours"));
  vmm_test_set(space, AT, 1); /* it hands on what it gets */
  ck_assert_int_eq(passed_on, 1);
  vmm_test_end(space);
  ck_assert_error(vmm_signals_remove(), EEXIST);
  ck_assert_ptr_eq(handler_of(SIGSEGV), (void *)(uintptr_t)displace);
  ck_assert_ptr_eq(handler_of(SIGBUS), bus);
  plain_write(nowhere); /* ours passes everything on */
  ck_assert_int_eq(passed_on, 2);
  ck_assert_int_eq(seen.calls, 1);
  space = space_with(2, RW); /* no second place in the chain */
  ck_assert_ptr_eq(handler_of(SIGSEGV), (void *)(uintptr_t)displace);
  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(passed_on, 3);
  vmm_test_end(space);
}
END_TEST

START_TEST(handler_lost_to_the_default_is_installed_again)
{
  struct vmm_space *space = space_with(1, RW);

  vmm_test_end(space);
  signal(SIGSEGV, SIG_DFL);
  ck_assert_int_eq(vmm_signals_installed(), 0);
  space = space_with(1, RW);
  ck_assert_int_eq(vmm_signals_installed(), 1);
  vmm_test_set(space, AT, 1);
  vmm_test_end(space);
}
END_TEST

static void add_mode_tests(TCase *tcase)
{
  tcase_add_test(tcase, mode_is_chosen_before_the_first_space);
  tcase_add_test(tcase, mode_none_installs_nothing);
  tcase_add_test(tcase, forwarded_faults_are_repaired);
  tcase_add_test(tcase, handler_of_a_forwarded_fault_sees_the_interrupted_mask);
  tcase_add_test(tcase, other_signals_are_not_ours);
  tcase_add_test(tcase, removal_restores_what_was_there);
  tcase_add_test(tcase, displaced_handler_is_noticed_and_left);
  tcase_add_test(tcase, handler_lost_to_the_default_is_installed_again);
}

Suite *vmm_suite_signal(void)
{
  Suite *suite = suite_create("signal");
  TCase *tcase = tcase_create("chain");

  tcase_add_test(tcase, handler_before_ours_gets_the_fault_as_it_was);
  tcase_add_test(tcase, handler_before_ours_gets_what_a_window_denies);
  tcase_add_test(tcase, handler_with_resethand_is_called_once);
  tcase_add_test(tcase, ignored_before_ours_means_ignored_unless_it_is_a_fault);
  tcase_add_test(tcase, without_another_handler_the_default_ends_the_process);
  tcase_add_test(tcase, fatal_fault_keeps_its_code_and_address);
  tcase_add_test(tcase, sent_signal_is_passed_on);
  tcase_add_test(tcase, repair_keeps_errno_and_the_mask);
  tcase_add_test(tcase, thread_that_was_not_attached_faults_like_any);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("modes");
  add_mode_tests(tcase);
  suite_add_tcase(suite, tcase);
  return suite;
}
