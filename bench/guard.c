/*
 * What a guarded call costs where nothing faults: against sigsetjmp(), which
 * keeps the signal mask by a system call, against the one that doesn't, and
 * against the call alone.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stddef.h>

#include <vmm/vmm.h>

#include "bench.h"

enum { CALLS = 20000, ROUNDS = 31, STACK_NBYTES = 64 << 10 };

static unsigned counter;
static void *stack;

static __attribute__((noinline)) void count(void *arg)
{
  ++*(volatile unsigned *)arg;
}

/* The compiler doesn't know whom it calls. */
static vmm_guard_function *volatile function = count;

/* => nanoseconds a call */
#define measure(call)                                                          \
  do {                                                                         \
    double start = bench_cpu();                                                \
    unsigned i;                                                                \
    for (i = 0; i < CALLS; i++)                                                \
      call;                                                                    \
    return (bench_cpu() - start) / CALLS;                                      \
  } while (0)

static double run_guard(void *arg)
{
  struct vmm_fault fault;

  (void)arg;
  measure(vmm_guard_call(function, &counter, 0, &fault));
}

static double run_guard_on(void *arg)
{
  struct vmm_fault fault;

  (void)arg;
  measure(vmm_guard_call_on(stack, STACK_NBYTES, function, &counter, 0,
                            &fault));
}

static __attribute__((noinline)) void jump_call(int with_mask)
{
  static __thread sigjmp_buf buffer;

  if (sigsetjmp(buffer, with_mask) == 0)
    function(&counter);
}

static double run_sigsetjmp(void *arg)
{
  (void)arg;
  measure(jump_call(1));
}

static double run_setjmp(void *arg)
{
  (void)arg;
  measure(jump_call(0));
}

static double run_call(void *arg)
{
  (void)arg;
  measure(function(&counter));
}

/* ---- with a fault ---- */

static char *window;

static void fault_there(void *arg)
{
  (void)*(volatile char *)arg;
}

enum { FAULTS = 500 };

static double run_caught(void *arg)
{
  double start = bench_cpu();
  struct vmm_fault fault;
  unsigned i;

  (void)arg;
  for (i = 0; i < FAULTS; i++)
    bench_need(vmm_guard_call(fault_there, window, 0, &fault) - 1, "no fault");
  return (bench_cpu() - start) / FAULTS;
}

static double run_table(void *arg)
{
  double start = bench_cpu();
  volatile unsigned faults = 0;
  unsigned i;

  (void)arg;
  for (i = 0; i < FAULTS; i++) {
    uint8_t byte;

    vmm_try_load_u8(byte, window, fault);
    (void)byte;
    continue;
  fault:
    faults++;
  }
  return (bench_cpu() - start) / FAULTS;
}

int main(void)
{
  struct vmm_space_options options = { .size = 1 << 26 };
  struct vmm_space *space;

  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  bench_need(vmm_stack_create(&stack, STACK_NBYTES), "vmm_stack_create");
  window = vmm_space_base(space);
  bench_compare("guard: vmm_guard_call", run_guard,
                "guard: sigsetjmp, with the mask", run_sigsetjmp, NULL, ROUNDS,
                "ns");
  bench_compare("guard: vmm_guard_call again", run_guard,
                "guard: sigsetjmp, without the mask", run_setjmp, NULL, ROUNDS,
                "ns");
  bench_compare("guard: vmm_guard_call again", run_guard,
                "guard: the call alone", run_call, NULL, ROUNDS, "ns");
  bench_compare("guard: vmm_guard_call_on", run_guard_on,
                "guard: the call alone", run_call, NULL, ROUNDS, "ns");
  bench_compare("guard: a fault ends at the guard", run_caught,
                "guard: a fault ends at a table's label", run_table, NULL,
                ROUNDS, "ns");
  bench_need(vmm_stack_destroy(stack, STACK_NBYTES), "vmm_stack_destroy");
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
