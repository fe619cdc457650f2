/*
 * Guarded calls: the frame of one, on the stack of its caller, and how a fault
 * ends it.  guard.c calls, guard_inside.c runs in signal context.  Layer 5.
 */
#ifndef VMMI_GUARD_H
#define VMMI_GUARD_H

#include <vmm/guard.h>

#include "hart.h"

struct vmmi_guard {
  struct vmmi_guard *outer; /* of the same thread */
  void *sp;                 /* where the way back is; NULL: not begun yet */
  uint32_t flags;           /* VMM_GUARD_* */
  unsigned nofault;         /* the thread's, at the call */
  struct vmm_hart *hart;    /* the thread's, at the call; and its view */
  struct vmm_view_saved view;
  struct vmmi_span stack;   /* of its own; end 0: none */
  struct vmmi_span overflow; /* below that stack */
  sigset_t mask;            /* at the call, for VMM_GUARD_MASK */
  struct vmm_fault fault;   /* what ended it */
};

/*
 * Ends the innermost guarded call that takes the fault: the context goes on
 * where it was called.  covered: the fault is a window's, or of registered
 * code.
 * => whether there was one
 * => no lock held; signal context only
 */
bool vmmi_guard_end(void *context, const struct vmm_fault *fault, bool covered);

/* Gives the guarded call its record, and the thread what it had at the call.
 * => signal-safe */
void vmmi_guard_unwind(struct vmmi_guard *guard, const struct vmm_fault *fault);

/* => whether a stack of the calling thread overflows to that address: its own,
 *    if it is attached, or a guarded call's; signal context only */
bool vmmi_guard_is_overflow(uintptr_t host);

#endif
