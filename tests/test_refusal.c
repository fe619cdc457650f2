/*
 * Bad arguments: reserved fields, unknown flags, sizes of structures.  Each is
 * a documented error and changes nothing.
 */
#include "probe.h"
#include "windows.h"

#define AT 0x100000

static uint64_t page;

static struct vmm_space *space_with(unsigned npages)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, RW));
  vmm_test_set(space, AT, 1);
  return space;
}

/* Flags that vmm_map() knows. */
#define KNOWN                                                                  \
  (VMM_ANY | VMM_REPLACE | VMM_PRIVATE | VMM_WIRED | VMM_HUGE | VMM_EXACT |    \
   VMM_SUPERVISOR)

START_TEST(unknown_bits_of_a_map_are_einval)
{
  struct vmm_space *space = space_with(1);
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = AT + 16 * page;
  int i;

  for (i = 0; i < 32; i++) {
    options.rights = RW;
    options.flags = 1u << i;
    if (!(options.flags & KNOWN))
      ck_assert_refused(space, vmm_map(space, &va, page, &options), EINVAL);
    options.flags = 0;
    options.rights = RW | 1u << i;
    if (i > 2)
      ck_assert_refused(space, vmm_map(space, &va, page, &options), EINVAL);
    if (i > 2 && !(1u << i & KNOWN))
      ck_assert_refused(space, vmm_map_anon(space, va, page, 1u << i), EINVAL);
    if (i > 2)
      ck_assert_refused(space, vmm_protect(space, AT, page, 1u << i), EINVAL);
    if (i != 8 && i != 9)
      ck_assert_refused(space, vmm_move(space, AT, page, &va, 1u << i), EINVAL);
  }
  ck_assert_refused(space, vmm_map_anon(space, va, page, RW | VMM_ANY), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(reserved_fields_of_a_map_are_zero)
{
  struct vmm_space *space = space_with(1);
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = AT + 16 * page;
  int i;

  for (i = 0; i < 6; i++) {
    memset(&options, 0, sizeof(options));
    options.rights = RW;
    options.reserved[i] = 1;
    ck_assert_refused(space, vmm_map(space, &va, page, &options), EINVAL);
  }
  ck_assert_refused(space, vmm_map(space, &va, page, NULL), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(map_of_a_part_that_the_object_has_not_is_einval)
{
  struct vmm_space *space = space_with(1);
  struct vmm_object *object = probe_object(4 * page, 0);
  vmm_addr_t va = AT + 16 * page;

  ck_assert_refused(space, probe_map(space, va, 5 * page, object, 0, RW),
                    EINVAL);
  ck_assert_refused(space, probe_map(space, va, page, object, 4 * page, RW),
                    EINVAL);
  ck_assert_refused(space, probe_map(space, va, page, object, 1, RW), EINVAL);
  ck_assert_refused(space, probe_map(space, va, 2 * page, object,
                                     -(uint64_t)page, RW), EINVAL);
  ck_assert_refused(space, probe_map(space, va, page, object, 0, VMM_WRITE),
                    ENOTSUP);
  ck_assert_ok(probe_map(space, va, page, object, 3 * page, RW));
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(offset_without_an_object_is_einval)
{
  struct vmm_space *space = space_with(1);

  ck_assert_refused(space, probe_map(space, AT + 16 * page, page, NULL, page,
                                     RW), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(bad_object_options_are_einval)
{
  struct vmm_object_options options = { 0 };
  struct vmm_object *object = NULL;
  int i;

  ck_assert_error(vmm_object_create(&object, 0, NULL), EINVAL);
  ck_assert_error(vmm_object_create(&object, 1000, NULL), EINVAL);
  for (i = 2; i < 32; i++) {
    options.flags = 1u << i;
    ck_assert_error(vmm_object_create(&object, 1 << 20, &options), EINVAL);
  }
  options.flags = 0;
  options.reserved32 = 1;
  ck_assert_error(vmm_object_create(&object, 1 << 20, &options), EINVAL);
  memset(&options, 0, sizeof(options));
  for (i = 0; i < 6; i++) {
    options.reserved[i] = 1;
    ck_assert_error(vmm_object_create(&object, 1 << 20, &options), EINVAL);
    options.reserved[i] = 0;
  }
  options.flags = VMM_OBJECT_EXPORT;
  ck_assert_error(vmm_object_create(&object, (uint64_t)1 << 60, &options),
                  ENOMEM);
  ck_assert_ptr_null(object);
  vmm_object_release(NULL);
}
END_TEST

START_TEST(bad_tracker_options_are_einval)
{
  struct vmm_space *space = space_with(4);
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker = NULL;
  int i;

  options.kind = 2;
  ck_assert_refused(space, vmm_tracker_create(&tracker, space, AT, page,
                                              &options), EINVAL);
  options.kind = 0;
  options.reserved32 = 1;
  ck_assert_refused(space, vmm_tracker_create(&tracker, space, AT, page,
                                              &options), EINVAL);
  options.reserved32 = 0;
  for (i = 0; i < 4; i++) {
    options.reserved[i] = 1;
    ck_assert_refused(space, vmm_tracker_create(&tracker, space, AT, page,
                                                &options), EINVAL);
    options.reserved[i] = 0;
  }
  ck_assert_refused(space, vmm_tracker_create(&tracker, space, AT + 1, page,
                                              &options), EINVAL);
  ck_assert_refused(space, vmm_tracker_create(&tracker, space, AT, 0, &options),
                    EINVAL);
  ck_assert_refused(space, vmm_tracker_create(&tracker, space, 1 << 26, page,
                                              &options), EINVAL);
  ck_assert_ptr_null(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(pages_clears_only_young_and_dirty)
{
  struct vmm_space *space = space_with(2);
  int i;

  for (i = 0; i < 64; i++)
    if (((uint64_t)1 << i) & ~(YOUNG | DIRTY))
      ck_assert_refused(space, vmm_pages(space, AT, page, (uint64_t)1 << i,
                                         NULL), EINVAL);
  ck_assert_ok(vmm_pages(space, AT, page, YOUNG | DIRTY, NULL));
  ck_assert_ok(vmm_pages(space, AT + 64 * page, page, YOUNG | DIRTY, NULL));
  vmm_test_end(space);
}
END_TEST

/* A structure of an older version is filled no further than its size. */
START_TEST(fields_beyond_struct_size_are_not_written)
{
  struct vmm_space *space = space_with(1);
  struct vmm_stats stats;
  struct vmm_region_info info;

  memset(&stats, 0xee, sizeof(stats));
  stats.struct_size = offsetof(struct vmm_stats, faults_exec);
  ck_assert_ok(vmm_space_stats(space, &stats));
  ck_assert_uint_eq(stats.struct_size, offsetof(struct vmm_stats, faults_exec));
  ck_assert_uint_eq(stats.faults_write, 1);
  ck_assert_uint_eq(stats.faults_exec, 0xeeeeeeeeeeeeeeee);
  ck_assert_uint_eq(stats.mapped, 0xeeeeeeeeeeeeeeee);

  memset(&info, 0xee, sizeof(info));
  info.struct_size = offsetof(struct vmm_region_info, nbytes);
  ck_assert_ok(vmm_region_find(space, AT, &info));
  ck_assert_uint_eq(info.start, AT);
  ck_assert_uint_eq(info.nbytes, 0xeeeeeeeeeeeeeeee);

  info.struct_size = 0;
  ck_assert_error(vmm_region_find(space, AT, &info), EINVAL);
  stats.struct_size = 3;
  ck_assert_error(vmm_space_stats(space, &stats), EINVAL);
  vmm_test_end(space);
}
END_TEST

/* A structure of a newer program: what the library does not know stays. */
START_TEST(a_larger_struct_size_is_taken)
{
  struct {
    struct vmm_stats stats;
    uint64_t newer;
  } larger;
  struct vmm_space *space = space_with(1);

  memset(&larger, 0xee, sizeof(larger));
  larger.stats.struct_size = sizeof(larger);
  ck_assert_ok(vmm_space_stats(space, &larger.stats));
  ck_assert_uint_eq(larger.stats.mapped, page);
  ck_assert_uint_eq(larger.newer, 0xeeeeeeeeeeeeeeee);
  vmm_test_end(space);
}
END_TEST

START_TEST(region_find_goes_on_upward_and_ends_with_enoent)
{
  struct vmm_space *space = space_with(2);
  struct vmm_region_info info;

  ck_assert_ok(probe_region(space, 0, &info));
  ck_assert_uint_eq(info.start, AT);
  ck_assert_ok(probe_region(space, AT + page + 7, &info));
  ck_assert_uint_eq(info.start, AT);
  ck_assert_uint_eq(info.nbytes, 2 * page);
  ck_assert_uint_eq(info.flags, VMM_EXACT);
  ck_assert_ptr_null(info.object);
  ck_assert_error(probe_region(space, AT + 2 * page, &info), ENOENT);
  vmm_test_end(space);
}
END_TEST

START_TEST(region_carries_its_cookie_to_the_fault)
{
  struct vmm_space *space = space_with(1);
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = AT + 4 * page;
  struct vmm_region_info info;
  struct vmm_fault fault;

  options.rights = VMM_READ;
  options.cookie = &options;
  ck_assert_ok(vmm_map(space, &va, page, &options));
  ck_assert_ok(probe_region(space, va, &info));
  ck_assert_ptr_eq(info.cookie, &options);
  ck_assert_uint_eq(probe_reason(space, va, VMM_WRITE), VMM_FAULT_RIGHTS);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_ptr_eq(fault.cookie, &options);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_refusal(void)
{
  Suite *suite = suite_create("refusal");
  TCase *tcase = tcase_create("refusal");

  tcase_add_window_test(tcase, unknown_bits_of_a_map_are_einval);
  tcase_add_test(tcase, reserved_fields_of_a_map_are_zero);
  tcase_add_window_test(tcase, map_of_a_part_that_the_object_has_not_is_einval);
  tcase_add_test(tcase, offset_without_an_object_is_einval);
  tcase_add_test(tcase, bad_object_options_are_einval);
  tcase_add_test(tcase, bad_tracker_options_are_einval);
  tcase_add_test(tcase, pages_clears_only_young_and_dirty);
  tcase_add_test(tcase, fields_beyond_struct_size_are_not_written);
  tcase_add_test(tcase, a_larger_struct_size_is_taken);
  tcase_add_test(tcase, region_find_goes_on_upward_and_ends_with_enoent);
  tcase_add_window_test(tcase, region_carries_its_cookie_to_the_fault);
  suite_add_tcase(suite, tcase);
  return suite;
}
