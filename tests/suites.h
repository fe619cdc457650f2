/*
 * What a runner runs: each test program links main.c and one list of suites,
 * public.c or internal.c.
 */
#ifndef VMM_TESTS_SUITES_H
#define VMM_TESTS_SUITES_H

#include <check.h>

struct vmm_test_suite {
  const char *name;
  Suite *(*make)(void);
};

/* One without a name ends the list. */
extern const struct vmm_test_suite vmm_test_suites[];

#endif
