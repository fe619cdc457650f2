/*
 * Scenarios S4: software page-table bits, coherence, code.  Every space is
 * exact, and every fault is counted.
 */
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

/* S4.2 */
START_TEST(read_of_untouched_memory_shows_the_zero_frame)
{
  struct vmm_space *space = space_with(3, RW);
  uint64_t i;

  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 0));
  ck_assert_pte(space, AT, VMM_PTE_PRESENT | YOUNG | DIRTY | VMM_PTE_SWRITE,
                VMM_PTE_PRESENT | YOUNG);
  for (i = 0; i < page; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i), 0);
  step(space, 1, 0, vmm_test_get(space, AT + page));
  ck_assert_uint_eq(vmm_pte_frame(probe_pte(space, AT)),
                    vmm_pte_frame(probe_pte(space, AT + page)));
  ck_assert_uint_eq(vmm_test_stats(space).zero_maps, 2);
  ck_assert_uint_eq(vmm_test_stats(space).zero_fills, 0);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);

  step(space, 0, 1, vmm_test_set(space, AT, 1));
  ck_assert_pte(space, AT, YOUNG | DIRTY | VMM_PTE_COW, YOUNG | DIRTY);
  ck_assert_uint_ne(vmm_pte_frame(probe_pte(space, AT)),
                    vmm_pte_frame(probe_pte(space, AT + page)));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 1));
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT + page), 0));
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 0));
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_test_end(space);
}
END_TEST

/* S4.2: written without having been read. */
START_TEST(write_of_untouched_memory_takes_one_fault)
{
  struct vmm_space *space = space_with(2, RW);

  step(space, 0, 1, vmm_test_set(space, AT + 5, 1));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_uint_eq(probe_pte(space, AT + page), 0);
  ck_assert_uint_eq(vmm_test_stats(space).zero_fills, 1);
  ck_assert_uint_eq(vmm_test_stats(space).zero_maps, 0);
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 0));
  ck_assert_uint_eq(vmm_test_stats(space).repaired, 1);
  vmm_test_end(space);
}
END_TEST

/* S4.3 */
START_TEST(clean_page_gets_dirty_exactly_at_the_write)
{
  struct vmm_space *space = space_with(1, RW);

  step(space, 0, 1, vmm_test_set(space, AT, 1));
  probe_clear(space, AT, page, YOUNG | DIRTY);
  ck_assert_pte(space, AT, YOUNG | DIRTY, 0);
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 1));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG);
  step(space, 0, 0, vmm_test_get(space, AT + 1));
  ck_assert_pte(space, AT, DIRTY, 0);
  step(space, 0, 1, vmm_test_set(space, AT, 2));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  step(space, 0, 0, vmm_test_set(space, AT, 3));
  vmm_test_end(space);
}
END_TEST

/* S4.4 */
START_TEST(dirty_page_protected_and_back_traps_once_and_stays_dirty)
{
  struct vmm_space *space = space_with(1, RW);

  step(space, 0, 1, vmm_test_set(space, AT, 1));
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_pte(space, AT, YOUNG | DIRTY | VMM_PTE_SWRITE, YOUNG | DIRTY);
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 1));
  step(space, 0, 1, ck_assert_error(probe_write(space, AT, 2), EFAULT));
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  step(space, 0, 1, vmm_test_set(space, AT + 1, 2));
  step(space, 0, 0, vmm_test_set(space, AT + 1, 3));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  vmm_test_end(space);
}
END_TEST

/* S4.5, of one thread: test_race.c has the 32 writers. */
START_TEST(old_page_traps_once_and_is_young)
{
  struct vmm_space *space = space_with(1, RW);

  vmm_test_set(space, AT, 1);
  probe_clear(space, AT, page, YOUNG);
  ck_assert_pte(space, AT, YOUNG | DIRTY | VMM_PTE_SILENT, DIRTY);
  step(space, 0, 1, vmm_test_set(space, AT, 2));
  step(space, 0, 0, vmm_test_set(space, AT, 3));
  step(space, 0, 0, vmm_test_get(space, AT));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  vmm_test_end(space);
}
END_TEST

/* S4.9 */
START_TEST(fetch_without_exec_is_an_exec_fault_of_a_readable_page)
{
  struct vmm_space *space = space_with(2, RW);
  struct vmm_fault fault;
  uint32_t insn = 0x13, got = 1;

  ck_assert_ok(vmm_store(space, AT, &insn, sizeof(insn)));
  ck_assert_error(vmm_fetch(space, AT, &got, 4), EFAULT);
  ck_assert_uint_eq(got, 1);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.access, VMM_EXEC);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(fault.va, AT);
  ck_assert_uint_eq(vmm_test_stats(space).faults_exec, 1);
  ck_assert_ok(vmm_load(space, AT, &got, 4));
  ck_assert_uint_eq(got, insn);
  ck_assert_int_eq(vmm_test_get(space, AT), 0x13);

  ck_assert_ok(vmm_protect(space, AT, page, RX));
  ck_assert_ok(vmm_fetch(space, AT, &got, 4));
  ck_assert_uint_eq(got, insn);
  ck_assert_error(vmm_fetch(space, AT + page - 2, &got, 4), EINVAL);
  ck_assert_error(vmm_fetch(space, AT + page, &got, 4), EFAULT);
  vmm_test_end(space);
}
END_TEST

/* S4.9: EXEC alone is enough to fetch, and not to read. */
START_TEST(fetch_does_not_need_read)
{
  struct vmm_space *space = space_with(1, RW);
  uint32_t insn = 0x13, got = 0;

  ck_assert_ok(vmm_store(space, AT, &insn, sizeof(insn)));
  ck_assert_ok(vmm_protect(space, AT, page, VMM_EXEC));
  ck_assert_ok(vmm_fetch(space, AT, &got, 4));
  ck_assert_uint_eq(got, insn);
  ck_assert_uint_eq(probe_reason(space, AT, VMM_READ), VMM_FAULT_RIGHTS);
  ck_assert_error(vmm_load(space, AT, &got, 4), EFAULT);
  vmm_test_end(space);
}
END_TEST

/* S4.10 */
START_TEST(data_is_kept_while_there_are_no_rights)
{
  struct vmm_space *space = space_with(1, RW);

  vmm_test_set(space, AT, 42);
  ck_assert_refused(space, vmm_protect(space, AT, page, VMM_WRITE), ENOTSUP);
  ck_assert_ok(vmm_protect(space, AT, page, 0));
  ck_assert_uint_eq(probe_reason(space, AT, VMM_READ), VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(probe_reason(space, AT, VMM_WRITE), VMM_FAULT_RIGHTS);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 42));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  vmm_test_end(space);
}
END_TEST

/* S4.10: where there is no window, write-only memory can be had. */
START_TEST(write_only_memory_of_a_checked_space_takes_stores)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_CHECKED);
  uint32_t value = 7;

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, page, VMM_WRITE));
  ck_assert_ok(vmm_store(space, AT, &value, 4));
  ck_assert_error(vmm_load(space, AT, &value, 4), EFAULT);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  value = 0;
  ck_assert_ok(vmm_load(space, AT, &value, 4));
  ck_assert_uint_eq(value, 7);
  vmm_test_end(space);
}
END_TEST

/* Ranges that no call takes: S4.12. */
static const struct {
  vmm_addr_t va;
  uint64_t nbytes;
} bad_ranges[] = {
  { AT + 1, 0x1000 },         { AT, 0x1001 },
  { AT, 0 },                  { AT, (uint64_t)1 << 63 },
  { AT, -(uint64_t)0x1000 },  { AT, -(uint64_t)AT },
  { -(uint64_t)0x1000, 0x2000 }, { (1 << 26) - 0x1000, 0x2000 },
  { 1 << 26, 0x1000 },        { -(uint64_t)0x1000, 0x1000 },
};

/* S4.12 */
START_TEST(bad_range_is_einval_and_changes_nothing)
{
  struct vmm_space *space = space_with(4, RW);
  vmm_addr_t va = bad_ranges[_i].va, to = 0x100000;
  uint64_t nbytes = bad_ranges[_i].nbytes;
  struct vmm_map_options options = { 0 };

  options.rights = RW;
  options.flags = VMM_REPLACE;
  vmm_test_set(space, AT, 1);
  ck_assert_refused(space, vmm_map_anon(space, va, nbytes, RW), EINVAL);
  ck_assert_refused(space, vmm_map(space, &va, nbytes, &options), EINVAL);
  ck_assert_uint_eq(va, bad_ranges[_i].va);
  ck_assert_refused(space, vmm_unmap(space, va, nbytes), EINVAL);
  ck_assert_refused(space, vmm_protect(space, va, nbytes, VMM_READ), EINVAL);
  ck_assert_refused(space, vmm_discard(space, va, nbytes), EINVAL);
  ck_assert_refused(space, vmm_wire(space, va, nbytes), EINVAL);
  ck_assert_refused(space, vmm_unwire(space, va, nbytes), EINVAL);
  ck_assert_refused(space, vmm_move(space, va, nbytes, &to, 0), EINVAL);
  ck_assert_uint_eq(to, 0x100000);
  ck_assert_refused(space, vmm_pages(space, va, nbytes, YOUNG, NULL), EINVAL);
  ck_assert_refused(space,
                    vmm_region_set_handler(space, va, nbytes, NULL, NULL),
                    EINVAL);
  vmm_test_end(space);
}
END_TEST

/* S4.12 */
START_TEST(overlapping_ranges_are_refused)
{
  struct vmm_space *space = space_with(4, RW);
  vmm_addr_t to = AT + page;
  uint64_t i;

  for (i = 0; i < 4; i++)
    vmm_test_set(space, AT + i * page, (uint8_t)i);
  ck_assert_refused(space, vmm_map_anon(space, AT - page, 2 * page, RW), EEXIST);
  ck_assert_refused(space, vmm_map_anon(space, AT + 3 * page, 2 * page, RW),
                    EEXIST);
  ck_assert_refused(space, vmm_map_anon(space, AT - page, 6 * page, RW), EEXIST);
  ck_assert_refused(space, vmm_move(space, AT, 2 * page, &to, VMM_REPLACE),
                    EINVAL);
  ck_assert_refused(space, vmm_move(space, AT, page, &to, 0), EEXIST);
  ck_assert_uint_eq(to, AT + page);
  vmm_test_end(space);
}
END_TEST

/* ---- code ---- */

static struct {
  vmm_addr_t watch; /* the page that we wait for */
  unsigned calls;   /* that told of it */
} told;

static void remember(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes)
{
  ck_assert_ptr_eq(self->arg, &told);
  told.calls += told.watch >= va && told.watch < va + nbytes;
}

/* The page was told of so often since the last time. */
static void expect_told(unsigned calls)
{
  ck_assert_uint_eq(told.calls, calls);
  told.calls = 0;
}

static struct vmm_notifier notifier = { .invalidate = remember, .arg = &told };

/* S4.14 */
START_TEST(code_that_is_written_is_invalidated_before_the_write_returns)
{
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  uint32_t old = 0x11111111, new = 0x22222222, got;

  told.watch = AT;
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  step(space, 0, 1, vmm_test_set(space, AT, 0));
  ck_assert_ok(vmm_store(space, AT, &old, 4));
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 0);
  ck_assert_uint_eq(got, old);
  expect_told(0);
  step(space, 0, 0, vmm_test_get(space, AT + 8));
  step(space, 0, 1, vmm_test_set(space, AT + 8, 1));
  expect_told(1);
  ck_assert_uint_eq(vmm_test_stats(space).invalidations, 1);
  step(space, 0, 0, vmm_test_set(space, AT + 9, 1));
  expect_told(0);

  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 0);
  ck_assert_ok(vmm_copyout(space, AT, &new, 4, NULL));
  expect_told(1);
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 0);
  ck_assert_uint_eq(got, new);
  ck_assert_uint_eq(vmm_test_stats(space).invalidations, 2);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  ck_assert_error(vmm_notifier_remove(space, &notifier), ENOENT);
  vmm_test_end(space);
}
END_TEST

/* S4.14: a way to change code that is not a store. */
static void change_code(struct vmm_space *space, int way)
{
  vmm_addr_t to = AT + 0x40000;

  switch (way) {
  case 0: ck_assert_ok(vmm_unmap(space, AT, page)); break;
  case 1: ck_assert_ok(vmm_protect(space, AT, page, VMM_READ)); break;
  case 2: ck_assert_ok(vmm_discard(space, AT, page)); break;
  case 3: ck_assert_ok(vmm_move(space, AT, page, &to, 0)); break;
  case 4: ck_assert_ok(vmm_map_anon(space, AT, page, RW | VMM_REPLACE)); break;
  default: ck_assert_ok(vmm_fill(space, AT, 0, 1, NULL)); break;
  }
}

/* S4.14 */
START_TEST(code_that_changes_otherwise_is_invalidated)
{
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  uint32_t got;

  told.watch = AT;
  vmm_test_set(space, AT, 1);
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 0);
  change_code(space, _i);
  expect_told(1);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  vmm_test_end(space);
}
END_TEST

/* S4.14: a page pinned for writing changes untold. */
START_TEST(code_pinned_for_writing_is_not_cacheable)
{
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  struct vmm_iovec iov[1];
  struct vmm_pin *pin;
  size_t niov = 1;
  uint32_t got;

  told.watch = AT;
  vmm_test_set(space, AT, 1);
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 0);
  ck_assert_ok(vmm_pin(space, AT, 4, VMM_WRITE, iov, &niov, &pin));
  expect_told(1);
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 1);
  *(uint32_t *)iov[0].base = 77;
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 1);
  ck_assert_uint_eq(got, 77);
  vmm_unpin(pin);
  ck_assert_int_eq(vmm_fetch(space, AT, &got, 4), 0);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  vmm_test_end(space);
}
END_TEST

/* S4.16 */
START_TEST(code_run_in_one_mapping_and_written_in_another_is_invalidated)
{
  struct vmm_space *space = space_with(1, RW), *other = NULL;
  struct vmm_object *object = probe_object(page, 0);
  vmm_addr_t run = AT + 8 * page, write = AT + 16 * page;
  uint32_t got, new = 0x99;

  told.watch = run;
  other = _i & 1 ? vmm_test_space(1 << 26, VMM_EXACT) : space;
  ck_assert_ok(probe_map(space, run, page, object, 0, RX));
  ck_assert_ok(probe_map(other, write, page, object, 0, RW));
  vmm_test_set(other, write, 1); /* the write right is silent before */
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  ck_assert_int_eq(vmm_fetch(space, run, &got, 4), 0);
  ck_assert_uint_eq(got, 1);
  expect_told(0);
  if (_i & 2)
    ck_assert_ok(vmm_store(other, write, &new, 4));
  else
    step(other, 0, 1, vmm_test_set(other, write, 0x99));
  expect_told(1);
  ck_assert_int_eq(vmm_fetch(space, run, &got, 4), 0);
  ck_assert_uint_eq(got, 0x99);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  if (other != space)
    vmm_test_end(other);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

/* ---- S4.15 ---- */

/* Writes 5 to a byte by one of the ways. */
static void write_by(struct vmm_space *space, vmm_addr_t va, int way)
{
  struct vmm_iovec iov[1];
  struct vmm_pin *pin;
  size_t niov = 1;
  uint8_t five = 5;

  switch (way) {
  case 0: vmm_test_set(space, va, 5); break;
  case 1: ck_assert_ok(vmm_copyout(space, va, &five, 1, NULL)); break;
  case 2: ck_assert_ok(vmm_fill(space, va, 5, 1, NULL)); break;
  case 3: ck_assert_ok(vmm_store(space, va, &five, 1)); break;
  default:
    ck_assert_ok(vmm_pin(space, va, 1, VMM_WRITE, iov, &niov, &pin));
    *(volatile uint8_t *)iov[0].base = 5;
    vmm_unpin(pin);
  }
}

/* => the runs that the object's tracker returns for its one page */
static size_t fetch_object(struct vmm_tracker *tracker)
{
  struct vmm_range run;
  size_t nruns = 1;

  ck_assert_ok(vmm_tracker_fetch(tracker, 0, page, 1, &run, &nruns, NULL));
  return nruns;
}

/* S4.15: _i / 5: the same space or another, plain memory or a descriptor's. */
START_TEST(write_to_one_mapping_is_read_at_the_other)
{
  struct vmm_space *space = space_with(1, RW), *other;
  struct vmm_object *object =
      probe_object(page, _i / 5 & 2 ? VMM_OBJECT_EXPORT : 0);
  struct vmm_tracker_options options = { 0 };
  vmm_addr_t at = AT + 8 * page, mirror = AT + 600 * page;
  struct vmm_tracker *tracker;

  other = _i / 5 & 1 ? vmm_test_space(1 << 26, VMM_EXACT) : space;
  ck_assert_ok(probe_map(space, at, page, object, 0, VMM_READ));
  ck_assert_ok(probe_map(other, mirror, page, object, 0, RW));
  ck_assert_ok(vmm_tracker_create_object(&tracker, object, 0, page, &options));
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, at + 9), 0));
  ck_assert_uint_eq(fetch_object(tracker), 0);
  write_by(other, mirror + 9, _i % 5);
  ck_assert_ok(vmm_check(space, 0, 0));
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, at + 9), 5));
  ck_assert_uint_eq(fetch_object(tracker), 1);
  ck_assert_uint_eq(fetch_object(tracker), 0);
  ck_assert_pte(space, at, DIRTY, 0);
  ck_assert_pte(other, mirror, DIRTY, DIRTY);
  vmm_tracker_destroy(tracker);
  if (other != space)
    vmm_test_end(other);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

static void add_code_tests(Suite *suite)
{
  TCase *tcase = tcase_create("code");

  tcase_add_test(tcase,
                 fetch_without_exec_is_an_exec_fault_of_a_readable_page);
  tcase_add_window_test(tcase, fetch_does_not_need_read);
  tcase_add_test(
      tcase, code_that_is_written_is_invalidated_before_the_write_returns);
  tcase_add_loop_test(tcase, code_that_changes_otherwise_is_invalidated, 0, 6);
  tcase_add_test(tcase, code_pinned_for_writing_is_not_cacheable);
  tcase_add_loop_test(
      tcase, code_run_in_one_mapping_and_written_in_another_is_invalidated, 0,
      4);
  suite_add_tcase(suite, tcase);
}

Suite *vmm_suite_scenario_s4(void)
{
  Suite *suite = suite_create("scenario_s4");
  TCase *tcase = tcase_create("bits");

  tcase_add_test(tcase, read_of_untouched_memory_shows_the_zero_frame);
  tcase_add_test(tcase, write_of_untouched_memory_takes_one_fault);
  tcase_add_test(tcase, clean_page_gets_dirty_exactly_at_the_write);
  tcase_add_window_test(tcase,
                 dirty_page_protected_and_back_traps_once_and_stays_dirty);
  tcase_add_test(tcase, old_page_traps_once_and_is_young);
  tcase_add_window_test(tcase, data_is_kept_while_there_are_no_rights);
  tcase_add_test(tcase, write_only_memory_of_a_checked_space_takes_stores);
  tcase_add_loop_test(tcase, bad_range_is_einval_and_changes_nothing, 0,
                      sizeof(bad_ranges) / sizeof(bad_ranges[0]));
  tcase_add_test(tcase, overlapping_ranges_are_refused);
  tcase_add_loop_test(tcase, write_to_one_mapping_is_read_at_the_other, 0, 20);
  suite_add_tcase(suite, tcase);
  add_code_tests(suite);
  return suite;
}
