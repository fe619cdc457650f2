/*
 * Loading a snapshot's file into a space.  All is read and checked beforehand,
 * and what the change may need is got; then the space changes in one step,
 * under its lock.
 */
#include "snapshot_file.h"

#include <errno.h>

#include <vmm/space.h>

#include "lazy.h"
#include "tracker.h"

/* ---- into a space ---- */

/* Leaves for the pages, and room for them in the latest snapshot. */
static int prepare_loading(struct vmmi_image *image)
{
  struct vmm_space *space = image->space;
  struct vmmi_leaf *leaf;

  for (vmm_addr_t va = 0;
       vmmi_pagetable_next(&image->pt, &va, image->pt.size) != NULL;
       va += VMMI_CHUNK_SIZE) {
    leaf = vmmi_pagetable_walk(&space->pt, va, true);
    if (leaf == NULL || (space->snapshots != NULL &&
                         vmmi_log_open(space->snapshots, leaf, va) == NULL))
      return vmmi_error(-ENOMEM, "snapshot file: page table", ENOMEM);
  }
  return 0;
}

/* Joins the regions to their objects, or none. */
static int join_regions(struct vmmi_image *image)
{
  struct vmmi_region *region, *joined;
  int error = 0;

  for (region = image->regions; region != NULL; region = region->right) {
    error = vmmi_map_join(region);
    if (error != 0)
      break;
  }
  if (error == 0)
    return 0;
  for (joined = image->regions; joined != region; joined = image->regions) {
    image->regions = joined->right;
    vmmi_map_forget(joined);
  }
  return error;
}

static void remove_regions(struct vmm_space *space)
{
  struct vmmi_region *region;

  while ((region = vmmi_region_from(space->regions, 0)) != NULL)
    vmmi_map_remove(space, region->start, region->end);
}

static void insert_regions(struct vmmi_image *image)
{
  struct vmm_space *space = image->space;
  struct vmmi_region *region;

  while ((region = image->regions) != NULL) {
    image->regions = region->right;
    if ((space->flags & (VMM_EXACT | VMM_CHECKED)) || space->max_frames != 0)
      region->flags |= VMM_EXACT;
    region->serial += space->serial + 1;
    vmmi_region_insert(&space->regions, region);
    vmmi_count(&space->counters.mapped, region->end - region->start);
  }
  space->serial += image->nregions;
}

/* One page of the image becomes the space's. */
static void give_image_page(struct vmm_space *space, struct vmmi_leaf *leaf,
                            vmm_addr_t va, vmm_pte_t pte)
{
  struct vmmi_region *region = vmmi_region_at(space->regions, va);
  vmm_pte_t bits = vmmi_region_bits(region) | VMM_PTE_MODIFIED |
                   vmmi_tracker_watch(region, va, space->page_nbytes).all;

  atomic_store(&leaf->pte[vmmi_leaf_index(&space->pt, va)],
               vmmi_snapshot_arrive(space, leaf, va, pte | bits));
}

/* A leaf's frames, with the run that they lie in.  The space's own leaf is
 * empty. */
static void give_leaf(struct vmmi_image *image, struct vmmi_leaf *from,
                      vmm_addr_t va)
{
  struct vmm_space *space = image->space;
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, va, false);

  vmmi_assert(atomic_load(&leaf->run) == VMMI_NO_RUN,
              "snapshot_load: a leaf that is not empty");
  atomic_store(&leaf->run, atomic_exchange(&from->run, VMMI_NO_RUN));
  for (unsigned i = 0; i < vmmi_leaf_pages(&space->pt); i++) {
    vmm_pte_t pte = atomic_load(&from->pte[i]);

    if (pte != 0)
      give_image_page(space, leaf, va + ((vmm_addr_t)i << space->page_shift),
                      pte);
  }
}

/* => space locked */
static int apply_image(struct vmmi_image *image)
{
  struct vmm_space *space = image->space;
  struct vmmi_leaf *leaf;
  int error = vmmi_map_prepare_remove(space, 0, space->size);

  if (error == 0)
    error = prepare_loading(image);
  if (error == 0)
    error = join_regions(image);
  if (error != 0)
    return error;
  remove_regions(space);
  vmmi_map_drop_runs(space, 0, space->size);
  insert_regions(image);
  for (vmm_addr_t va = 0; (leaf = vmmi_pagetable_next(
                               &image->pt, &va, image->pt.size)) != NULL;
       va += VMMI_CHUNK_SIZE)
    give_leaf(image, leaf, va);
  vmmi_count(&space->counters.frames, image->npages);
  vmmi_lazy_note(space, 0, space->size);
  return 0;
}

static int load_into(struct vmmi_image *image)
{
  struct vmm_space *space = image->space;
  int error;

  if (image->page_nbytes != space->page_nbytes)
    return vmmi_error(-EINVAL, "snapshot file: of another page size", 0);
  error = vmmi_image_read(image);
  if (error == 0)
    error = vmmi_image_fill(image);
  if (error != 0)
    return error;
  vmmi_space_lock(space);
  error = apply_image(image);
  vmmi_space_unlock(space);
  return error;
}

/* ---- the public side ---- */

static int begin_loading(struct vmmi_image *image, const char *path,
                         const struct vmm_snapshot_options *options)
{
  static const struct vmm_snapshot_options none;
  int error;

  *image = (struct vmmi_image){ .options = options != NULL ? options : &none,
                                .fd = -1 };
  error = vmmi_file_check_options(image->options);
  return error != 0 ? error : vmmi_image_open(image, path);
}

int vmm_snapshot_load(struct vmm_space *space, const char *path,
                      const struct vmm_snapshot_options *options)
{
  struct vmmi_image image;
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  error = begin_loading(&image, path, options);
  image.space = space;
  if (error == 0)
    error = load_into(&image);
  vmmi_image_end(&image);
  return error;
}

int vmm_space_load(struct vmm_space **space,
                   const struct vmm_space_options *space_options,
                   const char *path, const struct vmm_snapshot_options *options)
{
  struct vmm_space_options made = { 0 };
  struct vmmi_image image;
  int error = vmmi_thread_check_process();

  if (error == 0 && space == NULL)
    error = vmmi_error(-EINVAL, "snapshot file: no place for the space", 0);
  if (error != 0)
    return error;
  error = begin_loading(&image, path, options);
  if (space_options != NULL)
    made = *space_options;
  if (made.size == 0)
    made.size = image.size;
  if (made.page_size == 0)
    made.page_size = (uint32_t)image.page_nbytes;
  if (error == 0)
    error = vmm_space_create(&image.space, &made);
  if (error == 0)
    error = load_into(&image);
  vmmi_image_end(&image);
  if (error == 0)
    *space = image.space;
  else
    vmm_space_destroy(image.space);
  return error;
}
