/*
 * Guest memory without a window: copies, single accesses, pins.  They do what a
 * real access would: the same faults, the same young and dirty bits.  A system
 * call on the window's memory fails with EFAULT where a page is not installed;
 * these are what to use instead.
 *
 * Every access of this file that fails gives -EFAULT (nothing mapped, no right,
 * or the host's buffer is bad), -EINVAL (a size that is not one of those
 * named), -ENOMEM (no frames: the host's or max_frames), -EIO (the object can't
 * give the page), or, of a pager, what its callback gave, -EINTR or -EDEADLK
 * (<vmm/pager.h>); and vmm_fault_last() tells the rest.  A region's or space's
 * handler is asked first, as for a signal.  A device (<vmm/device.h>) is loaded
 * and stored by its callbacks, and has nothing to pin or fix (-EFAULT,
 * VMM_FAULT_FORM).
 */
#ifndef VMM_ACCESS_H
#define VMM_ACCESS_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Copies between host and guest memory.  If left is not NULL it is set to the
 * number of bytes not copied; those before them were.  The host buffer may lie
 * in a window.
 */
VMM_API int vmm_copyin(struct vmm_space *space, void *to, vmm_addr_t from,
                       size_t nbytes, size_t *left);
VMM_API int vmm_copyout(struct vmm_space *space, vmm_addr_t to,
                        const void *from, size_t nbytes, size_t *left);

/* Sets nbytes of guest memory to byte; left as for a copy. */
VMM_API int vmm_fill(struct vmm_space *space, vmm_addr_t to, int byte,
                     size_t nbytes, size_t *left);

/*
 * Copies a string with its terminating zero; *length, if not NULL, is set to
 * its length without it.
 * -ENAMETOOLONG  no zero among the first size bytes; they were copied
 */
VMM_API int vmm_copyin_string(struct vmm_space *space, char *to,
                              vmm_addr_t from, size_t size, size_t *length);

/*
 * One access of 1, 2, 4, 8 or 16 bytes in host byte order; any alignment.  It
 * is atomic if it is aligned to its size (16 bytes: as two halves).
 */
VMM_API int vmm_load(struct vmm_space *space, vmm_addr_t va, void *value,
                     size_t nbytes);
VMM_API int vmm_store(struct vmm_space *space, vmm_addr_t va, const void *value,
                      size_t nbytes);

/*
 * Atomic compare-and-swap of 1, 2, 4, 8 or 16 bytes, aligned to their number.
 * It needs VMM_READ and VMM_WRITE, as a pin of both does.
 * => 0 swapped; 1 not, and *expected is what was there
 * -EINVAL   not aligned     -ENOTSUP  16 bytes, which this host can't
 */
VMM_API int vmm_cas(struct vmm_space *space, vmm_addr_t va, void *expected,
                    const void *desired, size_t nbytes);

/*
 * Does what a fault of this access to this page would do, and no more: after it
 * a faults-disabled access succeeds, unless somebody takes the page away again.
 * access: VMM_READ, VMM_WRITE or VMM_EXEC.
 * => 0; 1 likewise, but a pager was waited for: the space was not locked
 *    meanwhile, so what else the caller had found out may no longer be true
 */
VMM_API int vmm_fixup(struct vmm_space *space, vmm_addr_t va, unsigned access);

/*
 * Pins: host memory that stays valid and coherent with the guest range until
 * vmm_unpin(), for system calls, DMA and threads of your own.  Each page is
 * brought in as an access would.  A page pinned with VMM_WRITE reads dirty to
 * every tracker until the unpin and once more after it; code in it is not
 * cached.  The vectors lie in the alias: they are writable even where the guest
 * has only VMM_READ, so keep to what you asked for.
 *
 * *niov: in, room in iov; out, vectors filled.  Neighbouring pages share one.
 *
 * -E2BIG  niov is too small (one a page always suffices)
 * -ENOMEM also: no memory for the pin
 */
VMM_API int vmm_pin(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                    unsigned access, struct vmm_iovec *iov, size_t *niov,
                    struct vmm_pin **pin);
/* Ends the pin; NULL is allowed. */
VMM_API void vmm_unpin(struct vmm_pin *pin);

#ifdef __cplusplus
}
#endif
#endif
