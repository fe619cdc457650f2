/*
 * System calls on names: links, directories, the current directory.  What they
 * change is a directory's entry, so links at a path's end are not followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

/* => 0 with a place for an entry; dots: the error if the name is "." or ".." */
static int64_t find_entry(struct linux_process *p, uint64_t dirfd,
                          vmm_addr_t path, int dots, struct linux_place *place)
{
  int64_t error = vmmi_path_entry(p, (int64_t)dirfd, path, place);

  if (error == 0 && place->dots)
    error = dots;
  return error;
}

int64_t vmmi_sys_mkdirat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  int64_t n = find_entry(p, a[0], a[1], -EEXIST, &place);

  if (n == 0)
    n = vmmi_linux_result(mkdirat(place.fd, place.name, (mode_t)a[2]));
  vmmi_path_end(&place);
  return n;
}

/* Devices are refused: a guest could make one that leads out of --root. */
int64_t vmmi_sys_mknodat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  unsigned type = a[2] & S_IFMT;
  int64_t n = find_entry(p, a[0], a[1], -EEXIST, &place);

  if (n == 0 && type != 0 && type != S_IFREG && type != S_IFIFO)
    n = -EPERM;
  if (n == 0)
    n = vmmi_linux_result(mknodat(place.fd, place.name, (mode_t)a[2], 0));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_unlinkat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  int directory = a[2] == LINUX_AT_REMOVEDIR;
  int64_t n;

  if (a[2] != 0 && !directory)
    return -EINVAL;
  n = find_entry(p, a[0], a[1], directory ? -EINVAL : -EISDIR, &place);
  if (n == -EINVAL && strncmp(place.name, "..", 2) == 0)
    n = -ENOTEMPTY;
  if (n == 0)
    n = vmmi_linux_result(
      unlinkat(place.fd, place.name, directory ? AT_REMOVEDIR : 0));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_symlinkat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  char text[LINUX_PATH_MAX];
  int64_t n = vmmi_path_get(p, a[0], text);

  if (n != 0)
    return n;
  n = find_entry(p, a[1], a[2], -EEXIST, &place);
  if (n == 0)
    n = vmmi_linux_result(symlinkat(text, place.fd, place.name));
  vmmi_path_end(&place);
  return n;
}

/* The entry at the path's end itself.  A slash behind it follows a link; that
 * is not left to the host, which would follow it out of --root.  What is there
 * then is a directory, and the answer is the error. */
static int64_t find_itself(struct linux_process *p, uint64_t dirfd,
                           vmm_addr_t path, int error,
                           struct linux_place *place)
{
  char text[LINUX_PATH_MAX];
  int64_t n = find_entry(p, dirfd, path, error, place);
  int host;

  if (n != 0 || strchr(place->name, '/') == NULL)
    return n;
  n = vmmi_path_get(p, path, text);
  if (n != 0)
    return n;
  host = vmmi_path_open(p, (int64_t)dirfd, text, O_PATH | O_DIRECTORY, 0);
  if (host < 0)
    return host;
  close(host);
  return error;
}

int64_t vmmi_sys_linkat(struct linux_process *p, const uint64_t *a)
{
  struct linux_place from;
  struct linux_place to;
  int followed = (a[4] & (LINUX_AT_SYMLINK_FOLLOW | LINUX_AT_EMPTY_PATH)) != 0;
  int64_t n;

  if (a[4] & ~(uint64_t)(LINUX_AT_SYMLINK_FOLLOW | LINUX_AT_EMPTY_PATH))
    return -EINVAL;
  if (followed)
    n = vmmi_path_target(p, (int64_t)a[0], a[1], a[4] & LINUX_AT_EMPTY_PATH,
                         &from);
  else
    n = find_itself(p, a[0], a[1], -EPERM, &from);
  if (n == 0 && !vmmi_path_inside(p, from.given))
    n = -EXDEV;
  to.own = -1;
  if (n == 0)
    n = find_entry(p, a[2], a[3], -EEXIST, &to);
  if (n == 0)
    n = vmmi_linux_result(linkat(from.fd, from.name, to.fd, to.name,
                                 followed ? AT_SYMLINK_FOLLOW : 0));
  vmmi_path_end(&to);
  vmmi_path_end(&from);
  return n;
}

static int64_t rename_entry(struct linux_process *p, const uint64_t *a,
                            unsigned flags)
{
  struct linux_place from;
  struct linux_place to;
  int64_t n = find_entry(p, a[0], a[1], -EBUSY, &from);

  to.own = -1;
  if (n == 0)
    n = find_entry(p, a[2], a[3], -EBUSY, &to);
  if (n == 0)
    n = vmmi_linux_result(
      syscall(SYS_renameat2, from.fd, from.name, to.fd, to.name, flags));
  vmmi_path_end(&to);
  vmmi_path_end(&from);
  return n;
}

int64_t vmmi_sys_renameat(struct linux_process *p, const uint64_t *a)
{
  return rename_entry(p, a, 0);
}

int64_t vmmi_sys_renameat2(struct linux_process *p, const uint64_t *a)
{
  enum { NOREPLACE = 1, EXCHANGE = 2 }; /* not WHITEOUT: it is a device */

  if (a[4] & ~(uint64_t)(NOREPLACE | EXCHANGE))
    return -EINVAL;
  return rename_entry(p, a, (unsigned)a[4]);
}

static int64_t put_link(struct linux_process *p, const uint64_t *a,
                        const char *text, int64_t length)
{
  if (length > 0 && (uint64_t)length > a[3])
    length = (int64_t)a[3];
  if (length > 0 && vmmi_linux_put(p, a[2], text, (size_t)length) != 0)
    return -EFAULT;
  return length;
}

static int64_t read_link(struct linux_process *p, const uint64_t *a,
                         char text[LINUX_PATH_MAX])
{
  struct linux_place place;
  int64_t n;

  n = find_itself(p, a[0], a[1], -EINVAL, &place);
  if (n == 0)
    n =
      vmmi_linux_result(readlinkat(place.fd, place.name, text, LINUX_PATH_MAX));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_readlinkat(struct linux_process *p, const uint64_t *a)
{
  char path[LINUX_PATH_MAX];
  char text[LINUX_PATH_MAX];
  int64_t n = vmmi_path_get(p, a[1], path);
  int host;

  if ((int32_t)a[3] <= 0)
    return -EINVAL;
  if (n != 0)
    return n;
  if (strcmp(path, "/proc/self/exe") == 0)
    return put_link(p, a, p->exe, (int64_t)strlen(p->exe));
  if (strncmp(path, "/dev/std", 8) != 0 && vmmi_path_fd(path) >= 0) {
    host = vmmi_fd_host(p, vmmi_path_fd(path));
    return put_link(p, a, text,
                    host < 0 ? -ENOENT : vmmi_path_of(p, host, text));
  }
  if (path[0] == '\0') {
    host = vmmi_fd_host(p, (int64_t)a[0]);
    n = host < 0 ? host
                 : vmmi_linux_result(readlinkat(host, "", text, sizeof text));
    return put_link(p, a, text, n);
  }
  return put_link(p, a, text, read_link(p, a, text));
}

int64_t vmmi_sys_getcwd(struct linux_process *p, const uint64_t *a)
{
  char path[LINUX_PATH_MAX];
  int cwd;
  int length;

  if (getcwd(path, sizeof path) == NULL)
    return -errno;
  cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (cwd < 0)
    return -errno;
  length = vmmi_path_of(p, cwd, path);
  close(cwd);
  if (length < 0)
    return -ENOENT;
  if ((uint64_t)length + 1 > a[1])
    return -ERANGE;
  if (vmmi_linux_put(p, a[0], path, (size_t)length + 1) != 0)
    return -EFAULT;
  return length + 1;
}

/* A directory that was given from outside of --root stays outside. */
int64_t vmmi_sys_chdir(struct linux_process *p, const uint64_t *a)
{
  struct linux_place place;
  int64_t n = vmmi_path_target(p, LINUX_AT_FDCWD, a[0], 0, &place);

  if (n == 0 && !vmmi_path_inside(p, place.given))
    n = -EACCES;
  if (n == 0)
    n = vmmi_linux_result(chdir(place.name));
  vmmi_path_end(&place);
  return n;
}

int64_t vmmi_sys_fchdir(struct linux_process *p, const uint64_t *a)
{
  int host = vmmi_fd_host(p, (int64_t)a[0]);

  if (host < 0)
    return host;
  if (!vmmi_path_inside(p, host))
    return -EACCES;
  return vmmi_linux_result(fchdir(host));
}

int64_t vmmi_sys_umask(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  return (int64_t)umask((mode_t)(a[0] & 0777));
}
