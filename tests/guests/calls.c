/*
 * calls: system calls with good and with hostile arguments.  Prints each check
 * that fails with its line, then "N passed, N failed"; exits 1 if any failed.  It
 * leaves nothing behind in the current folder.
 */
#include "guest.h"

enum { EPERM = 1, ENOENT = 2, ESRCH = 3, EBADF = 9, EAGAIN = 11, ENOMEM = 12,
       EACCES = 13, EFAULT = 14, EEXIST = 17, EINVAL = 22, EMFILE = 24,
       ENOTTY = 25, ENAMETOOLONG = 36, ENOSYS = 38, ETIMEDOUT = 110 };

struct iovec {
  void *base;
  u64 nbytes;
};

static char *const bad = (char *)8; /* nothing is mapped there */
static u64 passed;
static u64 failed;
static char long_path[5000];
static struct iovec many[1025];

static void check(int good, int line)
{
  if (good) {
    passed++;
    return;
  }
  failed++;
  put("failed: calls.c line ");
  put_number((u64)line);
  put("\n");
}

#define CHECK(condition) check(condition, __LINE__)

static u8 *map(u64 npages)
{
  return (u8 *)call(SYS_mmap, 0, npages * PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* What was in the pipe stays there if the reader's buffer is bad. */
static void bad_buffers_lose_nothing(void)
{
  int fds[2];
  char text[8] = { 0 };
  u8 *pages = map(2);
  struct iovec two[2] = { { text, 2 }, { bad, 2 } };

  call(SYS_munmap, pages + PAGE, PAGE);
  CHECK(call(SYS_pipe2, bad, 0) == -EFAULT);
  CHECK(call(SYS_pipe2, fds, 0) == 0);
  CHECK(fds[0] == 3 && fds[1] == 4);
  CHECK(call(SYS_write, fds[1], "abcdef", 6) == 6);
  CHECK(call(SYS_read, fds[0], bad, 6) == -EFAULT);
  CHECK(call(SYS_read, fds[0], -8, 6) == -EFAULT);
  CHECK(call(SYS_read, fds[0], text, -1) == -EFAULT);
  CHECK(call(SYS_read, fds[0], pages + PAGE - 2, 6) == 2);
  CHECK(pages[PAGE - 2] == 'a' && pages[PAGE - 1] == 'b');
  CHECK(call(SYS_readv, fds[0], two, 2) == 2);
  CHECK(text[0] == 'c' && text[1] == 'd');
  CHECK(call(SYS_read, fds[0], text, 8) == 2);
  CHECK(text[0] == 'e' && text[1] == 'f');
  CHECK(call(SYS_write, fds[1], bad, 1) == -EFAULT);
  CHECK(call(SYS_write, fds[1], pages + PAGE - 1, 2) == 1);
  CHECK(call(SYS_read, fds[0], text, 8) == 1);
  call(SYS_close, fds[0]);
  call(SYS_close, fds[1]);
  CHECK(call(SYS_close, fds[1]) == -EBADF);
}

static void vectors(void)
{
  int fds[2];
  char text[8];
  struct iovec three[3] = { { "ab", 2 }, { bad, 0 }, { "cd", 2 } };
  struct iovec huge[2] = { { text, -1ul >> 1 }, { text, -1ul } };

  call(SYS_pipe2, fds, O_NONBLOCK);
  CHECK(call(SYS_writev, fds[1], three, 3) == 4);
  CHECK(call(SYS_read, fds[0], text, 8) == 4 && text[3] == 'd');
  CHECK(call(SYS_read, fds[0], text, 8) == -EAGAIN);
  CHECK(call(SYS_writev, fds[1], many, 1024) == 0);
  CHECK(call(SYS_writev, fds[1], many, 1025) == -EINVAL);
  CHECK(call(SYS_writev, fds[1], many, -1) == -EINVAL);
  CHECK(call(SYS_writev, fds[1], bad, 1) == -EFAULT);
  CHECK(call(SYS_readv, fds[0], huge, 1) == -EFAULT);
  CHECK(call(SYS_readv, fds[0], huge + 1, 1) == -EINVAL);
  call(SYS_close, fds[0]);
  call(SYS_close, fds[1]);
}

static void descriptors(void)
{
  u64 limit[2] = { 0 };
  u64 eight[2] = { 8, 8 };

  CHECK(call(SYS_prlimit64, 0, 7, 0, limit) == 0);
  CHECK(limit[0] <= 65536 && limit[1] <= 65536);
  CHECK(call(SYS_prlimit64, 0, 7, limit, 0) == 0);
  CHECK(call(SYS_fcntl, 1, 0, 65536) == -EINVAL);
  CHECK(call(SYS_dup3, 1, 65536, 0) == -EBADF);
  CHECK(call(SYS_dup, 1) == 3);
  CHECK(call(SYS_dup3, 1, 5, 0) == 5);
  CHECK(call(SYS_dup3, 1, 1, 0) == -EINVAL);
  CHECK(call(SYS_dup3, 1, 1 << 30, 0) == -EBADF);
  CHECK(call(SYS_fcntl, 1, 0, 4) == 4);
  CHECK(call(SYS_fcntl, 1, 0, 4) == 6);
  CHECK(call(SYS_fcntl, 5, 1) == 0);
  CHECK(call(SYS_fcntl, 5, 2, 1) == 0 && call(SYS_fcntl, 5, 1) == 1);
  for (int fd = 7; fd < 64; fd++) /* the emulator's own are not to be seen */
    CHECK(call(SYS_fcntl, fd, 1) == -EBADF);
  CHECK(call(SYS_fcntl, -1, 1) == -EBADF);
  CHECK(call(SYS_prlimit64, 0, 7, eight, limit) == 0 && limit[0] > 8);
  CHECK(call(SYS_dup, 1) == 7);
  CHECK(call(SYS_dup, 1) == -EMFILE);
  for (int fd = 3; fd < 8; fd++)
    CHECK(call(SYS_close, fd) == 0);
}

static void paths(void)
{
  char text[64];
  s64 fd;

  memset(long_path, 'a', sizeof long_path - 1);
  CHECK(call(SYS_openat, AT_FDCWD, long_path, 0) == -ENAMETOOLONG);
  CHECK(call(SYS_openat, AT_FDCWD, bad, 0) == -EFAULT);
  CHECK(call(SYS_openat, AT_FDCWD, "", 0) == -ENOENT);
  CHECK(call(SYS_openat, 99, "x", 0) == -EBADF);
  CHECK(call(SYS_mkdirat, AT_FDCWD, "calls.d", 0755) == 0);
  CHECK(call(SYS_mkdirat, AT_FDCWD, "calls.d/", 0755) == -EEXIST);
  CHECK(call(SYS_mkdirat, AT_FDCWD, "calls.d/..", 0755) == -EEXIST);
  fd = call(SYS_openat, AT_FDCWD, "calls.d/f", O_RDWR | O_CREAT, 0600);
  CHECK(fd == 3 && call(SYS_write, fd, "bytes", 5) == 5);
  CHECK(call(SYS_pread64, fd, text, 8, 2) == 3 && text[0] == 't');
  CHECK(call(SYS_pread64, fd, text, 8, -1) == -EINVAL);
  CHECK(call(SYS_symlinkat, "f", AT_FDCWD, "calls.d/s") == 0);
  CHECK(call(SYS_readlinkat, AT_FDCWD, "calls.d/s", text, 64) == 1);
  CHECK(call(SYS_readlinkat, AT_FDCWD, "calls.d/f", text, 64) == -EINVAL);
  CHECK(call(SYS_renameat2, AT_FDCWD, "calls.d/s", AT_FDCWD, "calls.d/t", 0) ==
        0);
  CHECK(call(SYS_linkat, AT_FDCWD, "calls.d/t", AT_FDCWD, "calls.d/h", 0x400) ==
        0);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.d/t", 0) == 0);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.d/h", 0) == 0);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.d/f", 0) == 0);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.d/f", 0) == -ENOENT);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.d", 0x200) == 0);
  call(SYS_close, fd);
}

/* Entries that a bad buffer was offered are still there for a good one. */
static void directories(void)
{
  static char buffer[65536];
  s64 fd = call(SYS_openat, AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);

  CHECK(call(SYS_getdents64, fd, bad, 4096) == -EFAULT);
  CHECK(call(SYS_getdents64, fd, buffer, 1) == -EINVAL);
  CHECK(call(SYS_getdents64, fd, buffer, 65536) > 0);
  CHECK(call(SYS_getdents64, 1, buffer, 65536) < 0);
  call(SYS_close, fd);
}

static void memory(void)
{
  u8 *pages = map(4);
  u8 *moved;

  CHECK(call(SYS_mmap, 0, 0, 3, 0x22, -1, 0) == -EINVAL);
  CHECK(call(SYS_mmap, 0, PAGE, 3, 0x20, -1, 0) == -EINVAL);
  CHECK(call(SYS_mmap, 0, -1, 3, 0x22, -1, 0) == -ENOMEM);
  CHECK(call(SYS_mmap, -PAGE, 2 * PAGE, 3, 0x32, -1, 0) == -ENOMEM);
  CHECK(call(SYS_mmap, 1, PAGE, 3, 0x32, -1, 0) == -EINVAL);
  CHECK(call(SYS_mmap, 0, PAGE, 1, 2, 99, 0) == -EBADF);
  CHECK(call(SYS_mmap, pages, PAGE, 3, 0x100022, -1, 0) == -EEXIST);
  CHECK(call(SYS_munmap, pages + 1, PAGE) == -EINVAL);
  CHECK(call(SYS_munmap, pages, -1) == -EINVAL);
  pages[0] = 7;
  pages[3 * PAGE] = 8;
  CHECK(call(SYS_mprotect, pages, PAGE, PROT_READ) == 0);
  CHECK(call(SYS_read, 0, pages, 0) == 0);
  CHECK(call(SYS_uname, pages) == -EFAULT);
  CHECK(call(SYS_mprotect, pages, PAGE, PROT_READ | PROT_WRITE) == 0);
  CHECK(call(SYS_mprotect, pages, -PAGE, PROT_READ) == -ENOMEM);
  map(1); /* keeps it from growing where it is */
  moved = (u8 *)call(SYS_mremap, pages, 4 * PAGE, 8 * PAGE, 1, 0);
  CHECK((s64)moved > 0 && moved[0] == 7 && moved[3 * PAGE] == 8);
  moved[7 * PAGE] = 9;
  CHECK(moved == pages || call(SYS_uname, pages) == -EFAULT);
  CHECK(call(SYS_mremap, moved, 8 * PAGE, PAGE, 0, 0) == (s64)moved);
  CHECK(call(SYS_uname, moved + PAGE) == -EFAULT);
  CHECK(call(SYS_mremap, moved, 2 * PAGE, 4 * PAGE, 1, 0) == -EFAULT);
  CHECK(call(SYS_mremap, moved, PAGE, -PAGE, 1, 0) == -EINVAL);
  CHECK(call(SYS_madvise, moved, PAGE, 4) == 0 && moved[0] == 0);
  CHECK(call(SYS_madvise, moved + PAGE, PAGE, 4) == -ENOMEM);
}

/* Regions cost the host's memory: there is a limit, and a way back. */
static void many_regions(void)
{
  enum { PAIRS = 40000 };
  u8 *pages = map(2 * PAIRS);
  s64 n = 0;
  u64 i = 0;

  for (; i < PAIRS && n == 0; i++)
    n = call(SYS_mprotect, pages + 2 * i * PAGE, PAGE, PROT_READ);
  CHECK(n == -ENOMEM && i > 32000 && i < 33000);
  CHECK(call(SYS_mmap, 0, PAGE, 3, 0x22, -1, 0) == -ENOMEM);
  CHECK(call(SYS_munmap, pages + PAGE, PAGE) == 0);
  CHECK(call(SYS_munmap, pages, 2 * PAIRS * PAGE) == 0);
  CHECK(call(SYS_mmap, 0, PAGE, 3, 0x22, -1, 0) > 0);
}

static void program_break(void)
{
  u64 old = (u64)call(SYS_brk, 0);

  CHECK(call(SYS_brk, old + 5 * PAGE + 1) == (s64)(old + 5 * PAGE + 1));
  *(volatile u8 *)(old + 5 * PAGE) = 1;
  CHECK(call(SYS_brk, -1) == (s64)(old + 5 * PAGE + 1));
  CHECK(call(SYS_brk, old) == (s64)old);
  CHECK(call(SYS_uname, old + 3 * PAGE) == -EFAULT);
}

static void files_in_memory(void)
{
  s64 fd = call(SYS_openat, AT_FDCWD, "calls.m", O_RDWR | O_CREAT | O_TRUNC,
                0600);
  char text[8];
  u8 *shared;
  u8 *private;

  call(SYS_write, fd, "0123", 4);
  shared = (u8 *)call(SYS_mmap, 0, PAGE, 3, MAP_SHARED, fd, 0);
  private = (u8 *)call(SYS_mmap, 0, PAGE, 3, MAP_PRIVATE, fd, 0);
  CHECK((s64)shared > 0 && (s64) private > 0);
  CHECK(shared[1] == '1' && private[1] == '1' && shared[4] == 0);
  shared[1] = 'S';
  CHECK(private[1] == 'S');
  private[2] = 'P';
  CHECK(shared[2] == '2' && private[1] == 'S');
  CHECK(call(SYS_pread64, fd, text, 8, 0) == 4);
  CHECK(text[1] == 'S' && text[2] == '2');
  CHECK(call(SYS_mmap, 0, PAGE, 1, 2, fd, 1) == -EINVAL);
  CHECK(call(SYS_close, fd) == 0);
  CHECK(shared[0] == '0');
  fd = call(SYS_openat, AT_FDCWD, "calls.m", O_RDONLY);
  CHECK(call(SYS_mmap, 0, PAGE, 3, MAP_SHARED, fd, 0) == -EACCES);
  call(SYS_close, fd);
  fd = call(SYS_openat, AT_FDCWD, "calls.m", O_WRONLY);
  CHECK(call(SYS_mmap, 0, PAGE, 1, MAP_PRIVATE, fd, 0) == -EACCES);
  call(SYS_close, fd);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.m", 0) == 0);
}

/* More than one round of pins, and pages that were never touched. */
static void large_transfers(void)
{
  enum { BYTES = 3 * 1024 * 1024 + 5 };
  s64 fd = call(SYS_openat, AT_FDCWD, "calls.l", O_RDWR | O_CREAT | O_TRUNC,
                0600);
  u8 *from = map(BYTES / PAGE + 2) + 3;
  u8 *to = map(BYTES / PAGE + 2) + 1;
  u64 different = 0;

  for (u64 i = 0; i < BYTES; i += 1000)
    from[i] = (u8)(i / 1000 + 1);
  CHECK(call(SYS_write, fd, from, BYTES) == BYTES);
  CHECK(call(SYS_lseek, fd, 0, 0) == 0);
  CHECK(call(SYS_read, fd, to, BYTES + 2 * PAGE - 9) == BYTES);
  for (u64 i = 0; i < BYTES; i++)
    different += from[i] != to[i];
  CHECK(different == 0);
  call(SYS_close, fd);
  CHECK(call(SYS_unlinkat, AT_FDCWD, "calls.l", 0) == 0);
}

static void rest(void)
{
  u32 word = 5;
  u64 now[2] = { 0, 1000 };
  u64 mask = 1ul << 9; /* SIGUSR1 */
  s64 self = call(SYS_getpid);

  CHECK(call(1000) == -ENOSYS);
  CHECK(call(-1) == -ENOSYS);
  CHECK(call(SYS_futex, &word, 1, 1) == 0);
  CHECK(call(SYS_futex, &word, 0, 4, 0) == -EAGAIN);
  CHECK(call(SYS_futex, &word, 0, 5, now) == -ETIMEDOUT);
  CHECK(call(SYS_futex, bad, 0, 5, now) < 0);
  CHECK(call(SYS_getrandom, bad, 16, 0) == -EFAULT);
  CHECK(call(SYS_getrandom, &word, 4, 0) == 4);
  CHECK(call(SYS_ppoll, 0, 0, now, 0, 0) == 0);
  CHECK(call(SYS_ppoll, 0, 1ul << 60, now, 0, 0) == -EINVAL);
  CHECK(call(29, 1, 0x5412, &word) == -ENOTTY); /* TIOCSTI */
  CHECK(call(SYS_kill, 1, 0) == -ESRCH);
  CHECK(call(SYS_kill, self, 0) == 0);
  CHECK(call(SYS_rt_sigprocmask, 0, &mask, 0, 8) == 0);
  CHECK(call(SYS_kill, self, 10) == 0); /* stays pending */
  CHECK(call(SYS_rt_sigprocmask, 0, bad, 0, 8) == -EFAULT);
}

static int guest_main(int argc, char **argv)
{
  (void)argc;
  (void)argv;
  bad_buffers_lose_nothing();
  vectors();
  descriptors();
  paths();
  directories();
  memory();
  many_regions();
  program_break();
  files_in_memory();
  large_transfers();
  rest();
  put_number(passed);
  put(" passed, ");
  put_number(failed);
  put(" failed\n");
  return failed != 0;
}
