/*
 * The logs of snapshots, and what the fault path and those who take frames away
 * put there.  Records are written once, and only while theirs is the latest.
 */
#include "snapshot.h"

#include <errno.h>

#include "metadata.h"

static size_t log_nbytes(const struct vmm_space *space)
{
  return sizeof(struct vmmi_log) +
         vmmi_leaf_pages(&space->pt) * sizeof(uint64_t);
}

/* ---- logs ---- */

static struct vmmi_log *find_log(const struct vmm_snapshot *snapshot,
                                 const struct vmmi_leaf *leaf)
{
  struct vmmi_log *log = leaf->log;

  while (log != NULL && log->snapshot != snapshot)
    log = log->older;
  return log;
}

void vmmi_log_push(struct vmmi_log *log, struct vmm_snapshot *snapshot)
{
  log->snapshot = snapshot;
  log->next = atomic_load(&snapshot->logs);
  while (!atomic_compare_exchange_weak(&snapshot->logs, &log->next, log))
    ;
}

struct vmmi_log *vmmi_log_open(struct vmm_snapshot *snapshot,
                               struct vmmi_leaf *leaf, vmm_addr_t va)
{
  struct vmmi_log *log = find_log(snapshot, leaf);

  if (log != NULL)
    return log;
  log = vmmi_metadata_alloc(log_nbytes(snapshot->space));
  if (log == NULL)
    return NULL;
  log->leaf = leaf;
  log->va = vmmi_align_down(va, VMMI_CHUNK_SIZE);
  log->run = VMMI_NO_RUN;
  log->older = leaf->log;
  leaf->log = log;
  vmmi_log_push(log, snapshot);
  return log;
}

void vmmi_log_unlink(struct vmmi_log *log)
{
  struct vmmi_log **place = &log->leaf->log;

  while (*place != log)
    place = &(*place)->older;
  *place = log->older;
}

void vmmi_log_free(struct vmmi_log *log, struct vmmi_free_batch *batch)
{
  struct vmm_space *space = log->snapshot->space;

  for (unsigned i = vmmi_log_next(log, 0); i != VMMI_LOG_END;
       i = vmmi_log_next(log, i + 1))
    if (log->record[i] > VMMI_RECORD_NOTHING)
      vmmi_frame_release_batch(batch, log->record[i] - 1, space->page_frames);
  if (log->run != VMMI_NO_RUN)
    vmmi_run_drop(log->run);
  vmmi_metadata_free(log, log_nbytes(space));
}

uint64_t vmmi_log_find(const struct vmm_snapshot *snapshot,
                       const struct vmmi_leaf *leaf, unsigned i)
{
  const struct vmmi_log *log = find_log(snapshot, leaf);

  return log != NULL ? log->record[i] : 0;
}

uint64_t vmmi_log_then(const struct vmm_snapshot *snapshot,
                       const struct vmmi_leaf *leaf, unsigned i)
{
  vmm_pte_t pte = atomic_load(&leaf->pte[i]);
  uint64_t record = 0;

  for (const struct vmmi_log *log = leaf->log;
       log != NULL && log->snapshot->number >= snapshot->number;
       log = log->older)
    if (log->record[i] != 0)
      record = log->record[i];
  if (record != 0)
    return record;
  return vmmi_pte_is_private(pte) ? vmm_pte_frame(pte) + 1
                                  : VMMI_RECORD_NOTHING;
}

void vmmi_log_put(struct vmmi_log *log, unsigned i, uint64_t record)
{
  log->record[i] = record;
  log->some[i / 64] |= (uint64_t)1 << i % 64;
  log->count++;
}

uint64_t vmmi_log_take(struct vmmi_log *log, unsigned i)
{
  uint64_t record = log->record[i];

  log->record[i] = 0;
  log->some[i / 64] &= ~((uint64_t)1 << i % 64);
  log->count--;
  return record;
}

/* A frame for the copy of page i: its place in the log's run, or, where
 * somebody still holds what was there, in a new one. */
static int take_copy(struct vmmi_log *log, unsigned i, uint64_t *frame)
{
  struct vmm_space *space = log->snapshot->space;
  uint64_t place = (uint64_t)i * space->page_frames;
  uint64_t fresh;
  int error;

  *frame = log->run + place;
  if (log->run != VMMI_NO_RUN && vmmi_frame_take(*frame, space->page_frames))
    return 0;
  error = vmmi_run_take(&fresh);
  if (error != 0)
    return -ENOMEM;
  if (log->run != VMMI_NO_RUN)
    vmmi_run_drop(log->run);
  log->run = fresh;
  *frame = fresh + place;
  vmmi_frame_take(*frame, space->page_frames);
  return 0;
}

int vmmi_log_copy(struct vmmi_log *log, vmm_addr_t va, vmm_pte_t pte)
{
  struct vmm_space *space = log->snapshot->space;
  unsigned i = vmmi_leaf_index(&space->pt, va);
  uint64_t frame = vmm_pte_frame(pte);
  int error = 0;

  if (!vmmi_pte_is_private(pte)) {
    vmmi_log_put(log, i, VMMI_RECORD_NOTHING);
    return 0;
  }
  if (pte & VMM_PTE_COW) { /* nobody writes it: a hold is as good */
    vmmi_frame_hold(frame);
    vmmi_log_put(log, i, frame + 1);
    return 0;
  }
  error = take_copy(log, i, &frame);
  if (error != 0)
    return error;
  if (vmmi_alias_copy(vmmi_arena_pointer(frame),
                      vmmi_arena_pointer(vmm_pte_frame(pte)),
                      space->page_nbytes) != 0) {
    vmmi_frame_release(frame, space->page_frames);
    return -ENOMEM; /* the host has no page for the copy */
  }
  vmmi_count(&space->counters.saved, 1);
  vmmi_log_put(log, i, frame + 1);
  return 0;
}

/* ---- for the fault path ---- */

vmm_pte_t vmmi_snapshot_watch(const struct vmmi_region *region)
{
  return region->space->snapshots != NULL && !vmmi_region_is_shared(region)
             ? VMM_PTE_SAVED
             : 0;
}

int vmmi_log_save(struct vmm_space *space, struct vmmi_leaf *leaf,
                  vmm_addr_t va, vmm_pte_t pte)
{
  struct vmm_snapshot *latest = space->snapshots;
  struct vmmi_log *log;

  if (pte & VMM_PTE_SAVED)
    return 0;
  log = vmmi_log_open(latest, leaf, va);
  if (log == NULL)
    return -ENOMEM;
  if (log->record[vmmi_leaf_index(&space->pt, va)] != 0)
    return 0;
  return vmmi_log_copy(log, va, pte);
}

int vmmi_snapshot_save(struct vmmi_region *region, struct vmmi_leaf *leaf,
                       vmm_addr_t va, vmm_pte_t pte)
{
  return vmmi_snapshot_watch(region) != 0
             ? vmmi_log_save(region->space, leaf, va, pte)
             : 0;
}

/* ---- for what takes frames away ---- */

/* => the log of the latest snapshot if it wants the page's frame, else NULL */
static struct vmmi_log *wanting(struct vmm_space *space, vmm_addr_t va,
                                vmm_pte_t pte)
{
  struct vmmi_log *log;

  if (space->snapshots == NULL || (pte & VMM_PTE_SAVED) ||
      !vmmi_pte_is_private(pte))
    return NULL;
  log = find_log(space->snapshots, vmmi_pagetable_walk(&space->pt, va, false));
  vmmi_assert(log != NULL, "snapshot: a log was not reserved");
  return log->record[vmmi_leaf_index(&space->pt, va)] == 0 ? log : NULL;
}

static int reserve_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct vmm_space *space = arg;
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, va, false);
  vmm_pte_t pte = atomic_load(slot);

  if ((pte & VMM_PTE_SAVED) || !vmmi_pte_is_private(pte) ||
      vmmi_log_open(space->snapshots, leaf, va) != NULL)
    return 0;
  return -ENOMEM;
}

int vmmi_snapshot_reserve(struct vmm_space *space, vmm_addr_t va,
                          vmm_addr_t end)
{
  if (space->snapshots != NULL &&
      vmmi_pagetable_each(&space->pt, va, end, reserve_entry, space) != 0)
    return vmmi_error(-ENOMEM, "snapshot: no memory for its log", ENOMEM);
  return 0;
}

void vmmi_snapshot_keep(struct vmm_space *space, vmm_addr_t va, vmm_pte_t pte)
{
  struct vmmi_log *log = wanting(space, va, pte);

  if (log == NULL)
    return;
  vmmi_frame_hold(vmm_pte_frame(pte));
  vmmi_log_put(log, vmmi_leaf_index(&space->pt, va), vmm_pte_frame(pte) + 1);
}

struct moving {
  struct vmm_space *space;
  vmm_addr_t from, to;
};

/* A page that a pin reads must keep its frame for itself: it is copied now. */
static int reserve_moved(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  const struct moving *moving = arg;
  struct vmm_space *space = moving->space;
  vmm_addr_t at = va - moving->from + moving->to;
  struct vmmi_leaf *to = vmmi_pagetable_walk(&space->pt, at, false);
  vmm_pte_t pte = atomic_load(slot);

  if (!vmmi_pte_is_private(pte))
    return 0;
  if (vmmi_log_open(space->snapshots, to, at) == NULL)
    return -ENOMEM;
  if (!(pte & VMM_PTE_COW) &&
      atomic_load(&vmmi_arena_frame(vmm_pte_frame(pte))->refs) > 1)
    return vmmi_log_save(space, vmmi_pagetable_walk(&space->pt, va, false), va,
                         pte);
  return reserve_entry(va, slot, space);
}

int vmmi_snapshot_reserve_move(struct vmm_space *space, vmm_addr_t va,
                               vmm_addr_t end, vmm_addr_t to)
{
  struct moving moving = { space, va, to };

  if (space->snapshots != NULL &&
      vmmi_pagetable_each(&space->pt, va, end, reserve_moved, &moving) != 0)
    return vmmi_error(-ENOMEM, "snapshot: no memory for its log", ENOMEM);
  return 0;
}

vmm_pte_t vmmi_snapshot_arrive(struct vmm_space *space, struct vmmi_leaf *leaf,
                               vmm_addr_t va, vmm_pte_t pte)
{
  unsigned i = vmmi_leaf_index(&space->pt, va);
  struct vmmi_log *log;

  if (space->snapshots == NULL)
    return pte;
  log = find_log(space->snapshots, leaf);
  if (log->record[i] == 0)
    vmmi_log_put(log, i, VMMI_RECORD_NOTHING);
  return pte | VMM_PTE_SAVED;
}

vmm_pte_t vmmi_snapshot_move(struct vmm_space *space, vmm_addr_t va,
                             vmm_addr_t to, vmm_pte_t pte)
{
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, to, false);

  if (space->snapshots == NULL || !vmmi_pte_is_private(pte))
    return pte;
  if (wanting(space, va, pte) != NULL) {
    vmmi_snapshot_keep(space, va, pte);
    pte |= VMM_PTE_COW;
  }
  return vmmi_snapshot_arrive(space, leaf, to, pte);
}

/* ---- for the checker ---- */

bool vmmi_snapshot_has(struct vmm_space *space, vmm_addr_t va)
{
  const struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, va, false);

  return leaf != NULL && vmmi_log_find(space->snapshots, leaf,
                                       vmmi_leaf_index(&space->pt, va)) != 0;
}

unsigned vmmi_snapshot_count(struct vmm_space *space)
{
  unsigned count = 0;

  for (struct vmm_snapshot *s = space->snapshots; s != NULL; s = s->older)
    count++;
  return count;
}

static bool check_log(const struct vmmi_log *log)
{
  const struct vmm_space *space = log->snapshot->space;
  unsigned count = 0;

  for (unsigned i = 0; i < vmmi_leaf_pages(&space->pt); i++) {
    uint64_t record = log->record[i];

    count += record != 0;
    if ((record != 0) != (vmmi_log_next(log, i) == i))
      return false;
    if (record > VMMI_RECORD_NOTHING &&
        !vmmi_pte_is_private(vmm_pte_make(record - 1, 0)))
      return false;
  }
  return count == log->count && find_log(log->snapshot, log->leaf) == log;
}

int vmmi_snapshot_check(struct vmm_space *space)
{
  for (struct vmm_snapshot *s = space->snapshots; s != NULL; s = s->older)
    for (struct vmmi_log *log = atomic_load(&s->logs); log != NULL;
         log = log->next)
      if (log->snapshot != s || !check_log(log))
        return vmmi_error(-EPROTO, "check: a snapshot's log is wrong", 0);
  return 0;
}
