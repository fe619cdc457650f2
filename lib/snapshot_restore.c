/*
 * Going back to a snapshot.  What could fail comes first: regions are prepared,
 * and newer snapshots get what they will need.  Then the regions change, and
 * then the pages that the logs name, leaf by leaf: the windows lose them, they
 * get their bytes, into the frame that they have if nobody else sees it.
 *
 * A page that the latest snapshot has a copy of stays as it is, writable and in
 * the windows, and its copy stays too: a page that is written between each two
 * restores costs no fault, no call of the host and no frame, only the copying.
 * One that a restore finds unchanged is withdrawn from the windows, its copy
 * given back, and costs nothing from then on.  Layer 7.
 */
#include "snapshot.h"

#include <errno.h>
#include <string.h>
#include <vmm/snapshot.h>

#include "arch.h"
#include "map.h"
#include "tracker.h"

struct restoring {
  struct vmm_space *space;
  struct vmm_snapshot *snapshot;
  bool latest;
  bool wired; /* out: a wired page left the windows */
  vmm_addr_t drop, drop_end; /* to leave the windows; empty if both are equal */
  struct vmmi_free_batch batch;
};

/* One page that a log names. */
struct page {
  struct vmmi_log *log;
  unsigned i;
  vmm_addr_t va;
  vmmi_pte_slot *slot;
  struct vmmi_region *region; /* NULL if no private memory is mapped there */
  uint64_t record;
  bool own;   /* its frame is nobody else's but a pin's */
  bool keeps; /* the latest log keeps its copy, unless it is withdrawn */
  bool stays; /* it may be written without a fault: wired or pinned */
};

/* => whether record i is what the page held at the snapshot */
static bool is_oldest(const struct restoring *restoring,
                      const struct vmmi_log *log, unsigned i)
{
  const struct vmmi_log *older = log->older;

  for (; older != NULL &&
         older->snapshot->number >= restoring->snapshot->number;
       older = older->older)
    if (older->record[i] != 0)
      return false;
  return true;
}

/* => false if the log has nothing to say about page i */
static bool look_at_page(const struct restoring *restoring,
                         struct vmmi_log *log, unsigned i, struct page *page)
{
  struct vmm_space *space = restoring->space;
  vmm_pte_t pte = atomic_load(&log->leaf->pte[i]);
  uint64_t frame = vmm_pte_frame(pte);

  if (!is_oldest(restoring, log, i))
    return false;
  *page = (struct page){ .log = log, .i = i, .record = log->record[i],
                         .slot = &log->leaf->pte[i] };
  page->va = log->va + ((vmm_addr_t)i << space->page_shift);
  page->region = vmmi_region_at(space->regions, page->va);
  if (page->region != NULL && vmmi_region_is_shared(page->region))
    page->region = NULL;
  if (page->region == NULL || !vmmi_pte_is_private(pte) || (pte & VMM_PTE_COW))
    return true;
  page->own = true;
  page->stays = (page->region->flags & VMM_WIRED) ||
                vmmi_frame_is_written(frame, space->page_frames);
  page->keeps = restoring->latest && !page->stays &&
                page->record != VMMI_RECORD_NOTHING;
  return true;
}

/* => the first page from i of which the log has something to say, in *page; its
 *    index, or VMMI_LOG_END */
static unsigned next_page(const struct restoring *restoring,
                          struct vmmi_log *log, unsigned i, struct page *page)
{
  i = vmmi_log_next(log, i);
  while (i != VMMI_LOG_END && !look_at_page(restoring, log, i, page))
    i = vmmi_log_next(log, i + 1);
  return i;
}

/*
 * => whether the page gets its bytes into the frame that it has.  A pin for
 *    reading may end at any moment: what was true need not be, but never the
 *    other way round.
 */
static bool is_in_place(const struct page *page)
{
  uint64_t frame = vmm_pte_frame(atomic_load(page->slot));

  return page->own && (page->stays || page->record != VMMI_RECORD_NOTHING ||
                       atomic_load(&vmmi_arena_frame(frame)->refs) > 1);
}

/* ---- preparing ---- */

/* => the bytes of a page without a frame of its own.  -ENOMEM -EIO */
static int backing_of(const struct page *page, uint64_t *frame)
{
  struct vmmi_region *region = page->region;
  char byte;
  int error = 0;

  *frame = VMMI_ZERO_FRAME;
  if (region->object == NULL)
    return 0;
  if (region->object->pager != NULL)
    return -EBUSY; /* the space is locked: nobody may be waited for */
  vmmi_map_lock_object(region);
  error = vmmi_object_frame(region->object,
                            region->offset + (page->va - region->start), frame);
  vmmi_map_unlock_object(region);
  if (error == 0)
    error = vmmi_alias_copy(&byte, vmmi_arena_pointer(*frame), 1);
  return error;
}

static int prepare_page(const struct restoring *restoring,
                        const struct page *page)
{
  vmm_pte_t pte = atomic_load(page->slot);
  uint64_t frame;
  int error = 0;

  if (!restoring->latest)
    error = vmmi_log_save(restoring->space, page->log->leaf, page->va, pte);
  if (error == 0 && page->record == VMMI_RECORD_NOTHING && is_in_place(page))
    error = backing_of(page, &frame);
  return error == 0 ? 0 : vmmi_error(error, "restore: what a page needs", 0);
}

static int prepare_log(const struct restoring *restoring, struct vmmi_log *log)
{
  struct page page;
  int error = 0;

  for (unsigned i = next_page(restoring, log, 0, &page);
       error == 0 && i != VMMI_LOG_END;
       i = next_page(restoring, log, i + 1, &page))
    error = prepare_page(restoring, &page);
  return error;
}

static int prepare_pages(const struct restoring *restoring)
{
  struct vmm_snapshot *snapshot = restoring->space->snapshots;
  int error = 0;

  for (; error == 0; snapshot = snapshot->older) {
    for (struct vmmi_log *log = atomic_load(&snapshot->logs);
         error == 0 && log != NULL; log = log->next)
      error = prepare_log(restoring, log);
    if (snapshot == restoring->snapshot)
      break;
  }
  return error;
}

/* ---- taking pages from the windows ---- */

static void drop_stretch(struct restoring *restoring)
{
  if (restoring->drop != restoring->drop_end)
    vmmi_window_drop(restoring->space, restoring->drop,
                     restoring->drop_end - restoring->drop);
  restoring->drop = 0;
  restoring->drop_end = 0;
}

/* => whether the page holds what the record does */
static bool is_unchanged_page(const struct page *page, uint64_t nbytes)
{
  uint64_t frame = vmm_pte_frame(atomic_load(page->slot));
  const char *now = vmmi_arena_pointer(frame);
  const char *then = vmmi_arena_pointer(page->record - 1);

  for (uint64_t at = 0; at < nbytes; at += VMMI_FRAME_SIZE)
    if (vmmi_arch_probe((char *)(uintptr_t)now + at, 0) != 0 ||
        vmmi_arch_probe((char *)(uintptr_t)then + at, 0) != 0 ||
        memcmp(now + at, then + at, VMMI_FRAME_SIZE) != 0)
      return false;
  return true;
}

/* A page that keeps its frame.  => whether the windows are to lose its
 * SWRITE */
static bool withdraw_own(struct restoring *restoring, const struct page *page)
{
  uint64_t nbytes = restoring->space->page_nbytes;

  if (page->keeps && is_unchanged_page(page, nbytes))
    return vmmi_pte_clear(page->slot, VMM_PTE_SWRITE | VMM_PTE_SAVED) &
           VMM_PTE_SWRITE;
  vmmi_map_lock_object(page->region);
  vmmi_code_forget(page->region, page->va, atomic_load(page->slot));
  vmmi_map_unlock_object(page->region);
  return false;
}

static void withdraw_other(struct restoring *restoring, const struct page *page)
{
  struct vmm_space *space = restoring->space;
  vmm_pte_t pte = atomic_load(page->slot);

  if (page->record == VMMI_RECORD_NOTHING && !vmmi_pte_is_private(pte))
    return; /* it shows what it has to */
  pte = vmmi_pte_clear(page->slot, VMM_PTE_SILENT | VMM_PTE_SAVED);
  if (vmmi_code_may_be(pte))
    vmmi_code_notify(space, page->va, space->page_nbytes);
  if (!(pte & VMM_PTE_PRESENT))
    return;
  restoring->wired |= (page->region->flags & VMM_WIRED) != 0;
  if (page->va != restoring->drop_end)
    drop_stretch(restoring);
  if (restoring->drop == restoring->drop_end)
    restoring->drop = page->va;
  restoring->drop_end = page->va + space->page_nbytes;
}

static void withdraw_pages(struct restoring *restoring, struct vmmi_log *log)
{
  vmm_addr_t first = UINT64_MAX, last = 0;
  struct page page;

  for (unsigned i = next_page(restoring, log, 0, &page); i != VMMI_LOG_END;
       i = next_page(restoring, log, i + 1, &page)) {
    if (page.region == NULL)
      continue;
    if (!page.own || (!page.stays && page.record == VMMI_RECORD_NOTHING)) {
      withdraw_other(restoring, &page);
    } else if (withdraw_own(restoring, &page)) {
      first = vmmi_min(first, page.va);
      last = page.va;
    }
  }
  drop_stretch(restoring);
  if (first <= last)
    vmmi_window_narrow(restoring->space, first,
                       last - first + restoring->space->page_nbytes);
}

/* ---- giving bytes ---- */

static void mark_changed(const struct page *page, vmm_pte_t clear,
                         vmm_pte_t set)
{
  uint64_t nbytes = page->region->space->page_nbytes;
  vmm_pte_t bits = VMM_PTE_MODIFIED | set |
                   vmmi_tracker_watch(page->region, page->va, nbytes).all;
  vmm_pte_t pte = atomic_load(page->slot);

  while (!atomic_compare_exchange_weak(page->slot, &pte, (pte & ~clear) | bits))
    ;
}

static void write_page(const struct restoring *restoring,
                       const struct page *page)
{
  struct vmm_space *space = restoring->space;
  char *to = vmmi_arena_pointer(vmm_pte_frame(atomic_load(page->slot)));
  uint64_t from = page->record - 1;

  /* what can't be read any more was read while we prepared */
  if (page->record != VMMI_RECORD_NOTHING || backing_of(page, &from) == 0)
    vmmi_alias_copy(to, vmmi_arena_pointer(from), space->page_nbytes);
  mark_changed(page, 0, 0);
}

/* The page's frame goes; the one of the record comes, held once more if the
 * record stays. */
static void replace_page(struct restoring *restoring, const struct page *page)
{
  struct vmm_space *space = restoring->space;
  vmm_pte_t old = atomic_load(page->slot);
  vmm_pte_t young = old & VMM_PTE_ACCESSED, fresh = 0;

  if (page->record == VMMI_RECORD_NOTHING && !vmmi_pte_is_private(old))
    return;
  if (page->record != VMMI_RECORD_NOTHING) {
    fresh = vmm_pte_make(page->record - 1, vmmi_region_bits(page->region)) |
            VMM_PTE_COW | young;
    if (!restoring->latest)
      vmmi_frame_hold(page->record - 1);
    vmmi_count(&space->counters.frames, 1);
  }
  mark_changed(page, ~(VMM_PTE_MODIFIED | VMM_PTE_TRACKERS), fresh);
  vmmi_space_release_frame(space, old, &restoring->batch);
}

/* => whether the page gets its bytes, in the frame that it has */
static bool give_in_place(const struct restoring *restoring,
                          const struct page *page)
{
  bool withdrawn = !(atomic_load(page->slot) & VMM_PTE_SAVED);

  if (!is_in_place(page))
    return false;
  /* it may have been written between the look at it and the withdrawal */
  if (!page->keeps || !withdrawn ||
      !is_unchanged_page(page, restoring->space->page_nbytes)) {
    write_page(restoring, page);
    vmmi_count(&restoring->space->counters.restored, 1);
  }
  return true;
}

static void give_page(struct restoring *restoring, const struct page *page)
{
  bool saved = (atomic_load(page->slot) & VMM_PTE_SAVED) != 0;
  bool in_place = give_in_place(restoring, page);
  uint64_t record;

  if (!in_place && page->region != NULL) {
    replace_page(restoring, page);
    vmmi_count(&restoring->space->counters.restored, 1);
  }
  /* a frame that only a pin kept is still to be given back */
  if (!restoring->latest || page->stays || (page->keeps && saved) ||
      (in_place && page->record == VMMI_RECORD_NOTHING))
    return;
  record = vmmi_log_take(page->log, page->i);
  if (record != VMMI_RECORD_NOTHING &&
      (page->region == NULL || in_place))
    vmmi_frame_release_batch(&restoring->batch, record - 1,
                             restoring->space->page_frames);
}

static void restore_log(struct restoring *restoring, struct vmmi_log *log)
{
  struct page page;

  withdraw_pages(restoring, log);
  for (unsigned i = next_page(restoring, log, 0, &page); i != VMMI_LOG_END;
       i = next_page(restoring, log, i + 1, &page))
    give_page(restoring, &page);
}

/* Logs of the latest snapshot that have nothing left to say. */
static void free_empty(struct restoring *restoring)
{
  struct vmmi_log *log = atomic_exchange(&restoring->snapshot->logs, NULL);

  while (log != NULL) {
    struct vmmi_log *next = log->next;

    if (log->count != 0) {
      vmmi_log_push(log, restoring->snapshot);
    } else {
      vmmi_log_unlink(log);
      vmmi_log_free(log, &restoring->batch);
    }
    log = next;
  }
}

static void restore_pages(struct restoring *restoring)
{
  struct vmm_snapshot *snapshot = restoring->space->snapshots;

  for (;; snapshot = snapshot->older) {
    for (struct vmmi_log *log = atomic_load(&snapshot->logs); log != NULL;
         log = log->next)
      restore_log(restoring, log);
    if (snapshot == restoring->snapshot)
      break;
  }
  if (restoring->latest)
    free_empty(restoring);
  vmmi_frame_end_batch(&restoring->batch);
}

/* ---- the public side ---- */

/* => space locked */
static int restore_locked(struct vmmi_snapshot_plan *plan)
{
  struct vmm_snapshot *snapshot = plan->snapshot;
  struct vmm_space *space = snapshot->space;
  struct restoring restoring = { .space = space, .snapshot = snapshot,
                                 .latest = space->snapshots == snapshot };
  int error = vmmi_snapshot_prepare_regions(plan);

  if (error != 0)
    return error;
  error = prepare_pages(&restoring);
  if (error != 0) {
    vmmi_snapshot_end_regions(plan);
    return error;
  }
  vmmi_snapshot_apply_regions(plan);
  restore_pages(&restoring);
  plan->wired |= restoring.wired;
  return 0;
}

int vmm_snapshot_restore(struct vmm_space *space, struct vmm_snapshot *snapshot)
{
  struct vmmi_snapshot_plan plan = { .snapshot = snapshot };
  int error = vmmi_space_check(space);

  if (error == 0 && (snapshot == NULL || snapshot->space != space))
    error = vmmi_error(-EINVAL, "restore: not a snapshot of the space", 0);
  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = restore_locked(&plan);
  vmmi_space_unlock(space);
  if (plan.wired)
    vmmi_wire_again(space, 0, space->size);
  return error;
}
