/*
 * paths [WORD PATH ...]: does to each path what the word says and prints what
 * came of it, for tests of --root.  WORD: read, write, list, link, stat, cd,
 * mkdir, remove, symlink (to /outside), cwd, truncate (to 3 bytes), hard (links
 * "hard" to it), steal (links "stolen" to it, links followed), chmod, chown,
 * touch.  Of descriptor N: fdcat (reads it), fdtruncate, fdcd, fdsteal, fdchmod,
 * fdchown, fdtouch.
 */
#include "guest.h"

static char buffer[4096];

static void put_error(s64 n)
{
  put("error ");
  put_number((u64)-n);
  put("\n");
}

static void show(s64 fd)
{
  s64 n = fd < 0 ? fd : call(SYS_read, fd, buffer, sizeof buffer);

  if (n < 0)
    put_error(n);
  else
    call(SYS_write, 1, buffer, n);
  if (fd > 2)
    call(SYS_close, fd);
}

static void list(s64 fd)
{
  s64 n = fd < 0 ? fd : call(SYS_getdents64, fd, buffer, sizeof buffer);

  if (n < 0) {
    put_error(n);
    return;
  }
  for (s64 at = 0; at < n; at += *(unsigned short *)(buffer + at + 16)) {
    put(buffer + at + 19);
    put(" ");
  }
  put("\n");
  call(SYS_close, fd);
}

static void done(s64 n)
{
  if (n < 0)
    put_error(n);
  else
    put("ok\n");
}

static void act_on_fd(const char *word, s64 fd)
{
  if (same(word, "fdcat"))
    show(fd);
  else if (same(word, "fdtruncate"))
    done(call(SYS_ftruncate, fd, 3));
  else if (same(word, "fdcd"))
    done(call(SYS_fchdir, fd));
  else if (same(word, "fdsteal"))
    done(call(SYS_linkat, fd, "", AT_FDCWD, "stolen", AT_EMPTY_PATH));
  else if (same(word, "fdchmod"))
    done(call(SYS_fchmod, fd, 0777));
  else if (same(word, "fdchown"))
    done(call(SYS_fchown, fd, -1, -1));
  else if (same(word, "fdtouch"))
    done(call(SYS_utimensat, fd, 0, 0, 0));
}

static void change(const char *word, const char *path)
{
  if (same(word, "truncate"))
    done(call(SYS_truncate, path, 3));
  else if (same(word, "hard"))
    done(call(SYS_linkat, AT_FDCWD, path, AT_FDCWD, "hard", 0));
  else if (same(word, "steal"))
    done(call(SYS_linkat, AT_FDCWD, path, AT_FDCWD, "stolen",
              AT_SYMLINK_FOLLOW));
  else if (same(word, "chmod"))
    done(call(SYS_fchmodat, AT_FDCWD, path, 0777));
  else if (same(word, "chown"))
    done(call(SYS_fchownat, AT_FDCWD, path, -1, -1, 0));
  else if (same(word, "touch"))
    done(call(SYS_utimensat, AT_FDCWD, path, 0, 0));
}

static void act(const char *word, const char *path)
{
  s64 n;

  if (same(word, "read"))
    show(call(SYS_openat, AT_FDCWD, path, O_RDONLY));
  else if (same(word, "list"))
    list(call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  else if (same(word, "write")) {
    n = call(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT, 0644);
    done(n < 0 ? n : call(SYS_write, n, "written\n", 8));
  } else if (same(word, "stat"))
    done(call(SYS_newfstatat, AT_FDCWD, path, buffer, 0));
  else if (same(word, "cd"))
    done(call(SYS_chdir, path));
  else if (same(word, "mkdir"))
    done(call(SYS_mkdirat, AT_FDCWD, path, 0755));
  else if (same(word, "remove"))
    done(call(SYS_unlinkat, AT_FDCWD, path, 0));
  else if (same(word, "symlink"))
    done(call(SYS_symlinkat, "/outside", AT_FDCWD, path));
  else if (same(word, "link") || same(word, "cwd")) {
    memset(buffer, 0, sizeof buffer);
    n = same(word, "cwd") ? call(SYS_getcwd, buffer, sizeof buffer)
                          : call(SYS_readlinkat, AT_FDCWD, path, buffer, 4095);
    if (n < 0) {
      put_error(n);
      return;
    }
    put(buffer);
    put("\n");
  } else if (word[0] == 'f' && word[1] == 'd')
    act_on_fd(word, path[0] - '0');
  else
    change(word, path);
}

static int guest_main(int argc, char **argv)
{
  for (int i = 1; i + 1 < argc; i += 2)
    act(argv[i], argv[i + 1]);
  return 0;
}
