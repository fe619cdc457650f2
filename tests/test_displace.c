#define _GNU_SOURCE 1
/*
 * Displaced instructions, case by case: the return (S0.11), faults and who sees
 * them (S0.6), signals that come in between (S0.3), what is refused.
 * test_displace_random.c has the rest.
 */
#include <sys/wait.h>
#include <ucontext.h>

#include "displacing.h"
#include "guarded.h"

#if defined __x86_64__

/* A function with a breakpoint over one of its instructions. */
struct patched {
  uint8_t *code;
  uint8_t saved[15];
  size_t at;
};

static struct patched patch[2];
static volatile int hits;
static int result;               /* of vmm_displace() */
static void (*meanwhile)(ucontext_t *context);

static void set_patch(unsigned i, const uint8_t *bytes, size_t nbytes, size_t at)
{
  struct vmm_code_options options = { 0 };
  extern enum vmm_verdict displace_at(struct vmm_fault *fault, void *arg);

  patch[i].code = make_code(bytes, nbytes);
  patch[i].at = at;
  memcpy(patch[i].saved, patch[i].code + at, sizeof(patch[i].saved));
  patch[i].code[at] = 0xcc;
  options.handler = displace_at;
  options.arg = &patch[i];
  ck_assert_ok(vmm_code_register(patch[i].code, CODE_NBYTES, &options));
}

enum vmm_verdict displace_at(struct vmm_fault *fault, void *arg)
{
  struct patched *patched = arg;

  if (fault->reason != VMM_FAULT_TRAP ||
      fault->host_pc != patched->code + patched->at)
    return VMM_DECLINE;
  hits++;
  result = vmm_displace(fault->context, fault->host_pc, patched->saved,
                        sizeof(patched->saved));
  if (meanwhile != NULL)
    meanwhile(fault->context);
  return result == 0 ? VMM_RESUME : VMM_DECLINE;
}

typedef uint64_t code_function(const void *a, uint64_t b);

static uint64_t call(unsigned i, const void *a, uint64_t b)
{
  return ((code_function *)(uintptr_t)patch[i].code)(a, b);
}

/* mov 8(%rdi),%rax; add %rsi,%rax; ret */
static const uint8_t code_add[] = { 0x48, 0x8b, 0x47, 8, 0x48, 0x01, 0xf0, 0xc3 };
/* mov 1f(%rip),%rax; add %rsi,%rax; ret; 1: .quad */
static const uint8_t code_rip[] = { 0x48, 0x8b, 0x05, 4, 0, 0, 0, 0x48, 0x01,
                                    0xf0, 0xc3, 1, 2, 3, 4, 5, 6, 7, 8 };

/* ---- return ---- */

START_TEST(the_patch_stays_and_every_call_goes_through)
{
  struct displacing displacing = displacing_begin();
  uint64_t data[2] = { 0, 40 };

  set_patch(0, code_add, sizeof(code_add), 0);
  for (unsigned i = 0; i < 1000; i++)
    ck_assert_uint_eq(call(0, data, i), 40 + i);
  ck_assert_int_eq(hits, 1000);
  ck_assert_uint_eq(patch[0].code[0], 0xcc);
  displacing_end(&displacing);
}
END_TEST

/* lea 0(%rip),%rax; call 1f; 1: pop %rcx; sub %rcx,%rax; ret */
static const uint8_t code_place[] = { 0x48, 0x8d, 0x05, 0, 0, 0, 0,
                                      0xe8, 0, 0, 0, 0,
                                      0x59, 0x48, 0x29, 0xc8, 0xc3 };

START_TEST(s0_11_what_is_relative_to_the_pc_is_that_of_its_place)
{
  struct displacing displacing = displacing_begin();

  for (unsigned i = 0; i < 2; i++) { /* the lea, then the call */
    set_patch(i, code_place, sizeof(code_place), i == 0 ? 0 : 7);
    ck_assert_uint_eq(call(i, NULL, 0), (uint64_t)-5);
  }
  ck_assert_int_eq(hits, 2);
  displacing_end(&displacing);
}
END_TEST

/* ---- faults ---- */

START_TEST(an_access_that_can_be_repaired_is)
{
  struct displacing displacing = displacing_begin();
  struct vmm_space *space = displacing.space;
  char *at = vmm_space_base(space) + AT;

  ck_assert_ok(vmm_map_anon(space, AT, 1 << 16, RW));
  set_patch(0, code_add, sizeof(code_add), 0);
  ck_assert_faults(space, 1, 0, ck_assert_uint_eq(call(0, at, 3), 3));
  ck_assert_faults(space, 0, 0, ck_assert_uint_eq(call(0, at, 4), 4));
  ck_assert_int_eq(hits, 2);
  displacing_end(&displacing);
}
END_TEST

static struct vmm_fault seen;
static uint64_t seen_register[2];

static enum vmm_verdict look_and_decide(struct vmm_fault *fault, void *arg)
{
  seen = *fault;
  vmm_fault_get_register(fault, 5, &seen_register[0]); /* rdi */
  vmm_fault_get_register(fault, 4, &seen_register[1]); /* rsi */
  if (*(enum vmm_verdict *)arg == VMM_RETRY)
    vmm_protect(fault->space, fault->va & ~0xfffull, 0x1000, VMM_READ);
  return *(enum vmm_verdict *)arg;
}

/* The handler of the space finds the fault at the instruction's place. */
static void check_handler(const uint8_t *code, size_t nbytes, char *at,
                          enum vmm_verdict verdict, uint64_t expected)
{
  struct displacing displacing = displacing_begin();
  struct vmm_space *space = displacing.space;
  uint64_t got;

  at += (uintptr_t)vmm_space_base(space);
  ck_assert_ok(vmm_map_anon(space, AT, 1 << 16, 0));
  ck_assert_ok(vmm_space_set_handler(space, look_and_decide, &verdict));
  set_patch(0, code, nbytes, 0);
  hits = 0;
  got = call(0, at, 7);
  ck_assert_ptr_eq(seen.host_pc, patch[0].code);
  ck_assert_uint_eq(seen.va, AT + 8);
  ck_assert_uint_eq(seen_register[0], (uintptr_t)at);
  ck_assert_uint_eq(seen_register[1], 7);
  ck_assert_uint_eq(got, expected);
  /* done again, the patch is met again */
  ck_assert_int_eq(hits, verdict == VMM_RETRY ? 2 : 1);
  displacing_end(&displacing);
}

/* xor %eax,%eax comes before: what is left out leaves 0 */
static const uint8_t code_skip[] = { 0x48, 0x8b, 0x47, 8, 0x48, 0x89, 0xf0, 0xc3 };

START_TEST(s0_6_a_fault_names_the_place_and_the_data)
{
  check_handler(code_add, sizeof(code_add), (char *)AT, VMM_RETRY, 7);
  check_handler(code_skip, sizeof(code_skip), (char *)AT, VMM_SKIP, 7);
}
END_TEST

static void call_it(void *arg)
{
  call(0, arg, 0);
}

/* xor %edx,%edx; mov $1,%eax; div %rsi ...: SIGFPE */
static const uint8_t code_div[] = { 0x48, 0xf7, 0xf6, 0xc3 };
static const uint8_t code_ud2[] = { 0x0f, 0x0b, 0xc3 };

START_TEST(a_guarded_call_tells_the_place)
{
  struct displacing displacing = displacing_begin();
  struct vmm_fault fault;

  make_nowhere();
  set_patch(0, code_add, sizeof(code_add), 0);
  ck_assert_ended(vmm_guard_call(call_it, nowhere, 0, &fault), fault,
                  VMM_FAULT_OUTSIDE, nowhere + 8);
  ck_assert_ptr_eq(fault.host_pc, patch[0].code);
  set_patch(0, code_div, sizeof(code_div), 0);
  ck_assert_ended(vmm_guard_call(call_it, NULL, 0, &fault), fault,
                  VMM_FAULT_ARITHMETIC, patch[0].code);
  set_patch(0, code_ud2, sizeof(code_ud2), 0);
  ck_assert_ended(vmm_guard_call(call_it, NULL, 0, &fault), fault,
                  VMM_FAULT_ILLEGAL, patch[0].code);
  displacing_end(&displacing);
}
END_TEST

static void *earlier_pc;

static void earlier_handler(int signal, siginfo_t *info, void *context)
{
  greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;

  (void)info;
  (void)signal;
  earlier_pc = (void *)gregs[REG_RIP];
  gregs[REG_RIP] += 4; /* over the load */
}

START_TEST(the_handler_before_the_librarys_sees_the_place)
{
  struct sigaction action = { .sa_sigaction = earlier_handler,
                              .sa_flags = SA_SIGINFO };
  struct displacing displacing;

  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
  displacing = displacing_begin();
  make_nowhere();
  set_patch(0, code_skip, sizeof(code_skip), 0);
  ck_assert_uint_eq(call(0, nowhere, 9), 9);
  ck_assert_ptr_eq(earlier_pc, patch[0].code);
  displacing_end(&displacing);
}
END_TEST

/* ---- signals ---- */

/* What a handler finds at each pc of the slot that the context is at. */
static void look_everywhere(ucontext_t *context)
{
  uintptr_t slot = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
  uint8_t *place = patch[0].code, *next = place + 7;
  unsigned before = 0, after = 0;

  for (unsigned offset = 0; offset < 64; offset++) {
    ucontext_t copy = *context;
    void *stands_for;

    copy.uc_mcontext.gregs[REG_RIP] = (greg_t)(slot + offset);
    stands_for = vmm_displace_pc(&copy);
    if (vmm_displace_rollback(&copy) == 0) {
      ck_assert_ptr_eq(stands_for, (void *)(slot + offset));
      ck_assert_int_eq(memcmp(&copy.uc_mcontext.gregs[REG_RSI],
                              &context->uc_mcontext.gregs[REG_RSI], 8), 0);
      continue;
    }
    ck_assert_uint_eq((uintptr_t)copy.uc_mcontext.gregs[REG_RIP],
                      (uintptr_t)stands_for);
    before += stands_for == place;
    after += stands_for == next;
    if (offset < 17) /* before rsi has been given back */
      ck_assert_int_eq(copy.uc_mcontext.gregs[REG_RSI], 100);
  }
  ck_assert_uint_eq(before, 1);
  ck_assert_uint_eq(after, 2); /* done, and the register given back */
}

START_TEST(a_signal_sees_the_place_or_what_follows)
{
  struct displacing displacing = displacing_begin();

  set_patch(0, code_rip, sizeof(code_rip), 0);
  meanwhile = look_everywhere;
  ck_assert_uint_eq(call(0, NULL, 100), 0x0807060504030201 + 100);
  ck_assert_int_eq(hits, 1);
  displacing_end(&displacing);
}
END_TEST

static volatile int signals, rolled_back;
static bool rolls_back, nests;
static void *signal_pc;

static void on_usr1(int signal, siginfo_t *info, void *context)
{
  (void)signal;
  (void)info;
  if (signals++ > 0)
    return;
  signal_pc = vmm_displace_pc(context);
  if (rolls_back)
    rolled_back += vmm_displace_rollback(context);
  if (nests)
    ck_assert_uint_eq(call(1, (uint64_t[]){ 0, 30 }, 3), 33);
}

/* It comes when the handler returns: before the first instruction of the
 * slot. */
static void send_usr1(ucontext_t *context)
{
  sigset_t set;

  (void)context;
  meanwhile = NULL;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
}

static void check_signal(const uint8_t *code, size_t nbytes, uint64_t expected)
{
  struct sigaction action = { .sa_sigaction = on_usr1, .sa_flags = SA_SIGINFO };
  struct displacing displacing = displacing_begin();
  uint64_t data[2] = { 0, 40 };

  ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
  set_patch(0, code, nbytes, 0);
  set_patch(1, code_add, sizeof(code_add), 0);
  hits = signals = rolled_back = 0;
  meanwhile = send_usr1;
  ck_assert_uint_eq(call(0, data, 2), expected);
  ck_assert_int_eq(signals, 1);
  ck_assert_ptr_eq(signal_pc, patch[0].code);
  ck_assert_int_eq(rolled_back, rolls_back);
  ck_assert_int_eq(hits, 1 + rolls_back + nests);
  displacing_end(&displacing);
}

START_TEST(s0_3_a_signal_before_the_instruction)
{
  for (int i = 0; i < 4; i++) {
    rolls_back = i & 1;
    nests = i & 2;
    check_signal(code_add, sizeof(code_add), 42);
    check_signal(code_rip, sizeof(code_rip), 0x0807060504030203);
  }
}
END_TEST

/* ---- what is refused ---- */

static const struct refused {
  int error;
  uint8_t length;
  const char *code;
} refused[] = {
  { -ENOTSUP, 1, "\xcc" },             /* int3 */
  { -ENOTSUP, 2, "\xcd\x80" },         /* int 0x80 */
  { -ENOTSUP, 1, "\xf1" },             /* int1 */
  { -ENOTSUP, 2, "\x0f\x05" },         /* syscall */
  { -ENOTSUP, 2, "\x0f\x34" },         /* sysenter */
  { -ENOTSUP, 1, "\xcf" },             /* iret */
  { -ENOTSUP, 1, "\xcb" },             /* far ret */
  { -ENOTSUP, 2, "\xff\x1f" },         /* far call */
  { -ENOTSUP, 2, "\xff\x2f" },         /* far jmp */
  { -ENOTSUP, 6, "\xc7\xf8\0\0\0\0" }, /* xbegin */
  { -ENOTSUP, 3, "\xc6\xf8\1" },       /* xabort */
  { -ENOTSUP, 4, "\x66\xe9\0\0\0\0" }, /* jmp, of 16 bits or 32 */
  { -ENOTSUP, 3, "\x67\xe3\x10" },     /* jecxz */
  { -ENOTSUP, 7, "\x67\x8b\x05\0\0\0\0" }, /* eip-relative */
  { -EILSEQ, 1, "\x06" },
  { -EILSEQ, 2, "\x48\x8b" },          /* cut off */
  { -EILSEQ, 6, "\x8b\x05\0\0\0" },
};

static ucontext_t before_it;

static void try_refused(ucontext_t *context)
{
  void *pc = patch[0].code;

  before_it = *context;
  for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
    size_t nbytes = refused[i].length - (refused[i].code[0] == '\x8b');
    int error = vmm_displace(context, pc, refused[i].code, nbytes);

    if (refused[i].code[0] == '\x66')
      error = vmm_displace(context, pc, refused[i].code, 6);
    ck_assert_msg(error == refused[i].error, "%zu: %d", i, error);
  }
  ck_assert_error(vmm_displace(NULL, pc, "\x90", 1), EINVAL);
  ck_assert_error(vmm_displace(context, NULL, "\x90", 1), EINVAL);
  ck_assert_error(vmm_displace(context, pc, NULL, 1), EINVAL);
  ck_assert_error(vmm_displace(context, pc, "\x90", 0), EINVAL);
  vmm_test_fail(VMM_TEST_FRAME, 1, 1);
  ck_assert_error(vmm_displace(context, pc, "\x90", 1), EIO);
  ck_assert_int_eq(memcmp(context->uc_mcontext.gregs,
                          before_it.uc_mcontext.gregs,
                          sizeof(before_it.uc_mcontext.gregs)), 0);
  ck_assert_int_eq(vmm_displace_rollback(NULL), 0);
}

START_TEST(what_cant_run_elsewhere_is_refused)
{
  struct displacing displacing = displacing_begin();
  uint64_t data[2] = { 0, 40 };

  set_patch(0, code_add, sizeof(code_add), 0);
  meanwhile = try_refused; /* and the first one stands */
  ck_assert_uint_eq(call(0, data, 2), 42);
  displacing_end(&displacing);
}
END_TEST

START_TEST(without_a_hart_there_is_no_page)
{
  struct displacing displacing = displacing_begin();
  struct vmm_fault fault;

  ck_assert_ok(vmm_hart_set_thread(displacing.hart, NULL));
  set_patch(0, code_add, sizeof(code_add), 0);
  ck_assert_ended(vmm_guard_call(call_it, NULL, 0, &fault), fault,
                  VMM_FAULT_TRAP, patch[0].code);
  ck_assert_int_eq(result, -ENOENT);
  displacing_end(&displacing);
}
END_TEST

START_TEST(without_memory_the_page_comes_later)
{
  struct displacing displacing = displacing_begin();
  uint64_t data[2] = { 0, 40 };
  struct vmm_fault fault;
  unsigned failed = 0;

  set_patch(0, code_add, sizeof(code_add), 0);
  for (unsigned nth = 1; nth < 8; nth++) {
    vmm_test_fail(VMM_TEST_MMAP, nth, 1);
    if (vmm_guard_call(call_it, data, 0, &fault) == 0)
      break;
    ck_assert_int_eq(result, -ENOMEM);
    failed++;
  }
  vmm_test_fail(VMM_TEST_MMAP, 0, 0);
  ck_assert_uint_ge(failed, 1);
  ck_assert_uint_eq(call(0, data, 2), 42);
  displacing_end(&displacing);
}
END_TEST

/* ---- threads and processes ---- */

START_TEST(each_guest_thread_has_its_own_page)
{
  struct displacing displacing = displacing_begin();
  struct vmm_guest_thread *a;
  uint64_t data[2] = { 0, 40 };

  ck_assert_ok(vmm_guest_thread_create(&a, NULL));
  set_patch(0, code_rip, sizeof(code_rip), 0);
  set_patch(1, code_add, sizeof(code_add), 0);
  for (unsigned i = 0; i < 200; i++) {
    ck_assert_ok(vmm_hart_set_thread(displacing.hart, a));
    ck_assert_uint_eq(call(1, data, i), 40 + i);
    ck_assert_ok(vmm_hart_set_thread(displacing.hart, NULL));
    ck_assert_ok(vmm_guest_thread_destroy(a));
    ck_assert_ok(vmm_guest_thread_create(&a, NULL));
  }
  ck_assert_ok(vmm_guest_thread_destroy(a));
  displacing_end(&displacing);
}
END_TEST

START_TEST(a_copy_of_the_process_goes_on)
{
  struct displacing displacing = displacing_begin();
  uint64_t data[2] = { 0, 40 };
  int child, status;

  set_patch(0, code_add, sizeof(code_add), 0);
  set_patch(1, code_rip, sizeof(code_rip), 0);
  ck_assert_uint_eq(call(0, data, 1), 41);
  child = vmm_process_fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    _exit(call(0, data, 2) != 42 || call(1, data, 0) != 0x0807060504030201);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(call(0, data, 3), 43);
  displacing_end(&displacing);
}
END_TEST
#endif

Suite *vmm_suite_displace(void)
{
  Suite *suite = suite_create("displace");
  TCase *tcase = tcase_create("displace");

#if defined __x86_64__
  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, the_patch_stays_and_every_call_goes_through);
  tcase_add_test(tcase, s0_11_what_is_relative_to_the_pc_is_that_of_its_place);
  tcase_add_test(tcase, an_access_that_can_be_repaired_is);
  tcase_add_test(tcase, s0_6_a_fault_names_the_place_and_the_data);
  tcase_add_test(tcase, a_guarded_call_tells_the_place);
  tcase_add_test(tcase, the_handler_before_the_librarys_sees_the_place);
  tcase_add_test(tcase, a_signal_sees_the_place_or_what_follows);
  tcase_add_test(tcase, s0_3_a_signal_before_the_instruction);
  tcase_add_test(tcase, what_cant_run_elsewhere_is_refused);
  tcase_add_test(tcase, without_a_hart_there_is_no_page);
  tcase_add_test(tcase, without_memory_the_page_comes_later);
  tcase_add_test(tcase, each_guest_thread_has_its_own_page);
  tcase_add_test(tcase, a_copy_of_the_process_goes_on);
#endif
  suite_add_tcase(suite, tcase);
  return suite;
}
