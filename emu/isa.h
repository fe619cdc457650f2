/*
 * What an ISA gives to the engine: one const descriptor.  The ISAs never
 * include each other; cpu.c lists them.
 */
#ifndef VMMI_ISA_H
#define VMMI_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmm/emu.h>
#include "op.h"

/* Why a dispatch loop came back; cpu->pc, cpu->left and the state are exact. */
enum vmmi_why {
  VMMI_FIND, /* go on at cpu->pc; cpu->link, if any, may be linked to it */
  VMMI_STOP, /* exit->stop tells */
  VMMI_CALL, /* the instruction at cpu->pc is to be run by VMMI_CALLS */
};

/* How loads and stores reach memory: each has its dispatch loop. */
enum vmmi_way {
  VMMI_DIRECT, /* through the space's window */
  VMMI_TLB,    /* by a software TLB, in a space without a window */
  VMMI_CALLS,  /* by calls: single instructions that a TLB can't serve */
  VMMI_WAYS,
};

/* How much is decoded at once.  What is not kept lies in the scratch slots
 * until the next time. */
enum vmmi_extent {
  VMMI_KEEP, /* a trace, kept */
  VMMI_ONCE, /* a straight line, not kept */
  VMMI_STEP, /* one instruction, not kept */
};

struct vmmi_isa {
  const char *name;

  /* Makes the labels known to translate().  Called before all else. */
  void (*prepare)(void);

  /* Decodes what begins at pc.
   * => 0, *op is its first op; 1 the code may not be kept;
   *    -errno if not one instruction could be fetched, exit->fault tells */
  int (*translate)(struct vmm_cpu *cpu, vmm_addr_t pc, enum vmmi_extent extent,
                   struct vmmi_op **op, struct vmm_cpu_exit *exit);

  /* Runs from op until something needs the engine (cpu.h). */
  enum vmmi_why (*run[VMMI_WAYS])(struct vmm_cpu *cpu, struct vmmi_op *op,
                                  struct vmm_cpu_exit *exit);

  uint64_t (*get)(const struct vmm_cpu *cpu, unsigned reg);
  void (*set)(struct vmm_cpu *cpu, unsigned reg, uint64_t value);
  int (*disassemble)(vmm_addr_t pc, const void *code, size_t nbytes, char *text,
                     size_t size);
};

extern const struct vmmi_isa vmmi_riscv64;

#endif
