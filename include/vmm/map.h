/*
 * What is mapped where.  Mapping is book-keeping: memory is taken and windows
 * are filled by the first touch.  Taking a right away reaches every window
 * before the call returns; granting one reaches a window by its next fault.
 *
 * Addresses and sizes are multiples of the space's page.
 */
#ifndef VMM_MAP_H
#define VMM_MAP_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_map_options {
  struct vmm_object *object; /* NULL: private zero-filled memory */
  uint64_t offset;           /* in the object, a multiple of the page */
  uint32_t rights;           /* VMM_READ | VMM_WRITE | VMM_EXEC, or none */
  uint32_t flags;            /* VMM_ANY ... VMM_EXACT, VMM_SUPERVISOR */
  uint64_t align;            /* with VMM_ANY, a power of two; 0: the page */
  void *cookie;              /* yours; a fault carries it */
  uint64_t reserved[6];
};

/*
 * Maps nbytes at *va.  With VMM_ANY the library chooses the lowest free place
 * at or above *va and stores it there.  With VMM_REPLACE what was mapped there
 * is unmapped in the same step; if the host then refuses to wire, the range
 * stays unmapped.  VMM_HUGE with VMM_ANY aligns to 2 MiB.  options may not be
 * NULL.
 *
 * -EINVAL  the range leaves the space, or the offset the object; a space with
 *          another page size maps the object already; VMM_WIRED without rights
 * -EEXIST  something is mapped there, and no VMM_REPLACE
 * -ENOMEM  no free place, no memory; with VMM_WIRED: no frames, no mappings
 * -EACCES  shared writing to an object that is read-only
 * -ENOTSUP VMM_WRITE without VMM_READ: a window can't show it; VMM_WIRED in a
 *          space that has no window (VMM_CHECKED); a device with VMM_EXEC,
 *          VMM_PRIVATE or VMM_WIRED
 * -ENOSPC  the object's trackers find no free slot in this space
 * -EBUSY   VMM_WIRED where a tracker watches
 * -EIO     VMM_WIRED, and the object can't give a page; likewise a pager's
 *          errors (<vmm/pager.h>)
 */
VMM_API int vmm_map(struct vmm_space *space, vmm_addr_t *va, uint64_t nbytes,
                    const struct vmm_map_options *options);

/* Private zero-filled memory at va; rights_and_flags is both words in one.
 * As vmm_map(); VMM_ANY is -EINVAL here. */
VMM_API int vmm_map_anon(struct vmm_space *space, vmm_addr_t va,
                         uint64_t nbytes, uint32_t rights_and_flags);

/* Unmaps what is mapped in the range; holes are allowed.  Pinned frames live
 * on until they are unpinned.
 * -ENOMEM a region must be split, or a snapshot keeps the bytes, and there is
 *         no memory */
VMM_API int vmm_unmap(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);

/*
 * Gives the range these rights.  Bytes, young and dirty bits are kept.
 *
 * -ENOMEM  a part of the range is not mapped; no memory for a split
 * -EACCES  a part is a trampoline page
 * -EACCES -ENOTSUP  as vmm_map()
 */
VMM_API int vmm_protect(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                        uint32_t rights);

/*
 * Moves the mapped range [from, from + nbytes) to *to with its bytes and bits;
 * it reads dirty to every tracker at both places.  flags: VMM_ANY, VMM_REPLACE.
 *
 * -EINVAL  the ranges overlap, or one leaves the space
 * -EEXIST  something is mapped at *to, and no VMM_REPLACE
 * -ENOMEM  a part of the range is not mapped; no memory; no free place
 * -ENOTSUP a part is a trampoline page
 * -EBUSY   a page of it is wired, and a tracker watches its new place
 */
VMM_API int vmm_move(struct vmm_space *space, vmm_addr_t from, uint64_t nbytes,
                     vmm_addr_t *to, uint32_t flags);

/*
 * Drops the bytes of the range: private memory reads as zeros again, and its
 * frames are free; a private mapping of an object reads as the object; a shared
 * mapping is only forgotten by the windows.  The regions stay.
 *
 * -ENOMEM  a part of the range is not mapped; no memory for a snapshot
 * -EBUSY   a page of it is wired
 */
VMM_API int vmm_discard(struct vmm_space *space, vmm_addr_t va,
                        uint64_t nbytes);

/*
 * Gives every page of the range a frame and installs it in the space's window,
 * with all the rights that the region has, so that accesses and system calls
 * on it never fault.  It reads dirty if it is writable.  Not nested.  A call
 * that changes wired pages (protect, move, pin, restore) wires them again;
 * where the host refuses that, the region is not wired any more
 * (vmm_region_find() tells).
 *
 * -ENOMEM  not mapped, no frames or host mappings; then all of the range is
 *          unwired, what an earlier call wired too
 * -EIO     the object can't give a page; likewise; and a pager's errors
 * -EACCES  the range has no rights
 * -ENOTSUP the space has no window; a part is a trampoline page or a device
 * -EBUSY   a tracker watches the range (wired memory can't be tracked)
 */
VMM_API int vmm_wire(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);
/* -ENOMEM  a part of the range is not mapped */
VMM_API int vmm_unwire(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);

/* One region, as it is now. */
struct vmm_region_info {
  uint32_t struct_size; /* sizeof, set by the caller */
  uint32_t rights;      /* VMM_READ ... */
  vmm_addr_t start;
  uint64_t nbytes;
  struct vmm_object *object; /* NULL: private memory; not held for the caller */
  uint64_t offset;           /* of start, in the object */
  void *cookie;
  uint32_t flags; /* VMM_PRIVATE, VMM_WIRED, VMM_HUGE, VMM_EXACT,
                     VMM_SUPERVISOR */
  uint32_t reserved32;
};

/* The region that holds va, or else the next one above it.
 * -ENOENT  there is none */
VMM_API int vmm_region_find(struct vmm_space *space, vmm_addr_t va,
                            struct vmm_region_info *info);

/*
 * Page-table entries of the range, one word a page, VMM_PTE_* of <vmm/pte.h>;
 * 0 for a page never touched.  The bits of clear (VMM_PTE_ACCESSED,
 * VMM_PTE_MODIFIED) are fetched and cleared in one step: an access after the
 * call sets them again, but for wired pages, which keep their bits.  In a range
 * that is not exact (VMM_EXACT) young and dirty are upper bounds.  out may be
 * NULL.
 *
 * -EINVAL  clear has other bits; out lies in a window
 */
VMM_API int vmm_pages(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                      uint64_t clear, uint64_t *out);

/*
 * Calls visit for each page of the range whose entry is not 0, in ascending
 * order, until it returns non-zero, which is then returned.  The space is
 * locked meanwhile: visit may not call the library.
 */
VMM_API int vmm_pages_walk(struct vmm_space *space, vmm_addr_t va,
                           uint64_t nbytes,
                           int (*visit)(vmm_addr_t va, uint64_t pte, void *arg),
                           void *arg);

#ifdef __cplusplus
}
#endif
#endif
