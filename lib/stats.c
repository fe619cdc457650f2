/*
 * Counters, as the public interface shows them.
 */
#include <errno.h>
#include <string.h>

#include "space.h"

/* Copies as much as the caller's structure has room for, but for its size. */
static int give_stats(struct vmm_stats *to, struct vmm_stats *from)
{
  size_t nbytes = to != NULL ? to->struct_size : 0;

  if (nbytes < sizeof(to->struct_size))
    return vmmi_error(-EINVAL, "stats: struct_size is not set", 0);
  from->struct_size = to->struct_size;
  memcpy(to, from, vmmi_min(nbytes, sizeof(*from)));
  return 0;
}

static uint64_t value_of(const _Atomic uint64_t *counter)
{
  return atomic_load_explicit(counter, memory_order_relaxed); /* a statistic */
}

int vmm_space_stats(struct vmm_space *space, struct vmm_stats *stats)
{
  const struct vmmi_counters *counters;
  struct vmm_stats now = { 0 };
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  counters = &space->counters;
  now.faults_read = value_of(&counters->faults_read);
  now.faults_write = value_of(&counters->faults_write);
  now.faults_exec = value_of(&counters->faults_exec);
  now.repaired = value_of(&counters->repaired);
  now.spurious = value_of(&counters->spurious);
  now.handled = value_of(&counters->handled);
  now.unresolved = value_of(&counters->unresolved);
  now.zero_fills = value_of(&counters->zero_fills);
  now.zero_maps = value_of(&counters->zero_maps);
  now.copies = value_of(&counters->copies);
  now.host_calls = value_of(&counters->host_calls);
  now.installed = value_of(&counters->installed);
  now.narrowed = value_of(&counters->narrowed);
  now.flushes = value_of(&counters->flushes);
  now.invalidations = value_of(&counters->invalidations);
  now.frames = value_of(&counters->frames);
  now.mapped = value_of(&counters->mapped);
  now.saved = value_of(&counters->saved);
  now.restored = value_of(&counters->restored);
  now.paged = value_of(&counters->paged);
  now.performed = value_of(&counters->performed);
  return give_stats(stats, &now);
}

int vmm_region_stats(struct vmm_space *space, vmm_addr_t va,
                     struct vmm_stats *stats)
{
  const struct vmmi_region *region;
  struct vmm_stats now = { 0 };
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  vmmi_space_lock_shared(space);
  region = vmmi_region_at(space->regions, va);
  if (region != NULL) {
    now.faults_read = value_of(&region->faults_read);
    now.faults_write = value_of(&region->faults_write);
    now.faults_exec = value_of(&region->faults_exec);
    now.repaired = value_of(&region->repaired);
    now.spurious = value_of(&region->spurious);
    now.unresolved = value_of(&region->unresolved);
    now.mapped = region->end - region->start;
  }
  vmmi_space_unlock(space);
  if (region == NULL)
    return vmmi_error(-ENOENT, "nothing is mapped there", 0);
  return give_stats(stats, &now);
}

int vmm_thread_stats(struct vmm_stats *stats)
{
  struct vmm_stats now = vmmi_thread_self.stats;

  return give_stats(stats, &now);
}
