/*
 * Handlers of spaces and regions: their four verdicts, what they see and may
 * do; and how a fault ends that nobody can repair.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <ucontext.h>

#include "faults.h"

/* ---- verdicts ---- */

static struct vmm_space *space_that_asks(enum vmm_verdict verdict)
{
  asked.space = space_with(4, VMM_READ);
  asked.verdict = verdict;
  ck_assert_ok(vmm_space_set_handler(asked.space, decide, &asked));
  return asked.space;
}

START_TEST(handler_says_retry)
{
  struct vmm_space *space = space_that_asks(VMM_RETRY);
  struct vmm_stats stats;
  ucontext_t *none = NULL;

  block(SIGUSR2);
  errno = EXDEV;
  ck_assert_faults(space, 0, 2, plain_write(vmm_space_base(space) + AT + 9));
  ck_assert_int_eq(errno, EXDEV);
  ck_assert_int_eq(asked.calls, 1);
  ck_assert_ptr_eq(asked.arg, &asked);
  check_mask(&asked.mask, 0, 0, 1);
  ck_assert_uint_eq(asked.fault.access, VMM_WRITE);
  ck_assert_uint_eq(asked.fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(asked.fault.va, AT + 9);
  ck_assert_int_eq(asked.fault.error, -EFAULT);
  ck_assert_ptr_eq(asked.fault.space, space);
  ck_assert_ptr_ne(asked.fault.context, none);
  ck_assert_ptr_nonnull(asked.fault.info);
  ck_assert_ptr_nonnull(asked.fault.host_pc);
  stats = vmm_test_stats(space);
  ck_assert_uint_eq(stats.handled, 1);
  ck_assert_uint_eq(stats.repaired, 1);
  ck_assert_uint_eq(stats.unresolved, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT + 9), 1);
  ck_assert_error(vmm_fault_last(&asked.fault), ENOENT);
  vmm_test_end(space);
}
END_TEST

/* A load into a register, and what is in it afterwards. */
static __attribute__((noinline)) uint64_t load_over(const char *at, uint64_t was)
{
  __asm__ volatile("movq (%1), %0" : "+r"(was) : "r"(at) : "memory");
  return was;
}

START_TEST(handler_says_skip)
{
  struct vmm_space *space = space_that_asks(VMM_SKIP);
  char *at = vmm_space_base(space) + AT;

  ck_assert_faults(space, 0, 1, plain_write(at));
  ck_assert_int_eq(asked.calls, 1);
  ck_assert_ok(vmm_protect(space, AT, page, 0));
  ck_assert_faults(space, 1, 0,
                   ck_assert_uint_eq(load_over(at, 0x1234), 0x1234));
  ck_assert_int_eq(asked.calls, 2);
  ck_assert_uint_eq(vmm_test_stats(space).handled, 2);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_test_end(space);
}
END_TEST

/* => 1 if it went on where the handler said */
static __attribute__((noinline)) int resume(char *at)
{
  int result = 0;

  __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                   "movq %%rax, %[go_on]\n\t"
                   "movb $1, (%[at])\n\t"
                   "jmp 2f\n"
                   "1:\tmovl $1, %[result]\n"
                   "2:"
                   : [result] "+r"(result), [go_on] "=m"(asked.go_on)
                   : [at] "r"(at)
                   : "rax", "memory");
  return result;
}

START_TEST(handler_says_resume)
{
  struct vmm_space *space = space_that_asks(VMM_RESUME);

  ck_assert_faults(
      space, 0, 1,
      ck_assert_int_eq(resume(vmm_space_base(space) + AT), 1));
  ck_assert_int_eq(asked.calls, 1);
  ck_assert_uint_eq(vmm_test_stats(space).handled, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(handler_says_decline_and_the_table_decides)
{
  struct vmm_space *space = space_that_asks(VMM_DECLINE);
  struct vmm_fault fault;

  vmm_try_store_u8(vmm_space_base(space) + AT + 3, 1, fault);
  ck_abort_msg("no fault");
fault:
  ck_assert_int_eq(asked.calls, 1);
  ck_assert_uint_eq(vmm_test_stats(space).handled, 0);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.va, AT + 3);
  ck_assert_ptr_eq(fault.host_pc, asked.fault.host_pc);
  ck_assert_ptr_null(fault.context);
  ck_assert_ptr_null(fault.info);
  vmm_test_end(space);
}
END_TEST

/* One that moved the pc first and then declined has no say. */
static enum vmm_verdict move_and_decline(struct vmm_fault *fault, void *arg)
{
  vmm_fault_set_pc(fault, arg);
  return VMM_DECLINE;
}

static volatile uintptr_t chained_pc;

static void open_window(int signal, siginfo_t *info, void *context)
{
  (void)signal;
  (void)info;
  chained_pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  open_nowhere(PROT_READ | PROT_WRITE);
}

START_TEST(declining_handler_leaves_no_trace)
{
  struct sigaction action = { .sa_sigaction = open_window,
                              .sa_flags = SA_SIGINFO };
  struct vmm_space *space;
  uintptr_t start = (uintptr_t)plain_write;

  sigaction(SIGSEGV, &action, NULL);
  space = space_with(1, VMM_READ);
  nowhere = vmm_space_base(space) + AT;
  ck_assert_ok(vmm_space_set_handler(space, move_and_decline, nowhere));
  plain_write(nowhere);
  ck_assert(chained_pc >= start && chained_pc < start + 64);
  ck_assert_ok(vmm_space_destroy(space)); /* its window is not as recorded */
}
END_TEST

static enum vmm_verdict never_asked(struct vmm_fault *fault, void *arg)
{
  (void)fault;
  (void)arg;
  _exit(9);
}

START_TEST(handler_of_the_region_comes_before_the_spaces)
{
  struct vmm_space *space = space_with(2, VMM_READ);

  asked.space = space;
  asked.verdict = VMM_SKIP;
  ck_assert_ok(vmm_space_set_handler(space, never_asked, NULL));
  ck_assert_ok(vmm_region_set_handler(space, AT + page, page, decide, &asked));
  plain_write(vmm_space_base(space) + AT + page);
  ck_assert_int_eq(asked.calls, 1);
  ck_assert_ok(vmm_space_set_handler(space, NULL, NULL));
  vmm_test_end(space);
}
END_TEST

START_TEST(nobody_is_asked_with_faults_disabled)
{
  struct vmm_space *space = space_with(2, RW);

  ck_assert_ok(vmm_space_set_handler(space, never_asked, NULL));
  vmm_nofault_begin();
  vmm_try_store_u8(vmm_space_base(space) + AT, 1, fault);
  ck_abort_msg("no fault");
fault:
  vmm_nofault_end();
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  ck_assert_ok(vmm_space_set_handler(space, NULL, NULL));
  vmm_test_end(space);
}
END_TEST

START_TEST(handler_may_fault)
{
  struct vmm_space *space = space_with(3, RW), *other = space_with(3, RW);

  ck_assert_ok(vmm_protect(space, AT, page, 0));
  ck_assert_ok(vmm_space_set_handler(space, fault_again, other));
  vmm_test_set(space, AT, 4);
  ck_assert_uint_eq(vmm_test_get(other, AT + page), 5);
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 6);
  ck_assert_uint_eq(vmm_test_get(space, AT), 4);
  ck_assert_uint_eq(vmm_test_stats(space).faults_write, 3);
  vmm_test_end(space);
  vmm_test_end(other);
}
END_TEST

static struct {
  int got, beyond, set_beyond, set;
  uint64_t rdi;
} registers;

static enum vmm_verdict use_registers(struct vmm_fault *fault, void *arg)
{
  uint64_t none;

  (void)arg;
  registers.got = vmm_fault_get_register(fault, 5, &registers.rdi);
  registers.beyond = vmm_fault_get_register(fault, 16, &none);
  registers.set_beyond = vmm_fault_set_register(fault, 99, 0);
  registers.set = vmm_fault_set_register(fault, 5, registers.rdi + page);
  return VMM_RETRY;
}

START_TEST(handler_reads_and_sets_registers)
{
  struct vmm_space *space = space_with(2, RW);

  ck_assert_ok(vmm_protect(space, AT, page, 0));
  ck_assert_ok(vmm_space_set_handler(space, use_registers, NULL));
  __asm__ volatile("movb $1, (%0)"
                   :
                   : "D"(vmm_space_base(space) + AT)
                   : "memory");
  ck_assert_int_eq(registers.got, 0);
  ck_assert_uint_eq(registers.rdi, (uintptr_t)vmm_space_base(space) + AT);
  ck_assert_error(registers.beyond, EINVAL);
  ck_assert_error(registers.set_beyond, EINVAL);
  ck_assert_int_eq(registers.set, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 1);
  vmm_test_end(space);
}
END_TEST

static enum vmm_verdict without_context(struct vmm_fault *fault, void *arg)
{
  uint64_t value;

  ck_assert_ptr_null(fault->context);
  ck_assert_error(vmm_fault_set_pc(fault, arg), ENOTSUP);
  ck_assert_error(vmm_fault_get_register(fault, 0, &value), ENOTSUP);
  ck_assert_error(vmm_fault_set_register(fault, 0, 0), ENOTSUP);
  return VMM_DECLINE;
}

START_TEST(fault_of_a_call_has_no_registers)
{
  struct vmm_space *space = space_with(1, VMM_READ);

  ck_assert_ok(vmm_space_set_handler(space, without_context, NULL));
  ck_assert_error(vmm_fill(space, AT, 1, 1, NULL), EFAULT);
  vmm_test_end(space);
}
END_TEST

START_TEST(reasons_have_names)
{
  ck_assert_str_eq(vmm_fault_reason_name(VMM_FAULT_NO_REGION), "no region");
  ck_assert_str_eq(vmm_fault_reason_name(VMM_FAULT_LIVELOCK), "livelock");
  ck_assert_str_eq(vmm_fault_reason_name(1000), "unknown");
}
END_TEST

/* ---- how a fault may end ---- */

/* Rule 9: the host denies what the record says it grants. */
START_TEST(access_that_faults_though_all_is_granted_is_a_livelock)
{
  struct vmm_space *space = space_with(2, RW);
  char *at = vmm_space_base(space) + AT;
  struct vmm_fault fault;
  uint8_t byte;

  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(mprotect(at, page, PROT_NONE), 0);
  vmm_try_load_u8(byte, at + 7, fault);
  ck_abort_msg("loaded %u", byte);
fault:
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_LIVELOCK);
  ck_assert_uint_eq(fault.va, AT + 7);
  ck_assert_uint_eq(vmm_test_stats(space).faults_read, 16);
  ck_assert_int_eq(mprotect(at, page, PROT_READ | PROT_WRITE), 0);
  vmm_test_end(space);
}
END_TEST

/* Ping-pong is not one: each fault repairs something. */
START_TEST(ping_pong_is_no_livelock)
{
  struct vmm_space *space = space_with(1, RW);

  for (unsigned i = 0; i < 100; i++) {
    ck_assert_faults(space, 0, 1, plain_write(vmm_space_base(space) + AT));
    ck_assert_ok(vmm_pages(space, AT, page, VMM_PTE_MODIFIED, NULL));
  }
  vmm_test_end(space);
}
END_TEST

/* => an object of a file of so many bytes; its descriptor in *fd */
static struct vmm_object *file_object(uint64_t nbytes, int *fd)
{
  struct vmm_object *object;

  *fd = memfd_create("test", MFD_CLOEXEC);
  ck_assert_int_ge(*fd, 0);
  ck_assert_int_eq(ftruncate(*fd, (off_t)nbytes), 0);
  ck_assert_ok(vmm_object_from_fd(&object, *fd, 0, nbytes, NULL));
  return object;
}

/* A file truncated under its mapping: SIGBUS ends as a fault. */
START_TEST(truncated_file_is_a_fault_of_the_object)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_map_options options = { .rights = RW };
  struct vmm_fault fault;
  vmm_addr_t at = 0x100000;
  uint8_t byte;
  int fd;

  options.object = file_object(4 * page, &fd);
  ck_assert_ok(vmm_map(space, &at, 4 * page, &options));
  vmm_test_set(space, at, 1);
  ck_assert_int_eq(ftruncate(fd, 0), 0);
  vmm_try_load_u8(byte, vmm_space_base(space) + at, gone);
  ck_abort_msg("loaded %u", byte);
gone:
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_OBJECT);
  ck_assert_int_eq(fault.error, -EIO);
  ck_assert_uint_eq(fault.va, at);
  vmm_try_store_u8(vmm_space_base(space) + at + 2 * page, 1, gone_too);
  ck_abort_msg("stored");
gone_too:
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_OBJECT);
  ck_assert_uint_eq(fault.va, at + 2 * page);
  ck_assert_int_eq(ftruncate(fd, (off_t)(4 * page)), 0);
  vmm_test_set(space, at, 1);
  vmm_test_end(space);
  vmm_object_release(options.object);
  close(fd);
}
END_TEST

static _Atomic int locked, let_go;

/* Is called with locks held, which a child inherits. */
static void hold_locks(struct vmm_notifier *self, vmm_addr_t va,
                       uint64_t nbytes)
{
  (void)self;
  (void)va;
  (void)nbytes;
  locked = 1;
  while (!let_go)
    sched_yield();
}

static void *take_exec_away(void *space)
{
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  return NULL;
}

static void touch_inherited(void)
{
  alarm(20); /* against a hang */
  plain_write(nowhere);
}

/* A child of fork() has no windows: it faults there, and waits for no lock. */
START_TEST(child_of_fork_faults_where_the_window_was)
{
  struct vmm_notifier notifier = { .invalidate = hold_locks };
  struct vmm_space *space;
  pthread_t thread;
  uint32_t insn;

  signal(SIGSEGV, SIG_DFL);
  space = space_with(2, RW | VMM_EXEC);
  nowhere = vmm_space_base(space) + AT + page;
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  ck_assert_ok(vmm_fetch(space, AT, &insn, sizeof(insn)));
  ck_assert_int_eq(pthread_create(&thread, NULL, take_exec_away, space), 0);
  while (!locked)
    sched_yield();
  ck_assert_killed(touch_inherited, SIGSEGV);
  let_go = 1;
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_handler(void)
{
  Suite *suite = suite_create("handler");
  TCase *tcase = tcase_create("verdicts");

  tcase_add_test(tcase, handler_says_retry);
  tcase_add_test(tcase, handler_says_skip);
  tcase_add_test(tcase, handler_says_resume);
  tcase_add_test(tcase, handler_says_decline_and_the_table_decides);
  tcase_add_test(tcase, declining_handler_leaves_no_trace);
  tcase_add_test(tcase, handler_of_the_region_comes_before_the_spaces);
  tcase_add_test(tcase, nobody_is_asked_with_faults_disabled);
  tcase_add_test(tcase, handler_may_fault);
  tcase_add_test(tcase, handler_reads_and_sets_registers);
  tcase_add_test(tcase, fault_of_a_call_has_no_registers);
  tcase_add_test(tcase, reasons_have_names);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("endings");
  tcase_add_test(tcase,
                 access_that_faults_though_all_is_granted_is_a_livelock);
  tcase_add_test(tcase, ping_pong_is_no_livelock);
  tcase_add_test(tcase, truncated_file_is_a_fault_of_the_object);
  tcase_add_test(tcase, child_of_fork_faults_where_the_window_was);
  suite_add_tcase(suite, tcase);
  return suite;
}
