/*
 * What map, protect, move and wire share: cutting regions at the ends of a
 * range, and taking a range out of a space.  Layer 4.
 */
#ifndef VMMI_MAP_H
#define VMMI_MAP_H

#include "resolve.h"

/* Spare regions for the cuts of one call, so that cutting can't fail. */
struct vmmi_cuts {
  struct vmmi_region *spare[4];
  unsigned count;
};

/* Gets what vmmi_map_cut() may need at these two addresses.  -ENOMEM
 * => space locked */
int vmmi_map_prepare_cuts(struct vmm_space *space, struct vmmi_cuts *cuts,
                          vmm_addr_t va, vmm_addr_t end);
/* A region that goes over va becomes two that meet there. */
void vmmi_map_cut(struct vmm_space *space, struct vmmi_cuts *cuts,
                  vmm_addr_t va);
void vmmi_map_free_cuts(struct vmmi_cuts *cuts);
/* Pieces of one mapping that are alike again, within [va, end] and at its ends,
 * become one. */
void vmmi_map_mend(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* => whether regions cover all of the range */
bool vmmi_map_covers(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* The range, which must be covered, becomes regions of its own.
 * -ENOMEM, and nothing is cut */
int vmmi_map_cut_out(struct vmm_space *space, struct vmmi_cuts *cuts,
                     vmm_addr_t va, vmm_addr_t end);

/* The region's object, if it has one, locked while the region's fields
 * change. */
void vmmi_map_lock_object(struct vmmi_region *region);
void vmmi_map_unlock_object(struct vmmi_region *region);

/* Takes the silent bits from an entry, for vmmi_pagetable_each(); sets the bool
 * at code if it may have been decoded. */
int vmmi_map_silence_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *code);
/* Takes all silent bits from the range's entries, and the range from the
 * windows; tells the notifiers of code.  What follows may change entries and
 * frames.
 * => space locked */
void vmmi_map_silence(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* Gives a region, its entries and the windows these rights, and the entries
 * what the region's flags say of whose it is; tells the notifiers.
 * => space locked */
void vmmi_map_set_rights(struct vmm_space *space, struct vmmi_region *region,
                         uint32_t rights);

/* Gets what unmapping the range may need in trackers and snapshots.  -ENOMEM
 * => space locked */
int vmmi_map_prepare_remove(struct vmm_space *space, vmm_addr_t va,
                            vmm_addr_t end);
/* Unmaps the range, whose ends are cut; vmmi_map_prepare_remove() was called.
 * => space locked */
void vmmi_map_remove(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* vmm_map() of what was checked; flags may have VMM_TRAMPOLINE besides.
 * => space locked */
int vmmi_map_locked(struct vmm_space *space, vmm_addr_t *va, uint64_t nbytes,
                    const struct vmm_map_options *options);

/* Leaves of the range that have no entry any more give up their run, and the
 * windows their place for it.  => space locked */
void vmmi_map_drop_runs(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* Links a new region to its object, if it has one; not yet to the space.
 * -EINVAL  a space with another page size maps the object;  -ENOSPC  trackers
 * => space locked */
int vmmi_map_join(struct vmmi_region *region);
/* Ends a region that is not, or no longer, in its space.  => space locked */
void vmmi_map_forget(struct vmmi_region *region);

/* -EINVAL for a range that a mapping of the object (NULL: none) can't show */
int vmmi_map_check_object(const struct vmm_space *space,
                          const struct vmm_object *object, uint64_t offset,
                          uint64_t nbytes);

/* -EINVAL -EACCES -ENOTSUP for rights that a mapping of the object can't
 *          have */
int vmmi_map_check_rights(const struct vmm_space *space,
                          const struct vmm_object *object, uint32_t flags,
                          uint32_t rights);

/* Brings every page of the range in with all the rights that its regions have.
 * -ENOMEM, -EACCES, -EIO
 * => no lock held */
int vmmi_wire_populate(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* The same for what is wired of the range: something took rights from its pages
 * that they are to have.  Where it fails they are not wired any more.
 * => 0, or the first error; no lock held */
int vmmi_wire_again(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end);

/* In a copy of the process: the same for every space.  => nobody else is
 * there */
int vmmi_wire_fork_child(void);

#endif
