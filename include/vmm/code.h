/*
 * Caches of decoded code: fetching what to decode, and being told when it is no
 * longer true.  For interpreters and JITs.
 */
#ifndef VMM_CODE_H
#define VMM_CODE_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Fetches nbytes of code at va, within one page, for a cache: checks EXEC (and
 * not READ), sets young, and takes the silent write right from every mapping of
 * the page, so that the next write by any way calls the notifiers first.
 *
 * => 0; 1 if the bytes may change untold (the page is pinned or wired for
 *    writing, or keeps being both written and run): use them once and do not
 *    keep them; 2 if one of the bytes is watched for VMM_EXEC (<vmm/watch.h>):
 *    the same, and call vmm_watch_execute() each time before the instruction
 *    runs
 * -EFAULT -ENOMEM -EIO  as in <vmm/access.h>, and a pager's errors;
 *          vmm_fault_last() tells the rest
 * -EINVAL  the bytes lie in two pages; to lies in a window
 */
VMM_API int vmm_fetch(struct vmm_space *space, vmm_addr_t va, void *to,
                      size_t nbytes);

/*
 * A notifier learns of every range whose code may no longer be what was
 * fetched: written, unmapped, without EXEC, its frame replaced.  It is called
 * before the change returns, or before the write lands, with the library's
 * locks held, perhaps in signal context and on any thread: it must be short,
 * may call nothing of the library, and take no lock that is held while the
 * library is called.  Setting a flag or queueing the range is what it is for.
 */
struct vmm_notifier {
  void (*invalidate)(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes);
  void *arg;              /* yours */
  struct vmm_notifier *next; /* the library's */
  uint64_t reserved[2];      /* 0 */
};

/* Adds a notifier, which stays the caller's memory until it is removed. */
VMM_API int vmm_notifier_add(struct vmm_space *space, struct vmm_notifier *n);
/* Removes it; when this returns it is not running and will not be called.
 * -ENOENT  it was not added */
VMM_API int vmm_notifier_remove(struct vmm_space *space,
                                struct vmm_notifier *n);

#ifdef __cplusplus
}
#endif
#endif
