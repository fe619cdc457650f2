/*
 * Guest paths to files of the host.  The one place that says what is confined.
 *
 * With --root DIR every path of the guest, absolute or not, is resolved by the
 * host's openat2() with RESOLVE_IN_ROOT: neither "..", nor links, nor races
 * lead out of DIR.  A relative path is joined to the guest path of its
 * directory first.  Files of proc file systems are not there (ENOENT), and no
 * device nodes can be made.
 *
 *   confined      which files can be named, opened, changed, listed
 *   not confined  standard input, output and error, as below
 *                 devices and mounts that lie inside DIR
 *                 memory, time, disk space
 *                 the rights: those of the user who runs vmm-run
 *
 * A descriptor that was given from outside of DIR can be read and written as it
 * was opened: to write is also to set the length, to read a directory is to
 * list it.  It can be asked for its status, mapped, locked and duplicated.  By
 * its number or any of its names it can't be opened for more (EACCES), linked
 * to (EXDEV), entered (EACCES), or begin a path (ENOENT), and its mode, owner
 * and times stay (EPERM).
 *
 * Without --root the guest reaches all files that the user reaches.  With and
 * without it, links of /proc that lead to descriptors of the emulator, and its
 * own /proc/PID/mem and maps, are not followed: /proc/self/fd/N, /dev/fd/N and
 * /dev/stdin name the guest's descriptors.  (A host without openat2() can't
 * keep that; there --root is refused.)
 *
 * An operation on a file that was reached names it as /proc/self/fd/N of the
 * host; an operation on a directory's entry names the open directory and the
 * last part of the path.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "linux.h"

enum { RACES = 32 }; /* EAGAIN: somebody renamed a directory meanwhile */

static int open_host(int base, const char *path, int flags, unsigned mode,
                     uint64_t resolve)
{
  struct open_how how = { .resolve = resolve };
  long fd;
  int tries = 0;

  how.flags = (unsigned)flags | O_CLOEXEC;
  if (flags & O_PATH)
    how.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  else if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
    how.mode = mode & 07777;
  do {
    fd = syscall(SYS_openat2, base, path, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < RACES)));
  if (fd < 0 && (errno == ENOSYS || errno == EPERM) &&
      !(resolve & RESOLVE_IN_ROOT))
    fd = openat(base, path, flags | O_CLOEXEC, mode);
  return fd < 0 ? -errno : (int)fd;
}

static int host_path_of(int host, char path[LINUX_PATH_MAX])
{
  char link[32];
  ssize_t n;

  snprintf(link, sizeof link, "/proc/self/fd/%d", host);
  n = readlink(link, path, LINUX_PATH_MAX - 1);
  if (n < 0)
    return -errno;
  path[n] = '\0';
  return (int)n;
}

int vmmi_path_of(struct linux_process *p, int host, char path[LINUX_PATH_MAX])
{
  size_t root = strlen(p->root);
  int length = host_path_of(host, path);

  if (length < 0 || p->root_fd < 0)
    return length;
  if (strncmp(path, p->root, root) != 0 ||
      (path[root] != '/' && path[root] != '\0'))
    return -EXDEV;
  memmove(path, path + root, (size_t)length - root + 1);
  if (path[0] == '\0')
    strcpy(path, "/");
  return (int)strlen(path);
}

int vmmi_path_inside(struct linux_process *p, int host)
{
  char path[LINUX_PATH_MAX];

  return host < 0 || p->root_fd < 0 || vmmi_path_of(p, host, path) >= 0;
}

/* With --root, the guest starts where the emulator is if that is in the root,
 * else in the root. */
static int enter_root(struct linux_process *p)
{
  char path[LINUX_PATH_MAX];
  int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int inside = cwd >= 0 && vmmi_path_of(p, cwd, path) >= 0;

  if (cwd >= 0)
    close(cwd);
  if (inside)
    return 0;
  return fchdir(p->root_fd) == 0 ? 0 : -errno;
}

int vmmi_path_init(struct linux_process *p, const char *root)
{
  int fd;
  int length;

  p->root_fd = -1;
  if (root == NULL)
    return 0;
  fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  length = host_path_of(fd, p->root);
  if (length < 0) {
    close(fd);
    return length;
  }
  if (strcmp(p->root, "/") == 0)
    p->root[0] = '\0';
  p->root_fd = fd;
  fd = open_host(fd, ".", O_PATH, 0, RESOLVE_IN_ROOT);
  if (fd < 0)
    return fd == -EPERM ? -ENOSYS : fd;
  close(fd);
  return enter_root(p);
}

int vmmi_path_fd(const char *path)
{
  static const char *const names[] = { "/dev/stdin", "/dev/stdout",
                                       "/dev/stderr" };
  static const char *const folders[] = { "/proc/self/fd/", "/dev/fd/" };

  for (int i = 0; i < 3; i++)
    if (strcmp(path, names[i]) == 0)
      return i;
  for (int i = 0; i < 2; i++) {
    size_t length = strlen(folders[i]);
    char *end;
    unsigned long fd;

    if (strncmp(path, folders[i], length) != 0 || path[length] < '0' ||
        path[length] > '9')
      continue;
    fd = strtoul(path + length, &end, 10);
    if (*end == '\0' && fd <= INT_MAX)
      return (int)fd;
  }
  return -1;
}

/* => whether a guest may see a file of a proc file system at this path */
static int proc_allowed(const struct linux_process *p, const char *path)
{
  static const char *const allowed[] = { "", "/stat", "/status", "/cmdline",
                                         "/comm", "/limits", "/mounts",
                                         "/mountinfo", "/cgroup", "/fd" };
  char own[32];
  size_t length = (size_t)snprintf(own, sizeof own, "/proc/%d", (int)getpid());

  if (p->root_fd >= 0)
    return 0;
  if (strncmp(path, own, length) != 0 ||
      (path[length] != '/' && path[length] != '\0'))
    return 1;
  for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
    if (strcmp(path + length, allowed[i]) == 0)
      return 1;
  return 0;
}

/* Closes what the guest may not have.  => host, or -ENOENT */
static int check_opened(struct linux_process *p, int host)
{
  char path[LINUX_PATH_MAX];
  struct statfs fs;

  if (host < 0 || fstatfs(host, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC)
    return host;
  if (host_path_of(host, path) >= 0 && proc_allowed(p, path))
    return host;
  close(host);
  return -ENOENT;
}

/* Where the host starts to look for a guest path.  => 0, or -errno */
static int find_base(struct linux_process *p, int64_t dirfd, const char **path,
                     int *base, char joined[LINUX_PATH_MAX])
{
  int cwd = -1;
  int length;

  *base = AT_FDCWD;
  if (**path != '/' && (int)dirfd != LINUX_AT_FDCWD) {
    *base = vmmi_fd_host(p, dirfd);
    if (*base < 0)
      return *base;
  }
  if (p->root_fd < 0)
    return 0;
  if (**path != '/') {
    if (*base == AT_FDCWD)
      *base = cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    length = *base < 0 ? -errno : vmmi_path_of(p, *base, joined);
    if (cwd >= 0)
      close(cwd);
    if (length < 0)
      return length == -EXDEV ? -ENOENT : length;
    if ((size_t)length + strlen(*path) + 2 > LINUX_PATH_MAX)
      return -ENAMETOOLONG;
    joined[length] = '/';
    strcpy(joined + length + 1, *path);
    *path = joined;
  }
  *base = p->root_fd;
  return 0;
}

static int open_guest(struct linux_process *p, int64_t dirfd, const char *path,
                      int flags, unsigned mode)
{
  char joined[LINUX_PATH_MAX];
  uint64_t resolve = RESOLVE_NO_MAGICLINKS;
  int base;
  int error;

  if (*path == '\0')
    return -ENOENT;
  error = find_base(p, dirfd, &path, &base, joined);
  if (error != 0)
    return error;
  if (p->root_fd >= 0)
    resolve |= RESOLVE_IN_ROOT;
  return check_opened(p, open_host(base, path, flags, mode, resolve));
}

/* Another descriptor for what the guest has open, if it is open for that. */
static int open_again(struct linux_process *p, int fd, int flags)
{
  int host = vmmi_fd_host(p, fd);
  int has;
  int again;

  if (host < 0)
    return -ENOENT;
  has = fcntl(host, F_GETFL) & O_ACCMODE;
  if (!(flags & O_PATH) && has != O_RDWR && has != (flags & O_ACCMODE))
    return -EACCES;
  again = fcntl(host, F_DUPFD_CLOEXEC, 0);
  return again < 0 ? -errno : again;
}

int vmmi_path_open(struct linux_process *p, int64_t dirfd, const char *path,
                   int flags, unsigned mode)
{
  int fd = vmmi_path_fd(path);

  if (fd >= 0)
    return open_again(p, fd, flags);
  if (strcmp(path, "/proc/self/exe") == 0)
    path = p->exe;
  return open_guest(p, dirfd, path, flags, mode);
}

int vmmi_path_get(struct linux_process *p, vmm_addr_t from,
                  char path[LINUX_PATH_MAX])
{
  int error = vmm_copyin_string(p->space, path, from, LINUX_PATH_MAX, NULL);

  if (error == 0 || error == -ENAMETOOLONG)
    return error;
  return -EFAULT;
}

/* Splits the path at its last part, which keeps slashes behind it. */
static const char *split(char *path)
{
  char *last = path + strlen(path);

  while (last > path && last[-1] == '/')
    last--;
  while (last > path && last[-1] != '/')
    last--;
  return last;
}

static int is_dots(const char *name)
{
  size_t length = strcspn(name, "/");

  return length == 0 || (length == 1 && name[0] == '.') ||
         (length == 2 && name[0] == '.' && name[1] == '.');
}

int vmmi_path_entry(struct linux_process *p, int64_t dirfd, vmm_addr_t from,
                    struct linux_place *place)
{
  char path[LINUX_PATH_MAX];
  const char *last;
  int error = vmmi_path_get(p, from, path);

  place->own = place->given = -1;
  if (error != 0)
    return error;
  if (path[0] == '\0')
    return -ENOENT;
  last = split(path);
  place->dots = is_dots(last);
  strcpy(place->name, last);
  path[last - path] = '\0';
  place->own = open_guest(p, dirfd, path[0] == '\0' ? "." : path,
                          O_PATH | O_DIRECTORY, 0);
  place->fd = place->own;
  return place->own < 0 ? place->own : 0;
}

/* The file that an open host descriptor stands for. */
static void name_host(struct linux_place *place, int host)
{
  place->fd = AT_FDCWD;
  snprintf(place->name, sizeof place->name, "/proc/self/fd/%d", host);
}

static int place_of_fd(struct linux_process *p, int64_t fd,
                       struct linux_place *place)
{
  int host;

  if ((int)fd == LINUX_AT_FDCWD) {
    place->fd = AT_FDCWD;
    strcpy(place->name, ".");
    return 0;
  }
  host = vmmi_fd_host(p, fd);
  if (host < 0)
    return host;
  place->given = host;
  name_host(place, host);
  return 0;
}

int vmmi_path_target(struct linux_process *p, int64_t dirfd, vmm_addr_t from,
                     uint64_t at_flags, struct linux_place *place)
{
  char path[LINUX_PATH_MAX];
  int flags = O_PATH;
  int error;

  place->own = place->given = -1;
  place->dots = 0;
  if (from == 0 && (at_flags & LINUX_AT_EMPTY_PATH))
    return place_of_fd(p, dirfd, place); /* as Linux 6.11 */
  error = vmmi_path_get(p, from, path);
  if (error != 0)
    return error;
  if (path[0] == '\0')
    return at_flags & LINUX_AT_EMPTY_PATH ? place_of_fd(p, dirfd, place)
                                          : -ENOENT;
  if (vmmi_path_fd(path) >= 0)
    return place_of_fd(p, vmmi_path_fd(path), place) == 0 ? 0 : -ENOENT;
  if (at_flags & LINUX_AT_SYMLINK_NOFOLLOW)
    flags |= O_NOFOLLOW;
  place->own = vmmi_path_open(p, dirfd, path, flags, 0);
  if (place->own < 0)
    return place->own;
  name_host(place, place->own);
  return 0;
}

void vmmi_path_end(struct linux_place *place)
{
  if (place->own >= 0)
    close(place->own);
}
