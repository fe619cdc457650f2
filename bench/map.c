/*
 * Mapping and unmapping many regions, in random order: the cost of a call
 * should grow no faster than the logarithm of their number.
 */
#include <stdio.h>
#include <stdlib.h>

#include <vmm/vmm.h>

#include "bench.h"

enum { MAX_REGIONS = 100000, ROUNDS = 5 };

static uint32_t order[MAX_REGIONS];

static void shuffle(unsigned n)
{
  uint64_t state = 99;
  unsigned i;

  for (i = 0; i < n; i++)
    order[i] = i;
  for (i = n; i > 1; i--) {
    unsigned j = (unsigned)(bench_random(&state) % i);
    uint32_t swapped = order[i - 1];

    order[i - 1] = order[j];
    order[j] = swapped;
  }
}

/* Every second page is mapped; with touch, each is written to as well.
 * => nanoseconds a call, in *map and *unmap */
static void measure(unsigned n, double *map, double *unmap)
{
  struct vmm_space *space;
  double start, middle;
  uint64_t page;
  unsigned i;

  bench_need(vmm_space_create(&space, NULL), "vmm_space_create");
  page = vmm_space_page_size(space);
  start = bench_cpu();
  for (i = 0; i < n; i++)
    bench_need(vmm_map_anon(space, order[i] * 2 * page, page,
                            VMM_READ | VMM_WRITE), "vmm_map_anon");
  middle = bench_cpu();
  for (i = 0; i < n; i++)
    bench_need(vmm_unmap(space, order[i] * 2 * page, page), "vmm_unmap");
  *map = (middle - start) / n;
  *unmap = (bench_cpu() - middle) / n;
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
}

int main(void)
{
  double map[ROUNDS], unmap[ROUNDS], first_map = 0, first_unmap = 0;
  unsigned n, i;
  char name[64];

  for (n = 1000; n <= MAX_REGIONS; n *= 10) {
    double median_map, median_unmap;

    shuffle(n);
    for (i = 0; i < ROUNDS; i++)
      measure(n, &map[i], &unmap[i]);
    median_map = bench_median(map, ROUNDS);
    median_unmap = bench_median(unmap, ROUNDS);
    if (n == 1000) {
      first_map = median_map;
      first_unmap = median_unmap;
    }
    snprintf(name, sizeof(name), "map, one of %u regions", n);
    bench_print(name, median_map, "ns/call", median_map / first_map);
    snprintf(name, sizeof(name), "unmap, one of %u regions", n);
    bench_print(name, median_unmap, "ns/call", median_unmap / first_unmap);
  }
  return 0;
}
