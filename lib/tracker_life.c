/*
 * Trackers: making and ending them, and their slots.
 *
 * A slot of a space holds a pointer to the space's own tracker, or a claim: the
 * pointer to an object's tracker with its lowest bit set.  A claim is compared
 * and never followed, since that tracker lives under its object's lock.
 * Spaces' trackers take the lowest free slot and objects' the highest.
 */
#include "tracker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

/* ---- slots ---- */

/* => whether the slot is the object's tracker's now */
static bool claim_slot(struct vmm_space *space, struct vmm_tracker *tracker)
{
  struct vmm_tracker *was = NULL;

  struct vmm_tracker *claim = vmmi_tracker_claim(tracker);

  return atomic_compare_exchange_strong(&space->trackers[tracker->slot], &was,
                                        claim) ||
         was == claim;
}

static void unclaim_slot(struct vmm_space *space, struct vmm_tracker *tracker)
{
  struct vmm_tracker *was = vmmi_tracker_claim(tracker);

  atomic_compare_exchange_strong(&space->trackers[tracker->slot], &was, NULL);
}

/* ---- making and ending ---- */

/* => 0 */
static int start_entry(vmm_addr_t va VMMI_UNUSED, vmmi_pte_slot *slot,
                       void *arg)
{
  vmm_pte_t pte = atomic_load(slot);

  while (!atomic_compare_exchange_weak(slot, &pte,
                                       vmmi_tracker_cleared(arg, pte)))
    ;
  return 0;
}

/* Takes the new tracker's bit, which an earlier owner of the slot may have
 * left, out of the entries, and the silent bits that it would have allowed. */
static void start_view(struct vmm_tracker *tracker,
                       const struct vmmi_tracker_view *view,
                       void *arg VMMI_UNUSED)
{
  vmmi_pagetable_each(&view->space->pt, view->va, view->end, start_entry,
                      tracker);
  vmmi_window_narrow(view->space, view->va, view->end - view->va);
}

static int check_tracker(struct vmm_tracker **tracker,
                         const struct vmm_tracker_options *options)
{
  static const struct vmm_tracker_options none;

  if (tracker == NULL)
    return vmmi_error(-EINVAL, "tracker: no place for the result", 0);
  if (options == NULL)
    return 0;
  if (options->kind > VMM_TRACK_ACCESS)
    return vmmi_error(-EINVAL, "tracker options: unknown kind", 0);
  if (options->reserved32 != 0 ||
      memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "tracker options: reserved fields not zero", 0);
  return 0;
}

static struct vmm_tracker *
make_tracker(uint64_t start, uint64_t nbytes,
             const struct vmm_tracker_options *options)
{
  struct vmm_tracker *tracker = vmmi_os_malloc(sizeof(*tracker));

  if (tracker == NULL)
    return NULL;
  /* with room for one range, what must be kept can always be added */
  if (vmmi_residue_reserve(&tracker->residue, 1) != 0) {
    free(tracker);
    return NULL;
  }
  tracker->start = start;
  tracker->end = start + nbytes;
  if (options != NULL) {
    tracker->kind = options->kind;
    tracker->touched = options->touched;
    tracker->arg = options->arg;
  }
  pthread_mutex_init(&tracker->lock, NULL);
  return tracker;
}

static void free_tracker(struct vmm_tracker *tracker)
{
  pthread_mutex_destroy(&tracker->lock);
  vmmi_residue_end(&tracker->residue);
  free(tracker);
}

/* => space locked */
static int start_in_space(struct vmm_tracker *tracker)
{
  struct vmm_space *space = tracker->space;
  struct vmmi_region *region = vmmi_region_from(space->regions, tracker->start);
  unsigned slot = 0;

  for (; region != NULL && region->start < tracker->end;
       region = vmmi_region_from(space->regions, region->end))
    if (region->flags & VMM_WIRED)
      return vmmi_error(-EBUSY, "tracker: a page is wired", 0);
  while (slot < VMMI_TRACKERS) {
    struct vmm_tracker *none = NULL;

    tracker->slot = slot;
    if (atomic_compare_exchange_strong(&space->trackers[slot], &none, tracker))
      break;
    slot++;
  }
  if (slot == VMMI_TRACKERS)
    return vmmi_error(-ENOSPC, "tracker: the space has eight", 0);
  vmmi_tracker_each_view(tracker, tracker->start, tracker->end, start_view,
                         NULL);
  atomic_fetch_add(&space->users, 1);
  return 0;
}

int vmm_tracker_create(struct vmm_tracker **tracker, struct vmm_space *space,
                       vmm_addr_t va, uint64_t nbytes,
                       const struct vmm_tracker_options *options)
{
  struct vmm_tracker *made;
  int error = check_tracker(tracker, options);

  if (error == 0)
    error = vmmi_space_check_range(space, va, nbytes);
  if (error != 0)
    return error;
  made = make_tracker(va, nbytes, options);
  if (made == NULL)
    return vmmi_error(-ENOMEM, "tracker: malloc", ENOMEM);
  made->space = space;
  vmmi_space_lock(space);
  error = start_in_space(made);
  vmmi_space_unlock(space);
  if (error != 0) {
    free_tracker(made);
    return error;
  }
  *tracker = made;
  return 0;
}

/* => whether the slot is the tracker's in all spaces that map the object, or in
 *    none.  => object locked */
static bool claim_everywhere(struct vmm_tracker *tracker)
{
  struct vmm_object *object = tracker->object;
  struct vmmi_region *region = object->regions;

  for (struct vmm_tracker *other = object->trackers; other != NULL;
       other = other->object_next)
    if (other->slot == tracker->slot)
      return false;
  while (region != NULL && (!vmmi_region_is_shared(region) ||
                            claim_slot(region->space, tracker)))
    region = region->object_next;
  if (region == NULL)
    return true;
  for (region = object->regions; region != NULL; region = region->object_next)
    unclaim_slot(region->space, tracker);
  return false;
}

/* => object locked */
static int start_in_object(struct vmm_tracker *tracker)
{
  struct vmm_object *object = tracker->object;
  unsigned slot = VMMI_TRACKERS;

  for (struct vmmi_region *region = object->regions; region != NULL;
       region = region->object_next) {
    uint64_t end = region->offset + (region->end - region->start);

    if ((region->flags & VMM_WIRED) && vmmi_region_is_shared(region) &&
        region->offset < tracker->end && end > tracker->start)
      return vmmi_error(-EBUSY, "tracker: a page is wired", 0);
  }
  do {
    if (slot-- == 0)
      return vmmi_error(-ENOSPC, "tracker: a space of the object has eight", 0);
    tracker->slot = slot;
  } while (!claim_everywhere(tracker));
  tracker->object_next = object->trackers;
  object->trackers = tracker;
  vmmi_tracker_each_view(tracker, tracker->start, tracker->end, start_view,
                         NULL);
  return 0;
}

static int check_object_range(const struct vmm_object *object, uint64_t offset,
                              uint64_t nbytes)
{
  uint64_t page = (uint64_t)1 << vmmi_os_page_shift();

  if (!vmmi_object_valid(object))
    return vmmi_error(-EINVAL, "tracker: not an object", 0);
  if (nbytes == 0 || !vmmi_is_aligned(offset | nbytes, VMMI_FRAME_SIZE) ||
      offset + nbytes < offset ||
      offset + nbytes > vmmi_align_up(object->nbytes, page))
    return vmmi_error(-EINVAL, "tracker: not a range of the object", 0);
  return vmmi_thread_check_process();
}

int vmm_tracker_create_object(struct vmm_tracker **tracker,
                              struct vmm_object *object, uint64_t offset,
                              uint64_t nbytes,
                              const struct vmm_tracker_options *options)
{
  struct vmm_tracker *made;
  int error = check_tracker(tracker, options);

  if (error == 0)
    error = check_object_range(object, offset, nbytes);
  if (error != 0)
    return error;
  made = make_tracker(offset, nbytes, options);
  if (made == NULL)
    return vmmi_error(-ENOMEM, "tracker: malloc", ENOMEM);
  made->object = object;
  vmmi_thread_enter();
  pthread_mutex_lock(&object->lock);
  error = start_in_object(made);
  pthread_mutex_unlock(&object->lock);
  vmmi_thread_leave();
  if (error != 0) {
    free_tracker(made);
    return error;
  }
  vmm_object_hold(object);
  *tracker = made;
  return 0;
}

static void end_in_space(struct vmm_tracker *tracker)
{
  struct vmm_space *space = tracker->space;

  vmmi_space_lock(space);
  atomic_store(&space->trackers[tracker->slot], NULL);
  atomic_fetch_sub(&space->users, 1);
  vmmi_space_unlock(space);
}

static void end_in_object(struct vmm_tracker *tracker)
{
  struct vmm_object *object = tracker->object;
  struct vmm_tracker **place = &object->trackers;

  vmmi_thread_enter();
  pthread_mutex_lock(&object->lock);
  while (*place != tracker)
    place = &(*place)->object_next;
  *place = tracker->object_next;
  for (struct vmmi_region *region = object->regions; region != NULL;
       region = region->object_next)
    unclaim_slot(region->space, tracker);
  pthread_mutex_unlock(&object->lock);
  vmmi_thread_leave();
  vmm_object_release(object);
}

void vmm_tracker_destroy(struct vmm_tracker *tracker)
{
  if (tracker == NULL)
    return;
  if (tracker->space == NULL)
    end_in_object(tracker);
  else if (vmmi_space_check(tracker->space) == 0)
    end_in_space(tracker);
  free_tracker(tracker);
}

/* ---- regions of a tracked object come and go ---- */

int vmmi_tracker_attach(struct vmmi_region *region)
{
  if (!vmmi_region_is_shared(region))
    return 0;
  for (struct vmm_tracker *tracker = region->object->trackers; tracker != NULL;
       tracker = tracker->object_next) {
    if (claim_slot(region->space, tracker))
      continue;
    vmmi_tracker_detach(region);
    return vmmi_error(-ENOSPC, "map: a slot of the object's tracker is taken",
                      0);
  }
  return 0;
}

void vmmi_tracker_detach(struct vmmi_region *region)
{
  struct vmmi_region *other;

  if (!vmmi_region_is_shared(region) || region->object->trackers == NULL)
    return;
  for (other = region->object->regions; other != NULL;
       other = other->object_next)
    if (other != region && other->space == region->space &&
        vmmi_region_is_shared(other))
      return;
  for (struct vmm_tracker *tracker = region->object->trackers; tracker != NULL;
       tracker = tracker->object_next)
    unclaim_slot(region->space, tracker);
}
