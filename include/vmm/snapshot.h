/*
 * Snapshots in memory: what a space's private memory held, and what was mapped,
 * at one moment; and going back there.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Takes a snapshot of the space.  It holds the bytes of private memory, and the
 * regions with their rights, flags, cookies and handlers.  It does not hold the
 * bytes of shared objects, young, dirty and trackers' bits, what is wired, the
 * space's handler, pins, trackers and notifiers.  A page of a private mapping that
 * was not written shows what the object holds, before and after.
 *
 * The price is a few operations for each page that the space has touched.  From
 * then on the first write to a page, or a discard, unmap or move, puts what it held
 * into the snapshot; so writes are exact (VMM_EXACT) while there is one.  Where
 * there is no memory for it, the write is a fault with reason VMM_FAULT_NO_MEMORY.
 * A page that is wired and writable, or pinned for writing, is copied at once.
 *
 * The frames that only snapshots hold do not count in max_frames, nor in the
 * space's counter of frames; its counters saved and restored tell how many pages
 * were copied.  A fork has none of the parent's snapshots.  Another thread's writes
 * meanwhile are in it or not, each by itself.
 *
 * A space may have many, each independent of the others.  It can't be destroyed
 * before they are dropped.  They end with the process: there is no way yet to save
 * one to a file.
 *
 * -ENOMEM  no memory
 */
VMM_API int vmm_snapshot_take(struct vmm_snapshot **snapshot,
                              struct vmm_space *space);

/*
 * Makes the space what it was.  The snapshot stays, to be restored again; so do all
 * others, older or newer ones.  The price is in proportion to the pages written
 * since it was taken (since it was last restored, if it is the latest), and to the
 * regions.
 *
 * What was mapped since is unmapped, what was unmapped or moved is where it was.
 * Every page that gets its bytes back reads dirty to every tracker, and code in it
 * is told to the notifiers.  A page that is pinned gets its bytes in place, so
 * that pin and guest stay coherent, unless its mapping goes.  What is wired stays so
 * and nothing else becomes so.  A private page that was not there at the take is
 * given back, or reads as it did where it is wired or pinned.
 *
 * -EINVAL  the snapshot is not of this space
 * -ENOMEM  no memory for what newer snapshots have to keep, or for regions
 * -ENOSPC  an object that was mapped then: its trackers find no free slot
 * -EIO     an object can't give a page that is wired or pinned
 */
VMM_API int vmm_snapshot_restore(struct vmm_space *space,
                                 struct vmm_snapshot *snapshot);

/* Ends a snapshot; what an older one needs of it goes there.  NULL is allowed. */
VMM_API void vmm_snapshot_drop(struct vmm_snapshot *snapshot);

#ifdef __cplusplus
}
#endif
#endif
