/*
 * Threads that take first-touch faults at once, each in memory of its own, in one
 * exact space.  The ratio is to what one thread does.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmm/vmm.h>

#include "bench.h"

enum { NPAGES = 2048, MAX_THREADS = 4, ROUNDS = 9 };
#define STRIDE ((vmm_addr_t)64 << 20)

static struct vmm_space *space;
static pthread_barrier_t ready;

static void *touch(void *arg)
{
  uint64_t page = vmm_space_page_size(space);
  char *at = vmm_space_base(space) + (uintptr_t)arg * STRIDE;
  unsigned i;

  pthread_barrier_wait(&ready);
  for (i = 0; i < NPAGES; i++)
    *(volatile char *)(at + i * page) = 1;
  pthread_barrier_wait(&ready);
  return NULL;
}

/* => faults a second of all threads together, in thousands */
static double measure(unsigned nthreads)
{
  pthread_t threads[MAX_THREADS];
  double start, end;
  uintptr_t i;

  bench_need(vmm_discard(space, 0, MAX_THREADS * STRIDE), "vmm_discard");
  pthread_barrier_init(&ready, NULL, nthreads + 1);
  for (i = 0; i < nthreads; i++)
    if (pthread_create(&threads[i], NULL, touch, (void *)i) != 0)
      exit(EXIT_FAILURE);
  pthread_barrier_wait(&ready);
  start = bench_now();
  pthread_barrier_wait(&ready);
  end = bench_now();
  for (i = 0; i < nthreads; i++)
    pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&ready);
  return 1e6 * nthreads * NPAGES / (end - start);
}

int main(void)
{
  struct vmm_space_options options = { .flags = VMM_EXACT };
  double values[3][ROUNDS], one = 0;
  unsigned i, n;

  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  bench_need(vmm_map_anon(space, 0, MAX_THREADS * STRIDE,
                          VMM_READ | VMM_WRITE), "vmm_map_anon");
  measure(MAX_THREADS);
  for (i = 0; i < ROUNDS; i++)
    for (n = 0; n < 3; n++)
      values[n][i] = measure(1u << n);
  for (n = 0; n < 3; n++) {
    double median = bench_median(values[n], ROUNDS);
    char name[48];

    one = n == 0 ? median : one;
    snprintf(name, sizeof(name), "first touches, %u thread%s", 1u << n,
             n == 0 ? "" : "s");
    bench_print(name, median, "1000/s", median / one);
  }
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
