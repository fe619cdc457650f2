/*
 * The dispatch loop for memory in a window: an access is one instruction of the
 * host.  And what is the same for all loops: stops, and the ISA's descriptor.
 */
#include "riscv_words.h"

#include <errno.h>
#include <pthread.h>

/* ---- stops ---- */

unsigned vmmi_riscv_access(uint32_t raw, uint32_t *nbytes)
{
  struct riscv_insn insn;
  uint32_t match;

  if (vmmi_riscv_decode(raw, &insn) != 0)
    return 0;
  match = vmmi_riscv_rows[insn.op].match;
  *nbytes = 1u << (match >> 12 & 3);
  if ((match & 0x7b) == 0x03 || insn.op == RISCV_LR_W ||
      insn.op == RISCV_LR_D)
    return VMM_READ;
  if ((match & 0x7f) == 0x2f && insn.op != RISCV_SC_W && insn.op != RISCV_SC_D)
    return VMM_READ | VMM_WRITE;
  return VMM_WRITE;
}

void vmmi_riscv_stop(struct vmm_cpu *cpu, const struct vmmi_op *op,
                     enum vmm_cpu_stop why, struct vmm_cpu_exit *exit)
{
  const struct vmmi_op_info *info = vmmi_code_info(&cpu->code, op);

  cpu->pc = info->pc;
  cpu->left -= info->count;
  exit->stop = why;
  exit->pc = info->pc;
  exit->insn = info->insn;
  if (why == VMM_CPU_ECALL)
    cpu->reserved.nbytes = 0;
}

void vmmi_riscv_stop_at_access(struct vmm_cpu *cpu, const struct vmmi_op *op,
                               enum vmm_cpu_stop why, struct vmm_cpu_exit *exit)
{
  uint64_t address = cpu->r[op->rs1] + (uint64_t)(int64_t)op->imm;
  struct vmm_fault *fault = &exit->fault;
  uint32_t nbytes;
  unsigned access;

  vmmi_riscv_stop(cpu, op, why, exit);
  if (why == VMM_CPU_FAULT && address < cpu->size) {
    vmm_fault_last(fault);
  } else {
    *fault = (struct vmm_fault){ .va = address, .error = -EFAULT };
    if (why == VMM_CPU_FAULT)
      fault->reason = VMM_FAULT_OUTSIDE;
  }
  fault->space = cpu->space;
  access = vmmi_riscv_access(exit->insn, &nbytes);
  if (access == 0)
    return;
  fault->access = access & VMM_WRITE ? VMM_WRITE : VMM_READ;
  fault->nbytes = nbytes;
}

/* ---- the loop ---- */

#define LOOP vmmi_riscv_run_direct
#define LOOP_WAY VMMI_DIRECT
#define MEMORY_PARAMETERS char *base, uint64_t size
#define MEMORY_ARGUMENTS base, size
#define MEMORY_UNUSED (void)base, (void)size
#define MEMORY_LOCALS                                                          \
  char *base;                                                                  \
  uint64_t size
#define MEMORY_BEGIN                                                           \
  base = cpu->base;                                                            \
  size = cpu->size
#define MEMORY_END
#define MEMORY_MISSED                                                          \
  if (vmmi_riscv_is_slow(cpu, op))                                             \
  goto do_SLOW

#define MEMORY_ADDRESS                                                         \
  if (unlikely(address >= size))                                               \
  goto fault
#define MEMORY_LOAD(width, value, address)                                     \
  vmm_try_load_u##width(value, base + address, fault)
#define MEMORY_STORE(width, address, value)                                    \
  vmm_try_store_u##width(base + address, value, fault)
#define MEMORY_SWAP(width, address, expected, desired)                         \
  vmm_try_cas_u##width(base + address, expected, desired, fault)

#include "riscv_loop.def"

static void make_tables(void)
{
  vmmi_riscv_decode_prepare();
  vmmi_riscv_fuse_prepare();
  vmmi_riscv_run_direct(NULL, NULL, NULL);
  vmmi_riscv_run_tlb(NULL, NULL, NULL);
  vmmi_riscv_run_calls(NULL, NULL, NULL);
}

static void prepare(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once(&once, make_tables);
}

const struct vmmi_isa vmmi_riscv64 = {
  .name = "rv64gc",
  .prepare = prepare,
  .translate = vmmi_riscv_translate,
  .run = { vmmi_riscv_run_direct, vmmi_riscv_run_tlb, vmmi_riscv_run_calls },
  .get = vmmi_riscv_get,
  .set = vmmi_riscv_set,
  .disassemble = vmmi_riscv_disassemble,
};
