/*
 * The suites that see the public interface alone, through the shared libraries.
 */
#include "suites.h"

#define SUITES(X) \
  X(version)

#define DECLARE(name) Suite *vmm_suite_##name(void);
#define LIST(name) vmm_suite_##name,

SUITES(DECLARE)

Suite *(*const vmm_test_suites[])(void) = { SUITES(LIST) NULL };
