/*
 * Software TLBs as their owners see them: making, filling, sections.  Layer 5.
 */
#include "tlb.h"

#include <errno.h>
#include <string.h>

#include "metadata.h"
#include "os.h"
#include "resolve.h"

_Static_assert((int)VMM_TLB_SHIFT == VMMI_FRAME_SHIFT, "an entry is a frame");

static struct vmmi_tlb *inside_of(struct vmm_tlb *tlb)
{
  return (struct vmmi_tlb *)tlb; /* its first member */
}

static int check_tlb_options(const struct vmm_tlb_options *options)
{
  static const struct vmm_tlb_options none;

  if (options != NULL &&
      (options->reserved32 != 0 ||
       memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0))
    return vmmi_error(-EINVAL, "tlb options: reserved fields not zero", 0);
  return 0;
}

/* => inside vmmi_thread_enter() */
static struct vmmi_tlb *make_tlb(struct vmm_space *space,
                                 const struct vmm_tlb_options *options)
{
  struct vmmi_tlb *made = vmmi_metadata_alloc(sizeof(*made));

  if (made == NULL)
    return NULL;
  made->space = space;
  if (options != NULL)
    made->options = *options;
  for (unsigned i = 0; i < VMM_TLB_ENTRIES; i++)
    made->shown.entry[i].read = made->shown.entry[i].write = VMM_TLB_NONE;
  pthread_mutex_init(&made->lock, NULL);
  pthread_mutex_lock(&space->tlb_lock);
  made->next = space->tlbs;
  space->tlbs = made;
  pthread_mutex_unlock(&space->tlb_lock);
  return made;
}

int vmm_tlb_create(struct vmm_tlb **tlb, struct vmm_space *space,
                   const struct vmm_tlb_options *options)
{
  int error = vmmi_space_check(space);
  struct vmmi_tlb *made;

  if (error == 0)
    error = check_tlb_options(options);
  if (error == 0 && tlb == NULL)
    error = vmmi_error(-EINVAL, "tlb: no place for the handle", 0);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  made = make_tlb(space, options);
  vmmi_thread_leave();
  if (made == NULL)
    return vmmi_error(-ENOMEM, "tlb: mmap", ENOMEM);
  *tlb = &made->shown;
  return 0;
}

void vmm_tlb_destroy(struct vmm_tlb *shown)
{
  struct vmmi_tlb *tlb = inside_of(shown);
  _Atomic(struct vmmi_tlb *) *first;
  struct vmmi_tlb *before;

  if (shown == NULL || vmmi_space_check(tlb->space) != 0)
    return; /* the space went with the process that this one was forked from */
  vmmi_assert(!vmmi_tlb_is_inside(tlb), "tlb_destroy: inside a section");
  vmmi_thread_enter();
  first = &tlb->space->tlbs;
  pthread_mutex_lock(&tlb->space->tlb_lock);
  before = *first;
  if (before == tlb) {
    *first = tlb->next;
  } else {
    while (before->next != tlb)
      before = before->next;
    before->next = tlb->next;
  }
  pthread_mutex_unlock(&tlb->space->tlb_lock);
  pthread_mutex_destroy(&tlb->lock);
  vmmi_metadata_free(tlb, sizeof(*tlb));
  vmmi_thread_leave();
}

/* ---- sections ---- */

void vmm_tlb_enter(struct vmm_tlb *shown)
{
  struct vmmi_tlb *tlb = inside_of(shown);

  vmmi_thread_self.sections++;
  atomic_store_explicit(&tlb->owner, &vmmi_thread_self, memory_order_relaxed);
  atomic_store_explicit(&tlb->forks, atomic_load(&vmmi_tlb_forks),
                        memory_order_relaxed);
  /* seq_cst, and a barrier: it is seen before any entry is read */
  atomic_exchange(&tlb->section, VMMI_TLB_INSIDE);
  atomic_thread_fence(memory_order_seq_cst);
}

void vmm_tlb_leave(struct vmm_tlb *shown)
{
  struct vmmi_tlb *tlb = inside_of(shown);

  __atomic_store_n(&shown->asked, 0, __ATOMIC_RELAXED);
  /* release: the accesses are done */
  if (atomic_exchange(&tlb->section, VMMI_TLB_OUTSIDE) == VMMI_TLB_AWAITED)
    vmmi_os_wake(&tlb->section);
  vmmi_thread_self.sections--;
}

/* ---- filling ---- */

/* => whether the entry grants the access now.  => space locked */
static bool make_entry(struct vmmi_tlb *tlb, vmm_addr_t va, unsigned access)
{
  vmm_addr_t at = vmmi_align_down(va, VMMI_FRAME_SIZE);
  struct vmm_tlb_entry *entry = vmm_tlb_slot(&tlb->shown, at);
  bool reads, writes;
  vmm_pte_t pte;

  pthread_mutex_lock(&tlb->lock);
  pte = vmmi_pagetable_get(&tlb->space->pt, at);
  reads = vmmi_tlb_grants(pte, VMM_READ);
  writes = vmmi_tlb_grants(pte, VMM_WRITE);
  /* relaxed: takers have the lock, and the reader is this thread */
  __atomic_store_n(&entry->read, reads ? at : VMM_TLB_NONE, __ATOMIC_RELAXED);
  __atomic_store_n(&entry->write, writes ? at : VMM_TLB_NONE, __ATOMIC_RELAXED);
  if (reads || writes)
    entry->host = vmmi_tlb_host(tlb->space, at, pte);
  pthread_mutex_unlock(&tlb->lock);
  return access == VMM_WRITE ? writes : reads;
}

int vmm_tlb_fill(struct vmm_tlb *shown, vmm_addr_t va, unsigned access)
{
  struct vmmi_tlb *tlb = inside_of(shown);
  struct vmmi_request request = { .va = va, .access = access,
                                  .flags = VMMI_RESOLVE_LOOK };
  bool made = false;
  int error;

  if (shown == NULL)
    return vmmi_error(-EINVAL, "tlb: not one", 0);
  if (access != VMM_READ && access != VMM_WRITE)
    return vmmi_error(-EINVAL, "tlb: neither a read nor a write", 0);
  error = vmmi_space_check(tlb->space);
  if (error != 0)
    return error;
  vmmi_assert(!vmmi_tlb_is_inside(tlb), "tlb_fill: inside a section");
  request.space = tlb->space;
  vmmi_thread_enter();
  error = vmmi_resolve_call(&request);
  if (error == 0) {
    made = make_entry(tlb, va, access);
    vmmi_space_unlock(tlb->space);
  }
  vmmi_thread_leave();
  return error > 0 || (error == 0 && !made) ? 1 : error;
}

