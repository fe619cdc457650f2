/*
 * Pagers: filling, writing back, evicting, and how one ends.  Each test runs
 * with the pager's own thread and inline.
 */
#include <stdlib.h>

#include "store.h"
#include "windows.h"

#define PAGE 4096u
#define AT 0x400000u
#define AGAIN 0x800000u
#define RW (VMM_READ | VMM_WRITE)

static const uint32_t ways[] = { 0, VMM_PAGER_INLINE };

START_TEST(first_touch_fills_a_page_once)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  ck_assert_faults(space, 1, 0,
                   ck_assert_uint_eq(vmm_test_get(space, AT + 3 * PAGE), 4));
  ck_assert_faults(space, 0, 0,
                   ck_assert_uint_eq(vmm_test_get(space, AT + 3 * PAGE + 9), 4));
  ck_assert_uint_eq(store.fills, 1);
  ck_assert_uint_eq(store.filled[3], 1);
  ck_assert_uint_eq(store_stats(&store).resident, 1);
  ck_assert_uint_eq(store_stats(&store).dirty, 0);
  ck_assert_uint_eq(store_stats(&store).waits, _i == 0);
  vmm_test_end(space);
  store_close(&store);
  ck_assert_uint_eq(store.writes, 0);
}
END_TEST

START_TEST(mirrors_and_spaces_share_one_fill)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);
  struct vmm_space *other = vmm_test_space(1 << 26, 0);

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  store_map(&store, space, AGAIN, RW, 0);
  store_map(&store, other, AT, RW, 0);
  vmm_test_set(space, AT + 5 * PAGE, 77);
  ck_assert_uint_eq(vmm_test_get(space, AGAIN + 5 * PAGE), 77);
  ck_assert_uint_eq(vmm_test_get(other, AT + 5 * PAGE), 77);
  ck_assert_uint_eq(store.fills, 1);
  vmm_test_end(space);
  vmm_test_end(other);
  store_close(&store);
  ck_assert_uint_eq(store.written[5], 1);
}
END_TEST

START_TEST(private_mapping_copies_on_write)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, VMM_PRIVATE);
  store_map(&store, space, AGAIN, RW, 0);
  vmm_test_set(space, AT, 50);
  vmm_test_set(space, AGAIN + PAGE, 51);
  ck_assert_uint_eq(vmm_test_get(space, AGAIN), 1);
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 51);
  ck_assert_uint_eq(store_stats(&store).dirty, 1);
  vmm_test_end(space);
  store_close(&store);
  ck_assert_uint_eq(store.written[0], 0);
  ck_assert_uint_eq(store.written[1], 1);
}
END_TEST

START_TEST(flush_keeps_what_was_written_since)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);
  size_t all = STORE_PAGES * PAGE;

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  for (unsigned i = 8; i < 12; i++)
    vmm_test_set(space, AT + i * PAGE, 99);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_ok(vmm_object_flush(store.object, 0, all));
  ck_assert_uint_eq(store.bytes[8 * PAGE], 99);
  ck_assert_uint_eq(store_stats(&store).write_backs, 4);
  ck_assert_uint_eq(store_stats(&store).dirty, 0);
  ck_assert_ok(vmm_object_flush(store.object, 0, all));
  ck_assert_uint_eq(store_stats(&store).write_backs, 4);
  /* a read does not make it dirty again, a write faults and does */
  ck_assert_faults(space, 0, 0,
                   ck_assert_uint_eq(vmm_test_get(space, AT + 8 * PAGE), 99));
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT + 8 * PAGE, 98));
  ck_assert_uint_eq(store_stats(&store).dirty, 1);
  ck_assert_ok(vmm_object_flush(store.object, 8 * PAGE, PAGE));
  ck_assert_uint_eq(store.bytes[8 * PAGE], 98);
  ck_assert_uint_eq(store.written[8], 2);
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

START_TEST(evicted_pages_come_back_with_their_bytes)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  store_open(&store, ways[_i], 4);
  store_map(&store, space, AT, RW, 0);
  for (unsigned round = 0; round < 3; round++)
    for (unsigned i = 0; i < STORE_PAGES; i++) {
      ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE),
                        round == 0 ? i + 1 : 100 + i + round - 1);
      vmm_test_set(space, AT + i * PAGE, (uint8_t)(100 + i + round));
      ck_assert_uint_le(store_stats(&store).resident, 4);
    }
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(store.fills, 3 * STORE_PAGES);
  ck_assert_uint_eq(store_stats(&store).evictions, 3 * STORE_PAGES - 4);
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

START_TEST(failed_fill_is_a_fault_with_its_error)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);
  struct vmm_fault fault;
  char byte;

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  store.fill_error = -ENOSPC;
  ck_assert_error(vmm_copyin(space, &byte, AT, 1, NULL), ENOSPC);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_PAGER);
  ck_assert_int_eq(fault.error, -ENOSPC);
  store.fill_error = 3;
  ck_assert_error(vmm_fixup(space, AT, VMM_WRITE), EIO);
  ck_assert_uint_eq(store_stats(&store).resident, 0);
  ck_assert_uint_eq(store_stats(&store).failures, 2);
  store.fill_error = 0;
  ck_assert_int_eq(vmm_fixup(space, AT, VMM_WRITE), 1);
  ck_assert_int_eq(vmm_fixup(space, AT, VMM_WRITE), 0);
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

START_TEST(last_release_writes_back_and_releases)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  vmm_test_set(space, AT + 7 * PAGE, 9);
  ck_assert_error(vmm_pager_destroy(store.object), EBUSY);
  vmm_object_release(store.object);
  ck_assert_uint_eq(store.releases, 0);
  ck_assert_ok(vmm_unmap(space, AT, STORE_PAGES * PAGE));
  while (store.releases == 0)
    ; /* its thread does it */
  ck_assert_uint_eq(store.bytes[7 * PAGE], 9);
  vmm_test_end(space);
  free(store.bytes);
}
END_TEST

START_TEST(what_is_wrong_is_refused)
{
  struct store store = { 0 };
  struct vmm_pager_options options = store_options(&store, 0, 0), bad;
  struct vmm_object *object = NULL, *plain;
  struct vmm_pager_stats stats = { 0 };

  ck_assert_error(vmm_pager_create(NULL, &options), EINVAL);
  ck_assert_error(vmm_pager_create(&object, NULL), EINVAL);
  bad = options, bad.fill = NULL;
  ck_assert_error(vmm_pager_create(&object, &bad), EINVAL);
  bad = options, bad.nbytes = 0;
  ck_assert_error(vmm_pager_create(&object, &bad), EINVAL);
  bad = options, bad.nbytes += 1;
  ck_assert_error(vmm_pager_create(&object, &bad), EINVAL);
  bad = options, bad.page_size = 3 * PAGE;
  ck_assert_error(vmm_pager_create(&object, &bad), EINVAL);
  bad = options, bad.flags = 1u << 31;
  ck_assert_error(vmm_pager_create(&object, &bad), EINVAL);
  bad = options, bad.reserved[1] = 1;
  ck_assert_error(vmm_pager_create(&object, &bad), EINVAL);
  ck_assert_ptr_null(object);

  ck_assert_ok(vmm_pager_create(&object, &options));
  ck_assert_error(vmm_object_fd(object), ENOTSUP);
  ck_assert_error(vmm_pager_stats(object, &stats), EINVAL);
  ck_assert_error(vmm_pager_stats(object, NULL), EINVAL);
  ck_assert_error(vmm_object_flush(object, 0, 0), EINVAL);
  ck_assert_error(vmm_object_flush(object, 1, PAGE), EINVAL);
  ck_assert_error(vmm_object_flush(object, PAGE, options.nbytes), EINVAL);
  ck_assert_error(vmm_object_flush(NULL, 0, PAGE), EINVAL);
  ck_assert_ok(vmm_pager_destroy(object));
  ck_assert_ok(vmm_object_create(&plain, 16 * PAGE, NULL));
  ck_assert_error(vmm_pager_destroy(plain), EINVAL);
  ck_assert_ok(vmm_object_flush(plain, 0, PAGE)); /* there is nothing to keep */
  vmm_object_release(plain);
  free(store.bytes);
}
END_TEST

START_TEST(mapping_needs_the_pagers_page_and_a_way_back)
{
  struct store store = { 0 };
  struct vmm_pager_options options = store_options(&store, 0, 0);
  struct vmm_space_options sized = { .size = 1 << 26, .page_size = 4 * PAGE };
  struct vmm_map_options map = { .rights = RW };
  struct vmm_space *space = vmm_test_space(1 << 26, 0), *large;
  vmm_addr_t va = AT;

  options.write_back = NULL;
  ck_assert_ok(vmm_pager_create(&map.object, &options));
  ck_assert_error(vmm_map(space, &va, PAGE, &map), EACCES);
  map.flags = VMM_PRIVATE;
  ck_assert_ok(vmm_map(space, &va, PAGE, &map));
  vmm_test_set(space, AT, 7);
  ck_assert_ok(vmm_space_create(&large, &sized));
  ck_assert_error(vmm_map(large, &va, 4 * PAGE, &map), EINVAL);
  vmm_test_end(large);
  vmm_test_end(space);
  ck_assert_ok(vmm_pager_destroy(map.object));
  free(store.bytes);
}
END_TEST

START_TEST(explanation_says_that_a_page_is_not_resident)
{
  struct store store = { 0 };
  struct vmm_space *space = vmm_test_space(1 << 26, 0);
  char text[128];

  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  vmm_explain(space, AT, VMM_READ, text, sizeof(text));
  ck_assert_str_eq(text,
                   "would fault: region yes, PTE not resident, window empty");
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_ok(vmm_object_evict(store.object, 0, PAGE));
  vmm_explain(space, AT, VMM_WRITE, text, sizeof(text));
  ck_assert_str_eq(text,
                   "would fault: region yes, PTE not resident, window empty");
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

Suite *vmm_suite_pager(void);

Suite *vmm_suite_pager(void)
{
  Suite *suite = suite_create("pager");
  TCase *tcase = tcase_create("pager");

  tcase_add_loop_test(tcase, first_touch_fills_a_page_once, 0, 2);
  tcase_add_loop_test(tcase, mirrors_and_spaces_share_one_fill, 0, 2);
  tcase_add_loop_test(tcase, private_mapping_copies_on_write, 0, 2);
  tcase_add_loop_test(tcase, flush_keeps_what_was_written_since, 0, 2);
  tcase_add_loop_test(tcase, evicted_pages_come_back_with_their_bytes, 0, 2);
  tcase_add_loop_test(tcase, failed_fill_is_a_fault_with_its_error, 0, 2);
  tcase_add_loop_test(tcase, last_release_writes_back_and_releases, 0, 2);
  tcase_add_test(tcase, what_is_wrong_is_refused);
  tcase_add_test(tcase, mapping_needs_the_pagers_page_and_a_way_back);
  tcase_add_loop_window_test(tcase,
                             explanation_says_that_a_page_is_not_resident, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
