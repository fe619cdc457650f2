/*
 * New mappings without a shootdown.  A window may hold invalid entries: it
 * remembers that an access failed, because nothing is mapped there or the
 * region lacks the right, and reports the next one at once, without a walk.
 *
 * Whoever makes a mapping visible sets a mark in each such window of the space,
 * with the range that is pending, and touches it no further.  A fault in a
 * window that is marked takes the mark before it takes a lock or looks anything
 * up, drops the invalid entries, installs what is pending of what the page
 * table grants, and only then is resolved: one free retry for each mark.
 *
 *   mark   31 first 0 31 beyond the last 0
 *          in units of the space's size / 2^31, or of its page; 0: not marked
 *
 * The order: the region is there, then the mark; the mark is taken, then
 * invalid entries are dropped, then regions are looked up.  An entry is
 * remembered while the space is locked, so that who changes the regions marks
 * the window later.  Marks are set by anybody and taken only by the hart's own
 * thread; both atomically.  Entries are the thread's alone; another one that
 * touches the window passes them by.
 *
 * In an eager window, for comparison, each new mapping drops the entries
 * itself, under the window's lock: a shootdown.  Layer 4.
 */
#ifndef VMMI_LAZY_H
#define VMMI_LAZY_H

#include "resolve.h"

/* => what a window needs to hold invalid entries, or NULL; it lives for ever */
struct vmmi_lazy *vmmi_lazy_new(void);

/* Forgets all: the window is a new one, or of another space.  NULL is
 * allowed. */
void vmmi_lazy_begin(struct vmmi_lazy *lazy, bool eager);
/* Drops the invalid entries alone. */
void vmmi_lazy_flush(struct vmmi_lazy *lazy);

/* Regions of the range, their rights or handlers, have changed.
 * => space locked; signal-safe */
void vmmi_lazy_note_windows(struct vmm_space *space, vmm_addr_t va,
                            uint64_t nbytes);

static inline void vmmi_lazy_note(struct vmm_space *space, vmm_addr_t va,
                                  uint64_t nbytes)
{
  if (vmmi_unlikely(atomic_load(&space->table) != NULL))
    vmmi_lazy_note_windows(space, va, nbytes);
}

/* A fault begins in a window that may hold invalid entries.
 * => 0, or -EFAULT with what resolve says of it
 * => no lock held; signal-safe */
int vmmi_lazy_take(struct vmmi_request *request);

static inline int vmmi_lazy_arrive(struct vmmi_request *request)
{
  if (vmmi_likely(request->window == NULL || request->window->lazy == NULL))
    return 0;
  return vmmi_lazy_take(request);
}

/* A fault was not repaired.  => space locked; signal-safe */
void vmmi_lazy_remember(const struct vmmi_request *request);

#endif
