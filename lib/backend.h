/*
 * How a window makes the host grant and deny: a small table of operations.  The
 * mprotect backend is the portable one that does everything; others (guard
 * regions, userfaultfd) may take its place, window by window.  Layer 3.
 */
#ifndef VMMI_BACKEND_H
#define VMMI_BACKEND_H

#include "base.h"

struct vmmi_backend {
  const char *name;
  /* Shows nbytes of fd at a place of the reservation, with these rights. */
  int (*map)(void *at, size_t nbytes, unsigned rights, int fd, uint64_t offset);
  /* Shows zeros, readable. */
  int (*map_zero)(void *at, size_t nbytes);
  /* Changes the rights of what is shown; 0 takes all away. */
  int (*protect)(void *at, size_t nbytes, unsigned rights);
  /* Shows nothing any more. */
  int (*unmap)(void *at, size_t nbytes);
};

extern const struct vmmi_backend vmmi_backend_mprotect;

#endif
