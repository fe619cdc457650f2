/*
 * The dispatch loop for a space without a window: an access looks into the
 * cpu's TLB, in a section that lasts as long as the loop runs.  Who asks for
 * its end sets cpu->pending, which ends the loop at the next taken exit.
 */
#include "riscv_words.h"

#include <errno.h>

/* The access of op found no entry, or the host's memory behind it failed.
 * => 0 there is one now; 1 it is to be made by a call; -errno: it fails, and
 *    vmm_fault_last() tells
 * => outside of a section */
static int refill(struct vmm_cpu *cpu, const struct vmmi_op *op)
{
  uint64_t address = cpu->r[op->rs1] + (uint64_t)(int64_t)op->imm;
  uint32_t insn = vmmi_code_info(&cpu->code, op)->insn, nbytes;
  unsigned access = vmmi_riscv_access(insn, &nbytes);
  uint64_t end = address + nbytes - 1;

  if (address >= cpu->size)
    return -EFAULT;
  if ((address ^ end) >> VMM_TLB_SHIFT != 0)
    return 1;
  /* an AMO loads first */
  if ((access & VMM_READ) && vmm_tlb_read(cpu->tlb, address, nbytes) == NULL)
    return vmm_tlb_fill(cpu->tlb, address, VMM_READ);
  if ((access & VMM_WRITE) && vmm_tlb_write(cpu->tlb, address, nbytes) == NULL)
    return vmm_tlb_fill(cpu->tlb, address, VMM_WRITE);
  return 1;
}

#define LOOP vmmi_riscv_run_tlb
#define LOOP_WAY VMMI_TLB
#define MEMORY_PARAMETERS struct vmm_tlb *tlb
#define MEMORY_ARGUMENTS tlb
#define MEMORY_UNUSED (void)tlb
#define MEMORY_LOCALS                                                          \
  struct vmm_tlb *tlb;                                                         \
  int missed
#define MEMORY_BEGIN                                                           \
  tlb = cpu->tlb;                                                              \
  vmm_tlb_enter(tlb)
#define MEMORY_END vmm_tlb_leave(tlb)
#define MEMORY_MISSED                                                          \
  MEMORY_END;                                                                  \
  vmmi_fp_leave(&cpu->fp, host_fp);                                            \
  missed = refill(cpu, op);                                                    \
  host_fp = vmmi_fp_enter(&cpu->fp);                                           \
  vmm_tlb_enter(tlb);                                                          \
  if (missed == 0)                                                             \
    DISPATCH;                                                                  \
  if (missed > 0) {                                                            \
    cpu->pc = PC;                                                              \
    cpu->left = left - vmmi_code_info(&cpu->code, op)->count;                  \
    MEMORY_END;                                                                \
    vmmi_fp_leave(&cpu->fp, host_fp);                                          \
    return VMMI_CALL;                                                          \
  }

#define MEMORY_ADDRESS
#define MEMORY_FIND(way, width, address)                                       \
  void *host = vmm_tlb_##way(tlb, address, width / 8);                         \
                                                                               \
  if (unlikely(host == NULL))                                                  \
  goto fault
#define MEMORY_LOAD(width, value, address)                                     \
  do {                                                                         \
    MEMORY_FIND(read, width, address);                                         \
    vmm_try_load_u##width(value, host, fault);                                 \
  } while (0)
#define MEMORY_STORE(width, address, value)                                    \
  do {                                                                         \
    MEMORY_FIND(write, width, address);                                        \
    vmm_try_store_u##width(host, value, fault);                                \
  } while (0)
#define MEMORY_SWAP(width, address, expected, desired)                         \
  do {                                                                         \
    MEMORY_FIND(write, width, address);                                        \
    vmm_try_cas_u##width(host, expected, desired, fault);                      \
  } while (0)

#include "riscv_loop.def"
