/*
 * Pagers: objects whose bytes the program gives page by page, when they are
 * first touched, and takes back when they must make room: from a file,
 * compressed memory, another machine.
 *
 * An object of a pager is mapped as any other; its pages have one frame each,
 * so all mappings are coherent, and a private mapping copies on write.  An
 * access to a page that is not there waits until the pager has filled it.
 */
#ifndef VMM_PAGER_H
#define VMM_PAGER_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  VMM_PAGER_INLINE = 1 << 0, /* the callbacks are signal-safe: see below */
};

/*
 * The callbacks run on a thread of the pager's own, one at a time, with all
 * asynchronous signals blocked: they may use malloc, stdio, sockets.  With
 * VMM_PAGER_INLINE there is no such thread: they run on the thread that needs
 * the page, perhaps in signal context, perhaps on several threads at once, with
 * the rules of a fault handler (<vmm/fault.h>), and a fault costs about half as
 * much.
 *
 * No lock of the library is held meanwhile: they may map, unmap, protect, copy,
 * and touch windows.  A page that is in this pager's hands already for the same
 * thread, or by a ring of pagers that wait for each other, is not waited for:
 * that access fails with -EDEADLK.  They must return, and not by longjmp.
 *
 * fill and write_back return 0 or a negative errno value, which the access that
 * waits fails with (a fault with reason VMM_FAULT_PAGER); anything else is
 * -EIO.
 */
struct vmm_pager_options {
  uint64_t nbytes;     /* of the object, a multiple of the page */
  uint64_t max_frames; /* pages that may be resident; 0: no limit */
  uint32_t page_size;  /* of the spaces that map it; 0: the host's page */
  uint32_t flags;      /* VMM_PAGER_INLINE */

  /* Gives the page at offset its bytes, into nbytes (a page) of zeros at to.
   * What it gave is forgotten if it fails.  It is to give what was kept last:
   * no tracker learns of bytes that are others when a page comes back. */
  int (*fill)(uint64_t offset, void *to, size_t nbytes, void *arg);

  /* Keeps nbytes, one page or some neighbours, that were written since they
   * were filled or last kept.  Nobody writes them meanwhile, but for pages that
   * are wired, or pinned for writing: these stay dirty.  If it fails, all stay
   * so.  NULL: the object is read-only, it can be mapped private or without
   * VMM_WRITE. */
  int (*write_back)(uint64_t offset, const void *from, size_t nbytes,
                    void *arg);

  /* Past max_frames: chooses the page that must go, stores its offset, returns
   * 0.  Where it gives something else, or a page that can't go, the library
   * chooses.  NULL: the library, by second chance: the page that was brought in
   * first, of those not used since they were last passed over. */
  int (*victim)(uint64_t *offset, void *arg);

  /* The object has ended; no callback comes after it.  NULL: nobody is told. */
  void (*release)(void *arg);

  void *arg;
  uint64_t reserved[6];
};

/*
 * Makes a pager's object, for vmm_map().  It has no descriptor.  Its last
 * holder's release ends it (vmm_object_release(); regions, pins, trackers and
 * snapshots hold it too): dirty pages are written back, release is called, both
 * on the pager's thread, or with VMM_PAGER_INLINE at the end of some call of
 * the library.  Failures are lost there: vmm_object_flush() or
 * vmm_pager_destroy() tells.
 *
 * Past max_frames a page is evicted for each one that is filled.  Pages that
 * are wired or pinned stay; if nothing else is there the access is a fault with
 * reason VMM_FAULT_LIMIT.  A page that a call is just using stays too, and the
 * limit is then passed by a page for each such thread.
 *
 * -EINVAL  no fill; nbytes or page_size not as above
 * -ENOMEM -EMFILE -ENFILE  no memory, no room in the alias, no descriptor
 * -ENOSPC  the host has no room for it
 * -EAGAIN  no thread
 */
VMM_API int vmm_pager_create(struct vmm_object **object,
                             const struct vmm_pager_options *options);

/*
 * Ends the object now: writes back what is dirty, calls release, waits until
 * its thread has gone.  Instead of the creator's vmm_object_release().
 *
 * -EINVAL  not a pager's object
 * -EBUSY   somebody else holds it: a region, a pin, a tracker, a snapshot
 * -EDEADLK the caller is a callback of its own, or of another pager
 * and those of a flush: then it lives on
 */
VMM_API int vmm_pager_destroy(struct vmm_object *object);

/*
 * Writes back the dirty pages of the range, of any object: where there is no
 * pager nothing is to be done.  Returns when they are kept.  Young, dirty and
 * trackers' bits are the program's and stay as they are.
 *
 * -EINVAL  not an object, or the range is not in it, or not of its pages
 * -EINTR   vmm_waiter_cancel(): some may not be kept yet
 * -EDEADLK as for an access
 * and what write_back gave first: the others were tried too
 */
VMM_API int vmm_object_flush(struct vmm_object *object, uint64_t offset,
                             uint64_t nbytes);

/*
 * As vmm_object_flush(), and then gives up the range's pages, whose next access
 * fills them again.  What is used meanwhile may stay.
 *
 * -EBUSY   a page is wired or pinned; the others are gone
 */
VMM_API int vmm_object_evict(struct vmm_object *object, uint64_t offset,
                             uint64_t nbytes);

/*
 * Cancelling.  A thread that waits for a pager can be told to give up: its
 * access, or its call, fails with -EINTR; the pager goes on, and the page may
 * come later.  A callback that runs on the thread itself (VMM_PAGER_INLINE) is
 * not ended.
 */
struct vmm_waiter;

/* => the calling thread, to be cancelled until it ends; signal-safe */
VMM_API struct vmm_waiter *vmm_waiter_self(void);
/* Ends the thread's wait for a pager; if it waits for none, its next one.
 * => signal-safe */
VMM_API void vmm_waiter_cancel(struct vmm_waiter *waiter);

/* Counters of one pager. */
struct vmm_pager_stats {
  uint32_t struct_size; /* sizeof, set by the caller */
  uint32_t reserved32;
  uint64_t fills;       /* pages filled */
  uint64_t write_backs; /* pages kept */
  uint64_t evictions;   /* pages given up */
  uint64_t failures;    /* callbacks that failed */
  uint64_t waits;       /* accesses and calls that waited */
  uint64_t resident;    /* now: pages that are there, or just filled */
  uint64_t dirty;       /* now: of these, pages to be kept */
};

/* -EINVAL  not a pager's object, or struct_size is not set */
VMM_API int vmm_pager_stats(struct vmm_object *object,
                            struct vmm_pager_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
