/*
 * Accesses that the window can't make, on pages of devices and on watched ones,
 * are made by calls: an op that met one becomes a slow op, so that it does not
 * cost a signal each time, until it meets plain memory again.  A run of ops
 * that includes it is taken apart.
 */
#include "cpu.h"
#include "riscv.h"

#include <stdatomic.h>

enum { OPCODE_LOAD = 0x03, OPCODE_LOAD_FP = 0x07, OPCODE_STORE = 0x23,
       OPCODE_STORE_FP = 0x27 };

/* Of atomics, bits 31 to 27 (chapter 8). */
enum { AMO_ADD = 0, AMO_SWAP = 1, AMO_LR = 2, AMO_SC = 3, AMO_XOR = 4,
       AMO_OR = 8, AMO_AND = 12, AMO_MIN = 16, AMO_MAX = 20, AMO_MINU = 24,
       AMO_MAXU = 28 };

/* One access of an op. */
struct slow {
  struct vmm_cpu *cpu;
  const struct vmmi_op *op;
  vmm_addr_t va;
  unsigned nbytes;
};

static uint64_t extend(uint64_t value, unsigned nbytes)
{
  unsigned shift = 64 - 8 * nbytes;

  return (uint64_t)((int64_t)(value << shift) >> shift);
}

static bool slow_load(const struct slow *slow, uint64_t *value)
{
  *value = 0;
  return vmm_load(slow->cpu->space, slow->va, value, slow->nbytes) == 0;
}

static bool load_integer(const struct slow *slow, unsigned width)
{
  uint64_t value;

  if (!slow_load(slow, &value))
    return false;
  slow->cpu->r[slow->op->rd] = width & 4 ? value : extend(value, slow->nbytes);
  return true;
}

static bool load_fp(const struct slow *slow)
{
  uint64_t value;

  if (!slow_load(slow, &value))
    return false;
  if (slow->nbytes == 4) /* boxed (12.2) */
    value |= 0xffffffff00000000;
  slow->cpu->r[slow->op->rd] = value;
  return true;
}

static bool slow_store(const struct slow *slow)
{
  return vmm_store(slow->cpu->space, slow->va, &slow->cpu->r[slow->op->rs2],
                   slow->nbytes) == 0;
}

static bool load_reserved(const struct slow *slow)
{
  struct vmm_cpu *cpu = slow->cpu;
  uint64_t value;

  if (!slow_load(slow, &value))
    return false;
  cpu->reserved.va = slow->va;
  cpu->reserved.value = value;
  cpu->reserved.nbytes = slow->nbytes;
  cpu->r[slow->op->rd] = extend(value, slow->nbytes);
  return true;
}

static bool store_conditional(const struct slow *slow)
{
  struct vmm_cpu *cpu = slow->cpu;
  uint64_t value = cpu->reserved.value;
  int result = 1;

  if (cpu->reserved.nbytes == slow->nbytes && cpu->reserved.va == slow->va)
    result = vmm_cas(cpu->space, slow->va, &value, &cpu->r[slow->op->rs2],
                     slow->nbytes);
  if (result < 0)
    return false;
  cpu->reserved.nbytes = 0;
  cpu->r[slow->op->rd] = (uint64_t)result;
  return true;
}

static uint64_t combine(unsigned how, uint64_t old, uint64_t operand,
                        unsigned nbytes)
{
  int64_t a = (int64_t)extend(old, nbytes);
  int64_t b = (int64_t)extend(operand, nbytes);

  switch (how) {
  case AMO_ADD: return old + operand;
  case AMO_XOR: return old ^ operand;
  case AMO_OR: return old | operand;
  case AMO_AND: return old & operand;
  case AMO_MIN: return (uint64_t)(a < b ? a : b);
  case AMO_MAX: return (uint64_t)(a > b ? a : b);
  case AMO_MINU: return (uint64_t)a < (uint64_t)b ? old : operand;
  case AMO_MAXU: return (uint64_t)a > (uint64_t)b ? old : operand;
  default: return operand; /* AMO_SWAP */
  }
}

static bool slow_amo(const struct slow *slow, unsigned how)
{
  struct vmm_cpu *cpu = slow->cpu;
  uint64_t seen, fresh;
  int result;

  if (!slow_load(slow, &seen))
    return false;
  do {
    fresh = combine(how, seen, cpu->r[slow->op->rs2], slow->nbytes);
    result = vmm_cas(cpu->space, slow->va, &seen, &fresh, slow->nbytes);
  } while (result == 1);
  if (result < 0)
    return false;
  cpu->r[slow->op->rd] = extend(seen, slow->nbytes);
  return true;
}

static bool do_slow(const struct slow *slow, uint32_t match)
{
  unsigned how = match >> 27;

  switch (match & 0x7f) {
  case OPCODE_LOAD: return load_integer(slow, match >> 12 & 7);
  case OPCODE_LOAD_FP: return load_fp(slow);
  case OPCODE_STORE: case OPCODE_STORE_FP: return slow_store(slow);
  }
  if (how == AMO_LR)
    return load_reserved(slow);
  return how == AMO_SC ? store_conditional(slow) : slow_amo(slow, how);
}

static uint64_t performed(void)
{
  struct vmm_stats stats = { .struct_size = sizeof(stats) };

  vmm_thread_stats(&stats);
  return stats.performed;
}

bool vmmi_riscv_slow(struct vmm_cpu *cpu, struct vmmi_op *op)
{
  uint64_t before = performed();
  struct riscv_insn insn;
  uint32_t match;
  struct slow slow = { .cpu = cpu, .op = op,
                       .va = cpu->r[op->rs1] + (uint64_t)(int64_t)op->imm };

  if (vmmi_riscv_decode(vmmi_code_info(&cpu->code, op)->insn, &insn) != 0)
    return false;
  match = vmmi_riscv_rows[insn.op].match;
  slow.nbytes = 1u << (match >> 12 & 3);
  atomic_thread_fence(memory_order_seq_cst);
  if (!do_slow(&slow, match))
    return false;
  if (performed() == before) /* plain memory */
    op->handler = vmmi_riscv_labels[cpu->way][insn.op];
  return true;
}

static bool is_fused(const struct vmmi_op *op, const void *const *labels)
{
  for (unsigned i = RISCV_BEFORE_FUSED + 1; i < RISCV_LABELS; i++)
    if (op->handler == labels[i])
      return true;
  return false;
}

bool vmmi_riscv_is_slow(struct vmm_cpu *cpu, struct vmmi_op *op)
{
  uint64_t address = cpu->r[op->rs1] + (uint64_t)(int64_t)op->imm;
  const void *const *labels = vmmi_riscv_labels[cpu->way];
  struct vmm_fault fault;

  if (address >= cpu->size || vmm_fault_last(&fault) != 0 ||
      fault.reason != VMM_FAULT_FORM)
    return false;
  for (int i = 1; i <= 2 && op - cpu->code.ops >= i; i++) {
    struct vmmi_op *first = op - i;
    struct riscv_insn insn;

    if (is_fused(first, labels) &&
        vmmi_riscv_decode(vmmi_code_info(&cpu->code, first)->insn, &insn) == 0)
      first->handler = labels[insn.op];
  }
  op->handler = labels[RISCV_SLOW];
  return true;
}
