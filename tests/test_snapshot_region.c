/*
 * Snapshots: regions and rights come back, whatever became of them; and what
 * fails on the way changes nothing.
 */
#include <stdbool.h>

#include "snapshots.h"

static const uint32_t kinds[] = { 0, VMM_EXACT, VMM_CHECKED };

/* ---- regions ---- */

static void unmap_all(struct vmm_space *space)
{
  ck_assert_ok(vmm_unmap(space, 0, 1ull << 32));
}

static void unmap_middle(struct vmm_space *space)
{
  ck_assert_ok(vmm_unmap(space, AT + 5 * PAGE, 40 * PAGE));
}

static void map_more(struct vmm_space *space)
{
  ck_assert_ok(vmm_map_anon(space, FREE, 8 * PAGE, RW));
  vmm_test_set(space, FREE, 1);
}

static void map_over(struct vmm_space *space)
{
  ck_assert_ok(vmm_map_anon(space, AT + 3 * PAGE, 50 * PAGE,
                            RW | VMM_REPLACE));
  vmm_test_set(space, AT + 4 * PAGE, 77);
  vmm_test_set(space, AT + 50 * PAGE, 77);
}

static void map_object_over(struct vmm_space *space)
{
  struct vmm_map_options options = { .rights = RW, .flags = VMM_REPLACE };
  vmm_addr_t va = AT + 3 * PAGE;

  ck_assert_ok(vmm_object_create(&options.object, 4 * PAGE, NULL));
  ck_assert_ok(vmm_map(space, &va, 4 * PAGE, &options));
  vmm_test_set(space, va, 88);
  vmm_object_release(options.object);
}

static void protect_middle(struct vmm_space *space)
{
  vmm_test_set(space, AT + 7 * PAGE, 9);
  ck_assert_ok(vmm_protect(space, AT + 5 * PAGE, 10 * PAGE, VMM_READ));
  ck_assert_ok(vmm_protect(space, AT + 8 * PAGE, 3 * PAGE, 0));
}

static void move_away(struct vmm_space *space)
{
  vmm_addr_t to = FREE;

  vmm_test_set(space, AT + 3 * PAGE, 55);
  ck_assert_ok(vmm_move(space, AT + 2 * PAGE, 10 * PAGE, &to, 0));
  vmm_test_set(space, FREE, 66);
  vmm_test_set(space, FREE + PAGE, 67);
}

static void move_over(struct vmm_space *space)
{
  vmm_addr_t to = AT + 20 * PAGE;

  ck_assert_ok(vmm_move(space, AT + 2 * PAGE, 10 * PAGE, &to, VMM_REPLACE));
  vmm_test_set(space, to + PAGE, 66);
}

static void move_there_and_back(struct vmm_space *space)
{
  vmm_addr_t to = FREE, back = AT + 2 * PAGE;

  ck_assert_ok(vmm_move(space, back, 10 * PAGE, &to, 0));
  ck_assert_ok(vmm_move(space, to, 10 * PAGE, &back, 0));
  vmm_test_set(space, AT + 4 * PAGE, 66);
}

static void wire_some(struct vmm_space *space)
{
  if (!vmm_test_checked()) {
    ck_assert_ok(vmm_wire(space, AT + 4 * PAGE, 4 * PAGE));
    ck_assert_ok(vmm_wire(space, AT + 40 * PAGE, 4 * PAGE));
  }
  vmm_test_set(space, AT + 5 * PAGE, 66);
  vmm_test_set(space, AT + 41 * PAGE, 66);
}

static void (*const changes[])(struct vmm_space *) = {
  unmap_all,      unmap_middle, map_more,  map_over,            map_object_over,
  protect_middle, move_away,    move_over, move_there_and_back, wire_some,
};
enum { CHANGES = sizeof(changes) / sizeof(changes[0]) };

static void assert_one_region(struct vmm_space *space)
{
  struct vmm_region_info info = { .struct_size = sizeof(info) };

  ck_assert_ok(vmm_region_find(space, 0, &info));
  ck_assert_uint_eq(info.start, AT);
  ck_assert_uint_eq(info.nbytes, PAGES * PAGE);
  ck_assert_uint_eq(info.rights, RW);
  ck_assert_error(vmm_region_find(space, AT + PAGES * PAGE, &info), ENOENT);
}

START_TEST(changed_regions_are_what_they_were)
{
  bool wired = changes[_i] == wire_some;

  for (unsigned k = 0; k < 3; k++) {
    struct vmm_space *space = space_with_pages(kinds[k & 1]);
    struct vmm_snapshot *snapshot = take(space);
    struct vmm_snapshot *newer = NULL;

    if (k == 2) /* an older one is restored */
      newer = take(space);
    for (unsigned round = 0; round < 2; round++) {
      changes[_i](space);
      ck_assert_ok(vmm_check(space, 0, 0));
      if (round == 1 && k == 2) {
        vmm_snapshot_drop(newer);
        newer = take(space);
      }
      restore(space, snapshot);
      assert_as_made(space);
      if (wired)
        ck_assert_ok(vmm_unwire(space, AT, PAGES * PAGE));
      assert_one_region(space);
    }
    vmm_test_set(space, AT + 3 * PAGE, 3);
    restore(space, snapshot);
    assert_as_made(space);
    vmm_snapshot_drop(newer);
    drop_and_end(space, snapshot);
  }
}
END_TEST

START_TEST(what_a_newer_snapshot_saw_survives_the_older_ones_restore)
{
  struct vmm_space *space = space_with_pages(0);
  struct vmm_snapshot *older = take(space), *newer;
  char bytes[2][PAGES];

  changes[_i](space);
  newer = take(space);
  for (unsigned round = 0; round < 2; round++) {
    for (unsigned i = 0; i < PAGES; i++) {
      bytes[round][i] = 0;
      vmm_copyin(space, &bytes[round][i], AT + i * PAGE, 1, NULL);
    }
    restore(space, older);
    assert_as_made(space);
    if (changes[_i] != map_object_over) /* whose bytes are the object's */
      vmm_fill(space, AT, 5, PAGES * PAGE, NULL);
    restore(space, newer);
  }
  ck_assert_mem_eq(bytes[0], bytes[1], PAGES);
  vmm_snapshot_drop(older);
  drop_and_end(space, newer);
}
END_TEST

START_TEST(private_mappings_of_objects_read_as_the_object_again)
{
  struct vmm_map_options options = { .rights = RW, .flags = VMM_PRIVATE };
  struct vmm_space *space = space_with_pages(0);
  vmm_addr_t va = FREE, shared = FREE + 0x100000;
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_object_create(&options.object, 4 * PAGE, NULL));
  ck_assert_ok(vmm_map(space, &va, 4 * PAGE, &options));
  options.flags = 0;
  ck_assert_ok(vmm_map(space, &shared, 4 * PAGE, &options));
  vmm_test_set(space, shared, 11);
  vmm_test_set(space, shared + PAGE, 11);
  vmm_test_set(space, va + PAGE, 22);
  snapshot = take(space);
  vmm_test_set(space, va, 33);
  vmm_test_set(space, va + PAGE, 33);
  vmm_test_set(space, shared + 2 * PAGE, 33);
  restore(space, snapshot);
  ck_assert_uint_eq(vmm_test_get(space, va), 11);
  ck_assert_uint_eq(vmm_test_get(space, va + PAGE), 22);
  ck_assert_uint_eq(vmm_test_get(space, shared + 2 * PAGE), 33); /* not part */
  ck_assert_ok(vmm_unmap(space, FREE, 0x200000));
  restore(space, snapshot);
  ck_assert_uint_eq(vmm_test_get(space, va + PAGE), 22);
  ck_assert_uint_eq(vmm_test_get(space, shared), 11);
  vmm_object_release(options.object);
  drop_and_end(space, snapshot);
}
END_TEST

/* ---- failures ---- */

/* => whether fewer than nth calls of the kind were made, so that none failed */
static bool fail_nth(unsigned change, unsigned call, uint64_t nth)
{
  struct vmm_space *space = space_with_pages(VMM_EXACT);
  struct vmm_snapshot *older = take(space), *newer = NULL;
  uint64_t before;
  int error;

  changes[change](space);
  before = vmm_test_count(call);
  vmm_test_fail(call, nth, UINT64_MAX);
  error = vmm_snapshot_take(&newer, space);
  if (error == 0)
    error = vmm_snapshot_restore(space, older);
  vmm_test_fail(call, 0, 0);
  before = vmm_test_count(call) - before;
  ck_assert_msg(error == 0 || error == -ENOMEM, "%d", error);
  ck_assert_ok(vmm_check(space, 0, 0));
  restore(space, older);
  assert_as_made(space);
  vmm_snapshot_drop(older);
  if (newer != NULL)
    restore(space, newer);
  vmm_snapshot_drop(newer);
  vmm_test_end(space);
  return before < nth;
}

START_TEST(a_take_or_restore_that_fails_changes_nothing)
{
  static const unsigned calls[] = { VMM_TEST_MALLOC, VMM_TEST_MMAP,
                                    VMM_TEST_MPROTECT, VMM_TEST_PUNCH,
                                    VMM_TEST_FTRUNCATE };

  for (unsigned k = 0; k < sizeof(calls) / sizeof(calls[0]); k++)
    for (uint64_t nth = 1; !fail_nth((unsigned)_i, calls[k], nth); nth++)
      ck_assert_uint_lt(nth, 1000);
}
END_TEST

/* Takes all that the library has of memory for itself. */
static void exhaust(struct vmm_space *space)
{
  vmm_addr_t va = 0x60000000;

  vmm_test_fail(VMM_TEST_MMAP, 1, UINT64_MAX);
  vmm_test_fail(VMM_TEST_MUNMAP, 1, UINT64_MAX);
  ck_assert_ok(vmm_map_anon(space, va, 0x40000000, VMM_READ));
  while (vmm_fixup(space, va, VMM_READ) == 0)
    va += 0x200000;
  ck_assert_uint_lt(va, 0xa0000000);
}

START_TEST(a_write_without_memory_for_the_copy_is_a_fault)
{
  struct vmm_space *space = space_with_pages(VMM_CHECKED);
  struct vmm_snapshot *snapshot = take(space);
  struct vmm_fault fault;
  uint8_t byte = 9;

  exhaust(space);
  ck_assert_error(vmm_copyout(space, AT, &byte, 1, NULL), ENOMEM);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_MEMORY);
  ck_assert_error(vmm_unmap(space, AT, PAGES * PAGE), ENOMEM);
  ck_assert_error(vmm_discard(space, AT, PAGE), ENOMEM);
  vmm_test_fail(VMM_TEST_MMAP, 0, 0);
  vmm_test_fail(VMM_TEST_MUNMAP, 0, 0);
  assert_as_made(space);
  ck_assert_ok(vmm_copyout(space, AT, &byte, 1, NULL));
  restore(space, snapshot);
  assert_as_made(space);
  drop_and_end(space, snapshot);
}
END_TEST

Suite *vmm_suite_snapshot_region(void);

Suite *vmm_suite_snapshot_region(void)
{
  Suite *suite = suite_create("snapshot_region");
  TCase *tcase = tcase_create("snapshot_region");

  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, changed_regions_are_what_they_were, 0, CHANGES);
  tcase_add_loop_test(tcase,
                      what_a_newer_snapshot_saw_survives_the_older_ones_restore,
                      0, CHANGES);
  tcase_add_test(tcase, private_mappings_of_objects_read_as_the_object_again);
  tcase_add_loop_test(tcase, a_take_or_restore_that_fails_changes_nothing, 0,
                      CHANGES);
  tcase_add_test(tcase, a_write_without_memory_for_the_copy_is_a_fault);
  suite_add_tcase(suite, tcase);
  return suite;
}
