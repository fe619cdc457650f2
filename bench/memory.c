/*
 * The library's own memory: what the process has of private memory beyond what
 * it had before, for pages that are mapped, touched, and touched one by one.
 * Guest memory itself is shared memory and not counted.  Ratios are to the
 * page.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/vmm.h>

#include "bench.h"

#define NBYTES ((uint64_t)256 << 20)

/* => bytes of a line of /proc/self/smaps_rollup or status */
static double proc_bytes(const char *path, const char *key)
{
  char line[128];
  unsigned long kilobytes = 0;
  FILE *file = fopen(path, "r");

  if (file == NULL)
    return 0;
  while (fgets(line, sizeof(line), file) != NULL)
    if (strncmp(line, key, strlen(key)) == 0)
      kilobytes = strtoul(line + strlen(key), NULL, 10);
  fclose(file);
  return (double)kilobytes * 1024;
}

static double private_bytes(void)
{
  return proc_bytes("/proc/self/smaps_rollup", "Anonymous:");
}

static double table_bytes(void)
{
  return proc_bytes("/proc/self/status", "VmPTE:");
}

static struct vmm_space *make_space(uint64_t size, uint32_t flags)
{
  struct vmm_space_options options = { .size = size, .flags = flags };
  struct vmm_space *space;

  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  return space;
}

static void mapped_only(void)
{
  double before = private_bytes(), more;
  struct vmm_space *space = make_space((uint64_t)1 << 46, 0);
  uint64_t nbytes = (uint64_t)1 << 40, page = vmm_space_page_size(space);

  bench_print("memory: an empty space", private_bytes() - before, "bytes", 0);
  before = private_bytes();
  bench_need(vmm_map_anon(space, 0, nbytes, VMM_READ | VMM_WRITE), "map");
  more = private_bytes() - before;
  bench_print("memory: 1 TiB mapped, not touched", more, "bytes", 0);
  bench_print("memory: a mapped page", more / (double)(nbytes / page), "bytes",
              more / (double)nbytes);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
}

/* Touches each step-th page of a range. */
static void touched(const char *name, uint32_t flags, unsigned step)
{
  struct vmm_space *space = make_space(0, flags);
  uint64_t page = vmm_space_page_size(space), at;
  char *base = vmm_space_base(space);
  double npages = (double)(NBYTES / page / step), more, tables;
  double before = private_bytes(), tables_before = table_bytes();
  char line[64];

  bench_need(vmm_map_anon(space, 0, NBYTES, VMM_READ | VMM_WRITE), "map");
  for (at = 0; at < NBYTES; at += step * page)
    *(volatile char *)(base + at) = 1;
  more = (private_bytes() - before) / npages;
  tables = (table_bytes() - tables_before) / npages;
  snprintf(line, sizeof(line), "memory: a touched page, %s", name);
  bench_print(line, more, "bytes", more / (double)page);
  snprintf(line, sizeof(line), "memory: the host's tables, %s", name);
  bench_print(line, tables, "bytes", tables / (double)page);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
}

static void touched_coarse(void)
{
  touched("coarse", 0, 1);
}

static void touched_exact(void)
{
  touched("exact", VMM_EXACT, 1);
}

static void touched_sparsely(void)
{
  touched("one in 64, exact", VMM_EXACT, 64);
}

/* In a process of its own: the library keeps what it has for reuse. */
static void alone(void (*measure)(void))
{
  pid_t child = fork();
  int status = 1;

  if (child == 0) {
    measure();
    exit(EXIT_SUCCESS);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
    exit(EXIT_FAILURE);
}

int main(void)
{
  alone(mapped_only);
  alone(touched_coarse);
  alone(touched_exact);
  alone(touched_sparsely);
  return 0;
}
