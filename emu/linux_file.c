/*
 * System calls that move bytes: of files, pipes, directories.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

enum { DIRENTS = 64 << 10 };

int64_t vmmi_sys_openat(struct linux_process *p, const uint64_t *a)
{
  char path[LINUX_PATH_MAX];
  int host = vmmi_path_get(p, a[1], path);

  if (host != 0)
    return host;
  host = vmmi_path_open(p, (int64_t)a[0], path, vmmi_fd_flags_to_host(a[2]),
                        (unsigned)a[3]);
  if (host < 0)
    return host;
  return vmmi_fd_add(p, host, 0, (a[2] & LINUX_O_CLOEXEC) != 0);
}

int64_t vmmi_sys_lseek(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  if (host < 0)
    return host;
  return vmmi_linux_result(lseek(host, (off_t)a[1], (int)a[2]));
}

/* A write to a pipe that nobody reads is the guest's SIGPIPE; the emulator
 * ignores the host's. */
static int64_t transfer(struct linux_process *p, uint64_t fd,
                        const struct linux_iovec *vectors, size_t count,
                        unsigned access, int64_t offset)
{
  int host = vmmi_fd_host(p, (int64_t)fd);
  int64_t n;

  if (host < 0)
    return host;
  n = vmmi_linux_transfer(p, host, vectors, count, access, offset);
  if (n == -EPIPE && access == VMM_READ)
    vmmi_signal_send(p, LINUX_SIGPIPE);
  return n;
}

static int64_t transfer_one(struct linux_process *p, const uint64_t *a,
                            unsigned access, int64_t offset)
{
  struct linux_iovec vector = { .base = a[1], .nbytes = a[2] };

  return transfer(p, a[0], &vector, 1, access, offset);
}

static int64_t transfer_many(struct linux_process *p, const uint64_t *a,
                             unsigned access, int64_t offset)
{
  struct linux_iovec vectors[LINUX_IOV_MAX];

  if (a[2] > LINUX_IOV_MAX)
    return -EINVAL;
  if (vmmi_linux_get(p, vectors, a[1], a[2] * sizeof vectors[0]) != 0)
    return -EFAULT;
  for (uint64_t i = 0; i < a[2]; i++)
    if ((int64_t)vectors[i].nbytes < 0)
      return -EINVAL;
  return transfer(p, a[0], vectors, a[2], access, offset);
}

int64_t vmmi_sys_read(struct linux_process *p, const uint64_t *a)
{
  return transfer_one(p, a, VMM_WRITE, LINUX_AT_POSITION);
}

int64_t vmmi_sys_write(struct linux_process *p, const uint64_t *a)
{
  return transfer_one(p, a, VMM_READ, LINUX_AT_POSITION);
}

int64_t vmmi_sys_readv(struct linux_process *p, const uint64_t *a)
{
  return transfer_many(p, a, VMM_WRITE, LINUX_AT_POSITION);
}

int64_t vmmi_sys_writev(struct linux_process *p, const uint64_t *a)
{
  return transfer_many(p, a, VMM_READ, LINUX_AT_POSITION);
}

int64_t vmmi_sys_pread64(struct linux_process *p, const uint64_t *a)
{
  return (int64_t)a[3] < 0 ? -EINVAL
                           : transfer_one(p, a, VMM_WRITE, (int64_t)a[3]);
}

int64_t vmmi_sys_pwrite64(struct linux_process *p, const uint64_t *a)
{
  return (int64_t)a[3] < 0 ? -EINVAL
                           : transfer_one(p, a, VMM_READ, (int64_t)a[3]);
}

int64_t vmmi_sys_preadv(struct linux_process *p, const uint64_t *a)
{
  return (int64_t)a[3] < 0 ? -EINVAL
                           : transfer_many(p, a, VMM_WRITE, (int64_t)a[3]);
}

int64_t vmmi_sys_pwritev(struct linux_process *p, const uint64_t *a)
{
  return (int64_t)a[3] < 0 ? -EINVAL
                           : transfer_many(p, a, VMM_READ, (int64_t)a[3]);
}

int64_t vmmi_sys_sendfile(struct linux_process *p, const uint64_t *a)
{
  int out = vmmi_fd_host(p, (int64_t)a[0]);
  int in = vmmi_fd_host(p, (int64_t)a[1]);
  size_t nbytes = a[3] > LINUX_RW_MAX ? LINUX_RW_MAX : a[3];
  off_t offset;
  int64_t at;
  int64_t n;

  if (out < 0 || in < 0)
    return -EBADF;
  if (a[2] == 0)
    return vmmi_linux_result(sendfile(out, in, NULL, nbytes));
  if (vmmi_linux_get(p, &at, a[2], sizeof at) != 0 ||
      vmmi_linux_put(p, a[2], &at, sizeof at) != 0)
    return -EFAULT;
  offset = at;
  n = vmmi_linux_result(sendfile(out, in, &offset, nbytes));
  at = offset;
  if (n >= 0 && vmmi_linux_put(p, a[2], &at, sizeof at) != 0)
    return -EFAULT;
  return n;
}

/* A descriptor's name gives no more than the descriptor: how that is open. */
int64_t vmmi_sys_truncate(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  int64_t n = vmmi_path_target(p, LINUX_AT_FDCWD, a[0], 0, &place);

  if (n == 0)
    n = vmmi_linux_result(place.given >= 0
                            ? ftruncate(place.given, (off_t)a[1])
                            : truncate(place.name, (off_t)a[1]));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_ftruncate(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  return host < 0 ? host : vmmi_linux_result(ftruncate(host, (off_t)a[1]));
}

int64_t vmmi_sys_fallocate(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  if (host < 0)
    return host;
  return vmmi_linux_result(
    fallocate(host, (int)a[1], (off_t)a[2], (off_t)a[3]));
}

static int64_t read_entries(struct linux_process *p, int host, vmm_addr_t to,
                            char *bounce, size_t nbytes)
{
  int64_t n = vmmi_linux_result(syscall(SYS_getdents64, host, bounce, nbytes));

  if (n > 0 && vmmi_linux_put(p, to, bounce, (size_t)n) != 0)
    return -EFAULT;
  return n;
}

/* struct linux_dirent64 is the same for all guests of this byte order.  The
 * buffer is pinned first: entries that were read would not be read again. */
int64_t vmmi_sys_getdents64(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);
  size_t nbytes = (uint32_t)a[2] > DIRENTS ? DIRENTS : (uint32_t)a[2];
  struct vmm_iovec iov[DIRENTS / 4096 + 1];
  size_t niov = sizeof iov / sizeof iov[0];
  struct vmm_pin *pin = NULL;
  char *bounce;
  int64_t n = -EFAULT;

  if (host < 0)
    return host;
  if (nbytes == 0)
    return -EINVAL;
  bounce = malloc(nbytes);
  if (bounce == NULL)
    return -ENOMEM;
  if (vmm_pin(p->space, a[1], nbytes, VMM_WRITE, iov, &niov, &pin) == 0) {
    n = read_entries(p, host, a[1], bounce, nbytes);
    vmm_unpin(pin);
  }
  free(bounce);
  return n;
}

int64_t vmmi_sys_sync(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  sync();
  return 0;
}

int64_t vmmi_sys_fsync(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  return host < 0 ? host : vmmi_linux_result(fsync(host));
}

int64_t vmmi_sys_fdatasync(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  return host < 0 ? host : vmmi_linux_result(fdatasync(host));
}

int64_t vmmi_sys_syncfs(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  return host < 0 ? host : vmmi_linux_result(syncfs(host));
}

int64_t vmmi_sys_fadvise64(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  if (host < 0)
    return host;
  return -posix_fadvise(host, (off_t)a[1], (off_t)a[2], (int)a[3]);
}
