/*
 * Wiring: every page has its frame and stands in the space's window, so that
 * neither an access nor a system call ever misses it.
 */
#include "map.h"

#include <errno.h>

#include "arch.h"
#include "tracker.h"
#include "window_index.h"

/* What must be granted so that no access that the region allows faults. */
static unsigned widest_access(uint32_t rights)
{
  if (rights & VMM_WRITE)
    return VMM_WRITE;
  return rights & VMM_READ ? VMM_READ : VMM_EXEC;
}

static int populate_page(struct vmm_space *space, vmm_addr_t va)
{
  struct vmmi_request request = {
    .space = space,
    .window = &space->window,
    .va = va,
    .flags = VMMI_RESOLVE_WIRE,
  };
  struct vmmi_region *region;
  int error;

  vmmi_space_lock_shared(space);
  region = vmmi_region_at(space->regions, va);
  request.access = region != NULL ? widest_access(region->rights) : VMM_READ;
  vmmi_space_unlock(space);
  if (vmmi_window_granted(&space->window, va) & request.access)
    return 0;
  error = vmmi_resolve(&request);
  /* the end of a file may have gone */
  if (error == 0 &&
      vmmi_arch_probe(vmmi_arena_pointer(request.frame), false) != 0)
    error = -EIO;
  /* unmapped meanwhile; or a device is there by now */
  return error == -EFAULT || error > 0 ? -ENOMEM : error;
}

int vmmi_wire_populate(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  int error = 0;

  vmmi_thread_enter();
  for (; error == 0 && va < end; va += space->page_nbytes)
    error = populate_page(space, va);
  vmmi_thread_leave();
  return error;
}

/* => space locked */
static int check_wire(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  if (!vmmi_space_has_window(space))
    return vmmi_error(-ENOTSUP, "wire: the space has no window", 0);
  if (!vmmi_map_covers(space, va, end))
    return vmmi_error(-ENOMEM, "a part of the range is not mapped", 0);
  while (va < end) {
    struct vmmi_region *region = vmmi_region_at(space->regions, va);
    uint64_t nbytes = vmmi_min(end, region->end) - va;
    vmm_pte_t watched;

    if (vmmi_region_is_device(region))
      return vmmi_error(-ENOTSUP, "wire: a device has no frames", 0);
    if (region->rights == 0)
      return vmmi_error(-EACCES, "wire: the range has no rights", 0);
    if (region->flags & VMM_TRAMPOLINE)
      return vmmi_error(-ENOTSUP, "wire: a trampoline page has no frame", 0);
    vmmi_map_lock_object(region);
    watched = vmmi_tracker_watch(region, va, nbytes).all;
    vmmi_map_unlock_object(region);
    if (watched != 0)
      return vmmi_error(-EBUSY, "wire: a tracker watches the range", 0);
    va = region->end;
  }
  return 0;
}

/* => space locked, the range cut out */
static void set_wired(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end,
                      bool wired)
{
  for (vmm_addr_t at = va; at < end;) {
    struct vmmi_region *region = vmmi_region_at(space->regions, at);

    vmmi_map_lock_object(region);
    region->flags = wired ? region->flags | VMM_WIRED
                          : region->flags & ~(uint32_t)VMM_WIRED;
    vmmi_map_unlock_object(region);
    at = region->end;
  }
  /* its pages come back as what they are now */
  vmmi_window_clear(space, va, end - va);
  vmmi_map_mend(space, va, end);
}

static int change_wired(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                        bool wired)
{
  struct vmmi_cuts cuts = { .count = 0 };
  vmm_addr_t end = va + nbytes;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error != 0)
    return error;
  vmmi_space_lock(space);
  if (wired)
    error = check_wire(space, va, end);
  if (error == 0)
    error = vmmi_map_cut_out(space, &cuts, va, end);
  if (error == 0)
    set_wired(space, va, end, wired);
  vmmi_map_free_cuts(&cuts);
  vmmi_space_unlock(space);
  return error;
}

int vmmi_wire_again(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  int result = 0;

  while (va < end) {
    struct vmmi_region *region;
    vmm_addr_t stop = end;
    bool wired = false;

    vmmi_space_lock_shared(space);
    region = vmmi_region_from(space->regions, va);
    if (region != NULL) {
      va = vmmi_max(va, region->start);
      stop = vmmi_min(end, region->end);
      wired = (region->flags & VMM_WIRED) && region->rights != 0;
    }
    vmmi_space_unlock(space);
    if (wired && va < stop) {
      int error = vmmi_wire_populate(space, va, stop);

      /* what the host refuses is not wired any more, which can be asked */
      if (error != 0)
        change_wired(space, va, stop - va, false);
      result = result != 0 ? result : error;
    }
    va = stop;
  }
  return result;
}

int vmmi_wire_fork_child(void)
{
  struct vmmi_window *window;
  int error = 0;

  for (size_t i = 0;
       error == 0 && (window = vmmi_window_index_get(i)) != NULL; i++)
    if (atomic_load(&window->hart) == NULL) /* a space's own */
      error = vmmi_wire_again(window->space, 0, window->space->size);
  return error;
}

int vmm_wire(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  int error = change_wired(space, va, nbytes, true);

  if (error != 0)
    return error;
  error = vmmi_wire_populate(space, va, va + nbytes);
  if (error != 0) {
    change_wired(space, va, nbytes, false);
    return vmmi_error(error, "wire: a page could not be brought in", 0);
  }
  return 0;
}

int vmm_unwire(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  return change_wired(space, va, nbytes, false);
}
