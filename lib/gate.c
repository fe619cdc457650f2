/*
 * Threads inside are counted in stripes, so that those of different threads
 * rarely share a cache line.  A thread counts itself first and looks at the
 * gate then; a closer shuts it first and looks at the counts then; so one sees
 * the other.
 */
#include "gate.h"

#include "os.h"
#include "thread.h"

#define STRIPE_SHIFT 6
#define STRIPES (1u << STRIPE_SHIFT)

static struct stripe {
  _Alignas(64) _Atomic uint32_t inside;
} stripes[STRIPES];

static _Atomic uint32_t closed;

/* Threads' static memory lies apart; multiplied by the golden ratio, so do the
 * upper bits. */
static _Atomic uint32_t *own_stripe(void)
{
  uint64_t self = (uintptr_t)&vmmi_thread_self;

  return &stripes[(self * 0x9e3779b97f4a7c15u) >> (64 - STRIPE_SHIFT)].inside;
}

static void wait_until_open(void)
{
  while (atomic_load(&closed))
    vmmi_os_wait(&closed, 1);
}

void vmmi_gate_pass(void)
{
  _Atomic uint32_t *stripe = own_stripe();

  for (;;) {
    atomic_fetch_add(stripe, 1); /* sequentially consistent: counted first */
    if (vmmi_likely(!atomic_load(&closed)))
      return;
    vmmi_gate_leave();
    wait_until_open();
  }
}

void vmmi_gate_leave(void)
{
  _Atomic uint32_t *stripe = own_stripe();

  atomic_fetch_sub(stripe, 1);
  if (vmmi_unlikely(atomic_load(&closed)))
    vmmi_os_wake(stripe);
}

void vmmi_gate_close(void)
{
  uint32_t open = 0;

  while (!atomic_compare_exchange_weak(&closed, &open, 1)) {
    wait_until_open();
    open = 0;
  }
  for (unsigned i = 0; i < STRIPES; i++) {
    uint32_t inside;

    while ((inside = atomic_load(&stripes[i].inside)) != 0)
      vmmi_os_wait(&stripes[i].inside, inside);
  }
}

void vmmi_gate_open(void)
{
  atomic_store(&closed, 0);
  vmmi_os_wake(&closed);
}
