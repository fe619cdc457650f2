/*
 * SIGNAL CONTEXT.  Pages of a pager, and the entries that show them.  Taking
 * from entries needs the object's lock alone: who would give an entry the
 * page's frame has to take it too, and a region is linked to its object before
 * it can have entries and until they have gone.
 */
#include "pager.h"

#include "arch.h"
#include "os.h"

char *vmmi_pager_bytes(const struct vmmi_pager *pager, uint32_t i)
{
  unsigned frames = pager->page_shift - VMMI_FRAME_SHIFT;

  return vmmi_arena_pointer(pager->object->extent + ((uint64_t)i << frames));
}

/* ---- states ---- */

uint32_t vmmi_pager_next(const struct vmmi_pager *pager, uint32_t i,
                         uint32_t end)
{
  while (i < end) {
    if (i % VMMI_PAGER_GROUP == 0 && pager->used[i / VMMI_PAGER_GROUP] == 0)
      i = (uint32_t)vmmi_min((uint64_t)i + VMMI_PAGER_GROUP, end);
    else if (pager->page[i].state == VMMI_PAGER_ABSENT)
      i++;
    else
      break;
  }
  return i;
}

/* The page comes last: just before the hand. */
static void add_to_ring(struct vmmi_pager *pager, uint32_t i)
{
  struct vmmi_pager_page *page = &pager->page[i];
  struct vmmi_pager_page *next, *previous;

  if (pager->hand == 0)
    pager->hand = page->next = page->previous = i + 1;
  next = &pager->page[pager->hand - 1];
  if (next == page)
    return;
  previous = &pager->page[next->previous - 1];
  page->next = pager->hand;
  page->previous = next->previous;
  previous->next = i + 1;
  next->previous = i + 1;
}

static void remove_from_ring(struct vmmi_pager *pager, uint32_t i)
{
  struct vmmi_pager_page *page = &pager->page[i];

  if (pager->hand == i + 1)
    pager->hand = page->next != i + 1 ? page->next : 0;
  pager->page[page->next - 1].previous = page->previous;
  pager->page[page->previous - 1].next = page->next;
  page->next = 0;
  page->previous = 0;
}

void vmmi_pager_set_state(struct vmmi_pager *pager, uint32_t i,
                          enum vmmi_pager_state state)
{
  struct vmmi_pager_page *page = &pager->page[i];
  uint32_t *used = &pager->used[i / VMMI_PAGER_GROUP];

  if (page->state == VMMI_PAGER_RESIDENT)
    remove_from_ring(pager, i);
  if (state == VMMI_PAGER_RESIDENT)
    add_to_ring(pager, i);
  *used += (state != VMMI_PAGER_ABSENT) - (page->state != VMMI_PAGER_ABSENT);
  page->state = (uint8_t)state;
}

void vmmi_pager_set_dirty(struct vmmi_pager *pager, uint32_t i, bool dirty)
{
  pager->dirty += (uint64_t)dirty - (uint64_t)pager->page[i].dirty;
  pager->page[i].dirty = dirty;
}

void vmmi_pager_enqueue(struct vmmi_pager *pager, uint32_t i)
{
  struct vmmi_pager_page *page = &pager->page[i];

  page->queue_next = 0;
  page->queue_previous = pager->queue_last;
  if (pager->queue_last != 0)
    pager->page[pager->queue_last - 1].queue_next = i + 1;
  else
    pager->queue_first = i + 1;
  pager->queue_last = i + 1;
}

void vmmi_pager_ring(struct vmmi_pager *pager)
{
  atomic_fetch_add(&pager->bell, 1);
  vmmi_os_wake(&pager->bell);
}

void vmmi_pager_dequeue(struct vmmi_pager *pager, uint32_t i)
{
  struct vmmi_pager_page *page = &pager->page[i];

  if (page->queue_previous != 0)
    pager->page[page->queue_previous - 1].queue_next = page->queue_next;
  else
    pager->queue_first = page->queue_next;
  if (page->queue_next != 0)
    pager->page[page->queue_next - 1].queue_previous = page->queue_previous;
  else
    pager->queue_last = page->queue_previous;
  page->queue_next = 0;
  page->queue_previous = 0;
}

/* ---- for the fault path ---- */

static uint32_t index_at(const struct vmmi_region *region, vmm_addr_t va)
{
  return vmmi_pager_index(region->object->pager,
                          region->offset + (va - region->start));
}

static struct vmmi_pager_page *page_at(const struct vmmi_region *region,
                                       vmm_addr_t va)
{
  return &region->object->pager->page[index_at(region, va)];
}

bool vmmi_pager_is_resident(const struct vmmi_region *region, vmm_addr_t va)
{
  return page_at(region, va)->state == VMMI_PAGER_RESIDENT;
}

bool vmmi_pager_shows(const struct vmmi_region *region, vmm_pte_t pte)
{
  return region->object != NULL && region->object->pager != NULL &&
         (pte & VMM_PTE_PRESENT) && !vmmi_arena_owns(vmm_pte_frame(pte));
}

bool vmmi_pager_must_wait(const struct vmmi_region *region, vmm_addr_t va,
                          vmm_pte_t pte, bool write)
{
  const struct vmmi_pager_page *page;

  if (region->object == NULL || region->object->pager == NULL)
    return false;
  if ((pte & VMM_PTE_PRESENT) && !vmmi_pager_shows(region, pte))
    return false; /* a copy of its own */
  page = page_at(region, va);
  vmmi_assert(!(pte & VMM_PTE_PRESENT) || page->state == VMMI_PAGER_RESIDENT,
              "pager: an entry shows a page that is not there");
  if (page->state != VMMI_PAGER_RESIDENT)
    return true;
  return write && vmmi_region_is_shared(region) &&
         page->keeping == VMMI_PAGER_WRITING;
}

bool vmmi_pager_touch(const struct vmmi_region *region, vmm_addr_t va,
                      bool write)
{
  struct vmmi_pager_page *page = page_at(region, va);

  page->young = true;
  if (write && vmmi_region_is_shared(region))
    vmmi_pager_set_dirty(region->object->pager, index_at(region, va), true);
  return page->dirty;
}

void vmmi_pager_hold(const struct vmmi_region *region, vmm_addr_t va, bool pin)
{
  struct vmmi_pager_page *page = page_at(region, va);

  if (pin)
    page->pins++;
  else
    page->holds++;
}

void vmmi_pager_unhold(struct vmm_object *object, uint64_t offset, bool pin,
                       bool written)
{
  uint32_t i = vmmi_pager_index(object->pager, offset);
  struct vmmi_pager_page *page = &object->pager->page[i];

  pthread_mutex_lock(&object->lock);
  vmmi_assert((pin ? page->pins : page->holds) != 0,
              "pager_unhold: nobody holds the page");
  if (pin)
    page->pins--;
  else
    page->holds--;
  if (written)
    vmmi_pager_set_dirty(object->pager, i, true);
  pthread_mutex_unlock(&object->lock);
}

/* ---- the entries of a page ---- */

/* What is taken from the entries of some pages. */
struct withdrawal {
  struct vmmi_pager *pager;
  uint32_t start, end;
  vmm_pte_t bits;
  bool drop;  /* the pages go: the windows forget their frames */
  bool wired; /* wired regions too */
};

/* => the entry's slot if it shows page i, else NULL */
static vmmi_pte_slot *showing_slot(const struct vmmi_pager *pager,
                                   const struct vmmi_region *region, uint32_t i,
                                   vmm_addr_t *va)
{
  struct vmmi_pagetable *pt = &region->space->pt;
  struct vmmi_leaf *leaf;
  vmmi_pte_slot *slot;

  *va = region->start + (((uint64_t)i << pager->page_shift) - region->offset);
  leaf = vmmi_pagetable_walk(pt, *va, false);
  if (leaf == NULL)
    return NULL;
  slot = &leaf->pte[vmmi_leaf_index(pt, *va)];
  return vmmi_pager_shows(region, atomic_load(slot)) ? slot : NULL;
}

/* => whether the region maps any of the pages; these are *start to *end then */
static bool clip(const struct vmmi_pager *pager,
                 const struct vmmi_region *region, uint32_t *start,
                 uint32_t *end)
{
  uint64_t first = region->offset >> pager->page_shift;
  uint64_t last = first + ((region->end - region->start) >> pager->page_shift);

  *start = (uint32_t)vmmi_max(*start, first);
  *end = (uint32_t)vmmi_min(*end, last);
  return *start < *end;
}

static void take_from_region(const struct withdrawal *taking,
                             const struct vmmi_region *region)
{
  struct vmm_space *space = region->space;
  uint32_t i = taking->start, end = taking->end;
  vmm_addr_t va, first = UINT64_MAX, last = 0;

  if (!clip(taking->pager, region, &i, &end))
    return;
  for (; i < end; i++) {
    vmmi_pte_slot *slot = showing_slot(taking->pager, region, i, &va);
    vmm_pte_t old;

    if (slot == NULL)
      continue;
    old = vmmi_pte_clear(slot, taking->bits);
    if (taking->drop && vmmi_code_may_be(old))
      vmmi_code_notify(space, va, space->page_nbytes);
    if (!taking->drop && !(old & taking->bits))
      continue;
    first = vmmi_min(first, va);
    last = va + space->page_nbytes;
  }
  vmmi_inject_step(VMMI_STEP_TAKEN);
  if (first < last && taking->drop)
    vmmi_window_drop(space, first, last - first);
  else if (first < last)
    vmmi_window_narrow(space, first, last - first);
}

static void take_from_entries(const struct withdrawal *taking)
{
  const struct vmmi_region *region = taking->pager->object->regions;

  for (; region != NULL; region = region->object_next)
    if (taking->wired || !(region->flags & VMM_WIRED))
      take_from_region(taking, region);
}

bool vmmi_pager_is_wired(const struct vmmi_pager *pager, uint32_t i)
{
  const struct vmmi_region *region = pager->object->regions;

  for (; region != NULL; region = region->object_next) {
    uint32_t start = i, end = i + 1;

    if ((region->flags & VMM_WIRED) && clip(pager, region, &start, &end))
      return true;
  }
  return false;
}

bool vmmi_pager_may_go(const struct vmmi_pager *pager, uint32_t i)
{
  const struct vmmi_pager_page *page = &pager->page[i];

  return page->state == VMMI_PAGER_RESIDENT && page->pins == 0 &&
         page->holds == 0 && page->keeping != VMMI_PAGER_WRITING &&
         !vmmi_pager_is_wired(pager, i);
}

void vmmi_pager_pass_over(struct vmmi_pager *pager, uint32_t i)
{
  struct withdrawal taking = { .pager = pager, .start = i, .end = i + 1,
                           .bits = VMM_PTE_SILENT };

  pager->page[i].young = false;
  take_from_entries(&taking);
}

/* => whether it can be written without a fault */
static bool is_writable_anyway(const struct vmmi_pager *pager, uint32_t i)
{
  uint64_t frame = pager->object->extent +
                   ((uint64_t)i << (pager->page_shift - VMMI_FRAME_SHIFT));

  /* a pin's writers are counted a little after the pin itself */
  return vmmi_pager_is_wired(pager, i) || pager->page[i].pins != 0 ||
         vmmi_frame_is_written(frame, 1u << (pager->page_shift -
                                             VMMI_FRAME_SHIFT));
}

void vmmi_pager_begin_write(struct vmmi_pager *pager, uint32_t i, uint32_t n)
{
  struct withdrawal taking = { .pager = pager, .start = i, .end = i + n,
                           .bits = VMM_PTE_SWRITE };

  take_from_entries(&taking);
  vmmi_inject_step(VMMI_STEP_PROTECTED);
  for (; i < taking.end; i++) {
    if (pager->page[i].keeping == VMMI_PAGER_QUEUED)
      vmmi_pager_dequeue(pager, i);
    pager->page[i].keeping = VMMI_PAGER_WRITING;
    vmmi_pager_set_dirty(pager, i, is_writable_anyway(pager, i));
  }
}

void vmmi_pager_wipe(struct vmmi_pager *pager, uint32_t i)
{
  uint64_t nbytes = (uint64_t)1 << pager->page_shift;
  uint64_t offset = (uint64_t)i << pager->page_shift;

  if (vmmi_os_memory_punch(pager->object->fd, offset, nbytes) != 0)
    vmmi_arch_fill(vmmi_pager_bytes(pager, i), 0, nbytes);
}

void vmmi_pager_drop(struct vmmi_pager *pager, uint32_t i)
{
  const vmm_pte_t stays =
      VMM_PTE_ACCESSED | VMM_PTE_MODIFIED | VMM_PTE_TRACKERS;
  struct withdrawal taking = { .pager = pager, .start = i, .end = i + 1,
                           .bits = ~stays, .drop = true, .wired = true };
  unsigned frames = pager->page_shift - VMMI_FRAME_SHIFT;
  uint64_t frame = pager->object->extent + ((uint64_t)i << frames);

  vmmi_assert(vmmi_pager_may_go(pager, i) && !pager->page[i].dirty,
              "pager_drop: the page is needed");
  take_from_entries(&taking);
  vmmi_inject_step(VMMI_STEP_DROPPED);
  atomic_store(&vmmi_arena_frame(frame)->state, 0); /* no code, no writers */
  vmmi_pager_wipe(pager, i);
  vmmi_pager_set_state(pager, i, VMMI_PAGER_ABSENT);
  pager->frames--;
  pager->evictions++;
}
