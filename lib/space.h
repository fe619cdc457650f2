/*
 * Spaces, inside: the regions, the page table, the windows, and what hangs on
 * them.
 *
 * Lock order: space lock (shared by faults and queries, exclusive for what
 * changes regions) -> object lock -> leaf lock -> window lock -> TLB lock;
 * notify lock, a leaf.  HACKING has the others between and beside them.  All
 * are taken inside vmmi_thread_enter().  Layer 3.
 *
 * Fields: (c) constant, (s) space lock, (a) atomic, (n) notify lock.
 */
#ifndef VMMI_SPACE_H
#define VMMI_SPACE_H

#include <pthread.h>

#include <vmm/vmm.h>

#include "pagetable.h"
#include "region.h"
#include "thread.h"
#include "window.h"

struct vmmi_tlb;

#define VMMI_TRACKERS 8
#define VMMI_LEAF_LOCKS 16

struct vmmi_counters {
  _Atomic uint64_t faults_read, faults_write, faults_exec;
  _Atomic uint64_t repaired, spurious, handled, unresolved;
  _Atomic uint64_t zero_fills, zero_maps, copies;
  _Atomic uint64_t saved, restored; /* pages, for snapshots */
  _Atomic uint64_t paged; /* accesses that needed a pager */
  _Atomic uint64_t performed;       /* accesses, by software */
  _Atomic uint64_t host_calls, installed, narrowed, flushes, invalidations;
  _Atomic uint64_t frames; /* now */
  _Atomic uint64_t mapped; /* now */
};

struct vmm_space {
  _Atomic unsigned magic; /* (a) VMMI_SPACE_MAGIC while it lives */
  _Atomic bool ending;    /* (a) destroy looks whether harts run it */
  uint64_t size;          /* (c) */
  uint64_t page_nbytes;   /* (c) */
  unsigned page_shift;    /* (c) */
  unsigned page_frames;   /* (c) frames a page */
  uint32_t flags;         /* (c) VMM_EXACT, VMM_CHECKED */
  uint64_t max_frames;    /* (c) 0: no limit */
  struct vmm_space_options options; /* (c) that it was made with, for a fork */

  pthread_rwlock_t lock;
  struct vmmi_region *regions; /* (s) */
  struct vmmi_pagetable pt;
  pthread_mutex_t leaf_locks[VMMI_LEAF_LOCKS]; /* by chunk number */

  struct vmmi_window window;   /* the shared one */
  _Atomic(struct vmmi_window_table *) table; /* harts'; NULL: never any */

  pthread_mutex_t tlb_lock;
  _Atomic(struct vmmi_tlb *) tlbs; /* changed with tlb_lock */

  /* Slot i: the tracker whose bit is VMM_PTE_TRACKER(i).  Claimed by
   * compare-and-swap; a tracker of the space is set under the space's lock, one
   * of an object under the object's. */
  _Atomic(struct vmm_tracker *) trackers[VMMI_TRACKERS];

  struct vmm_snapshot *snapshots; /* (s) the latest first */
  _Atomic(struct vmm_watch *) watches; /* (s) tree; NULL: seen unlocked too */

  pthread_mutex_t notify_lock;
  struct vmm_notifier *notifiers; /* (n) */

  _Atomic(vmm_fault_handler *) handler;
  _Atomic(void *) handler_arg;
  _Atomic unsigned users; /* pins, trackers, snapshots, watches */
  uint64_t serial;        /* (s) of the last region */
  struct vmm_space *next_free; /* the list of dead spaces, for reuse */
  struct vmmi_counters counters;
};

#define VMMI_SPACE_MAGIC 0x766d6d73u

/* => whether host code reaches the space through a window */
static inline bool vmmi_space_has_window(const struct vmm_space *space)
{
  return !(space->flags & VMM_CHECKED);
}

/* => -EINVAL for NULL or a handle used after destroy, -ESTALE in a child of
 *    fork, else 0 */
int vmmi_space_check(const struct vmm_space *space);
/* As above, and -EINVAL for a range that is empty, not aligned to the page,
 * wraps, or leaves the space. */
int vmmi_space_check_range(const struct vmm_space *space, vmm_addr_t va,
                           uint64_t nbytes);

/* Around everything that needs the space's lock; vmmi_thread_enter()
 * included. */
void vmmi_space_lock_shared(struct vmm_space *space);
void vmmi_space_lock(struct vmm_space *space);
void vmmi_space_unlock(struct vmm_space *space);

pthread_mutex_t *vmmi_space_leaf_lock(struct vmm_space *space, vmm_addr_t va);

/* => whether the entry holds a frame of the space's own: not the zero frame,
 *    nor one that an object owns */
static inline bool vmmi_pte_is_private(vmm_pte_t pte)
{
  uint64_t frame = vmm_pte_frame(pte);

  return (pte & VMM_PTE_PRESENT) && frame != VMMI_ZERO_FRAME &&
         vmmi_arena_owns(frame) &&
         atomic_load_explicit(&vmmi_arena_frame(frame)->refs,
                              memory_order_relaxed) != 0;
}

/* The entry has gone: gives its frame up, if it is private, and counts it. */
void vmmi_space_release_frame(struct vmm_space *space, vmm_pte_t pte,
                              struct vmmi_free_batch *batch);

/* vmm_space_create() and vmm_space_destroy() without signals and checks.
 * => inside vmmi_thread_enter() */
int vmmi_space_make(struct vmm_space **space,
                    const struct vmm_space_options *options);
void vmmi_space_end(struct vmm_space *space);

/* => how many spaces there are: signals may be chosen or removed at 0 only */
unsigned vmmi_space_count(void);

/* ---- code.c ---- */

/* Tells the space's notifiers.  => any locks but notify may be held;
 *    signal-safe */
void vmmi_code_notify(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);

/* => whether somebody may keep what he fetched from the page; SEXEC alone does
 *    not tell, since it goes when the page gets old */
bool vmmi_code_may_be(vmm_pte_t pte);
/* => whether any of a page's frames is code: smaller pages may have shown
 *    them */
bool vmmi_code_is(uint64_t frame, unsigned nframes);

/*
 * The frame of the page's entry is about to be written: if it is code, clears
 * SEXEC in every mapping of it, narrows, tells the notifiers.
 * => the leaf locked, and the region's object, if it has one; signal-safe
 */
void vmmi_code_forget(struct vmmi_region *region, vmm_addr_t va, vmm_pte_t pte);

/*
 * The page's frame is about to be cached as code: takes the silent write right
 * from every mapping of it.
 * => whether writers will tell; false if a pin, or a wired mapping, may be
 *    written at any time
 * => as above
 */
bool vmmi_code_note(struct vmmi_region *region, vmm_addr_t va, uint64_t frame);

static inline void vmmi_count(_Atomic uint64_t *counter, uint64_t n)
{
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed); /* a statistic */
}

#endif
