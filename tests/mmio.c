/*
 * The suites of libvmm-mmio, where it was built.
 */
#include "suites.h"

#define SUITES(X) \
  X(mmio) \
  X(mmio_moves)

#define DECLARE(name) Suite *vmm_suite_##name(void);
#define LIST(name) { #name, vmm_suite_##name },

SUITES(DECLARE)

const struct vmm_test_suite vmm_test_suites[] = { SUITES(LIST) { 0 } };
