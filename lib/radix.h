/*
 * A sparse array of pointers in two levels, indexed by chunk number: what the
 * page table's leaves and a window's records hang in.  Slots are filled once,
 * by compare-and-swap, and read without a lock.  Layer 2.
 */
#ifndef VMMI_RADIX_H
#define VMMI_RADIX_H

#include "base.h"

typedef _Atomic(void *) vmmi_radix_slot;

struct vmmi_radix {
  _Atomic(vmmi_radix_slot *) *top; /* (c) */
  uint64_t count;                  /* (c) of slots */
};

/* -ENOMEM */
int vmmi_radix_init(struct vmmi_radix *radix, uint64_t count);
/* The caller has freed what the slots hold. */
void vmmi_radix_end(struct vmmi_radix *radix);

/* => what slot i holds, or NULL; signal-safe */
void *vmmi_radix_get(const struct vmmi_radix *radix, uint64_t i);

/*
 * => what slot i holds, made by make(arg) if it was empty (and undone by unmake
 *    if another thread was first), or NULL without memory; signal-safe in enter
 */
void *vmmi_radix_make(struct vmmi_radix *radix, uint64_t i,
                      void *(*make)(const void *arg),
                      void (*unmake)(void *made, const void *arg),
                      const void *arg);

/* => the first thing held in [*i, end), with *i its slot; NULL if none */
void *vmmi_radix_next(const struct vmmi_radix *radix, uint64_t *i,
                      uint64_t end);

#endif
