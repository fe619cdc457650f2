/*
 * The look of a tracker: chunk by chunk, first which pages are set, then a
 * clear of exactly those that were reported.
 *
 *   collect   entries' bits, frames held for writing, residue  -> bitmap
 *   report    bitmap -> runs, up to the cut where runs is full
 *   clear     compare-and-swap of each reported entry, then the windows
 *
 * A write between the two is in the bytes that the caller reads after the call;
 * one after the clear sets the bit again, because no window lets it pass
 * silently.  A frame that is held for writing reads as set, whatever its bit,
 * and the end of the hold sets the bit.
 */
#include "tracker.h"

#include <errno.h>
#include <string.h>


#define CHUNK_PAGES_MAX 512
#define WORD_BITS 64

/* The part of one chunk that is looked at; a bit a unit. */
struct chunk {
  uint64_t start, end;
  unsigned unit; /* log2 of its bytes: a space's page, an object's host page */
  uint64_t bits[CHUNK_PAGES_MAX / WORD_BITS];
};

/* The entries of one view of a chunk. */
struct visit {
  struct vmm_tracker *tracker;
  const struct vmmi_tracker_view *view;
  struct chunk *chunk;
  vmm_addr_t first, end; /* around what was cleared */
};

struct scan {
  struct vmm_range *runs;
  size_t room, count;
  bool full;
};

static bool is_set(const struct chunk *chunk, uint64_t at)
{
  uint64_t i = (at - chunk->start) >> chunk->unit;

  return chunk->bits[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void set_range(struct chunk *chunk, uint64_t start, uint64_t end)
{
  start = vmmi_max(start, chunk->start);
  end = vmmi_min(end, chunk->end);
  for (; start < end; start += (uint64_t)1 << chunk->unit) {
    uint64_t i = (start - chunk->start) >> chunk->unit;

    chunk->bits[i / WORD_BITS] |= (uint64_t)1 << (i % WORD_BITS);
  }
}

/* => whether any unit of [start, end) is set below the chunk's end */
static bool any_set(const struct chunk *chunk, uint64_t start, uint64_t end)
{
  start = vmmi_max(start, chunk->start);
  end = vmmi_min(end, chunk->end);
  for (; start < end; start += (uint64_t)1 << chunk->unit)
    if (is_set(chunk, start))
      return true;
  return false;
}

static bool is_written(const struct vmm_space *space, vmm_pte_t pte)
{
  return (pte & VMM_PTE_PRESENT) &&
         vmmi_frame_is_written(vmm_pte_frame(pte), space->page_frames);
}

/* ---- collect ---- */

/* => 0 */
static int collect_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct visit *visit = arg;
  struct vmm_space *space = visit->view->space;
  vmm_pte_t pte = atomic_load(slot);
  uint64_t at = va + visit->view->shift;

  if ((pte & VMM_PTE_TRACKER(visit->tracker->slot)) || is_written(space, pte))
    set_range(visit->chunk, at, at + space->page_nbytes);
  return 0;
}

static void collect_view(struct vmm_tracker *tracker,
                         const struct vmmi_tracker_view *view, void *arg)
{
  struct visit visit = { tracker, view, arg, 0, 0 };

  vmmi_pagetable_each(&view->space->pt, view->va, view->end, collect_entry,
                      &visit);
}

/* The object's pages that are held for writing, though nothing may map them. */
static void collect_object(struct chunk *chunk, struct vmm_object *object)
{
  uint64_t nbytes = (uint64_t)1 << chunk->unit;
  uint64_t frame;

  if (object->fd < 0 && object->runs[chunk->start >> VMMI_CHUNK_SHIFT] == 0)
    return;
  for (uint64_t at = chunk->start; at < chunk->end; at += nbytes)
    if (vmmi_object_frame(object, at, &frame) == 0 &&
        vmmi_frame_is_written(frame, 1))
      set_range(chunk, at, at + nbytes);
}

static void collect(struct vmm_tracker *tracker, struct chunk *chunk)
{
  const struct vmm_range *range;
  uint64_t at = chunk->start;

  memset(chunk->bits, 0, sizeof(chunk->bits));
  vmmi_tracker_each_view(tracker, chunk->start, chunk->end, collect_view,
                         chunk);
  if (tracker->object != NULL)
    collect_object(chunk, tracker->object);
  pthread_mutex_lock(&tracker->lock);
  while ((range = vmmi_residue_from(&tracker->residue, at)) != NULL &&
         range->start < chunk->end) {
    at = range->start + range->nbytes;
    set_range(chunk, range->start, at);
  }
  pthread_mutex_unlock(&tracker->lock);
}

/* ---- report ---- */

/* => whether the unit found a place in the runs */
static bool report_unit(struct scan *scan, uint64_t at, uint64_t nbytes)
{
  struct vmm_range *last = NULL;

  if (scan->count != 0)
    last = &scan->runs[scan->count - 1];
  if (last != NULL && last->start + last->nbytes == at) {
    last->nbytes += nbytes;
    return true;
  }
  if (scan->count == scan->room)
    return false;
  scan->runs[scan->count++] = (struct vmm_range){ at, nbytes };
  return true;
}

/* Reports what is set, and ends the chunk where the runs are full. */
static void report(struct scan *scan, struct chunk *chunk)
{
  uint64_t nbytes = (uint64_t)1 << chunk->unit;

  for (uint64_t at = chunk->start; at < chunk->end; at += nbytes) {
    if (!is_set(chunk, at) || report_unit(scan, at, nbytes))
      continue;
    scan->full = true;
    chunk->end = at;
  }
}

/* ---- clear ---- */

/* => whether the bit was cleared */
static bool clear_entry(const struct vmm_tracker *tracker, vmmi_pte_slot *slot)
{
  vmm_pte_t pte = atomic_load(slot);

  do {
    if (!(pte & VMM_PTE_TRACKER(tracker->slot)))
      return false;
  } while (!atomic_compare_exchange_weak(slot, &pte,
                                         vmmi_tracker_cleared(tracker, pte)));
  return true;
}

/* A guest page's bit stands for several units of an object, of which those that
 * are not reported now must be later. */
static void keep_rest(struct vmm_tracker *tracker, uint64_t at, uint64_t nbytes)
{
  uint64_t start = vmmi_max(at, tracker->start);
  uint64_t end = vmmi_min(at + nbytes, tracker->end);

  pthread_mutex_lock(&tracker->lock);
  vmmi_residue_add(&tracker->residue, start, end - start);
  pthread_mutex_unlock(&tracker->lock);
}

/* => 0 */
static int clear_reported(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct visit *visit = arg;
  uint64_t nbytes = visit->view->space->page_nbytes;
  uint64_t at = va + visit->view->shift;

  if (!any_set(visit->chunk, at, at + nbytes) ||
      !clear_entry(visit->tracker, slot))
    return 0;
  if (nbytes > (uint64_t)1 << visit->chunk->unit)
    keep_rest(visit->tracker, at, nbytes);
  visit->first = vmmi_min(visit->first, va);
  visit->end = va + nbytes;
  return 0;
}

static void clear_view(struct vmm_tracker *tracker,
                       const struct vmmi_tracker_view *view, void *arg)
{
  struct visit visit = { tracker, view, arg, view->end, view->va };

  vmmi_pagetable_each(&view->space->pt, view->va, view->end, clear_reported,
                      &visit);
  if (visit.first < visit.end)
    vmmi_window_narrow(view->space, visit.first, visit.end - visit.first);
}

static void clear_residue(struct vmm_tracker *tracker,
                          const struct chunk *chunk)
{
  uint64_t nbytes = (uint64_t)1 << chunk->unit;
  uint64_t start;

  pthread_mutex_lock(&tracker->lock);
  for (uint64_t at = chunk->start;
       tracker->residue.count != 0 && at < chunk->end; at += nbytes) {
    start = at;
    while (at < chunk->end && is_set(chunk, at))
      at += nbytes;
    if (at != start)
      vmmi_residue_remove(&tracker->residue, start, at - start);
  }
  pthread_mutex_unlock(&tracker->lock);
}

/* ---- the look ---- */

/* => where the next page that may be set is, at or above at */
static uint64_t skip_empty(struct vmm_tracker *tracker, uint64_t at,
                           uint64_t end)
{
  const struct vmm_range *range;
  vmm_addr_t entry = at;

  if (tracker->space == NULL)
    return at;
  if (vmmi_pagetable_next(&tracker->space->pt, &entry, end) == NULL)
    entry = end;
  pthread_mutex_lock(&tracker->lock);
  range = vmmi_residue_from(&tracker->residue, at);
  if (range != NULL)
    entry = vmmi_min(entry, vmmi_max(at, range->start));
  pthread_mutex_unlock(&tracker->lock);
  return entry;
}

/* => where to go on.  => the space or object is locked */
static uint64_t look(struct vmm_tracker *tracker, uint64_t at, uint64_t end,
                     bool clear, struct scan *scan)
{
  struct chunk chunk;

  chunk.unit = tracker->space != NULL ? tracker->space->page_shift
                                      : VMMI_FRAME_SHIFT;
  while (!scan->full && (at = skip_empty(tracker, at, end)) < end) {
    chunk.start = at;
    chunk.end = vmmi_min(vmmi_align_up(at + 1, VMMI_CHUNK_SIZE), end);
    collect(tracker, &chunk);
    report(scan, &chunk);
    if (clear && chunk.end > chunk.start) {
      vmmi_tracker_each_view(tracker, chunk.start, chunk.end, clear_view,
                             &chunk);
      clear_residue(tracker, &chunk);
    }
    at = chunk.end;
  }
  return scan->full ? at : end;
}

static int check_look(const struct vmm_tracker *tracker, uint64_t start,
                      uint64_t nbytes, const struct vmm_range *runs,
                      const size_t *nruns)
{
  uint64_t unit;

  if (tracker == NULL || nruns == NULL || (runs == NULL && *nruns != 0))
    return vmmi_error(-EINVAL, "tracker: no place for the result", 0);
  if (vmmi_window_overlaps(runs, *nruns * sizeof(runs[0])))
    return vmmi_error(-EINVAL, "tracker: runs lies in a window", 0);
  unit = tracker->space != NULL ? tracker->space->page_nbytes
                                : VMMI_FRAME_SIZE;
  if (nbytes == 0 || !vmmi_is_aligned(start | nbytes, unit) ||
      start < tracker->start || start > tracker->end ||
      nbytes > tracker->end - start)
    return vmmi_error(-EINVAL, "tracker: not within its range", 0);
  if (tracker->space != NULL)
    return vmmi_space_check(tracker->space);
  return vmmi_thread_check_process();
}

int vmm_tracker_fetch(struct vmm_tracker *tracker, vmm_addr_t start,
                      uint64_t nbytes, int clear, struct vmm_range *runs,
                      size_t *nruns, vmm_addr_t *next)
{
  int error = check_look(tracker, start, nbytes, runs, nruns);
  struct scan scan = { runs, 0, 0, false };
  uint64_t at = start;

  if (error != 0)
    return error;
  scan.room = *nruns;
  if (tracker->space != NULL) {
    vmmi_space_lock_shared(tracker->space);
    at = look(tracker, start, start + nbytes, clear != 0, &scan);
    vmmi_space_unlock(tracker->space);
  } else {
    vmmi_thread_enter();
    pthread_mutex_lock(&tracker->object->lock);
    at = look(tracker, start, start + nbytes, clear != 0, &scan);
    pthread_mutex_unlock(&tracker->object->lock);
    vmmi_thread_leave();
  }
  *nruns = scan.count;
  if (next != NULL)
    *next = at;
  return 0;
}
