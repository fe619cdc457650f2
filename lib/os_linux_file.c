#define _GNU_SOURCE 1
/*
 * Files on Linux: plain system calls, each after it was asked whether it is to
 * fail.
 */
#include "os_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "inject.h"

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

int vmmi_os_pread(int fd, void *to, size_t nbytes, uint64_t offset)
{
  int saved = errno;
  int error = 0;

  if (vmmi_inject(VMM_TEST_PREAD))
    return -EIO;
  while (error == 0 && nbytes > 0) {
    ssize_t n = pread(fd, to, nbytes, (off_t)offset);

    if (n > 0) {
      to = (char *)to + n;
      nbytes -= (size_t)n;
      offset += (uint64_t)n;
    } else if (n == 0) {
      error = -EIO;
    } else if (errno != EINTR) {
      error = -errno;
    }
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

    if (n > 0) {
      from = (const char *)from + n;
      nbytes -= (size_t)n;
      offset += (uint64_t)n;
    } else if (n == 0) {
      error = -EIO;
    } else if (errno != EINTR) {
      error = -errno;
    }
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
