/*
 * The dispatch loop for one instruction whose access is made by a call: it
 * crosses into another page, or a TLB can't have an entry for it.
 */
#include "riscv_words.h"

#include <errno.h>

#define LOOP vmmi_riscv_run_calls
#define LOOP_WAY VMMI_CALLS
#define LOOP_UNFUSED
#define MEMORY_PARAMETERS uint64_t size
#define MEMORY_ARGUMENTS size
#define MEMORY_UNUSED (void)size
#define MEMORY_LOCALS uint64_t size
#define MEMORY_BEGIN size = cpu->size
#define MEMORY_END
#define MEMORY_MISSED

#define MEMORY_ADDRESS                                                         \
  if (unlikely(address >= size))                                               \
  goto fault
#define MEMORY_LOAD(width, value, address)                                     \
  if (vmm_load(cpu->space, address, &value, width / 8) != 0)                   \
  goto fault
#define MEMORY_STORE(width, address, value)                                    \
  uint##width##_t stored = (uint##width##_t)(value);                           \
                                                                               \
  if (vmm_store(cpu->space, address, &stored, width / 8) != 0)                 \
  goto fault
#define MEMORY_SWAP(width, address, expected, desired)                         \
  do {                                                                         \
    uint##width##_t fresh = (uint##width##_t)(desired);                        \
                                                                               \
    if (vmm_cas(cpu->space, address, &expected, &fresh, width / 8) < 0)        \
      goto fault;                                                              \
  } while (0)

#include "riscv_loop.def"
