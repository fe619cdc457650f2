/*
 * Tests that need a window: where the suites run on spaces without one
 * (tests/programs/checked.sh), they are left out.
 */
#ifndef VMM_TESTS_WINDOWS_H
#define VMM_TESTS_WINDOWS_H

#include "vmm_test.h"

#define tcase_add_window_test(tcase, test)                                     \
  do {                                                                         \
    if (!vmm_test_checked())                                                   \
      tcase_add_test(tcase, test);                                             \
  } while (0)

#define tcase_add_loop_window_test(tcase, test, first, end)                    \
  do {                                                                         \
    if (!vmm_test_checked())                                                   \
      tcase_add_loop_test(tcase, test, first, end);                            \
  } while (0)

#endif
