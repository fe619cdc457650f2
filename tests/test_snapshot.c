/*
 * Snapshots: bytes come back, from one of several; what it costs, counted
 * exactly; and what else watches or holds a page meanwhile.
 */
#include "snapshots.h"
#include "windows.h"

static uint64_t pte_of(struct vmm_space *space, vmm_addr_t va)
{
  uint64_t pte;

  ck_assert_ok(vmm_pages(space, va, PAGE, 0, &pte));
  return pte;
}

/* ---- bytes ---- */

static const uint32_t kinds[] = { 0, VMM_EXACT, VMM_CHECKED };

START_TEST(restore_gives_back_all_bytes)
{
  struct vmm_space *space = space_with_pages(kinds[_i]);
  struct vmm_snapshot *snapshot = take(space);

  for (unsigned i = 0; i < PAGES; i++)
    if (_i == 2)
      set(space, AT + i * PAGE, 200);
    else
      vmm_test_set(space, AT + i * PAGE, 200);
  ck_assert_ok(vmm_check(space, 0, 0));
  restore(space, snapshot);
  assert_as_made(space);
  restore(space, snapshot);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(the_first_write_to_a_page_copies_it_and_the_next_do_not)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot = take(space);
  struct vmm_stats before = vmm_test_stats(space);

  ck_assert_uint_eq(before.saved, 0);
  for (int round = 0; round < 3; round++)
    for (unsigned i = 0; i < 5; i++)
      vmm_test_set(space, AT + 3 * i * PAGE, (uint8_t)(100 + round));
  ck_assert_uint_eq(vmm_test_stats(space).saved, 5);
  ck_assert_uint_eq(vmm_test_stats(space).faults_write, before.faults_write + 5);
  ck_assert_uint_eq(vmm_test_stats(space).copies, before.copies);
  vmm_test_set(space, AT + 50 * PAGE, 1); /* it had no frame: nothing to copy */
  ck_assert_uint_eq(vmm_test_stats(space).saved, 5);
  restore(space, snapshot);
  ck_assert_uint_eq(vmm_test_stats(space).restored, 6);
  assert_as_made(space);
  restore(space, snapshot); /* nothing was written since */
  ck_assert_uint_eq(vmm_test_stats(space).restored, 6);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(pages_written_between_restores_fault_only_once)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot = take(space);

  for (unsigned round = 0; round < 4; round++) {
    uint64_t calls;

    ck_assert_faults(space, 0, round == 0 ? 5 : 0,
                     for (unsigned i = 0; i < 5; i++)
                       vmm_test_set(space, AT + 3 * i * PAGE, 100));
    calls = vmm_test_stats(space).host_calls;
    restore(space, snapshot);
    ck_assert_uint_eq(vmm_test_stats(space).host_calls, calls);
    ck_assert_uint_eq(vmm_test_stats(space).saved, 5);
    ck_assert_uint_eq(vmm_test_stats(space).restored, 5 * (round + 1));
    assert_as_made(space);
  }
  restore(space, snapshot); /* it finds them unchanged: they are let go */
  ck_assert_uint_eq(vmm_test_stats(space).restored, 20);
  for (unsigned round = 0; round < 2; round++) {
    ck_assert_faults(space, 0, round == 0, vmm_test_set(space, AT, 100));
    ck_assert_uint_eq(vmm_test_stats(space).saved, 6);
    restore(space, snapshot);
    assert_as_made(space);
  }
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(a_page_that_stays_writable_is_dirty_to_trackers_each_time)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE };
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot = take(space);
  struct vmm_tracker *tracker;

  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, PAGES * PAGE, &options));
  for (unsigned round = 0; round < 3; round++) {
    struct vmm_range runs[2];
    size_t n = 2;

    ck_assert_faults(space, 0, 1, vmm_test_set(space, AT + PAGE, 100));
    restore(space, snapshot);
    ck_assert_ok(vmm_tracker_fetch(tracker, AT, PAGES * PAGE, 1, runs, &n, NULL));
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(runs[0].start, AT + PAGE);
    ck_assert_uint_eq(runs[0].nbytes, PAGE);
  }
  vmm_tracker_destroy(tracker);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(a_snapshot_beside_a_restored_one_has_its_own_copies)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *first = take(space), *second;

  vmm_test_set(space, AT, 100);
  restore(space, first); /* the page stays writable, ... */
  vmm_test_set(space, AT, 101);
  second = take(space); /* ... but not for the next one */
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT, 102));
  restore(space, second);
  ck_assert_uint_eq(vmm_test_get(space, AT), 101);
  vmm_test_set(space, AT, 103);
  restore(space, first);
  assert_as_made(space);
  restore(space, second);
  ck_assert_uint_eq(vmm_test_get(space, AT), 101);
  vmm_test_set(space, AT, 104);
  vmm_snapshot_drop(second);
  restore(space, first);
  assert_as_made(space);
  drop_and_end(space, first);
}
END_TEST

START_TEST(reading_copies_nothing)
{
  struct vmm_space *space = space_with_pages(VMM_EXACT);
  struct vmm_snapshot *snapshot;

  for (unsigned i = 0; i < PAGES / 2; i++)
    vmm_test_get(space, AT + i * PAGE);
  snapshot = take(space);
  for (unsigned i = 0; i < PAGES / 2; i++)
    ck_assert_faults(space, 0, 0, vmm_test_get(space, AT + i * PAGE));
  ck_assert_uint_eq(vmm_test_stats(space).saved, 0);
  restore(space, snapshot);
  ck_assert_uint_eq(vmm_test_stats(space).restored, 0);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(pages_that_were_not_there_are_given_back)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot = take(space);
  uint64_t frames = vmm_test_stats(space).frames;

  for (unsigned i = PAGES / 2; i < PAGES; i++)
    vmm_test_set(space, AT + i * PAGE, 7);
  restore(space, snapshot);
  ck_assert_uint_eq(vmm_test_stats(space).frames, frames);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(a_dropped_snapshot_costs_nothing_more)
{
  struct vmm_space *space = space_with_pages(VMM_EXACT);

  vmm_snapshot_drop(take(space));
  vmm_test_set(space, AT, 9);
  ck_assert_uint_eq(vmm_test_stats(space).saved, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 9);
  vmm_snapshot_drop(NULL);
  vmm_test_end(space);
}
END_TEST

START_TEST(discarded_bytes_come_back_without_a_copy)
{
  struct vmm_space *space = space_with_pages(_i ? VMM_EXACT : 0);
  struct vmm_snapshot *snapshot = take(space);

  ck_assert_ok(vmm_discard(space, AT, PAGES * PAGE));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_set(space, AT + 2 * PAGE, 9);
  restore(space, snapshot);
  ck_assert_uint_eq(vmm_test_stats(space).saved, 0);
  assert_as_made(space);
  vmm_test_set(space, AT, 99);
  restore(space, snapshot);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

/* ---- several ---- */

enum { MANY = 6 };

/* Snapshot n sees 10 + n in pages 0 to n, and what page n + 1 had before. */
static void take_many(struct vmm_space *space, struct vmm_snapshot **snapshot)
{
  for (unsigned n = 0; n < MANY; n++) {
    for (unsigned i = 0; i <= n; i++)
      vmm_test_set(space, AT + i * PAGE, (uint8_t)(10 + n));
    snapshot[n] = take(space);
  }
  for (unsigned i = 0; i < PAGES; i++)
    vmm_test_set(space, AT + i * PAGE, 99);
}

static void assert_snapshot(struct vmm_space *space, unsigned n)
{
  for (unsigned i = 0; i < PAGES; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE),
                      i <= n          ? 10 + n
                      : i < PAGES / 2 ? i + 1
                                      : 0);
}

START_TEST(snapshots_are_restored_in_any_order)
{
  static const unsigned order[] = { 5, 0, 3, 3, 1, 5, 2, 4, 0 };
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot[MANY];

  take_many(space, snapshot);
  for (unsigned k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
    restore(space, snapshot[order[k]]);
    assert_snapshot(space, order[k]);
    vmm_test_set(space, AT + k * PAGE, 77);
  }
  for (unsigned n = 0; n < MANY; n++)
    vmm_snapshot_drop(snapshot[n]);
  vmm_test_end(space);
}
END_TEST

START_TEST(any_snapshot_may_be_dropped_first)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot[MANY];

  take_many(space, snapshot);
  vmm_snapshot_drop(snapshot[_i]);
  ck_assert_ok(vmm_check(space, 0, 0));
  for (unsigned n = 0; n < MANY; n++) {
    if (n == (unsigned)_i)
      continue;
    restore(space, snapshot[n]);
    assert_snapshot(space, n);
  }
  for (unsigned n = MANY; n-- > 0;)
    if (n != (unsigned)_i)
      vmm_snapshot_drop(snapshot[n]);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_snapshot_after_a_restore_stands_beside_the_newer_one)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *first = take(space), *second, *third;

  vmm_test_set(space, AT, 50);
  second = take(space);
  restore(space, first);
  vmm_test_set(space, AT, 60);
  third = take(space);
  restore(space, second);
  ck_assert_uint_eq(vmm_test_get(space, AT), 50);
  restore(space, third);
  ck_assert_uint_eq(vmm_test_get(space, AT), 60);
  restore(space, first);
  assert_as_made(space);
  vmm_snapshot_drop(second);
  vmm_snapshot_drop(first);
  restore(space, third);
  ck_assert_uint_eq(vmm_test_get(space, AT), 60);
  drop_and_end(space, third);
}
END_TEST

/* ---- with trackers, pins, code, forks, wires, limits ---- */

START_TEST(restored_pages_read_dirty_to_every_tracker)
{
  struct vmm_tracker_options kind[2] = { { .kind = VMM_TRACK_WRITE },
                                         { .kind = VMM_TRACK_ACCESS } };
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot = take(space);
  struct vmm_tracker *tracker[2];

  vmm_test_set(space, AT + 3 * PAGE, 1);
  ck_assert_ok(vmm_discard(space, AT + 5 * PAGE, PAGE));
  vmm_test_set(space, AT + 60 * PAGE, 1);
  for (int i = 0; i < 2; i++)
    ck_assert_ok(vmm_tracker_create(&tracker[i], space, AT, PAGES * PAGE,
                                    &kind[i]));
  ck_assert_ok(vmm_pages(space, AT, PAGES * PAGE, VMM_PTE_MODIFIED, NULL));
  restore(space, snapshot);
  for (int i = 0; i < 2; i++) {
    struct vmm_range runs[8];
    size_t n = 8;

    ck_assert_ok(vmm_tracker_fetch(tracker[i], AT, PAGES * PAGE, 1, runs, &n,
                                   NULL));
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(runs[0].start, AT + 3 * PAGE);
    ck_assert_uint_eq(runs[1].start, AT + 5 * PAGE);
    ck_assert_uint_eq(runs[2].start, AT + 60 * PAGE);
    ck_assert_uint_eq(runs[2].nbytes, PAGE);
    vmm_tracker_destroy(tracker[i]);
  }
  ck_assert_uint_ne(pte_of(space, AT + 3 * PAGE) & VMM_PTE_MODIFIED, 0);
  ck_assert_uint_eq(pte_of(space, AT + 4 * PAGE) & VMM_PTE_MODIFIED, 0);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(a_pin_sees_what_a_restore_gives)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *first = take(space), *second;
  struct vmm_iovec iov[4];
  struct vmm_pin *writer, *reader;
  size_t niov = 4;
  uint8_t *bytes, *read;

  ck_assert_ok(vmm_pin(space, AT + 31 * PAGE, 2 * PAGE, VMM_WRITE, iov, &niov,
                       &writer));
  ck_assert_uint_eq(niov, 1);
  bytes = iov[0].base;
  niov = 4;
  ck_assert_ok(vmm_pin(space, AT, PAGE, VMM_READ, iov, &niov, &reader));
  read = iov[0].base;
  second = take(space); /* copies both pages at once */
  ck_assert_uint_eq(vmm_test_stats(space).saved, 3);
  for (unsigned round = 0; round < 3; round++) {
    bytes[0] = 91; /* no fault shows it */
    bytes[PAGE] = 92;
    vmm_test_set(space, AT, 93);
    restore(space, round == 1 ? first : second);
    ck_assert_uint_eq(bytes[0], 32);
    ck_assert_uint_eq(bytes[PAGE], 0);
    ck_assert_uint_eq(read[0], 1);
    assert_as_made(space);
  }
  vmm_unpin(writer);
  vmm_unpin(reader);
  restore(space, second);
  assert_as_made(space);
  vmm_snapshot_drop(first);
  drop_and_end(space, second);
}
END_TEST

START_TEST(a_read_pin_stays_coherent_over_a_move)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot = take(space);
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  vmm_addr_t to = FREE;
  size_t niov = 1;

  ck_assert_ok(vmm_pin(space, AT, PAGE, VMM_READ, &iov, &niov, &pin));
  ck_assert_ok(vmm_move(space, AT, 2 * PAGE, &to, 0));
  vmm_test_set(space, to, 44);
  ck_assert_uint_eq(*(uint8_t *)iov.base, 44);
  ck_assert_ok(vmm_check(space, 0, 0));
  restore(space, snapshot);
  assert_as_made(space);
  vmm_unpin(pin);
  drop_and_end(space, snapshot);
}
END_TEST

static void count_call(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes)
{
  unsigned *calls = self->arg;

  calls[0] += va <= AT && AT < va + nbytes;
  calls[1] += va <= AT + PAGE && AT + PAGE < va + nbytes;
}

START_TEST(code_that_a_restore_changes_is_told)
{
  struct vmm_space *space = space_with_pages(VMM_EXACT);
  unsigned calls[2] = { 0 };
  struct vmm_notifier notifier = { .invalidate = count_call, .arg = calls };
  struct vmm_snapshot *snapshot;
  uint8_t byte;

  ck_assert_ok(vmm_protect(space, AT, 2 * PAGE, RW | VMM_EXEC));
  snapshot = take(space);
  vmm_test_set(space, AT, 100);
  ck_assert_int_eq(vmm_fetch(space, AT, &byte, 1), 0);
  ck_assert_int_eq(vmm_fetch(space, AT + PAGE, &byte, 1), 0);
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  restore(space, snapshot);
  ck_assert_uint_eq(calls[0], 1);
  ck_assert_uint_eq(calls[1], 0); /* it is what it was */
  ck_assert_int_eq(vmm_fetch(space, AT, &byte, 1), 0);
  ck_assert_uint_eq(byte, 1);
  vmm_test_set(space, AT, 100);
  ck_assert_uint_eq(calls[0], 2);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(a_fork_has_no_snapshots_and_keeps_its_bytes)
{
  struct vmm_space *space = space_with_pages(0), *child;
  struct vmm_snapshot *snapshot = take(space);

  vmm_test_set(space, AT, 50);
  vmm_test_set(space, AT + 40 * PAGE, 50);
  ck_assert_ok(vmm_space_fork(&child, space));
  vmm_test_set(space, AT + PAGE, 51);
  vmm_test_set(child, AT + 2 * PAGE, 52);
  ck_assert_error(vmm_snapshot_restore(child, snapshot), EINVAL);
  restore(space, snapshot);
  assert_as_made(space);
  ck_assert_ok(vmm_check(child, 0, 0));
  ck_assert_uint_eq(vmm_test_get(child, AT), 50);
  ck_assert_uint_eq(vmm_test_get(child, AT + PAGE), 2);
  ck_assert_uint_eq(vmm_test_get(child, AT + 2 * PAGE), 52);
  ck_assert_uint_eq(vmm_test_get(child, AT + 40 * PAGE), 50);
  vmm_test_set(space, AT, 60);
  vmm_test_end(child);
  restore(space, snapshot);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(wired_pages_are_copied_at_once_and_never_fault)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_wire(space, AT, 4 * PAGE));
  snapshot = take(space);
  ck_assert_uint_eq(vmm_test_stats(space).saved, 4);
  for (unsigned round = 0; round < 3; round++) {
    ck_assert_faults(space, 0, 0, vmm_test_set(space, AT + PAGE, 90));
    restore(space, snapshot);
    for (unsigned i = 0; i < 4; i++)
      ck_assert_faults(space, 0, 0,
                       ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE),
                                         i + 1));
    assert_as_made(space);
  }
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(frames_of_snapshots_do_not_count)
{
  struct vmm_space_options options = { .max_frames = 8 };
  struct vmm_space *space;
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_space_create(&space, &options));
  ck_assert_ok(vmm_map_anon(space, AT, 16 * PAGE, RW));
  for (unsigned i = 0; i < 8; i++)
    vmm_test_set(space, AT + i * PAGE, (uint8_t)(i + 1));
  snapshot = take(space);
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned i = 0; i < 8; i++)
      vmm_test_set(space, AT + i * PAGE, 50);
    ck_assert_ok(vmm_discard(space, AT, 8 * PAGE));
    for (unsigned i = 8; i < 16; i++)
      vmm_test_set(space, AT + i * PAGE, 50);
    ck_assert_uint_eq(vmm_test_stats(space).frames, 8);
    restore(space, snapshot);
    ck_assert_uint_eq(vmm_test_stats(space).frames, 8);
    for (unsigned i = 0; i < 8; i++)
      ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE), i + 1);
  }
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(large_pages_are_copied_whole)
{
  struct vmm_space_options options = { .page_size = 0x10000 };
  struct vmm_space *space;
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_space_create(&space, &options));
  ck_assert_ok(vmm_map_anon(space, AT, 0x100000, RW));
  ck_assert_ok(vmm_fill(space, AT, 1, 0x80000, NULL));
  snapshot = take(space);
  ck_assert_ok(vmm_fill(space, AT + 0x8000, 2, 0x100000 - 0x8000, NULL));
  ck_assert_uint_eq(vmm_test_stats(space).saved, 8);
  restore(space, snapshot);
  for (unsigned at = 0; at < 0x100000; at += 0x1000)
    ck_assert_uint_eq(vmm_test_get(space, AT + at), at < 0x80000 ? 1 : 0);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(misuse_is_refused)
{
  struct vmm_space *space = space_with_pages(0), *other = vmm_test_space(0, 0);
  struct vmm_snapshot *snapshot = take(space);

  ck_assert_error(vmm_space_destroy(space), EBUSY);
  ck_assert_error(vmm_snapshot_take(NULL, space), EINVAL);
  ck_assert_error(vmm_snapshot_take(&snapshot, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_restore(space, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_restore(other, snapshot), EINVAL);
  vmm_test_end(other);
  drop_and_end(space, snapshot);
}
END_TEST

START_TEST(a_debuggers_write_is_saved_too)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_protect(space, AT, PAGE, VMM_READ));
  snapshot = take(space);
  ck_assert_ok(vmm_debug_write(space, AT, "x", 1, NULL));
  ck_assert_uint_eq(vmm_test_get(space, AT), 'x');
  restore(space, snapshot);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

Suite *vmm_suite_snapshot(void);

Suite *vmm_suite_snapshot(void)
{
  Suite *suite = suite_create("snapshot");
  TCase *tcase = tcase_create("snapshot");

  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, restore_gives_back_all_bytes, 0, 3);
  tcase_add_test(tcase, the_first_write_to_a_page_copies_it_and_the_next_do_not);
  tcase_add_test(tcase, pages_written_between_restores_fault_only_once);
  tcase_add_test(tcase, a_page_that_stays_writable_is_dirty_to_trackers_each_time);
  tcase_add_test(tcase, a_snapshot_beside_a_restored_one_has_its_own_copies);
  tcase_add_test(tcase, reading_copies_nothing);
  tcase_add_test(tcase, pages_that_were_not_there_are_given_back);
  tcase_add_test(tcase, a_dropped_snapshot_costs_nothing_more);
  tcase_add_loop_test(tcase, discarded_bytes_come_back_without_a_copy, 0, 2);
  tcase_add_test(tcase, snapshots_are_restored_in_any_order);
  tcase_add_loop_test(tcase, any_snapshot_may_be_dropped_first, 0, MANY);
  tcase_add_test(tcase, a_snapshot_after_a_restore_stands_beside_the_newer_one);
  tcase_add_test(tcase, restored_pages_read_dirty_to_every_tracker);
  tcase_add_test(tcase, a_pin_sees_what_a_restore_gives);
  tcase_add_test(tcase, a_read_pin_stays_coherent_over_a_move);
  tcase_add_test(tcase, code_that_a_restore_changes_is_told);
  tcase_add_test(tcase, a_fork_has_no_snapshots_and_keeps_its_bytes);
  tcase_add_window_test(tcase, wired_pages_are_copied_at_once_and_never_fault);
  tcase_add_test(tcase, frames_of_snapshots_do_not_count);
  tcase_add_test(tcase, large_pages_are_copied_whole);
  tcase_add_test(tcase, misuse_is_refused);
  tcase_add_test(tcase, a_debuggers_write_is_saved_too);
  suite_add_tcase(suite, tcase);
  return suite;
}
