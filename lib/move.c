/*
 * Moving a range with its bytes and bits, and dropping the bytes of a range.
 */
#include <errno.h>

#include "lazy.h"
#include "map.h"
#include "snapshot.h"
#include "tracker.h"
#include "trampoline.h"

/* ---- move ---- */

struct move {
  struct vmm_space *space;
  vmm_addr_t from, to;
  uint64_t nbytes;
  bool wired; /* some of it is */
};

/* The leaves at the new place, so that moving entries can't fail.
 * => space locked */
static int prepare_leaves(const struct move *move)
{
  struct vmm_space *space = move->space;
  vmm_addr_t va = move->from;
  vmm_addr_t end = move->from + move->nbytes;

  for (; vmmi_pagetable_next(&space->pt, &va, end) != NULL;
       va = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE) {
    vmm_addr_t stop = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE;
    vmm_addr_t first = va - move->from + move->to;
    vmm_addr_t last = vmmi_min(stop, end) - 1 - move->from + move->to;

    if (vmmi_pagetable_walk(&space->pt, first, true) == NULL ||
        vmmi_pagetable_walk(&space->pt, last, true) == NULL)
      return vmmi_error(-ENOMEM, "move: page table", ENOMEM);
  }
  return 0;
}

static int move_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  const struct move *move = arg;
  struct vmm_space *space = move->space;
  vmm_addr_t at = va - move->from + move->to;
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, at, false);
  vmm_pte_t pte = atomic_exchange(slot, 0);

  pte = vmmi_snapshot_move(space, va, at, pte);
  if (pte & VMM_PTE_PRESENT)
    pte |= VMM_PTE_MODIFIED;
  atomic_store(&leaf->pte[vmmi_leaf_index(&space->pt, at)], pte);
  return 0;
}

/* => space locked; the region lies in the range; its windows are clear */
static void move_region(struct move *move, struct vmmi_region *region)
{
  struct vmm_space *space = move->space;
  vmm_addr_t start = region->start;
  vmm_addr_t end = region->end;

  vmmi_region_remove(&space->regions, region);
  vmmi_map_lock_object(region);
  vmmi_pagetable_each(&space->pt, start, end, move_entry, move);
  region->start = start - move->from + move->to;
  region->end = end - move->from + move->to;
  region->serial = ++space->serial; /* no piece of what it was */
  move->wired |= (region->flags & VMM_WIRED) != 0;
  vmmi_map_unlock_object(region);
  vmmi_region_insert(&space->regions, region);
}

/* => whether a wired page would come where the space's trackers look */
static bool wires_watched(const struct move *move)
{
  struct vmm_space *space = move->space;
  struct vmmi_region nowhere = { .space = space }; /* at any address */
  vmm_addr_t va = move->from, end = move->from + move->nbytes;

  while (va < end) {
    struct vmmi_region *region = vmmi_region_at(space->regions, va);
    uint64_t nbytes = vmmi_min(region->end, end) - va;

    if ((region->flags & VMM_WIRED) &&
        vmmi_tracker_watch(&nowhere, va - move->from + move->to, nbytes).all)
      return true;
    va += nbytes;
  }
  return false;
}

static int check_move(const struct move *move, uint32_t flags)
{
  struct vmm_space *space = move->space;
  struct vmmi_region *there;

  if (!vmmi_map_covers(space, move->from, move->from + move->nbytes))
    return vmmi_error(-ENOMEM, "a part of the range is not mapped", 0);
  if (vmmi_trampoline_is_in(space, move->from, move->from + move->nbytes))
    return vmmi_error(-ENOTSUP, "move: a trampoline page", 0);
  there = vmmi_region_from(space->regions, move->to);
  if (there != NULL && there->start < move->to + move->nbytes &&
      !(flags & VMM_REPLACE))
    return vmmi_error(-EEXIST, "move: something is mapped there", 0);
  if (wires_watched(move))
    return vmmi_error(-EBUSY, "move: wired, to where a tracker watches", 0);
  return 0;
}

/* => space locked */
static int move_locked(struct move *move, uint32_t flags)
{
  struct vmmi_cuts from = { .count = 0 }, to = { .count = 0 };
  struct vmm_space *space = move->space;
  vmm_addr_t end = move->from + move->nbytes;
  int error = check_move(move, flags);

  if (error == 0)
    error = vmmi_map_prepare_cuts(space, &from, move->from, end);
  if (error == 0)
    error = vmmi_map_prepare_cuts(space, &to, move->to,
                                  move->to + move->nbytes);
  if (error == 0)
    error = prepare_leaves(move);
  if (error == 0)
    error = vmmi_map_prepare_remove(space, move->to, move->to + move->nbytes);
  if (error == 0)
    error = vmmi_snapshot_reserve_move(space, move->from, end, move->to);
  if (error == 0) {
    vmmi_map_cut(space, &from, move->from);
    vmmi_map_cut(space, &from, end);
    vmmi_map_cut(space, &to, move->to);
    vmmi_map_cut(space, &to, move->to + move->nbytes);
    vmmi_map_remove(space, move->to, move->to + move->nbytes);
    vmmi_map_silence(space, move->from, end);
    for (vmm_addr_t va = move->from; va < end;) {
      struct vmmi_region *region = vmmi_region_at(space->regions, va);

      va = region->end;
      move_region(move, region);
    }
    vmmi_map_drop_runs(space, move->from, end);
    vmmi_tracker_note(space, move->from, move->nbytes);
    vmmi_tracker_note(space, move->to, move->nbytes);
    vmmi_lazy_note(space, move->from, move->nbytes);
    vmmi_lazy_note(space, move->to, move->nbytes);
  }
  vmmi_map_free_cuts(&from);
  vmmi_map_free_cuts(&to);
  return error;
}

int vmm_move(struct vmm_space *space, vmm_addr_t from, uint64_t nbytes,
             vmm_addr_t *to, uint32_t flags)
{
  struct move move = { .space = space, .from = from, .nbytes = nbytes };
  int error = vmmi_space_check_range(space, from, nbytes);

  if (error == 0 && to == NULL)
    error = vmmi_error(-EINVAL, "move: no place for to", 0);
  if (error == 0 && ((flags & ~(VMM_ANY | VMM_REPLACE)) ||
                     flags == (VMM_ANY | VMM_REPLACE)))
    error = vmmi_error(-EINVAL, "move: flags", 0);
  if (error != 0)
    return error;
  move.to = *to;
  if (!(flags & VMM_ANY)) {
    error = vmmi_space_check_range(space, move.to, nbytes);
    if (error == 0 && move.to < from + nbytes && from < move.to + nbytes)
      error = vmmi_error(-EINVAL, "move: the ranges overlap", 0);
  }
  if (error != 0)
    return error;
  vmmi_space_lock(space);
  if (flags & VMM_ANY) {
    move.to =
        move.to <= space->size
            ? vmmi_region_place(space->regions,
                                vmmi_align_up(move.to, space->page_nbytes),
                                space->size, nbytes, space->page_nbytes)
            : UINT64_MAX;
    if (move.to == UINT64_MAX)
      error = vmmi_error(-ENOMEM, "move: no free place", 0);
  }
  if (error == 0)
    error = move_locked(&move, flags);
  vmmi_space_unlock(space);
  if (error == 0)
    *to = move.to;
  if (error == 0 && move.wired)
    vmmi_wire_again(space, move.to, move.to + nbytes);
  return error;
}

/* ---- discard ---- */

struct discard {
  struct vmm_space *space;
  vmm_pte_t watched; /* trackers that report it */
  struct vmmi_free_batch batch;
};

/* What had bytes of its own reads dirty: they have changed. */
static int discard_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct discard *discard = arg;
  vmm_pte_t keep = VMM_PTE_MODIFIED | VMM_PTE_TRACKERS;
  vmm_pte_t pte = atomic_load(slot);
  vmm_pte_t next;

  vmmi_snapshot_keep(discard->space, va, pte);
  do {
    next = pte & keep;
    if (vmmi_pte_is_private(pte))
      next |= VMM_PTE_MODIFIED | discard->watched;
  } while (!atomic_compare_exchange_weak(slot, &pte, next));
  vmmi_space_release_frame(discard->space, pte, &discard->batch);
  return 0;
}

static void discard_region(struct vmm_space *space, struct vmmi_region *region,
                           vmm_addr_t va, vmm_addr_t end)
{
  struct discard discard = { .space = space };
  bool code = false;

  vmmi_map_lock_object(region);
  discard.watched = vmmi_tracker_watch(region, va, end - va).all;
  vmmi_pagetable_each(&space->pt, va, end, vmmi_map_silence_entry, &code);
  vmmi_map_unlock_object(region);
  vmmi_window_drop(space, va, end - va);
  if (code)
    vmmi_code_notify(space, va, end - va);
  if (vmmi_region_is_shared(region))
    return; /* its bytes are the object's: only the windows forget them */
  vmmi_pagetable_each(&space->pt, va, end, discard_entry, &discard);
  vmmi_frame_end_batch(&discard.batch);
}

static int check_discard(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  if (!vmmi_map_covers(space, va, end))
    return vmmi_error(-ENOMEM, "a part of the range is not mapped", 0);
  while (va < end) {
    struct vmmi_region *region = vmmi_region_at(space->regions, va);

    if (region->flags & VMM_WIRED)
      return vmmi_error(-EBUSY, "discard: a part of the range is wired", 0);
    va = region->end;
  }
  return 0;
}

int vmm_discard(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  vmm_addr_t end = va + nbytes;
  int error = vmmi_space_check_range(space, va, nbytes);

  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = check_discard(space, va, end);
  if (error == 0)
    error = vmmi_snapshot_reserve(space, va, end);
  while (error == 0 && va < end) {
    struct vmmi_region *region = vmmi_region_at(space->regions, va);
    vmm_addr_t stop = vmmi_min(end, region->end);

    discard_region(space, region, va, stop);
    va = stop;
  }
  vmmi_space_unlock(space);
  return error;
}
