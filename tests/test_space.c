/*
 * Spaces: their options, sizes, guards, page sizes, limits and end.
 */
#include <sys/mman.h>

#include "probe.h"

#define AT 0x100000

static struct vmm_space_options none;

static int create(struct vmm_space **space, struct vmm_space_options options)
{
  *space = NULL;
  return vmm_space_create(space, &options);
}

/* Creating it is refused, and gives no space. */
static void refuse(struct vmm_space_options options, int error)
{
  struct vmm_space *space = NULL;

  ck_assert_int_eq(create(&space, options), -error);
  ck_assert_ptr_null(space);
  ck_assert_str_ne(vmm_error_text(), "");
}

START_TEST(defaults_are_four_gibibytes)
{
  struct vmm_space *space;

  ck_assert_ok(vmm_space_create(&space, NULL));
  ck_assert_uint_eq(vmm_space_size(space), 1ull << 32);
  ck_assert_uint_eq((uintptr_t)vmm_space_base(space) % (2 << 20), 0);
  vmm_test_end(space);
  ck_assert_int_eq(vmm_space_destroy(NULL), 0);
}
END_TEST

START_TEST(base_and_alignment_are_as_asked)
{
  struct vmm_space_options options = none;
  struct vmm_space *space, *second;
  char *base;

  options.size = 1 << 24;
  options.base_align = 1ull << 32;
  ck_assert_ok(create(&space, options));
  base = vmm_space_base(space);
  ck_assert_uint_eq((uintptr_t)base % (1ull << 32), 0);
  options.base = base;
  ck_assert_int_eq(create(&second, options), -EEXIST);
  vmm_test_end(space);
  ck_assert_ok(create(&space, options));
  ck_assert_ptr_eq(vmm_space_base(space), base);
  vmm_test_end(space);
  options.base = base + (2 << 20);
  refuse(options, EINVAL);
}
END_TEST

START_TEST(bad_options_are_einval)
{
  struct vmm_space_options options = none;
  int i;

  options.base_align = 3 << 21;
  refuse(options, EINVAL);
  options = none;
  options.size = (1 << 24) + 1;
  refuse(options, EINVAL);
  for (i = 0; i < 8; i++) {
    options = none;
    options.reserved[i] = 1;
    refuse(options, EINVAL);
  }
  for (i = 0; i < 32; i++) {
    options = none;
    options.flags = 1u << i;
    if (!(options.flags & (VMM_EXACT | VMM_CHECKED)))
      refuse(options, EINVAL);
  }
  for (i = 0; i < 32; i++) {
    options = none;
    options.page_size = 1u << i;
    if (i < 12 || i > 21)
      refuse(options, EINVAL);
    options.page_size = 3u << i;
    refuse(options, EINVAL);
  }
  options = none;
  options.size = (uint64_t)1 << 48;
  refuse(options, ENOMEM);
}
END_TEST

START_TEST(guards_always_fault)
{
  struct vmm_space_options options = none;
  struct vmm_space *space;

  options.size = 1 << 24;
  options.guard_below = 1 << 16;
  options.guard_above = 1 << 20;
  ck_assert_ok(create(&space, options));
  ck_assert_ok(vmm_map_anon(space, 0, 1 << 24, RW));
  ck_assert_uint_eq(probe_reason(space, 0, VMM_WRITE), VMM_FAULT_NONE);
  ck_assert_uint_eq(probe_reason(space, -(uint64_t)1, VMM_READ),
                    VMM_FAULT_OUTSIDE);
  ck_assert_uint_eq(probe_reason(space, -(uint64_t)(1 << 16), VMM_WRITE),
                    VMM_FAULT_OUTSIDE);
  ck_assert_uint_eq(probe_reason(space, (1 << 24) - 1, VMM_WRITE),
                    VMM_FAULT_NONE);
  ck_assert_uint_eq(probe_reason(space, 1 << 24, VMM_READ), VMM_FAULT_OUTSIDE);
  ck_assert_uint_eq(probe_reason(space, (1 << 24) + (1 << 20) - 1, VMM_WRITE),
                    VMM_FAULT_OUTSIDE);
  vmm_test_end(space);
}
END_TEST

START_TEST(one_page_above_is_a_guard_by_default)
{
  struct vmm_space *space = vmm_test_space(1 << 24, 0);

  ck_assert_uint_eq(probe_reason(space, 1 << 24, VMM_READ), VMM_FAULT_OUTSIDE);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_tebibyte_maps_without_memory)
{
  struct vmm_space *space = vmm_test_space(1ull << 46, VMM_EXACT);
  uint64_t tebibyte = 1ull << 40;

  ck_assert_ok(vmm_map_anon(space, tebibyte, tebibyte, RW));
  ck_assert_ok(vmm_map_anon(space, 40 * tebibyte, tebibyte, RW));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  ck_assert_uint_eq(vmm_test_stats(space).mapped, 2 * tebibyte);
  step(space, 0, 1, vmm_test_set(space, 2 * tebibyte - 1, 1));
  step(space, 0, 1, vmm_test_set(space, 40 * tebibyte, 1));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 2);
  ck_assert_ok(vmm_protect(space, tebibyte, tebibyte, VMM_READ));
  ck_assert_ok(vmm_discard(space, 40 * tebibyte, tebibyte));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  ck_assert_ok(vmm_unmap(space, 0, 1ull << 46));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  vmm_test_end(space);
}
END_TEST

/* _i: log2 of the page */
START_TEST(a_larger_page_is_one_page_in_every_way)
{
  struct vmm_space_options options = none;
  uint64_t page = 1ull << _i;
  struct vmm_space *space;
  uint64_t pte;

  options.size = 1 << 26;
  options.page_size = (uint32_t)page;
  options.flags = VMM_EXACT;
  ck_assert_ok(create(&space, options));
  ck_assert_uint_eq(vmm_space_page_size(space), page);
  ck_assert_refused(space, vmm_map_anon(space, page / 2, page, RW), EINVAL);
  ck_assert_refused(space, vmm_map_anon(space, page, page / 2, RW), EINVAL);
  ck_assert_ok(vmm_map_anon(space, page, 4 * page, RW));
  step(space, 1, 0, vmm_test_get(space, page));
  step(space, 0, 0, vmm_test_get(space, 2 * page - 1));
  step(space, 0, 1, vmm_test_set(space, 2 * page - 1, 1));
  step(space, 0, 0, vmm_test_set(space, page, 1));
  ck_assert_pte(space, page, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  step(space, 0, 1, vmm_test_set(space, 2 * page, 2));
  probe_clear(space, page, page, DIRTY);
  step(space, 0, 1, vmm_test_set(space, page + page / 2, 3));
  step(space, 0, 0, vmm_test_set(space, page, 3));
  ck_assert_refused(space, vmm_protect(space, page + page / 2, page, VMM_READ),
                    EINVAL);
  ck_assert_ok(vmm_protect(space, page, page, VMM_READ));
  ck_assert_error(probe_write(space, 2 * page - 1, 4), EFAULT);
  step(space, 0, 0, vmm_test_set(space, 2 * page, 4));
  ck_assert_error(vmm_pages(space, page / 2, page, 0, &pte), EINVAL);
  ck_assert_ok(vmm_discard(space, 2 * page, page));
  ck_assert_uint_eq(vmm_test_get(space, 2 * page), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(max_frames_limits_what_is_resident)
{
  struct vmm_space_options options = none;
  struct vmm_space *space;
  struct vmm_fault fault;
  uint64_t page;

  options.size = 1 << 24;
  options.max_frames = 2;
  ck_assert_ok(create(&space, options));
  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, 8 * page, RW));
  ck_assert_int_eq(probe_write(space, AT, 1), 0);
  ck_assert_int_eq(probe_write(space, AT + page, 2), 0);
  ck_assert_uint_eq(probe_reason(space, AT + 2 * page, VMM_WRITE),
                    VMM_FAULT_LIMIT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_int_eq(fault.error, -ENOMEM);
  ck_assert_refused(space, vmm_fixup(space, AT + 3 * page, VMM_WRITE), ENOMEM);
  ck_assert_refused(space, vmm_wire(space, AT, 8 * page), ENOMEM);
  ck_assert_uint_eq(vmm_test_get(space, AT + 4 * page), 0); /* zeros are free */
  ck_assert_uint_eq(vmm_test_stats(space).frames, 2);
  ck_assert_ok(vmm_discard(space, AT, page));
  ck_assert_int_eq(probe_write(space, AT + 2 * page, 3), 0);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 2);
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 2);
  vmm_test_end(space);
}
END_TEST

START_TEST(wired_map_beyond_max_frames_maps_nothing)
{
  struct vmm_space_options options = none;
  struct vmm_space *space;

  options.size = 1 << 24;
  options.max_frames = 2;
  ck_assert_ok(create(&space, options));
  ck_assert_refused(space, vmm_map_anon(space, AT, 1 << 20, RW | VMM_WIRED),
                    ENOMEM);
  ck_assert_ok(vmm_map_anon(space, AT, vmm_space_page_size(space),
                            RW | VMM_WIRED));
  vmm_test_end(space);
}
END_TEST

/* What it would have replaced is there still. */
START_TEST(wired_replace_beyond_max_frames_changes_nothing)
{
  struct vmm_space_options options = none;
  struct vmm_space *space;

  options.size = 1 << 24;
  options.max_frames = 2;
  ck_assert_ok(create(&space, options));
  ck_assert_ok(vmm_map_anon(space, AT, 1 << 20, RW));
  vmm_test_set(space, AT, 5);
  ck_assert_refused(space, vmm_map_anon(space, AT, 1 << 20,
                                        RW | VMM_WIRED | VMM_REPLACE), ENOMEM);
  ck_assert_uint_eq(vmm_test_get(space, AT), 5);
  vmm_test_end(space);
}
END_TEST

START_TEST(space_with_a_tracker_is_busy)
{
  struct vmm_space *space = vmm_test_space(1 << 24, 0);
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker;

  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, 1 << 20, &options));
  ck_assert_refused(space, vmm_space_destroy(space), EBUSY);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

START_TEST(destroyed_space_is_einval)
{
  struct vmm_space *space = vmm_test_space(1 << 24, 0), *keeps;
  struct vmm_stats stats = { 0 };
  vmm_addr_t to = 0;
  char byte;

  keeps = vmm_test_space(1 << 24, 0);
  stats.struct_size = sizeof(stats);
  ck_assert_ok(vmm_space_destroy(space));
  ck_assert_error(vmm_map_anon(space, AT, 1 << 20, RW), EINVAL);
  ck_assert_error(vmm_unmap(space, AT, 1 << 20), EINVAL);
  ck_assert_error(vmm_protect(space, AT, 1 << 20, RW), EINVAL);
  ck_assert_error(vmm_move(space, AT, 1 << 20, &to, 0), EINVAL);
  ck_assert_error(vmm_pages(space, AT, 1 << 20, 0, NULL), EINVAL);
  ck_assert_error(vmm_space_stats(space, &stats), EINVAL);
  ck_assert_error(vmm_copyin(space, &byte, AT, 1, NULL), EINVAL);
  ck_assert_error(vmm_fixup(space, AT, VMM_READ), EINVAL);
  ck_assert_error(vmm_check(space, 0, 0), EINVAL);
  ck_assert_error(vmm_space_destroy(space), EINVAL);
  ck_assert_ptr_null(vmm_debug_ptr(space, AT));
  ck_assert_error(vmm_unmap(NULL, AT, 1 << 20), EINVAL);
  vmm_test_end(keeps);
}
END_TEST

START_TEST(spaces_are_apart)
{
  struct vmm_space *first = vmm_test_space(1 << 24, 0);
  struct vmm_space *second = vmm_test_space(1 << 24, 0);

  ck_assert_ok(vmm_map_anon(first, AT, 1 << 20, RW));
  ck_assert_ok(vmm_map_anon(second, AT, 1 << 20, RW));
  vmm_test_set(first, AT, 1);
  ck_assert_uint_eq(vmm_test_get(second, AT), 0);
  vmm_test_set(second, AT, 2);
  ck_assert_uint_eq(vmm_test_get(first, AT), 1);
  vmm_test_end(first);
  ck_assert_uint_eq(vmm_test_get(second, AT), 2);
  vmm_test_end(second);
}
END_TEST

/* Windows and their memory go with the space. */
START_TEST(a_thousand_spaces_one_after_another_leave_nothing)
{
  char *first = NULL;
  int i;

  for (i = 0; i < 1000; i++) {
    struct vmm_space *space = vmm_test_space(1 << 24, 0);

    if (i == 0)
      first = vmm_space_base(space);
    ck_assert_ok(vmm_map_anon(space, AT, 1 << 20, RW));
    ck_assert_uint_eq(vmm_test_get(space, AT), 0);
    vmm_test_set(space, AT, 1);
    ck_assert_ok(vmm_space_destroy(space));
  }
  ck_assert_int_eq(msync(first, 1, MS_ASYNC), -1); /* nothing is mapped */
  ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

Suite *vmm_suite_space(void)
{
  Suite *suite = suite_create("space");
  TCase *tcase = tcase_create("space");

  tcase_add_test(tcase, defaults_are_four_gibibytes);
  tcase_add_test(tcase, base_and_alignment_are_as_asked);
  tcase_add_test(tcase, bad_options_are_einval);
  tcase_add_test(tcase, guards_always_fault);
  tcase_add_test(tcase, one_page_above_is_a_guard_by_default);
  tcase_add_test(tcase, a_tebibyte_maps_without_memory);
  tcase_add_loop_test(tcase, a_larger_page_is_one_page_in_every_way, 12, 18);
  tcase_add_test(tcase, max_frames_limits_what_is_resident);
  tcase_add_test(tcase, wired_map_beyond_max_frames_maps_nothing);
  tcase_add_test(tcase, wired_replace_beyond_max_frames_changes_nothing);
  tcase_add_test(tcase, space_with_a_tracker_is_busy);
  tcase_add_test(tcase, destroyed_space_is_einval);
  tcase_add_test(tcase, spaces_are_apart);
  tcase_add_test(tcase, a_thousand_spaces_one_after_another_leave_nothing);
  suite_add_tcase(suite, tcase);
  return suite;
}
