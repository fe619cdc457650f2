/*
 * Promoting pages: from what an entry is to what an access needs it to be: a
 * frame (zeros, the object's, a copy), young, dirty, silent.  The part of the
 * fault path that changes entries.  Layer 4.
 */
#ifndef VMMI_PAGE_H
#define VMMI_PAGE_H

#include "resolve.h"

/* Pages of one region and one leaf. */
struct vmmi_page_range {
  struct vmmi_region *region;
  struct vmmi_leaf *leaf;
  vmm_addr_t va;
  unsigned npages;
};

/* The locks of what decides about these pages: the region's object, the
 * leaf. */
void vmmi_page_lock(const struct vmmi_page_range *range);
void vmmi_page_unlock(const struct vmmi_page_range *range);

/*
 * => whether the page's entry lets the request's access pass: the silent bit is
 *    there, or would be but for a watch, which sets request->software
 * => pages locked
 */
bool vmmi_page_grants(const struct vmmi_page_range *range,
                      struct vmmi_request *request, vmm_pte_t pte);

/* => whether silent bits may be granted for the whole chunk (rule 13).
 * => pages locked */
bool vmmi_page_is_coarse(const struct vmmi_page_range *range,
                         const struct vmmi_request *request);
/* Makes the range all of the chunk that lies in the region. */
void vmmi_page_widen(struct vmmi_page_range *range);

/* The page is a pager's, and has to be waited for. */
#define VMMI_PAGE_AWAY 2

/*
 * Makes the request's access to the page at range->va silent, and widens the
 * range to what became silent with it at no price (rule 13: coarse ranges).
 * => 0; VMMI_PAGE_AWAY; -ENOMEM, -EIO with the request's reason set, and
 *    nothing changed
 * => pages locked; signal-safe
 */
int vmmi_page_promote(struct vmmi_page_range *range,
                      struct vmmi_request *request);

/* A frame of the region's space for the page at va, with the bytes of from.
 * -ENOMEM, -EIO
 * => space locked, nobody else uses it */
int vmmi_page_copy_to(struct vmmi_region *region, vmm_addr_t va, uint64_t from,
                      uint64_t *frame);

#endif
