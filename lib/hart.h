/*
 * Harts, inside.  A hart is its thread's: fields without a letter are changed and
 * read by it alone.  Others read what is atomic, at any time: records of harts are
 * reused for nothing else.
 *
 *   hart -> tag -> window     window_table: space, hart -> context (generation, tag)
 *
 * A tag that was given has a window over its space, until the next generation begins
 * or the space is destroyed.
 *
 * What the fault path must know of a hart stands here; hart.c is of layer 6.  Layer 3.
 */
#ifndef VMMI_HART_H
#define VMMI_HART_H

#include <vmm/hart.h>

#include "asid.h"
#include "window.h"

#define VMMI_HART_TAGS 256

struct vmm_guest_thread;

struct vmmi_hart_counters {
  _Atomic uint64_t switches, live, tags, rollovers, flushes, flushed;
  _Atomic uint64_t negatives, refused, retries;
  _Atomic uint64_t marks, shootdowns; /* by anybody */
  _Atomic uint64_t closed_calls; /* host calls on windows that it has no longer */
};

struct vmm_hart {
  _Atomic unsigned magic; /* VMMI_HART_MAGIC while it lives */
  _Atomic unsigned number; /* (c) */
  uint32_t flags;         /* (c) VMM_HART_WINDOWS ... */
  enum vmmi_view view;    /* (c) of the windows that it runs on */
  uint64_t window_size;   /* (c) */
  struct vmmi_asids asids;
  _Atomic uint64_t context;    /* of the space that it runs; 0: none */
  _Atomic uint64_t generation;
  struct vmm_space *space;     /* that it runs, or NULL */
  char *base;
  struct vmm_guest_thread *own;              /* (c) */
  _Atomic(struct vmm_guest_thread *) thread; /* that it runs, or NULL */
  _Atomic bool shows; /* its windows may show a thread's trampoline page */
  /* by tag; NULL: not reserved yet */
  _Atomic(struct vmmi_window *) windows[VMMI_HART_TAGS][VMMI_VIEWS];
  struct vmmi_hart_counters counters;
  struct vmm_hart *next_free;
};

#define VMMI_HART_MAGIC 0x766d6d68u

/* In a copy of the process: harts of threads that are gone end; 0 */
int vmmi_hart_fork_child(void);

/* => -EINVAL, -ESTALE, -EPERM unless it is the calling thread's; else 0 */
int vmmi_hart_check(const struct vmm_hart *hart);

/* A counter of the hart's that its own thread raises. */
static inline void vmmi_hart_count(_Atomic uint64_t *counter)
{
  /* relaxed, and no locked instruction: nobody else writes it */
  uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);

  atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

#endif
