/*
 * The library that runs is the one that the headers describe.
 */
#include <vmm/vmm.h>

#include "vmm_test.h"

START_TEST(version_equals_the_headers)
{
  unsigned version = vmm_version();

  ck_assert_uint_eq(version >> 16, VMM_VERSION_MAJOR);
  ck_assert_uint_eq(version >> 8 & 0xff, VMM_VERSION_MINOR);
  ck_assert_uint_eq(version & 0xff, VMM_VERSION_PATCH);
}
END_TEST

Suite *vmm_suite_version(void)
{
  Suite *suite = suite_create("version");
  TCase *tcase = tcase_create("version");

  tcase_add_test(tcase, version_equals_the_headers);
  suite_add_tcase(suite, tcase);
  return suite;
}
