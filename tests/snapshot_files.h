/*
 * What the suites of snapshots' files share: a folder of the test's own, files
 * whole in memory, and sums made good, so that what is behind them is reached.
 */
#ifndef VMM_TESTS_SNAPSHOT_FILES_H
#define VMM_TESTS_SNAPSHOT_FILES_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshots.h"

struct files {
  char folder[64];
  char path[96]; /* in it */
};

static inline struct files make_folder(void)
{
  struct files files;
  const char *tmp = getenv("TMPDIR");

  snprintf(files.folder, sizeof(files.folder), "%.40s/vmm-XXXXXX",
           tmp != NULL ? tmp : "/tmp");
  ck_assert_ptr_nonnull(mkdtemp(files.folder));
  snprintf(files.path, sizeof(files.path), "%s/state", files.folder);
  return files;
}

/* => how many files there are */
static inline unsigned count_files(const struct files *files)
{
  DIR *dir = opendir(files->folder);
  struct dirent *entry;
  unsigned n = 0;

  ck_assert_ptr_nonnull(dir);
  while ((entry = readdir(dir)) != NULL)
    n += entry->d_name[0] != '.';
  closedir(dir);
  return n;
}

/* The folder holds nothing but the file at path, or not even that. */
static inline void remove_folder(const struct files *files)
{
  unlink(files->path);
  ck_assert_uint_eq(count_files(files), 0);
  ck_assert_int_eq(rmdir(files->folder), 0);
}

static inline void save_now(struct vmm_space *space, const char *path)
{
  struct vmm_snapshot *snapshot = take(space);

  ck_assert_ok(vmm_snapshot_save(snapshot, path, NULL));
  vmm_snapshot_drop(snapshot);
}

/* ---- whole files ---- */

struct bytes {
  uint8_t *at;
  size_t nbytes;
};

static inline struct bytes read_file(const char *path)
{
  struct bytes bytes;
  struct stat st;
  int fd = open(path, O_RDONLY);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(fstat(fd, &st), 0);
  bytes.nbytes = (size_t)st.st_size;
  bytes.at = malloc(bytes.nbytes + 1);
  ck_assert_ptr_nonnull(bytes.at);
  ck_assert_int_eq(read(fd, bytes.at, bytes.nbytes), (ssize_t)bytes.nbytes);
  close(fd);
  return bytes;
}

static inline void write_file(const char *path, const uint8_t *bytes,
                              size_t nbytes)
{
  int fd;

  unlink(path); /* some file systems flush a file that was truncated */
  fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, bytes, nbytes), (ssize_t)nbytes);
  close(fd);
}

/* ---- numbers and sums of a file ---- */

static inline uint64_t number_at(const uint8_t *at, unsigned nbytes)
{
  uint64_t n = 0;

  for (unsigned i = nbytes; i-- > 0;)
    n = n << 8 | at[i];
  return n;
}

static inline void put_number(uint8_t *at, unsigned nbytes, uint64_t n)
{
  for (unsigned i = 0; i < nbytes; i++)
    at[i] = (uint8_t)(n >> 8 * i);
}

/* CRC-32C, bit by bit */
static inline uint32_t crc_of(const uint8_t *bytes, size_t nbytes)
{
  uint32_t crc = ~0u;

  for (size_t i = 0; i < nbytes; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

enum { HEADER = 4096, TABLES_AT = 40, TABLES_SUM_AT = 64 };

/* Makes the sums of tables and header right, whatever they say. */
static inline void mend_sums(struct bytes file)
{
  uint64_t tables;

  if (file.nbytes < HEADER)
    return;
  tables = number_at(file.at + TABLES_AT, 8);
  if (tables <= file.nbytes)
    put_number(file.at + TABLES_SUM_AT, 4,
               crc_of(file.at + tables, file.nbytes - tables));
  put_number(file.at + 12, 4, crc_of(file.at + 16, HEADER - 16));
}

#endif
