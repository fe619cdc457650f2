/*
 * Emptying the entries of software TLBs.  The order of a taker: the page
 * table's entry, the TLB's, a barrier, the owner's section; of an owner: the
 * section, a barrier, the TLB's entry.  So either the owner finds it empty, or
 * the taker finds him inside and waits.
 */
#include "tlb.h"

#include "os.h"

_Atomic uint32_t vmmi_tlb_forks;

bool vmmi_tlb_is_inside(const struct vmmi_tlb *tlb)
{
  return atomic_load(&tlb->section) != VMMI_TLB_OUTSIDE &&
         atomic_load(&tlb->forks) == atomic_load(&vmmi_tlb_forks);
}

int vmmi_tlb_fork_child(void)
{
  atomic_fetch_add(&vmmi_tlb_forks, 1);
  return 0;
}

static vmm_addr_t load_tag(const vmm_addr_t *tag)
{
  return __atomic_load_n(tag, __ATOMIC_RELAXED);
}

/* => the page that the entry is of, or VMM_TLB_NONE */
static vmm_addr_t entry_address(const struct vmm_tlb_entry *entry)
{
  vmm_addr_t read = load_tag(&entry->read);

  return read != VMM_TLB_NONE ? read : load_tag(&entry->write);
}

static bool empty_tag(vmm_addr_t *tag)
{
  /* relaxed: await_owner() orders it */
  __atomic_store_n(tag, VMM_TLB_NONE, __ATOMIC_RELAXED);
  return true;
}

/* => whether the entry had something to take */
static bool take_tags(struct vmmi_tlb *tlb, struct vmm_tlb_entry *entry,
                      vmm_addr_t va, vmm_addr_t end, bool all)
{
  vmm_addr_t read = load_tag(&entry->read), write = load_tag(&entry->write);
  vmm_addr_t at = entry_address(entry);
  bool taken = false;
  vmm_pte_t pte;

  if (at == VMM_TLB_NONE || at < va || at >= end)
    return false;
  pte = all ? 0 : vmmi_pagetable_get(&tlb->space->pt, at);
  if (read != VMM_TLB_NONE && !vmmi_tlb_grants(pte, VMM_READ))
    taken |= empty_tag(&entry->read);
  if (write != VMM_TLB_NONE && !vmmi_tlb_grants(pte, VMM_WRITE))
    taken |= empty_tag(&entry->write);
  return taken;
}

static bool take_slots(struct vmmi_tlb *tlb, vmm_addr_t va, vmm_addr_t end,
                       bool all)
{
  uint64_t slots = vmmi_min((end - va) >> VMM_TLB_SHIFT, VMM_TLB_ENTRIES);
  bool taken = false;

  for (uint64_t i = 0; i < slots; i++)
    taken |=
        take_tags(tlb, vmm_tlb_slot(&tlb->shown, va + (i << VMM_TLB_SHIFT)), va,
                  end, all);
  return taken;
}

/* Until the owner has left the section in which it may have used an entry. */
static void await_owner(struct vmmi_tlb *tlb)
{
  uint32_t inside = VMMI_TLB_INSIDE;

  atomic_thread_fence(memory_order_seq_cst);
  if (!vmmi_tlb_is_inside(tlb))
    return;
  /* a handler that interrupted the owner: nobody else can be meant */
  if (atomic_load_explicit(&tlb->owner, memory_order_relaxed) ==
      &vmmi_thread_self)
    return;
  __atomic_store_n(&tlb->shown.asked, 1, __ATOMIC_RELAXED);
  if (tlb->options.poll != NULL)
    __atomic_fetch_or(tlb->options.poll, tlb->options.poll_bits,
                      __ATOMIC_RELAXED);
  if (!atomic_compare_exchange_strong(&tlb->section, &inside,
                                      VMMI_TLB_AWAITED) &&
      inside == VMMI_TLB_OUTSIDE)
    return;
  while (atomic_load(&tlb->section) == VMMI_TLB_AWAITED)
    vmmi_os_wait(&tlb->section, VMMI_TLB_AWAITED);
}

void vmmi_tlb_take(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                   bool all)
{
  /* seq_cst: who makes the first one now finds the page table as it is */
  if (atomic_load(&space->tlbs) == NULL)
    return;
  pthread_mutex_lock(&space->tlb_lock);
  for (struct vmmi_tlb *tlb = space->tlbs; tlb != NULL; tlb = tlb->next) {
    pthread_mutex_lock(&tlb->lock);
    if (take_slots(tlb, va, va + nbytes, all))
      await_owner(tlb);
    pthread_mutex_unlock(&tlb->lock);
  }
  pthread_mutex_unlock(&space->tlb_lock);
}

/* ---- for the checker ---- */

static bool is_bad_entry(struct vmmi_tlb *tlb,
                         const struct vmm_tlb_entry *entry)
{
  vmm_addr_t read = load_tag(&entry->read), write = load_tag(&entry->write);
  vmm_addr_t at = entry_address(entry);
  vmm_pte_t pte;

  if (at == VMM_TLB_NONE)
    return false;
  pte = vmmi_pagetable_get(&tlb->space->pt, at);
  return (read != VMM_TLB_NONE && !vmmi_tlb_grants(pte, VMM_READ)) ||
         (write != VMM_TLB_NONE && !vmmi_tlb_grants(pte, VMM_WRITE)) ||
         entry->host != vmmi_tlb_host(tlb->space, at, pte);
}

vmm_addr_t vmmi_tlb_find_bad(struct vmm_space *space, bool *bad)
{
  vmm_addr_t found = 0;

  *bad = false;
  pthread_mutex_lock(&space->tlb_lock);
  for (struct vmmi_tlb *tlb = space->tlbs; tlb != NULL; tlb = tlb->next) {
    pthread_mutex_lock(&tlb->lock);
    for (unsigned i = 0; i < VMM_TLB_ENTRIES; i++)
      if (is_bad_entry(tlb, &tlb->shown.entry[i])) {
        *bad = true;
        found = entry_address(&tlb->shown.entry[i]);
      }
    pthread_mutex_unlock(&tlb->lock);
  }
  pthread_mutex_unlock(&space->tlb_lock);
  return found;
}
