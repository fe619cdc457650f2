/*
 * The suites that see the inside of lib/ and emu/, linked to them statically.
 */
#include "suites.h"

#define SUITES(X) \
  X(arch) \
  X(crc) \
  X(asid) \
  X(lazy_step) \
  X(pager_step) \
  X(residue) \
  X(riscv_modes) \
  X(step) \
  X(trampoline_step)

#define DECLARE(name) Suite *vmm_suite_##name(void);
#define LIST(name) { #name, vmm_suite_##name },

SUITES(DECLARE)

const struct vmm_test_suite vmm_test_suites[] = { SUITES(LIST) { 0 } };
