/*
 * Changing rights and handlers of what is mapped.  Rights that go leave the
 * page table and the windows before the call returns; rights that come are
 * found by the next fault.
 */
#include <errno.h>

#include "lazy.h"
#include "map.h"

struct modification {
  vmm_pte_t bits; /* vmmi_region_bits() */
  bool narrower;  /* some entry lost a silent bit, or is the supervisor's now */
  bool code;      /* some entry may have been decoded */
};

static int modify_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct modification *change = arg;
  vmm_pte_t pte = atomic_load(slot);
  vmm_pte_t next;

  (void)va;
  do
    next = (vmm_pte_modify(pte, change->bits) & ~VMM_PTE_SUPERVISOR) |
           (change->bits & VMM_PTE_SUPERVISOR);
  while (!atomic_compare_exchange_weak(slot, &pte, next));
  change->narrower |= (pte & ~next & VMM_PTE_SILENT) != 0 ||
                      (next & ~pte & VMM_PTE_SUPERVISOR) != 0;
  change->code |= (pte & ~next & VMM_PTE_EXEC) && vmmi_code_may_be(pte);
  return 0;
}

void vmmi_map_set_rights(struct vmm_space *space, struct vmmi_region *region,
                         uint32_t rights)
{
  struct modification change = { 0 };
  vmm_addr_t va = region->start;
  uint64_t nbytes = region->end - va;

  vmmi_map_lock_object(region);
  region->rights = rights;
  change.bits = vmmi_region_bits(region);
  vmmi_pagetable_each(&space->pt, va, va + nbytes, modify_entry, &change);
  vmmi_map_unlock_object(region);
  if (change.narrower)
    vmmi_window_narrow(space, va, nbytes);
  if (change.code)
    vmmi_code_notify(space, va, nbytes);
  vmmi_lazy_note(space, va, nbytes);
}

/* => space locked; whether the regions may have these rights */
static int check_rights(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end,
                        uint32_t rights)
{
  const struct vmmi_region *first = vmmi_region_at(space->regions, va);
  bool device = first != NULL && vmmi_region_is_device(first);
  int error = vmmi_map_check_rights(space, device ? first->object : NULL, 0,
                                    rights);

  if (error == 0 && !vmmi_map_covers(space, va, end))
    error = vmmi_error(-ENOMEM, "a part of the range is not mapped", 0);
  while (error == 0 && va < end) {
    struct vmmi_region *region = vmmi_region_at(space->regions, va);

    error = vmmi_map_check_rights(space, region->object, region->flags, rights);
    if (error == 0 && (region->flags & VMM_TRAMPOLINE))
      error = vmmi_error(-EACCES, "protect: a trampoline page", 0);
    va = region->end;
  }
  return error;
}

int vmm_protect(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                uint32_t rights)
{
  struct vmmi_cuts cuts = { .count = 0 };
  vmm_addr_t end = va + nbytes;
  bool wired = false;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = check_rights(space, va, end, rights);
  if (error == 0)
    error = vmmi_map_cut_out(space, &cuts, va, end);
  if (error == 0) {
    for (vmm_addr_t at = va; at < end;) {
      struct vmmi_region *region = vmmi_region_at(space->regions, at);

      at = region->end;
      wired |= (region->flags & VMM_WIRED) != 0;
      vmmi_map_set_rights(space, region, rights);
    }
    vmmi_map_mend(space, va, end);
  }
  vmmi_map_free_cuts(&cuts);
  vmmi_space_unlock(space);
  if (error == 0 && wired)
    vmmi_wire_again(space, va, end);
  return error;
}

int vmm_region_set_handler(struct vmm_space *space, vmm_addr_t va,
                           uint64_t nbytes, vmm_fault_handler *handler,
                           void *arg)
{
  struct vmmi_cuts cuts = { .count = 0 };
  vmm_addr_t end = va + nbytes;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = vmmi_map_cut_out(space, &cuts, va, end);
  if (error == 0) {
    for (vmm_addr_t at = va; at < end;) {
      struct vmmi_region *region = vmmi_region_at(space->regions, at);

      region->handler = handler;
      region->handler_arg = handler != NULL ? arg : NULL;
      at = region->end;
    }
    vmmi_map_mend(space, va, end);
    vmmi_lazy_note(space, va, nbytes);
  }
  vmmi_map_free_cuts(&cuts);
  vmmi_space_unlock(space);
  return error;
}
