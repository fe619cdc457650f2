/*
 * Host mappings: patterns that need more of them than the host gives are slow,
 * but right, and leave the program its share.
 */
#include "process.h"

#define PAGE 4096u

static void write_every_second(struct vmm_space *space, uint64_t npages)
{
  for (unsigned odd = 0; odd < 2; odd++) {
    for (uint64_t i = odd; i < npages; i += 2)
      vmm_test_set(space, i * PAGE, (uint8_t)(i % 251));
  }
}

static void check_every(struct vmm_space *space, uint64_t npages)
{
  for (uint64_t i = 0; i < npages; i++)
    ck_assert_uint_eq(vmm_test_get(space, i * PAGE), i % 251);
}

/* Plain mprotect ends in ENOMEM here after 32,752 pages. */
START_TEST(alternating_rights_over_a_gibibyte_end_well)
{
  const uint64_t npages = (1u << 30) / PAGE;
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);

  ck_assert_ok(vmm_map_anon(space, 0, npages * PAGE, VMM_READ | VMM_WRITE));
  write_every_second(space, npages);
  check_every(space, npages);
  ck_assert_uint_gt(vmm_test_stats(space).flushes, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(the_budget_bounds_what_the_host_has_to_keep)
{
  const uint64_t npages = 20000;
  unsigned before = host_mappings();
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);

  vmm_mapping_budget(3072);
  ck_assert_ok(vmm_map_anon(space, 0, npages * PAGE, VMM_READ | VMM_WRITE));
  for (unsigned odd = 0; odd < 2; odd++) {
    for (uint64_t i = odd; i < npages; i += 2) {
      vmm_test_set(space, i * PAGE, (uint8_t)(i % 251));
      if (i % 1000 == odd)
        ck_assert_uint_le(host_mappings(), before + 3072 + 100);
    }
  }
  check_every(space, npages);
  ck_assert_uint_gt(vmm_test_stats(space).flushes, 0);
  vmm_test_end(space);
  vmm_mapping_budget(0);
}
END_TEST

START_TEST(windows_share_the_budget)
{
  enum { SPACES = 8, PAGES = 1000 };
  struct vmm_space *space[SPACES];
  unsigned before = host_mappings();

  vmm_mapping_budget(1024);
  for (int i = 0; i < SPACES; i++) {
    space[i] = vmm_test_space(1ull << 30, VMM_EXACT);
    ck_assert_ok(vmm_map_anon(space[i], 0, PAGES * PAGE, VMM_READ | VMM_WRITE));
  }
  for (int i = 0; i < SPACES; i++)
    write_every_second(space[i], PAGES);
  ck_assert_uint_le(host_mappings(), before + 1024 + 100);
  for (int i = 0; i < SPACES; i++) {
    check_every(space[i], PAGES);
    vmm_test_end(space[i]);
  }
  vmm_mapping_budget(0);
}
END_TEST

START_TEST(wired_pages_stay_when_windows_are_flushed)
{
  const uint64_t npages = 4000;
  const vmm_addr_t wired = 0x10000000;
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);

  vmm_mapping_budget(512);
  ck_assert_ok(vmm_map_anon(space, wired, 8 * PAGE,
                            VMM_READ | VMM_WRITE | VMM_WIRED));
  ck_assert_ok(vmm_map_anon(space, 0, npages * PAGE, VMM_READ | VMM_WRITE));
  write_every_second(space, npages);
  ck_assert_uint_gt(vmm_test_stats(space).flushes, 0);
  for (unsigned i = 0; i < 8; i++)
    ck_assert_faults(space, 0, 0, vmm_test_set(space, wired + i * PAGE, 1));
  vmm_test_end(space);
  vmm_mapping_budget(0);
}
END_TEST

/* An access of two pages needs both at once. */
START_TEST(an_access_over_two_pages_ends_with_the_least_budget)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);
  char *base = vmm_space_base(space);
  uint64_t value;

  vmm_mapping_budget(1);
  ck_assert_ok(vmm_map_anon(space, 0, 64 * PAGE, VMM_READ | VMM_WRITE));
  for (unsigned i = 1; i < 64; i++) {
    memcpy(base + i * PAGE - 4, "12345678", 8);
    memcpy(&value, base + i * PAGE - 4, 8);
    ck_assert_mem_eq(&value, "12345678", 8);
  }
  vmm_test_end(space);
  vmm_mapping_budget(0);
}
END_TEST

Suite *vmm_suite_budget(void);

Suite *vmm_suite_budget(void)
{
  Suite *suite = suite_create("budget");
  TCase *tcase = tcase_create("budget");

  tcase_set_timeout(tcase, 120);
  tcase_add_test(tcase, alternating_rights_over_a_gibibyte_end_well);
  tcase_add_test(tcase, the_budget_bounds_what_the_host_has_to_keep);
  tcase_add_test(tcase, windows_share_the_budget);
  tcase_add_test(tcase, wired_pages_stay_when_windows_are_flushed);
  tcase_add_test(tcase, an_access_over_two_pages_ends_with_the_least_budget);
  suite_add_tcase(suite, tcase);
  return suite;
}
