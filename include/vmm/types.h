/*
 * The words that every other header uses: guest addresses, rights, and the
 * conventions of the interface.
 *
 * Errors.  A function that can fail returns 0 or a negative errno value, and
 * never sets errno.  A failed call changes nothing, unless its comment says
 * what.  vmm_error_text() tells why the calling thread's last call failed.
 * These may come from any call and are not listed with each:
 *
 *   -EINVAL  a handle is NULL or was destroyed, there is no place for a result,
 *            a reserved field or an unknown flag is not zero, an address or a
 *            size is not aligned to the page or wraps, a range is empty
 *   -ESTALE  this process is the child of a plain fork(): it has no windows
 *
 * Threads.  Every function may be called by any thread at any time, except
 * where its comment says otherwise.  Functions marked "=> signal-safe" may be
 * called in a signal handler; a fault handler may call those too that
 * <vmm/fault.h> names.
 *
 * Structures.  In an options structure zero means the default, and the
 * reserved tail must be zero.  In a structure that the library fills, the
 * caller sets struct_size first; fields beyond it are not written.
 */
#ifndef VMM_TYPES_H
#define VMM_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined __GNUC__
#define VMM_API __attribute__((visibility("default")))
#else
#define VMM_API
#endif

#define VMM_VERSION_MAJOR 0
#define VMM_VERSION_MINOR 1
#define VMM_VERSION_PATCH 0

/* A guest address: an offset from a window's base.  Never a host pointer. */
typedef uint64_t vmm_addr_t;

/* Rights of a region, and kinds of an access (one bit alone). */
enum {
  VMM_READ = 1 << 0,
  VMM_WRITE = 1 << 1,
  VMM_EXEC = 1 << 2,
};

/* Flags of a mapping; they share a word with the rights. */
enum {
  VMM_ANY = 1 << 8,     /* the library chooses the address */
  VMM_REPLACE = 1 << 9, /* over what is mapped there, atomically */
  VMM_PRIVATE = 1 << 10, /* writes go to a copy, the object is unchanged */
  VMM_WIRED = 1 << 11,  /* installed at once, never evicted */
  VMM_HUGE = 1 << 12,   /* ask the host for huge pages */
  VMM_EXACT = 1 << 13,  /* young and dirty page by page, not by chunk */
  VMM_CHECKED = 1 << 14, /* a space without a window: see <vmm/space.h> */
  VMM_SUPERVISOR = 1 << 15, /* hidden from users' windows of harts */
  VMM_TRAMPOLINE = 1 << 16, /* told of vmm_trampoline_map(), not asked for */
};

struct vmm_space;
struct vmm_object;
struct vmm_snapshot;
struct vmm_tracker;
struct vmm_pin;

/* [start, start + nbytes) of a space, or of an object. */
struct vmm_range {
  vmm_addr_t start;
  uint64_t nbytes;
};

/* Host memory, as readv() and writev() take it (the layout is struct iovec). */
struct vmm_iovec {
  void *base;
  size_t nbytes;
};

/* => the version of the library that runs: major << 16 | minor << 8 | patch */
VMM_API unsigned vmm_version(void);

#ifdef __cplusplus
}
#endif
#endif
