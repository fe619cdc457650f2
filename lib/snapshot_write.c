/*
 * Writing a snapshot's file: beside the one that it replaces, and renamed when
 * all of it is on the disk.  The header is written last, so that a file that
 * was left half written is none.
 */
#include "snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc.h"
#include "os.h"
#include "os_file.h"

#define TRIES 100u

/* ---- tables ---- */

uint8_t *vmmi_file_table_add(struct vmmi_file_table *table, size_t nbytes)
{
  uint8_t *at;

  if (table->room - table->nbytes < nbytes) {
    size_t room = 2 * table->room + nbytes + VMMI_FILE_UNIT;
    uint8_t *bytes = vmmi_os_realloc(table->bytes, room);

    if (bytes == NULL)
      return NULL;
    table->bytes = bytes;
    table->room = room;
  }
  at = table->bytes + table->nbytes;
  memset(at, 0, nbytes);
  table->nbytes += nbytes;
  return at;
}

/* ---- beginning ---- */

static int check_path(const char *path)
{
  int saved = errno;
  struct stat st;
  bool other;

  if (path == NULL || *path == '\0')
    return vmmi_error(-EINVAL, "snapshot file: no path", 0);
  other = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
  errno = saved;
  return other
             ? vmmi_error(-EINVAL, "snapshot file: something else is there", 0)
             : 0;
}

static int open_folder(const char *path)
{
  const char *slash = strrchr(path, '/');
  size_t length = slash == NULL   ? 1
                  : slash == path ? 1
                                  : (size_t)(slash - path);
  char *folder = vmmi_os_malloc(length + 1);
  int fd;

  if (folder == NULL)
    return -ENOMEM;
  memcpy(folder, slash == NULL ? "." : path, length);
  fd = vmmi_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
  free(folder);
  return fd;
}

/* => a descriptor of a new file, whose path is the writer's then */
static int create_file(struct vmmi_file_writer *writer, const char *path)
{
  size_t room = strlen(path) + 40;
  char *name = vmmi_os_malloc(room);
  int fd = -EEXIST;

  if (name == NULL)
    return -ENOMEM;
  for (unsigned i = 0; fd == -EEXIST && i < TRIES; i++) {
    snprintf(name, room, "%s.%ld-%u.tmp", path, (long)getpid(), i);
    fd = vmmi_os_open(name, O_RDWR | O_CREAT | O_EXCL, 0666);
  }
  if (fd >= 0)
    writer->path = name;
  else
    free(name);
  return fd;
}

int vmmi_file_begin(struct vmmi_file_writer *writer, const char *path)
{
  int error = check_path(path);

  *writer = (struct vmmi_file_writer){ .fd = -1, .folder = -1,
                                       .nbytes = VMMI_FILE_UNIT };
  if (error != 0)
    return error;
  writer->folder = open_folder(path);
  if (writer->folder < 0)
    return vmmi_error(writer->folder, "snapshot file: its folder",
                      -writer->folder);
  writer->fd = create_file(writer, path);
  if (writer->fd < 0)
    return vmmi_error(writer->fd, "snapshot file: open", -writer->fd);
  return 0;
}

/* ---- writing ---- */

static int write_bytes(struct vmmi_file_writer *writer, const void *bytes,
                       size_t nbytes, uint64_t offset)
{
  int error = vmmi_os_pwrite(writer->fd, bytes, nbytes, offset);

  return error == 0 ? 0 : vmmi_error(error, "snapshot file: pwrite", -error);
}

/* Writes what is not zero. */
static int write_units(struct vmmi_file_writer *writer, const char *bytes,
                       uint32_t units, size_t unit)
{
  uint32_t first = 0;
  int error = 0;

  for (uint32_t i = 0; error == 0 && i <= units; i++) {
    if (i < units && !vmmi_file_is_zero(bytes + i * unit, unit))
      continue;
    if (first < i)
      error = write_bytes(writer, bytes + first * unit, (i - first) * unit,
                          writer->nbytes + first * unit);
    first = i + 1;
  }
  return error;
}

int vmmi_file_write_run(struct vmmi_file_writer *writer, uint32_t owner,
                        uint64_t start, const char *bytes, uint32_t units,
                        size_t unit)
{
  uint8_t *entry = vmmi_file_table_add(&writer->runs, VMMI_FILE_RUN);
  int error;

  if (entry == NULL)
    return vmmi_error(-ENOMEM, "snapshot file: malloc", ENOMEM);
  vmmi_file_put64(entry, start);
  vmmi_file_put32(entry + 8, owner);
  vmmi_file_put32(entry + 12, units);
  vmmi_file_put32(entry + 16, vmmi_crc(0, bytes, units * unit));
  error = write_units(writer, bytes, units, unit);
  writer->nbytes += units * unit;
  writer->nruns++;
  return error;
}

static int write_table(struct vmmi_file_writer *writer, uint32_t *sum,
                       const struct vmmi_file_table *table)
{
  int error = 0;

  if (table->nbytes != 0)
    error = write_bytes(writer, table->bytes, table->nbytes, writer->nbytes);
  *sum = vmmi_crc(*sum, table->bytes, table->nbytes);
  writer->nbytes += table->nbytes;
  return error;
}

static int write_header(struct vmmi_file_writer *writer, uint8_t *header)
{
  memcpy(header, VMMI_FILE_MAGIC, 8);
  vmmi_file_put32(header + 8, VMMI_FILE_VERSION);
  vmmi_file_put32(header + 12, vmmi_crc(0, header + VMMI_FILE_SUMMED,
                                        VMMI_FILE_UNIT - VMMI_FILE_SUMMED));
  return write_bytes(writer, header, VMMI_FILE_UNIT, 0);
}

/* ---- ending ---- */

/* What was written becomes the file at path. */
static int publish(struct vmmi_file_writer *writer, const char *path)
{
  int error = vmmi_os_fsync(writer->fd);

  if (error != 0)
    return vmmi_error(error, "snapshot file: fsync", -error);
  error = vmmi_os_rename(writer->path, path);
  if (error != 0)
    return vmmi_error(error, "snapshot file: rename", -error);
  free(writer->path);
  writer->path = NULL;
  error = vmmi_os_fsync(writer->folder);
  if (error == -EINVAL || error == -EROFS) /* a folder that is on no disk */
    error = 0;
  return error == 0 ? 0
                    : vmmi_error(error, "snapshot file: fsync of its folder",
                                 -error);
}

int vmmi_file_finish(struct vmmi_file_writer *writer, uint8_t *header,
                     const struct vmmi_file_table *objects,
                     const struct vmmi_file_table *regions, const char *path)
{
  uint32_t sum = 0;
  int error;

  vmmi_file_put64(header + 40, writer->nbytes);
  vmmi_file_put32(header + 48, (uint32_t)(objects->nbytes / VMMI_FILE_OBJECT));
  vmmi_file_put32(header + 52, (uint32_t)(regions->nbytes / VMMI_FILE_REGION));
  vmmi_file_put64(header + 56, writer->nruns);
  error = write_table(writer, &sum, objects);
  if (error == 0)
    error = write_table(writer, &sum, regions);
  if (error == 0)
    error = write_table(writer, &sum, &writer->runs);
  vmmi_file_put64(header + 32, writer->nbytes);
  vmmi_file_put32(header + 64, sum);
  if (error == 0)
    error = write_header(writer, header);
  return error == 0 ? publish(writer, path) : error;
}

void vmmi_file_end(struct vmmi_file_writer *writer)
{
  int saved = errno;

  if (writer->fd >= 0)
    close(writer->fd);
  if (writer->path != NULL)
    unlink(writer->path);
  if (writer->folder >= 0)
    close(writer->folder);
  errno = saved;
  free(writer->path);
  free(writer->runs.bytes);
}
