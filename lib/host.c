/*
 * The accessors of <vmm/extable.h> as calls, for compilers and hosts without
 * asm goto: a host address in a window becomes a checked access to its space,
 * any other one is accessed with an exception-table entry.  Layer 5.
 */
#include "arch.h"

#include <errno.h>

#include "space.h"

/* => what a call on guest or host memory gave, as the accessors tell it */
static int accessor_result(int result)
{
  return result >= 0 || result == -EINVAL ? result : -EFAULT;
}

static bool is_access_size(size_t nbytes)
{
  return vmmi_is_power_of_2(nbytes) && nbytes <= sizeof(uint64_t);
}

int vmm_host_load(const void *host, void *value, size_t nbytes)
{
  struct vmmi_window *window;
  vmm_addr_t va;

  if (!is_access_size(nbytes))
    return vmmi_error(-EINVAL, "not an access of 1, 2, 4 or 8 bytes", 0);
  window = vmmi_window_find(host, &va);
  if (window != NULL)
    return accessor_result(vmm_load(window->space, va, value, nbytes));
  return accessor_result(vmmi_arch_load(host, value, nbytes));
}

int vmm_host_store(void *host, const void *value, size_t nbytes)
{
  struct vmmi_window *window;
  vmm_addr_t va;

  if (!is_access_size(nbytes))
    return vmmi_error(-EINVAL, "not an access of 1, 2, 4 or 8 bytes", 0);
  window = vmmi_window_find(host, &va);
  if (window != NULL)
    return accessor_result(vmm_store(window->space, va, value, nbytes));
  return accessor_result(vmmi_arch_store(host, value, nbytes));
}

int vmm_host_cas(void *host, void *expected, const void *desired,
                 size_t nbytes)
{
  struct vmmi_window *window;
  vmm_addr_t va;

  if (!is_access_size(nbytes))
    return vmmi_error(-EINVAL, "not an access of 1, 2, 4 or 8 bytes", 0);
  if (!vmmi_is_aligned((uintptr_t)host, nbytes))
    return vmmi_error(-EINVAL, "a compare-and-swap that is not aligned", 0);
  window = vmmi_window_find(host, &va);
  if (window != NULL)
    return accessor_result(
        vmm_cas(window->space, va, expected, desired, nbytes));
  return accessor_result(vmmi_arch_cas(host, expected, desired, nbytes));
}
