/*
 * Taking and dropping snapshots.  Layer 7.
 */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <vmm/snapshot.h>

#include "os.h"

/* ---- take ---- */

struct beginning {
  struct vmm_snapshot *snapshot;
  struct vmmi_region *region;
  bool narrower; /* some entry lost SWRITE */
};

/* A page that may be written without a fault is copied now. */
static int copy_if_written(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  const struct beginning *beginning = arg;
  struct vmm_space *space = beginning->snapshot->space;
  uint32_t flags = beginning->region->flags, rights = beginning->region->rights;
  vmm_pte_t pte = atomic_load(slot);
  struct vmmi_log *log;

  if (!vmmi_pte_is_private(pte) || (pte & VMM_PTE_COW))
    return 0;
  if (!((flags & VMM_WIRED) && (rights & VMM_WRITE)) &&
      !vmmi_frame_is_written(vmm_pte_frame(pte), space->page_frames))
    return 0;
  log = vmmi_log_open(beginning->snapshot,
                      vmmi_pagetable_walk(&space->pt, va, false), va);
  return log != NULL ? vmmi_log_copy(log, va, pte) : -ENOMEM;
}

static int begin_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct beginning *beginning = arg;
  struct vmm_space *space = beginning->snapshot->space;
  const struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, va, false);
  bool copied = vmmi_log_find(beginning->snapshot, leaf,
                              vmmi_leaf_index(&space->pt, va)) != 0;
  vmm_pte_t pte = atomic_load(slot), next;

  do
    next = copied ? pte | VMM_PTE_SAVED
                  : pte & ~(VMM_PTE_SAVED | VMM_PTE_SWRITE);
  while (!atomic_compare_exchange_weak(slot, &pte, next));
  beginning->narrower |= (pte & ~next & VMM_PTE_SWRITE) != 0;
  return 0;
}

/* Does one or the other to the entries of all private regions. */
static int each_entry(struct vmm_snapshot *snapshot,
                      int (*visit)(vmm_addr_t, vmmi_pte_slot *, void *))
{
  struct vmm_space *space = snapshot->space;
  struct beginning beginning = { .snapshot = snapshot };
  struct vmmi_region *region = vmmi_region_from(space->regions, 0);
  int error = 0;

  for (; error == 0 && region != NULL;
       region = vmmi_region_from(space->regions, region->end)) {
    if (vmmi_region_is_shared(region))
      continue;
    beginning.region = region;
    beginning.narrower = false;
    error = vmmi_pagetable_each(&space->pt, region->start, region->end, visit,
                                &beginning);
    if (beginning.narrower)
      vmmi_window_narrow(space, region->start, region->end - region->start);
  }
  return error;
}

static void free_logs(struct vmm_snapshot *snapshot)
{
  struct vmmi_log *log = atomic_exchange(&snapshot->logs, NULL);
  struct vmmi_free_batch batch = { 0 };

  while (log != NULL) {
    struct vmmi_log *next = log->next;

    vmmi_log_unlink(log);
    vmmi_log_free(log, &batch);
    log = next;
  }
  vmmi_frame_end_batch(&batch);
}

/* => space locked */
static int take_locked(struct vmm_snapshot *snapshot)
{
  struct vmm_space *space = snapshot->space;
  int error = vmmi_snapshot_copy_regions(snapshot);

  if (error == 0)
    error = each_entry(snapshot, copy_if_written);
  if (error != 0) {
    free_logs(snapshot);
    vmmi_snapshot_free_regions(snapshot);
    return vmmi_error(-ENOMEM, "snapshot: no memory for it", ENOMEM);
  }
  each_entry(snapshot, begin_entry);
  snapshot->older = space->snapshots;
  if (snapshot->older != NULL)
    snapshot->number = snapshot->older->number + 1;
  space->snapshots = snapshot;
  atomic_fetch_add(&space->users, 1);
  return 0;
}

int vmm_snapshot_take(struct vmm_snapshot **snapshot, struct vmm_space *space)
{
  struct vmm_snapshot *made;
  int error = vmmi_space_check(space);

  if (error == 0 && snapshot == NULL)
    error = vmmi_error(-EINVAL, "snapshot: no place for the handle", 0);
  if (error != 0)
    return error;
  made = vmmi_os_malloc(sizeof(*made));
  if (made == NULL)
    return vmmi_error(-ENOMEM, "snapshot: malloc", ENOMEM);
  made->space = space;
  vmmi_space_lock(space);
  error = take_locked(made);
  vmmi_space_unlock(space);
  if (error == 0)
    *snapshot = made;
  else
    free(made);
  return error;
}

/* ---- drop ---- */

/* Puts what the older log lacks there, and frees the rest. */
static void merge_log(struct vmmi_log *log, struct vmmi_log *older,
                      struct vmmi_free_batch *batch)
{
  for (unsigned i = vmmi_log_next(log, 0); i != VMMI_LOG_END;
       i = vmmi_log_next(log, i + 1))
    if (older->record[i] == 0)
      vmmi_log_put(older, i, vmmi_log_take(log, i));
  vmmi_log_unlink(log);
  vmmi_log_free(log, batch);
}

/* => space locked */
static void merge_logs(struct vmm_snapshot *snapshot)
{
  struct vmmi_log *log = atomic_exchange(&snapshot->logs, NULL);
  struct vmmi_free_batch batch = { 0 };

  while (log != NULL) {
    struct vmmi_log *next = log->next, *older = log->older;

    if (older != NULL && older->snapshot == snapshot->older)
      merge_log(log, older, &batch);
    else
      vmmi_log_push(log, snapshot->older);
    log = next;
  }
  vmmi_frame_end_batch(&batch);
}

void vmm_snapshot_drop(struct vmm_snapshot *snapshot)
{
  struct vmm_snapshot **place;
  struct vmm_space *space;

  if (snapshot == NULL)
    return;
  space = snapshot->space;
  if (vmmi_space_check(space) != 0)
    return; /* a child of fork: all of it is the parent's */
  vmmi_space_lock(space);
  place = &space->snapshots;
  while (*place != snapshot)
    place = &(*place)->older;
  *place = snapshot->older;
  if (snapshot->older != NULL)
    merge_logs(snapshot);
  else
    free_logs(snapshot);
  vmmi_snapshot_free_regions(snapshot);
  atomic_fetch_sub(&space->users, 1);
  vmmi_space_unlock(space);
  free(snapshot);
}
