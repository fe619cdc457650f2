/*
 * From what a snapshot's file says to what a space can take: objects, regions
 * that show them, frames with the bytes.  Nothing of it is seen by anybody yet.
 */
#include "snapshot_file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "crc.h"
#include "os.h"
#include "os_file.h"

/* ---- objects ---- */

static int make_object_of(struct vmmi_image_object *object)
{
  struct vmm_object_options options = { 0 };

  if (object->flags & VMMI_FILE_EXPORT)
    options.flags |= VMM_OBJECT_EXPORT;
  if (object->flags & VMMI_FILE_READONLY)
    options.flags |= VMM_OBJECT_READONLY;
  return vmm_object_create(&object->object, object->nbytes, &options);
}

static int ask_for_object(const struct vmmi_image *image,
                          struct vmmi_image_object *object)
{
  const struct vmm_snapshot_options *options = image->options;
  struct vmm_object *given = NULL;
  struct vmmi_away away;
  int error;

  if (options->open == NULL)
    return vmmi_error(-ENOTSUP, "snapshot file: nobody knows its objects", 0);
  vmmi_thread_away(&away);
  error = options->open(&given, object->name, options->arg);
  vmmi_thread_back(&away);
  if (error != 0)
    return vmmi_error(error < 0 ? error : -EINVAL,
                      "snapshot file: an object was not given", 0);
  if (!vmmi_object_valid(given))
    return vmmi_error(-EINVAL, "snapshot file: open gave no object", 0);
  object->object = given;
  return 0;
}

static int get_objects(struct vmmi_image *image)
{
  int error = 0;

  for (uint32_t i = 0; error == 0 && i < image->nobjects; i++)
    error = image->objects[i].bytes ? make_object_of(&image->objects[i])
                                    : ask_for_object(image, &image->objects[i]);
  return error;
}

static int show_object_in(const struct vmmi_image *image,
                          struct vmmi_region *region)
{
  const struct vmmi_image_object *object;
  int error;

  if (region->priority == 0)
    return 0;
  object = &image->objects[region->priority - 1];
  error = vmmi_map_check_object(image->space, object->object, region->offset,
                                region->end - region->start);
  if (error != 0)
    return object->bytes
               ? vmmi_image_damaged("snapshot file: a region leaves its object")
               : error;
  region->object = vmm_object_hold(object->object);
  return 0;
}

static void *ask_for_cookie(const struct vmmi_image *image, uint64_t was)
{
  const struct vmm_snapshot_options *options = image->options;
  struct vmmi_away away;
  void *cookie;

  if (options->cookie == NULL)
    return NULL;
  vmmi_thread_away(&away);
  cookie = options->cookie(was, options->arg);
  vmmi_thread_back(&away);
  return cookie;
}

static int complete_regions(struct vmmi_image *image)
{
  struct vmmi_region *region = image->regions;
  int error = 0;

  for (; error == 0 && region != NULL; region = region->right) {
    error = show_object_in(image, region);
    if (error == 0)
      error = vmmi_map_check_rights(image->space, region->object, region->flags,
                                    region->rights);
    if (error == 0)
      region->cookie = ask_for_cookie(image, (uintptr_t)region->cookie);
  }
  return error;
}

/* ---- bytes ---- */

/* Where the bytes of a run are to be: neighbours, in a file of memory. */
struct fill_place {
  int fd;
  uint64_t offset;
};

static int find_place(struct vmmi_image *image,
                      const struct vmmi_image_run *run,
                      struct fill_place *place)
{
  struct vmm_object *object = image->objects[run->owner - 1].object;
  uint64_t frame;
  int error;

  if (object->fd >= 0) {
    *place = (struct fill_place){ object->fd, object->fd_offset + run->start };
    return 0;
  }
  pthread_mutex_lock(&object->lock);
  error = vmmi_object_frame(object, run->start, &frame);
  pthread_mutex_unlock(&object->lock);
  if (error == 0)
    *place = (struct fill_place){ vmmi_arena_fd(), vmmi_arena_offset(frame) };
  return error;
}

/* Frames for the pages of the run, in the image's own page table. */
static int take_frames(struct vmmi_image *image,
                       const struct vmmi_image_run *run,
                       struct fill_place *place)
{
  const struct vmm_space *space = image->space;
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&image->pt, run->start, true);
  unsigned first = vmmi_leaf_index(&image->pt, run->start);
  uint64_t fresh, frame;

  if (leaf == NULL)
    return -ENOMEM;
  if (atomic_load(&leaf->run) == VMMI_NO_RUN) {
    if (vmmi_run_take(&fresh) != 0)
      return -ENOMEM;
    atomic_store(&leaf->run, fresh);
  }
  frame = atomic_load(&leaf->run) + (uint64_t)first * space->page_frames;
  *place = (struct fill_place){ vmmi_arena_fd(), vmmi_arena_offset(frame) };
  for (unsigned i = first; i < first + run->units; i++) {
    vmmi_frame_take(frame, space->page_frames);
    atomic_store(&leaf->pte[i], vmm_pte_make(frame, 0));
    frame += space->page_frames;
  }
  image->npages += run->units;
  return 0;
}

/* => whether a run of units that need no place has one that is all zeros */
static bool has_zeros(const char *bytes, uint32_t units, size_t unit)
{
  for (uint32_t i = 0; i < units; i++)
    if (vmmi_file_is_zero(bytes + i * unit, unit))
      return true;
  return false;
}

/* => whether an object's bytes are behind the run's pages.  To be asked for one
 *    run after another: *from goes along. */
static bool hides_object(const struct vmmi_region **from,
                         const struct vmmi_image_run *run)
{
  while ((*from)->end <= run->start)
    *from = (*from)->right;
  return (*from)->object != NULL;
}

/* The run's bytes, from the file into the buffer.  -EBADMSG ... */
static int read_run(struct vmmi_image *image, const struct vmmi_image_run *run,
                    uint64_t offset, const struct vmmi_region **region)
{
  size_t unit = run->owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT;
  size_t nbytes = run->units * unit;
  int error = vmmi_os_pread(image->fd, image->bytes, nbytes, offset);

  if (error != 0)
    return vmmi_error(error, "snapshot file: pread", -error);
  if (vmmi_crc(0, image->bytes, nbytes) != run->sum)
    return vmmi_image_damaged("snapshot file: the sum of a run");
  if ((run->owner != 0 || !hides_object(region, run)) &&
      has_zeros(image->bytes, run->units, unit))
    return vmmi_image_damaged("snapshot file: zeros that need no place");
  return 0;
}

/* From the buffer to where they are to be.  Written, not copied: that maps no
 * page and clears none. */
static int put_run(struct vmmi_image *image, const struct vmmi_image_run *run)
{
  size_t unit = run->owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT;
  struct fill_place place;
  int error;

  vmmi_thread_enter();
  error = run->owner == 0 ? take_frames(image, run, &place)
                          : find_place(image, run, &place);
  vmmi_thread_leave();
  if (error != 0)
    return vmmi_error(error, "snapshot file: no frames", 0);
  error =
      vmmi_os_pwrite(place.fd, image->bytes, run->units * unit, place.offset);
  return error == 0 ? 0
                    : vmmi_error(-ENOMEM, "snapshot file: pwrite to frames",
                                 -error);
}

static int check_limits(const struct vmmi_image *image)
{
  const struct vmm_space *space = image->space;
  uint64_t limit = image->options->max_nbytes, nbytes = 0, pages = 0;

  for (uint64_t i = 0; i < image->nruns; i++) {
    const struct vmmi_image_run *run = &image->runs[i];

    pages += run->owner == 0 ? run->units : 0;
    nbytes += run->units *
              (run->owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT);
  }
  if (limit != 0 && nbytes > limit)
    return vmmi_error(-EFBIG, "snapshot file: more than max_nbytes", 0);
  if (space->max_frames != 0 && pages > space->max_frames)
    return vmmi_error(-EFBIG, "snapshot file: more than max_frames", 0);
  return 0;
}

int vmmi_image_fill(struct vmmi_image *image)
{
  const struct vmm_space *space = image->space;
  const struct vmmi_region *region;
  uint64_t offset = VMMI_FILE_UNIT;
  int error = check_limits(image);

  if (error == 0)
    error = get_objects(image);
  if (error == 0)
    error = complete_regions(image);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  error = vmmi_pagetable_init(&image->pt, space->size, space->page_shift);
  vmmi_thread_leave();
  if (error != 0)
    return vmmi_error(error, "snapshot file: page table", ENOMEM);
  image->has_pt = true;
  image->bytes = vmmi_os_malloc(VMMI_CHUNK_SIZE);
  if (image->bytes == NULL)
    return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  region = image->regions;
  for (uint64_t i = 0; error == 0 && i < image->nruns; i++) {
    const struct vmmi_image_run *run = &image->runs[i];

    error = read_run(image, run, offset, &region);
    if (error == 0)
      error = put_run(image, run);
    offset += run->units *
              (run->owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT);
  }
  return error;
}

/* ---- ending ---- */

static void free_frames(struct vmmi_image *image)
{
  struct vmmi_free_batch batch = { 0 };
  struct vmmi_leaf *leaf;
  vmm_addr_t va = 0;

  for (; (leaf = vmmi_pagetable_next(&image->pt, &va, image->pt.size)) != NULL;
       va += VMMI_CHUNK_SIZE) {
    uint64_t run = atomic_load(&leaf->run);

    if (run == VMMI_NO_RUN)
      continue; /* a space has it */
    for (unsigned i = 0; i < vmmi_leaf_pages(&image->pt); i++)
      if (atomic_load(&leaf->pte[i]) != 0)
        vmmi_frame_release_batch(&batch,
                                 vmm_pte_frame(atomic_load(&leaf->pte[i])),
                                 image->space->page_frames);
    vmmi_run_drop(run);
  }
  vmmi_frame_end_batch(&batch);
  vmmi_pagetable_end(&image->pt);
}

void vmmi_image_end(struct vmmi_image *image)
{
  struct vmmi_region *region;

  vmmi_thread_enter();
  if (image->has_pt)
    free_frames(image);
  while ((region = image->regions) != NULL) {
    image->regions = region->right;
    vmmi_region_free(region);
  }
  vmmi_thread_leave();
  /* without the array the number is only a claim */
  for (uint32_t i = 0; image->objects != NULL && i < image->nobjects; i++)
    vmm_object_release(image->objects[i].object);
  free(image->objects);
  free(image->runs);
  free(image->bytes);
  if (image->fd >= 0)
    close(image->fd);
}
