/*
 * Files of the host, as far as the library itself reads and writes them; the
 * calls that tests may let fail (inject.h).  os_linux_file.c keeps it for
 * Linux.  All are signal-safe and leave errno alone.  Layer 1.
 */
#ifndef VMMI_OS_FILE_H
#define VMMI_OS_FILE_H

#include "base.h"

/* open(), with O_CLOEXEC.  => a descriptor, or -errno */
int vmmi_os_open(const char *path, int flags, unsigned mode);
/* => another descriptor of the same, above 2, closed by exec; or -errno */
int vmmi_os_dup(int fd);

/* Makes the number to another descriptor of the same as from, closed by
 * exec. */
int vmmi_os_dup_to(int from, int to);
/* A pipe, both ends closed by exec.  => 0, -errno */
int vmmi_os_pipe(int ends[2]);

/* => a new memory file that holds what fd, a memory file that is mapped at
 *    bytes, holds in its first nbytes; its holes stay holes.  Or -errno */
int vmmi_os_memory_copy(const char *name, int fd, const char *bytes,
                        uint64_t nbytes);

/* All of nbytes, however many calls it takes; EINTR does not end it.
 * => 0; -EIO: the file ends before (pread); -errno, and some may be done */
int vmmi_os_pread(int fd, void *to, size_t nbytes, uint64_t offset);
int vmmi_os_pwrite(int fd, const void *from, size_t nbytes, uint64_t offset);

/* => 0 or -errno */
int vmmi_os_fsync(int fd);
int vmmi_os_rename(const char *from, const char *to);

#endif
