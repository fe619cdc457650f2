/*
 * Harts: what a switch of spaces costs where the tag is live, against one that
 * flushes; what a new mapping costs with 1, 4 and 16 harts, lazily and by
 * shootdowns (S1.13); and the first touch after it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmm/vmm.h>

#include "bench.h"

#define AT ((vmm_addr_t)2 << 20)
enum { TOUCHED = 16, SWITCHES = 100, ROUNDS = 21, MAPS = 10000, MOST = 16 };

static uint64_t page;

static struct vmm_space *make_space(uint64_t npages)
{
  struct vmm_space_options options = { .size = 1 << 28, .flags = VMM_EXACT };
  struct vmm_space *space;

  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  page = vmm_space_page_size(space);
  if (npages != 0)
    bench_need(vmm_map_anon(space, AT, npages * page, VMM_READ | VMM_WRITE),
               "vmm_map_anon");
  return space;
}

static struct vmm_hart *make_hart(uint32_t flags)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS | flags };
  struct vmm_hart *hart;

  bench_need(vmm_hart_create(&hart, &options), "vmm_hart_create");
  return hart;
}

static struct vmm_hart_stats stats_of(const struct vmm_hart *hart)
{
  struct vmm_hart_stats stats = { .struct_size = sizeof(stats) };

  bench_need(vmm_hart_stats(hart, &stats), "vmm_hart_stats");
  return stats;
}

/* ---- switching ---- */

struct switching {
  struct vmm_hart *hart;
  struct vmm_space *spaces[2];
  unsigned pages; /* touched after each switch */
};

/* => nanoseconds a switch */
static double switch_spaces(const struct switching *s, unsigned n, int flush)
{
  double start = bench_cpu();

  for (unsigned i = 0; i < n; i++) {
    char *base;

    if (vmm_hart_set_space(s->hart, s->spaces[i % 2], &base) != 0)
      exit(EXIT_FAILURE);
    if (flush)
      vmm_hart_flush(s->hart);
    for (unsigned p = 0; p < s->pages; p++)
      *(volatile char *)(base + AT + p * page) = 1;
  }
  return (bench_cpu() - start) / n;
}

static double with_tags(void *arg)
{
  return switch_spaces(arg, 100 * SWITCHES, 0);
}

static double with_flushes(void *arg)
{
  return switch_spaces(arg, SWITCHES, 1);
}

static void bench_switches(void)
{
  struct switching s = { .hart = make_hart(0),
                         .spaces = { make_space(TOUCHED),
                                     make_space(TOUCHED) } };

  switch_spaces(&s, 4, 0);
  bench_compare("hart: switch, live tag, no page touched", with_tags,
                "hart: switch, flush, no page touched", with_flushes, &s,
                ROUNDS, "ns");
  s.pages = TOUCHED;
  switch_spaces(&s, 4, 0);
  bench_compare("hart: switch, live tag, 16 pages touched", with_tags,
                "hart: switch, flush, 16 pages touched", with_flushes, &s,
                ROUNDS, "ns");
  vmm_hart_set_space(s.hart, NULL, NULL);
  vmm_hart_destroy(s.hart);
  vmm_space_destroy(s.spaces[0]);
  vmm_space_destroy(s.spaces[1]);
}

/* ---- S1.13: new mappings ---- */

static struct {
  struct vmm_space *space;
  uint32_t flags;
  pthread_barrier_t turn;
  struct vmm_hart_stats all[MOST];
} mapping;

/* Its window holds invalid entries while another thread maps. */
static void *stand_by(void *number)
{
  struct vmm_hart *hart = make_hart(mapping.flags);
  uint8_t byte = 0;
  char *base;

  vmm_hart_set_space(hart, mapping.space, &base);
  vmm_try_load_u8(byte, base + AT, fault);
fault:
  pthread_barrier_wait(&mapping.turn);
  pthread_barrier_wait(&mapping.turn);
  mapping.all[(uintptr_t)number] = stats_of(hart);
  vmm_hart_set_space(hart, NULL, NULL);
  vmm_hart_destroy(hart);
  return NULL;
}

struct result {
  double ms;
  uint64_t shootdowns, host_calls;
};

static struct result map_before(unsigned nharts, uint32_t flags)
{
  struct vmm_stats before = { .struct_size = sizeof(before) }, after = before;
  struct result result = { 0 };
  pthread_t threads[MOST];
  double start;
  uintptr_t i;

  mapping.space = make_space(0);
  mapping.flags = VMM_HART_INVALID | flags;
  pthread_barrier_init(&mapping.turn, NULL, nharts + 1);
  for (i = 0; i < nharts; i++)
    if (pthread_create(&threads[i], NULL, stand_by, (void *)i) != 0)
      exit(EXIT_FAILURE);
  pthread_barrier_wait(&mapping.turn);
  vmm_space_stats(mapping.space, &before);
  start = bench_cpu();
  for (i = 0; i < MAPS; i++)
    bench_need(vmm_map_anon(mapping.space, AT + 2 * i * page, page,
                            VMM_READ | VMM_WRITE), "vmm_map_anon");
  result.ms = (bench_cpu() - start) / 1e6;
  vmm_space_stats(mapping.space, &after);
  result.host_calls = after.host_calls - before.host_calls;
  pthread_barrier_wait(&mapping.turn);
  for (i = 0; i < nharts; i++) {
    pthread_join(threads[i], NULL);
    result.shootdowns += mapping.all[i].shootdowns;
  }
  pthread_barrier_destroy(&mapping.turn);
  vmm_space_destroy(mapping.space);
  return result;
}

static void print_mapping(const char *way, unsigned nharts,
                          const struct result *result, double ratio)
{
  char name[64];

  snprintf(name, sizeof(name), "hart: 10,000 mappings, %2u harts, %s", nharts,
           way);
  bench_print(name, result->ms, "ms", ratio);
  snprintf(name, sizeof(name), "  shootdowns");
  bench_print(name, (double)result->shootdowns, "", 0);
  snprintf(name, sizeof(name), "  host calls");
  bench_print(name, (double)result->host_calls, "", 0);
}

static void bench_mappings(void)
{
  static const unsigned harts[] = { 1, 4, 16 };

  map_before(1, 0); /* that does not count */
  for (unsigned i = 0; i < sizeof(harts) / sizeof(harts[0]); i++) {
    struct result lazy = map_before(harts[i], 0);
    struct result eager = map_before(harts[i], VMM_HART_EAGER);

    print_mapping("eager", harts[i], &eager, 1);
    print_mapping("lazy", harts[i], &lazy, lazy.ms / eager.ms);
  }
}

/* ---- the first touch ---- */

struct touching {
  struct vmm_hart *hart;
  struct vmm_space *space;
};

/* => nanoseconds for the first touch of each new page */
static double touch_new(void *arg, int hold)
{
  const struct touching *t = arg;
  char *base = vmm_hart_base(t->hart);
  double total = 0;

  for (unsigned i = 0; i < SWITCHES; i++) {
    vmm_addr_t va = AT + 2 * i * page;
    uint8_t byte = 0;
    double start;

    if (hold) /* an invalid entry for it */
      vmm_try_load_u8(byte, base + va, fault);
  fault:
    bench_need(vmm_map_anon(t->space, va, page, VMM_READ | VMM_WRITE), "map");
    start = bench_cpu();
    *(volatile char *)(base + va) = (char)byte;
    total += bench_cpu() - start;
    bench_need(vmm_unmap(t->space, va, page), "vmm_unmap");
  }
  return total / SWITCHES;
}

static double touch_after_lazy_map(void *arg)
{
  return touch_new(arg, 1);
}

static double touch_first(void *arg)
{
  return touch_new(arg, 0);
}

static void bench_touch(void)
{
  struct touching lazy = { make_hart(VMM_HART_INVALID), make_space(0) };

  bench_need(vmm_hart_set_space(lazy.hart, lazy.space, NULL), "set_space");
  bench_compare("hart: first touch where an invalid entry was",
                touch_after_lazy_map, "hart: first touch of a new mapping",
                touch_first, &lazy, ROUNDS, "ns");
  vmm_hart_set_space(lazy.hart, NULL, NULL);
  vmm_hart_destroy(lazy.hart);
  vmm_space_destroy(lazy.space);
}

int main(void)
{
  bench_switches();
  bench_mappings();
  bench_touch();
  return 0;
}
