/*
 * Counters of calls, and for each kind the stretch of calls that fails.
 */
#include "inject.h"

#include <errno.h>

struct kind {
  _Atomic uint64_t calls;
  _Atomic uint64_t from; /* the number of the first that fails; 0: none */
  _Atomic uint64_t count;
};

static struct kind kinds[VMM_TEST_CALLS];

_Atomic(void (*)(enum vmmi_step step)) vmmi_inject_stopper;

bool vmmi_inject(enum vmm_test_call call)
{
  struct kind *kind = &kinds[call];
  /* relaxed: tests order it themselves */
  uint64_t number =
      atomic_fetch_add_explicit(&kind->calls, 1, memory_order_relaxed) + 1;
  uint64_t from = atomic_load_explicit(&kind->from, memory_order_relaxed);

  return vmmi_unlikely(from != 0) && number >= from &&
         number - from <
             atomic_load_explicit(&kind->count, memory_order_relaxed);
}

int vmm_test_fail(unsigned call, uint64_t nth, uint64_t count)
{
  struct kind *kind;

  if (call >= VMM_TEST_CALLS)
    return -EINVAL;
  kind = &kinds[call];
  atomic_store(&kind->from, 0);
  atomic_store(&kind->count, count);
  if (nth != 0)
    atomic_store(&kind->from, atomic_load(&kind->calls) + nth);
  return 0;
}

uint64_t vmm_test_count(unsigned call)
{
  return call < VMM_TEST_CALLS ? atomic_load(&kinds[call].calls) : 0;
}
