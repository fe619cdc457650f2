/*
 * Guest descriptors: a table of their own.  A guest's number is an index here
 * and never a host's number, so no guest reaches a descriptor of the emulator.
 * All host descriptors are closed on exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

struct flag {
  uint32_t guest;
  int host;
};

/* Of two flags that share bits, the one with more of them is first. */
static const struct flag flags_table[] = {
  { LINUX_O_CREAT, O_CREAT },       { LINUX_O_EXCL, O_EXCL },
  { LINUX_O_NOCTTY, O_NOCTTY },     { LINUX_O_TRUNC, O_TRUNC },
  { LINUX_O_APPEND, O_APPEND },     { LINUX_O_NONBLOCK, O_NONBLOCK },
  { LINUX_O_SYNC, O_SYNC },         { LINUX_O_DSYNC, O_DSYNC },
  { LINUX_O_DIRECT, O_DIRECT },     { LINUX_O_LARGEFILE, O_LARGEFILE },
  { LINUX_O_TMPFILE, O_TMPFILE },   { LINUX_O_DIRECTORY, O_DIRECTORY },
  { LINUX_O_NOFOLLOW, O_NOFOLLOW }, { LINUX_O_NOATIME, O_NOATIME },
  { LINUX_O_PATH, O_PATH },
};

enum { NFLAGS = sizeof flags_table / sizeof flags_table[0] };

int vmmi_fd_flags_to_host(uint64_t flags)
{
  int host = (int)(flags & LINUX_O_ACCMODE);

  for (int i = 0; i < NFLAGS; i++)
    if ((flags & flags_table[i].guest) == flags_table[i].guest)
      host |= flags_table[i].host;
  return host;
}

uint64_t vmmi_fd_flags_to_guest(int flags)
{
  uint64_t guest = (uint64_t)(flags & O_ACCMODE);

  for (int i = 0; i < NFLAGS; i++)
    if (flags_table[i].host != 0 &&
        (flags & flags_table[i].host) == flags_table[i].host)
      guest |= flags_table[i].guest;
  return guest;
}

static uint64_t limit(const struct linux_process *p)
{
  return p->limits[RLIMIT_NOFILE].soft; /* up to LINUX_NOFILE */
}

/* => 0, or -ENOMEM */
static int grow(struct linux_process *p, size_t nfds)
{
  struct linux_fd *fds;

  if (nfds <= p->nfds)
    return 0;
  if (nfds < 2 * p->nfds)
    nfds = 2 * p->nfds;
  fds = realloc(p->fds, nfds * sizeof *fds);
  if (fds == NULL)
    return -ENOMEM;
  for (size_t i = p->nfds; i < nfds; i++)
    fds[i] = (struct linux_fd){ .host = -1 };
  p->fds = fds;
  p->nfds = nfds;
  return 0;
}

int vmmi_fd_init(struct linux_process *p)
{
  int error = grow(p, 16);

  for (int i = 0; error == 0 && i < 3; i++) {
    int host = fcntl(i, F_DUPFD_CLOEXEC, 3);

    if (host >= 0)
      p->fds[i].host = host;
    else if (errno != EBADF)
      error = -errno;
  }
  return error;
}

void vmmi_fd_finish(struct linux_process *p)
{
  for (size_t i = 0; i < p->nfds; i++)
    vmmi_fd_close(p, (int)i);
  free(p->fds);
  p->fds = NULL;
  p->nfds = 0;
}

int vmmi_fd_host(struct linux_process *p, int64_t fd)
{
  uint32_t index = (uint32_t)fd; /* the kernel takes 32 bits */

  if (index >= p->nfds || p->fds[index].host < 0)
    return -EBADF;
  return p->fds[index].host;
}

int vmmi_fd_add(struct linux_process *p, int host, uint64_t min, int cloexec)
{
  uint64_t fd = min;
  int error = -EMFILE;

  while (fd < p->nfds && p->fds[fd].host >= 0)
    fd++;
  if (fd < limit(p))
    error = grow(p, fd + 1);
  if (error != 0) {
    close(host);
    return error;
  }
  p->fds[fd].host = host;
  p->fds[fd].cloexec = cloexec;
  return (int)fd;
}

void vmmi_fd_close(struct linux_process *p, int fd)
{
  if (p->fds[fd].host >= 0)
    close(p->fds[fd].host);
  p->fds[fd].host = -1;
}

static int64_t duplicate(struct linux_process *p, int64_t fd, uint64_t min,
                         int cloexec)
{
  int host = vmmi_fd_host(p, fd);

  if (host < 0)
    return host;
  if (min >= limit(p))
    return -EINVAL;
  host = fcntl(host, F_DUPFD_CLOEXEC, 0);
  if (host < 0)
    return -errno;
  return vmmi_fd_add(p, host, min, cloexec);
}

int64_t vmmi_sys_dup(struct linux_process *p, const uint64_t *a)
{
  return duplicate(p, (int64_t)a[0], 0, 0);
}

int64_t vmmi_sys_dup3(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);
  uint32_t to = (uint32_t)a[1];
  int error;

  if ((a[2] & ~(uint64_t)LINUX_O_CLOEXEC) || to == (uint32_t)a[0])
    return -EINVAL;
  if (host < 0 || to >= limit(p))
    return -EBADF;
  error = grow(p, (size_t)to + 1);
  if (error != 0)
    return error;
  host = fcntl(host, F_DUPFD_CLOEXEC, 0);
  if (host < 0)
    return -errno;
  vmmi_fd_close(p, (int)to);
  p->fds[to].host = host;
  p->fds[to].cloexec = a[2] != 0;
  return to;
}

int64_t vmmi_sys_close(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  if (host < 0)
    return host;
  p->fds[(uint32_t)a[0]].host = -1;
  return close(host) == 0 ? 0 : -errno;
}

int64_t vmmi_sys_close_range(struct linux_process *p, const uint64_t *a)
{
  enum { CLOEXEC = 4 };
  uint32_t last = (uint32_t)a[1];

  if ((uint32_t)a[0] > last || (a[2] & ~(uint64_t)CLOEXEC))
    return -EINVAL;
  for (uint64_t fd = (uint32_t)a[0]; fd <= last && fd < p->nfds; fd++)
    if (a[2] & CLOEXEC)
      p->fds[fd].cloexec = 1;
    else
      vmmi_fd_close(p, (int)fd);
  return 0;
}

int64_t vmmi_sys_pipe2(struct linux_process *p, const uint64_t *a)
{
  const uint64_t known = LINUX_O_CLOEXEC | LINUX_O_NONBLOCK | LINUX_O_DIRECT;
  int cloexec = (a[1] & LINUX_O_CLOEXEC) != 0;
  int host[2];
  int32_t guest[2];
  int error;

  if (a[1] & ~known)
    return -EINVAL;
  if (pipe2(host, vmmi_fd_flags_to_host(a[1]) | O_CLOEXEC) != 0)
    return -errno;
  guest[0] = vmmi_fd_add(p, host[0], 0, cloexec);
  guest[1] = vmmi_fd_add(p, host[1], 0, cloexec);
  error = guest[0] < 0 ? guest[0] : guest[1] < 0 ? guest[1] : 0;
  if (error == 0)
    error = vmmi_linux_put(p, a[0], guest, sizeof guest);
  for (int i = 0; error != 0 && i < 2; i++)
    if (guest[i] >= 0)
      vmmi_fd_close(p, guest[i]);
  return error;
}

int64_t vmmi_sys_flock(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  if (host < 0)
    return host;
  return flock(host, (int)a[1]) == 0 ? 0 : -errno;
}

/* Locks; the commands' numbers are the host's for a 64-bit host. */
static int64_t lock(struct linux_process *p, int host, int command,
                    vmm_addr_t at)
{
  struct linux_flock guest;
  struct flock lock = { 0 };

  if (vmmi_linux_get(p, &guest, at, sizeof guest) != 0)
    return -EFAULT;
  lock.l_type = guest.type;
  lock.l_whence = guest.whence;
  lock.l_start = guest.start;
  lock.l_len = guest.length;
  lock.l_pid = guest.pid;
  if (fcntl(host, command, &lock) != 0)
    return -errno;
  guest.type = lock.l_type;
  guest.whence = lock.l_whence;
  guest.start = lock.l_start;
  guest.length = lock.l_len;
  guest.pid = lock.l_pid;
  if (command == F_GETLK || command == F_OFD_GETLK)
    return vmmi_linux_put(p, at, &guest, sizeof guest);
  return 0;
}

static int64_t set_flags(int host, uint64_t flags)
{
  const uint64_t settable =
    LINUX_O_APPEND | LINUX_O_NONBLOCK | LINUX_O_DIRECT | LINUX_O_NOATIME;

  if (fcntl(host, F_SETFL, vmmi_fd_flags_to_host(flags & settable)) != 0)
    return -errno;
  return 0;
}

static int64_t pipe_size(int host, int command, uint64_t size)
{
  int n = fcntl(host, command, (int)(size > INT_MAX ? INT_MAX : size));

  return n < 0 ? -errno : n;
}

int64_t vmmi_sys_fcntl(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);
  struct linux_fd *fd = host < 0 ? NULL : &p->fds[(uint32_t)a[0]];
  int flags;

  if (host < 0)
    return host;
  switch ((uint32_t)a[1]) {
  case LINUX_F_DUPFD:
    return duplicate(p, (int64_t)a[0], (uint32_t)a[2], 0);
  case LINUX_F_DUPFD_CLOEXEC:
    return duplicate(p, (int64_t)a[0], (uint32_t)a[2], 1);
  case LINUX_F_GETFD:
    return fd->cloexec;
  case LINUX_F_SETFD:
    fd->cloexec = a[2] & 1;
    return 0;
  case LINUX_F_GETFL:
    flags = fcntl(host, F_GETFL);
    return flags < 0 ? -errno : (int64_t)vmmi_fd_flags_to_guest(flags);
  case LINUX_F_SETFL:
    return set_flags(host, a[2]);
  case LINUX_F_GETLK:
    return lock(p, host, F_GETLK, a[2]);
  case LINUX_F_SETLK:
    return lock(p, host, F_SETLK, a[2]);
  case LINUX_F_SETLKW:
    return lock(p, host, F_SETLKW, a[2]);
  case LINUX_F_OFD_GETLK:
    return lock(p, host, F_OFD_GETLK, a[2]);
  case LINUX_F_OFD_SETLK:
    return lock(p, host, F_OFD_SETLK, a[2]);
  case LINUX_F_OFD_SETLKW:
    return lock(p, host, F_OFD_SETLKW, a[2]);
  case LINUX_F_GETPIPE_SZ:
    return pipe_size(host, F_GETPIPE_SZ, 0);
  case LINUX_F_SETPIPE_SZ:
    return pipe_size(host, F_SETPIPE_SZ, a[2]);
  default:
    return -EINVAL;
  }
}
