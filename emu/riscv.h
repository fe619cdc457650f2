/*
 * RISC-V: what its files share.  An instruction is described once, by its row
 * in riscv_insns.def (or riscv_compressed.def).
 */
#ifndef VMMI_RISCV_H
#define VMMI_RISCV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmm/emu.h>
#include "isa.h"
#include "op.h"

enum riscv_op {
#define INSN(op, name, operands, mask, match, ...) RISCV_##op,
#include "riscv_insns.def"
  RISCV_INSNS,
  /* ops that no encoding has; the translator makes them */
  RISCV_CONST = RISCV_INSNS, /* rd = imm */
  RISCV_CONST64,             /* rd = value of the extension */
  RISCV_GOTO,                /* to the target of the extension */
  RISCV_RETURN,              /* jalr x0, 0(rs1); falls through if that is the
                                extension's value */
  RISCV_RESOLVE,             /* an extension that is not linked */
  RISCV_ILLEGAL,
  RISCV_SLOW,                /* an access by calls (riscv_slow.c) */
  RISCV_OPS,
  /* runs of them (riscv_fused.def) */
  RISCV_BEFORE_FUSED = RISCV_OPS - 1,
#define PAIR(first, second) RISCV_##first##_##second,
#define PAIR_BRANCH PAIR
#define TRIPLE(first, second, third) RISCV_##first##_##second##_##third,
#include "riscv_fused.def"
  RISCV_LABELS,
};

/* Registers in vmm_cpu.r: x0 to x31, f0 to f31, and one that swallows writes
 * to x0. */
enum { RISCV_F0 = 32, RISCV_SINK = 64 };

enum { RISCV_RA = 1, RISCV_SP = 2 };

/* Rounding modes that an instruction can name (11.2). */
enum { RISCV_RM_DYN = 7 };

struct riscv_row {
  const char *name;
  const char *operands; /* see riscv_decode.c */
  uint32_t mask, match;
  uint32_t op; /* enum riscv_op */
};

extern const struct riscv_row vmmi_riscv_rows[RISCV_INSNS];
extern const struct riscv_row vmmi_riscv_rows16[];
extern const size_t vmmi_riscv_nrows16;

/* A decoded instruction: registers as numbers in vmm_cpu.r, immediates sign-
 * extended; what the row's operands do not name is 0. */
struct riscv_insn {
  const struct riscv_row *row;
  uint32_t op;
  uint32_t raw;
  uint8_t nbytes;
  uint8_t rd, rs1, rs2, rs3;
  uint8_t rm;
  int32_t imm; /* also shift counts, CSR numbers; rm ^ RISCV_RM_DYN */
};

/* => bytes of the instruction that begins with this parcel; 0: too long */
static inline unsigned vmmi_riscv_length(uint16_t parcel)
{
  if ((parcel & 3) != 3)
    return 2;
  return (parcel & 0x1c) == 0x1c ? 0 : 4;
}

/* Decodes raw, whose upper half is ignored if it is compressed.
 * -EILSEQ  no instruction */
int vmmi_riscv_decode(uint32_t raw, struct riscv_insn *insn);

/* Must have been called once before vmmi_riscv_decode(). */
void vmmi_riscv_decode_prepare(void);

int vmmi_riscv_disassemble(vmm_addr_t pc, const void *code, size_t nbytes,
                           char *text, size_t size);

int vmmi_riscv_translate(struct vmm_cpu *cpu, vmm_addr_t pc,
                         enum vmmi_extent extent, struct vmmi_op **op,
                         struct vmm_cpu_exit *exit);

/* CSRs; writes say what is done to the old value. */
enum riscv_csr_write {
  RISCV_CSR_WRITE,
  RISCV_CSR_SET,
  RISCV_CSR_CLEAR,
};

/* Reads and writes a CSR as one instruction does.  => cpu->left is exact
 * -EILSEQ  no such CSR, or it is read-only */
int vmmi_riscv_csr(struct vmm_cpu *cpu, unsigned csr, enum riscv_csr_write how,
                   bool writes, uint64_t operand, uint64_t *old);

/* Registers by their public numbers. */
uint64_t vmmi_riscv_get(const struct vmm_cpu *cpu, unsigned reg);
void vmmi_riscv_set(struct vmm_cpu *cpu, unsigned reg, uint64_t value);

/* The access of op failed: whether it is to be made by calls (a device, a
 * watched page), and then makes it a slow op, which it stays while that is so.
 * => the caller goes on with RISCV_SLOW */
bool vmmi_riscv_is_slow(struct vmm_cpu *cpu, struct vmmi_op *op);
/* Makes the access.  => false: it faults, vmm_fault_last() tells, nothing
 * changed */
bool vmmi_riscv_slow(struct vmm_cpu *cpu, struct vmmi_op *op);

/* Fuses the ops [0, n), which do what codes (enum riscv_op) says; an extension
 * has the code of an op that is not fused. */
void vmmi_riscv_fuse(struct vmmi_op *ops, const uint8_t *codes, size_t n,
                     const void *const *labels);
/* To be called once before. */
void vmmi_riscv_fuse_prepare(void);

/* The labels of the dispatch loops, by way to memory and enum riscv_op. */
extern const void *const *vmmi_riscv_labels[VMMI_WAYS];

/* The loops; without a cpu they make their labels known. */
enum vmmi_why vmmi_riscv_run_direct(struct vmm_cpu *cpu, struct vmmi_op *op,
                                    struct vmm_cpu_exit *exit);
enum vmmi_why vmmi_riscv_run_tlb(struct vmm_cpu *cpu, struct vmmi_op *op,
                                 struct vmm_cpu_exit *exit);
enum vmmi_why vmmi_riscv_run_calls(struct vmm_cpu *cpu, struct vmmi_op *op,
                                   struct vmm_cpu_exit *exit);

/* Stops of a loop at op, with cpu->left as in the loop. */
void vmmi_riscv_stop(struct vmm_cpu *cpu, const struct vmmi_op *op,
                     enum vmm_cpu_stop why, struct vmm_cpu_exit *exit);
/* The access at op failed: in memory if its address is in the space. */
void vmmi_riscv_stop_at_access(struct vmm_cpu *cpu, const struct vmmi_op *op,
                               enum vmm_cpu_stop why,
                               struct vmm_cpu_exit *exit);

/* => the access that an instruction makes, VMM_READ, VMM_WRITE, or both for an
 *    AMO, and of how many bytes; 0: none */
unsigned vmmi_riscv_access(uint32_t raw, uint32_t *nbytes);
#endif
