/*
 * What the checker proves of pagers.  Layer 7.
 */
#include "pager.h"

#include "check.h"

/* ---- entries ---- */

static int check_entry_of(const struct vmmi_region *region, vmm_addr_t va,
                          vmm_pte_t pte)
{
  const struct vmmi_pager *pager = region->object->pager;
  uint64_t offset = region->offset + (va - region->start);
  const struct vmmi_pager_page *page =
      &pager->page[vmmi_pager_index(pager, offset)];

  if (!vmmi_pager_shows(region, pte))
    return 0;
  if (page->state != VMMI_PAGER_RESIDENT)
    return vmmi_check_fail(va, "shows a page that its pager does not have");
  if ((pte & VMM_PTE_SILENT) && !(region->flags & VMM_WIRED) && !page->young)
    return vmmi_check_fail(va, "grants a pager's page that is old");
  if ((pte & VMM_PTE_SWRITE) && !page->dirty)
    return vmmi_check_fail(va, "writes silently to a pager's clean page");
  return 0;
}

static int check_slot(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  return check_entry_of(arg, va, atomic_load(slot));
}

/* ---- the pager ---- */

/* => whether the ring has so many pages, each linked both ways */
static bool is_ring(const struct vmmi_pager *pager, uint64_t count)
{
  uint32_t i = pager->hand;

  if (i == 0)
    return count == 0;
  for (uint64_t n = 0; n < count; n++) {
    const struct vmmi_pager_page *page = &pager->page[i - 1];

    if (page->state != VMMI_PAGER_RESIDENT ||
        pager->page[page->next - 1].previous != i)
      return false;
    i = page->next;
  }
  return i == pager->hand;
}

static int check_pager_of(const struct vmmi_region *region)
{
  const struct vmmi_pager *pager = region->object->pager;
  uint64_t resident = 0, dirty = 0;
  uint32_t i = 0;

  for (; (i = vmmi_pager_next(pager, i, pager->npages)) < pager->npages; i++) {
    resident += pager->page[i].state == VMMI_PAGER_RESIDENT;
    dirty += pager->page[i].dirty;
  }
  if (dirty != pager->dirty)
    return vmmi_check_fail(region->start, "pager: the count of dirty pages");
  if (!is_ring(pager, resident))
    return vmmi_check_fail(region->start, "pager: the ring of pages");
  /* those that are being filled are counted too */
  if (resident > pager->frames ||
      (pager->calls == NULL && resident != pager->frames))
    return vmmi_check_fail(region->start, "pager: the count of frames");
  return 0;
}

int vmmi_pager_check(struct vmm_space *space)
{
  struct vmmi_region *region = vmmi_region_from(space->regions, 0);
  int error = 0;

  for (; error == 0 && region != NULL;
       region = vmmi_region_from(space->regions, region->end)) {
    if (region->object == NULL || region->object->pager == NULL)
      continue;
    pthread_mutex_lock(&region->object->lock);
    error = check_pager_of(region);
    if (error == 0)
      error = vmmi_pagetable_each(&space->pt, region->start, region->end,
                                  check_slot, region);
    pthread_mutex_unlock(&region->object->lock);
  }
  return error;
}
