/*
 * Forks of spaces: copy-on-write both ways, generations, pins, objects, limits.
 */
#include "vmm_test.h"

#define PAGE 4096u
#define AT 0x40000000u
#define PAGES 64u

static struct vmm_space *parent_with_pages(uint32_t flags)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, flags);

  ck_assert_ok(vmm_map_anon(space, AT, PAGES * PAGE, VMM_READ | VMM_WRITE));
  for (unsigned i = 0; i < PAGES / 2; i++)
    vmm_test_set(space, AT + i * PAGE, (uint8_t)(i + 1));
  return space;
}

static uint64_t pte_of(struct vmm_space *space, vmm_addr_t va)
{
  uint64_t pte;

  ck_assert_ok(vmm_pages(space, va, PAGE, 0, &pte));
  return pte;
}

static struct vmm_space *fork_of(struct vmm_space *parent)
{
  struct vmm_space *child;

  ck_assert_ok(vmm_space_fork(&child, parent));
  ck_assert_ok(vmm_check(child, 0, 0));
  ck_assert_ok(vmm_check(parent, 0, 0));
  return child;
}

/* S2.13, S4.11 */
START_TEST(a_write_after_a_fork_is_seen_by_its_side_only)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  struct vmm_space *child = fork_of(parent);

  for (unsigned i = 0; i < PAGES; i++) {
    uint8_t before = i < PAGES / 2 ? (uint8_t)(i + 1) : 0;
    struct vmm_space *writer = i % 2 ? parent : child;
    struct vmm_space *other = i % 2 ? child : parent;

    vmm_test_set(writer, AT + i * PAGE, 200);
    ck_assert_uint_eq(vmm_test_get(other, AT + i * PAGE), before);
    ck_assert_uint_eq(vmm_test_get(writer, AT + i * PAGE), 200);
  }
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

/* S4.11 */
START_TEST(pages_of_the_child_are_old_and_keep_their_dirty_bit)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  struct vmm_space *child = fork_of(parent);
  uint64_t bits = VMM_PTE_ACCESSED | VMM_PTE_MODIFIED;

  ck_assert_uint_eq(pte_of(parent, AT) & bits, bits);
  ck_assert_uint_eq(pte_of(child, AT) & bits, VMM_PTE_MODIFIED);
  ck_assert_uint_eq(pte_of(child, AT + (PAGES - 1) * PAGE), 0);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

START_TEST(the_second_writer_takes_the_frame_back_without_a_copy)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  struct vmm_space *child = fork_of(parent);

  ck_assert_faults(child, 0, 1, vmm_test_set(child, AT, 9));
  ck_assert_uint_eq(vmm_test_stats(child).copies, 1);
  ck_assert_faults(parent, 0, 1, vmm_test_set(parent, AT, 8));
  ck_assert_uint_eq(vmm_test_stats(parent).copies, 0);
  ck_assert_uint_eq(vmm_test_get(child, AT), 9);
  ck_assert_uint_eq(vmm_test_get(parent, AT), 8);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

START_TEST(a_child_that_ends_leaves_the_parent_its_frames)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  uint64_t frames = vmm_test_stats(parent).frames;

  ck_assert_uint_eq(frames, PAGES / 2);
  for (int i = 0; i < 3; i++) {
    struct vmm_space *child = fork_of(parent);

    ck_assert_uint_eq(vmm_test_stats(child).frames, frames);
    vmm_test_end(child);
  }
  for (unsigned i = 0; i < PAGES / 2; i++)
    ck_assert_faults(parent, 0, 1, vmm_test_set(parent, AT + i * PAGE, 3));
  ck_assert_uint_eq(vmm_test_stats(parent).copies, 0);
  ck_assert_uint_eq(vmm_test_stats(parent).frames, frames);
  vmm_test_end(parent);
}
END_TEST

START_TEST(generations_see_the_bytes_of_their_fork)
{
  enum { GENERATIONS = 20 };
  struct vmm_space *space[GENERATIONS + 1];

  space[0] = parent_with_pages(0);
  for (unsigned i = 0; i < GENERATIONS; i++) {
    vmm_test_set(space[i], AT, (uint8_t)(100 + i));
    vmm_test_set(space[i], AT + i * PAGE, (uint8_t)(150 + i));
    ck_assert_ok(vmm_space_fork(&space[i + 1], space[i]));
  }
  for (unsigned i = 0; i < GENERATIONS; i += 2) /* from the middle of the chain */
    vmm_test_end(space[i]);
  for (unsigned i = 1; i < GENERATIONS; i += 2) {
    ck_assert_uint_eq(vmm_test_get(space[i], AT), 100 + i);
    ck_assert_uint_eq(vmm_test_get(space[i], AT + i * PAGE), 150 + i);
    vmm_test_end(space[i]);
  }
  ck_assert_uint_eq(vmm_test_get(space[GENERATIONS], AT), 100 + GENERATIONS - 1);
  vmm_test_end(space[GENERATIONS]);
}
END_TEST

START_TEST(a_shared_object_stays_shared_and_a_private_one_does_not)
{
  struct vmm_space *parent = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_map_options options = { .rights = VMM_READ | VMM_WRITE };
  vmm_addr_t shared = AT, private = AT + PAGE;
  struct vmm_space *child;

  ck_assert_ok(vmm_object_create(&options.object, PAGE, NULL));
  ck_assert_ok(vmm_map(parent, &shared, PAGE, &options));
  options.flags = VMM_PRIVATE;
  ck_assert_ok(vmm_map(parent, &private, PAGE, &options));
  vmm_object_release(options.object);
  vmm_test_set(parent, shared, 1);
  vmm_test_set(parent, private, 2);
  child = fork_of(parent);
  vmm_test_set(child, shared, 3);
  vmm_test_set(child, private, 4);
  ck_assert_uint_eq(vmm_test_get(parent, shared), 3);
  ck_assert_uint_eq(vmm_test_get(parent, private), 2);
  ck_assert_uint_eq(vmm_test_get(child, private), 4);
  vmm_test_end(parent);
  ck_assert_uint_eq(vmm_test_get(child, shared), 3);
  vmm_test_end(child);
}
END_TEST

/* S2.15 */
START_TEST(a_pinned_page_is_copied_at_once_and_stays_the_parents)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  struct vmm_iovec iov;
  struct vmm_space *child;
  struct vmm_pin *pin;
  size_t niov = 1;

  ck_assert_ok(vmm_pin(parent, AT, PAGE, VMM_WRITE, &iov, &niov, &pin));
  child = fork_of(parent);
  ck_assert_uint_eq(vmm_test_stats(child).copies, 1);
  *(volatile char *)iov.base = 77;
  ck_assert_uint_eq(vmm_test_get(parent, AT), 77);
  ck_assert_uint_eq(vmm_test_get(child, AT), 1);
  vmm_test_set(parent, AT, 78);
  ck_assert_int_eq(*(volatile char *)iov.base, 78);
  vmm_unpin(pin);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

START_TEST(a_region_that_is_not_inherited_is_not_there)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  struct vmm_region_info info = { .struct_size = sizeof(info) };
  struct vmm_space *child;

  ck_assert_ok(vmm_inherit(parent, AT + PAGE, 2 * PAGE, VMM_INHERIT_NONE));
  child = fork_of(parent);
  ck_assert_ok(vmm_region_find(child, AT + PAGE, &info));
  ck_assert_uint_eq(info.start, AT + 3 * PAGE);
  vmm_test_end(child);
  ck_assert_ok(vmm_inherit(parent, AT + PAGE, 2 * PAGE, VMM_INHERIT_COPY));
  ck_assert_ok(vmm_region_find(parent, AT + PAGE, &info));
  ck_assert_uint_eq(info.start, AT);
  child = fork_of(parent);
  ck_assert_uint_eq(vmm_test_get(child, AT + PAGE), 2);
  ck_assert_error(vmm_inherit(parent, AT, PAGE, 9), EINVAL);
  ck_assert_error(vmm_inherit(parent, 0, PAGE, VMM_INHERIT_NONE), ENOMEM);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

START_TEST(a_copy_in_place_of_a_shared_frame_stays_within_the_limit)
{
  struct vmm_space_options options = { .size = 1ull << 32, .max_frames = 4 };
  struct vmm_space *parent, *child;

  ck_assert_ok(vmm_space_create(&parent, &options));
  ck_assert_ok(vmm_map_anon(parent, AT, 8 * PAGE, VMM_READ | VMM_WRITE));
  for (unsigned i = 0; i < 4; i++)
    vmm_test_set(parent, AT + i * PAGE, 1);
  child = fork_of(parent);
  for (unsigned i = 0; i < 4; i++)
    vmm_test_set(child, AT + i * PAGE, 2);
  ck_assert_uint_eq(vmm_test_stats(child).frames, 4);
  ck_assert_error(vmm_fill(child, AT + 4 * PAGE, 1, 1, NULL), ENOMEM);
  ck_assert_uint_eq(vmm_test_get(parent, AT), 1);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

START_TEST(code_of_a_fork_is_told_when_its_page_is_copied)
{
  struct vmm_space *parent = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_space *child;
  uint8_t code;

  ck_assert_ok(vmm_map_anon(parent, AT, PAGE, VMM_READ | VMM_WRITE | VMM_EXEC));
  vmm_test_set(parent, AT, 1);
  child = fork_of(parent);
  ck_assert_int_eq(vmm_fetch(child, AT, &code, 1), 0);
  ck_assert_uint_eq(code, 1);
  vmm_test_set(child, AT, 2);
  ck_assert_uint_eq(vmm_test_stats(child).invalidations, 1);
  ck_assert_int_eq(vmm_fetch(child, AT, &code, 1), 0);
  ck_assert_uint_eq(code, 2);
  ck_assert_int_eq(vmm_fetch(parent, AT, &code, 1), 0);
  ck_assert_uint_eq(code, 1);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

START_TEST(mappings_of_the_child_stay_apart_from_inherited_ones)
{
  struct vmm_space *parent = parent_with_pages(VMM_EXACT);
  struct vmm_space *child = fork_of(parent);
  struct vmm_map_options options = { .rights = VMM_READ | VMM_WRITE };
  struct vmm_region_info info = { .struct_size = sizeof(info) };
  vmm_addr_t va = AT + PAGES * PAGE;

  options.cookie = child;
  ck_assert_ok(vmm_map(child, &va, PAGE, &options));
  ck_assert_ok(vmm_protect(child, AT, (PAGES + 1) * PAGE, VMM_READ));
  ck_assert_ok(vmm_region_find(child, va, &info));
  ck_assert_uint_eq(info.start, va);
  ck_assert_ptr_eq(info.cookie, child);
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

/* S2.10 */
START_TEST(a_debuggers_write_makes_a_private_copy)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_map_options options = { .rights = VMM_READ };
  vmm_addr_t private = AT, shared = AT + PAGE;
  size_t left;

  ck_assert_ok(vmm_object_create(&options.object, PAGE, NULL));
  ck_assert_ok(vmm_map(space, &shared, PAGE, &options));
  options.flags = VMM_PRIVATE;
  ck_assert_ok(vmm_map(space, &private, PAGE, &options));
  vmm_object_release(options.object);
  ck_assert_ok(vmm_debug_write(space, private, "x", 1, NULL));
  ck_assert_uint_eq(vmm_test_get(space, private), 'x');
  ck_assert_uint_eq(vmm_test_get(space, shared), 0);
  ck_assert_error(vmm_copyout(space, private, "y", 1, NULL), EFAULT);
  ck_assert_error(vmm_debug_write(space, shared, "y", 1, &left), EFAULT);
  ck_assert_uint_eq(left, 1);
  ck_assert_uint_eq(vmm_test_get(space, shared), 0);
  ck_assert_uint_eq(pte_of(space, private) & VMM_PTE_MODIFIED, VMM_PTE_MODIFIED);
  ck_assert_uint_eq(pte_of(space, private) & VMM_PTE_WRITE, 0);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_fork(void);

Suite *vmm_suite_fork(void)
{
  Suite *suite = suite_create("fork");
  TCase *tcase = tcase_create("fork");

  tcase_add_test(tcase, a_write_after_a_fork_is_seen_by_its_side_only);
  tcase_add_test(tcase, pages_of_the_child_are_old_and_keep_their_dirty_bit);
  tcase_add_test(tcase, the_second_writer_takes_the_frame_back_without_a_copy);
  tcase_add_test(tcase, a_child_that_ends_leaves_the_parent_its_frames);
  tcase_add_test(tcase, generations_see_the_bytes_of_their_fork);
  tcase_add_test(tcase, a_shared_object_stays_shared_and_a_private_one_does_not);
  tcase_add_test(tcase, a_pinned_page_is_copied_at_once_and_stays_the_parents);
  tcase_add_test(tcase, a_region_that_is_not_inherited_is_not_there);
  tcase_add_test(tcase, a_copy_in_place_of_a_shared_frame_stays_within_the_limit);
  tcase_add_test(tcase, code_of_a_fork_is_told_when_its_page_is_copied);
  tcase_add_test(tcase, mappings_of_the_child_stay_apart_from_inherited_ones);
  tcase_add_test(tcase, a_debuggers_write_makes_a_private_copy);
  suite_add_tcase(suite, tcase);
  return suite;
}
