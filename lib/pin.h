/*
 * Held pages: what a copy, a single access or a pin uses while no lock is held.
 * A held page's frame stays that of the page's bytes, and a page held for
 * writing reads dirty to every tracker and is never code.  Layer 5.
 *
 *   vmmi_pin_page    resolve, hold the frame, count a writer     (space locked)
 *   ...              the bytes are read or written by the alias  (no lock)
 *   vmmi_unpin_page  dirty once more, uncount, release           (space locked)
 */
#ifndef VMMI_PIN_H
#define VMMI_PIN_H

#include "resolve.h"

struct vmmi_held {
  struct vmm_space *space;
  vmm_addr_t va;             /* of the page */
  uint64_t frame;
  struct vmm_object *object; /* that owns the frame, held; or NULL */
  uint64_t offset;           /* of the page, in the object */
  bool writing;
  bool paged;                /* a pager keeps the page ... */
  bool pinned;               /* ... for a pin */
};

/*
 * Brings the page of va in and holds it; access is VMM_READ or VMM_WRITE, flags
 * may be VMMI_RESOLVE_PIN.  With faults disabled it asks nobody.
 * => 0; 1 skip; VMMI_RESOLVE_DEVICE; -EFAULT -ENOMEM -EIO.  No lock held before
 *    or after.
 */
int vmmi_pin_page(struct vmm_space *space, vmm_addr_t va, unsigned access,
                  unsigned flags, struct vmmi_held *held);
void vmmi_unpin_page(struct vmmi_held *held);

/* => the byte of va, in the page that is held */
static inline char *vmmi_pin_pointer(const struct vmmi_held *held,
                                     vmm_addr_t va)
{
  return vmmi_arena_pointer(held->frame) + (va - held->va);
}

#endif
