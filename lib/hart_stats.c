/*
 * What a hart is and has counted, for whoever asks.  Layer 6.
 */
#include "hart.h"

#include <errno.h>
#include <string.h>

#include "thread.h"

struct vmm_hart *vmm_hart_current(void)
{
  return vmmi_thread_self.hart;
}

struct vmm_space *vmm_hart_space(const struct vmm_hart *hart)
{
  return vmmi_hart_check(hart) == 0 ? hart->space : NULL;
}

char *vmm_hart_base(const struct vmm_hart *hart)
{
  return vmmi_hart_check(hart) == 0 ? hart->base : NULL;
}

static bool is_hart(const struct vmm_hart *hart)
{
  return hart != NULL && atomic_load(&hart->magic) == VMMI_HART_MAGIC;
}

int vmm_hart_number(const struct vmm_hart *hart)
{
  return is_hart(hart) ? (int)atomic_load(&hart->number) : -1;
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
  return atomic_load_explicit(counter, memory_order_relaxed); /* a statistic */
}

static uint64_t host_calls_of(const struct vmm_hart *hart)
{
  uint64_t calls = count_of(&hart->counters.closed_calls);

  for (unsigned tag = 0; tag < VMMI_HART_TAGS; tag++)
    for (unsigned view = 0; view < VMMI_VIEWS; view++) {
      struct vmmi_window *window = atomic_load(&hart->windows[tag][view]);

      if (window != NULL)
        calls += count_of(&window->changes);
    }
  return calls;
}

int vmm_hart_stats(const struct vmm_hart *hart, struct vmm_hart_stats *stats)
{
  const struct vmmi_hart_counters *counters;
  struct vmm_hart_stats now = { 0 };

  if (!is_hart(hart))
    return vmmi_error(-EINVAL, "not a hart, or destroyed", 0);
  if (stats == NULL || stats->struct_size < sizeof(stats->struct_size))
    return vmmi_error(-EINVAL, "stats: struct_size is not set", 0);
  counters = &hart->counters;
  now.struct_size = stats->struct_size;
  now.number = atomic_load(&hart->number);
  now.context = count_of(&hart->context);
  now.generation = count_of(&hart->generation);
  now.switches = count_of(&counters->switches);
  now.live = count_of(&counters->live);
  now.tags = count_of(&counters->tags);
  now.rollovers = count_of(&counters->rollovers);
  now.flushes = count_of(&counters->flushes);
  now.flushed = count_of(&counters->flushed);
  now.host_calls = host_calls_of(hart);
  now.negatives = count_of(&counters->negatives);
  now.refused = count_of(&counters->refused);
  now.marks = count_of(&counters->marks);
  now.retries = count_of(&counters->retries);
  now.shootdowns = count_of(&counters->shootdowns);
  memcpy(stats, &now, vmmi_min(stats->struct_size, sizeof(now)));
  return 0;
}
