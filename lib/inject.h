/*
 * Failing on purpose, from the inside: os_*.c ask before each call of the host.
 * Layer 0.
 */
#ifndef VMMI_INJECT_H
#define VMMI_INJECT_H

#include <vmm/test.h>

#include "base.h"

/* Counts a call.  => whether it is to fail; signal-safe */
bool vmmi_inject(enum vmm_test_call call);

/* Steps of a writer that faults and of a cleaner, with no lock but the space's,
 * shared: where a test may stop a thread. */
enum vmmi_step {
  VMMI_STEP_CLASSIFIED, /* the region is known */
  VMMI_STEP_PROMOTED,   /* the entry grants the access, the window not yet */
  VMMI_STEP_INSTALLED,  /* the window too */
  VMMI_STEP_CLEARED,    /* entries are clean, the windows not yet */
  VMMI_STEP_NARROWED,   /* the windows too; nothing was reported yet */
  /* with the object's lock held: of a pager that takes a page */
  VMMI_STEP_TAKEN,     /* entries of a region no longer grant it, windows may */
  VMMI_STEP_PROTECTED, /* nobody may write it; it is about to be written back */
  VMMI_STEP_DROPPED,   /* nobody shows it; its bytes are there */
  /* of new mappings (lazy.c): */
  VMMI_STEP_MARK_TAKEN, /* a fault has taken a mark; no lock is held */
  VMMI_STEP_MARKING,   /* a window is about to be; space locked exclusively */
  /* with the window's lock held */
  VMMI_STEP_SHOWING, /* it says whose trampoline page it is about to show */
};

/* NULL outside tests. */
extern _Atomic(void (*)(enum vmmi_step step)) vmmi_inject_stopper;

static inline void vmmi_inject_step(enum vmmi_step step)
{
  void (*stopper)(enum vmmi_step) =
      atomic_load_explicit(&vmmi_inject_stopper, memory_order_acquire);

  if (vmmi_unlikely(stopper != NULL))
    stopper(step);
}

#endif
