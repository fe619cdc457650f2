/*
 * Software TLBs, inside: each is a cache of the page table like a window, and
 * who takes rights away does it here too (window_take.c).  What a window's lock
 * is for a host call, a section is here: the taker waits for the owner to leave
 * it, holding the TLB's lock, so that a second taker waits as well.
 *
 * The owner in a section takes no lock and passes no gate, so he who waits for
 * him, with all the locks that he may hold, gets on.
 *
 * Locks: the space's list, then one TLB's; below all others, as a window's.
 * Entries are written by the owner outside of its section, with the TLB's lock;
 * takers only empty them.  Layer 3.
 */
#ifndef VMMI_TLB_H
#define VMMI_TLB_H

#include <pthread.h>

#include <vmm/tlb.h>

#include "space.h"

struct vmmi_thread;

struct vmmi_tlb {
  struct vmm_tlb shown; /* what the owner's thread looks at */
  struct vmm_space *space;  /* (c) */
  struct vmm_tlb_options options; /* (c) */
  _Atomic uint32_t section; /* enum vmmi_tlb_section */
  struct vmmi_thread *_Atomic owner; /* who is inside, */
  _Atomic uint32_t forks;   /* and in which process: vmmi_tlb_forks then */
  pthread_mutex_t lock;
  struct vmmi_tlb *next;    /* of the space; its tlb_lock */
};

enum vmmi_tlb_section {
  VMMI_TLB_OUTSIDE,
  VMMI_TLB_INSIDE,
  VMMI_TLB_AWAITED, /* inside, and somebody waits for its end */
};

/* Takes from every TLB of the space what the page table no longer says, or,
 * with all, every entry of the range; comes back when no owner can be using
 * one.
 * => takes the locks in turn; signal-safe */
void vmmi_tlb_take(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                   bool all);

/* => an address whose entry grants what the page table does not, or 0 with *bad
 *    false.  => takes the locks in turn */
vmm_addr_t vmmi_tlb_find_bad(struct vmm_space *space, bool *bad);

/* => whether the owner is in a section: of this process, since a child of
 *    vmm_process_fork() has one thread only */
bool vmmi_tlb_is_inside(const struct vmmi_tlb *tlb);
/* For process_fork.c.  => 0 */
int vmmi_tlb_fork_child(void);
extern _Atomic uint32_t vmmi_tlb_forks;

/* What an entry would grant: the rights of the page's entry, and where it
 * is. */
static inline bool vmmi_tlb_grants(vmm_pte_t pte, unsigned access)
{
  return (pte & (access == VMM_WRITE ? VMM_PTE_SWRITE : VMM_PTE_SREAD)) != 0;
}

static inline uintptr_t vmmi_tlb_host(const struct vmm_space *space,
                                      vmm_addr_t va, vmm_pte_t pte)
{
  vmm_addr_t page = vmmi_align_down(va, space->page_nbytes);

  return (uintptr_t)vmmi_arena_pointer(vmm_pte_frame(pte)) - (uintptr_t)page;
}

#endif
