/*
 * What the files of windows share: the record, and how it is changed.  Layer 3.
 */
#ifndef VMMI_WINDOW_RECORD_H
#define VMMI_WINDOW_RECORD_H

#include "backend.h"
#include "space.h"
#include "window.h"

struct vmmi_window_chunk {
  uint64_t run;     /* what pages of kind RUN show; VMMI_NO_RUN: none do */
  uint32_t mapped;  /* pages whose kind is not NONE */
  uint32_t wired;   /* pages with VMMI_RECORD_WIRED */
  uint8_t page[];
};

/* => the record of the chunk that va lies in, or NULL; make: NULL without
 *    memory
 * => window locked; signal-safe */
struct vmmi_window_chunk *vmmi_record_chunk(struct vmmi_window *window,
                                            vmm_addr_t va, bool make);

/* Sets a page's record; counts pages and host mappings.  => window locked */
void vmmi_record_set(struct vmmi_window *window,
                     struct vmmi_window_chunk *chunk, unsigned i,
                     uint8_t record);

/* Frees the record of a window that shows nothing any more.
 * => window locked, or closing */
void vmmi_record_free(struct vmmi_window *window);

/* Makes the host show nothing there, by one way or another; the record is the
 * caller's.  => window locked */
void vmmi_record_hide(struct vmmi_window *window, vmm_addr_t va,
                      uint64_t nbytes);

/* As vmmi_window_flush().  => window locked */
void vmmi_record_flush(struct vmmi_window *window);

/* The host shows nothing any more: so says the record.  => window locked */
void vmmi_record_forget_all(struct vmmi_window *window);

/* To be called with each host call that changes the window.  => window
 * locked */
static inline void vmmi_record_host_call(struct vmmi_window *window)
{
  vmmi_count(&window->space->counters.host_calls, 1);
  atomic_fetch_add_explicit(&window->changes, 1, memory_order_relaxed);
}

/* The rights that an entry lets a window of this view grant. */
static inline unsigned vmmi_record_allowed(vmm_pte_t pte, enum vmmi_view view)
{
  if (view == VMMI_VIEW_USER && (pte & VMM_PTE_SUPERVISOR))
    return 0;
  return (pte & VMM_PTE_SREAD ? VMM_READ : 0) |
         (pte & VMM_PTE_SWRITE ? VMM_WRITE : 0) |
         (pte & VMM_PTE_SEXEC ? VMM_EXEC : 0);
}

#endif
