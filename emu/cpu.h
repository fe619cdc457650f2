/*
 * The cpu as the dispatch loops see it.  All of it belongs to the thread that
 * runs the cpu, but for pending, which any thread sets.
 */
#ifndef VMMI_CPU_H
#define VMMI_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <vmm/emu.h>
#include "fp.h"
#include "isa.h"
#include "trace.h"

enum { PENDING_INTERRUPT = 1, PENDING_CODE = 2, PENDING_TLB = 4 };

enum { CPU_REGS = 96 }; /* enough for each ISA and its write-only dummy */

struct vmm_cpu {
  uint64_t r[CPU_REGS];
  _Atomic uint32_t pending;
  struct vmmi_fp_state fp;
  enum vmmi_way way;   /* of loads and stores */
  char *base;          /* of the window, or */
  struct vmm_tlb *tlb; /* the TLB in its place */
  uint64_t size;
  vmm_addr_t pc;
  int64_t left;     /* instructions of the budget not yet done */
  uint64_t granted; /* left at the start of this run */
  uint64_t executed; /* before this run */

  struct vmmi_op *link; /* extension that left for pc, or NULL */

  /* load reserved / linked; nbytes 0: none */
  struct {
    vmm_addr_t va;
    uint64_t value;
    uint32_t nbytes;
  } reserved;

  uint64_t decoded;
  uint64_t uncached;
  const struct vmmi_isa *isa;
  struct vmm_space *space;
  struct vmm_notifier notifier;
  struct vmm_cpu_options options;
  struct vmmi_code code;
};

/* => instructions completed since the cpu was made; left must be exact */
static inline uint64_t vmmi_cpu_executed(const struct vmm_cpu *cpu)
{
  return cpu->executed + (cpu->granted - (uint64_t)cpu->left);
}

#endif
