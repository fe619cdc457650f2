/*
 * paths [WORD PATH ...]: does to each path what the word says and prints what
 * came of it, for tests of --root.  WORD: read, write, list, link, stat, cd,
 * mkdir, remove, symlink (to /outside), cwd, fdcat (reads descriptor N).
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

static void act(const char *word, const char *path)
{
  s64 n;

  if (same(word, "read"))
    show(call(SYS_openat, AT_FDCWD, path, O_RDONLY));
  else if (same(word, "fdcat"))
    show(path[0] - '0');
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
  }
}

static int guest_main(int argc, char **argv)
{
  for (int i = 1; i + 1 < argc; i += 2)
    act(argv[i], argv[i + 1]);
  return 0;
}
