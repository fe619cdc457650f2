/*
 * Harts, inside.  A hart is its thread's: fields without a letter are changed
 * and read by it alone.  Others read what is atomic, at any time: records of
 * harts are reused for nothing else.
 *
 *   hart -> tag -> window
 *   window_table: space, hart -> context (generation, tag)
 *
 * A tag that was given has a window over its space, until the next generation
 * begins or the space is destroyed.
 *
 * What the fault path must know of a hart stands here; hart.c is of layer 6.
 * Layer 3.
 */
#ifndef VMMI_HART_H
#define VMMI_HART_H

#include <vmm/hart.h>
#include <vmm/view.h>

#include "asid.h"
#include "os.h"
#include "thread.h"
#include "window.h"

#define VMMI_HART_TAGS 256

struct vmm_guest_thread;

struct vmmi_hart_counters {
  _Atomic uint64_t switches, live, tags, rollovers, flushes, flushed;
  _Atomic uint64_t negatives, refused, retries;
  _Atomic uint64_t marks, shootdowns; /* by anybody */
  _Atomic uint64_t closed_calls; /* host calls on windows that are gone */
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

  /* of a hart with VMM_HART_VIEWS: view.c */
  struct vmm_views views;
  uint64_t displacement;          /* (c) */
  _Atomic uint64_t trap_run;      /* (c) whose first page is the trap page */
  struct vmmi_view_stack *stack;  /* NULL: it has no views */
};

#define VMMI_HART_MAGIC 0x766d6d68u

/* In a copy of the process: harts of threads that are gone end; 0 */
int vmmi_hart_fork_child(void);

/* => -EINVAL, -ESTALE, -EPERM unless it is the calling thread's; else 0 */
int vmmi_hart_check(const struct vmm_hart *hart);

/* ---- hart_window.c: by the hart's thread, inside ---- */

/* => whether 2^tag_bits windows of nbytes are more than the host has
 *    addresses */
bool vmmi_hart_is_too_large(unsigned tag_bits, uint64_t nbytes);
/* -E2BIG: the space does not fit in a window, or 2^tag_bits of those in the
 * host */
int vmmi_hart_check_size(const struct vmm_hart *hart,
                         const struct vmm_space *space);
/* Gives the space the next tag, and windows.  -ENOMEM, and nothing is changed
 * => the hart is to run the space */
int vmmi_hart_give_tag(struct vmm_hart *hart, struct vmm_space *space);
/* Takes a window from its space, and its address space from the hart. */
void vmmi_hart_close_window(struct vmm_hart *hart, struct vmmi_window *window);

/* => whether it has windows of that view */
static inline bool vmmi_hart_shows(const struct vmm_hart *hart,
                                   enum vmmi_view view)
{
  return (hart->flags & VMM_HART_VIEWS) || view == hart->view;
}

/* The entry area of a user window, in pages of the host upwards from its lowest
 * address, which is displacement + VMMI_ENTRY_PAGES pages below the base. */
enum {
  VMMI_ENTRY_DARK,
  VMMI_ENTRY_TRAP,
  VMMI_ENTRY_REDZONE,
  VMMI_ENTRY_STACK,
  VMMI_ENTRY_PAGES,
};

/* => how far below a user base one of these pages begins */
static inline uint64_t vmmi_hart_entry(const struct vmm_hart *hart,
                                       unsigned page)
{
  return hart->displacement +
         ((uint64_t)(VMMI_ENTRY_PAGES - page) << vmmi_os_page_shift());
}

/* => whether the window has an entry area, and va, which wraps below 0, lies
 *    below the stack in it.  => signal-safe */
static inline bool vmmi_hart_is_redzone(const struct vmmi_window *window,
                                        vmm_addr_t va)
{
  const struct vmm_hart *hart = atomic_load(&window->hart);

  if (hart == NULL || window->view != VMMI_VIEW_USER ||
      !(hart->flags & VMM_HART_VIEWS))
    return false;
  return va + vmmi_hart_entry(hart, VMMI_ENTRY_REDZONE) <
         (uint64_t)1 << vmmi_os_page_shift();
}

/* => the alias of what the page of the entry area shows; NULL: nothing, or
 *    there is no entry area.  => window locked */
static inline const void *
vmmi_hart_entry_shows(const struct vmmi_window *window, unsigned page)
{
  const struct vmm_hart *hart = atomic_load(&window->hart);

  if (page == VMMI_ENTRY_STACK)
    return window->entry_stack;
  if (page != VMMI_ENTRY_TRAP || hart == NULL ||
      window->view != VMMI_VIEW_USER || !(hart->flags & VMM_HART_VIEWS))
    return NULL;
  return vmmi_arena_pointer(atomic_load(&hart->trap_run));
}

/* Round code that the library calls while it interrupts: the calling thread's
 * views, if it has any, become the supervisor's, and what they were.
 * => signal-safe */
static inline void vmmi_hart_interrupt(struct vmm_view_saved *saved)
{
  struct vmm_hart *hart = vmmi_thread_self.hart;

  if (vmmi_unlikely(hart != NULL))
    vmm_view_interrupt(&hart->views, saved);
}

static inline void vmmi_hart_resume(const struct vmm_view_saved *saved)
{
  struct vmm_hart *hart = vmmi_thread_self.hart;

  if (vmmi_unlikely(hart != NULL))
    vmm_view_resume(&hart->views, saved);
}

/* A counter of the hart's that its own thread raises. */
static inline void vmmi_hart_count(_Atomic uint64_t *counter)
{
  /* relaxed, and no locked instruction: nobody else writes it */
  uint64_t n = atomic_load_explicit(counter, memory_order_relaxed);

  atomic_store_explicit(counter, n + 1, memory_order_relaxed);
}

#endif
