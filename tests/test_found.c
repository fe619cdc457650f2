/*
 * Defects that random operations found, each as the few calls that it took.
 */
#include "hart.h"
#include "probe.h"

#define AT 0x400000u
#define SIZE (1u << 26)

/* => a page of the space, at AT plus so many pages */
static vmm_addr_t page_at(struct vmm_space *space, unsigned i)
{
  return AT + (vmm_addr_t)i * vmm_space_page_size(space);
}

static uint64_t pages(struct vmm_space *space, unsigned n)
{
  return (uint64_t)n * vmm_space_page_size(space);
}

static struct vmm_tracker *track(struct vmm_space *space, vmm_addr_t va,
                                 uint64_t nbytes)
{
  struct vmm_tracker *tracker;

  ck_assert_ok(vmm_tracker_create(&tracker, space, va, nbytes, NULL));
  return tracker;
}

START_TEST(wired_map_over_tracked_memory_changes_nothing)
{
  struct vmm_space *space = vmm_test_space(SIZE, VMM_EXACT);
  struct vmm_tracker *tracker = track(space, AT, pages(space, 2));

  ck_assert_ok(vmm_map_anon(space, AT, pages(space, 2), RW));
  vmm_test_set(space, AT, 7);
  ck_assert_refused(space,
                    vmm_map_anon(space, AT, pages(space, 2),
                                 RW | VMM_REPLACE | VMM_WIRED),
                    EBUSY);
  ck_assert_uint_eq(vmm_test_get(space, AT), 7);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(wired_memory_does_not_move_to_where_a_tracker_looks)
{
  struct vmm_space *space = vmm_test_space(SIZE, VMM_EXACT);
  struct vmm_tracker *tracker =
      track(space, page_at(space, 5), pages(space, 1));
  vmm_addr_t to = page_at(space, 4);

  ck_assert_ok(vmm_map_anon(space, AT, pages(space, 2), RW | VMM_WIRED));
  ck_assert_refused(space, vmm_move(space, AT, pages(space, 2), &to, 0), EBUSY);
  ck_assert_ok(vmm_move(space, AT, pages(space, 1), &to, 0));
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

/* A pin gives a page of zeros a frame of its own, which the window lacked
 * then. */
START_TEST(pin_leaves_wired_memory_wired)
{
  struct vmm_space *space = vmm_test_space(SIZE, 0);
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;

  ck_assert_ok(vmm_map_anon(space, AT, pages(space, 1), VMM_READ | VMM_WIRED));
  ck_assert_ok(vmm_pin(space, AT, 1, VMM_READ, &iov, &niov, &pin));
  ck_assert_faults(space, 0, 0, vmm_test_get(space, AT));
  vmm_unpin(pin);
  vmm_test_end(space);
}
END_TEST

/* No window shows it, so no bit said that a write would leave nothing
 * behind. */
START_TEST(write_only_memory_is_ready_after_a_fixup)
{
  struct vmm_space *space = vmm_test_space(SIZE, VMM_CHECKED);
  uint64_t value = 1;

  ck_assert_ok(vmm_map_anon(space, AT, pages(space, 1), VMM_WRITE));
  ck_assert_ok(vmm_fixup(space, AT, VMM_WRITE));
  vmm_nofault_begin();
  ck_assert_ok(vmm_store(space, AT, &value, 8));
  vmm_nofault_end();
  ck_assert_faults(space, 0, 0, vmm_store(space, AT, &value, 8));
  probe_clear(space, AT, pages(space, 1), DIRTY);
  ck_assert_faults(space, 0, 1, vmm_store(space, AT, &value, 8));
  vmm_test_end(space);
}
END_TEST

/* Where some page is wired, a window is flushed in parts: not in that part. */
START_TEST(window_keeps_nothing_of_an_install_that_failed)
{
  struct vmm_space *space = vmm_test_space(SIZE, 0);
  vmm_addr_t other = AT + (8u << 20);
  uint8_t byte;

  ck_assert_ok(vmm_map_anon(space, AT, pages(space, 1), RW | VMM_WIRED));
  ck_assert_ok(vmm_map_anon(space, other, pages(space, 1), RW));
  ck_assert_ok(vmm_test_fail(VMM_TEST_MADVISE, 1, UINT64_MAX));
  ck_assert_error(probe_read(space, other, &byte), EFAULT);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MADVISE, 0, 0));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_ok(probe_read(space, other, &byte));
  vmm_test_end(space);
}
END_TEST

/* => a space whose pages are four of the other's */
static struct vmm_space *space_with_large_pages(struct vmm_space *small)
{
  struct vmm_space_options options = { 0 };
  struct vmm_space *space;

  options.size = SIZE;
  options.page_size = 4 * vmm_space_page_size(small);
  ck_assert_ok(vmm_space_create(&space, &options));
  return space;
}

/* A frame in the middle of the page still said that it was code: for ever. */
START_TEST(object_that_was_code_in_small_pages_is_written_in_large_ones)
{
  struct vmm_space *small = vmm_test_space(SIZE, 0);
  struct vmm_space *large = space_with_large_pages(small);
  struct vmm_object *object = probe_object(pages(large, 1), 0);
  uint64_t value = 1;

  ck_assert_ok(probe_map(small, AT, pages(small, 4), object, 0, RX));
  ck_assert_ok(vmm_fetch(small, page_at(small, 1), &value, 8));
  ck_assert_ok(vmm_unmap(small, AT, pages(small, 4)));
  ck_assert_ok(probe_map(large, AT, pages(large, 1), object, 0, RW));
  ck_assert_ok(vmm_store(large, AT, &value, 8));
  vmm_test_set(large, AT + pages(small, 1), 1);
  vmm_test_end(large);
  vmm_test_end(small);
  vmm_object_release(object);
}
END_TEST

START_TEST(code_in_a_large_page_that_is_pinned_as_a_small_one_is_not_kept)
{
  struct vmm_space *small = vmm_test_space(SIZE, 0);
  struct vmm_space *large = space_with_large_pages(small);
  struct vmm_object *object = probe_object(pages(large, 1), 0);
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;
  uint64_t code;

  ck_assert_ok(probe_map(small, AT, pages(small, 4), object, 0, RW));
  ck_assert_ok(vmm_pin(small, page_at(small, 1), 8, VMM_WRITE, &iov, &niov, &pin));
  ck_assert_ok(vmm_unmap(small, AT, pages(small, 4)));
  ck_assert_ok(probe_map(large, AT, pages(large, 1), object, 0, RX));
  ck_assert_int_eq(vmm_fetch(large, AT, &code, 8), 1);
  vmm_unpin(pin);
  ck_assert_ok(vmm_fetch(large, AT, &code, 8));
  vmm_test_end(large);
  vmm_test_end(small);
  vmm_object_release(object);
}
END_TEST

/* What was left of the page had no room to be remembered in: the end. */
START_TEST(look_at_a_part_of_a_large_page_needs_no_memory)
{
  struct vmm_space *small = vmm_test_space(SIZE, 0);
  struct vmm_space *large = space_with_large_pages(small);
  struct vmm_object *object = probe_object(pages(large, 1), 0);
  struct vmm_tracker *tracker;
  struct vmm_range run;
  size_t nruns = 1;

  ck_assert_ok(probe_map(large, AT, pages(large, 1), object, 0, RW));
  ck_assert_ok(vmm_tracker_create_object(&tracker, object, 0, pages(large, 1), NULL));
  vmm_test_set(large, AT, 1);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MALLOC, 1, UINT64_MAX));
  ck_assert_ok(
      vmm_tracker_fetch(tracker, 0, pages(small, 1), 1, &run, &nruns, NULL));
  ck_assert_uint_eq(run.nbytes, pages(small, 1));
  ck_assert_ok(vmm_test_fail(VMM_TEST_MALLOC, 0, 0));
  nruns = 1;
  ck_assert_ok(vmm_tracker_fetch(tracker, 0, pages(large, 1), 1, &run, &nruns, NULL));
  ck_assert_uint_eq(nruns, 1);
  ck_assert_uint_eq(run.nbytes, pages(large, 1) - pages(small, 1));
  vmm_tracker_destroy(tracker);
  vmm_test_end(large);
  vmm_test_end(small);
  vmm_object_release(object);
}
END_TEST

/* The first restore had to leave the pinned page its frame, and forgot it. */
START_TEST(page_that_only_a_pin_kept_shows_its_object_after_the_next_restore)
{
  struct vmm_space *space = vmm_test_space(SIZE, 0);
  struct vmm_object *object = probe_object(pages(space, 1), 0);
  struct vmm_snapshot *snapshot;
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;

  ck_assert_ok(probe_map(space, AT, pages(space, 1), object, 0,
                         VMM_READ | VMM_PRIVATE));
  ck_assert_ok(probe_map(space, page_at(space, 1), pages(space, 1), object, 0, RW));
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(vmm_pin(space, AT, 1, VMM_READ, &iov, &niov, &pin));
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  vmm_unpin(pin);
  vmm_test_set(space, page_at(space, 1), 9);
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  ck_assert_uint_eq(vmm_test_get(space, AT), 9);
  vmm_snapshot_drop(snapshot);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(memory_that_the_host_does_not_wire_again_is_not_wired)
{
  struct vmm_space *space = vmm_test_space(SIZE, 0);
  vmm_addr_t to = page_at(space, 4);
  struct vmm_region_info info;

  ck_assert_ok(vmm_map_anon(space, AT, pages(space, 2), RW | VMM_WIRED));
  ck_assert_ok(vmm_test_fail(VMM_TEST_MADVISE, 1, UINT64_MAX));
  ck_assert_ok(vmm_move(space, AT, pages(space, 2), &to, 0));
  ck_assert_ok(vmm_test_fail(VMM_TEST_MADVISE, 0, 0));
  ck_assert_ok(probe_region(space, to, &info));
  ck_assert_uint_eq(info.flags & VMM_WIRED, 0);
  vmm_test_end(space);
}
END_TEST

/* Takes a snapshot of memory that is the supervisor's or not, maps the same as the
 * other, touches it so that it has entries, and restores.  => the user's access then */
static int get_by_user_after_restore(uint32_t flags, uint32_t now)
{
  struct vmm_space *space = vmm_test_space(SIZE, 0);
  struct vmm_object *object = probe_object(pages(space, 1), 0);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS | VMM_HART_USER, 0);
  char *base = hart_turn(hart, space);
  struct vmm_snapshot *snapshot;
  int result;

  ck_assert_ok(probe_map(space, AT, pages(space, 1), object, 0, RW | flags));
  vmm_test_set(space, AT, 7);
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(probe_map(space, AT, pages(space, 1), object, 0,
                         RW | VMM_REPLACE | now));
  vmm_test_set(space, AT, 8);
  ck_assert_int_eq(hart_try_get(base, AT), now & VMM_SUPERVISOR ? -EFAULT : 8);
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  ck_assert_ok(vmm_check(space, 0, 0));
  result = hart_try_get(base, AT);
  hart_end(hart);
  vmm_snapshot_drop(snapshot);
  vmm_test_end(space);
  vmm_object_release(object);
  return result;
}

/* The region was the supervisor's again, its entry and the user's window were not. */
START_TEST(restore_gives_memory_back_to_the_supervisor_or_the_user)
{
  ck_assert_int_eq(get_by_user_after_restore(VMM_SUPERVISOR, 0), -EFAULT);
  ck_assert_int_eq(get_by_user_after_restore(VMM_SUPERVISOR, VMM_WIRED), -EFAULT);
  ck_assert_int_eq(get_by_user_after_restore(0, VMM_SUPERVISOR), 8);
  ck_assert_int_eq(get_by_user_after_restore(0, VMM_SUPERVISOR | VMM_WIRED), 8);
}
END_TEST

Suite *vmm_suite_found(void);

Suite *vmm_suite_found(void)
{
  Suite *suite = suite_create("found");
  TCase *tcase = tcase_create("found");

  tcase_add_test(tcase, wired_map_over_tracked_memory_changes_nothing);
  tcase_add_test(tcase, wired_memory_does_not_move_to_where_a_tracker_looks);
  tcase_add_test(tcase, pin_leaves_wired_memory_wired);
  tcase_add_test(tcase, write_only_memory_is_ready_after_a_fixup);
  tcase_add_test(tcase, window_keeps_nothing_of_an_install_that_failed);
  tcase_add_test(tcase,
                 object_that_was_code_in_small_pages_is_written_in_large_ones);
  tcase_add_test(tcase,
                 code_in_a_large_page_that_is_pinned_as_a_small_one_is_not_kept);
  tcase_add_test(tcase, look_at_a_part_of_a_large_page_needs_no_memory);
  tcase_add_test(
      tcase, page_that_only_a_pin_kept_shows_its_object_after_the_next_restore);
  tcase_add_test(tcase, memory_that_the_host_does_not_wire_again_is_not_wired);
  tcase_add_test(tcase, restore_gives_memory_back_to_the_supervisor_or_the_user);
  suite_add_tcase(suite, tcase);
  return suite;
}
