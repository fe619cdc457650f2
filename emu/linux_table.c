/*
 * The tables of system calls, made from the rows of linux_table.h, and the way
 * from the cpu's registers through them and back.
 */
#include "linux_table.h"

#include <errno.h>

#include "linux.h"

#define PRESENT(number, name, format) \
  [number] = { #name, vmmi_sys_##name, format },
#define ABSENT(number, name, format) [number] = { #name, NULL, format },

const struct linux_call vmmi_linux_generic[LINUX_GENERIC_CALLS] = {
  LINUX_GENERIC(PRESENT) LINUX_GENERIC_ABSENT(ABSENT)
};

void vmmi_linux_call(struct linux_process *p)
{
  const struct linux_isa *isa = p->isa;
  uint64_t number = vmm_cpu_get(p->cpu, isa->number);
  uint64_t args[6];
  int64_t result = -ENOSYS;

  for (int i = 0; i < 6; i++)
    args[i] = vmm_cpu_get(p->cpu, isa->args[i]);
  if (p->strace != NULL)
    vmmi_strace_enter(p, number, args);
  if (number < isa->ncalls && isa->calls[number].handler != NULL)
    result = isa->calls[number].handler(p, args);
  if (p->strace != NULL)
    vmmi_strace_leave(p, number, result);
  if (p->end != LINUX_RUNS)
    return; /* the report shows the state at the call */
  vmm_cpu_set(p->cpu, isa->result, (uint64_t)result);
  vmm_cpu_set(p->cpu, isa->pc, vmm_cpu_get(p->cpu, isa->pc) + isa->call_nbytes);
}
