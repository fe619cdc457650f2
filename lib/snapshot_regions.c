/*
 * The regions of a snapshot.  A region that shows now what it showed then gets
 * its rights and the rest back in place; what else is mapped goes, and what is
 * missing comes again.  The bytes are snapshot_restore.c's.  Layer 4.
 */
#include "snapshot.h"

#include <errno.h>

#include "lazy.h"
#include "map.h"

/* ---- copying ---- */

void vmmi_snapshot_free_regions(struct vmm_snapshot *snapshot)
{
  struct vmmi_region *region;

  while ((region = snapshot->regions) != NULL) {
    snapshot->regions = region->right;
    vmmi_region_free(region);
  }
}

int vmmi_snapshot_copy_regions(struct vmm_snapshot *snapshot)
{
  struct vmmi_region *root = snapshot->space->regions;
  struct vmmi_region **end = &snapshot->regions;

  for (struct vmmi_region *region = vmmi_region_from(root, 0); region != NULL;
       region = vmmi_region_from(root, region->end)) {
    struct vmmi_region *copy = vmmi_region_new();

    if (copy == NULL) {
      vmmi_snapshot_free_regions(snapshot);
      return -ENOMEM;
    }
    vmmi_region_copy(copy, region);
    *end = copy;
    end = &copy->right;
  }
  return 0;
}

/* ---- comparing ---- */

#define FIXED_FLAGS (~(uint32_t)VMM_WIRED)

static bool has_same_fields(const struct vmmi_region *a,
                            const struct vmmi_region *b)
{
  return a->rights == b->rights && a->cookie == b->cookie &&
         a->handler == b->handler && a->handler_arg == b->handler_arg &&
         (a->flags & FIXED_FLAGS) == (b->flags & FIXED_FLAGS);
}

/* => whether both show the same where they overlap */
static bool shows_same(const struct vmmi_region *a, const struct vmmi_region *b)
{
  return a->object == b->object &&
         vmmi_region_is_shared(a) == vmmi_region_is_shared(b) &&
         (a->object == NULL || a->offset - a->start == b->offset - b->start);
}

static bool is_unchanged(const struct vmm_snapshot *snapshot)
{
  struct vmmi_region *root = snapshot->space->regions;
  const struct vmmi_region *then = snapshot->regions;
  const struct vmmi_region *now = vmmi_region_from(root, 0);

  for (; then != NULL && now != NULL; then = then->right) {
    if (now->start != then->start || now->end != then->end ||
        !shows_same(now, then) || !has_same_fields(now, then))
      return false;
    now = vmmi_region_from(root, now->end);
  }
  return then == NULL && now == NULL;
}

/* ---- preparing ---- */

/* A piece of what was mapped then, to be mapped again. */
static int add_piece(struct vmmi_snapshot_plan *plan,
                     const struct vmmi_region *then, vmm_addr_t va,
                     vmm_addr_t end)
{
  struct vmm_space *space = plan->snapshot->space;
  struct vmmi_region *piece;
  int error = vmmi_snapshot_reserve(space, va, end);

  if (error != 0)
    return error;
  piece = vmmi_region_new();
  if (piece == NULL)
    return vmmi_error(-ENOMEM, "snapshot: malloc of a region", ENOMEM);
  vmmi_region_copy(piece, then);
  piece->start = va;
  piece->end = end;
  piece->offset = then->offset + (va - then->start);
  piece->flags &= FIXED_FLAGS;
  error = vmmi_map_join(piece);
  if (error != 0) {
    vmmi_region_free(piece);
    return error;
  }
  piece->right = plan->added;
  plan->added = piece;
  return 0;
}

/* => whatever is mapped in [va, end) lies there wholly */
static int prepare_region(struct vmmi_snapshot_plan *plan,
                          const struct vmmi_region *then)
{
  struct vmm_space *space = plan->snapshot->space;
  int error = 0;

  for (vmm_addr_t va = then->start; error == 0 && va < then->end;) {
    struct vmmi_region *now = vmmi_region_from(space->regions, va);
    vmm_addr_t stop = then->end;

    if (now != NULL && now->start <= va)
      stop = now->end;
    else if (now != NULL)
      stop = vmmi_min(now->start, then->end);
    if (now == NULL || now->start > va || !shows_same(now, then))
      error = add_piece(plan, then, va, stop);
    va = stop;
  }
  return error;
}

static int cut_at(struct vmm_space *space, const struct vmmi_region *then)
{
  struct vmmi_cuts cuts = { .count = 0 };
  int error = vmmi_map_prepare_cuts(space, &cuts, then->start, then->end);

  if (error != 0)
    return error;
  vmmi_map_cut(space, &cuts, then->start);
  vmmi_map_cut(space, &cuts, then->end);
  vmmi_map_free_cuts(&cuts);
  return 0;
}

int vmmi_snapshot_prepare_regions(struct vmmi_snapshot_plan *plan)
{
  struct vmm_space *space = plan->snapshot->space;
  vmm_addr_t va = 0;
  int error;

  if (is_unchanged(plan->snapshot))
    return 0;
  plan->changed = true;
  error = vmmi_map_prepare_remove(space, 0, 0);
  for (struct vmmi_region *then = plan->snapshot->regions;
       error == 0 && then != NULL; then = then->right) {
    error = cut_at(space, then);
    if (error == 0)
      error = vmmi_snapshot_reserve(space, va, then->start);
    if (error == 0)
      error = prepare_region(plan, then);
    va = then->end;
  }
  if (error == 0)
    error = vmmi_snapshot_reserve(space, va, space->size);
  if (error != 0)
    vmmi_snapshot_end_regions(plan);
  return error;
}

/* ---- applying ---- */

static void remove_all(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end)
{
  struct vmmi_region *region = vmmi_region_from(space->regions, va);

  if (region != NULL && region->start < end)
    vmmi_map_remove(space, va, end);
}

static void set_fields(struct vmmi_snapshot_plan *plan,
                       struct vmmi_region *region,
                       const struct vmmi_region *then)
{
  bool wired = (region->flags & VMM_WIRED) != 0;
  bool other = (region->flags ^ then->flags) & VMM_SUPERVISOR;

  plan->wired |= wired && region->rights != then->rights;
  vmmi_map_lock_object(region);
  region->flags = then->flags & FIXED_FLAGS;
  if (wired)
    region->flags |= VMM_WIRED;
  region->offset = then->offset + (region->start - then->start);
  region->cookie = then->cookie;
  region->handler = then->handler;
  region->handler_arg = then->handler_arg;
  region->serial = then->serial;
  vmmi_map_unlock_object(region);
  if (other || region->rights != then->rights)
    vmmi_map_set_rights(region->space, region, then->rights);
}

void vmmi_snapshot_apply_regions(struct vmmi_snapshot_plan *plan)
{
  struct vmm_space *space = plan->snapshot->space;
  struct vmmi_region *piece;
  vmm_addr_t va = 0;

  if (!plan->changed)
    return;
  while ((piece = plan->added) != NULL) {
    plan->added = piece->right;
    remove_all(space, piece->start, piece->end);
    vmmi_region_insert(&space->regions, piece);
    vmmi_count(&space->counters.mapped, piece->end - piece->start);
  }
  for (struct vmmi_region *then = plan->snapshot->regions; then != NULL;
       then = then->right) {
    if (va < then->start)
      remove_all(space, va, then->start);
    for (va = then->start; va < then->end;) {
      struct vmmi_region *now = vmmi_region_at(space->regions, va);

      set_fields(plan, now, then);
      va = now->end;
    }
  }
  if (va < space->size)
    remove_all(space, va, space->size);
  vmmi_lazy_note(space, 0, space->size);
  vmmi_snapshot_end_regions(plan);
}

void vmmi_snapshot_end_regions(struct vmmi_snapshot_plan *plan)
{
  struct vmm_space *space = plan->snapshot->space;
  struct vmmi_region *piece;

  while ((piece = plan->added) != NULL) {
    plan->added = piece->right;
    vmmi_map_forget(piece);
  }
  if (plan->changed) /* what was cut */
    vmmi_map_mend(space, 0, space->size);
}
