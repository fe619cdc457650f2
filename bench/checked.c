/*
 * Memory without a window: a load by a TLB and by a call against a load through
 * a window, a copy of a page by a call against memcpy() there, and filling an
 * entry that the page table grants already.
 */
#include <stdint.h>
#include <string.h>

#include <vmm/vmm.h>

#include "bench.h"

enum { PAGES = 64, PAGE = 4096, LOADS = 200000, CALLS = 4000, ROUNDS = 21 };
#define AT 0x10000u

static struct vmm_space *direct, *checked;
static struct vmm_tlb *tlb;
static char *base;
static volatile uint64_t sum;

static vmm_addr_t place(unsigned i)
{
  return AT + (i * 264u) % (PAGES * PAGE);
}

static double run_window(void *arg)
{
  double start = bench_cpu();
  uint64_t value = 0;

  (void)arg;
  for (unsigned i = 0; i < LOADS; i++)
    value += *(volatile uint64_t *)(base + place(i));
  sum = value;
  return (bench_cpu() - start) / LOADS;
}

static double run_tlb(void *arg)
{
  double start = bench_cpu();
  uint64_t value = 0;

  (void)arg;
  vmm_tlb_enter(tlb);
  for (unsigned i = 0; i < LOADS; i++) {
    const volatile uint64_t *host = vmm_tlb_read(tlb, place(i), 8);

    if (host == NULL) {
      vmm_tlb_leave(tlb);
      bench_need(vmm_tlb_fill(tlb, place(i), VMM_READ), "fill");
      vmm_tlb_enter(tlb);
      i--;
      continue;
    }
    value += *host;
  }
  vmm_tlb_leave(tlb);
  sum = value;
  return (bench_cpu() - start) / LOADS;
}

static double run_call(void *arg)
{
  double start = bench_cpu();
  uint64_t value;

  (void)arg;
  for (unsigned i = 0; i < CALLS; i++)
    bench_need(vmm_load(checked, place(i), &value, 8), "load");
  return (bench_cpu() - start) / CALLS;
}

static double run_fill(void *arg)
{
  double start = bench_cpu();

  (void)arg;
  for (unsigned i = 0; i < CALLS; i++)
    bench_need(vmm_tlb_fill(tlb, place(i), VMM_READ), "fill");
  return (bench_cpu() - start) / CALLS;
}

static char page[PAGE];

static double run_copyin(void *arg)
{
  double start = bench_cpu();

  (void)arg;
  for (unsigned i = 0; i < CALLS; i++)
    bench_need(vmm_copyin(checked, page, AT + i % PAGES * PAGE, PAGE, NULL),
               "copyin");
  return (bench_cpu() - start) / CALLS;
}

static double run_memcpy(void *arg)
{
  double start = bench_cpu();

  (void)arg;
  for (unsigned i = 0; i < CALLS; i++) {
    memcpy(page, base + AT + i % PAGES * PAGE, PAGE);
    sum = (uint64_t)page[i % PAGE];
  }
  return (bench_cpu() - start) / CALLS;
}

static struct vmm_space *make(uint32_t flags)
{
  struct vmm_space_options options = { 0 };
  struct vmm_space *space;

  options.size = 1u << 24;
  options.flags = flags;
  bench_need(vmm_space_create(&space, &options), "space");
  bench_need(vmm_map_anon(space, AT, PAGES * PAGE, VMM_READ | VMM_WRITE),
             "map");
  bench_need(vmm_fill(space, AT, 1, PAGES * PAGE, NULL), "fill");
  return space;
}

int main(void)
{
  direct = make(0);
  checked = make(VMM_CHECKED);
  base = vmm_space_base(direct);
  bench_need(vmm_tlb_create(&tlb, checked, NULL), "tlb");
  bench_compare("load, checked, by a TLB", run_tlb, "  through a window",
                run_window, NULL, ROUNDS, "ns");
  bench_compare("load, checked, by a call", run_call, "  through a window",
                run_window, NULL, ROUNDS, "ns");
  bench_compare("fill of a TLB's entry, granted before", run_fill,
                "  load by a call", run_call, NULL, ROUNDS, "ns");
  bench_compare("copy of a page, checked", run_copyin, "  memcpy from a window",
                run_memcpy, NULL, ROUNDS, "ns");
  vmm_tlb_destroy(tlb);
  vmm_space_destroy(checked);
  vmm_space_destroy(direct);
  return 0;
}
