/*
 * Between the files of the checker: check.c proves what the library keeps,
 * check_window.c that the host grants what the windows' records say.  Layer 7.
 */
#ifndef VMMI_CHECK_H
#define VMMI_CHECK_H

#include "os.h"
#include "space.h"

struct vmmi_check {
  struct vmm_space *space;
  vmm_addr_t va, end;           /* what is checked of table and windows */
  bool pinned;                  /* somebody holds pins in the space */
  struct vmmi_os_mapping *maps; /* of the host, ascending */
  size_t count, room;
  uint64_t *frames;             /* private ones, of all entries */
  size_t frames_count, frames_room;
};

/* Says what is wrong at va: rule is a literal, what tells the numbers.
 * => -EPROTO */
int vmmi_check_fail(vmm_addr_t va, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes room for one more in an array of entries of nbytes.  => 0; -ENOMEM */
int vmmi_check_grow(void *array, size_t count, size_t *room, size_t nbytes);

/* Proves each window of the space against check->maps.  => space locked */
int vmmi_check_windows(struct vmmi_check *check);

#endif
