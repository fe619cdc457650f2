/*
 * Mapping the trampoline page of a space, and finding whose page an access
 * means.
 */
#include "trampoline.h"

#include <errno.h>

#include "guest_thread.h"
#include "map.h"

bool vmmi_trampoline_is_in(struct vmm_space *space, vmm_addr_t va,
                           vmm_addr_t end)
{
  struct vmmi_region *region = vmmi_region_from(space->regions, va);

  for (; region != NULL && region->start < end;
       region = vmmi_region_from(space->regions, region->end))
    if (region->flags & VMM_TRAMPOLINE)
      return true;
  return false;
}

int vmmi_trampoline_find(struct vmmi_request *request)
{
  struct vmm_hart *hart = request->window != NULL
                              ? atomic_load(&request->window->hart)
                              : vmmi_thread_self.hart;
  struct vmm_guest_thread *thread =
      hart != NULL ? atomic_load(&hart->thread) : NULL;

  if (thread == NULL) {
    request->reason = VMM_FAULT_NO_THREAD;
    return -EFAULT;
  }
  request->frame = vmmi_trampoline_page(thread);
  if (request->frame != 0)
    return 0;
  request->reason = VMM_FAULT_NO_MEMORY;
  return -ENOMEM;
}

static int map_trampoline(struct vmm_space *space, vmm_addr_t va)
{
  struct vmm_map_options options = { .rights = VMM_READ | VMM_EXEC,
                                     .flags = VMM_TRAMPOLINE };
  int error = 0;

  vmmi_space_lock(space);
  if (vmmi_trampoline_is_in(space, 0, space->size))
    error = vmmi_error(-EEXIST, "trampoline: the space has one", 0);
  if (error == 0)
    error = vmmi_map_locked(space, &va, space->page_nbytes, &options);
  vmmi_space_unlock(space);
  return error;
}

int vmm_trampoline_map(struct vmm_space *space, vmm_addr_t va)
{
  int error = vmmi_space_check(space);

  if (error == 0)
    error = vmmi_space_check_range(space, va, space->page_nbytes);
  return error != 0 ? error : map_trampoline(space, va);
}
