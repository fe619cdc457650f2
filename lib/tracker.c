/*
 * Trackers: what the fault path asks, and what those tell who change pages by
 * other means.  tracker_life.c makes and ends them, tracker_fetch.c is the
 * look.
 */
#include "tracker.h"

#include <errno.h>

/* => the space's own tracker in the slot, or NULL.  => space locked */
static struct vmm_tracker *own_tracker(struct vmm_space *space, unsigned slot)
{
  struct vmm_tracker *tracker =
      atomic_load_explicit(&space->trackers[slot], memory_order_acquire);

  return vmmi_tracker_is_claim(tracker) ? NULL : tracker;
}

/* ---- what a tracker watches ---- */

static bool watches_range(const struct vmm_tracker *tracker, uint64_t start,
                          uint64_t nbytes)
{
  return start < tracker->end && start + nbytes > tracker->start;
}

static uint64_t offset_of(const struct vmmi_region *region, vmm_addr_t va)
{
  return region->offset + (va - region->start);
}

static void watch_too(struct vmm_pte_watch *watch,
                      const struct vmm_tracker *tracker, uint64_t start,
                      uint64_t nbytes)
{
  vmm_pte_t bit = VMM_PTE_TRACKER(tracker->slot);

  if (!watches_range(tracker, start, nbytes))
    return;
  watch->all |= bit;
  if (tracker->kind == VMM_TRACK_ACCESS)
    watch->access |= bit;
}

struct vmm_pte_watch vmmi_tracker_watch(const struct vmmi_region *region,
                                        vmm_addr_t va, uint64_t nbytes)
{
  struct vmm_pte_watch watch = { 0 };

  for (unsigned i = 0; i < VMMI_TRACKERS; i++) {
    struct vmm_tracker *tracker = own_tracker(region->space, i);

    if (tracker != NULL)
      watch_too(&watch, tracker, va, nbytes);
  }
  if (!vmmi_region_is_shared(region))
    return watch;
  for (struct vmm_tracker *tracker = region->object->trackers; tracker != NULL;
       tracker = tracker->object_next)
    watch_too(&watch, tracker, offset_of(region, va), nbytes);
  return watch;
}

static bool wants_to_know(const struct vmm_tracker *tracker, uint64_t start,
                          uint64_t nbytes, unsigned access, vmm_pte_t pte)
{
  return tracker->touched != NULL && watches_range(tracker, start, nbytes) &&
         !(pte & VMM_PTE_TRACKER(tracker->slot)) &&
         (tracker->kind == VMM_TRACK_ACCESS || access == VMM_WRITE);
}

struct vmm_tracker *vmmi_tracker_to_tell(const struct vmmi_region *region,
                                         vmm_addr_t va, unsigned access,
                                         vmm_pte_t pte)
{
  uint64_t nbytes = region->space->page_nbytes;

  va = vmmi_align_down(va, nbytes);
  for (unsigned i = 0; i < VMMI_TRACKERS; i++) {
    struct vmm_tracker *tracker = own_tracker(region->space, i);

    if (tracker != NULL && wants_to_know(tracker, va, nbytes, access, pte))
      return tracker;
  }
  if (!vmmi_region_is_shared(region))
    return NULL;
  for (struct vmm_tracker *tracker = region->object->trackers; tracker != NULL;
       tracker = tracker->object_next)
    if (wants_to_know(tracker, offset_of(region, va), nbytes, access, pte))
      return tracker;
  return NULL;
}

/* ---- changes that entries don't show ---- */

static void add_residue(struct vmm_tracker *tracker, uint64_t start,
                        uint64_t nbytes)
{
  uint64_t from = vmmi_max(start, tracker->start);
  uint64_t end = vmmi_min(start + nbytes, tracker->end);

  if (from >= end)
    return;
  pthread_mutex_lock(&tracker->lock);
  vmmi_residue_add(&tracker->residue, from, end - from);
  pthread_mutex_unlock(&tracker->lock);
}

int vmmi_tracker_reserve(struct vmm_space *space)
{
  for (unsigned i = 0; i < VMMI_TRACKERS; i++) {
    struct vmm_tracker *tracker = own_tracker(space, i);
    int error;

    if (tracker == NULL)
      continue;
    pthread_mutex_lock(&tracker->lock);
    /* a move has two ends */
    error = vmmi_residue_reserve(&tracker->residue, 2);
    pthread_mutex_unlock(&tracker->lock);
    if (error != 0)
      return vmmi_error(error, "tracker: malloc", ENOMEM);
  }
  return 0;
}

void vmmi_tracker_note(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  for (unsigned i = 0; i < VMMI_TRACKERS; i++) {
    struct vmm_tracker *tracker = own_tracker(space, i);

    if (tracker != NULL)
      add_residue(tracker, va, nbytes);
  }
}

void vmmi_tracker_note_object(struct vmm_object *object, uint64_t offset,
                              uint64_t nbytes)
{
  for (struct vmm_tracker *tracker = object->trackers; tracker != NULL;
       tracker = tracker->object_next)
    add_residue(tracker, offset, nbytes);
}

/* => 0 */
static int save_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  const struct vmmi_region *region = arg;
  vmm_pte_t pte = atomic_load(slot);

  for (struct vmm_tracker *tracker = region->object->trackers; tracker != NULL;
       tracker = tracker->object_next)
    if (pte & VMM_PTE_TRACKER(tracker->slot))
      add_residue(tracker, offset_of(region, va), region->space->page_nbytes);
  return 0;
}

void vmmi_tracker_save(struct vmmi_region *region, vmm_addr_t va,
                       uint64_t nbytes)
{
  if (vmmi_region_is_shared(region) && region->object->trackers != NULL)
    vmmi_pagetable_each(&region->space->pt, va, va + nbytes, save_entry,
                        region);
}

/* ---- views ---- */

/* => whether the region shows any of [start, end) of the tracker's object */
static bool view_region(const struct vmmi_region *region, uint64_t start,
                        uint64_t end, struct vmmi_tracker_view *view)
{
  uint64_t page = region->space->page_nbytes;
  uint64_t nbytes = region->end - region->start;

  if (!vmmi_region_is_shared(region) || end <= region->offset ||
      start >= region->offset + nbytes)
    return false;
  start = vmmi_max(start, region->offset) - region->offset;
  end = vmmi_min(end - region->offset, nbytes);
  view->space = region->space;
  view->va = vmmi_align_down(region->start + start, page);
  view->end = vmmi_align_up(region->start + end, page);
  view->shift = region->offset - region->start;
  return true;
}

void vmmi_tracker_each_view(struct vmm_tracker *tracker, uint64_t start,
                            uint64_t end, vmmi_tracker_visit *visit, void *arg)
{
  struct vmmi_tracker_view view = { tracker->space, start, end, 0 };

  if (tracker->space != NULL) {
    visit(tracker, &view, arg);
    return;
  }
  for (struct vmmi_region *region = tracker->object->regions; region != NULL;
       region = region->object_next)
    if (view_region(region, start, end, &view))
      visit(tracker, &view, arg);
}
