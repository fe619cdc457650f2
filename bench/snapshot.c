/*
 * Snapshots: restoring a space of 64 MiB after so many of its pages were
 * written, at random places, for the first time since the snapshot was taken,
 * and again; the floor is to copy as many pages from one array to another.  The
 * write that puts a page into a snapshot, against one that copies on write in
 * the host.  And files: saving against a copy of the file, both with fsync, and
 * loading against reading it into fresh memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/vmm.h>

#include "bench.h"

#define NBYTES ((uint64_t)64 << 20)
#define PAGE 4096u
#define NPAGES (unsigned)(NBYTES / PAGE)

static struct vmm_space *space;
static struct vmm_snapshot *snapshot;
static char *from, *to;
static unsigned order[NPAGES];

static void write_pages(char *base, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    base[(size_t)order[i] * PAGE] = 2;
}

static void take_anew(void)
{
  vmm_snapshot_drop(snapshot);
  bench_need(vmm_snapshot_take(&snapshot, space), "vmm_snapshot_take");
}

static double restore_pages(void *arg);

static double restore_first(void *arg)
{
  take_anew();
  return restore_pages(arg);
}

static double restore_pages(void *arg)
{
  unsigned n = *(unsigned *)arg;
  double start;

  write_pages(vmm_space_base(space), n);
  start = bench_now();
  bench_need(vmm_snapshot_restore(space, snapshot), "vmm_snapshot_restore");
  return (bench_now() - start) / n;
}

static double copy_pages(void *arg)
{
  unsigned n = *(unsigned *)arg;
  double start = bench_now();

  for (unsigned i = 0; i < n; i++)
    memcpy(to + (size_t)order[i] * PAGE, from + (size_t)order[i] * PAGE, PAGE);
  return (bench_now() - start) / n;
}

static double first_writes(void *arg)
{
  unsigned n = *(unsigned *)arg;
  double start;

  take_anew();
  start = bench_now();
  write_pages(vmm_space_base(space), n);
  start = (bench_now() - start) / n;
  bench_need(vmm_snapshot_restore(space, snapshot), "vmm_snapshot_restore");
  return start;
}

/* The same in the kernel: the first writes of a private mapping of shared
 * memory. */
static double kernel_writes(void *arg)
{
  unsigned n = *(unsigned *)arg;
  FILE *file = tmpfile();
  double start;
  char *map;

  if (file == NULL || fwrite(from, 1, NBYTES, file) != NBYTES ||
      fflush(file) != 0)
    exit(EXIT_FAILURE);
  map = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file),
             0);
  if (map == MAP_FAILED)
    exit(EXIT_FAILURE);
  for (unsigned i = 0; i < n; i++) /* mapped for reading */
    *(volatile char *)(map + (size_t)order[i] * PAGE);
  start = bench_now();
  write_pages(map, n);
  start = (bench_now() - start) / n;
  munmap(map, NBYTES);
  fclose(file);
  return start;
}

/* ---- files ---- */

static char path[64], copy_path[80];

static double save_file(void *arg)
{
  double start = bench_now();

  (void)arg;
  bench_need(vmm_snapshot_save(snapshot, path, NULL), "vmm_snapshot_save");
  return (bench_now() - start) / 1e6;
}

static double load_file(void *arg)
{
  double start = bench_now();

  (void)arg;
  bench_need(vmm_snapshot_load(space, path, NULL), "vmm_snapshot_load");
  return (bench_now() - start) / 1e6;
}

/* Gives the whole file to one of the two calls, by pieces. */
static void each_piece(int fd, char *bytes, int writing)
{
  for (size_t at = 0; at < NBYTES; at += 2 << 20) {
    ssize_t n = writing ? pwrite(fd, bytes + at, 2 << 20, (off_t)at)
                        : pread(fd, bytes + at, 2 << 20, (off_t)at);

    if (n != 2 << 20)
      exit(EXIT_FAILURE);
  }
}

static double copy_file(void *arg)
{
  double start = bench_now();
  int in = open(path, O_RDONLY);
  int out = open(copy_path, O_RDWR | O_CREAT | O_TRUNC, 0600);

  (void)arg;
  each_piece(in, to, 0);
  each_piece(out, to, 1);
  if (fsync(out) != 0)
    exit(EXIT_FAILURE);
  close(in);
  close(out);
  return (bench_now() - start) / 1e6;
}

static double read_file(void *arg)
{
  double start = bench_now();
  int in = open(path, O_RDONLY);
  char *fresh = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  (void)arg;
  if (fresh == MAP_FAILED)
    exit(EXIT_FAILURE);
  each_piece(in, fresh, 0);
  munmap(fresh, NBYTES);
  close(in);
  return (bench_now() - start) / 1e6;
}

static void measure_files(void)
{
  snprintf(path, sizeof(path), "vmm-bench-%ld.state", (long)getpid());
  snprintf(copy_path, sizeof(copy_path), "%s.copy", path);
  memset(vmm_space_base(space), 1, NBYTES);
  take_anew();
  save_file(NULL);
  bench_compare("snapshot: save of 64 MiB", save_file,
                "floor: copy of the file, with fsync", copy_file, NULL, 5,
                "ms");
  vmm_snapshot_drop(snapshot);
  snapshot = NULL;
  bench_compare("snapshot: load of 64 MiB", load_file,
                "floor: read of it into fresh memory", read_file, NULL, 5,
                "ms");
  unlink(path);
  unlink(copy_path);
}

/* ---- */

static void shuffle(void)
{
  uint64_t state = 88172645463325252u;

  for (unsigned i = 0; i < NPAGES; i++)
    order[i] = i;
  for (unsigned i = NPAGES - 1; i > 0; i--) {
    unsigned j = (unsigned)(bench_random(&state) % (i + 1)), k = order[i];

    order[i] = order[j];
    order[j] = k;
  }
}

int main(void)
{
  static unsigned counts[] = { 1, 100, 10000 };
  unsigned writes = 1000;
  char name[2][64];

  shuffle();
  from = malloc(NBYTES);
  to = malloc(NBYTES);
  if (from == NULL || to == NULL)
    return EXIT_FAILURE;
  memset(from, 1, NBYTES);
  memset(to, 1, NBYTES);
  bench_need(vmm_space_create(&space, NULL), "vmm_space_create");
  bench_need(vmm_map_anon(space, 0, NBYTES, VMM_READ | VMM_WRITE), "map");
  memset(vmm_space_base(space), 1, NBYTES);
  bench_need(vmm_snapshot_take(&snapshot, space), "vmm_snapshot_take");
  for (unsigned i = 0; i < 3; i++) {
    snprintf(name[0], sizeof(name[0]), "snapshot: first restore, %u pages",
             counts[i]);
    snprintf(name[1], sizeof(name[1]), "floor: memcpy of %u pages", counts[i]);
    bench_compare(name[0], restore_first, name[1], copy_pages, &counts[i], 5,
                  "ns/page");
    snprintf(name[0], sizeof(name[0]), "snapshot: later restore, %u pages",
             counts[i]);
    bench_compare(name[0], restore_pages, name[1], copy_pages, &counts[i], 5,
                  "ns/page");
  }
  bench_compare("snapshot: first write to a page", first_writes,
                "kernel: first write to a private page", kernel_writes, &writes,
                5, "ns/page");
  measure_files();
  vmm_snapshot_drop(snapshot);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  free(from);
  free(to);
  return 0;
}
