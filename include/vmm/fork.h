/*
 * Copies of spaces, made at the price of their page tables: pages are shared until
 * somebody writes them.
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
 * Makes a space that is a copy-on-write clone of the parent: the same size, page,
 * guards and limits; regions with their rights, cookies and handlers, and the
 * space's handler.  Of private memory each side sees only its own writes from
 * here on.  A page that is pinned or wired is copied at once, so that it stays the
 * parent's.  The child's pages are old; private ones keep their dirty bit.
 * Nothing is wired in it, no tracker, notifier or pin goes along.
 *
 * The parent is locked meanwhile.  The price is a few operations for each page
 * that the parent has touched; generations of forks leave no chain behind.
 *
 * -ENOMEM  no memory; the parent is as before
 * and those of vmm_space_create()
 */
VMM_API int vmm_space_fork(struct vmm_space **child, struct vmm_space *parent);

#ifdef __cplusplus
}
#endif
#endif
