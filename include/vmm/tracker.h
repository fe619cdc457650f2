/*
 * Trackers: which pages of a range were written, or accessed, since the last
 * look.  Up to eight at once on a page, each with bits of its own, apart from
 * the young and dirty bits of vmm_pages().
 */
#ifndef VMM_TRACKER_H
#define VMM_TRACKER_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  VMM_TRACK_WRITE,  /* pages written */
  VMM_TRACK_ACCESS, /* pages read, written or fetched */
};

struct vmm_tracker_options {
  uint32_t kind; /* VMM_TRACK_WRITE or VMM_TRACK_ACCESS */
  uint32_t reserved32;
  /* Called before the first access to a page after a clear, on the accessing
   * thread, with no lock held; in signal context if a window was touched, with
   * the rules of a fault handler.  at: the page's address, or its offset in a
   * tracked object.  NULL: nobody is told. */
  void (*touched)(struct vmm_tracker *tracker, vmm_addr_t at, void *arg);
  void *arg;
  uint64_t reserved[4];
};

/*
 * Tracks the range of a space, or of an object: there, a write through any
 * mapping, pin or copy counts.  All pages start clear.  Ranges are multiples of
 * the page (an object's: of 4096).  It makes the range exact.
 *
 * -ENOSPC  eight trackers are there already
 * -EBUSY   a page of the range is wired
 * -EINVAL  the range leaves the space or the object
 * -ENOMEM  no memory
 */
VMM_API int vmm_tracker_create(struct vmm_tracker **tracker,
                               struct vmm_space *space, vmm_addr_t va,
                               uint64_t nbytes,
                               const struct vmm_tracker_options *options);
VMM_API int vmm_tracker_create_object(
    struct vmm_tracker **tracker, struct vmm_object *object, uint64_t offset,
    uint64_t nbytes, const struct vmm_tracker_options *options);
/* A callback that another thread has just begun may still be running after it.
 * NULL is allowed. */
VMM_API void vmm_tracker_destroy(struct vmm_tracker *tracker);

/*
 * Fetches the pages of [start, start + nbytes) with their bit set, as runs in
 * ascending order, and clears exactly those that it returns if clear is not 0:
 * an access after the call sets them again.  *nruns: in, room in runs; out,
 * runs filled.  *next, if not NULL, is set to where to go on when runs was too
 * small, else to the range's end.
 *
 * -EINVAL  the range is not within the tracker's, or runs lies in a window
 */
VMM_API int vmm_tracker_fetch(struct vmm_tracker *tracker, vmm_addr_t start,
                              uint64_t nbytes, int clear,
                              struct vmm_range *runs, size_t *nruns,
                              vmm_addr_t *next);

#ifdef __cplusplus
}
#endif
#endif
