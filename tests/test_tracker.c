/*
 * Trackers: which pages they report, in which runs, by whichever way a page was
 * written; that they keep out of each other's bits; and that no write is lost
 * between looks.
 */
#include "track.h"
#include "windows.h"

/* ---- one tracker of a space ---- */

START_TEST(written_pages_are_reported_once)
{
  struct vmm_space *space = space_with(8, RW);
  struct vmm_tracker *tracker;

  vmm_test_set(space, AT, 1); /* before: not counted */
  tracker = track(space, AT, 8, VMM_TRACK_WRITE);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_pages(tracker, AT, "........");
  vmm_test_set(space, AT + page, 1);
  vmm_test_set(space, AT + 2 * page, 1);
  vmm_test_set(space, AT + 5 * page, 1);
  vmm_test_get(space, AT + 7 * page);
  ck_assert_pages(tracker, AT, ".##..#..");
  ck_assert_pages(tracker, AT + 2 * page, "#..#");
  ck_assert_cleared(tracker, AT + 2 * page, "#..#");
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_cleared(tracker, AT, ".#......");
  ck_assert_cleared(tracker, AT, "........");
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT + page, 2));
  ck_assert_faults(space, 0, 0, vmm_test_set(space, AT + page, 3));
  ck_assert_cleared(tracker, AT, ".#......");
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(access_tracker_reports_reads_writes_and_fetches)
{
  struct vmm_space *space = space_with(4, RW | VMM_EXEC);
  struct vmm_tracker *tracker = track(space, AT, 4, VMM_TRACK_ACCESS);
  uint32_t insn;

  vmm_test_get(space, AT);
  vmm_test_set(space, AT + page, 1);
  ck_assert_ok(vmm_fetch(space, AT + 3 * page, &insn, 4));
  ck_assert_cleared(tracker, AT, "##.#");
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_faults(space, 1, 0, vmm_test_get(space, AT));
  ck_assert_faults(space, 0, 0, vmm_test_get(space, AT));
  ck_assert_cleared(tracker, AT, "#...");
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(calls_count_as_accesses)
{
  struct vmm_space *space = space_with(6, RW);
  struct vmm_tracker *writes = track(space, AT, 6, VMM_TRACK_WRITE);
  struct vmm_tracker *accesses = track(space, AT, 6, VMM_TRACK_ACCESS);
  uint64_t value = 0;

  ck_assert_ok(vmm_copyout(space, AT, &value, 8, NULL));
  ck_assert_ok(vmm_store(space, AT + 2 * page - 4, &value, 8));
  ck_assert_ok(vmm_load(space, AT + 3 * page, &value, 8));
  ck_assert_ok(vmm_fixup(space, AT + 5 * page, VMM_WRITE));
  ck_assert_cleared(writes, AT, "###..#");
  ck_assert_cleared(accesses, AT, "####.#");
  vmm_tracker_destroy(writes);
  vmm_tracker_destroy(accesses);
  vmm_test_end(space);
}
END_TEST

START_TEST(runs_join_over_the_border_of_chunks)
{
  struct vmm_space *space = space_with(1025, RW);
  vmm_addr_t border = AT + (2 << 20);
  struct vmm_tracker *tracker;
  struct vmm_range runs[4];
  size_t nruns = 4;

  ck_assert_uint_le(border + 2 * page, AT + 1025 * page);
  tracker = track(space, AT, 1025, VMM_TRACK_WRITE);
  ck_assert_ok(vmm_fill(space, border - 2 * page, 1, 3 * page, NULL));
  vmm_test_set(space, AT + 1024 * page, 1);
  ck_assert_ok(vmm_tracker_fetch(tracker, AT, 1025 * page, 1, runs, &nruns,
                                 NULL));
  ck_assert_uint_eq(nruns, 2);
  ck_assert_uint_eq(runs[0].start, border - 2 * page);
  ck_assert_uint_eq(runs[0].nbytes, 3 * page);
  ck_assert_uint_eq(runs[1].start, AT + 1024 * page);
  ck_assert_uint_eq(runs[1].nbytes, page);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(too_small_runs_clear_what_they_hold_and_say_where_to_go_on)
{
  struct vmm_space *space = space_with(1025, RW);
  struct vmm_tracker *tracker = track(space, AT, 1025, VMM_TRACK_WRITE);
  vmm_addr_t at = AT, end = AT + 1025 * page, next;
  struct vmm_range runs[2];
  size_t nruns, pages = 0, calls = 0;
  unsigned i;

  for (i = 0; i < 1025; i += 3)
    vmm_test_set(space, AT + i * page, 1);
  nruns = 0;
  ck_assert_ok(vmm_tracker_fetch(tracker, AT + page, 1024 * page, 1, NULL,
                                 &nruns, &next));
  ck_assert_uint_eq(nruns, 0);
  ck_assert_uint_eq(next, AT + 3 * page);
  while (at < end) {
    nruns = 2;
    ck_assert_ok(vmm_tracker_fetch(tracker, at, end - at, 1, runs, &nruns,
                                   &next));
    for (i = 0; i < nruns; i++) {
      ck_assert_uint_eq((runs[i].start - AT) / page % 3, 0);
      ck_assert_uint_eq(runs[i].nbytes, page);
    }
    ck_assert_uint_eq(nruns, 2);
    ck_assert(next == end || next > runs[1].start);
    pages += nruns;
    calls++;
    at = next;
  }
  ck_assert_uint_eq(pages, 342);
  ck_assert_uint_eq(calls, 171);
  nruns = 2;
  ck_assert_ok(vmm_tracker_fetch(tracker, AT, end - AT, 1, runs, &nruns, NULL));
  ck_assert_uint_eq(nruns, 0);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(eight_trackers_keep_their_own_bits_and_the_ninth_is_enospc)
{
  struct vmm_space *space = space_with(8, RW);
  struct vmm_tracker *trackers[8], *ninth = NULL;
  char expected[9];
  int i, k;

  for (i = 0; i < 8; i++)
    trackers[i] = track(space, AT, 8,
                        i % 2 ? VMM_TRACK_ACCESS : VMM_TRACK_WRITE);
  ck_assert_error(vmm_tracker_create(&ninth, space, AT, page, NULL), ENOSPC);
  ck_assert_ptr_null(ninth);
  for (i = 0; i < 8; i++) { /* tracker i is cleared after page i is written */
    vmm_test_set(space, AT + (unsigned)i * page, 1);
    for (k = 0; k < 8; k++)
      expected[k] = k <= i ? '#' : '.';
    expected[8] = 0;
    ck_assert_cleared(trackers[i], AT, expected);
    ck_assert_ok(vmm_check(space, 0, 0));
  }
  for (i = 0; i < 8; i++) {
    for (k = 0; k < 8; k++)
      expected[k] = k > i ? '#' : '.';
    ck_assert_pages(trackers[i], AT, expected);
  }
  vmm_tracker_destroy(trackers[3]);
  ninth = track(space, AT, 8, VMM_TRACK_WRITE);
  ck_assert_pages(ninth, AT, "........");
  ck_assert_ok(vmm_check(space, 0, 0));
  vmm_test_set(space, AT, 1);
  ck_assert_pages(ninth, AT, "#.......");
  trackers[3] = ninth;
  for (i = 0; i < 8; i++)
    vmm_tracker_destroy(trackers[i]);
  vmm_test_end(space);
}
END_TEST

START_TEST(space_with_a_tracker_is_busy)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_tracker *tracker = track(space, AT, 1, VMM_TRACK_WRITE);

  ck_assert_error(vmm_space_destroy(space), EBUSY);
  vmm_tracker_destroy(tracker);
  vmm_tracker_destroy(NULL);
  vmm_test_end(space);
}
END_TEST

START_TEST(bad_trackers_are_refused)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker;
  struct vmm_range run;
  size_t one = 1;

  ck_assert_error(vmm_tracker_create(NULL, space, AT, page, NULL), EINVAL);
  ck_assert_error(vmm_tracker_create(&tracker, NULL, AT, page, NULL), EINVAL);
  ck_assert_error(vmm_tracker_create(&tracker, space, AT + 1, page, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_create(&tracker, space, AT, 0, NULL), EINVAL);
  ck_assert_error(vmm_tracker_create(&tracker, space, 0, 1 << 29, NULL),
                  EINVAL);
  options.kind = 2;
  ck_assert_error(vmm_tracker_create(&tracker, space, AT, page, &options),
                  EINVAL);
  options.kind = 0;
  options.reserved[3] = 1;
  ck_assert_error(vmm_tracker_create(&tracker, space, AT, page, &options),
                  EINVAL);
  tracker = track(space, AT + page, 2, VMM_TRACK_WRITE);
  ck_assert_error(vmm_tracker_fetch(tracker, AT, page, 0, &run, &one, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_fetch(tracker, AT + page, 3 * page, 0, &run, &one,
                                    NULL), EINVAL);
  ck_assert_error(vmm_tracker_fetch(tracker, AT + page, UINT64_MAX - page + 1,
                                    0, &run, &one, NULL), EINVAL);
  ck_assert_error(vmm_tracker_fetch(tracker, AT + page + 1, page, 0, &run, &one,
                                    NULL), EINVAL);
  ck_assert_error(vmm_tracker_fetch(tracker, AT + page, 0, 0, &run, &one, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_fetch(tracker, AT + page, page, 0, NULL, &one,
                                    NULL), EINVAL);
  ck_assert_error(vmm_tracker_fetch(
                      tracker, AT + page, page, 0,
                      (struct vmm_range *)(vmm_space_base(space) + AT), &one,
                      NULL), EINVAL);
  ck_assert_error(vmm_tracker_fetch(NULL, AT, page, 0, &run, &one, NULL),
                  EINVAL);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(wired_memory_and_trackers_exclude_each_other)
{
  struct vmm_object *object = probe_object(1 << 20, 0);
  struct vmm_space *space = space_with(4, RW);
  struct vmm_tracker *tracker;

  ck_assert_ok(probe_map(space, AT << 1, 4 * page, object, 0, RW));
  ck_assert_ok(vmm_wire(space, AT + page, page));
  ck_assert_ok(vmm_wire(space, AT << 1, page));
  ck_assert_error(vmm_tracker_create(&tracker, space, AT, 4 * page, NULL),
                  EBUSY);
  ck_assert_error(vmm_tracker_create_object(&tracker, object, 0, page, NULL),
                  EBUSY);
  tracker = track(space, AT + 2 * page, 2, VMM_TRACK_WRITE);
  ck_assert_error(vmm_wire(space, AT, 4 * page), EBUSY);
  ck_assert_ok(vmm_wire(space, AT, 2 * page));
  vmm_tracker_destroy(tracker);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_ok(vmm_unwire(space, AT, 2 * page));
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

/* ---- content that changes otherwise ---- */

START_TEST(unmapped_and_mapped_over_pages_are_reported)
{
  struct vmm_space *space = space_with(8, RW);
  struct vmm_tracker *tracker = track(space, AT, 8, VMM_TRACK_WRITE);

  ck_assert_ok(vmm_unmap(space, AT + page, page));
  ck_assert_ok(vmm_map_anon(space, AT + 3 * page, page, RW | VMM_REPLACE));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_pages(tracker, AT, ".#.#....");
  ck_assert_cleared(tracker, AT + 3 * page, "#....");
  ck_assert_cleared(tracker, AT, ".#......");
  ck_assert_cleared(tracker, AT, "........");
  ck_assert_ok(vmm_map_anon(space, AT + page, page, RW));
  vmm_test_set(space, AT + page, 1);
  ck_assert_ok(vmm_unmap(space, AT, 8 * page));
  ck_assert_cleared(tracker, AT, "########");
  ck_assert_cleared(tracker, AT, "........");
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(discarded_pages_are_reported_if_they_had_bytes)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_tracker *tracker;

  vmm_test_set(space, AT + page, 1);
  tracker = track(space, AT, 4, VMM_TRACK_WRITE);
  ck_assert_ok(vmm_discard(space, AT, 4 * page));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_pages(tracker, AT + page, "#");
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 0);
  ck_assert_pages(tracker, AT + page, "#");
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(moved_pages_are_reported_at_both_places)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_tracker *from = track(space, AT, 4, VMM_TRACK_WRITE);
  vmm_addr_t to = AT + 100 * page;
  struct vmm_tracker *there = track(space, to, 4, VMM_TRACK_ACCESS);

  vmm_test_set(space, AT, 7);
  ck_assert_cleared(from, AT, "#...");
  ck_assert_ok(vmm_move(space, AT, 2 * page, &to, 0));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_cleared(from, AT, "##..");
  ck_assert_cleared(there, to, "##..");
  ck_assert_uint_eq(vmm_test_get(space, to), 7);
  ck_assert_cleared(there, to, "#...");
  ck_assert_cleared(from, AT, "....");
  vmm_tracker_destroy(from);
  vmm_tracker_destroy(there);
  vmm_test_end(space);
}
END_TEST

/* S2.15, of a frame that has moved, or lost its mapping, while it was pinned */
START_TEST(pinned_frame_is_reported_where_it_has_moved_to)
{
  struct vmm_space *space = space_with(2, RW);
  vmm_addr_t to = AT + 100 * page;
  struct vmm_tracker *tracker = track(space, to, 2, VMM_TRACK_WRITE);
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t one = 1;

  ck_assert_ok(vmm_pin(space, AT, page, VMM_WRITE, &iov, &one, &pin));
  ck_assert_ok(vmm_move(space, AT, 2 * page, &to, 0));
  ck_assert_cleared(tracker, to, "##");
  ck_assert_cleared(tracker, to, "#.");
  *(char *)iov.base = 9;
  vmm_unpin(pin);
  ck_assert_cleared(tracker, to, "#.");
  ck_assert_cleared(tracker, to, "..");
  ck_assert_uint_eq(vmm_test_get(space, to), 9);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

/* ---- callbacks ---- */

struct calls {
  unsigned count;
  vmm_addr_t at;
  struct vmm_space *space;
  vmm_addr_t va;
  uint64_t seen; /* the page's bytes at the call */
};

static void remember(struct vmm_tracker *tracker, vmm_addr_t at, void *arg)
{
  struct calls *calls = arg;

  (void)tracker;
  calls->count++;
  calls->at = at;
  calls->seen = 99;
  if (calls->space != NULL) /* no lock is held: a copy is allowed */
    vmm_copyin(calls->space, &calls->seen, calls->va, 8, NULL);
}

START_TEST(callback_comes_before_the_first_write_after_a_clear)
{
  struct vmm_space *space = space_with(2, RW);
  struct calls calls = { .space = space, .va = AT };
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker, *other = track(space, AT, 2, VMM_TRACK_WRITE);
  uint64_t value = 3;

  options.touched = remember;
  options.arg = &calls;
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, 2 * page, &options));
  vmm_test_get(space, AT);
  ck_assert_uint_eq(calls.count, 0);
  vmm_test_set(space, AT + 1, 1);
  ck_assert_uint_eq(calls.count, 1);
  ck_assert_uint_eq(calls.at, AT);
  ck_assert_uint_eq(calls.seen, 0);
  vmm_test_set(space, AT, 2);
  ck_assert_uint_eq(calls.count, 1);
  ck_assert_cleared(other, AT, "#.");
  vmm_test_set(space, AT, 2); /* another tracker's clear */
  ck_assert_uint_eq(calls.count, 1);
  ck_assert_cleared(tracker, AT, "#.");
  ck_assert_ok(vmm_copyout(space, AT, &value, 8, NULL));
  ck_assert_uint_eq(calls.count, 2);
  ck_assert_uint_eq(calls.seen, 0x102);
  ck_assert_ok(vmm_store(space, AT + page - 4, &value, 8));
  ck_assert_uint_eq(calls.count, 3);
  ck_assert_uint_eq(calls.at, AT + page);
  ck_assert_cleared(tracker, AT, "##");
  vmm_tracker_destroy(tracker);
  vmm_tracker_destroy(other);
  vmm_test_end(space);
}
END_TEST

START_TEST(callback_of_an_access_tracker_of_an_object_tells_the_offset)
{
  struct vmm_object *object = probe_object(1 << 20, 0);
  struct vmm_space *space = space_with(1, RW);
  struct vmm_tracker_options options = { 0 };
  struct calls calls = { 0 };
  struct vmm_tracker *tracker;

  options.kind = VMM_TRACK_ACCESS;
  options.touched = remember;
  options.arg = &calls;
  ck_assert_ok(vmm_tracker_create_object(&tracker, object, 0, 8 * page,
                                         &options));
  ck_assert_ok(probe_map(space, AT << 1, 4 * page, object, 2 * page, RW));
  vmm_test_get(space, (AT << 1) + page);
  ck_assert_uint_eq(calls.count, 1);
  ck_assert_uint_eq(calls.at, 3 * page);
  vmm_test_get(space, (AT << 1) + page);
  ck_assert_uint_eq(calls.count, 1);
  ck_assert_cleared(tracker, 0, "...#....");
  vmm_test_set(space, (AT << 1) + page, 1);
  ck_assert_uint_eq(calls.count, 2);
  vmm_tracker_destroy(tracker);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_tracker(void)
{
  Suite *suite = suite_create("tracker");
  TCase *tcase = tcase_create("tracker");

  tcase_add_test(tcase, written_pages_are_reported_once);
  tcase_add_test(tcase, access_tracker_reports_reads_writes_and_fetches);
  tcase_add_test(tcase, calls_count_as_accesses);
  tcase_add_test(tcase, runs_join_over_the_border_of_chunks);
  tcase_add_test(tcase,
                 too_small_runs_clear_what_they_hold_and_say_where_to_go_on);
  tcase_add_test(tcase,
                 eight_trackers_keep_their_own_bits_and_the_ninth_is_enospc);
  tcase_add_test(tcase, space_with_a_tracker_is_busy);
  tcase_add_window_test(tcase, bad_trackers_are_refused);
  tcase_add_window_test(tcase, wired_memory_and_trackers_exclude_each_other);
  tcase_add_test(tcase, unmapped_and_mapped_over_pages_are_reported);
  tcase_add_test(tcase, discarded_pages_are_reported_if_they_had_bytes);
  tcase_add_test(tcase, moved_pages_are_reported_at_both_places);
  tcase_add_test(tcase, pinned_frame_is_reported_where_it_has_moved_to);
  tcase_add_test(tcase, callback_comes_before_the_first_write_after_a_clear);
  tcase_add_test(tcase,
                 callback_of_an_access_tracker_of_an_object_tells_the_offset);
  suite_add_tcase(suite, tcase);
  return suite;
}
