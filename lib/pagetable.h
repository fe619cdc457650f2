/*
 * The page table: leaves of VMMI_CHUNK_SIZE bytes of guest memory in a radix
 * tree.  Entries are changed by compare-and-swap on the value that
 * was checked; leaves live as long as the space.  Layer 2.
 *
 *   va:  63 ........ 34 33 ........... 21 20 ........ page shift .... 0
 *        top directory   directory entry   leaf entry    byte in page
 */
#ifndef VMMI_PAGETABLE_H
#define VMMI_PAGETABLE_H

#include <vmm/pte.h>

#include "arena.h"
#include "radix.h"

struct vmmi_log;

typedef _Atomic vmm_pte_t vmmi_pte_slot;

#define VMMI_NO_RUN UINT64_MAX

struct vmmi_leaf {
  _Atomic uint64_t run; /* first frame of its run, VMMI_NO_RUN (leaf lock) */
  struct vmmi_log *log; /* what snapshots have of it, newest first (leaf) */
  vmmi_pte_slot pte[];  /* VMMI_CHUNK_SIZE >> page shift of them */
};

/* VMM_READ, VMM_WRITE, VMM_EXEC as the entry has them */
static inline vmm_pte_t vmmi_pte_rights(uint32_t rights)
{
  return (rights & VMM_READ ? VMM_PTE_READ : 0) |
         (rights & VMM_WRITE ? VMM_PTE_WRITE : 0) |
         (rights & VMM_EXEC ? VMM_PTE_EXEC : 0);
}

struct vmmi_pagetable {
  struct vmmi_radix leaves; /* by chunk number */
  uint64_t size;            /* (c) bytes */
  unsigned page_shift;      /* (c) */
};

int vmmi_pagetable_init(struct vmmi_pagetable *pt, uint64_t size,
                        unsigned page_shift);
/* Frees leaves and directories; the caller has released the frames. */
void vmmi_pagetable_end(struct vmmi_pagetable *pt);

/* Clears bits of an entry.  => what it was */
static inline vmm_pte_t vmmi_pte_clear(vmmi_pte_slot *slot, vmm_pte_t bits)
{
  return atomic_fetch_and(slot, ~bits);
}

/* => pages in a leaf */
static inline unsigned vmmi_leaf_pages(const struct vmmi_pagetable *pt)
{
  return 1u << (VMMI_CHUNK_SHIFT - pt->page_shift);
}

/* => the page's index in its leaf */
static inline unsigned vmmi_leaf_index(const struct vmmi_pagetable *pt,
                                       vmm_addr_t va)
{
  return (unsigned)(va >> pt->page_shift) & (vmmi_leaf_pages(pt) - 1);
}

/* The one walker.
 * => the leaf that covers va; NULL if there is none (or, with create, no
 *    memory); signal-safe inside enter */
struct vmmi_leaf *vmmi_pagetable_walk(struct vmmi_pagetable *pt, vmm_addr_t va,
                                      bool create);

/* => the first leaf that covers a part of [*va, end), with *va moved up to the
 *    start of that part; NULL if there is none.  To go on, step *va to the next
 *    multiple of VMMI_CHUNK_SIZE. */
struct vmmi_leaf *vmmi_pagetable_next(struct vmmi_pagetable *pt, vmm_addr_t *va,
                                      vmm_addr_t end);

/* Calls visit for each entry of [va, end) that is not 0, in order, until it
 * gives something else than 0, which is returned. */
int vmmi_pagetable_each(struct vmmi_pagetable *pt, vmm_addr_t va,
                        vmm_addr_t end,
                        int (*visit)(vmm_addr_t va, vmmi_pte_slot *slot,
                                     void *arg),
                        void *arg);

/* => the entry of va, 0 if there is none */
vmm_pte_t vmmi_pagetable_get(struct vmmi_pagetable *pt, vmm_addr_t va);

#endif
