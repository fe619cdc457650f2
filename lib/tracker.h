/*
 * Trackers, inside: a tracker owns one slot, the same bit of every entry that
 * it watches: in its space, or in each space that maps its object shared.  What
 * its bits can't hold, pages changed while no entry was there, lies in its
 * residue.
 *
 * Locks: a space's tracker under the space's lock (fetch: shared), an object's
 * under the object's; the residue under its own mutex, a leaf.  Layer 3: the
 * fault path asks it.
 */
#ifndef VMMI_TRACKER_H
#define VMMI_TRACKER_H

#include "residue.h"
#include "space.h"

struct vmm_tracker {
  unsigned kind;             /* (c) VMM_TRACK_WRITE, VMM_TRACK_ACCESS */
  unsigned slot;             /* (c) */
  struct vmm_space *space;   /* (c) or NULL */
  struct vmm_object *object; /* (c) held; or NULL */
  vmm_addr_t start, end;     /* (c) in the space or the object */
  void (*touched)(struct vmm_tracker *, vmm_addr_t, void *); /* (c) */
  void *arg;                 /* (c) */
  struct vmm_tracker *object_next; /* (o) */
  pthread_mutex_t lock;
  struct vmmi_residue residue; /* (l) */
};

/* ---- for the fault path ---- */

/* The trackers that watch any page of [va, va + nbytes) of the region.
 * => space locked, and the object if the region is shared; signal-safe */
struct vmm_pte_watch vmmi_tracker_watch(const struct vmmi_region *region,
                                        vmm_addr_t va, uint64_t nbytes);

/* A tracker that has a callback and a clear bit in pte, for this access; or
 * NULL.
 * => as vmmi_tracker_watch() */
struct vmm_tracker *vmmi_tracker_to_tell(const struct vmmi_region *region,
                                         vmm_addr_t va, unsigned access,
                                         vmm_pte_t pte);

/* ---- for what changes regions ---- */

/*
 * The content of [va, va + nbytes) changes by other means than an access while
 * its entries go away (unmap, map over, move): every tracker of the space that
 * watches the range will report it.  Reserve first, before anything is changed;
 * note can't fail.
 * => space locked
 */
int vmmi_tracker_reserve(struct vmm_space *space);
void vmmi_tracker_note(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);

/*
 * The entries of [va, va + nbytes) of a shared region go away, its object stays
 * as it is: the bits of the object's trackers that are set there move to their
 * residue.  To be called before the entries are cleared.
 * => space and object locked
 */
void vmmi_tracker_save(struct vmmi_region *region, vmm_addr_t va,
                       uint64_t nbytes);

/* The region, linked to its object just now, gets the slots of the object's
 * trackers in its space, or gives them up where it was the last one of them.
 * => space and object locked; -ENOSPC */
int vmmi_tracker_attach(struct vmmi_region *region);
void vmmi_tracker_detach(struct vmmi_region *region);

/* ---- for pins ---- */

/* A range of the object was written by a way that no entry shows.
 * => object locked */
void vmmi_tracker_note_object(struct vmm_object *object, uint64_t offset,
                              uint64_t nbytes);

/* ---- between the files of trackers ---- */

/* Where a stretch of what is tracked is seen: whole pages of one space's
 * table. */
struct vmmi_tracker_view {
  struct vmm_space *space;
  vmm_addr_t va, end;
  uint64_t shift; /* va + shift is the tracked address; wraps */
};

typedef void vmmi_tracker_visit(struct vmm_tracker *tracker,
                                const struct vmmi_tracker_view *view,
                                void *arg);

/* Calls visit for each view of [start, end) of the tracker.
 * => space or object locked */
void vmmi_tracker_each_view(struct vmm_tracker *tracker, uint64_t start,
                            uint64_t end, vmmi_tracker_visit *visit, void *arg);

/* What an object's tracker puts into its slot of each space: never followed. */
static inline struct vmm_tracker *
vmmi_tracker_claim(const struct vmm_tracker *tracker)
{
  return (struct vmm_tracker *)((uintptr_t)tracker | 1);
}

static inline bool vmmi_tracker_is_claim(const struct vmm_tracker *tracker)
{
  return (uintptr_t)tracker & 1;
}

/* => the entry without the tracker's bit */
static inline vmm_pte_t vmmi_tracker_cleared(const struct vmm_tracker *tracker,
                                             vmm_pte_t pte)
{
  vmm_pte_t bit = VMM_PTE_TRACKER(tracker->slot);
  struct vmm_pte_watch watch = { tracker->kind == VMM_TRACK_ACCESS ? bit : 0,
                                 bit };

  return vmm_pte_untrack(pte, bit, watch);
}

#endif
