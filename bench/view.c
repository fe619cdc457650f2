/*
 * What entering the supervisor's view and leaving it again costs: against a
 * call of an empty function, and against the cheapest system call, which a
 * switch of page tables would need at least.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/vmm.h>

#include "bench.h"

enum { ROUND_TRIPS = 200000, ROUNDS = 31, PAGES = 4 };

static struct vmm_views *views;

static __attribute__((noinline)) void nothing(void)
{
  __asm__ volatile("");
}

static void (*volatile function)(void) = nothing;

/* => nanoseconds a time */
#define measure(times, statement)                                              \
  do {                                                                         \
    double start = bench_cpu();                                                \
    for (unsigned i = 0; i < (times); i++)                                     \
      statement;                                                               \
    return (bench_cpu() - start) / (times);                                    \
  } while (0)

static double run_views(void *arg)
{
  (void)arg;
  measure(ROUND_TRIPS, (vmm_view_leave(views), vmm_view_enter(views)));
}

static double run_call(void *arg)
{
  (void)arg;
  measure(ROUND_TRIPS, function());
}

static double run_system_call(void *arg)
{
  (void)arg;
  measure(ROUND_TRIPS / 100, syscall(SYS_getppid));
}

int main(void)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS |
                                               VMM_HART_VIEWS };
  vmm_addr_t top = 0x200000;
  struct vmm_space *space;
  struct vmm_hart *hart;
  uint64_t nbytes;

  bench_need(vmm_space_create(&space, NULL), "space");
  nbytes = PAGES * (uint64_t)vmm_space_page_size(space);
  bench_need(vmm_map_anon(space, top - nbytes, nbytes,
                          VMM_READ | VMM_WRITE | VMM_SUPERVISOR), "map");
  bench_need(vmm_hart_create(&hart, &options), "hart");
  bench_need(vmm_hart_set_space(hart, space, NULL), "set_space");
  bench_need(vmm_hart_set_stack(hart, top, nbytes), "set_stack");
  views = vmm_hart_views(hart);
  bench_compare("leave and enter", run_views, "a call", run_call, NULL, ROUNDS,
                "ns");
  bench_compare("leave and enter", run_views, "a system call", run_system_call,
                NULL, ROUNDS, "ns");
  bench_need(vmm_hart_set_space(hart, NULL, NULL), "set_space");
  bench_need(vmm_hart_destroy(hart), "hart");
  return vmm_space_destroy(space) != 0;
}
