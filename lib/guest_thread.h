/*
 * Guest threads, inside.  Fields without a letter belong to the host thread
 * whose hart runs it, or to anyone while none does; (a) atomic, read by others
 * at any time: records are reused for nothing else.  (c) constant while it
 * lives.
 *
 * What the fault path must know stands here; guest_thread.c is of layer 6.
 * Layer 3.
 */
#ifndef VMMI_GUEST_THREAD_H
#define VMMI_GUEST_THREAD_H

#include <vmm/trampoline.h>

#include "hart.h"
#include "thread.h"

struct vmmi_displacer;

/* An emulation under way; its place in the page is that in the array. */
struct vmmi_emulation {
  vmm_addr_t pc, trap_pc; /* guest addresses of the code and of its trap */
  vmm_addr_t branch_pc, continuation_pc;
};

struct vmm_guest_thread {
  _Atomic unsigned magic;           /* VMMI_GUEST_THREAD_MAGIC while it lives */
  _Atomic(struct vmm_hart *) hart;  /* that runs it, or NULL */
  struct vmm_hart *owner;           /* (c) whose own it is, or NULL */
  _Atomic uint64_t page;            /* (a) the run whose first page is its
                                       trampoline page; 0: not taken yet */
  vmm_addr_t stack;                 /* the supervisor stack, in the space */
  uint64_t stack_nbytes;            /* ... that its hart runs; 0: none */
  vmm_addr_t sp;                    /* where it left that */
  struct vmmi_displacer *displacer; /* (c) */
  _Atomic unsigned depth;           /* emulations that are owned */
  struct vmmi_emulation emulations[VMM_TRAMPOLINE_FRAMES];
  struct vmm_guest_thread *next_free;
  struct vmm_guest_thread *next; /* of all records, dead ones too */
};

#define VMMI_GUEST_THREAD_MAGIC 0x766d6774u

/* => -EINVAL, -ESTALE for what is no guest thread; else 0 */
int vmmi_guest_thread_check(const struct vmm_guest_thread *thread);

/* The hart's own: made with it, and run by it at first; ended with it, and
 * whatever it runs is run by none.  -ENOMEM
 * => inside */
int vmmi_guest_thread_begin(struct vmm_hart *hart);
void vmmi_guest_thread_end(struct vmm_hart *hart);

/* In a copy of the process: guest threads are run by this thread's hart, or by
 * none.  -ENOMEM */
int vmmi_guest_thread_fork_child(void);

/* ---- trampoline_page.c ---- */

/* => the first frame of the guest thread's trampoline page, taken if there is
 *    none; 0 without memory.  => inside; signal-safe */
uint64_t vmmi_trampoline_page(struct vmm_guest_thread *thread);
/* => whether it was given back, or is pinned */
bool vmmi_trampoline_give_page(struct vmm_guest_thread *thread);

/*
 * The window of a hart shows, at va, the page of the guest thread that the hart
 * runs at this moment, with these rights.
 * => pages changed: 0 or 1; 0 also if it is the space's window no longer, or
 *    the hart runs none now; -ENOMEM: as vmmi_window_install()
 * => takes the window's lock; signal-safe
 */
int vmmi_trampoline_show(struct vmmi_window *window, struct vmm_space *space,
                         vmm_addr_t va, unsigned rights);
/* The hart's windows lose the page of any guest thread but this one. */
void vmmi_trampoline_hide(struct vmm_hart *hart,
                          const struct vmm_guest_thread *thread);
/* No window shows the page of this guest thread any more.  => no hart runs
 * it */
void vmmi_trampoline_hide_all(const struct vmm_guest_thread *thread);

#endif
