/*
 * Spaces without a window: the same memory, bits, counters and faults by calls.
 */
#include <signal.h>
#include <stdlib.h>

#include "vmm_test.h"
#include "windows.h"

#define PAGE 4096u
#define AT 0x40000000u
#define PAGES 32u

/* With pages of 4 KiB, whatever the host's. */
static struct vmm_space *checked_space(uint64_t size)
{
  struct vmm_space_options options = { 0 };
  struct vmm_space *space;

  options.size = size;
  options.flags = VMM_CHECKED;
  options.page_size = PAGE;
  ck_assert_ok(vmm_space_create(&space, &options));
  return space;
}

/* One random operation, the same on both spaces; => what came of it */
struct outcome {
  int result;
  size_t left;
  uint8_t bytes[64];
  uint64_t bits[PAGES];
  struct vmm_fault fault;
};

static struct outcome operate(struct vmm_space *space, unsigned choice,
                              vmm_addr_t va, size_t nbytes, unsigned rights)
{
  struct outcome outcome = { 0 };
  uint64_t unit = vmm_space_page_size(space);
  vmm_addr_t page = va & ~(vmm_addr_t)(unit - 1);

  switch (choice) {
  case 0:
    outcome.result = vmm_copyin(space, outcome.bytes, va, nbytes, &outcome.left);
    break;
  case 1:
    outcome.result = vmm_fill(space, va, (int)nbytes, nbytes, &outcome.left);
    break;
  case 2:
    outcome.result = vmm_protect(space, page, unit, rights);
    break;
  case 3:
    outcome.result = vmm_pages(space, AT, PAGES * unit, VMM_PTE_ACCESSED, NULL);
    break;
  case 4:
    outcome.result = vmm_discard(space, page, unit);
    break;
  case 5:
    outcome.result = vmm_fetch(space, page, outcome.bytes, 4);
    break;
  default:
    outcome.result = vmm_pages(space, page, unit, VMM_PTE_MODIFIED, NULL);
  }
  vmm_fault_last(&outcome.fault);
  outcome.fault.space = NULL;
  vmm_pages(space, AT, PAGES * unit, 0, outcome.bits);
  for (unsigned i = 0; i < PAGES; i++) /* frames may differ */
    outcome.bits[i] &= ((uint64_t)1 << VMM_PTE_FRAME_SHIFT) - 1;
  return outcome;
}

START_TEST(calls_do_the_same_with_a_window_and_without)
{
  static const unsigned rights[] = { 0, VMM_READ, VMM_READ | VMM_WRITE,
                                     VMM_READ | VMM_EXEC };
  struct vmm_space *direct = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_space *checked = vmm_test_space(1ull << 32, VMM_CHECKED);
  uint64_t all = PAGES * (uint64_t)vmm_space_page_size(direct);
  struct vmm_stats a, b;

  srandom(42);
  ck_assert_ok(vmm_map_anon(direct, AT, all, VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_map_anon(checked, AT, all, VMM_READ | VMM_WRITE));
  for (int i = 0; i < 20000; i++) {
    unsigned choice = (unsigned)random() % 7;
    vmm_addr_t va = AT + (vmm_addr_t)random() % (all + 64);
    size_t nbytes = 1 + (size_t)random() % 64;
    unsigned r = rights[random() % 4];
    struct outcome one = operate(direct, choice, va, nbytes, r);
    struct outcome two = operate(checked, choice, va, nbytes, r);

    ck_assert_msg(memcmp(&one, &two, sizeof(one)) == 0,
                  "step %d, operation %u at 0x%llx", i, choice,
                  (unsigned long long)va);
  }
  a = vmm_test_stats(direct);
  b = vmm_test_stats(checked);
  ck_assert_uint_eq(a.faults_read, b.faults_read);
  ck_assert_uint_eq(a.faults_write, b.faults_write);
  ck_assert_uint_eq(a.repaired, b.repaired);
  ck_assert_uint_eq(a.unresolved, b.unresolved);
  ck_assert_uint_eq(a.zero_fills, b.zero_fills);
  ck_assert_uint_eq(a.frames, b.frames);
  ck_assert_uint_eq(b.host_calls, 0);
  vmm_test_end(checked);
  vmm_test_end(direct);
}
END_TEST

/* Some of them share a page of the host, where that is larger. */
START_TEST(a_page_that_is_freed_leaves_its_neighbours_alone)
{
  struct vmm_space *space = checked_space(1ull << 32);
  uint8_t bytes[PAGES] = { 0 }, byte;

  ck_assert_ok(vmm_map_anon(space, AT, PAGES * PAGE, VMM_READ | VMM_WRITE));
  srandom(43);
  for (int i = 0; i < 3000; i++) {
    unsigned page = (unsigned)random() % PAGES, k;
    vmm_addr_t va = AT + page * PAGE;

    bytes[page] = (uint8_t)(random() % 4 == 0 ? 0 : random());
    if (bytes[page] == 0)
      ck_assert_ok(vmm_discard(space, va, PAGE));
    else
      ck_assert_ok(vmm_fill(space, va, bytes[page], PAGE, NULL));
    for (k = 0; k < PAGES; k++) {
      ck_assert_ok(vmm_load(space, AT + k * PAGE + PAGE - 1, &byte, 1));
      ck_assert_uint_eq(byte, bytes[k]);
    }
  }
  ck_assert_ok(vmm_unmap(space, AT, PAGES * PAGE));
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  ck_assert_ok(vmm_map_anon(space, AT, PAGES * PAGE, VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_fill(space, AT, 1, 1, NULL));
  ck_assert_ok(vmm_load(space, AT + 1, &byte, 1));
  ck_assert_uint_eq(byte, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_checked_space_needs_neither_window_nor_signals)
{
  struct sigaction before, after;
  struct vmm_space *space;

  sigaction(SIGSEGV, NULL, &before);
  space = checked_space(1ull << 46);
  sigaction(SIGSEGV, NULL, &after);
  ck_assert_ptr_eq((void *)before.sa_sigaction, (void *)after.sa_sigaction);
  ck_assert_ptr_null(vmm_space_base(space));
  ck_assert_ok(vmm_map_anon(space, AT, PAGE, VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_copyout(space, AT, "hello", 6, NULL));
  ck_assert_error(vmm_wire(space, AT, PAGE), ENOTSUP);
  ck_assert_error(vmm_map_anon(space, 0, PAGE, VMM_READ | VMM_WIRED), ENOTSUP);
  vmm_test_end(space);
}
END_TEST

/* S4.10 */
START_TEST(write_only_memory_takes_stores_and_faults_loads)
{
  struct vmm_space *checked = checked_space(1ull << 32);
  struct vmm_space *direct = vmm_test_space(1ull << 32, VMM_EXACT);
  uint32_t value = 7;
  struct vmm_fault fault;

  ck_assert_ok(vmm_map_anon(checked, AT, PAGE, VMM_WRITE));
  ck_assert_ok(vmm_store(checked, AT, &value, sizeof(value)));
  value = 8;
  ck_assert_ok(vmm_store(checked, AT + 4, &value, sizeof(value)));
  ck_assert_error(vmm_load(checked, AT, &value, sizeof(value)), EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_ok(vmm_protect(checked, AT, PAGE, VMM_READ));
  ck_assert_ok(vmm_load(checked, AT, &value, sizeof(value)));
  ck_assert_uint_eq(value, 7);
  ck_assert_error(
      vmm_map_anon(direct, AT, vmm_space_page_size(direct), VMM_WRITE), ENOTSUP);
  vmm_test_end(direct);
  vmm_test_end(checked);
}
END_TEST

START_TEST(a_checked_space_forks)
{
  struct vmm_space *parent = checked_space(1ull << 32);
  struct vmm_space *child;
  char text[8];

  ck_assert_ok(vmm_map_anon(parent, AT, PAGE, VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_copyout(parent, AT, "parent", 7, NULL));
  ck_assert_ok(vmm_space_fork(&child, parent));
  ck_assert_ptr_null(vmm_space_base(child));
  ck_assert_ok(vmm_copyout(child, AT, "child", 6, NULL));
  ck_assert_ok(vmm_copyin(parent, text, AT, 7, NULL));
  ck_assert_str_eq(text, "parent");
  vmm_test_end(child);
  vmm_test_end(parent);
}
END_TEST

Suite *vmm_suite_checked(void);

Suite *vmm_suite_checked(void)
{
  Suite *suite = suite_create("checked");
  TCase *tcase = tcase_create("checked");

  tcase_set_timeout(tcase, 60);
  tcase_add_test(tcase, calls_do_the_same_with_a_window_and_without);
  tcase_add_test(tcase, a_page_that_is_freed_leaves_its_neighbours_alone);
  tcase_add_test(tcase, a_checked_space_needs_neither_window_nor_signals);
  tcase_add_window_test(tcase, write_only_memory_takes_stores_and_faults_loads);
  tcase_add_test(tcase, a_checked_space_forks);
  suite_add_tcase(suite, tcase);
  return suite;
}
