/*
 * Code that somebody keeps decoded.  A frame that is code (VMMI_FRAME_CODE) has
 * no silent write right in any mapping; a writer makes it data again, which
 * clears SEXEC everywhere and tells the notifiers, before it may write.
 *
 * A private frame has one entry; an object's frame has one in each region that
 * maps its offset, in any space, found by the object's list of regions.
 */
#include <errno.h>

#include "resolve.h"
#include "space.h"

void vmmi_code_notify(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  pthread_mutex_lock(&space->notify_lock);
  for (struct vmm_notifier *n = space->notifiers; n != NULL; n = n->next)
    n->invalidate(n, va, nbytes);
  pthread_mutex_unlock(&space->notify_lock);
  vmmi_count(&space->counters.invalidations, 1);
}

bool vmmi_code_may_be(vmm_pte_t pte)
{
  uint64_t frame = vmm_pte_frame(pte);

  if (!(pte & VMM_PTE_PRESENT))
    return false;
  if (frame == VMMI_ZERO_FRAME)
    return (pte & VMM_PTE_EXEC) != 0;
  return (pte & VMM_PTE_SEXEC) ||
         (atomic_load(&vmmi_arena_frame(frame)->state) & VMMI_FRAME_CODE);
}

/* ---- every mapping of a frame ---- */

/* What is done to one entry of a frame. */
typedef void change(struct vmm_space *space, vmm_addr_t va,
                    vmmi_pte_slot *slot);

static void apply_to_entry(struct vmm_space *space, vmm_addr_t va,
                           uint64_t frame, change *change)
{
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, va, false);
  vmmi_pte_slot *slot;
  vmm_pte_t pte;

  if (leaf == NULL)
    return;
  slot = &leaf->pte[vmmi_leaf_index(&space->pt, va)];
  pte = atomic_load(slot);
  if ((pte & VMM_PTE_PRESENT) && vmm_pte_frame(pte) == frame)
    change(space, va, slot);
}

static void apply_to_all(struct vmmi_region *region, vmm_addr_t va,
                         uint64_t frame, change *change)
{
  struct vmm_object *object = region->object;
  uint64_t offset = region->offset + (va - region->start);

  if (object == NULL) {
    apply_to_entry(region->space, va, frame, change);
    return;
  }
  for (struct vmmi_region *r = object->regions; r != NULL; r = r->object_next)
    if (offset >= r->offset && offset - r->offset < r->end - r->start)
      apply_to_entry(r->space, r->start + (offset - r->offset), frame, change);
}

static void forget_entry(struct vmm_space *space, vmm_addr_t va,
                         vmmi_pte_slot *slot)
{
  if (vmmi_pte_clear(slot, VMM_PTE_SEXEC) & VMM_PTE_SEXEC)
    vmmi_window_narrow(space, va, space->page_nbytes);
  vmmi_code_notify(space, va, space->page_nbytes);
}

static void note_entry(struct vmm_space *space, vmm_addr_t va,
                       vmmi_pte_slot *slot)
{
  /* the silent bit may have gone, and who took it be about to narrow */
  if (vmmi_pte_clear(slot, VMM_PTE_SWRITE) & VMM_PTE_WRITE)
    vmmi_window_narrow(space, va, space->page_nbytes);
}

/*
 * A page that keeps being both written and run costs a fault and a decoding
 * each time.  After so many times it is fetched without being kept, and only
 * once in a while it is tried again.
 */
#define CHURN_LIMIT 64u
#define CHURN_RETRY (CHURN_LIMIT + 1024u)

static uint32_t churn_of(uint32_t state)
{
  return state >> VMMI_FRAME_CHURN_SHIFT & VMMI_FRAME_CHURN_MASK;
}

static uint32_t with_churn(uint32_t state, uint32_t churn)
{
  state &= ~(VMMI_FRAME_CHURN_MASK << VMMI_FRAME_CHURN_SHIFT);
  return state | churn << VMMI_FRAME_CHURN_SHIFT;
}

bool vmmi_code_is(uint64_t frame, unsigned nframes)
{
  for (unsigned i = 0; i < (frame == VMMI_ZERO_FRAME ? 1 : nframes); i++)
    if (atomic_load(&vmmi_arena_frame(frame + i)->state) & VMMI_FRAME_CODE)
      return true;
  return false;
}

void vmmi_code_forget(struct vmmi_region *region, vmm_addr_t va, vmm_pte_t pte)
{
  uint64_t frame = vmm_pte_frame(pte);
  struct vmmi_frame *record = vmmi_arena_frame(frame);
  unsigned nframes = region->space->page_frames;
  uint32_t state = atomic_load(&record->state);
  uint32_t next;

  if (!vmmi_code_is(frame, nframes) && !(pte & VMM_PTE_SEXEC))
    return;
  apply_to_all(region, va, frame, forget_entry);
  do {
    uint32_t churn = (uint32_t)vmmi_min(churn_of(state) + 1, CHURN_LIMIT);

    next = with_churn(state & ~VMMI_FRAME_CODE, churn);
  } while (!atomic_compare_exchange_weak(&record->state, &state, next));
  /* smaller pages showed them when they became code */
  for (unsigned i = 1; i < nframes; i++)
    atomic_fetch_and(&record[i].state, ~VMMI_FRAME_CODE);
}

/* => the state of a frame that is fetched as code: with VMMI_FRAME_CODE if what
 *    is fetched may be kept */
static uint32_t note_state(uint32_t state)
{
  uint32_t churn = churn_of(state);

  if (state & (VMMI_FRAME_CODE | VMMI_FRAME_PINS))
    return state;
  if (churn < CHURN_LIMIT)
    return state | VMMI_FRAME_CODE;
  if (churn < CHURN_RETRY)
    return with_churn(state, churn + 1);
  return with_churn(state, CHURN_LIMIT - 1) | VMMI_FRAME_CODE;
}

static bool is_wired_for_writing(const struct vmmi_region *region)
{
  return (region->flags & VMM_WIRED) && (region->rights & VMM_WRITE);
}

/* => whether some mapping of the page must stay writable without a fault */
static bool must_stay_writable(const struct vmmi_region *region, vmm_addr_t va)
{
  uint64_t offset = region->offset + (va - region->start);

  if (region->object == NULL)
    return is_wired_for_writing(region);
  for (struct vmmi_region *r = region->object->regions; r != NULL;
       r = r->object_next)
    if (offset >= r->offset && offset - r->offset < r->end - r->start &&
        is_wired_for_writing(r))
      return true;
  return false;
}

bool vmmi_code_note(struct vmmi_region *region, vmm_addr_t va, uint64_t frame)
{
  struct vmmi_frame *record = vmmi_arena_frame(frame);
  uint32_t state, next;

  if (frame == VMMI_ZERO_FRAME)
    return true; /* nobody writes it; who replaces it will tell */
  state = atomic_load(&record->state);
  if (vmmi_frame_is_written(frame, region->space->page_frames))
    return false;
  if (!(state & VMMI_FRAME_CODE) && must_stay_writable(region, va))
    return false;
  do
    next = note_state(state);
  while (!atomic_compare_exchange_weak(&record->state, &state, next));
  if (next & ~state & VMMI_FRAME_CODE)
    apply_to_all(region, va, frame, note_entry);
  return (next & VMMI_FRAME_CODE) != 0;
}

/* ---- notifiers ---- */

int vmm_notifier_add(struct vmm_space *space, struct vmm_notifier *n)
{
  int error = vmmi_space_check(space);

  if (error == 0 && (n == NULL || n->invalidate == NULL))
    error = vmmi_error(-EINVAL, "notifier: no function", 0);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  pthread_mutex_lock(&space->notify_lock);
  n->next = space->notifiers;
  space->notifiers = n;
  pthread_mutex_unlock(&space->notify_lock);
  vmmi_thread_leave();
  return 0;
}

int vmm_notifier_remove(struct vmm_space *space, struct vmm_notifier *n)
{
  struct vmm_notifier **place;
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  vmmi_thread_enter();
  pthread_mutex_lock(&space->notify_lock);
  place = &space->notifiers;
  while (*place != NULL && *place != n)
    place = &(*place)->next;
  if (*place != NULL)
    *place = n->next;
  else
    error = vmmi_error(-ENOENT, "notifier: it was not added", 0);
  pthread_mutex_unlock(&space->notify_lock);
  vmmi_thread_leave();
  return error;
}
