/*
 * Saving a snapshot to a file: what its regions show, chunk by chunk.  A
 * chunk's pages are copied under its leaf's lock, as they were at the snapshot,
 * and written with no lock held, so that the space goes on meanwhile.
 */
#include "snapshot_file.h"

#include <errno.h>
#include <stdlib.h>

#include "os.h"
#include "os_file.h"

/* Different numbers, ascending. */
struct keys {
  uint64_t *key;
  size_t count;
};

struct saving {
  struct vmm_snapshot *snapshot;
  const struct vmm_snapshot_options *options;
  struct vmmi_file_writer writer;
  struct keys objects;  /* addresses */
  struct keys mappings; /* serial numbers */
  struct vmmi_file_table object_table, region_table;
  char *bytes;          /* of one chunk */
  bool *is_there;       /* by unit: it goes into the file */
};

/* ---- what there is ---- */

static int compare_keys(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

static void sort_keys(struct keys *keys)
{
  size_t count = 0;

  if (keys->count == 0)
    return;
  qsort(keys->key, keys->count, sizeof(keys->key[0]), compare_keys);
  for (size_t i = 0; i < keys->count; i++)
    if (i == 0 || keys->key[i] != keys->key[count - 1])
      keys->key[count++] = keys->key[i];
  keys->count = count;
}

/* => its place among the keys, which have it */
static uint32_t rank_of(const struct keys *keys, uint64_t key)
{
  const uint64_t *found = bsearch(&key, keys->key, keys->count,
                                  sizeof(keys->key[0]), compare_keys);

  return (uint32_t)(found - keys->key);
}

static struct vmm_object *object_of(const struct saving *saving, size_t i)
{
  return (struct vmm_object *)(uintptr_t)saving->objects.key[i];
}

static int find_keys(struct saving *saving)
{
  const struct vmmi_region *region;
  size_t n = 0;

  for (region = saving->snapshot->regions; region != NULL;
       region = region->right)
    n++;
  saving->objects.key = vmmi_os_malloc((n + 1) * sizeof(uint64_t));
  saving->mappings.key = vmmi_os_malloc((n + 1) * sizeof(uint64_t));
  if (saving->objects.key == NULL || saving->mappings.key == NULL)
    return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  for (region = saving->snapshot->regions; region != NULL;
       region = region->right) {
    saving->mappings.key[saving->mappings.count++] = region->serial;
    if (region->object != NULL)
      saving->objects.key[saving->objects.count++] = (uintptr_t)region->object;
  }
  sort_keys(&saving->objects);
  sort_keys(&saving->mappings);
  return 0;
}

/* ---- tables ---- */

/* => whether it is memory of the library's own, and nobody's else */
static bool is_anonymous(const struct vmm_object *object)
{
  return (object->exported || object->runs != NULL) && object->pager == NULL;
}

static int ask_for_name(const struct saving *saving, struct vmm_object *object,
                        char *name)
{
  const struct vmm_snapshot_options *options = saving->options;
  struct vmmi_away away;
  int how;

  if (options->name == NULL)
    return 1;
  vmmi_thread_away(&away);
  how = options->name(object, name, options->arg);
  vmmi_thread_back(&away);
  return how;
}

static int name_object(struct saving *saving, struct vmm_object *object,
                       uint8_t *entry)
{
  char *name = (char *)entry + VMMI_FILE_NAME_AT;
  int how = ask_for_name(saving, object, name);
  uint32_t flags = object->readonly ? VMMI_FILE_READONLY : 0;
  size_t length;

  if (how < 0)
    return vmmi_error(how, "snapshot file: no name for an object", 0);
  if (how != 0 && !is_anonymous(object))
    return vmmi_error(-ENOTSUP, "snapshot file: an object needs a name", 0);
  length = how == 0 ? strnlen(name, VMM_SNAPSHOT_NAME) : 0;
  if (how == 0 && (length == 0 || length == VMM_SNAPSHOT_NAME))
    return vmmi_error(-EINVAL, "snapshot file: an object's name", 0);
  memset(name + length, 0, VMM_SNAPSHOT_NAME - length);
  vmmi_file_put64(entry, object->nbytes);
  vmmi_file_put32(entry + 8, how == 0 ? VMMI_FILE_NAMED : VMMI_FILE_BYTES);
  if (how != 0)
    vmmi_file_put32(entry + 12,
                    flags | (object->exported ? VMMI_FILE_EXPORT : 0));
  return 0;
}

static int describe_objects(struct saving *saving)
{
  int error = 0;

  for (size_t i = 0; error == 0 && i < saving->objects.count; i++) {
    uint8_t *entry =
        vmmi_file_table_add(&saving->object_table, VMMI_FILE_OBJECT);

    error = entry != NULL
                ? name_object(saving, object_of(saving, i), entry)
                : vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  }
  return error;
}

static int describe_region(struct saving *saving,
                           const struct vmmi_region *region, uint8_t *entry)
{
  uint32_t object = 0, flags;

  if (!vmmi_file_put_flags(region->flags, &flags))
    return vmmi_error(-ENOTSUP, "snapshot file: a region of another kind", 0);
  if (region->object != NULL)
    object = rank_of(&saving->objects, (uintptr_t)region->object) + 1;
  vmmi_file_put64(entry, region->start);
  vmmi_file_put64(entry + 8, region->end - region->start);
  vmmi_file_put64(entry + 16, region->offset);
  vmmi_file_put64(entry + 24, (uintptr_t)region->cookie);
  vmmi_file_put32(entry + 32, object);
  vmmi_file_put32(entry + 36, region->rights);
  vmmi_file_put32(entry + 40, flags);
  vmmi_file_put32(entry + 44, rank_of(&saving->mappings, region->serial));
  return 0;
}

static int describe_regions(struct saving *saving)
{
  const struct vmmi_region *region = saving->snapshot->regions;
  int error = 0;

  for (; error == 0 && region != NULL; region = region->right) {
    uint8_t *entry =
        vmmi_file_table_add(&saving->region_table, VMMI_FILE_REGION);

    error = entry != NULL
                ? describe_region(saving, region, entry)
                : vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  }
  return error;
}

/* ---- bytes ---- */

/* Writes the units of the chunk that are there, as runs. */
static int write_chunk(struct saving *saving, uint32_t owner, uint64_t chunk,
                       unsigned units, size_t unit)
{
  unsigned first = 0;
  int error = 0;

  for (unsigned i = 0; error == 0 && i <= units; i++) {
    if (i < units && saving->is_there[i])
      continue;
    if (first < i)
      error =
          vmmi_file_write_run(&saving->writer, owner, chunk + first * unit,
                              saving->bytes + first * unit, i - first, unit);
    first = i + 1;
  }
  return error;
}

/* Copies the pages of [va, end) of one leaf as the snapshot has them.
 * => space and leaf locked */
static int copy_pages_then(struct saving *saving,
                           const struct vmmi_region *region,
                           const struct vmmi_leaf *leaf, vmm_addr_t va,
                           vmm_addr_t end)
{
  struct vmm_space *space = saving->snapshot->space;
  size_t page = space->page_nbytes;

  for (; va < end; va += page) {
    unsigned i = vmmi_leaf_index(&space->pt, va);
    uint64_t record = vmmi_log_then(saving->snapshot, leaf, i);
    char *to = saving->bytes + i * page;

    if (record == VMMI_RECORD_NOTHING)
      continue;
    if (vmmi_alias_copy(to, vmmi_arena_pointer(record - 1), page) != 0)
      return vmmi_error(-EIO, "snapshot file: a page can't be read", 0);
    /* zeros need no place, unless an object's bytes are behind them */
    saving->is_there[i] =
        region->object != NULL || !vmmi_file_is_zero(to, page);
  }
  return 0;
}

static int save_leaf(struct saving *saving, const struct vmmi_region *region,
                     const struct vmmi_leaf *leaf, vmm_addr_t va,
                     vmm_addr_t end)
{
  struct vmm_space *space = saving->snapshot->space;
  unsigned pages = vmmi_leaf_pages(&space->pt);
  int error;

  memset(saving->is_there, 0, pages * sizeof(bool));
  vmmi_space_lock_shared(space);
  pthread_mutex_lock(vmmi_space_leaf_lock(space, va));
  error = copy_pages_then(saving, region, leaf, va, end);
  pthread_mutex_unlock(vmmi_space_leaf_lock(space, va));
  vmmi_space_unlock(space);
  if (error != 0)
    return error;
  return write_chunk(saving, 0, vmmi_align_down(va, VMMI_CHUNK_SIZE), pages,
                     space->page_nbytes);
}

static int save_private(struct saving *saving, const struct vmmi_region *region)
{
  struct vmm_space *space = saving->snapshot->space;
  vmm_addr_t va = region->start;
  const struct vmmi_leaf *leaf;
  int error = 0;

  while (error == 0 && (leaf = vmmi_pagetable_next(&space->pt, &va,
                                                   region->end)) != NULL) {
    vmm_addr_t end = vmmi_min(
        vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE, region->end);

    error = save_leaf(saving, region, leaf, va, end);
    va = end;
  }
  return error;
}

/* => whether the chunk has bytes; they are where *fd and *offset say */
static bool find_chunk(struct vmm_object *object, uint64_t chunk, int *fd,
                       uint64_t *offset)
{
  uint64_t run;

  if (object->fd >= 0) {
    *fd = object->fd;
    *offset = object->fd_offset + (chunk << VMMI_CHUNK_SHIFT);
    return true;
  }
  vmmi_thread_enter();
  pthread_mutex_lock(&object->lock);
  run = object->runs[chunk];
  pthread_mutex_unlock(&object->lock);
  vmmi_thread_leave();
  if (run == 0)
    return false;
  *fd = vmmi_arena_fd();
  *offset = vmmi_arena_offset(run - 1);
  return true;
}

/* Read by the descriptor: what was never touched takes no memory by it. */
static int save_object(struct saving *saving, uint32_t owner)
{
  struct vmm_object *object = object_of(saving, owner - 1);
  uint64_t chunks = (object->nbytes + VMMI_CHUNK_SIZE - 1) >> VMMI_CHUNK_SHIFT;
  uint64_t offset;
  int error = 0, fd;

  for (uint64_t i = 0; error == 0 && i < chunks; i++) {
    uint64_t start = i << VMMI_CHUNK_SHIFT;
    size_t nbytes = (size_t)vmmi_min(VMMI_CHUNK_SIZE, object->nbytes - start);
    unsigned units = (unsigned)(nbytes / VMMI_FILE_UNIT);

    if (!find_chunk(object, i, &fd, &offset))
      continue;
    error = vmmi_os_pread(fd, saving->bytes, nbytes, offset);
    if (error != 0)
      return vmmi_error(-EIO, "snapshot file: bytes of an object", -error);
    for (unsigned k = 0; k < units; k++)
      saving->is_there[k] = !vmmi_file_is_zero(
          saving->bytes + (size_t)k * VMMI_FILE_UNIT, VMMI_FILE_UNIT);
    error = write_chunk(saving, owner, start, units, VMMI_FILE_UNIT);
  }
  return error;
}

static int save_bytes(struct saving *saving)
{
  const struct vmmi_region *region = saving->snapshot->regions;
  const uint8_t *entry = saving->object_table.bytes;
  int error = 0;

  saving->bytes = vmmi_os_malloc(VMMI_CHUNK_SIZE);
  saving->is_there =
      vmmi_os_malloc(VMMI_CHUNK_SIZE / VMMI_FILE_UNIT * sizeof(bool));
  if (saving->bytes == NULL || saving->is_there == NULL)
    return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  for (; error == 0 && region != NULL; region = region->right)
    if (!vmmi_region_is_shared(region))
      error = save_private(saving, region);
  for (uint32_t i = 1; error == 0 && i <= saving->objects.count; i++) {
    if (vmmi_file_get32(entry + 8) == VMMI_FILE_BYTES)
      error = save_object(saving, i);
    entry += VMMI_FILE_OBJECT;
  }
  return error;
}

/* ---- the public side ---- */

static int save_to(struct saving *saving, const char *path)
{
  const struct vmm_space *space = saving->snapshot->space;
  uint8_t *header;
  int error = save_bytes(saving);

  if (error != 0)
    return error;
  header = vmmi_os_malloc(VMMI_FILE_UNIT);
  if (header == NULL)
    return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  vmmi_file_put64(header + 16, space->size);
  vmmi_file_put64(header + 24, space->page_nbytes);
  error = vmmi_file_finish(&saving->writer, header, &saving->object_table,
                           &saving->region_table, path);
  free(header);
  return error;
}

static void end_saving(struct saving *saving)
{
  free(saving->objects.key);
  free(saving->mappings.key);
  free(saving->object_table.bytes);
  free(saving->region_table.bytes);
  free(saving->bytes);
  free(saving->is_there);
}

int vmm_snapshot_save(struct vmm_snapshot *snapshot, const char *path,
                      const struct vmm_snapshot_options *options)
{
  static const struct vmm_snapshot_options none;
  struct saving saving = { .snapshot = snapshot,
                           .writer = { .fd = -1, .folder = -1 },
                           .options = options != NULL ? options : &none };
  int error = snapshot != NULL
                  ? vmmi_space_check(snapshot->space)
                  : vmmi_error(-EINVAL, "snapshot file: no snapshot", 0);

  if (error == 0)
    error = vmmi_file_check_options(saving.options);
  if (error != 0)
    return error;
  error = find_keys(&saving);
  if (error == 0)
    error = describe_objects(&saving);
  if (error == 0)
    error = describe_regions(&saving);
  if (error == 0)
    error = vmmi_file_begin(&saving.writer, path);
  if (error == 0)
    error = save_to(&saving, path);
  vmmi_file_end(&saving.writer);
  end_saving(&saving);
  return error;
}
