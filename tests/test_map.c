/*
 * What is mapped where: map, unmap, protect, move, discard, wire, and how
 * regions split and merge.  Every space is exact.
 */
#include <unistd.h>

#include "probe.h"
#include "windows.h"

#define AT 0x100000

static uint64_t page;

static struct vmm_space *new_space(void)
{
  struct vmm_space *space = vmm_test_space(1 << 28, VMM_EXACT);

  page = vmm_space_page_size(space);
  return space;
}

/* Writes a byte to each page: first, first + 1 ... */
static void stamp(struct vmm_space *space, vmm_addr_t va, unsigned npages,
                  uint8_t first)
{
  unsigned i;

  for (i = 0; i < npages; i++)
    vmm_test_set(space, va + i * page, (uint8_t)(first + i));
}

static void expect_stamps(struct vmm_space *space, vmm_addr_t va,
                          unsigned npages, uint8_t first)
{
  unsigned i;

  for (i = 0; i < npages; i++)
    ck_assert_uint_eq(vmm_test_get(space, va + i * page),
                      (uint8_t)(first + i));
}

/* The region at va is exactly this. */
static void expect_region(struct vmm_space *space, vmm_addr_t va,
                          unsigned npages, uint32_t rights)
{
  struct vmm_region_info info;

  ck_assert_ok(probe_region(space, va, &info));
  ck_assert_uint_eq(info.start, va);
  ck_assert_uint_eq(info.nbytes, npages * page);
  ck_assert_uint_eq(info.rights, rights);
}

/* => the number of regions */
static unsigned count_regions(struct vmm_space *space)
{
  struct vmm_region_info info;
  vmm_addr_t va = 0;
  unsigned n = 0;

  for (; probe_region(space, va, &info) == 0; n++)
    va = info.start + info.nbytes;
  return n;
}

START_TEST(any_takes_the_lowest_free_place_at_or_above)
{
  struct vmm_space *space = new_space();
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = AT;

  options.rights = RW;
  options.flags = VMM_ANY;
  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  ck_assert_ok(vmm_map_anon(space, AT + 3 * page, page, RW));
  ck_assert_ok(vmm_map(space, &va, page, &options));
  ck_assert_uint_eq(va, AT + 2 * page);
  va = AT;
  ck_assert_ok(vmm_map(space, &va, 2 * page, &options));
  ck_assert_uint_eq(va, AT + 4 * page);
  va = 0;
  ck_assert_ok(vmm_map(space, &va, page, &options));
  ck_assert_uint_eq(va, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(any_with_align_is_aligned)
{
  struct vmm_space *space = new_space();
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = AT + page;

  options.rights = RW;
  options.flags = VMM_ANY;
  options.align = 1 << 20;
  ck_assert_ok(vmm_map(space, &va, page, &options));
  ck_assert_uint_eq(va, 2 << 20);
  va = AT + page;
  ck_assert_ok(vmm_map(space, &va, page, &options));
  ck_assert_uint_eq(va, 3 << 20);
  options.align = 3 << 20;
  ck_assert_refused(space, vmm_map(space, &va, page, &options), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(any_without_a_free_place_is_enomem)
{
  struct vmm_space *space = new_space();
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = AT;

  options.rights = RW;
  options.flags = VMM_ANY;
  ck_assert_ok(vmm_map_anon(space, AT, vmm_space_size(space) - AT, RW));
  ck_assert_refused(space, vmm_map(space, &va, page, &options), ENOMEM);
  ck_assert_uint_eq(va, AT);
  va = 0;
  ck_assert_refused(space, vmm_map(space, &va, AT + page, &options), ENOMEM);
  ck_assert_ok(vmm_map(space, &va, AT, &options));
  ck_assert_uint_eq(va, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(replace_over_several_regions_keeps_the_rest)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW));
  ck_assert_ok(vmm_map_anon(space, AT + 4 * page, page, RW | VMM_EXEC));
  ck_assert_ok(vmm_map_anon(space, AT + 6 * page, 4 * page, RW));
  stamp(space, AT, 5, 1);
  stamp(space, AT + 6 * page, 4, 7);
  ck_assert_ok(vmm_map_anon(space, AT + 2 * page, 6 * page,
                            VMM_READ | VMM_REPLACE));
  ck_assert_ok(vmm_check(space, 0, 0));
  expect_region(space, AT, 2, RW);
  expect_region(space, AT + 2 * page, 6, VMM_READ);
  expect_region(space, AT + 8 * page, 2, RW);
  ck_assert_uint_eq(count_regions(space), 3);
  ck_assert_uint_eq(vmm_test_stats(space).mapped, 10 * page);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 4);
  step(space, 0, 0, expect_stamps(space, AT, 2, 1));
  step(space, 0, 0, expect_stamps(space, AT + 8 * page, 2, 9));
  step(space, 1, 0,
       ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 0));
  vmm_test_end(space);
}
END_TEST

START_TEST(unmap_splits_and_allows_holes)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 9 * page, RW));
  stamp(space, AT, 9, 1);
  ck_assert_ok(vmm_unmap(space, AT + 3 * page, 2 * page));
  ck_assert_ok(vmm_check(space, 0, 0));
  expect_region(space, AT, 3, RW);
  expect_region(space, AT + 5 * page, 4, RW);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 7);
  ck_assert_ok(vmm_unmap(space, AT + 2 * page, 4 * page));
  expect_region(space, AT, 2, RW);
  expect_region(space, AT + 6 * page, 3, RW);
  ck_assert_uint_eq(probe_reason(space, AT + 2 * page, VMM_READ),
                    VMM_FAULT_NO_REGION);
  ck_assert_ok(vmm_unmap(space, AT + 2 * page, 4 * page)); /* nothing there */
  step(space, 0, 0, expect_stamps(space, AT + 6 * page, 3, 7));
  ck_assert_ok(vmm_unmap(space, 0, vmm_space_size(space)));
  ck_assert_uint_eq(count_regions(space), 0);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  ck_assert_uint_eq(vmm_test_stats(space).mapped, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(unmapped_memory_mapped_again_reads_zeros)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  stamp(space, AT, 2, 1);
  ck_assert_ok(vmm_unmap(space, AT, 2 * page));
  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  ck_assert_uint_eq(probe_pte(space, AT), 0);
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 0));
  step(space, 0, 1, vmm_test_set(space, AT + page + 1, 1));
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(protect_splits_and_merges_rights)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 6 * page, RW));
  stamp(space, AT, 6, 1);
  ck_assert_ok(vmm_protect(space, AT + 2 * page, 2 * page, VMM_READ));
  ck_assert_ok(vmm_check(space, 0, 0));
  expect_region(space, AT, 2, RW);
  expect_region(space, AT + 2 * page, 2, VMM_READ);
  expect_region(space, AT + 4 * page, 2, RW);
  ck_assert_uint_eq(probe_reason(space, AT + 2 * page, VMM_WRITE),
                    VMM_FAULT_RIGHTS);
  step(space, 0, 0, expect_stamps(space, AT, 6, 1));
  step(space, 0, 0, vmm_test_set(space, AT + page, 2));
  ck_assert_ok(vmm_protect(space, AT + 2 * page, 2 * page, RW));
  expect_region(space, AT, 6, RW);
  ck_assert_uint_eq(count_regions(space), 1);
  expect_stamps(space, AT, 6, 1);
  ck_assert_ok(vmm_protect(space, AT, 6 * page, RW)); /* as it is */
  expect_region(space, AT, 6, RW);
  vmm_test_end(space);
}
END_TEST

START_TEST(protect_over_a_hole_changes_nothing)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  ck_assert_ok(vmm_map_anon(space, AT + 3 * page, 2 * page, RW));
  stamp(space, AT, 2, 1);
  ck_assert_refused(space, vmm_protect(space, AT, 5 * page, VMM_READ), ENOMEM);
  ck_assert_refused(space, vmm_protect(space, AT + page, 2 * page, 0), ENOMEM);
  ck_assert_refused(space, vmm_discard(space, AT, 5 * page), ENOMEM);
  ck_assert_refused(space, vmm_wire(space, AT, 5 * page), ENOMEM);
  ck_assert_refused(space, vmm_unwire(space, AT, 5 * page), ENOMEM);
  ck_assert_refused(
      space, vmm_region_set_handler(space, AT, 5 * page, NULL, NULL), ENOMEM);
  step(space, 0, 0, vmm_test_set(space, AT, 9));
  vmm_test_end(space);
}
END_TEST

START_TEST(narrowing_reaches_the_window_before_protect_returns)
{
  struct vmm_space *space = new_space();
  uint8_t byte;

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  stamp(space, AT, 2, 1);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  step(space, 0, 1, ck_assert_error(probe_write(space, AT, 5), EFAULT));
  step(space, 0, 0, ck_assert_int_eq(probe_read(space, AT, &byte), 0));
  ck_assert_ok(vmm_protect(space, AT, page, 0));
  step(space, 1, 0, ck_assert_error(probe_read(space, AT, &byte), EFAULT));
  step(space, 0, 0, vmm_test_set(space, AT + page, 6));
  vmm_test_end(space);
}
END_TEST

/* ---- move ---- */

START_TEST(move_takes_bytes_and_bits_along)
{
  struct vmm_space *space = new_space();
  vmm_addr_t to = AT + 700 * page;
  struct vmm_stats before;

  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW));
  stamp(space, AT, 3, 1);
  probe_clear(space, AT + page, page, YOUNG | DIRTY);
  before = vmm_test_stats(space);
  ck_assert_ok(vmm_move(space, AT, 4 * page, &to, 0));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(to, AT + 700 * page);
  ck_assert_uint_eq(vmm_test_stats(space).frames, before.frames);
  ck_assert_uint_eq(vmm_test_stats(space).mapped, before.mapped);
  ck_assert_pte(space, to, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_pte(space, to + page, VMM_PTE_PRESENT | YOUNG, VMM_PTE_PRESENT);
  expect_region(space, to, 4, RW);
  ck_assert_uint_eq(count_regions(space), 1);
  ck_assert_uint_eq(probe_reason(space, AT, VMM_READ), VMM_FAULT_NO_REGION);
  expect_stamps(space, to, 3, 1);
  ck_assert_uint_eq(vmm_test_get(space, to + 3 * page), 0);
  vmm_test_set(space, to, 77);
  ck_assert_uint_eq(vmm_test_get(space, to), 77);
  vmm_test_end(space);
}
END_TEST

START_TEST(move_of_a_part_splits_and_replaces)
{
  struct vmm_space *space = new_space();
  vmm_addr_t to = AT + 8 * page;

  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW));
  ck_assert_ok(vmm_map_anon(space, AT + 7 * page, 4 * page, RW));
  stamp(space, AT, 4, 1);
  stamp(space, AT + 7 * page, 4, 11);
  ck_assert_refused(space, vmm_move(space, AT + page, 2 * page, &to, 0),
                    EEXIST);
  ck_assert_ok(vmm_move(space, AT + page, 2 * page, &to, VMM_REPLACE));
  ck_assert_ok(vmm_check(space, 0, 0));
  expect_region(space, AT, 1, RW);
  expect_region(space, AT + 3 * page, 1, RW);
  expect_stamps(space, to, 2, 2);
  ck_assert_uint_eq(vmm_test_get(space, AT + 7 * page), 11);
  ck_assert_uint_eq(vmm_test_get(space, AT + 10 * page), 14);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 6);
  vmm_test_end(space);
}
END_TEST

START_TEST(move_anywhere_chooses_a_free_place)
{
  struct vmm_space *space = new_space();
  vmm_addr_t to = AT;

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  stamp(space, AT, 2, 1);
  ck_assert_ok(vmm_move(space, AT, 2 * page, &to, VMM_ANY));
  ck_assert_uint_eq(to, AT + 2 * page);
  expect_stamps(space, to, 2, 1);
  ck_assert_refused(space, vmm_move(space, AT, 2 * page, &to, VMM_ANY), ENOMEM);
  ck_assert_refused(space, vmm_move(space, to, 3 * page, &to, VMM_ANY), ENOMEM);
  vmm_test_end(space);
}
END_TEST

START_TEST(moved_range_reads_dirty_to_a_tracker_at_both_places)
{
  struct vmm_space *space = new_space();
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker;
  struct vmm_range runs[8];
  vmm_addr_t to = AT + 4 * page;
  size_t nruns = 8;

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW));
  stamp(space, AT, 2, 1);
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, 8 * page, &options));
  ck_assert_ok(vmm_move(space, AT, 2 * page, &to, 0));
  ck_assert_ok(vmm_tracker_fetch(tracker, AT, 8 * page, 1, runs, &nruns, NULL));
  ck_assert_uint_eq(nruns, 2);
  ck_assert_uint_eq(runs[0].start, AT);
  ck_assert_uint_eq(runs[0].nbytes, 2 * page);
  ck_assert_uint_eq(runs[1].start, to);
  ck_assert_uint_eq(runs[1].nbytes, 2 * page);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

/* ---- discard ---- */

START_TEST(discard_frees_private_frames_and_keeps_the_region)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW));
  stamp(space, AT, 4, 1);
  ck_assert_ok(vmm_discard(space, AT + page, 2 * page));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 2);
  expect_region(space, AT, 4, RW);
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT + page), 0));
  step(space, 0, 1, vmm_test_set(space, AT + 2 * page + 1, 5));
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 0);
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 1));
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT + 3 * page), 4));
  vmm_test_end(space);
}
END_TEST

START_TEST(discard_of_an_objects_mapping_reads_as_the_object)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(2 * page, 0);
  vmm_addr_t private = AT + 8 * page;

  ck_assert_ok(probe_map(space, AT, 2 * page, object, 0, RW));
  ck_assert_ok(probe_map(space, private, 2 * page, object, 0,
                         RW | VMM_PRIVATE));
  stamp(space, AT, 2, 1);
  stamp(space, private, 1, 50);
  ck_assert_uint_eq(vmm_test_stats(space).copies, 1);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_ok(vmm_discard(space, private, 2 * page));
  ck_assert_ok(vmm_discard(space, AT, 2 * page));
  ck_assert_ok(vmm_check(space, 0, 0));
  step(space, 2, 0, expect_stamps(space, private, 2, 1));
  expect_stamps(space, AT, 2, 1);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

/* ---- wire ---- */

START_TEST(wired_memory_never_faults)
{
  struct vmm_space *space = new_space();
  char *base = vmm_space_base(space);
  int fds[2];

  ck_assert_int_eq(pipe(fds), 0);
  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW | VMM_WIRED));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 4);
  ck_assert_pte(space, AT + 3 * page, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_int_eq(write(fds[1], "wired", 5), 5);
  ck_assert_int_eq(read(fds[0], base + AT + page - 2, 5), 5);
  step(space, 0, 0, stamp(space, AT, 4, 1));
  step(space, 0, 0, expect_stamps(space, AT, 4, 1));
  ck_assert_refused(space, vmm_discard(space, AT + page, page), EBUSY);
  ck_assert_ok(vmm_unwire(space, AT, 4 * page));
  ck_assert_ok(vmm_discard(space, AT + page, page));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 3);
  vmm_test_end(space);
}
END_TEST

START_TEST(wire_installs_what_is_mapped_already)
{
  struct vmm_space *space = new_space();
  struct vmm_region_info info;
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker = NULL;

  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW));
  vmm_test_get(space, AT);
  stamp(space, AT + page, 1, 2);
  ck_assert_ok(vmm_wire(space, AT, 2 * page));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_ok(probe_region(space, AT, &info));
  ck_assert_uint_eq(info.flags & VMM_WIRED, VMM_WIRED);
  step(space, 0, 0, vmm_test_set(space, AT, 1));
  step(space, 0, 0, expect_stamps(space, AT, 2, 1));
  step(space, 0, 1, vmm_test_set(space, AT + 2 * page, 1));
  ck_assert_refused(space, vmm_tracker_create(&tracker, space, AT, page,
                                              &options), EBUSY);
  ck_assert_ok(vmm_protect(space, AT + 3 * page, page, 0));
  ck_assert_refused(space, vmm_wire(space, AT + 3 * page, page), EACCES);
  ck_assert_ok(vmm_unwire(space, AT, 4 * page));
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, page, &options));
  ck_assert_refused(space, vmm_wire(space, AT, page), EBUSY);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(moved_wired_memory_stays_installed)
{
  struct vmm_space *space = new_space();
  vmm_addr_t to = AT + 8 * page;

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW | VMM_WIRED));
  stamp(space, AT, 2, 1);
  ck_assert_ok(vmm_move(space, AT, 2 * page, &to, 0));
  step(space, 0, 0, expect_stamps(space, to, 2, 1));
  step(space, 0, 0, stamp(space, to, 2, 2));
  vmm_test_end(space);
}
END_TEST

START_TEST(wired_memory_protected_and_back_never_faults)
{
  struct vmm_space *space = new_space();

  ck_assert_ok(vmm_map_anon(space, AT, 2 * page, RW | VMM_WIRED));
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  step(space, 0, 0, vmm_test_get(space, AT));
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  step(space, 0, 0, stamp(space, AT, 2, 1));
  ck_assert_ok(vmm_pages(space, AT, 2 * page, YOUNG | DIRTY, NULL));
  step(space, 0, 0, stamp(space, AT, 2, 1));
  vmm_test_end(space);
}
END_TEST

static void add_move_tests(Suite *suite)
{
  TCase *tcase = tcase_create("move");

  tcase_add_window_test(tcase, move_takes_bytes_and_bits_along);
  tcase_add_test(tcase, move_of_a_part_splits_and_replaces);
  tcase_add_test(tcase, move_anywhere_chooses_a_free_place);
  tcase_add_test(tcase, moved_range_reads_dirty_to_a_tracker_at_both_places);
  tcase_add_test(tcase, discard_frees_private_frames_and_keeps_the_region);
  tcase_add_test(tcase, discard_of_an_objects_mapping_reads_as_the_object);
  tcase_add_window_test(tcase, wired_memory_never_faults);
  tcase_add_window_test(tcase, wire_installs_what_is_mapped_already);
  tcase_add_window_test(tcase, moved_wired_memory_stays_installed);
  tcase_add_window_test(tcase, wired_memory_protected_and_back_never_faults);
  suite_add_tcase(suite, tcase);
}

Suite *vmm_suite_map(void)
{
  Suite *suite = suite_create("map");
  TCase *tcase = tcase_create("map");

  tcase_add_test(tcase, any_takes_the_lowest_free_place_at_or_above);
  tcase_add_test(tcase, any_with_align_is_aligned);
  tcase_add_test(tcase, any_without_a_free_place_is_enomem);
  tcase_add_test(tcase, replace_over_several_regions_keeps_the_rest);
  tcase_add_window_test(tcase, unmap_splits_and_allows_holes);
  tcase_add_test(tcase, unmapped_memory_mapped_again_reads_zeros);
  tcase_add_window_test(tcase, protect_splits_and_merges_rights);
  tcase_add_window_test(tcase, protect_over_a_hole_changes_nothing);
  tcase_add_window_test(tcase,
                        narrowing_reaches_the_window_before_protect_returns);
  suite_add_tcase(suite, tcase);
  add_move_tests(suite);
  return suite;
}
