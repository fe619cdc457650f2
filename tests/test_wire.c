/*
 * Wired memory stays installed, whatever else is done: a system call on it
 * never fails, an access never faults.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "vmm_test.h"

#define PAGE 4096u
#define AT 0x40000000u
#define MIRROR 0x50000000u
#define PAGES 4u

static struct vmm_space *wired_space(uint32_t rights, struct vmm_object *object)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_map_options options = { .object = object,
                                     .rights = rights,
                                     .flags = VMM_WIRED };
  vmm_addr_t va = AT;

  ck_assert_ok(vmm_map(space, &va, PAGES * PAGE, &options));
  return space;
}

/* The kernel writes it, and nothing faults. */
static void ck_assert_wired(struct vmm_space *space)
{
  int ends[2];

  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_int_eq(pipe(ends), 0);
  for (unsigned i = 0; i < PAGES; i++) {
    ck_assert_int_eq(write(ends[1], "w", 1), 1);
    ck_assert_int_eq(read(ends[0], vmm_space_base(space) + AT + i * PAGE, 1),
                     1);
    ck_assert_faults(space, 0, 0, vmm_test_set(space, AT + i * PAGE, 1));
  }
  close(ends[0]);
  close(ends[1]);
}

START_TEST(a_fork_leaves_the_parents_pages_wired)
{
  struct vmm_space *parent = wired_space(VMM_READ | VMM_WRITE, NULL);
  struct vmm_space *child;

  vmm_test_set(parent, AT, 5);
  ck_assert_ok(vmm_space_fork(&child, parent));
  ck_assert_wired(parent);
  ck_assert_uint_eq(vmm_test_get(child, AT), 5);
  vmm_test_end(child);
  ck_assert_wired(parent);
  vmm_test_end(parent);
}
END_TEST

START_TEST(a_fetch_leaves_pages_wired_and_may_not_keep_them)
{
  struct vmm_space *space =
      wired_space(VMM_READ | VMM_WRITE | VMM_EXEC, NULL);
  uint8_t byte;

  ck_assert_int_eq(vmm_fetch(space, AT, &byte, 1), 1);
  ck_assert_wired(space);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_fetch_through_a_mirror_leaves_pages_wired)
{
  struct vmm_map_options options = { .rights = VMM_READ | VMM_EXEC };
  struct vmm_space *space;
  vmm_addr_t mirror = MIRROR;
  uint8_t byte;

  ck_assert_ok(vmm_object_create(&options.object, PAGES * PAGE, NULL));
  space = wired_space(VMM_READ | VMM_WRITE, options.object);
  ck_assert_ok(vmm_map(space, &mirror, PAGES * PAGE, &options));
  vmm_object_release(options.object);
  ck_assert_int_eq(vmm_fetch(space, MIRROR, &byte, 1), 1);
  ck_assert_wired(space);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_debuggers_write_leaves_pages_wired)
{
  struct vmm_space *space = wired_space(VMM_READ, NULL);

  ck_assert_ok(vmm_debug_write(space, AT + PAGE - 1, "xy", 2, NULL));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_faults(space, 0, 0,
                   ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 'y'));
  vmm_test_end(space);
}
END_TEST

START_TEST(a_file_that_has_lost_its_end_is_not_wired)
{
  int fd = memfd_create("test", 0);
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_map_options options = { .rights = VMM_READ };
  vmm_addr_t va = AT;
  struct vmm_fault fault;
  uint8_t byte;

  ck_assert_int_eq(ftruncate(fd, 2 * PAGE), 0);
  ck_assert_ok(vmm_object_from_fd(&options.object, fd, 0, 2 * PAGE, NULL));
  ck_assert_int_eq(ftruncate(fd, PAGE), 0);
  options.flags = VMM_WIRED;
  ck_assert_error(vmm_map(space, &va, 2 * PAGE, &options), EIO);
  options.flags = 0;
  options.rights = VMM_READ | VMM_EXEC;
  ck_assert_ok(vmm_map(space, &va, 2 * PAGE, &options));
  ck_assert_error(vmm_fetch(space, AT + PAGE, &byte, 1), EIO);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_OBJECT);
  ck_assert_uint_eq(fault.access, VMM_EXEC);
  vmm_object_release(options.object);
  close(fd);
  vmm_test_end(space);
}
END_TEST

/* Sanitizers end the program when they get no mapping themselves. */
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#define CAN_TAKE_ALL_MAPPINGS
#endif

#ifdef CAN_TAKE_ALL_MAPPINGS
/* The program takes every mapping that the host has. */
static unsigned take_all_mappings(void)
{
  unsigned n = 0;

  while (mmap(NULL, PAGE, n % 2 ? PROT_READ : PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
    n++;
  return n;
}

START_TEST(rights_can_be_taken_when_the_host_has_no_mapping_left)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct vmm_space *wired = wired_space(VMM_READ | VMM_WRITE, NULL);
  const vmm_addr_t in_the_middle = 0x100000;

  ck_assert_ok(vmm_map_anon(space, 0, 16 << 20, VMM_READ | VMM_WRITE));
  for (vmm_addr_t va = 0; va < 16 << 20; va += PAGE)
    vmm_test_set(space, va, 1);
  ck_assert_uint_gt(take_all_mappings(), 1000);
  ck_assert_ok(vmm_protect(space, in_the_middle, PAGE, VMM_READ));
  ck_assert_ok(vmm_unmap(space, in_the_middle + 3 * PAGE, PAGE));
  ck_assert_ok(vmm_discard(space, in_the_middle + 6 * PAGE, PAGE));
  ck_assert_ok(vmm_protect(wired, AT + PAGE, PAGE, VMM_READ));
  vmm_try_store_u8(vmm_space_base(space) + in_the_middle, 2, refused);
  ck_abort_msg("a write to what has no right");
refused:
  ck_assert_uint_eq(*(uint8_t *)vmm_debug_ptr(space, in_the_middle), 1);
  ck_assert_ptr_null(vmm_debug_ptr(space, in_the_middle + 3 * PAGE));
}
END_TEST
#endif

Suite *vmm_suite_wire(void);

Suite *vmm_suite_wire(void)
{
  Suite *suite = suite_create("wire");
  TCase *tcase = tcase_create("wire");

  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, a_fork_leaves_the_parents_pages_wired);
  tcase_add_test(tcase, a_fetch_leaves_pages_wired_and_may_not_keep_them);
  tcase_add_test(tcase, a_fetch_through_a_mirror_leaves_pages_wired);
  tcase_add_test(tcase, a_debuggers_write_leaves_pages_wired);
  tcase_add_test(tcase, a_file_that_has_lost_its_end_is_not_wired);
#ifdef CAN_TAKE_ALL_MAPPINGS
  tcase_add_test(tcase, rights_can_be_taken_when_the_host_has_no_mapping_left);
#endif
  suite_add_tcase(suite, tcase);
  return suite;
}
