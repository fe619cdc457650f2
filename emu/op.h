/*
 * What the engine runs: ops of 16 bytes, and what is known about each beside
 * them (its pc, its place in the trace), which only stops and links look at.
 * Neutral to the ISA: its translator makes ops, its dispatch loop runs them.
 *
 * An op that can leave its trace has an extension in the next slot:
 *
 *   slot n     branch     handler  rd rs1 rs2/rs3  imm = delta
 *   slot n+1   extension  resolve  target ----+
 *                  ^                          |
 *                  +--- (not linked) ---------+---> an op of any trace
 *
 * so a taken branch is "count -= delta; op = op[1].target", and a branch that
 * is not linked yet goes to its own extension, whose handler asks for the link.
 */
#ifndef VMMI_OP_H
#define VMMI_OP_H

#include <stdint.h>
#include <vmm/types.h>

struct vmmi_op {
  const void *handler; /* a label of the dispatch loop */
  union {
    struct {
      uint8_t rd, rs1;
      union {
        struct {
          uint8_t rs2, rs3;
        };
        uint16_t count; /* of indirect jumps: instructions done after it */
      };
      int32_t imm;
    };
    struct vmmi_op *target; /* of an extension */
    uint64_t value;         /* a constant that imm can't hold */
  };
};

_Static_assert(sizeof(struct vmmi_op) == 16, "ops are 16 bytes");

struct vmmi_op_info {
  vmm_addr_t pc;  /* of the instruction; of an extension: where it goes */
  uint32_t count; /* instructions of the trace done before it */
  union {
    uint32_t insn; /* its encoding */
    uint32_t next; /* of an extension: the next link to the same trace */
  };
};

#endif
