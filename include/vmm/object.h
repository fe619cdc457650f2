/*
 * Objects: where bytes live that are mapped more than once, or that come from
 * elsewhere.  All mappings of an object are coherent with each other: a page
 * of it has one frame.  Memory of vmm_map_anon() needs no object.
 */
#ifndef VMM_OBJECT_H
#define VMM_OBJECT_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_object_options {
  uint32_t flags; /* VMM_OBJECT_* */
  uint32_t reserved32;
  uint64_t reserved[6];
};

enum {
  VMM_OBJECT_EXPORT = 1 << 0,   /* anonymous memory with a descriptor */
  VMM_OBJECT_READONLY = 1 << 1, /* never written through a shared mapping */
};

/*
 * Zero-filled memory of nbytes, a multiple of 4096.  It takes no memory until
 * touched.  With VMM_OBJECT_EXPORT it has a descriptor of its own
 * (vmm_object_fd), which can be given to another process.  options may be NULL.
 *
 * -ENOMEM  no memory, or no alias space for nbytes
 * -EMFILE -ENFILE  no descriptor (VMM_OBJECT_EXPORT)
 * -ENOSPC  the host has no room for it (VMM_OBJECT_EXPORT)
 */
VMM_API int vmm_object_create(struct vmm_object **object, uint64_t nbytes,
                              const struct vmm_object_options *options);

/*
 * The bytes [offset, offset + nbytes) of anything that can be mapped shared: a
 * file, another process's memfd, a dma-buf.  The descriptor is duplicated.  A
 * descriptor that is open for reading only gives an object that can be mapped
 * VMM_PRIVATE, or without VMM_WRITE.  If the file is truncated later, an access
 * beyond its end is a fault with reason VMM_FAULT_OBJECT.
 *
 * -EBADF   fd is not open for reading
 * -ENODEV  it can't be mapped
 * -EACCES  the host refuses the mapping
 * -ENOMEM -EMFILE  as above
 */
VMM_API int vmm_object_from_fd(struct vmm_object **object, int fd,
                               uint64_t offset, uint64_t nbytes,
                               const struct vmm_object_options *options);

/* Opens the file at path and gives all of it, for writing too if possible.
 * -errno of open() and fstat(), and those of vmm_object_from_fd(). */
VMM_API int vmm_object_from_file(struct vmm_object **object, const char *path,
                                 const struct vmm_object_options *options);

/* One more holder.  Regions and trackers hold their object by themselves. */
VMM_API struct vmm_object *vmm_object_hold(struct vmm_object *object);
/* Gives up a hold; the last one ends the object.  NULL is allowed. */
VMM_API void vmm_object_release(struct vmm_object *object);

/* => in bytes; signal-safe */
VMM_API uint64_t vmm_object_size(const struct vmm_object *object);
/* => the descriptor, which stays the object's, or -ENOTSUP if it has none */
VMM_API int vmm_object_fd(const struct vmm_object *object);

#ifdef __cplusplus
}
#endif
#endif
