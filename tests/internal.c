/*
 * The suites that see the inside of lib/ and emu/, linked to them statically.
 */
#include "suites.h"

#define SUITES(X) \
  X(arch) \
  X(residue)

#define DECLARE(name) Suite *vmm_suite_##name(void);
#define LIST(name) vmm_suite_##name,

SUITES(DECLARE)

Suite *(*const vmm_test_suites[])(void) = { SUITES(LIST) NULL };
