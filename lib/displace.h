/*
 * Displaced instructions: the page that a guest thread runs them from, and what
 * a context that was interrupted there stands for.  vmmi_thread_self.displacer
 * is the current guest thread's.  Layer 5.
 */
#ifndef VMMI_DISPLACE_H
#define VMMI_DISPLACE_H

#include <vmm/displace.h>

#include "arch.h"

/*
 * One page, executable at code and written at alias, in slots of one
 * instruction.  Only the thread that runs it uses it, and its handlers, which
 * may come in between any two steps: a slot is taken by one addition, and named
 * last.
 */
struct vmmi_displacer {
  char *code;   /* NULL: not made yet */
  char *alias;
  uint64_t run; /* of the arena, that the page is the first of */
  _Atomic unsigned next;
  struct vmmi_arch_displaced *slot;
};

/* Gives the page back, if there is one.  => nobody runs in it; inside enter */
void vmmi_displacer_end(struct vmmi_displacer *displacer);

/* Its code in a copy of the process, where it was: mappings are not inherited.
 * -ENOMEM */
int vmmi_displacer_inherit(struct vmmi_displacer *displacer);

/* The trap of an instruction that needs a second step: takes it.
 * => whether it was that; signal-safe */
bool vmmi_displace_trap(void *context);

/* As vmm_displace_rollback(); *length is that of the instruction, or 0 where it
 * has been executed.  => signal-safe */
bool vmmi_displace_rollback(void *context, size_t *length);

#endif
