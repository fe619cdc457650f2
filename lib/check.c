/*
 * The checker: regions, entries, frames and trackers of a space, and then (in
 * check_window.c) its windows.  It changes nothing and stops at the first thing
 * that is wrong.
 */
#define _GNU_SOURCE 1
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "pager.h"
#include "snapshot.h"
#include "tlb.h"
#include "tracker.h"
#include "os.h"
#include "watch.h"

int vmmi_check_fail(vmm_addr_t va, const char *format, ...)
{
  char *text = vmmi_thread_self.text;
  size_t size = sizeof(vmmi_thread_self.text);
  int length = snprintf(text, size, "check: at 0x%" PRIx64 ": ", va);
  va_list args;

  va_start(args, format);
  vsnprintf(text + length, size - (size_t)length, format, args);
  va_end(args);
  return vmmi_error(-EPROTO, text, 0);
}

int vmmi_check_grow(void *array, size_t count, size_t *room, size_t nbytes)
{
  void **place = array;
  size_t more = 2 * *room + 64;
  void *grown;

  if (count < *room)
    return 0;
  grown = vmmi_os_realloc(*place, more * nbytes);
  if (grown == NULL)
    return vmmi_error(-ENOMEM, "check: malloc", ENOMEM);
  *place = grown;
  *room = more;
  return 0;
}

/* ---- regions ---- */

static int check_region(const struct vmm_space *space,
                        const struct vmmi_region *region)
{
  uint64_t page = space->page_nbytes;
  uint64_t nbytes = region->end - region->start;

  if (region->start >= region->end || region->end > space->size ||
      !vmmi_is_aligned(region->start | region->end, page))
    return vmmi_check_fail(region->start, "region ends at 0x%" PRIx64,
                           region->end);
  if (region->space != space)
    return vmmi_check_fail(region->start, "region of another space");
  if (region->object == NULL)
    return 0;
  if (region->offset + nbytes >
      vmmi_align_up(region->object->nbytes, page))
    return vmmi_check_fail(region->start, "region leaves its object");
  if (region->object_link == NULL || *region->object_link != region)
    return vmmi_check_fail(region->start, "region not linked to its object");
  return 0;
}

/* Adds the bytes that are mapped below the root to *mapped. */
static int check_tree(const struct vmm_space *space,
                      const struct vmmi_region *root, vmm_addr_t low,
                      vmm_addr_t high, uint64_t *mapped)
{
  const struct vmmi_region *child[2];
  int error;

  if (root == NULL)
    return 0;
  error = check_region(space, root);
  if (error != 0)
    return error;
  if (root->start < low || root->end > high)
    return vmmi_check_fail(root->start, "regions overlap or are not sorted");
  child[0] = root->left;
  child[1] = root->right;
  for (int i = 0; i < 2; i++)
    if (child[i] != NULL && child[i]->priority > root->priority)
      return vmmi_check_fail(root->start, "the treap is not a heap");
  *mapped += root->end - root->start;
  error = check_tree(space, root->left, low, root->start, mapped);
  return error != 0 ? error
                    : check_tree(space, root->right, root->end, high, mapped);
}

static int check_regions(const struct vmm_space *space)
{
  uint64_t mapped = 0;
  int error = check_tree(space, space->regions, 0, space->size, &mapped);

  if (error == 0 && mapped != atomic_load(&space->counters.mapped))
    error = vmmi_check_fail(0, "0x%" PRIx64 " bytes mapped, 0x%" PRIx64
                               " counted",
                            mapped, atomic_load(&space->counters.mapped));
  return error;
}

/* ---- entries ---- */

static unsigned rights_of(vmm_pte_t pte)
{
  return (pte & VMM_PTE_READ ? VMM_READ : 0) |
         (pte & VMM_PTE_WRITE ? VMM_WRITE : 0) |
         (pte & VMM_PTE_EXEC ? VMM_EXEC : 0);
}

static int check_private(struct vmmi_check *check, vmm_addr_t va, vmm_pte_t pte)
{
  uint64_t frame = vmm_pte_frame(pte);
  uint32_t refs = atomic_load(&vmmi_arena_frame(frame)->refs);
  uint32_t state = atomic_load(&vmmi_arena_frame(frame)->state);
  int error;

  /* forks of the space may hold a frame that is copy-on-write */
  if (!check->pinned && refs != 1 && !(pte & VMM_PTE_COW))
    return vmmi_check_fail(va, "frame 0x%" PRIx64 " counts %u holders, not 1",
                           frame, refs);
  if (!check->pinned && (state & VMMI_FRAME_PINS) != 0)
    return vmmi_check_fail(va, "frame 0x%" PRIx64 " counts %u writers, not 0",
                           frame, state & VMMI_FRAME_PINS);
  error = vmmi_check_grow(&check->frames, check->frames_count,
                          &check->frames_room, sizeof(frame));
  if (error == 0)
    check->frames[check->frames_count++] = frame;
  return error;
}

/* The frame is the one that the region may show. */
static int check_frame(struct vmmi_check *check, struct vmmi_region *region,
                       vmm_addr_t va, vmm_pte_t pte)
{
  uint64_t frame = vmm_pte_frame(pte), objects = VMMI_ZERO_FRAME;
  uint64_t offset = region->offset + (va - region->start);
  int error = 0;

  if (vmmi_pte_is_private(pte))
    return vmmi_region_is_shared(region)
               ? vmmi_check_fail(va, "private frame in a shared region")
               : check_private(check, va, pte);
  if (region->object != NULL)
    error = vmmi_object_frame(region->object, offset, &objects);
  if (error != 0)
    return vmmi_error(error, "check: the object's frame", -error);
  if (frame != objects)
    return vmmi_check_fail(va, "frame 0x%" PRIx64 " is not the object's 0x%"
                               PRIx64, frame, objects);
  if (!vmmi_region_is_shared(region) && !(pte & VMM_PTE_COW))
    return vmmi_check_fail(va, "a common frame without copy-on-write");
  return 0;
}

/* => space locked, and the region's object */
static int check_entry_in(struct vmmi_check *check, struct vmmi_region *region,
                          vmm_addr_t va, vmm_pte_t pte)
{
  struct vmm_pte_watch watch =
      vmmi_tracker_watch(region, va, check->space->page_nbytes);

  watch.all |= vmmi_snapshot_watch(region) |
               vmmi_watch_stops(check->space, va, check->space->page_nbytes);
  if (vmmi_region_is_device(region) && pte != 0)
    return vmmi_check_fail(va, "entry 0x%" PRIx64 " of a device", pte);
  if (!vmm_pte_valid(pte, watch))
    return vmmi_check_fail(va, "entry 0x%" PRIx64 " is silent without cause",
                           pte);
  if ((watch.all & pte & VMM_PTE_SAVED) &&
      !vmmi_snapshot_has(check->space, va))
    return vmmi_check_fail(va, "entry 0x%" PRIx64 " is in no snapshot", pte);
  if (!(pte & VMM_PTE_PRESENT))
    return 0;
  if (rights_of(pte) & ~region->rights)
    return vmmi_check_fail(va, "entry 0x%" PRIx64 " has rights that its region"
                               " lacks", pte);
  if ((pte & VMM_PTE_SWRITE) &&
      (atomic_load(&vmmi_arena_frame(vmm_pte_frame(pte))->state) &
       VMMI_FRAME_CODE))
    return vmmi_check_fail(va, "entry 0x%" PRIx64 " writes silently to code",
                           pte);
  return check_frame(check, region, va, pte);
}

static int check_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct vmmi_check *check = arg;
  struct vmmi_region *region = vmmi_region_at(check->space->regions, va);
  vmm_pte_t pte = atomic_load(slot);
  int error;

  if (region == NULL)
    return vmmi_check_fail(va, "entry 0x%" PRIx64 " without a region", pte);
  if (region->object != NULL)
    pthread_mutex_lock(&region->object->lock);
  error = check_entry_in(check, region, va, pte);
  if (region->object != NULL)
    pthread_mutex_unlock(&region->object->lock);
  return error;
}

/* ---- frames ---- */

static int compare_frames(const void *a, const void *b)
{
  const uint64_t *left = a, *right = b;

  return (*left > *right) - (*left < *right);
}

/* No private frame has two entries, and the space counts them all. */
static int check_frames(struct vmmi_check *check)
{
  struct vmm_space *space = check->space;
  uint64_t *frames = check->frames;
  uint64_t counted = atomic_load(&space->counters.frames);

  if (check->frames_count != 0)
    qsort(frames, check->frames_count, sizeof(frames[0]), compare_frames);
  for (size_t i = 1; i < check->frames_count; i++)
    if (frames[i] < frames[i - 1] + space->page_frames)
      return vmmi_check_fail(check->va, "frame 0x%" PRIx64 " has two entries",
                             frames[i]);
  if (check->va == 0 && check->end == space->size &&
      check->frames_count != counted)
    return vmmi_check_fail(0, "%zu private frames, %" PRIu64 " counted",
                           check->frames_count, counted);
  return 0;
}

/* ---- trackers ---- */

static int check_tracker_of(struct vmm_tracker *tracker, unsigned slot)
{
  const struct vmmi_residue *residue = &tracker->residue;
  const struct vmm_range *first, *last;

  if (tracker->slot != slot)
    return vmmi_check_fail(tracker->start, "tracker %u in slot %u",
                           tracker->slot, slot);
  if (!vmmi_residue_valid(residue))
    return vmmi_check_fail(tracker->start, "residue of tracker %u not sorted",
                           slot);
  if (residue->count == 0)
    return 0;
  first = &residue->ranges[0];
  last = &residue->ranges[residue->count - 1];
  if (first->start < tracker->start ||
      last->start + last->nbytes > tracker->end)
    return vmmi_check_fail(first->start, "residue of tracker %u leaves it",
                           slot);
  return 0;
}

/* The object's trackers have their slots in the space. */
static int check_claims(struct vmm_space *space, struct vmmi_region *region)
{
  int error = 0;

  pthread_mutex_lock(&region->object->lock);
  for (struct vmm_tracker *tracker = region->object->trackers;
       tracker != NULL && error == 0; tracker = tracker->object_next) {
    error = check_tracker_of(tracker, tracker->slot);
    if (error == 0 && atomic_load(&space->trackers[tracker->slot]) !=
                          vmmi_tracker_claim(tracker))
      error = vmmi_check_fail(region->start, "slot %u is not the object's",
                              tracker->slot);
  }
  pthread_mutex_unlock(&region->object->lock);
  return error;
}

static int check_trackers(struct vmm_space *space)
{
  struct vmmi_region *region = vmmi_region_from(space->regions, 0);
  int error = 0;

  for (unsigned i = 0; i < VMMI_TRACKERS && error == 0; i++) {
    struct vmm_tracker *tracker = atomic_load(&space->trackers[i]);

    if (tracker != NULL && !vmmi_tracker_is_claim(tracker))
      error = check_tracker_of(tracker, i);
  }
  for (; region != NULL && error == 0;
       region = vmmi_region_from(space->regions, region->end))
    if (vmmi_region_is_shared(region))
      error = check_claims(space, region);
  return error;
}

static bool has_pins(struct vmm_space *space)
{
  unsigned trackers = vmmi_snapshot_count(space) + vmmi_watch_count(space);

  for (unsigned i = 0; i < VMMI_TRACKERS; i++) {
    struct vmm_tracker *tracker = atomic_load(&space->trackers[i]);

    trackers += tracker != NULL && !vmmi_tracker_is_claim(tracker);
  }
  return atomic_load(&space->users) != trackers;
}

/* ---- all of it ---- */

static int keep_mapping(const struct vmmi_os_mapping *mapping, void *arg)
{
  struct vmmi_check *check = arg;
  int error = vmmi_check_grow(&check->maps, check->count, &check->room,
                              sizeof(check->maps[0]));

  if (error == 0)
    check->maps[check->count++] = *mapping;
  return error;
}

static int check_tlbs(struct vmm_space *space)
{
  bool bad;
  vmm_addr_t va = vmmi_tlb_find_bad(space, &bad);

  return bad ? vmmi_check_fail(va, "a TLB grants what the entry does not") : 0;
}

/* => space locked */
static int check_all(struct vmmi_check *check)
{
  struct vmm_space *space = check->space;
  int error = check_regions(space);

  check->pinned = has_pins(space);
  if (error == 0)
    error = check_trackers(space);
  if (error == 0)
    error = vmmi_snapshot_check(space);
  if (error == 0 && !vmmi_watch_valid(space))
    error = vmmi_check_fail(0, "the watches are no tree");
  if (error == 0)
    error = vmmi_pager_check(space);
  if (error == 0)
    error = vmmi_pagetable_each(&space->pt, check->va, check->end, check_entry,
                                check);
  if (error == 0)
    error = check_frames(check);
  if (error == 0)
    error = vmmi_os_maps_walk(keep_mapping, check);
  if (error == -ENOTSUP)
    return vmmi_error(error, "check: the host doesn't show its mappings", 0);
  if (error == 0)
    error = check_tlbs(space);
  return error != 0 ? error : vmmi_check_windows(check);
}

int vmm_check(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  struct vmmi_check check = { .space = space, .va = va };
  int error = vmmi_space_check(space);

  if (error == 0 && nbytes == 0 && va < space->size)
    nbytes = space->size - va;
  if (error == 0)
    error = vmmi_space_check_range(space, va, nbytes);
  if (error != 0)
    return error;
  check.end = va + nbytes;
  vmmi_space_lock_shared(space);
  error = check_all(&check);
  vmmi_space_unlock(space);
  free(check.maps);
  free(check.frames);
  return error;
}
