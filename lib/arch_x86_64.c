/*
 * The context of a signal on x86-64: the page fault's error code says which
 * access it was (Intel SDM volume 3, section 4.7).
 */
#define _GNU_SOURCE 1
#include "arch.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

#include <vmm/types.h>

/* The registers of Linux's mcontext by their numbers in DWARF (System V ABI,
 * AMD64 supplement, figure 3.36). */
static const signed char dwarf_registers[] = {
  REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

enum {
  TRAP_BREAKPOINT = 3,
  TRAP_PAGE_FAULT = 14,
  PAGE_FAULT_WRITE = 1 << 1,
  PAGE_FAULT_FETCH = 1 << 4,
};

static const greg_t *context_registers(const void *context)
{
  return ((const ucontext_t *)context)->uc_mcontext.gregs;
}

static greg_t *context_registers_mutable(void *context)
{
  return ((ucontext_t *)context)->uc_mcontext.gregs;
}

uintptr_t vmmi_arch_pc(const void *context)
{
  return (uintptr_t)context_registers(context)[REG_RIP];
}

void vmmi_arch_set_pc(void *context, uintptr_t pc)
{
  context_registers_mutable(context)[REG_RIP] = (greg_t)pc;
}

uintptr_t vmmi_arch_sp(const void *context)
{
  return (uintptr_t)context_registers(context)[REG_RSP];
}

uintptr_t vmmi_arch_insn(const void *context)
{
  const greg_t *registers = context_registers(context);
  uintptr_t pc = (uintptr_t)registers[REG_RIP];

  return registers[REG_TRAPNO] == TRAP_BREAKPOINT ? pc - 1 : pc;
}

void vmmi_arch_mask(const void *context, sigset_t *mask)
{
  /* The kernel's set is shorter than libc's: what follows it is no mask. */
  enum { KERNEL_NBYTES = 8 };

  *mask = (sigset_t){ 0 };
  memcpy(mask, &((const ucontext_t *)context)->uc_sigmask, KERNEL_NBYTES);
}

unsigned vmmi_arch_access(const void *context)
{
  const greg_t *registers = context_registers(context);

  if (registers[REG_TRAPNO] != TRAP_PAGE_FAULT)
    return 0;
  if (registers[REG_ERR] & PAGE_FAULT_FETCH)
    return VMM_EXEC;
  return registers[REG_ERR] & PAGE_FAULT_WRITE ? VMM_WRITE : VMM_READ;
}

int vmmi_arch_get_register(const void *context, unsigned n, uint64_t *value)
{
  if (n >= sizeof(dwarf_registers))
    return -EINVAL;
  *value = (uint64_t)context_registers(context)[(int)dwarf_registers[n]];
  return 0;
}

int vmmi_arch_set_register(void *context, unsigned n, uint64_t value)
{
  if (n >= sizeof(dwarf_registers))
    return -EINVAL;
  context_registers_mutable(context)[(int)dwarf_registers[n]] = (greg_t)value;
  return 0;
}
