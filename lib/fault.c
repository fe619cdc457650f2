/*
 * The fault record in the hands of the program's handlers: the interrupted
 * registers, and where to go on.  All but vmm_space_set_handler() run in signal
 * context.  Layer 4.
 */
#include "arch.h"

#include <errno.h>

#include "lazy.h"

static const char no_context[] = "the access was a call's: it has no registers";
static const char no_fault[] = "no fault, or no place for the value";
static const char no_register[] = "the host has no register of that number";

int vmm_fault_set_pc(struct vmm_fault *fault, void *pc)
{
  if (fault == NULL)
    return vmmi_error(-EINVAL, no_fault, 0);
  if (fault->context == NULL)
    return vmmi_error(-ENOTSUP, no_context, 0);
  vmmi_arch_set_pc(fault->context, (uintptr_t)pc);
  return 0;
}

int vmm_fault_get_register(const struct vmm_fault *fault, unsigned n,
                           uint64_t *value)
{
  if (fault == NULL || value == NULL)
    return vmmi_error(-EINVAL, no_fault, 0);
  if (fault->context == NULL)
    return vmmi_error(-ENOTSUP, no_context, 0);
  if (vmmi_arch_get_register(fault->context, n, value) != 0)
    return vmmi_error(-EINVAL, no_register, 0);
  return 0;
}

int vmm_fault_set_register(struct vmm_fault *fault, unsigned n, uint64_t value)
{
  if (fault == NULL)
    return vmmi_error(-EINVAL, no_fault, 0);
  if (fault->context == NULL)
    return vmmi_error(-ENOTSUP, no_context, 0);
  if (vmmi_arch_set_register(fault->context, n, value) != 0)
    return vmmi_error(-EINVAL, no_register, 0);
  return 0;
}

int vmm_space_set_handler(struct vmm_space *space, vmm_fault_handler *handler,
                          void *arg)
{
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  vmmi_space_lock(space); /* the fault path reads both together */
  atomic_store_explicit(&space->handler, handler, memory_order_relaxed);
  atomic_store_explicit(&space->handler_arg, arg, memory_order_relaxed);
  vmmi_lazy_note(space, 0, space->size);
  vmmi_space_unlock(space);
  return 0;
}

const char *vmm_fault_reason_name(unsigned reason)
{
  static const char *const names[] = {
    [VMM_FAULT_NONE] = "none",
    [VMM_FAULT_NO_REGION] = "no region",
    [VMM_FAULT_RIGHTS] = "rights",
    [VMM_FAULT_OUTSIDE] = "outside",
    [VMM_FAULT_NO_MEMORY] = "no memory",
    [VMM_FAULT_LIMIT] = "limit",
    [VMM_FAULT_OBJECT] = "object",
    [VMM_FAULT_DISABLED] = "faults disabled",
    [VMM_FAULT_LIVELOCK] = "livelock",
    [VMM_FAULT_STACK] = "stack overflow",
    [VMM_FAULT_ILLEGAL] = "illegal instruction",
    [VMM_FAULT_ARITHMETIC] = "arithmetic",
    [VMM_FAULT_TRAP] = "trap",
    [VMM_FAULT_SUPERVISOR] = "supervisor",
    [VMM_FAULT_PAGER] = "pager",
    [VMM_FAULT_NO_THREAD] = "no guest thread",
    [VMM_FAULT_FORM] = "form of the instruction",
    [VMM_FAULT_DEVICE] = "device",
    [VMM_FAULT_WATCH] = "watch",
  };

  return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}
