/*
 * Asking what is mapped, and reading (and clearing) the bits of pages.
 */
#include "space.h"

#include <errno.h>
#include <string.h>

#include "inject.h"

int vmm_region_find(struct vmm_space *space, vmm_addr_t va,
                    struct vmm_region_info *info)
{
  struct vmm_region_info found = { 0 };
  struct vmmi_region *region;
  int error = vmmi_space_check(space);

  if (error == 0 && (info == NULL || info->struct_size < sizeof(uint32_t)))
    error = vmmi_error(-EINVAL, "region_find: struct_size", 0);
  if (error != 0)
    return error;
  vmmi_space_lock_shared(space);
  region = vmmi_region_from(space->regions, va);
  if (region != NULL) {
    found.rights = region->rights;
    found.start = region->start;
    found.nbytes = region->end - region->start;
    found.object = region->object;
    found.offset = region->offset;
    found.cookie = region->cookie;
    found.flags = region->flags & ~VMMI_REGION_NOT_INHERITED;
  } else {
    error = vmmi_error(-ENOENT, "no region there or above", 0);
  }
  vmmi_space_unlock(space);
  if (error == 0) {
    found.struct_size = (uint32_t)vmmi_min(info->struct_size, sizeof(found));
    memcpy(info, &found, found.struct_size);
  }
  return error;
}

/* ---- the bits of pages ---- */

struct clearing {
  struct vmm_space *space;
  vmm_addr_t start;
  uint64_t clear;
  uint64_t *out;
  bool narrower;
};

/* => which of the bits may be cleared: a wired page must not fault, and a page
 *    that is pinned for writing stays dirty */
static uint64_t clearable(struct clearing *clearing, vmm_addr_t va,
                          vmm_pte_t pte)
{
  struct vmm_space *space = clearing->space;
  struct vmmi_region *region = vmmi_region_at(space->regions, va);

  if (clearing->clear == 0 || (region != NULL && (region->flags & VMM_WIRED)))
    return 0;
  if ((pte & VMM_PTE_PRESENT) &&
      vmmi_frame_is_written(vmm_pte_frame(pte), space->page_frames))
    return clearing->clear & ~VMM_PTE_MODIFIED;
  return clearing->clear;
}

static int fetch_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct clearing *clearing = arg;
  struct vmm_space *space = clearing->space;
  vmm_pte_t pte = atomic_load(slot);
  uint64_t clear = clearable(clearing, va, pte);
  vmm_pte_t next;

  do {
    next = pte;
    if (clear & VMM_PTE_MODIFIED)
      next = vmm_pte_mkclean(next);
    if (clear & VMM_PTE_ACCESSED)
      next = vmm_pte_mkold(next);
  } while (!atomic_compare_exchange_weak(slot, &pte, next));
  /* even where the silent bits have gone: a tracker's fetch may have taken them
   * and be about to narrow */
  clearing->narrower |= pte != next;
  if (clearing->out != NULL)
    clearing->out[(va - clearing->start) >> space->page_shift] = pte;
  return 0;
}

int vmm_pages(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
              uint64_t clear, uint64_t *out)
{
  struct clearing clearing = {
    .space = space, .start = va, .clear = clear, .out = out
  };
  size_t nout;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error != 0)
    return error;
  if (clear & ~(VMM_PTE_ACCESSED | VMM_PTE_MODIFIED))
    return vmmi_error(-EINVAL, "pages: bits that can't be cleared", 0);
  nout = out != NULL ? (nbytes >> space->page_shift) * sizeof(out[0]) : 0;
  if (vmmi_window_overlaps(out, nout)) /* it is written under our lock */
    return vmmi_error(-EINVAL, "pages: out lies in a window", 0);
  if (out != NULL)
    memset(out, 0, nout);
  vmmi_space_lock_shared(space);
  vmmi_pagetable_each(&space->pt, va, va + nbytes, fetch_entry, &clearing);
  vmmi_inject_step(VMMI_STEP_CLEARED);
  if (clearing.narrower)
    vmmi_window_narrow(space, va, nbytes);
  vmmi_inject_step(VMMI_STEP_NARROWED);
  vmmi_space_unlock(space);
  return 0;
}

struct walk {
  int (*visit)(vmm_addr_t va, uint64_t pte, void *arg);
  void *arg;
};

static int visit_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct walk *walk = arg;

  return walk->visit(va, atomic_load(slot), walk->arg);
}

int vmm_pages_walk(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                   int (*visit)(vmm_addr_t va, uint64_t pte, void *arg),
                   void *arg)
{
  struct walk walk = { visit, arg };
  int result = vmmi_space_check_range(space, va, nbytes);

  if (result == 0 && visit == NULL)
    result = vmmi_error(-EINVAL, "pages_walk: no function", 0);
  if (result != 0)
    return result;
  vmmi_space_lock_shared(space);
  result = vmmi_pagetable_each(&space->pt, va, va + nbytes, visit_entry, &walk);
  vmmi_space_unlock(space);
  return result;
}
