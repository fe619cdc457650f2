/*
 * Reading what a snapshot's file says, which anybody may have written: every
 * field is checked, also against each other, before it is used.  Tables are
 * read through a small buffer and what is made of an entry is made only when it
 * has been checked, so that a claimed size alone takes no memory.
 */
#include "snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "crc.h"
#include "os.h"
#include "os_file.h"

int vmmi_image_damaged(const char *why)
{
  return vmmi_error(-EBADMSG, why, 0);
}

/* ---- what both sides share ---- */

static const struct {
  uint32_t flag, stored;
} flag_pairs[] = {
  { VMM_PRIVATE, VMMI_FILE_PRIVATE },
  { VMM_HUGE, VMMI_FILE_HUGE },
  { VMM_EXACT, VMMI_FILE_EXACT },
  { VMMI_REGION_NOT_INHERITED, VMMI_FILE_NOT_INHERITED },
  { VMM_SUPERVISOR, VMMI_FILE_SUPERVISOR },
  { VMM_WIRED, 0 }, /* not kept */
};

bool vmmi_file_put_flags(uint32_t flags, uint32_t *stored)
{
  *stored = 0;
  for (size_t i = 0; i < sizeof(flag_pairs) / sizeof(flag_pairs[0]); i++) {
    if (flags & flag_pairs[i].flag)
      *stored |= flag_pairs[i].stored;
    flags &= ~flag_pairs[i].flag;
  }
  return flags == 0;
}

bool vmmi_file_get_flags(uint32_t stored, uint32_t *flags)
{
  *flags = 0;
  for (size_t i = 0; i < sizeof(flag_pairs) / sizeof(flag_pairs[0]); i++) {
    if (stored & flag_pairs[i].stored)
      *flags |= flag_pairs[i].flag;
    stored &= ~flag_pairs[i].stored;
  }
  return stored == 0;
}

int vmmi_file_check_options(const struct vmm_snapshot_options *options)
{
  static const struct vmm_snapshot_options none;

  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "snapshot options: reserved fields not zero", 0);
  return 0;
}

/* ---- a stream of entries ---- */

struct read_entries {
  struct vmmi_image *image;
  uint64_t at;    /* of the next byte to be read */
  uint32_t sum;   /* of what was used */
  size_t first, end; /* of what is in the buffer and was not used */
  uint8_t buffer[16384];
};

/* => the next entry, in the buffer; NULL, and *error is set */
static const uint8_t *next_entry(struct read_entries *entries, size_t nbytes,
                                 int *error)
{
  struct vmmi_image *image = entries->image;
  size_t held = entries->end - entries->first;
  const uint8_t *entry;

  if (held < nbytes) {
    size_t more = (size_t)vmmi_min(sizeof(entries->buffer) - held,
                                   image->file_nbytes - entries->at);

    memmove(entries->buffer, entries->buffer + entries->first, held);
    *error = vmmi_os_pread(image->fd, entries->buffer + held, more,
                           entries->at);
    if (*error != 0) {
      vmmi_error(*error, "snapshot file: pread", -*error);
      return NULL;
    }
    entries->at += more;
    entries->first = 0;
    entries->end = held + more;
  }
  entry = entries->buffer + entries->first;
  entries->first += nbytes;
  entries->sum = vmmi_crc(entries->sum, entry, nbytes);
  return entry;
}

/* ---- the header ---- */

static int open_image(struct vmmi_image *image, const char *path)
{
  int saved = errno;
  struct stat st;
  int error = 0;

  if (path == NULL || *path == '\0')
    return vmmi_error(-EINVAL, "snapshot file: no path", 0);
  /* a pipe must not make us wait for its other end */
  image->fd = vmmi_os_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (image->fd < 0)
    return vmmi_error(image->fd, "snapshot file: open", -image->fd);
  if (fstat(image->fd, &st) != 0)
    error = vmmi_error(-errno, "snapshot file: fstat", errno);
  else if (!S_ISREG(st.st_mode))
    error = vmmi_error(-EINVAL, "snapshot file: not a file", 0);
  else
    image->file_nbytes = (uint64_t)st.st_size;
  errno = saved;
  return error;
}

static int check_tables(const struct vmmi_image *image)
{
  uint64_t nbytes = (uint64_t)image->nobjects * VMMI_FILE_OBJECT +
                    (uint64_t)image->nregions * VMMI_FILE_REGION;
  uint64_t room = image->file_nbytes - image->tables;

  if (image->tables < VMMI_FILE_UNIT || image->tables > image->file_nbytes ||
      nbytes > room || (room - nbytes) % VMMI_FILE_RUN != 0 ||
      (room - nbytes) / VMMI_FILE_RUN != image->nruns)
    return vmmi_image_damaged("snapshot file: the places of its tables");
  return 0;
}

static int check_header(struct vmmi_image *image, const uint8_t *header)
{
  if (memcmp(header, VMMI_FILE_MAGIC, 8) != 0)
    return vmmi_image_damaged("snapshot file: it is something else");
  if (vmmi_file_get32(header + 8) != VMMI_FILE_VERSION)
    return vmmi_error(-ENOTSUP, "snapshot file: of another version", 0);
  if (vmmi_file_get32(header + 12) !=
      vmmi_crc(0, header + VMMI_FILE_SUMMED, VMMI_FILE_UNIT - VMMI_FILE_SUMMED))
    return vmmi_image_damaged("snapshot file: the header's sum");
  if (!vmmi_file_is_zero(header + VMMI_FILE_HEADER,
                         VMMI_FILE_UNIT - VMMI_FILE_HEADER))
    return vmmi_image_damaged("snapshot file: header: not zero");
  image->size = vmmi_file_get64(header + 16);
  image->page_nbytes = vmmi_file_get64(header + 24);
  image->tables = vmmi_file_get64(header + 40);
  image->nobjects = vmmi_file_get32(header + 48);
  image->nregions = vmmi_file_get32(header + 52);
  image->nruns = vmmi_file_get64(header + 56);
  image->tables_sum = vmmi_file_get32(header + 64);
  if (vmmi_file_get64(header + 32) != image->file_nbytes)
    return vmmi_image_damaged("snapshot file: its end");
  if (!vmmi_is_power_of_2(image->page_nbytes) ||
      image->page_nbytes < VMMI_FILE_UNIT ||
      image->page_nbytes > VMMI_CHUNK_SIZE || image->size == 0 ||
      !vmmi_is_aligned(image->size, image->page_nbytes))
    return vmmi_image_damaged("snapshot file: sizes of space and page");
  return check_tables(image);
}

int vmmi_image_open(struct vmmi_image *image, const char *path)
{
  uint8_t header[VMMI_FILE_UNIT];
  int error = open_image(image, path);

  if (error != 0)
    return error;
  if (image->file_nbytes < sizeof(header))
    return vmmi_image_damaged("snapshot file: too short");
  error = vmmi_os_pread(image->fd, header, sizeof(header), 0);
  if (error != 0)
    return vmmi_error(error, "snapshot file: pread", -error);
  return check_header(image, header);
}

/* ---- objects ---- */

static int read_object(struct vmmi_image_object *object, const uint8_t *entry)
{
  uint32_t kind = vmmi_file_get32(entry + 8);
  size_t length;

  object->nbytes = vmmi_file_get64(entry);
  object->flags = vmmi_file_get32(entry + 12);
  object->bytes = kind == VMMI_FILE_BYTES;
  memcpy(object->name, entry + VMMI_FILE_NAME_AT, VMM_SNAPSHOT_NAME);
  length = strnlen(object->name, VMM_SNAPSHOT_NAME);
  if ((kind != VMMI_FILE_BYTES && kind != VMMI_FILE_NAMED) ||
      object->flags & ~(uint32_t)(VMMI_FILE_EXPORT | VMMI_FILE_READONLY) ||
      object->nbytes == 0 || object->nbytes > INT64_MAX ||
      !vmmi_file_is_zero(entry + 16, 16))
    return vmmi_image_damaged("snapshot file: an object");
  if (length == VMM_SNAPSHOT_NAME || (length == 0) != object->bytes ||
      !vmmi_file_is_zero(object->name + length, VMM_SNAPSHOT_NAME - length))
    return vmmi_image_damaged("snapshot file: an object's name");
  if (object->bytes ? !vmmi_is_aligned(object->nbytes, VMMI_FILE_UNIT)
                    : object->flags != 0)
    return vmmi_image_damaged("snapshot file: an object's size or flags");
  return 0;
}

/* An array grows as its entries come; a power of two of them has room. */
static void *grow_array(void *array, uint64_t count, size_t nbytes)
{
  if (count != 0 && !vmmi_is_power_of_2(count))
    return array;
  return vmmi_os_realloc(array, (count == 0 ? 1 : 2 * (size_t)count) * nbytes);
}

static int read_objects(struct vmmi_image *image, struct read_entries *entries)
{
  uint32_t count = image->nobjects;
  int error = 0;

  image->nobjects = 0;
  while (error == 0 && image->nobjects < count) {
    const uint8_t *entry = next_entry(entries, VMMI_FILE_OBJECT, &error);
    struct vmmi_image_object *objects;

    if (entry == NULL)
      return error;
    objects = grow_array(image->objects, image->nobjects, sizeof(*objects));
    if (objects == NULL)
      return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
    image->objects = objects;
    objects += image->nobjects++;
    objects->object = NULL;
    error = read_object(objects, entry);
  }
  return error;
}

/* ---- regions ---- */

/* What depends on the object that the region shows is checked when that is
 * there. */
static int check_read_region(const struct vmmi_image *image,
                             const struct vmmi_region *region, vmm_addr_t after)
{
  uint64_t nbytes = region->end - region->start;

  if (!vmmi_is_aligned(region->start | nbytes, image->page_nbytes) ||
      nbytes == 0 || region->start < after || region->start >= image->size ||
      nbytes > image->size - region->start)
    return vmmi_image_damaged("snapshot file: a region's place");
  if (region->rights & ~(uint32_t)(VMM_READ | VMM_WRITE | VMM_EXEC) ||
      region->serial >= image->nregions)
    return vmmi_image_damaged("snapshot file: a region");
  if (region->priority > image->nobjects || region->offset > INT64_MAX ||
      !vmmi_is_aligned(region->offset, image->page_nbytes))
    return vmmi_image_damaged("snapshot file: a region's object");
  if (region->end > image->space->size)
    return vmmi_error(-EINVAL, "snapshot file: a region leaves the space", 0);
  return 0;
}

/* Its object's number and the cookie's become what they stand for later. */
static int read_region(const struct vmmi_image *image,
                       struct vmmi_region *region, vmm_addr_t after,
                       const uint8_t *entry)
{
  region->space = image->space;
  region->start = vmmi_file_get64(entry);
  region->end = region->start + vmmi_file_get64(entry + 8);
  region->offset = vmmi_file_get64(entry + 16);
  region->cookie = (void *)(uintptr_t)vmmi_file_get64(entry + 24);
  region->priority = vmmi_file_get32(entry + 32);
  region->rights = vmmi_file_get32(entry + 36);
  region->serial = vmmi_file_get32(entry + 44);
  if (!vmmi_file_get_flags(vmmi_file_get32(entry + 40), &region->flags) ||
      !vmmi_file_is_zero(entry + 48, 16))
    return vmmi_image_damaged("snapshot file: a region's flags");
  return check_read_region(image, region, after);
}

static int read_regions(struct vmmi_image *image, struct read_entries *entries)
{
  struct vmmi_region **end = &image->regions;
  vmm_addr_t after = 0;
  int error = 0;

  for (uint32_t i = 0; error == 0 && i < image->nregions; i++) {
    const uint8_t *entry = next_entry(entries, VMMI_FILE_REGION, &error);

    if (entry == NULL)
      return error;
    vmmi_thread_enter();
    *end = vmmi_region_new();
    vmmi_thread_leave();
    if (*end == NULL)
      return vmmi_error(-ENOMEM, "snapshot file: malloc of a region", ENOMEM);
    error = read_region(image, *end, after, entry);
    after = (*end)->end;
    end = &(*end)->right;
  }
  return error;
}

/* ---- runs ---- */

/* => whether a region that may have private bytes holds all of the run */
static bool is_private(const struct vmmi_region **from, uint64_t start,
                       uint64_t nbytes)
{
  const struct vmmi_region *region = *from;

  while (region != NULL && region->end <= start)
    region = region->right;
  *from = region; /* runs ascend as regions do */
  return region != NULL &&
         (region->priority == 0 || (region->flags & VMM_PRIVATE)) &&
         start >= region->start && nbytes <= region->end - start;
}

static int check_run(const struct vmmi_image *image,
                     const struct vmmi_image_run *run,
                     const struct vmmi_region **region)
{
  uint64_t unit = run->owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT;
  uint64_t nbytes = run->units * unit;
  const struct vmmi_image_object *object;

  if (run->units == 0 || nbytes > VMMI_CHUNK_SIZE ||
      !vmmi_is_aligned(run->start, unit) ||
      (run->start & (VMMI_CHUNK_SIZE - 1)) + nbytes > VMMI_CHUNK_SIZE)
    return vmmi_image_damaged("snapshot file: a run's place");
  if (run->owner == 0)
    return is_private(region, run->start, nbytes)
               ? 0
               : vmmi_image_damaged("snapshot file: a run without a region");
  if (run->owner > image->nobjects)
    return vmmi_image_damaged("snapshot file: a run's owner");
  object = &image->objects[run->owner - 1];
  if (!object->bytes || run->start >= object->nbytes ||
      nbytes > object->nbytes - run->start)
    return vmmi_image_damaged("snapshot file: a run leaves its object");
  return 0;
}

/* => whether the run comes behind the last one */
static bool is_past(const struct vmmi_image *image,
                    const struct vmmi_image_run *last,
                    const struct vmmi_image_run *run)
{
  uint64_t unit = run->owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT;

  return last == NULL || run->owner > last->owner ||
         (run->owner == last->owner &&
          run->start >= last->start + last->units * unit);
}

static int read_runs(struct vmmi_image *image, struct read_entries *entries)
{
  const struct vmmi_region *region = image->regions;
  uint64_t count = image->nruns, room = image->tables - VMMI_FILE_UNIT;
  struct vmmi_image_run *runs, *last = NULL;
  int error = 0;

  for (image->nruns = 0; image->nruns < count; image->nruns++) {
    const uint8_t *entry = next_entry(entries, VMMI_FILE_RUN, &error);
    struct vmmi_image_run run;
    uint64_t nbytes;

    if (entry == NULL)
      return error;
    run = (struct vmmi_image_run){ vmmi_file_get64(entry),
                                   vmmi_file_get32(entry + 8),
                                   vmmi_file_get32(entry + 12),
                                   vmmi_file_get32(entry + 16) };
    error = check_run(image, &run, &region);
    if (error != 0)
      return error;
    nbytes = run.units * (run.owner == 0 ? image->page_nbytes : VMMI_FILE_UNIT);
    if (!is_past(image, last, &run) || nbytes > room ||
        !vmmi_file_is_zero(entry + 20, 12))
      return vmmi_image_damaged("snapshot file: a run");
    room -= nbytes;
    runs = grow_array(image->runs, image->nruns, sizeof(*runs));
    if (runs == NULL)
      return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
    image->runs = runs;
    last = &runs[image->nruns];
    *last = run;
  }
  return room == 0 ? 0 : vmmi_image_damaged("snapshot file: bytes of no run");
}

int vmmi_image_read(struct vmmi_image *image)
{
  struct read_entries *entries = vmmi_os_malloc(sizeof(*entries));
  int error;

  if (entries == NULL)
    return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  entries->image = image;
  entries->at = image->tables;
  error = read_objects(image, entries);
  if (error == 0)
    error = read_regions(image, entries);
  if (error == 0)
    error = read_runs(image, entries);
  if (error == 0 && entries->sum != image->tables_sum)
    error = vmmi_image_damaged("snapshot file: the tables' sum");
  free(entries);
  return error;
}
