/*
 * The list of ranges behind a tracker's bits, against a plain array of flags.
 */
#include <check.h>
#include <string.h>

#include "../lib/residue.h"

enum { UNITS = 200, STEPS = 20000 };

static uint64_t next_random(uint64_t *state)
{
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

static void compare(const struct vmmi_residue *residue, const char *model)
{
  char seen[UNITS];
  const struct vmm_range *range;
  uint64_t at = 0;

  ck_assert(vmmi_residue_valid(residue));
  memset(seen, 0, sizeof(seen));
  while ((range = vmmi_residue_from(residue, at)) != NULL) {
    ck_assert_uint_le(range->start + range->nbytes, UNITS);
    memset(seen + range->start, 1, range->nbytes);
    at = range->start + range->nbytes;
  }
  ck_assert_int_eq(memcmp(seen, model, sizeof(seen)), 0);
}

START_TEST(residue_equals_an_array_of_flags)
{
  struct vmmi_residue residue = { 0 };
  char model[UNITS] = { 0 };
  uint64_t state = 1;

  for (int i = 0; i < STEPS; i++) {
    uint64_t start = next_random(&state) % UNITS;
    uint64_t nbytes = 1 + next_random(&state) % 9;
    int add = next_random(&state) % 2;

    if (start + nbytes > UNITS)
      nbytes = UNITS - start;
    if (add)
      vmmi_residue_add(&residue, start, nbytes);
    else
      vmmi_residue_remove(&residue, start, nbytes);
    memset(model + start, add, nbytes);
    compare(&residue, model);
  }
  vmmi_residue_end(&residue);
}
END_TEST

START_TEST(residue_reserved_takes_as_many_ranges)
{
  struct vmmi_residue residue = { 0 };

  for (size_t n = 1; n < 40; n++) {
    struct vmm_range *ranges;

    ck_assert_int_eq(vmmi_residue_reserve(&residue, n), 0);
    ranges = residue.ranges;
    for (size_t i = 0; i < n; i++)
      vmmi_residue_add(&residue, 100 * n + 2 * i, 1);
    ck_assert_ptr_eq(residue.ranges, ranges);
  }
  vmmi_residue_end(&residue);
}
END_TEST

Suite *vmm_suite_residue(void)
{
  Suite *suite = suite_create("residue");
  TCase *tcase = tcase_create("residue");

  tcase_add_test(tcase, residue_equals_an_array_of_flags);
  tcase_add_test(tcase, residue_reserved_takes_as_many_ranges);
  suite_add_tcase(suite, tcase);
  return suite;
}
