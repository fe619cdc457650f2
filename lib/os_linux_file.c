/*
 * Files on Linux: plain system calls, each after it was asked whether it is to
 * fail.
 */
#define _GNU_SOURCE 1
#include "os_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "inject.h"
#include "os.h"

/* => what a call gave, or -errno; errno as it was */
static int file_result(int status, int saved)
{
  int result = status < 0 ? -errno : status;

  errno = saved;
  return result;
}

int vmmi_os_open(const char *path, int flags, unsigned mode)
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_OPEN))
    return -EMFILE;
  return file_result(open(path, flags | O_CLOEXEC, mode), saved);
}

int vmmi_os_dup(int fd)
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_OPEN))
    return -EMFILE;
  return file_result(fcntl(fd, F_DUPFD_CLOEXEC, 3), saved);
}

int vmmi_os_dup_to(int from, int to)
{
  int saved = errno;
  int result;

  if (vmmi_inject(VMM_TEST_OPEN))
    return -EMFILE;
  result = file_result(dup3(from, to, O_CLOEXEC), saved);
  return result < 0 ? result : 0;
}

int vmmi_os_pipe(int ends[2])
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_OPEN))
    return -EMFILE;
  return file_result(pipe2(ends, O_CLOEXEC), saved);
}

/* => whether the file holds something from *at on, and then *at and *end of
 *    it */
static bool next_data(int fd, uint64_t *at, uint64_t *end)
{
  off_t start = lseek(fd, (off_t)*at, SEEK_DATA);
  off_t stop = start >= 0 ? lseek(fd, start, SEEK_HOLE) : -1;

  if (stop < 0)
    return false;
  *at = (uint64_t)start;
  *end = (uint64_t)stop;
  return true;
}

int vmmi_os_memory_copy(const char *name, int fd, const char *bytes,
                        uint64_t nbytes)
{
  int copy = vmmi_os_memory_open(name, nbytes);
  int saved = errno;
  uint64_t at = 0, end;
  int error = 0;

  if (copy < 0)
    return copy;
  while (error == 0 && at < nbytes && next_data(fd, &at, &end) && at < nbytes) {
    end = vmmi_min(end, nbytes);
    error = vmmi_os_pwrite(copy, bytes + at, (size_t)(end - at), at);
    at = end;
  }
  if (error != 0)
    close(copy);
  errno = saved;
  return error != 0 ? error : copy;
}

/* Steps over what one call has moved, n bytes.  => 0 to go on, or -errno */
static int count_moved(ssize_t n, size_t *nbytes, uint64_t *offset)
{
  if (n == 0)
    return -EIO;
  if (n < 0)
    return errno == EINTR ? 0 : -errno;
  *nbytes -= (size_t)n;
  *offset += (uint64_t)n;
  return 0;
}

int vmmi_os_pread(int fd, void *to, size_t nbytes, uint64_t offset)
{
  int saved = errno;
  int error = 0;

  if (vmmi_inject(VMM_TEST_PREAD))
    return -EIO;
  while (error == 0 && nbytes > 0) {
    ssize_t n = pread(fd, to, nbytes, (off_t)offset);

    error = count_moved(n, &nbytes, &offset);
    to = (char *)to + (n > 0 ? n : 0);
  }
  errno = saved;
  return error;
}

int vmmi_os_pwrite(int fd, const void *from, size_t nbytes, uint64_t offset)
{
  int saved = errno;
  int error = 0;

  if (vmmi_inject(VMM_TEST_PWRITE))
    return -ENOSPC;
  while (error == 0 && nbytes > 0) {
    ssize_t n = pwrite(fd, from, nbytes, (off_t)offset);

    error = count_moved(n, &nbytes, &offset);
    from = (const char *)from + (n > 0 ? n : 0);
  }
  errno = saved;
  return error;
}

int vmmi_os_fsync(int fd)
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_FSYNC))
    return -EIO;
  return file_result(fsync(fd), saved);
}

int vmmi_os_rename(const char *from, const char *to)
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_RENAME))
    return -EIO;
  return file_result(rename(from, to), saved);
}
