/*
 * Reading and writing through a window against malloc'ed memory, both touched
 * before: one pass in order, and random accesses.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/vmm.h>

#include "bench.h"

#define NBYTES ((size_t)128 << 20)
#define NWORDS (NBYTES / sizeof(uint64_t))
enum { ROUNDS = 9, NRANDOM = 1 << 20 };

static uint64_t *window, *memory;
static volatile uint64_t sink;

/* Each of these is one loop that both memories go through.  => ns */

static __attribute__((noinline)) double read_all(const uint64_t *words)
{
  double start = bench_cpu();
  uint64_t sum = 0;
  size_t i;

  for (i = 0; i < NWORDS; i++)
    sum += words[i];
  sink = sum;
  return (bench_cpu() - start) / (NBYTES >> 10);
}

static __attribute__((noinline)) double write_all(uint64_t *words)
{
  double start = bench_cpu();
  size_t i;

  for (i = 0; i < NWORDS; i++)
    words[i] = i;
  sink = words[7];
  return (bench_cpu() - start) / (NBYTES >> 10);
}

static __attribute__((noinline)) double read_random(const uint64_t *words)
{
  double start = bench_cpu();
  uint64_t state = 12345, sum = 0;
  size_t i;

  for (i = 0; i < NRANDOM; i++) /* the next place depends on what was read */
    sum += words[(bench_random(&state) + (sum & 1)) % NWORDS];
  sink = sum;
  return (bench_cpu() - start) / NRANDOM;
}

static __attribute__((noinline)) double write_random(uint64_t *words)
{
  double start = bench_cpu();
  uint64_t state = 54321;
  size_t i;

  for (i = 0; i < NRANDOM; i++)
    words[bench_random(&state) % NWORDS] = i;
  sink = words[7];
  return (bench_cpu() - start) / NRANDOM;
}

#define PAIR(name)                                                             \
  static double name##_window(void *arg)                                       \
  {                                                                            \
    (void)arg;                                                                 \
    return name(window);                                                       \
  }                                                                            \
  static double name##_memory(void *arg)                                       \
  {                                                                            \
    (void)arg;                                                                 \
    return name(memory);                                                       \
  }

PAIR(read_all)
PAIR(write_all)
PAIR(read_random)
PAIR(write_random)

/* Page by page in turns, so that both get memory of the same kind. */
static void touch_both(uint64_t page)
{
  uint64_t at;

  for (at = 0; at < NBYTES; at += page) {
    memset((char *)window + at, 1, page);
    memset((char *)memory + at, 1, page);
  }
}

/* What decides how large the host's pages are. */
static void say_conditions(const char *path)
{
  char line[80] = "";
  FILE *file = fopen(path, "r");

  if (file == NULL)
    return;
  if (fgets(line, sizeof(line), file) != NULL)
    printf("# %s: %s", path, line);
  fclose(file);
}

int main(void)
{
  struct vmm_space *space;

  say_conditions("/sys/kernel/mm/transparent_hugepage/enabled");
  say_conditions("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  bench_need(vmm_space_create(&space, NULL), "vmm_space_create");
  bench_need(vmm_map_anon(space, 0, NBYTES, VMM_READ | VMM_WRITE),
             "vmm_map_anon");
  window = (uint64_t *)vmm_space_base(space);
  memory = malloc(NBYTES);
  if (memory == NULL)
    return EXIT_FAILURE;
  touch_both(vmm_space_page_size(space));
  bench_compare("read in order: window", read_all_window,
                "read in order: malloc", read_all_memory, NULL, ROUNDS,
                "ns/KiB");
  bench_compare("write in order: window", write_all_window,
                "write in order: malloc", write_all_memory, NULL, ROUNDS,
                "ns/KiB");
  bench_compare("random read: window", read_random_window,
                "random read: malloc", read_random_memory, NULL, ROUNDS, "ns");
  bench_compare("random write: window", write_random_window,
                "random write: malloc", write_random_memory, NULL, ROUNDS,
                "ns");
  free(memory);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
