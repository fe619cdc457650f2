/*
 * Threads that take first-touch faults at once, or revoke the right to write
 * and fault again, each in memory of its own, in one exact space.  The ratio is
 * to what one thread does.
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

/* Cleans so many pages at once, then writes them. */
static void revoke(char *at, vmm_addr_t va, unsigned npages)
{
  uint64_t page = vmm_space_page_size(space);
  unsigned i, k;

  for (i = 0; i < NPAGES; i += npages) {
    bench_need(vmm_pages(space, va + i * page, npages * page, VMM_PTE_MODIFIED,
                         NULL), "vmm_pages");
    for (k = 0; k < npages; k++)
      *(volatile char *)(at + (i + k) * page) = 1;
  }
}

static unsigned revoked; /* pages that are cleaned at once */

static void *revoke_and_touch(void *arg)
{
  vmm_addr_t va = (uintptr_t)arg * STRIDE;

  pthread_barrier_wait(&ready);
  revoke(vmm_space_base(space) + va, va, revoked);
  pthread_barrier_wait(&ready);
  return NULL;
}

/* => faults a second of all threads together, in thousands */
static double measure(unsigned nthreads, void *(*run)(void *))
{
  pthread_t threads[MAX_THREADS];
  double start, end;
  uintptr_t i;

  if (run == touch)
    bench_need(vmm_discard(space, 0, MAX_THREADS * STRIDE), "vmm_discard");
  pthread_barrier_init(&ready, NULL, nthreads + 1);
  for (i = 0; i < nthreads; i++)
    if (pthread_create(&threads[i], NULL, run, (void *)i) != 0)
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

/* With 1, 2 and 4 threads. */
static void compare(const char *what, void *(*run)(void *))
{
  double values[3][ROUNDS], one = 0;
  unsigned i, n;

  measure(MAX_THREADS, run);
  for (i = 0; i < ROUNDS; i++)
    for (n = 0; n < 3; n++)
      values[n][i] = measure(1u << n, run);
  for (n = 0; n < 3; n++) {
    double median = bench_median(values[n], ROUNDS);
    char name[64];

    one = n == 0 ? median : one;
    snprintf(name, sizeof(name), "%s, %u thread%s", what, 1u << n,
             n == 0 ? "" : "s");
    bench_print(name, median, "1000/s", median / one);
  }
}

int main(void)
{
  struct vmm_space_options options = { .flags = VMM_EXACT };

  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  bench_need(vmm_map_anon(space, 0, MAX_THREADS * STRIDE,
                          VMM_READ | VMM_WRITE), "vmm_map_anon");
  compare("first touches", touch);
  revoked = 1;
  compare("revoke a page and fault", revoke_and_touch);
  revoked = 64;
  compare("revoke 64 pages and fault", revoke_and_touch);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
