/*
 * Copies of spaces, made at the price of their page tables: pages are shared
 * until somebody writes them.  And a copy of the process that has copies of all
 * of them.
 */
#ifndef VMM_FORK_H
#define VMM_FORK_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a fork of the space does with a region. */
enum {
  VMM_INHERIT_COPY,  /* private memory is copied, a shared object stays shared;
                        what every region starts with */
  VMM_INHERIT_NONE,  /* the child has nothing there */
};

/* Sets what forks do with the range.
 * -ENOMEM  a part of the range is not mapped; no memory for a split */
VMM_API int vmm_inherit(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                        unsigned inherit);

/*
 * Makes a space that is a copy-on-write clone of the parent: the same size,
 * page, guards and limits; regions with their rights, cookies and handlers, and
 * the space's handler.  Of private memory each side sees only its own writes
 * from here on.  A page that is pinned or wired is copied at once, so that it
 * stays the parent's.  The child's pages are old; private ones keep their dirty
 * bit.  Nothing is wired in it, no tracker, notifier or pin goes along.
 *
 * The parent is locked meanwhile.  The price is a few operations for each page
 * that the parent has touched; generations of forks leave no chain behind.
 *
 * -ENOMEM  no memory; the parent is as before
 * and those of vmm_space_create()
 */
VMM_API int vmm_space_fork(struct vmm_space **child, struct vmm_space *parent);

/*
 * Forks the process, as fork() does, but for a child that has copies of all
 * spaces.  (A child of plain fork() has none of them: its calls fail with
 * -ESTALE.)
 *
 * In the child every handle, window, base and pin is what and where it was.
 * Anonymous memory and exported objects are copies, made at once: each side
 * sees only its own writes from here on.  vmm_object_fd() gives the same
 * number, for the copy.  What a file or a descriptor of the program's backs
 * stays shared with the parent, as fork() leaves it.  Page tables, with young,
 * dirty and trackers' bits, are as they were; windows start empty, but wired
 * memory is wired again; the price is that of a copy of all that is resident.
 * Of threads only the calling one exists in the child, as after fork(), with
 * its attachment, its guarded calls and its hart; the harts of others have
 * ended.
 *
 * A pager has a thread of its own in the child too, which calls the same
 * callbacks: see to it that parent and child don't keep different pages in one
 * place.  What it just filled is filled again, what it just kept is dirty
 * still.
 *
 * Other threads wait meanwhile where they fault or call; what they write
 * silently, by a window or a pin, may or may not be in the child's copy, store
 * by store.  What a call of theirs held that is in a callback just now, or
 * waits for a pager (the pages of a vmm_pin that is not complete), stays held
 * in the child.
 *
 * => the child's number, or 0 in the child.  The caller waits until the child
 *    has all its memory: after an error there is no child.  (There may have
 *    been one, so the program may have got SIGCHLD.)
 * => not signal-safe; the program's pthread_atfork() handlers must not wait for
 *    threads that use the library
 * -EBUSY   in a fault handler, or another callback of the library's
 * -ENOMEM -EAGAIN -ENOSPC  no memory or no process
 * -EEXIST  a place is taken in the child: what ran there before the library's
 *          part (pthread_atfork) has mapped something
 * -EMFILE -ENFILE  no descriptor: one is needed for each exported object, and
 *          three
 */
VMM_API int vmm_process_fork(void);

#ifdef __cplusplus
}
#endif
#endif
