/*
 * Evicting pages of pagers: what must stay, what the windows show meanwhile,
 * whose choice it is, and what happens when the pages can't be kept.
 */
#include <pthread.h>
#include <stdlib.h>

#include "store.h"
#include "windows.h"

#define PAGE 4096u
#define AT 0x400000u
#define MIRROR 0x800000u
#define NBYTES (STORE_PAGES * PAGE)
#define RW (VMM_READ | VMM_WRITE)

static const uint32_t ways[] = { 0, VMM_PAGER_INLINE };

static struct vmm_space *space;

static void set_up(struct store *store, uint32_t flags, uint64_t max_frames)
{
  space = vmm_test_space(1 << 26, 0);
  store_open(store, flags, max_frames);
  store_map(store, space, AT, RW, 0);
}

static void tear_down(struct store *store)
{
  vmm_test_end(space);
  store_close(store);
}

static void touch_all(void)
{
  for (unsigned i = 0; i < STORE_PAGES; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE), i + 1);
}

/* ---- what stays ---- */

/* S2.15 */
START_TEST(pinned_page_is_not_evicted_and_stays_dirty)
{
  struct store store = { 0 };
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;

  set_up(&store, ways[_i], 3);
  ck_assert_ok(vmm_pin(space, AT, PAGE, VMM_WRITE, &iov, &niov, &pin));
  *(char *)iov.base = 77;
  for (unsigned i = 1; i < STORE_PAGES; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE), i + 1);
  ck_assert_uint_eq(store.filled[0], 1);
  ck_assert_uint_eq(vmm_test_get(space, AT), 77);
  ck_assert_error(vmm_object_evict(store.object, 0, NBYTES), EBUSY);
  ck_assert_uint_eq(store_stats(&store).resident, 1);
  /* kept, but it may be written again without a fault */
  ck_assert_uint_eq(store.bytes[0], 77);
  ck_assert_uint_eq(store_stats(&store).dirty, 1);
  *(char *)iov.base = 78;
  ck_assert_ok(vmm_check(space, 0, 0));
  vmm_unpin(pin);
  ck_assert_ok(vmm_object_evict(store.object, 0, NBYTES));
  ck_assert_uint_eq(store.bytes[0], 78);
  ck_assert_uint_eq(store_stats(&store).resident, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 78);
  tear_down(&store);
}
END_TEST

/* S2.15 */
START_TEST(limit_is_a_fault_where_nothing_can_go)
{
  struct store store = { 0 };
  struct vmm_fault fault;
  struct vmm_iovec iov[2];
  struct vmm_pin *pin;
  size_t niov = 2;
  char byte;

  set_up(&store, ways[_i], 2);
  ck_assert_ok(vmm_pin(space, AT, 2 * PAGE, VMM_READ, iov, &niov, &pin));
  ck_assert_error(vmm_copyin(space, &byte, AT + 5 * PAGE, 1, NULL), ENOMEM);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_LIMIT);
  ck_assert_uint_eq(store.fills, 2);
  vmm_unpin(pin);
  ck_assert_ok(vmm_copyin(space, &byte, AT + 5 * PAGE, 1, NULL));
  ck_assert_uint_eq(store_stats(&store).resident, 2);
  /* wired pages as well */
  ck_assert_ok(vmm_wire(space, AT, 2 * PAGE));
  ck_assert_error(vmm_copyin(space, &byte, AT + 6 * PAGE, 1, NULL), ENOMEM);
  ck_assert_error(vmm_object_evict(store.object, 0, PAGE), EBUSY);
  ck_assert_faults(space, 0, 0, vmm_test_set(space, AT, 3));
  ck_assert_ok(vmm_object_flush(store.object, 0, NBYTES));
  ck_assert_faults(space, 0, 0, vmm_test_set(space, AT, 4));
  ck_assert_ok(vmm_unwire(space, AT, 2 * PAGE));
  ck_assert_ok(vmm_object_evict(store.object, 0, PAGE));
  ck_assert_uint_eq(store.bytes[0], 4);
  tear_down(&store);
}
END_TEST

/* A copy holds the page that it reads, while its buffer's page must come in. */
START_TEST(limit_of_one_page_is_enough_for_a_copy_between_pages)
{
  struct store store = { 0 };

  set_up(&store, ways[_i], 1);
  ck_assert_ok(vmm_copyin(space, vmm_space_base(space) + AT + 8 * PAGE,
                          AT + 3 * PAGE, PAGE, NULL));
  ck_assert_uint_eq(vmm_test_get(space, AT + 8 * PAGE), 4);
  ck_assert_uint_eq(vmm_test_get(space, AT + 9 * PAGE), 10);
  ck_assert_uint_eq(store_stats(&store).resident, 1);
  ck_assert_uint_eq(store.bytes[8 * PAGE], 4);
  tear_down(&store);
}
END_TEST

/* ---- what windows show ---- */

/* S4.17: every window forgets a page before its frame is used again. */
START_TEST(evicted_page_is_in_no_window)
{
  struct store store = { 0 };
  struct vmm_space *other = vmm_test_space(1 << 26, 0);
  vmm_addr_t to = 0xc00000;

  set_up(&store, ways[_i], 0);
  store_map(&store, space, MIRROR, RW, 0);
  store_map(&store, other, AT, RW, VMM_PRIVATE);
  for (int round = 0; round < 3; round++) {
    vmm_addr_t at = round < 2 ? AT : to;

    ck_assert_faults(space, 2, 0, {
      ck_assert_uint_eq(vmm_test_get(space, at), 1 + round);
      ck_assert_uint_eq(vmm_test_get(space, MIRROR), 1 + round);
    });
    ck_assert_faults(other, 1, 0,
                     ck_assert_uint_eq(vmm_test_get(other, AT), 1 + round));
    ck_assert_ok(vmm_object_evict(store.object, 0, PAGE));
    ck_assert_uint_eq(store.filled[0], 1 + round);
    store.bytes[0] = (uint8_t)(2 + round);
    if (round == 1)
      ck_assert_ok(vmm_move(space, AT, NBYTES, &to, 0));
    ck_assert_ok(vmm_check(space, 0, 0));
  }
  vmm_test_end(other);
  tear_down(&store);
}
END_TEST

START_TEST(bits_of_a_page_outlive_its_eviction)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE };
  struct store store = { 0 };
  struct vmm_tracker *tracker;
  struct vmm_range runs[2];
  size_t nruns = 2;
  uint64_t pte;

  set_up(&store, ways[_i], 0);
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, NBYTES, &options));
  vmm_test_set(space, AT + PAGE, 5);
  ck_assert_ok(vmm_object_evict(store.object, 0, NBYTES));
  ck_assert_ok(vmm_pages(space, AT + PAGE, PAGE, VMM_PTE_MODIFIED, &pte));
  ck_assert(pte & VMM_PTE_MODIFIED);
  ck_assert(!(pte & VMM_PTE_PRESENT));
  ck_assert_ok(vmm_tracker_fetch(tracker, AT, NBYTES, 1, runs, &nruns, NULL));
  ck_assert_uint_eq(nruns, 1);
  ck_assert_uint_eq(runs[0].start, AT + PAGE);
  ck_assert_uint_eq(runs[0].nbytes, PAGE);
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 5);
  ck_assert_ok(vmm_pages(space, AT + PAGE, PAGE, 0, &pte));
  ck_assert(!(pte & VMM_PTE_MODIFIED));
  vmm_tracker_destroy(tracker);
  tear_down(&store);
}
END_TEST

static void count_notice(struct vmm_notifier *self, vmm_addr_t va,
                         uint64_t nbytes)
{
  (void)va;
  (void)nbytes;
  ++*(unsigned *)self->arg;
}

START_TEST(code_of_an_evicted_page_is_dropped)
{
  unsigned notices = 0;
  struct vmm_notifier notifier = { .invalidate = count_notice,
                                   .arg = &notices };
  struct store store = { 0 };
  uint32_t word;

  set_up(&store, ways[_i], 0);
  ck_assert_ok(vmm_protect(space, AT, NBYTES, RW | VMM_EXEC));
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  ck_assert_ok(vmm_fetch(space, AT, &word, sizeof(word)));
  ck_assert_uint_eq(word, 0x01010101);
  ck_assert_ok(vmm_object_evict(store.object, 0, PAGE));
  ck_assert_uint_eq(notices, 1);
  store.bytes[0] = 9;
  ck_assert_ok(vmm_fetch(space, AT, &word, sizeof(word)));
  ck_assert_uint_eq(word, 0x01010109);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  tear_down(&store);
}
END_TEST

/* ---- failures ---- */

START_TEST(what_cant_be_kept_stays_dirty_and_is_reported)
{
  struct store store = { 0 };

  set_up(&store, ways[_i], 0);
  for (unsigned i = 0; i < 8; i += 2)
    vmm_test_set(space, AT + i * PAGE, 99);
  store.write_error = -ENOSPC;
  ck_assert_error(vmm_object_flush(store.object, 0, NBYTES), ENOSPC);
  ck_assert_uint_eq(store.writes, 4); /* each was tried, once */
  ck_assert_uint_eq(store_stats(&store).dirty, 4);
  ck_assert_error(vmm_object_evict(store.object, 0, NBYTES), ENOSPC);
  store.write_error = 7;
  ck_assert_error(vmm_object_flush(store.object, 0, PAGE), EIO);
  ck_assert_ok(vmm_unmap(space, AT, NBYTES));
  ck_assert_error(vmm_pager_destroy(store.object), EIO);
  store.write_error = 0;
  ck_assert_ok(vmm_object_flush(store.object, 0, NBYTES));
  for (unsigned i = 0; i < 8; i += 2)
    ck_assert_uint_eq(store.bytes[i * PAGE], 99);
  tear_down(&store);
}
END_TEST

START_TEST(eviction_takes_clean_pages_where_dirty_ones_cant_be_kept)
{
  struct store store = { 0 };
  struct vmm_fault fault;
  char byte;

  set_up(&store, ways[_i], 2);
  vmm_test_set(space, AT, 50);
  store.write_error = -ENOSPC;
  for (unsigned i = 1; i < STORE_PAGES; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE), i + 1);
  ck_assert_uint_eq(store.filled[0], 1);
  vmm_test_set(space, AT + PAGE, 51);
  ck_assert_error(vmm_copyin(space, &byte, AT + 9 * PAGE, 1, NULL), ENOSPC);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_PAGER);
  store.write_error = 0;
  ck_assert_uint_eq(vmm_test_get(space, AT + 9 * PAGE), 10);
  ck_assert_uint_eq(vmm_test_get(space, AT), 50);
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 51);
  tear_down(&store);
}
END_TEST

/* ---- copies ---- */

START_TEST(forks_and_snapshots_outlive_evictions)
{
  struct vmm_snapshot *snapshot;
  struct store store = { 0 };
  struct vmm_space *fork;

  set_up(&store, ways[_i], 2);
  store_map(&store, space, MIRROR, RW, VMM_PRIVATE);
  vmm_test_set(space, MIRROR, 60);
  ck_assert_uint_eq(vmm_test_get(space, MIRROR + PAGE), 2);
  ck_assert_ok(vmm_space_fork(&fork, space));
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  vmm_test_set(space, MIRROR, 61);
  vmm_test_set(space, MIRROR + PAGE, 62);
  touch_all();
  ck_assert_uint_eq(vmm_test_get(fork, MIRROR), 60);
  ck_assert_uint_eq(vmm_test_get(fork, MIRROR + PAGE), 2);
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  ck_assert_uint_eq(vmm_test_get(space, MIRROR), 60);
  ck_assert_uint_eq(vmm_test_get(space, MIRROR + PAGE), 2);
  ck_assert_uint_eq(store_stats(&store).resident, 2);
  vmm_snapshot_drop(snapshot);
  vmm_test_end(fork);
  tear_down(&store);
}
END_TEST

START_TEST(unmapped_dirty_pages_are_kept_later)
{
  struct store store = { 0 };

  set_up(&store, ways[_i], 0);
  vmm_test_set(space, AT + 4 * PAGE, 44);
  ck_assert_ok(vmm_discard(space, AT, NBYTES)); /* the object's, not dropped */
  ck_assert_uint_eq(vmm_test_get(space, AT + 4 * PAGE), 44);
  ck_assert_ok(vmm_unmap(space, AT, NBYTES));
  ck_assert_uint_eq(store.bytes[4 * PAGE], 5);
  store_map(&store, space, MIRROR, RW, 0);
  ck_assert_uint_eq(vmm_test_get(space, MIRROR + 4 * PAGE), 44);
  ck_assert_uint_eq(store.filled[4], 1);
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

Suite *vmm_suite_pager_evict(void);

Suite *vmm_suite_pager_evict(void)
{
  Suite *suite = suite_create("pager_evict");
  TCase *tcase = tcase_create("pager_evict");

  tcase_add_loop_test(tcase, pinned_page_is_not_evicted_and_stays_dirty, 0, 2);
  tcase_add_loop_window_test(tcase,
                             limit_is_a_fault_where_nothing_can_go, 0, 2);
  tcase_add_loop_window_test(tcase,
                      limit_of_one_page_is_enough_for_a_copy_between_pages, 0,
                      2);
  tcase_add_loop_test(tcase, evicted_page_is_in_no_window, 0, 2);
  tcase_add_loop_test(tcase, bits_of_a_page_outlive_its_eviction, 0, 2);
  tcase_add_loop_test(tcase, code_of_an_evicted_page_is_dropped, 0, 2);
  tcase_add_loop_test(tcase, what_cant_be_kept_stays_dirty_and_is_reported, 0,
                      2);
  tcase_add_loop_test(tcase,
                      eviction_takes_clean_pages_where_dirty_ones_cant_be_kept,
                      0, 2);
  tcase_add_loop_test(tcase, forks_and_snapshots_outlive_evictions, 0, 2);
  tcase_add_loop_test(tcase, unmapped_dirty_pages_are_kept_later, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
