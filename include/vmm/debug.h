/*
 * Looking inside: texts of errors, dumps, explanations, the checker.
 */
#ifndef VMM_DEBUG_H
#define VMM_DEBUG_H

#include <stdio.h>
#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* => why the calling thread's last failed call failed (which host call, which
 *    limit), until its next failed call; never NULL */
VMM_API const char *vmm_error_text(void);

/* Writes the space's regions, counts of its page table and its window. */
VMM_API int vmm_dump(struct vmm_space *space, FILE *file);

/*
 * Says in words what an access (VMM_READ, VMM_WRITE, VMM_EXEC) to va would do,
 * without doing it: "would fault: region yes, PTE clean, window stale".
 * => the length of the whole text, as snprintf
 */
VMM_API int vmm_explain(struct vmm_space *space, vmm_addr_t va, unsigned access,
                        char *text, size_t size);

/* => the page's bytes in the alias, for debuggers: readable whatever the
 *    guest's rights, no bits are set; zeros and pages of read-only objects are
 *    not writable: to write, vmm_debug_write().  NULL if va was never touched.
 *    vmm_debug_ptr(space, va) can be called from gdb. */
VMM_API void *vmm_debug_ptr(struct vmm_space *space, vmm_addr_t va);

/*
 * A debugger's write: to private memory whatever its rights, which gets a page
 * of its own and keeps its rights for the guest; the object behind it is
 * unchanged.  It reads dirty, and decoded code is dropped.  left: as for
 * vmm_copyout().
 *
 * -EFAULT  nothing is mapped there, or memory that is shared and not writable
 * -ENOMEM -EIO  as in <vmm/access.h>, and a pager's errors
 */
VMM_API int vmm_debug_write(struct vmm_space *space, vmm_addr_t to,
                            const void *from, size_t nbytes, size_t *left);

/*
 * Proves the rules of windows against what the host really grants: that no
 * window grants more than its page table, its records are true, every entry
 * keeps the invariant of <vmm/pte.h>, every frame has as many holders as it
 * counts.  The space must be quiet: no other thread may use it.  nbytes 0: the
 * whole space.
 *
 * => 0; -EPROTO, and vmm_error_text() says what is wrong and where
 * -ENOTSUP  the host doesn't show its mappings
 * -ENOMEM   no memory for the proof
 */
VMM_API int vmm_check(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);

#ifdef __cplusplus
}
#endif
#endif
