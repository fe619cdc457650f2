/*
 * A TLB by software, for interpreters and others who reach guest memory without
 * a window and more often than calls can serve: a small cache from guest pages
 * to the host memory behind them, which no signal keeps true.  It works over
 * any space; for one with VMM_CHECKED it is the fast way.
 *
 *   vmm_tlb_enter(tlb);
 *   for (;;) {
 *     char *host = vmm_tlb_read(tlb, va, 4);       a few instructions
 *     if (host == NULL) {
 *       vmm_tlb_leave(tlb);
 *       if (vmm_tlb_fill(tlb, va, VMM_READ) != 0)   0: it is there now
 *         ... vmm_load(space, va, &value, 4) ...     1, or an error
 *       vmm_tlb_enter(tlb);
 *       continue;
 *     }
 *     memcpy(&value, host, 4);
 *     if (vmm_tlb_asked(tlb))                      at each backward jump, say
 *       vmm_tlb_leave(tlb), vmm_tlb_enter(tlb);
 *   }
 *
 * The contract:
 *
 * - One thread at a time owns a TLB: it alone calls what is below.
 * - Memory that was found may be used until the next vmm_tlb_leave(), and no
 *   longer.  What is found for reading may only be read.
 * - Who takes a right away (protects, unmaps, cleans, forks, takes a snapshot,
 *   replaces a frame ...) empties the entries that have it, and, if there were
 *   some, waits until the owner is outside of its section, before he goes on:
 *   before bits are reported, frames reused, the call returns.  So no access by
 *   way of the TLB happens after what forbids it, and none is without its young
 *   and dirty bits.
 * - Therefore a section is short, and the owner leaves it soon after
 *   vmm_tlb_asked(); inside, it calls nothing of the library but these
 *   functions, does not block, and does not end or jump out.  An asynchronous
 *   signal's handler that interrupts a section may ask (what is signal-safe
 *   and only reads) and use vmm_cpu_interrupt(), but may not touch a window or
 *   change anything, vmm_waiter_cancel(), vmm_displace() and what is in
 *   <vmm/trampoline.h> included: it would wait for one who waits for the
 *   section.
 * - An entry grants what the page table grants silently: pages of devices,
 *   watched ones, and write-only ones have none, and vmm_tlb_fill() says so.
 * - Memory of a file that was truncated raises SIGBUS, as it does everywhere:
 *   use the accessors of <vmm/extable.h> on what is found, where that can be.
 */
#ifndef VMM_TLB_H
#define VMM_TLB_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An entry is of 4096 bytes of guest memory, whatever the size of a page. */
enum { VMM_TLB_SHIFT = 12, VMM_TLB_ENTRIES = 1024 };
#define VMM_TLB_NONE ((vmm_addr_t)1)

struct vmm_tlb_entry {
  vmm_addr_t read;  /* what may be read: its first address, or VMM_TLB_NONE */
  vmm_addr_t write; /* what may be written */
  uintptr_t host;   /* plus a guest address: the host's */
  uint64_t reserved;
};

/* The library's; to be looked at by the functions below alone. */
struct vmm_tlb {
  uint32_t asked;
  uint32_t reserved32;
  uint64_t reserved[7];
  struct vmm_tlb_entry entry[VMM_TLB_ENTRIES];
};

struct vmm_tlb_options {
  uint32_t *poll;     /* if not NULL: also set, by an atomic or, ... */
  uint32_t poll_bits; /* ... with these, when the owner is asked to leave */
  uint32_t reserved32;
  uint64_t reserved[4];
};

/*
 * Makes an empty TLB over the space, which can't be destroyed before it
 * (-EBUSY).  options may be NULL.
 * -ENOMEM  no memory
 */
VMM_API int vmm_tlb_create(struct vmm_tlb **tlb, struct vmm_space *space,
                           const struct vmm_tlb_options *options);
/* From outside of a section.  NULL is allowed. */
VMM_API void vmm_tlb_destroy(struct vmm_tlb *tlb);

/* Begins and ends a section, in which entries may be used.  They don't nest.
 * => a full barrier each; signal-safe */
VMM_API void vmm_tlb_enter(struct vmm_tlb *tlb);
VMM_API void vmm_tlb_leave(struct vmm_tlb *tlb);

/*
 * Does what an access (VMM_READ or VMM_WRITE) to va does that finds no entry:
 * all that the fault path does, trackers included, and counts it so.  Then it
 * makes the entry.  From outside of a section.
 *
 * => 0 the entry is there, until somebody takes it away; 1 the access must be
 *    made by a call (<vmm/access.h>): the page can't have an entry, or the
 *    access fails and there is a handler, which that call asks
 * -EFAULT -ENOMEM -EIO  as in <vmm/access.h>, and a pager's errors;
 *          vmm_fault_last() tells the rest
 */
VMM_API int vmm_tlb_fill(struct vmm_tlb *tlb, vmm_addr_t va, unsigned access);

/* => whether somebody waits for the owner to leave its section */
static inline int vmm_tlb_asked(const struct vmm_tlb *tlb)
{
  return __atomic_load_n(&tlb->asked, __ATOMIC_RELAXED) != 0;
}

static inline struct vmm_tlb_entry *vmm_tlb_slot(struct vmm_tlb *tlb,
                                                 vmm_addr_t va)
{
  return &tlb->entry[va >> VMM_TLB_SHIFT & (VMM_TLB_ENTRIES - 1)];
}

/*
 * => where the nbytes (1 to 4096) at va are, for reading or for writing, or
 *    NULL: no entry, or they lie in two
 * => in a section
 */
static inline void *vmm_tlb_read(struct vmm_tlb *tlb, vmm_addr_t va,
                                 unsigned nbytes)
{
  const struct vmm_tlb_entry *entry = vmm_tlb_slot(tlb, va);
  vmm_addr_t last = va + (nbytes - 1);

  /* relaxed: who empties it then waits for the section's end */
  if (__builtin_expect(__atomic_load_n(&entry->read, __ATOMIC_RELAXED) !=
                           (last & ~(vmm_addr_t)((1u << VMM_TLB_SHIFT) - 1)),
                       0))
    return NULL;
  return (void *)(entry->host + (uintptr_t)va);
}

static inline void *vmm_tlb_write(struct vmm_tlb *tlb, vmm_addr_t va,
                                  unsigned nbytes)
{
  const struct vmm_tlb_entry *entry = vmm_tlb_slot(tlb, va);
  vmm_addr_t last = va + (nbytes - 1);

  if (__builtin_expect(__atomic_load_n(&entry->write, __ATOMIC_RELAXED) !=
                           (last & ~(vmm_addr_t)((1u << VMM_TLB_SHIFT) - 1)),
                       0))
    return NULL;
  return (void *)(entry->host + (uintptr_t)va);
}

#ifdef __cplusplus
}
#endif
#endif
