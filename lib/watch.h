/*
 * Watchpoints, inside: a treap by (start, serial) in the space, in which each
 * node knows the last byte of its subtree, so that what meets a range is found
 * in logarithmic time.  Changed with the space locked exclusively.  Layer 3.
 */
#ifndef VMMI_WATCH_H
#define VMMI_WATCH_H

#include <vmm/watch.h>

#include "space.h"

struct vmm_watch {
  unsigned magic;
  struct vmm_space *space;
  vmm_addr_t start, end; /* bytes */
  uint64_t serial;       /* of those with one start, the order of telling */
  uint32_t access;
  uint32_t when;
  vmm_watch_function *function;
  void *arg;
  struct vmm_watch *left, *right;
  uint64_t priority;
  vmm_addr_t last; /* highest end of its subtree */
};

/* => the accesses that are watched of any byte of the range; space locked */
unsigned vmmi_watch_kinds(struct vmm_space *space, vmm_addr_t va,
                          uint64_t nbytes);

/* => the silent bits that a page there may not have, shifted as in
 *    vmm_pte_watch.all.  Host pages have no reading without the right to be
 *    asked before a write, nor (x86) running without reading: so a watch of
 *    reads denies all.  => space locked; signal-safe */
vmm_pte_t vmmi_watch_stops(struct vmm_space *space, vmm_addr_t va,
                           uint64_t nbytes);

/*
 * Tells the watches of event->when that the access meets.
 * => 0; -EFAULT one refuses it (before only)
 * => no lock held; signal-safe as far as the callbacks are
 */
int vmmi_watch_tell(const struct vmm_watch_event *event);

/* Into the tree, out of it.  => space locked exclusively */
void vmmi_watch_insert(struct vmm_watch *watch);
void vmmi_watch_take(struct vmm_watch *watch);

/* For the checker and dumps: the next one after watch that meets the range, in
 * order; NULL begins, and ends.  => space locked */
const struct vmm_watch *vmmi_watch_next(struct vmm_space *space,
                                        const struct vmm_watch *watch,
                                        vmm_addr_t va, uint64_t nbytes);
/* => how many; space locked.  For the checker: -EPROTO is for it to say */
unsigned vmmi_watch_count(struct vmm_space *space);
bool vmmi_watch_valid(struct vmm_space *space);

#endif
