/*
 * Forking a space.  A private frame gets one more holder, and both entries are
 * copy-on-write from then on; whoever is left alone with it takes it back
 * without a copy (page.c).  An entry that is not copy-on-write but whose frame
 * has a second holder is pinned: the child gets its copy at once, as it does of
 * a wired page.
 */
#include <errno.h>

#include <vmm/fork.h>

#include "entry.h"
#include "map.h"
#include "page.h"
#include "tracker.h"
#include "os.h"

/* ---- regions ---- */

/* => child not yet visible to others, parent locked */
static int clone_region(struct vmm_space *child,
                        const struct vmmi_region *region)
{
  struct vmmi_region *clone;
  int error = 0;

  if (region->flags & VMMI_REGION_NOT_INHERITED)
    return 0;
  clone = vmmi_region_new();
  if (clone == NULL)
    return vmmi_error(-ENOMEM, "fork: malloc of a region", ENOMEM);
  vmmi_region_copy(clone, region);
  clone->space = child;
  clone->flags &= ~(uint32_t)VMM_WIRED;
  vmmi_map_lock_object(clone);
  if (clone->object != NULL)
    vmmi_region_link(clone);
  if (vmmi_region_is_shared(clone))
    error = vmmi_tracker_attach(clone);
  if (error != 0)
    vmmi_region_unlink(clone);
  vmmi_map_unlock_object(clone);
  if (error != 0) {
    vmmi_region_free(clone);
    return error;
  }
  vmmi_region_insert(&child->regions, clone);
  vmmi_count(&child->counters.mapped, clone->end - clone->start);
  return 0;
}

static int clone_regions(struct vmm_space *child,
                         const struct vmmi_region *region)
{
  int error;

  if (region == NULL)
    return 0;
  error = clone_regions(child, region->left);
  if (error == 0)
    error = clone_region(child, region);
  return error != 0 ? error : clone_regions(child, region->right);
}

/* ---- entries ---- */

struct cloning {
  struct vmm_space *child;
  struct vmmi_region *region; /* the child's */
  bool wired;                 /* the parent's is: it keeps its rights */
  bool narrower;              /* some entry of the parent lost SWRITE */
};

/* The frame that the child's entry is to have, held for it. */
static int share_frame(struct cloning *cloning, vmm_addr_t va,
                       vmmi_pte_slot *slot, uint64_t *frame)
{
  vmm_pte_t pte = atomic_load(slot);

  *frame = vmm_pte_frame(pte);
  if (!vmmi_pte_is_private(pte))
    return 0;
  if (!(pte & VMM_PTE_COW) &&
      (cloning->wired || atomic_load(&vmmi_arena_frame(*frame)->refs) > 1))
    return vmmi_page_copy_to(cloning->region, va, *frame, frame);
  vmmi_frame_hold(*frame);
  vmmi_count(&cloning->child->counters.frames, 1);
  while (!atomic_compare_exchange_weak(slot, &pte,
                                       (pte | VMM_PTE_COW) & ~VMM_PTE_SWRITE))
    ;
  cloning->narrower |= (pte & VMM_PTE_SWRITE) != 0;
  return 0;
}

static int clone_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct cloning *cloning = arg;
  struct vmm_space *child = cloning->child;
  vmm_pte_t pte = atomic_load(slot);
  struct vmmi_leaf *leaf;
  uint64_t frame;
  bool own;
  int error;

  if (!(pte & VMM_PTE_PRESENT))
    return 0;
  leaf = vmmi_pagetable_walk(&child->pt, va, true);
  if (leaf == NULL)
    return vmmi_error(-ENOMEM, "fork: page table", ENOMEM);
  error = share_frame(cloning, va, slot, &frame);
  if (error != 0)
    return vmmi_error(error, "fork: copy of a pinned page", 0);
  own = frame != vmm_pte_frame(pte);
  atomic_store(&leaf->pte[vmmi_leaf_index(&child->pt, va)],
               vmm_pte_make(frame, vmmi_region_bits(cloning->region)) |
                   (pte & VMM_PTE_MODIFIED) | (own ? 0 : VMM_PTE_COW));
  return 0;
}

/* => both spaces locked */
static int clone_entries(struct vmm_space *child, struct vmm_space *parent,
                         struct vmmi_region *region)
{
  struct cloning cloning = { .child = child, .region = region };
  vmm_addr_t start = region->start;
  const struct vmmi_region *theirs = vmmi_region_at(parent->regions, start);
  int error;

  if (vmmi_region_is_shared(region))
    return 0; /* found again by the child's own faults */
  cloning.wired = (theirs->flags & VMM_WIRED) != 0;
  vmmi_map_lock_object(region);
  error = vmmi_pagetable_each(&parent->pt, start, region->end, clone_entry,
                              &cloning);
  vmmi_map_unlock_object(region);
  if (cloning.narrower)
    vmmi_window_narrow(parent, start, region->end - start);
  return error;
}

static int clone_all(struct vmm_space *child, struct vmm_space *parent)
{
  struct vmmi_region *region;
  int error = clone_regions(child, parent->regions);

  for (region = vmmi_region_from(child->regions, 0);
       error == 0 && region != NULL;
       region = vmmi_region_from(child->regions, region->end))
    error = clone_entries(child, parent, region);
  child->serial = parent->serial; /* of the regions that came along */
  atomic_store(&child->handler_arg, atomic_load(&parent->handler_arg));
  atomic_store(&child->handler, atomic_load(&parent->handler));
  return error;
}

/* ---- the public side ---- */

int vmm_space_fork(struct vmm_space **child, struct vmm_space *parent)
{
  struct vmm_space *made;
  int error = vmmi_space_check(parent);

  if (error == 0 && child == NULL)
    error = vmmi_error(-EINVAL, "fork: no place for the handle", 0);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  error = vmmi_space_make(&made, &parent->options);
  if (error == 0) {
    vmmi_space_lock(parent);
    error = clone_all(made, parent);
    vmmi_space_unlock(parent);
    if (error != 0)
      vmmi_space_end(made);
  }
  vmmi_thread_leave();
  if (error == 0)
    *child = made;
  return error;
}

int vmm_inherit(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                unsigned inherit)
{
  struct vmmi_cuts cuts = { .count = 0 };
  vmm_addr_t end = va + nbytes;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error == 0 && inherit != VMM_INHERIT_COPY && inherit != VMM_INHERIT_NONE)
    error = vmmi_error(-EINVAL, "inherit: not one of VMM_INHERIT_*", 0);
  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = vmmi_map_cut_out(space, &cuts, va, end);
  for (vmm_addr_t at = va; error == 0 && at < end;) {
    struct vmmi_region *region = vmmi_region_at(space->regions, at);

    vmmi_map_lock_object(region);
    region->flags = inherit == VMM_INHERIT_NONE
                        ? region->flags | VMMI_REGION_NOT_INHERITED
                        : region->flags & ~VMMI_REGION_NOT_INHERITED;
    vmmi_map_unlock_object(region);
    at = region->end;
  }
  if (error == 0)
    vmmi_map_mend(space, va, end);
  vmmi_map_free_cuts(&cuts);
  vmmi_space_unlock(space);
  return error;
}
