/*
 * Address-space identifiers from the inside: the counter, and S4.7, near its
 * wraps.
 */
#include "../lib/asid.h"
#include "../lib/hart.h"
#include "hart.h"

#define AT 0x200000
enum { RW = VMM_READ | VMM_WRITE };

START_TEST(contexts_count_tags_within_generations)
{
  struct vmmi_asids asids;
  unsigned bits = (unsigned)_i;
  uint64_t first = (uint64_t)1 << bits, n;

  vmmi_asid_init(&asids, bits);
  ck_assert_uint_eq(vmmi_asid_generation(&asids), 1);
  ck_assert(!vmmi_asid_is_live(&asids, 0));
  for (n = first; n < 4 * first; n++) {
    ck_assert_int_eq(vmmi_asid_rolls_over(&asids), n % first == 0 && n != first);
    ck_assert_uint_eq(vmmi_asid_take(&asids), n);
    ck_assert_uint_eq(vmmi_asid_tag(&asids, n), n % first);
    ck_assert_uint_eq(vmmi_asid_generation(&asids), n / first);
    for (uint64_t old = 0; old <= n + 1; old++)
      ck_assert_int_eq(vmmi_asid_is_live(&asids, old),
                       old != 0 && old <= n && old / first == n / first);
  }
}
END_TEST

/* S4.7 */
START_TEST(context_0_is_never_given)
{
  struct vmmi_asids asids;
  unsigned bits = (unsigned)_i;
  uint64_t first = (uint64_t)1 << bits, last = 0;

  vmmi_asid_init(&asids, bits);
  asids.next = UINT64_MAX - 2 * first;
  for (uint64_t i = 0; i < 6 * first; i++) {
    bool rolls = vmmi_asid_rolls_over(&asids);
    uint64_t context = vmmi_asid_take(&asids);

    ck_assert_uint_ne(context, 0);
    ck_assert_uint_ge(context, first);
    ck_assert(vmmi_asid_is_live(&asids, context));
    if (last != 0)
      ck_assert_int_eq(vmmi_asid_is_live(&asids, last), !rolls);
    last = context;
  }
  ck_assert_uint_lt(last, 6 * first); /* it went round */
}
END_TEST

/* S4.7: spaces come round and round while the counter wraps, at 32 and 64
 * bits. */
START_TEST(no_space_sees_another_when_the_counter_wraps)
{
  static const uint64_t wraps[] = { 0, (uint64_t)1 << 32 };
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 2);
  struct vmm_space *spaces[6];

  hart->asids.next = wraps[_i] - 8;
  for (int i = 0; i < 6; i++) {
    spaces[i] = hart_space(1, RW);
    ck_assert_ok(vmm_fill(spaces[i], AT, i + 1, 1, NULL));
  }
  for (int n = 0; n < 60; n++) {
    char *base = hart_turn(hart, spaces[n % 6]);

    ck_assert_uint_ne(hart_stats(hart).context, 0);
    ck_assert_int_eq(hart_get(base, AT), n % 6 + 1);
    hart_set(base, AT, n % 6 + 1);
  }
  ck_assert_uint_eq(hart_stats(hart).tags, 60);
  hart_end(hart);
  for (int i = 0; i < 6; i++)
    vmm_test_end(spaces[i]);
}
END_TEST

Suite *vmm_suite_asid(void);

Suite *vmm_suite_asid(void)
{
  Suite *suite = suite_create("asid");
  TCase *tcase = tcase_create("asid");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, contexts_count_tags_within_generations, 1, 9);
  tcase_add_loop_test(tcase, context_0_is_never_given, 1, 9);
  tcase_add_loop_test(tcase, no_space_sees_another_when_the_counter_wraps, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
