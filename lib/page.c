/*
 * What an access makes of a page.  A private page that is read shows the shared
 * zero frame, or the object's frame, copy-on-write; the first write gives it a
 * frame of its own, by preference its place in the leaf's run, so that
 * neighbours are neighbours in the host too.
 *
 * A page whose frame is replaced is dropped from every window between the two
 * (rule 3): first the entry loses its silent bits, then the windows the page,
 * and only then does the entry get the new frame.
 */
#include "page.h"

#include <errno.h>

#include "pager.h"
#include "snapshot.h"
#include "tracker.h"
#include "watch.h"

void vmmi_page_lock(const struct vmmi_page_range *range)
{
  struct vmmi_region *region = range->region;

  if (region->object != NULL)
    pthread_mutex_lock(&region->object->lock);
  pthread_mutex_lock(vmmi_space_leaf_lock(region->space, range->va));
}

void vmmi_page_unlock(const struct vmmi_page_range *range)
{
  struct vmmi_region *region = range->region;

  pthread_mutex_unlock(vmmi_space_leaf_lock(region->space, range->va));
  if (region->object != NULL)
    pthread_mutex_unlock(&region->object->lock);
}

/* One page of the range, and what is to be done to it. */
struct work {
  struct vmmi_request *request;
  struct vmmi_region *region;
  struct vmm_space *space;
  struct vmmi_leaf *leaf;
  vmmi_pte_slot *slot;
  vmm_addr_t va;
  struct vmm_pte_watch watch;
  bool dropped; /* zeros of these pages are in no window */
};

/* ---- what is granted already ---- */

static vmm_pte_t silent_bit(unsigned access)
{
  switch (access) {
  case VMM_WRITE:
    return VMM_PTE_SWRITE;
  case VMM_EXEC:
    return VMM_PTE_SEXEC;
  default:
    return VMM_PTE_SREAD;
  }
}

/* => the silent bits that the entry would have if no watch denied them */
static vmm_pte_t undenied(const struct vmmi_region *region, vmm_addr_t va,
                          vmm_pte_t pte)
{
  const vmm_pte_t exec = VMM_PTE_PRESENT | VMM_PTE_ACCESSED | VMM_PTE_EXEC;
  struct vmm_pte_watch watch =
      vmmi_tracker_watch(region, va, region->space->page_nbytes);

  watch.all |= vmmi_snapshot_watch(region);
  pte = vmm_pte_silence(pte, watch);
  if ((pte & exec) == exec)
    pte |= VMM_PTE_SEXEC;
  if ((pte & VMM_PTE_PRESENT) &&
      vmmi_code_is(vmm_pte_frame(pte), region->space->page_frames))
    pte &= ~VMM_PTE_SWRITE;
  return pte;
}

bool vmmi_page_grants(const struct vmmi_page_range *range,
                      struct vmmi_request *request, vmm_pte_t pte)
{
  const struct vmm_space *space = request->space;
  vmm_pte_t bit = silent_bit(request->access);
  struct vmm_pte_watch watch = { 0, vmmi_watch_stops(request->space, range->va,
                                                     space->page_nbytes) };

  /* write-only memory has no silent bit, as no window can show it */
  bool unseen = request->access == VMM_WRITE && !(pte & VMM_PTE_READ);

  request->software = (vmm_pte_stopped(watch) & bit) != 0;
  if (request->software || unseen)
    pte = undenied(range->region, range->va, unseen ? pte | VMM_PTE_READ : pte);
  /* a pager wants to know of each page that may be written from now on */
  if ((request->software || unseen) && (pte & bit & VMM_PTE_SWRITE) &&
      vmmi_pager_shows(range->region, pte) &&
      !vmmi_pager_touch(range->region, range->va, true))
    return false;
  return (pte & bit) != 0;
}

/* ---- frames ---- */

/* A zero-filled frame for the page: its place in the leaf's run, or, where a
 * pin still holds what was there, in a new run. */
static int take_frame(const struct work *work, uint64_t *frame)
{
  struct vmm_space *space = work->space;
  struct vmmi_leaf *leaf = work->leaf;
  unsigned i = vmmi_leaf_index(&space->pt, work->va);
  uint64_t run = atomic_load(&leaf->run);
  uint64_t fresh;
  int error;

  /* a copy of a private page comes in its place */
  if (space->max_frames != 0 &&
      atomic_load(&space->counters.frames) -
              vmmi_pte_is_private(atomic_load(work->slot)) >=
          space->max_frames) {
    work->request->reason = VMM_FAULT_LIMIT;
    return -ENOMEM;
  }
  *frame = run + (uint64_t)i * space->page_frames;
  if (run == VMMI_NO_RUN || !vmmi_frame_take(*frame, space->page_frames)) {
    error = vmmi_run_take(&fresh);
    if (error != 0) {
      work->request->reason = VMM_FAULT_NO_MEMORY;
      return -ENOMEM;
    }
    atomic_store(&leaf->run, fresh);
    if (run != VMMI_NO_RUN)
      vmmi_run_drop(run);
    *frame = fresh + (uint64_t)i * space->page_frames;
    vmmi_frame_take(*frame, space->page_frames);
  }
  vmmi_count(&space->counters.frames, 1);
  return 0;
}

static void untake_frame(const struct work *work, uint64_t frame)
{
  vmmi_frame_release(frame, work->space->page_frames);
  atomic_fetch_sub_explicit(&work->space->counters.frames, 1,
                            memory_order_relaxed);
}

/* A frame of the page's own with the bytes of another, or zeros. */
static int copy_frame(const struct work *work, uint64_t from, uint64_t *frame)
{
  struct vmmi_counters *counters = &work->space->counters;
  int error = take_frame(work, frame);

  if (error != 0)
    return error;
  if (from == VMMI_ZERO_FRAME) {
    vmmi_count(&counters->zero_fills, 1);
    return 0;
  }
  error = vmmi_alias_copy(vmmi_arena_pointer(*frame), vmmi_arena_pointer(from),
                          work->space->page_nbytes);
  if (error == 0) {
    vmmi_count(&counters->copies, 1);
    return 0;
  }
  untake_frame(work, *frame);
  work->request->reason = VMM_FAULT_OBJECT;
  return error;
}

/* => 0 and the frame that the region's object has for the page; the zero frame
 *    if there is no object */
static int backing_frame(const struct work *work, uint64_t *frame)
{
  struct vmmi_region *region = work->region;
  int error;

  *frame = VMMI_ZERO_FRAME;
  if (region->object == NULL)
    return 0;
  error = vmmi_object_frame(region->object,
                            region->offset + (work->va - region->start), frame);
  if (error != 0)
    work->request->reason = VMM_FAULT_NO_MEMORY;
  return error;
}

/* ---- one page ---- */

static void set_frame(const struct work *work, uint64_t frame, vmm_pte_t cow)
{
  vmm_pte_t keep = VMM_PTE_ACCESSED | VMM_PTE_MODIFIED | VMM_PTE_TRACKERS;
  vmm_pte_t fresh = vmm_pte_make(frame, vmmi_region_bits(work->region)) | cow;
  vmm_pte_t pte = atomic_load(work->slot);

  while (!atomic_compare_exchange_weak(work->slot, &pte, (pte & keep) | fresh))
    ;
}

/* The page has no frame yet. */
static int give_frame(const struct work *work, bool own)
{
  bool shared = vmmi_region_is_shared(work->region);
  uint64_t backing, frame;
  int error = backing_frame(work, &backing);

  if (error != 0)
    return error;
  if (shared || !own) {
    if (backing == VMMI_ZERO_FRAME)
      vmmi_count(&work->space->counters.zero_maps, 1);
    set_frame(work, backing, shared ? 0 : VMM_PTE_COW);
    return 0;
  }
  error = copy_frame(work, backing, &frame);
  if (error == 0)
    set_frame(work, frame, 0);
  return error;
}

/* The page has a frame that others see too; it gets one of its own. */
static int replace_frame(const struct work *work)
{
  vmm_pte_t pte = vmmi_pte_clear(work->slot, VMM_PTE_SILENT);
  struct vmmi_free_batch batch = { 0 };
  uint64_t frame;
  int error;

  /* without silent bits too: who took them may not yet have narrowed */
  if (!work->dropped || vmm_pte_frame(pte) != VMMI_ZERO_FRAME)
    vmmi_window_drop(work->space, work->va, work->space->page_nbytes);
  if (vmmi_code_may_be(pte))
    vmmi_code_notify(work->space, work->va, work->space->page_nbytes);
  error = copy_frame(work, vmm_pte_frame(pte), &frame);
  if (error != 0)
    return error;
  set_frame(work, frame, 0);
  vmmi_space_release_frame(work->space, pte, &batch);
  vmmi_frame_end_batch(&batch);
  return 0;
}

/* => whether the frame was shared by a fork whose other sides have gone; then
 *    the page keeps it */
static bool take_back(const struct work *work)
{
  vmm_pte_t pte = atomic_load(work->slot);

  /* acquire: what the other holders did to it is done */
  if (!vmmi_pte_is_private(pte) ||
      atomic_load_explicit(&vmmi_arena_frame(vmm_pte_frame(pte))->refs,
                           memory_order_acquire) != 1)
    return false;
  vmmi_pte_clear(work->slot, VMM_PTE_COW);
  return true;
}

/* Young, dirty, and silent as far as rule 2 allows. */
static void mark(const struct work *work, unsigned access)
{
  vmm_pte_t rights = vmmi_pte_rights(work->region->rights);
  vmm_pte_t pte = atomic_load(work->slot);
  uint64_t frame = vmm_pte_frame(pte);
  /* before a write */
  bool fault = vmmi_code_is(frame, work->space->page_frames);
  vmm_pte_t next;

  if (vmmi_pager_shows(work->region, pte))
    fault |= !vmmi_pager_touch(work->region, work->va, access == VMM_WRITE);

  do {
    next = vmm_pte_mkyoung(vmm_pte_modify(pte, rights), work->watch);
    if (access == VMM_WRITE)
      next = vmm_pte_mkdirty(next, work->watch);
    if (access == VMM_EXEC)
      next = vmm_pte_mkexec(next) & ~vmm_pte_stopped(work->watch);
    if (fault)
      next &= ~VMM_PTE_SWRITE;
  } while (!atomic_compare_exchange_weak(work->slot, &pte, next));
  vmmi_assert_full(vmm_pte_valid(next, work->watch),
                   "page: a silent bit too many");
  if (pte & ~next & VMM_PTE_SWRITE) /* it became code */
    vmmi_window_narrow(work->space, work->va, work->space->page_nbytes);
}

/* What the page holds goes to the latest snapshot, before it is written or gets
 * another frame. */
static int save_page(const struct work *work, unsigned access)
{
  vmm_pte_t pte = atomic_load(work->slot);
  int error;

  if (access != VMM_WRITE && (pte & VMM_PTE_PRESENT) && !(pte & VMM_PTE_COW))
    return 0; /* a pin for reading finds it as it should be */
  error = vmmi_snapshot_save(work->region, work->leaf, work->va, pte);
  if (error != 0)
    work->request->reason = VMM_FAULT_NO_MEMORY;
  return error;
}

static int promote_one(const struct work *work, unsigned access, bool pin)
{
  vmm_pte_t pte = atomic_load(work->slot);
  bool own = access == VMM_WRITE || pin;
  bool alone;
  int error;

  if (vmmi_pager_must_wait(work->region, work->va, pte, access == VMM_WRITE))
    return VMMI_PAGE_AWAY;
  alone = (pte & VMM_PTE_COW) && own && take_back(work);
  error = own ? save_page(work, access) : 0;
  if (error != 0)
    return error;
  if (!(pte & VMM_PTE_PRESENT))
    error = give_frame(work, own);
  else if ((pte & VMM_PTE_COW) && own && !alone)
    error = replace_frame(work);
  if (error != 0)
    return error;
  pte = atomic_load(work->slot);
  if (access == VMM_WRITE)
    vmmi_code_forget(work->region, work->va, pte);
  if (access == VMM_EXEC) {
    work->request->cacheable =
        vmmi_code_note(work->region, work->va, vmm_pte_frame(pte));
    /* what is fetched and not kept must not make the next write fault */
    if (!work->request->cacheable && work->request->window == NULL)
      access = VMM_READ;
  }
  mark(work, access);
  return 0;
}

/* ---- as widely as is free ---- */

/* The pages of the chunk that lie in the region. */
void vmmi_page_widen(struct vmmi_page_range *range)
{
  struct vmm_space *space = range->region->space;
  vmm_addr_t chunk = vmmi_align_down(range->va, VMMI_CHUNK_SIZE);
  vmm_addr_t start = vmmi_max(chunk, range->region->start);
  vmm_addr_t end = vmmi_min(chunk + VMMI_CHUNK_SIZE, range->region->end);

  range->va = start;
  range->npages = (unsigned)((end - start) >> space->page_shift);
}

bool vmmi_page_is_coarse(const struct vmmi_page_range *range,
                         const struct vmmi_request *request)
{
  const struct vmmi_region *region = range->region;
  const struct vmm_space *space = region->space;
  struct vmmi_page_range wide = *range;
  uint64_t nbytes;

  if ((region->flags & VMM_EXACT) || request->window == NULL ||
      request->access == VMM_EXEC)
    return false;
  if (region->object != NULL && region->object->pager != NULL)
    return false;
  if (vmmi_region_is_shared(region) && region->object->fd >= 0)
    return false;
  /* the latest snapshot wants a copy of each page that is written */
  if (request->access == VMM_WRITE && vmmi_snapshot_watch(region) != 0)
    return false;
  /* a private page with bytes behind it costs a copy */
  if (region->object != NULL && !vmmi_region_is_shared(region) &&
      request->access == VMM_WRITE)
    return false;
  vmmi_page_widen(&wide);
  nbytes = (uint64_t)wide.npages << space->page_shift;
  return vmmi_tracker_watch(region, wide.va, nbytes).all == 0 &&
         vmmi_watch_kinds(region->space, wide.va, nbytes) == 0;
}

/* => whether the page can go along with the one that was asked for */
static bool goes_along(const struct work *work, unsigned access)
{
  vmm_pte_t pte = atomic_load(work->slot);
  uint64_t frame = vmm_pte_frame(pte);

  if (!(pte & VMM_PTE_PRESENT))
    return true;
  if (pte & VMM_PTE_SEXEC)
    return false;
  if (atomic_load(&vmmi_arena_frame(frame)->state) &
      (VMMI_FRAME_CODE | VMMI_FRAME_PINS))
    return false; /* code, or pinned */
  return access != VMM_WRITE || !(pte & VMM_PTE_COW) ||
         frame == VMMI_ZERO_FRAME;
}

/* Zero frames that a write replaces leave the windows by one call, not by one a
 * page. */
static void drop_zeros(const struct vmmi_page_range *range)
{
  struct vmm_space *space = range->region->space;
  unsigned first = vmmi_leaf_index(&space->pt, range->va);
  bool seen = false;

  for (unsigned i = first; i < first + range->npages; i++) {
    vmm_pte_t pte = atomic_load(&range->leaf->pte[i]);

    if (!(pte & VMM_PTE_PRESENT) || vmm_pte_frame(pte) != VMMI_ZERO_FRAME)
      continue;
    vmmi_pte_clear(&range->leaf->pte[i], VMM_PTE_SREAD);
    seen = true;
  }
  if (seen)
    vmmi_window_drop(space, range->va,
                     (uint64_t)range->npages << space->page_shift);
}

static struct work work_on(const struct vmmi_page_range *range,
                           struct vmmi_request *request, vmm_addr_t va)
{
  struct vmm_space *space = range->region->space;

  return (struct work){
    .request = request,
    .region = range->region,
    .space = space,
    .leaf = range->leaf,
    .slot = &range->leaf->pte[vmmi_leaf_index(&space->pt, va)],
    .va = va,
    .watch = { .all = vmmi_snapshot_watch(range->region) },
  };
}

int vmmi_page_promote(struct vmmi_page_range *range,
                      struct vmmi_request *request)
{
  struct work asked = work_on(range, request, range->va);
  bool coarse = vmmi_page_is_coarse(range, request);
  uint64_t page = asked.space->page_nbytes;
  int error;

  if (!coarse) {
    struct vmm_pte_watch trackers =
        vmmi_tracker_watch(asked.region, asked.va, page);

    asked.watch.access |= trackers.access;
    asked.watch.all |= trackers.all;
    asked.watch.all |= vmmi_watch_stops(asked.space, asked.va, page);
  }
  if (coarse)
    vmmi_page_widen(range);
  asked.dropped = coarse && request->access == VMM_WRITE;
  if (asked.dropped)
    drop_zeros(range);
  error = promote_one(&asked, request->access,
                      (request->flags & VMMI_RESOLVE_PIN) != 0);
  if (error != 0 || !coarse)
    return error;
  for (unsigned i = 0; i < range->npages; i++) {
    struct work work = work_on(range, request, range->va + i * page);

    work.dropped = asked.dropped;
    if (work.va == asked.va || !goes_along(&work, request->access))
      continue;
    if (promote_one(&work, request->access, false) != 0)
      break; /* the page that was asked for has what it needs */
  }
  request->reason = VMM_FAULT_NONE;
  return 0;
}

int vmmi_page_copy_to(struct vmmi_region *region, vmm_addr_t va, uint64_t from,
                      uint64_t *frame)
{
  struct vmmi_request request = { .space = region->space, .va = va };
  struct vmmi_page_range range = { .region = region, .va = va, .npages = 1 };
  struct work work;

  range.leaf = vmmi_pagetable_walk(&region->space->pt, va, true);
  if (range.leaf == NULL)
    return -ENOMEM;
  work = work_on(&range, &request, va);
  return copy_frame(&work, from, frame);
}
