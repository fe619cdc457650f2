/*
 * System calls on what is known of a file: its status, owner, mode, times.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

enum { TARGET_FLAGS = LINUX_AT_SYMLINK_NOFOLLOW | LINUX_AT_EMPTY_PATH };

static struct linux_timespec guest_time(struct timespec time)
{
  return (struct linux_timespec){ .sec = time.tv_sec, .nsec = time.tv_nsec };
}

static int64_t put_stat(struct linux_process *p, vmm_addr_t to,
                        const struct stat *host)
{
  struct linux_stat guest = { 0 };

  guest.dev = host->st_dev;
  guest.ino = host->st_ino;
  guest.mode = host->st_mode;
  guest.nlink = (uint32_t)host->st_nlink;
  guest.uid = host->st_uid;
  guest.gid = host->st_gid;
  guest.rdev = host->st_rdev;
  guest.size = host->st_size;
  guest.blksize = (int32_t)host->st_blksize;
  guest.blocks = host->st_blocks;
  guest.atime = guest_time(host->st_atim);
  guest.mtime = guest_time(host->st_mtim);
  guest.ctime = guest_time(host->st_ctim);
  return vmmi_linux_put(p, to, &guest, sizeof guest);
}

int64_t vmmi_sys_newfstatat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  struct stat file;
  int64_t n;

  if (a[3] & ~(uint64_t)(TARGET_FLAGS | LINUX_AT_NO_AUTOMOUNT))
    return -EINVAL;
  n = vmmi_path_target(p, (int64_t)a[0], a[1], a[3], &place);
  if (n == 0)
    n = vmmi_linux_result(stat(place.name, &file));
  vmmi_path_end(&place);
  return n == 0 ? put_stat(p, a[2], &file) : n;
}

int64_t vmmi_sys_fstat(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);
  struct stat file;

  if (host < 0)
    return host;
  if (fstat(host, &file) != 0)
    return -errno;
  return put_stat(p, a[1], &file);
}

static struct linux_statx_time statx_time(struct statx_timestamp time)
{
  return (struct linux_statx_time){ .sec = time.tv_sec, .nsec = time.tv_nsec };
}

static int64_t put_statx(struct linux_process *p, vmm_addr_t to,
                         const struct statx *host)
{
  struct linux_statx guest = { 0 };

  guest.mask = host->stx_mask & STATX_ALL;
  guest.blksize = host->stx_blksize;
  guest.attributes = host->stx_attributes;
  guest.attributes_mask = host->stx_attributes_mask;
  guest.nlink = host->stx_nlink;
  guest.uid = host->stx_uid;
  guest.gid = host->stx_gid;
  guest.mode = host->stx_mode;
  guest.ino = host->stx_ino;
  guest.size = host->stx_size;
  guest.blocks = host->stx_blocks;
  guest.atime = statx_time(host->stx_atime);
  guest.btime = statx_time(host->stx_btime);
  guest.ctime = statx_time(host->stx_ctime);
  guest.mtime = statx_time(host->stx_mtime);
  guest.rdev_major = host->stx_rdev_major;
  guest.rdev_minor = host->stx_rdev_minor;
  guest.dev_major = host->stx_dev_major;
  guest.dev_minor = host->stx_dev_minor;
  return vmmi_linux_put(p, to, &guest, sizeof guest);
}

int64_t vmmi_sys_statx(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  struct statx file;
  int64_t n;

  if (a[2] &
      ~(uint64_t)(TARGET_FLAGS | LINUX_AT_NO_AUTOMOUNT | LINUX_AT_STATX_SYNC))
    return -EINVAL;
  n = vmmi_path_target(p, (int64_t)a[0], a[1], a[2], &place);
  if (n == 0)
    n = vmmi_linux_result(statx(place.fd, place.name,
                                (int)(a[2] & LINUX_AT_STATX_SYNC),
                                (unsigned)a[3] & STATX_ALL, &file));
  vmmi_path_end(&place);
  return n == 0 ? put_statx(p, a[4], &file) : n;
}

static int64_t put_statfs(struct linux_process *p, vmm_addr_t to,
                          const struct statfs *host)
{
  struct linux_statfs guest = { 0 };

  guest.type = (uint64_t)host->f_type;
  guest.bsize = (uint64_t)host->f_bsize;
  guest.blocks = host->f_blocks;
  guest.bfree = host->f_bfree;
  guest.bavail = host->f_bavail;
  guest.files = host->f_files;
  guest.ffree = host->f_ffree;
  memcpy(guest.fsid, &host->f_fsid, sizeof guest.fsid);
  guest.namelen = (uint64_t)host->f_namelen;
  guest.frsize = (uint64_t)host->f_frsize;
  guest.flags = (uint64_t)host->f_flags;
  return vmmi_linux_put(p, to, &guest, sizeof guest);
}

int64_t vmmi_sys_statfs(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  struct statfs fs;
  int64_t n = vmmi_path_target(p, LINUX_AT_FDCWD, a[0], 0, &place);

  if (n == 0)
    n = vmmi_linux_result(statfs(place.name, &fs));
  vmmi_path_end(&place);
  return n == 0 ? put_statfs(p, a[1], &fs) : n;
}

int64_t vmmi_sys_fstatfs(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);
  struct statfs fs;

  if (host < 0)
    return host;
  if (fstatfs(host, &fs) != 0)
    return -errno;
  return put_statfs(p, a[1], &fs);
}

static int64_t may_access(struct linux_process *p, const uint64_t *a,
                          uint64_t flags)
{
  struct linux_place place;
  int64_t n = vmmi_path_target(p, (int64_t)a[0], a[1], flags, &place);

  if (n == 0)
    n = vmmi_linux_result(faccessat(place.fd, place.name, (int)a[2],
                                    flags & LINUX_AT_EACCESS ? AT_EACCESS : 0));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_faccessat(struct linux_process *p, const uint64_t *a)
{
  return may_access(p, a, 0);
}

int64_t vmmi_sys_faccessat2(struct linux_process *p, const uint64_t *a)
{
  if (a[3] & ~(uint64_t)(TARGET_FLAGS | LINUX_AT_EACCESS))
    return -EINVAL;
  return may_access(p, a, a[3]);
}

/* => 0 with a place whose mode, owner and times are the guest's to change */
static int64_t find_changed(struct linux_process *p, const uint64_t *a,
                            uint64_t flags, struct linux_place *place)
{
  int64_t n = vmmi_path_target(p, (int64_t)a[0], a[1], flags, place);

  return n == 0 && !vmmi_path_inside(p, place->given) ? -EPERM : n;
}

/* Likewise for a descriptor.  => the host's, or -errno */
static int find_changed_fd(struct linux_process *p, uint64_t fd)
{
  int host = vmmi_fd_host(p, (int64_t)fd);

  return host >= 0 && !vmmi_path_inside(p, host) ? -EPERM : host;
}

static int64_t change_mode(struct linux_process *p, const uint64_t *a,
                           uint64_t flags)
{
  struct linux_place place;
  int64_t n = find_changed(p, a, flags, &place);

  if (n == 0)
    n = vmmi_linux_result(chmod(place.name, (mode_t)(a[2] & 07777)));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_fchmodat(struct linux_process *p, const uint64_t *a)
{
  return change_mode(p, a, 0);
}

int64_t vmmi_sys_fchmodat2(struct linux_process *p, const uint64_t *a)
{
  return a[3] & ~(uint64_t)TARGET_FLAGS ? -EINVAL : change_mode(p, a, a[3]);
}

int64_t vmmi_sys_fchmod(struct linux_process *p, const uint64_t *a)
{
  int host = find_changed_fd(p, a[0]);

  return host < 0 ? host
                  : vmmi_linux_result(fchmod(host, (mode_t)(a[1] & 07777)));
}

int64_t vmmi_sys_fchownat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  int64_t n;

  if (a[4] & ~(uint64_t)TARGET_FLAGS)
    return -EINVAL;
  n = find_changed(p, a, a[4], &place);
  if (n == 0)
    n = vmmi_linux_result(chown(place.name, (uid_t)a[2], (gid_t)a[3]));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_fchown(struct linux_process *p, const uint64_t *a)
{
  int host = find_changed_fd(p, a[0]);

  return host < 0 ? host
                  : vmmi_linux_result(fchown(host, (uid_t)a[1], (gid_t)a[2]));
}

int64_t vmmi_sys_utimensat(struct linux_process *p, const uint64_t *a)
{
  struct linux_timespec guest[2];
  struct timespec times[2];
  struct linux_place place;
  uint64_t flags = a[3];
  int64_t n;

  if (flags & ~(uint64_t)TARGET_FLAGS)
    return -EINVAL;
  if (a[2] != 0 && vmmi_linux_get(p, guest, a[2], sizeof guest) != 0)
    return -EFAULT;
  for (int i = 0; a[2] != 0 && i < 2; i++) /* UTIME_NOW, _OMIT as they are */
    times[i] = (struct timespec){ guest[i].sec, guest[i].nsec };
  if (a[1] == 0) /* the descriptor itself, as for futimens() */
    flags |= LINUX_AT_EMPTY_PATH;
  n = find_changed(p, a, flags, &place);
  if (n == 0)
    n = vmmi_linux_result(
      utimensat(place.fd, place.name, a[2] != 0 ? times : NULL, 0));
  vmmi_path_end(&place);
  return n;
}
