/*
 * What a runner runs: each test program links main.c and one list of suites,
 * public.c or internal.c.
 */
#ifndef VMM_TESTS_SUITES_H
#define VMM_TESTS_SUITES_H

#include <check.h>

/* NULL ends the list. */
extern Suite *(*const vmm_test_suites[])(void);

#endif
