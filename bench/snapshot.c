/*
 * Snapshots: restoring a space of 64 MiB after so many of its pages were written, at
 * random places; the floor is to copy as many pages from one array to another.  And
 * the write that puts a page into a snapshot, against one that copies on write in
 * the host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
  double start = bench_now();

  write_pages(vmm_space_base(space), n);
  start = (bench_now() - start) / n;
  bench_need(vmm_snapshot_restore(space, snapshot), "vmm_snapshot_restore");
  return start;
}

/* The same in the kernel: the first writes of a private mapping of shared memory. */
static double kernel_writes(void *arg)
{
  unsigned n = *(unsigned *)arg;
  FILE *file = tmpfile();
  double start;
  char *map;

  if (file == NULL || fwrite(from, 1, NBYTES, file) != NBYTES ||
      fflush(file) != 0)
    exit(EXIT_FAILURE);
  map = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0);
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
    snprintf(name[0], sizeof(name[0]), "snapshot: restore, %u pages written",
             counts[i]);
    snprintf(name[1], sizeof(name[1]), "floor: memcpy of %u pages", counts[i]);
    bench_compare(name[0], restore_pages, name[1], copy_pages, &counts[i], 5,
                  "ns/page");
  }
  bench_compare("snapshot: first write to a page", first_writes,
                "kernel: first write to a private page", kernel_writes, &writes,
                5, "ns/page");
  vmm_snapshot_drop(snapshot);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  free(from);
  free(to);
  return 0;
}
