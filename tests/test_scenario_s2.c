/*
 * Scenarios S2: fault fixup.  What software does to a page means exactly what a
 * real fault means.  Every space here is exact.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"
#include "windows.h"

#define AT 0x10000

static uint64_t page;

/* => an exact space with npages of memory at AT */
static struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

/* An access of the window with faults disabled. */
static int nofault_write(struct vmm_space *space, vmm_addr_t va, uint8_t byte)
{
  int error;

  vmm_nofault_begin();
  error = probe_write(space, va, byte);
  vmm_nofault_end();
  return error;
}

static int nofault_read(struct vmm_space *space, vmm_addr_t va, uint8_t *byte)
{
  int error;

  vmm_nofault_begin();
  error = probe_read(space, va, byte);
  vmm_nofault_end();
  return error;
}

/* S2.1 */
START_TEST(fixup_of_a_clean_page_for_writing_makes_it_dirty)
{
  struct vmm_space *space = space_with(1, RW);

  step(space, 0, 1, vmm_test_set(space, AT, 1));
  probe_clear(space, AT, page, DIRTY);
  ck_assert_pte(space, AT, YOUNG | DIRTY | VMM_PTE_SWRITE, YOUNG);
  ck_assert_error(nofault_write(space, AT, 2), EFAULT);
  ck_assert_ok(vmm_fixup(space, AT, VMM_WRITE));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_int_eq(nofault_write(space, AT, 3), 0);
  step(space, 0, 0, vmm_test_set(space, AT + 1, 4));
  ck_assert_uint_eq(vmm_test_get(space, AT), 3);
  vmm_test_end(space);
}
END_TEST

/* S2.2 */
START_TEST(fixup_of_an_old_page_for_reading_makes_it_young_only)
{
  struct vmm_space *space = space_with(1, RW);
  uint8_t byte = 0;

  step(space, 0, 1, vmm_test_set(space, AT, 7));
  probe_clear(space, AT, page, YOUNG | DIRTY);
  ck_assert_error(nofault_read(space, AT, &byte), EFAULT);
  ck_assert_pte(space, AT, YOUNG | DIRTY, 0);
  ck_assert_ok(vmm_fixup(space, AT, VMM_READ));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG);
  ck_assert_int_eq(nofault_read(space, AT, &byte), 0);
  ck_assert_uint_eq(byte, 7);
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG);
  vmm_test_end(space);
}
END_TEST

/* S2.2: dirtiness is not taken away either. */
START_TEST(fixup_for_reading_keeps_a_dirty_page_dirty)
{
  struct vmm_space *space = space_with(1, RW);

  vmm_test_set(space, AT, 7);
  probe_clear(space, AT, page, YOUNG);
  ck_assert_ok(vmm_fixup(space, AT, VMM_READ));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  vmm_test_end(space);
}
END_TEST

/* The fixup is refused for this reason, and takes no frame. */
static void refuse_fixup(struct vmm_space *space, vmm_addr_t va, unsigned access,
                         unsigned reason)
{
  struct vmm_fault fault;

  ck_assert_refused(space, vmm_fixup(space, va, access), EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, reason);
  ck_assert_uint_eq(fault.access, access);
  ck_assert_uint_eq(fault.va, va);
  ck_assert_int_eq(fault.error, -EFAULT);
  ck_assert_ptr_eq(fault.space, space);
  ck_assert_ptr_null(fault.host_pc);
  ck_assert_ptr_null(fault.info);
  ck_assert_ptr_null(fault.context);
}

/* S2.3 */
START_TEST(fixup_without_the_right_or_a_region_is_efault)
{
  struct vmm_space *space = space_with(2, VMM_READ);

  refuse_fixup(space, AT, VMM_WRITE, VMM_FAULT_RIGHTS);
  refuse_fixup(space, AT, VMM_EXEC, VMM_FAULT_RIGHTS);
  refuse_fixup(space, AT + 2 * page, VMM_WRITE, VMM_FAULT_NO_REGION);
  refuse_fixup(space, AT - 1, VMM_READ, VMM_FAULT_NO_REGION);
  step(space, 1, 0, vmm_test_get(space, AT));
  refuse_fixup(space, AT, VMM_WRITE, VMM_FAULT_RIGHTS);
  ck_assert_ok(vmm_protect(space, AT, page, 0));
  refuse_fixup(space, AT, VMM_READ, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  vmm_test_end(space);
}
END_TEST

/* S2.3: a read-only private mapping of an object is not copied. */
START_TEST(fixup_for_writing_never_breaks_copy_on_write_without_the_right)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = probe_object(page, 0);
  vmm_addr_t at = AT + 4 * page;

  ck_assert_ok(probe_map(space, at, page, object, 0, VMM_READ | VMM_PRIVATE));
  step(space, 1, 0, vmm_test_get(space, at));
  refuse_fixup(space, at, VMM_WRITE, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(vmm_test_stats(space).copies, 0);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(fixup_refuses_what_is_not_one_access)
{
  struct vmm_space *space = space_with(1, RW);

  ck_assert_refused(space, vmm_fixup(space, AT, 0), EINVAL);
  ck_assert_refused(space, vmm_fixup(space, AT, RW), EINVAL);
  ck_assert_refused(space, vmm_fixup(space, AT, 1 << 3), EINVAL);
  vmm_test_end(space);
}
END_TEST

/* S2.7 */
START_TEST(only_the_outermost_end_enables_faults_again)
{
  struct vmm_space *space = space_with(2, RW);
  uint8_t byte;

  vmm_nofault_begin();
  vmm_nofault_begin();
  ck_assert_error(probe_read(space, AT, &byte), EFAULT);
  vmm_nofault_end();
  ck_assert_error(probe_read(space, AT, &byte), EFAULT);
  ck_assert_error(probe_write(space, AT, 1), EFAULT);
  ck_assert_uint_eq(probe_reason(space, AT, VMM_READ), VMM_FAULT_DISABLED);
  ck_assert_uint_eq(probe_pte(space, AT), 0);
  vmm_nofault_end();
  step(space, 1, 0, ck_assert_int_eq(probe_read(space, AT, &byte), 0));
  ck_assert_uint_eq(byte, 0);
  vmm_test_end(space);
}
END_TEST

/* S2.8 */
START_TEST(nofault_copy_stops_where_a_page_is_not_there)
{
  struct vmm_space *space = space_with(2, RW);
  char host[64];
  size_t left = 99;

  memset(host, 'h', sizeof(host));
  vmm_test_set(space, AT + page - 1, 'g');
  vmm_nofault_begin();
  ck_assert_error(vmm_copyin(space, host, AT + page - 16, 48, &left), EFAULT);
  ck_assert_uint_eq(left, 32);
  ck_assert_int_eq(host[14], 0);
  ck_assert_int_eq(host[15], 'g');
  ck_assert_int_eq(host[16], 'h'); /* beyond what was copied */
  memset(host, 'x', sizeof(host));
  ck_assert_error(vmm_copyout(space, AT + page - 16, host, 48, &left), EFAULT);
  ck_assert_uint_eq(left, 32);
  ck_assert_error(vmm_fill(space, AT + page - 8, 'f', 16, &left), EFAULT);
  ck_assert_uint_eq(left, 8);
  vmm_nofault_end();
  ck_assert_uint_eq(probe_pte(space, AT + page), 0);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  ck_assert_uint_eq(vmm_test_get(space, AT + page - 9), 'x');
  ck_assert_uint_eq(vmm_test_get(space, AT + page - 1), 'f');
  vmm_test_end(space);
}
END_TEST

/* S2.8: and where nothing is mapped at all, with or without faults. */
START_TEST(copy_stops_at_the_end_of_what_is_mapped)
{
  struct vmm_space *space = space_with(1, RW);
  char host[64] = "";
  size_t left;

  vmm_test_set(space, AT, 1);
  vmm_nofault_begin();
  ck_assert_error(vmm_copyin(space, host, AT + page - 16, 48, &left), EFAULT);
  vmm_nofault_end();
  ck_assert_uint_eq(left, 32);
  ck_assert_error(vmm_copyout(space, AT + page - 16, host, 48, &left), EFAULT);
  ck_assert_uint_eq(left, 32);
  ck_assert_error(vmm_copyout(space, AT - 1, host, 48, &left), EFAULT);
  ck_assert_uint_eq(left, 48);
  vmm_test_end(space);
}
END_TEST

/* S2.8: bytes copied into the space by a nofault copy of a window's memory. */
START_TEST(nofault_copy_between_windows_reports_either_side)
{
  struct vmm_space *space = space_with(4, RW);
  char *base = vmm_space_base(space);
  size_t left;

  vmm_test_set(space, AT, 1);
  vmm_test_set(space, AT + page, 2);
  vmm_nofault_begin();
  ck_assert_error(vmm_copyout(space, AT, base + AT + 2 * page, 8, &left),
                  EFAULT);
  ck_assert_uint_eq(left, 8);
  ck_assert_ok(vmm_copyout(space, AT, base + AT + page, 8, &left));
  ck_assert_uint_eq(left, 0);
  vmm_nofault_end();
  ck_assert_uint_eq(vmm_test_get(space, AT), 2);
  ck_assert_uint_eq(probe_pte(space, AT + 2 * page), 0);
  vmm_test_end(space);
}
END_TEST

/* ---- S2.9 ---- */

static char *outside;
static volatile sig_atomic_t earlier_calls;
static void *volatile earlier_addr;
static volatile int earlier_code;
static volatile uintptr_t earlier_pc;
static struct vmm_space *volatile earlier_space;

static void earlier_handler(int signal, siginfo_t *info, void *context)
{
  ucontext_t *user = context;

  (void)signal;
  earlier_calls++;
  earlier_addr = info->si_addr;
  earlier_code = info->si_code;
  earlier_pc = (uintptr_t)user->uc_mcontext.gregs[REG_RIP];
  if (earlier_space != NULL)
    vmm_protect(earlier_space, AT, page, RW);
  else
    mprotect(outside, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE);
}

static void install_earlier(void)
{
  struct sigaction action = { 0 };

  action.sa_sigaction = earlier_handler;
  action.sa_flags = SA_SIGINFO;
  ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
  outside = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(outside, MAP_FAILED);
}

/* Without a table entry of its own. */
static __attribute__((noinline)) void plain_write(char *at)
{
  *(volatile char *)at = 1;
}

/* S2.9 */
START_TEST(fault_outside_every_window_reaches_the_earlier_handler)
{
  struct vmm_space *space;
  uintptr_t start = (uintptr_t)plain_write;

  install_earlier();
  space = space_with(1, RW);
  step(space, 0, 0, plain_write(outside + 5));
  ck_assert_int_eq(earlier_calls, 1);
  ck_assert_ptr_eq(earlier_addr, outside + 5);
  ck_assert_int_eq(earlier_code, SEGV_ACCERR);
  ck_assert(earlier_pc >= start && earlier_pc < start + 256);
  ck_assert_int_eq(outside[5], 1);
  step(space, 0, 1, vmm_test_set(space, AT, 1));
  ck_assert_int_eq(earlier_calls, 1);
  vmm_test_end(space);
}
END_TEST

/* S2.9: of a window too, where nobody else wants it. */
START_TEST(unrepaired_fault_of_a_window_reaches_the_earlier_handler)
{
  struct vmm_space *space;

  install_earlier();
  space = space_with(1, VMM_READ);
  earlier_space = space;
  step(space, 0, 2, plain_write(vmm_space_base(space) + AT + 9));
  ck_assert_int_eq(earlier_calls, 1);
  ck_assert_ptr_eq(earlier_addr, vmm_space_base(space) + AT + 9);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  vmm_test_end(space);
}
END_TEST

/* S2.9: no earlier handler: the default action, as without the library. */
START_TEST(fault_that_is_nobodys_ends_the_process)
{
  struct vmm_space *space;

  signal(SIGSEGV, SIG_DFL); /* no sanitizer's */
  space = space_with(1, VMM_READ);
  plain_write(vmm_space_base(space) + AT);
}
END_TEST

/* ---- S2.14 ---- */

/* Lock, a compare-and-swap with faults disabled, unlock, fixup, again.
 * => rounds, or -errno of the fixup */
static int futex_like(struct vmm_space *space, vmm_addr_t va, uint32_t desired)
{
  uint32_t expected;
  int round, error;

  for (round = 1; round <= 5; round++) {
    vmm_nofault_begin();
    error = vmm_load(space, va, &expected, sizeof(expected));
    if (error == 0)
      error = vmm_cas(space, va, &expected, &desired, sizeof(desired));
    vmm_nofault_end();
    if (error == 0)
      return round;
    ck_assert_int_eq(error, -EFAULT);
    error = vmm_fixup(space, va, VMM_WRITE);
    if (error != 0)
      return error;
  }
  return round;
}

/* The same by the window's own instruction. */
static int futex_like_direct(struct vmm_space *space, vmm_addr_t va,
                             uint32_t desired)
{
  char *at = vmm_space_base(space) + va;
  uint32_t expected;
  int round, error;

  for (round = 1; round <= 5; round++) {
    vmm_nofault_begin();
    expected = 0;
    vmm_try_cas_u32(at, expected, desired, fault);
    vmm_nofault_end();
    return round;
  fault:
    vmm_nofault_end();
    error = vmm_fixup(space, va, VMM_WRITE);
    if (error != 0)
      return error;
  }
  return round;
}

/* Brings the page at AT into one state; => the rounds that it should take. */
static int make_state(struct vmm_space *space, int state)
{
  switch (state) {
  case 0: return 2; /* never touched */
  case 1: vmm_test_get(space, AT); return 2; /* the zero frame */
  case 2: vmm_test_set(space, AT, 0); return 1; /* all is there */
  case 3: /* clean */
    vmm_test_set(space, AT, 0);
    probe_clear(space, AT, page, DIRTY);
    return 2;
  case 4: /* old and dirty */
    vmm_test_set(space, AT, 0);
    probe_clear(space, AT, page, YOUNG);
    return 2;
  case 5: /* the right was away meanwhile */
    vmm_test_set(space, AT, 0);
    ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
    ck_assert_ok(vmm_protect(space, AT, page, RW));
    return 2;
  default: /* discarded */
    vmm_test_set(space, AT, 1);
    ck_assert_ok(vmm_discard(space, AT, page));
    return 2;
  }
}

/* S2.14 */
START_TEST(futex_like_loop_ends_in_two_rounds)
{
  struct vmm_space *space = space_with(1, RW);
  int rounds = make_state(space, _i % 7), took;

  took = _i < 7 ? futex_like(space, AT, 0x1234)
                : futex_like_direct(space, AT, 0x1234);
  if (_i == 5 || _i == 12) /* whether a dirty page stays silent is open */
    ck_assert_int_le(took, rounds);
  else
    ck_assert_int_eq(took, rounds);
  ck_assert_uint_eq(vmm_test_get(space, AT), 0x34);
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  vmm_test_end(space);
}
END_TEST

/* S2.14: a copy-on-write page of an object is copied once. */
START_TEST(futex_like_loop_copies_on_write)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = probe_object(page, 0);
  vmm_addr_t at = AT + 4 * page, shared = AT + 8 * page;

  ck_assert_ok(probe_map(space, at, page, object, 0, RW | VMM_PRIVATE));
  ck_assert_ok(probe_map(space, shared, page, object, 0, RW));
  step(space, 1, 0, vmm_test_get(space, at));
  ck_assert_int_eq(futex_like(space, at, 0x1234), 2);
  ck_assert_uint_eq(vmm_test_stats(space).copies, 1);
  ck_assert_uint_eq(vmm_test_get(space, at), 0x34);
  ck_assert_uint_eq(vmm_test_get(space, shared), 0);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

/* S2.14: where it may not succeed it ends too. */
START_TEST(futex_like_loop_ends_with_efault_without_the_right)
{
  struct vmm_space *space = space_with(1, VMM_READ);

  ck_assert_int_eq(futex_like(space, AT, 1), -EFAULT);
  ck_assert_int_eq(futex_like(space, AT + page, 1), -EFAULT);
  ck_assert_int_eq(futex_like_direct(space, AT, 1), -EFAULT);
  ck_assert_int_eq(futex_like_direct(space, AT + page, 1), -EFAULT);
  vmm_test_end(space);
}
END_TEST

static void add_fixup_tests(TCase *tcase)
{
  tcase_add_window_test(tcase,
                        fixup_of_a_clean_page_for_writing_makes_it_dirty);
  tcase_add_window_test(tcase,
                        fixup_of_an_old_page_for_reading_makes_it_young_only);
  tcase_add_test(tcase, fixup_for_reading_keeps_a_dirty_page_dirty);
  tcase_add_test(tcase, fixup_without_the_right_or_a_region_is_efault);
  tcase_add_test(
      tcase, fixup_for_writing_never_breaks_copy_on_write_without_the_right);
  tcase_add_test(tcase, fixup_refuses_what_is_not_one_access);
}

Suite *vmm_suite_scenario_s2(void)
{
  Suite *suite = suite_create("scenario_s2");
  TCase *tcase = tcase_create("fixup");

  add_fixup_tests(tcase);
  tcase_add_window_test(tcase, only_the_outermost_end_enables_faults_again);
  tcase_add_test(tcase, nofault_copy_stops_where_a_page_is_not_there);
  tcase_add_test(tcase, copy_stops_at_the_end_of_what_is_mapped);
  tcase_add_window_test(tcase,
                        nofault_copy_between_windows_reports_either_side);
  tcase_add_test(tcase, fault_outside_every_window_reaches_the_earlier_handler);
  tcase_add_window_test(tcase,
                 unrepaired_fault_of_a_window_reaches_the_earlier_handler);
  tcase_add_test_raise_signal(tcase, fault_that_is_nobodys_ends_the_process,
                              SIGSEGV);
  tcase_add_loop_window_test(tcase, futex_like_loop_ends_in_two_rounds, 0, 14);
  tcase_add_test(tcase, futex_like_loop_copies_on_write);
  tcase_add_window_test(tcase,
                        futex_like_loop_ends_with_efault_without_the_right);
  suite_add_tcase(suite, tcase);
  return suite;
}
