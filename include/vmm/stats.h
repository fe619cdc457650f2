/*
 * Counters: always on, never reset.
 */
#ifndef VMM_STATS_H
#define VMM_STATS_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_stats {
  uint32_t struct_size; /* sizeof, set by the caller */
  uint32_t reserved32;
  /* Faults by access: accesses, of windows and calls, that the page table did
   * not let pass, or that a window did not; ... */
  uint64_t faults_read;
  uint64_t faults_write;
  uint64_t faults_exec;
  uint64_t repaired;   /* ... and how they ended: by the table, */
  uint64_t spurious;   /* (of those: only a window was stale) */
  uint64_t handled;    /* by a handler of the region or space, */
  uint64_t unresolved; /* or not here */
  uint64_t zero_fills; /* pages given a zero-filled frame */
  uint64_t zero_maps;  /* pages given the shared zero frame */
  uint64_t copies;     /* pages copied on write */
  uint64_t host_calls; /* mmap, mprotect, madvise on windows */
  uint64_t installed;  /* pages granted in a window */
  uint64_t narrowed;   /* pages taken from a window */
  uint64_t flushes;    /* windows flushed whole */
  uint64_t invalidations; /* ranges told to notifiers */
  uint64_t frames;        /* now: frames of its own (a space); 0 for others */
  uint64_t mapped;        /* now: bytes mapped (a space, a region) */
  uint64_t saved;    /* pages copied for snapshots */
  uint64_t restored; /* pages that got back what they held, from snapshots */
  uint64_t paged;    /* accesses that needed a pager */
  uint64_t performed; /* faults that ended so: the access was performed by
                         software, on a device or a watched page (one in two
                         pages: each) */
};

/* Of a space, all threads together.  => signal-safe */
VMM_API int vmm_space_stats(struct vmm_space *space, struct vmm_stats *stats);
/* Of the region that holds va: faults, repaired, spurious, unresolved, mapped.
 * -ENOENT  no region there */
VMM_API int vmm_region_stats(struct vmm_space *space, vmm_addr_t va,
                             struct vmm_stats *stats);
/* Of the calling thread, all spaces together: faults and how they ended.
 * => signal-safe */
VMM_API int vmm_thread_stats(struct vmm_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
