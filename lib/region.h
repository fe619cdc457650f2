/*
 * Regions: which object a range of a space shows, with which rights.  A space
 * keeps them in a treap ordered by address (priorities are a hash of the start:
 * the expected depth is logarithmic whatever the order of insertion).
 * => the space's lock guards the tree and the fields; those of a region with an
 *    object are changed with the object's lock held too.  Layer 3.
 */
#ifndef VMMI_REGION_H
#define VMMI_REGION_H

#include <vmm/fault.h>
#include <vmm/types.h>

#include "object.h"
#include "pagetable.h"

struct vmmi_region {
  vmm_addr_t start, end;
  struct vmm_space *space;
  struct vmm_object *object; /* held; NULL: private memory */
  uint64_t offset;           /* of start, in the object */
  uint32_t rights;           /* VMM_READ ... */
  uint32_t flags;            /* VMM_PRIVATE ... VMM_EXACT, VMM_SUPERVISOR */
  void *cookie;
  vmm_fault_handler *handler;
  void *handler_arg;
  _Atomic uint64_t faults_read, faults_write, faults_exec;
  _Atomic uint64_t repaired, spurious, unresolved;
  uint64_t serial; /* of the call that mapped it: pieces of one may merge */
  struct vmmi_region *left, *right; /* the treap */
  uint64_t priority;
  vmm_addr_t first, last; /* of its subtree: lowest start, highest end, */
  uint64_t gap;           /* and the widest gap between two neighbours */
  struct vmmi_region *object_next; /* (o) */
  struct vmmi_region **object_link;
};

/* In flags, beside VMM_PRIVATE ... VMM_EXACT */
#define VMMI_REGION_NOT_INHERITED (1u << 31)

/* The tree at *root; start and end are changed only outside it. */
struct vmmi_region *vmmi_region_at(struct vmmi_region *root, vmm_addr_t va);
/* => the region that holds va, or else the next above it */
struct vmmi_region *vmmi_region_from(struct vmmi_region *root, vmm_addr_t va);
void vmmi_region_insert(struct vmmi_region **root, struct vmmi_region *region);
void vmmi_region_remove(struct vmmi_region **root, struct vmmi_region *region);

/* => the lowest multiple of align at or above from with nbytes free below
 *    limit; UINT64_MAX if there is none */
vmm_addr_t vmmi_region_place(struct vmmi_region *root, vmm_addr_t from,
                             vmm_addr_t limit, uint64_t nbytes, uint64_t align);

/* => a zeroed region, or NULL; like all of metadata it may be taken, and given
 *    back, in signal context */
struct vmmi_region *vmmi_region_new(void);
/* Makes *to like *from, unlinked, counters 0, with a hold of its own on the
 * object. */
void vmmi_region_copy(struct vmmi_region *to, const struct vmmi_region *from);
/* Gives up the hold and the memory; NULL is allowed. */
void vmmi_region_free(struct vmmi_region *region);

/* Links it to, or unlinks it from, its object.  => object locked */
void vmmi_region_link(struct vmmi_region *region);
void vmmi_region_unlink(struct vmmi_region *region);

/* => the bits that an entry of the region has of it: rights, whose it is */
static inline vmm_pte_t vmmi_region_bits(const struct vmmi_region *region)
{
  return vmmi_pte_rights(region->rights) |
         (region->flags & VMM_SUPERVISOR ? VMM_PTE_SUPERVISOR : 0);
}

/* => whether writes reach the object */
static inline bool vmmi_region_is_shared(const struct vmmi_region *region)
{
  return region->object != NULL && !(region->flags & VMM_PRIVATE);
}

/* => whether its accesses are given to callbacks */
static inline bool vmmi_region_is_device(const struct vmmi_region *region)
{
  return region->object != NULL && region->object->device != NULL;
}

#endif
