/*
 * Mapping and unmapping.  A call prepares all that could fail (cuts, leaves,
 * room in trackers) before it changes anything.
 */
#include "map.h"

#include <errno.h>
#include <string.h>

#include "lazy.h"
#include "os.h"
#include "pager.h"
#include "snapshot.h"
#include "tracker.h"

#define ALL_RIGHTS (VMM_READ | VMM_WRITE | VMM_EXEC)
#define MAP_FLAGS                                                              \
  (VMM_ANY | VMM_REPLACE | VMM_PRIVATE | VMM_WIRED | VMM_HUGE | VMM_EXACT |    \
   VMM_SUPERVISOR)
#define REGION_FLAGS                                                           \
  (VMM_PRIVATE | VMM_WIRED | VMM_HUGE | VMM_EXACT | VMM_SUPERVISOR |           \
   VMM_TRAMPOLINE)

void vmmi_map_lock_object(struct vmmi_region *region)
{
  if (region->object != NULL)
    pthread_mutex_lock(&region->object->lock);
}

void vmmi_map_unlock_object(struct vmmi_region *region)
{
  if (region->object != NULL)
    pthread_mutex_unlock(&region->object->lock);
}

/* ---- cutting and mending ---- */

static bool needs_cut(struct vmm_space *space, vmm_addr_t va)
{
  struct vmmi_region *region = vmmi_region_at(space->regions, va);

  return region != NULL && region->start < va;
}

int vmmi_map_prepare_cuts(struct vmm_space *space, struct vmmi_cuts *cuts,
                          vmm_addr_t va, vmm_addr_t end)
{
  unsigned need = needs_cut(space, va) + needs_cut(space, end);

  for (; need > 0; need--) {
    struct vmmi_region *spare = vmmi_region_new();

    if (spare == NULL) {
      vmmi_map_free_cuts(cuts);
      return vmmi_error(-ENOMEM, "region: malloc", ENOMEM);
    }
    cuts->spare[cuts->count++] = spare;
  }
  return 0;
}

void vmmi_map_free_cuts(struct vmmi_cuts *cuts)
{
  while (cuts->count > 0)
    vmmi_region_free(cuts->spare[--cuts->count]);
}

void vmmi_map_cut(struct vmm_space *space, struct vmmi_cuts *cuts,
                  vmm_addr_t va)
{
  struct vmmi_region *low = vmmi_region_at(space->regions, va);
  struct vmmi_region *high;

  if (low == NULL || low->start == va)
    return;
  high = cuts->spare[--cuts->count];
  vmmi_region_remove(&space->regions, low);
  vmmi_map_lock_object(low);
  vmmi_region_copy(high, low);
  high->start = va;
  high->offset = low->offset + (va - low->start);
  low->end = va;
  if (high->object != NULL)
    vmmi_region_link(high);
  vmmi_map_unlock_object(low);
  vmmi_region_insert(&space->regions, low);
  vmmi_region_insert(&space->regions, high);
}

static bool alike(const struct vmmi_region *low, const struct vmmi_region *high)
{
  return low->end == high->start && low->serial == high->serial &&
         low->cookie == high->cookie &&
         low->object == high->object && low->rights == high->rights &&
         low->flags == high->flags && low->handler == high->handler &&
         low->handler_arg == high->handler_arg &&
         high->offset == low->offset + (low->end - low->start);
}

static void add_up(struct vmmi_region *low, const struct vmmi_region *high)
{
  low->faults_read += high->faults_read;
  low->faults_write += high->faults_write;
  low->faults_exec += high->faults_exec;
  low->repaired += high->repaired;
  low->spurious += high->spurious;
  low->unresolved += high->unresolved;
}

void vmmi_map_mend(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  struct vmmi_region *low =
      vmmi_region_from(space->regions, va > 0 ? va - 1 : 0);

  while (low != NULL && low->end <= end) {
    struct vmmi_region *high = vmmi_region_at(space->regions, low->end);

    if (high == NULL || !alike(low, high)) {
      low = vmmi_region_from(space->regions, low->end);
      continue;
    }
    vmmi_region_remove(&space->regions, low);
    vmmi_region_remove(&space->regions, high);
    vmmi_map_lock_object(low);
    low->end = high->end;
    add_up(low, high);
    if (high->object != NULL)
      vmmi_region_unlink(high);
    vmmi_map_unlock_object(low);
    vmmi_region_free(high);
    vmmi_region_insert(&space->regions, low);
  }
}

bool vmmi_map_covers(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  while (va < end) {
    struct vmmi_region *region = vmmi_region_at(space->regions, va);

    if (region == NULL)
      return false;
    va = region->end;
  }
  return true;
}

int vmmi_map_cut_out(struct vmm_space *space, struct vmmi_cuts *cuts,
                     vmm_addr_t va, vmm_addr_t end)
{
  int error;

  if (!vmmi_map_covers(space, va, end))
    return vmmi_error(-ENOMEM, "a part of the range is not mapped", 0);
  error = vmmi_map_prepare_cuts(space, cuts, va, end);
  if (error != 0)
    return error;
  vmmi_map_cut(space, cuts, va);
  vmmi_map_cut(space, cuts, end);
  return 0;
}

/* ---- taking out ---- */

int vmmi_map_silence_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *code)
{
  (void)va;
  *(bool *)code |= vmmi_code_may_be(vmmi_pte_clear(slot, VMM_PTE_SILENT));
  return 0;
}

void vmmi_map_silence(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  bool code = false;

  vmmi_pagetable_each(&space->pt, va, end, vmmi_map_silence_entry, &code);
  vmmi_window_clear(space, va, end - va);
  if (code)
    vmmi_code_notify(space, va, end - va);
}

struct removal {
  struct vmm_space *space;
  struct vmmi_free_batch batch;
};

static int remove_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct removal *removal = arg;

  vmmi_snapshot_keep(removal->space, va, atomic_load(slot));
  vmmi_space_release_frame(removal->space, atomic_exchange(slot, 0),
                           &removal->batch);
  return 0;
}

static bool is_empty(const struct vmmi_pagetable *pt,
                     const struct vmmi_leaf *leaf)
{
  for (unsigned i = 0; i < vmmi_leaf_pages(pt); i++)
    if (atomic_load_explicit(&leaf->pte[i], memory_order_relaxed) != 0)
      return false;
  return true;
}

void vmmi_map_drop_runs(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  struct vmmi_leaf *leaf;

  for (; (leaf = vmmi_pagetable_next(&space->pt, &va, end)) != NULL;
       va = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE) {
    vmm_addr_t chunk = vmmi_align_down(va, VMMI_CHUNK_SIZE);
    uint64_t run = atomic_load(&leaf->run);

    if (run == VMMI_NO_RUN || !is_empty(&space->pt, leaf))
      continue;
    vmmi_window_clear(space, chunk,
                      vmmi_min(VMMI_CHUNK_SIZE, space->size - chunk));
    atomic_store(&leaf->run, VMMI_NO_RUN);
    vmmi_run_drop(run);
  }
}

static void remove_region(struct vmm_space *space, struct vmmi_region *region)
{
  vmmi_map_lock_object(region);
  if (vmmi_region_is_shared(region))
    vmmi_tracker_save(region, region->start, region->end - region->start);
  vmmi_map_unlock_object(region);
  vmmi_region_remove(&space->regions, region);
  vmmi_count(&space->counters.mapped, region->start - region->end);
}

void vmmi_map_forget(struct vmmi_region *region)
{
  vmmi_map_lock_object(region);
  if (region->object != NULL) {
    vmmi_region_unlink(region);
    if (vmmi_region_is_shared(region))
      vmmi_tracker_detach(region);
  }
  vmmi_map_unlock_object(region);
  vmmi_region_free(region);
}

int vmmi_map_prepare_remove(struct vmm_space *space, vmm_addr_t va,
                            vmm_addr_t end)
{
  int error = vmmi_tracker_reserve(space);

  return error != 0 ? error : vmmi_snapshot_reserve(space, va, end);
}

void vmmi_map_remove(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  struct removal removal = { .space = space };
  struct vmmi_region *gone = NULL;
  struct vmmi_region *region;

  vmmi_map_silence(space, va, end);
  vmmi_tracker_note(space, va, end - va);
  while ((region = vmmi_region_from(space->regions, va)) != NULL &&
         region->start < end) {
    remove_region(space, region);
    region->left = gone; /* a list of those taken out */
    gone = region;
  }
  vmmi_pagetable_each(&space->pt, va, end, remove_entry, &removal);
  vmmi_frame_end_batch(&removal.batch);
  vmmi_map_drop_runs(space, va, end);
  vmmi_lazy_note(space, va, end - va);
  while ((region = gone) != NULL) {
    gone = region->left;
    vmmi_map_forget(region);
  }
}

int vmm_unmap(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  struct vmmi_cuts cuts = { .count = 0 };
  vmm_addr_t end = va + nbytes;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = vmmi_map_prepare_cuts(space, &cuts, va, end);
  if (error == 0)
    error = vmmi_map_prepare_remove(space, va, end);
  if (error == 0) {
    vmmi_map_cut(space, &cuts, va);
    vmmi_map_cut(space, &cuts, end);
    vmmi_map_remove(space, va, end);
  }
  vmmi_map_free_cuts(&cuts);
  vmmi_space_unlock(space);
  return error;
}

/* ---- mapping ---- */

static int check_device_rights(uint32_t flags, uint32_t rights)
{
  if (rights & VMM_EXEC)
    return vmmi_error(-ENOTSUP, "rights: a device has no code", 0);
  if (flags & (VMM_PRIVATE | VMM_WIRED))
    return vmmi_error(-ENOTSUP, "map: a device is shared and not wired", 0);
  return 0;
}

int vmmi_map_check_rights(const struct vmm_space *space,
                          const struct vmm_object *object, uint32_t flags,
                          uint32_t rights)
{
  if (rights & ~ALL_RIGHTS)
    return vmmi_error(-EINVAL, "rights: unknown bits", 0);
  if (object != NULL && vmmi_object_valid(object) && object->device != NULL)
    return check_device_rights(flags, rights);
  if ((rights & VMM_WRITE) && !(rights & VMM_READ) &&
      vmmi_space_has_window(space))
    return vmmi_error(-ENOTSUP, "rights: a window can't show write-only", 0);
  if ((rights & VMM_WRITE) && object != NULL && object->readonly &&
      !(flags & VMM_PRIVATE))
    return vmmi_error(-EACCES, "rights: the object is read-only", 0);
  return 0;
}

int vmmi_map_check_object(const struct vmm_space *space,
                          const struct vmm_object *object, uint64_t offset,
                          uint64_t nbytes)
{
  uint64_t size;

  if (object == NULL)
    return offset == 0
               ? 0
               : vmmi_error(-EINVAL, "map: an offset without an object", 0);
  if (!vmmi_object_valid(object))
    return vmmi_error(-EINVAL, "map: not an object, or released", 0);
  if (object->pager != NULL && object->pager->page_shift != space->page_shift)
    return vmmi_error(-EINVAL, "map: the pager has another page size", 0);
  size = vmmi_align_up(object->nbytes, 1u << vmmi_os_page_shift());
  if (!vmmi_is_aligned(offset, space->page_nbytes) || offset > size ||
      nbytes > size - offset)
    return vmmi_error(-EINVAL, "map: the range leaves the object", 0);
  return 0;
}

static int check_map(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                     const struct vmm_map_options *options)
{
  static const struct vmm_map_options none;
  bool any = options->flags & VMM_ANY;
  int error;

  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "map options: reserved fields not zero", 0);
  if (options->flags & ~MAP_FLAGS)
    return vmmi_error(-EINVAL, "map options: unknown flags", 0);
  if (options->align != 0 && (!any || !vmmi_is_power_of_2(options->align)))
    return vmmi_error(-EINVAL, "map options: align", 0);
  if (any && (options->flags & VMM_REPLACE))
    return vmmi_error(-EINVAL, "map options: VMM_ANY with VMM_REPLACE", 0);
  if ((options->flags & VMM_WIRED) && !(options->rights & ALL_RIGHTS))
    return vmmi_error(-EINVAL, "map options: VMM_WIRED without rights", 0);
  if ((options->flags & VMM_WIRED) && !vmmi_space_has_window(space))
    return vmmi_error(-ENOTSUP, "wire: the space has no window", 0);
  error = vmmi_space_check_range(space, any ? 0 : va, nbytes);
  if (error == 0)
    error = vmmi_map_check_rights(space, options->object, options->flags,
                                  options->rights);
  return error != 0 ? error : vmmi_map_check_object(space, options->object,
                                                    options->offset, nbytes);
}

static struct vmmi_region *make_region(struct vmm_space *space, vmm_addr_t va,
                                       uint64_t nbytes,
                                       const struct vmm_map_options *options)
{
  struct vmmi_region *region = vmmi_region_new();

  if (region == NULL)
    return NULL;
  region->start = va;
  region->end = va + nbytes;
  region->space = space;
  region->offset = options->offset;
  region->rights = options->rights;
  region->flags = options->flags & REGION_FLAGS & ~VMM_WIRED;
  if ((space->flags & (VMM_EXACT | VMM_CHECKED)) || space->max_frames != 0)
    region->flags |= VMM_EXACT;
  region->cookie = options->cookie;
  if (options->object != NULL)
    region->object = vmm_object_hold(options->object);
  return region;
}

int vmmi_map_join(struct vmmi_region *region)
{
  struct vmm_object *object = region->object;
  int error = 0;

  if (object == NULL)
    return 0;
  pthread_mutex_lock(&object->lock);
  if (object->regions != NULL &&
      object->regions->space->page_shift != region->space->page_shift)
    error = vmmi_error(-EINVAL, "map: another page size maps the object", 0);
  if (error == 0) {
    vmmi_region_link(region);
    if (vmmi_region_is_shared(region))
      error = vmmi_tracker_attach(region);
    if (error != 0)
      vmmi_region_unlink(region);
  }
  pthread_mutex_unlock(&object->lock);
  return error;
}

static int choose_place(struct vmm_space *space, vmm_addr_t *va,
                        uint64_t nbytes, const struct vmm_map_options *options)
{
  uint64_t align = vmmi_max(options->align, space->page_nbytes);
  struct vmmi_region *next;

  if ((options->flags & VMM_HUGE) && options->align == 0)
    align = VMMI_CHUNK_SIZE;
  if (options->flags & VMM_ANY) {
    if (*va > space->size)
      return vmmi_error(-ENOMEM, "map: no free place", 0);
    *va = vmmi_region_place(space->regions,
                            vmmi_align_up(*va, space->page_nbytes),
                            space->size, nbytes, align);
    return *va != UINT64_MAX ? 0 : vmmi_error(-ENOMEM, "map: no free place", 0);
  }
  next = vmmi_region_from(space->regions, *va);
  if (next != NULL && next->start < *va + nbytes &&
      !(options->flags & VMM_REPLACE))
    return vmmi_error(-EEXIST, "map: something is mapped there", 0);
  return 0;
}

static int count_private(vmm_addr_t va, vmmi_pte_slot *slot, void *count)
{
  (void)va;
  *(uint64_t *)count += vmmi_pte_is_private(atomic_load(slot));
  return 0;
}

/* Wired memory takes its frames now: it must not be found out only when what it
 * replaces is gone that they are too many.  => space locked */
static int check_wired_limit(struct vmm_space *space, vmm_addr_t va,
                             uint64_t nbytes,
                             const struct vmm_map_options *options)
{
  uint64_t frames = atomic_load(&space->counters.frames);
  uint64_t freed = 0;

  if (!(options->flags & VMM_WIRED) || space->max_frames == 0 ||
      !(options->rights & VMM_WRITE) ||
      (options->object != NULL && !(options->flags & VMM_PRIVATE)))
    return 0;
  vmmi_pagetable_each(&space->pt, va, va + nbytes, count_private, &freed);
  if (frames - freed + (nbytes >> space->page_shift) > space->max_frames)
    return vmmi_error(-ENOMEM, "map: wired memory beyond max_frames", 0);
  return 0;
}

/* Memory that is watched can't be wired, which must be found out before what it
 * replaces is gone.  => space locked, the region joined to its object */
static int check_unwatched(struct vmmi_region *region,
                           const struct vmm_map_options *options)
{
  vmm_pte_t watched;

  if (!(options->flags & VMM_WIRED))
    return 0;
  vmmi_map_lock_object(region);
  watched = vmmi_tracker_watch(region, region->start,
                               region->end - region->start).all;
  vmmi_map_unlock_object(region);
  return watched == 0
             ? 0
             : vmmi_error(-EBUSY, "wire: a tracker watches the range", 0);
}

int vmmi_map_locked(struct vmm_space *space, vmm_addr_t *va, uint64_t nbytes,
                    const struct vmm_map_options *options)
{
  struct vmmi_cuts cuts = { .count = 0 };
  struct vmmi_region *region = NULL;
  vmm_addr_t at = *va;
  int error = choose_place(space, &at, nbytes, options);

  if (error == 0)
    error = check_wired_limit(space, at, nbytes, options);
  if (error == 0)
    error = vmmi_map_prepare_cuts(space, &cuts, at, at + nbytes);
  if (error == 0)
    error = vmmi_map_prepare_remove(space, at, at + nbytes);
  if (error != 0)
    goto out;
  region = make_region(space, at, nbytes, options);
  error = region != NULL ? vmmi_map_join(region)
                         : vmmi_error(-ENOMEM, "region: malloc", ENOMEM);
  if (error != 0)
    goto out;
  error = check_unwatched(region, options);
  if (error != 0) {
    vmmi_map_forget(region);
    region = NULL;
    goto out;
  }
  vmmi_map_cut(space, &cuts, at);
  vmmi_map_cut(space, &cuts, at + nbytes);
  if (options->flags & VMM_REPLACE)
    vmmi_map_remove(space, at, at + nbytes);
  region->serial = ++space->serial;
  vmmi_region_insert(&space->regions, region);
  vmmi_count(&space->counters.mapped, nbytes);
  vmmi_lazy_note(space, at, nbytes);
  region = NULL;
  *va = at;
out:
  vmmi_region_free(region);
  vmmi_map_free_cuts(&cuts);
  return error;
}

int vmm_map(struct vmm_space *space, vmm_addr_t *va, uint64_t nbytes,
            const struct vmm_map_options *options)
{
  vmm_addr_t at;
  int error = vmmi_space_check(space);

  if (error == 0 && (va == NULL || options == NULL))
    error = vmmi_error(-EINVAL, "map: no options, or no place for va", 0);
  if (error == 0)
    error = check_map(space, *va, nbytes, options);
  if (error != 0)
    return error;
  at = *va;
  vmmi_space_lock(space);
  error = vmmi_map_locked(space, &at, nbytes, options);
  vmmi_space_unlock(space);
  if (error == 0 && (options->flags & VMM_WIRED)) {
    error = vmm_wire(space, at, nbytes);
    if (error != 0)
      vmm_unmap(space, at, nbytes);
  }
  if (error == 0)
    *va = at;
  return error;
}

int vmm_map_anon(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                 uint32_t rights_and_flags)
{
  struct vmm_map_options options = {
    .rights = rights_and_flags & ALL_RIGHTS,
    .flags = rights_and_flags & ~(uint32_t)ALL_RIGHTS,
  };

  if (rights_and_flags & VMM_ANY)
    return vmmi_error(-EINVAL, "map_anon: VMM_ANY needs vmm_map()", 0);
  return vmm_map(space, &va, nbytes, &options);
}
