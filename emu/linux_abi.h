/*
 * The guest's side of the system call interface: structures and constants of
 * Linux's asm-generic layouts for 64-bit little-endian machines, as in
 * include/uapi/asm-generic of the kernel.  Host structures are never copied to
 * a guest; they are converted to these field by field.
 */
#ifndef EMU_LINUX_ABI_H
#define EMU_LINUX_ABI_H

#include <stdint.h>

enum {
  LINUX_PATH_MAX = 4096,
  LINUX_MAP_COUNT = 65530, /* regions that a process may have */
  LINUX_IOV_MAX = 1024,
  LINUX_NSIG = 64,
  LINUX_NRLIMITS = 16,
  LINUX_AT_FDCWD = -100,
};

/* The most that one read or write moves (MAX_RW_COUNT). */
#define LINUX_RW_MAX ((uint64_t)0x7ffff000)

/* open */
enum {
  LINUX_O_ACCMODE = 03,
  LINUX_O_CREAT = 0100,
  LINUX_O_EXCL = 0200,
  LINUX_O_NOCTTY = 0400,
  LINUX_O_TRUNC = 01000,
  LINUX_O_APPEND = 02000,
  LINUX_O_NONBLOCK = 04000,
  LINUX_O_DSYNC = 010000,
  LINUX_O_DIRECT = 040000,
  LINUX_O_LARGEFILE = 0100000,
  LINUX_O_DIRECTORY = 0200000,
  LINUX_O_NOFOLLOW = 0400000,
  LINUX_O_NOATIME = 01000000,
  LINUX_O_CLOEXEC = 02000000,
  LINUX_O_SYNC = 04010000,
  LINUX_O_PATH = 010000000,
  LINUX_O_TMPFILE = 020200000,
};

/* *at flags */
enum {
  LINUX_AT_SYMLINK_NOFOLLOW = 0x100,
  LINUX_AT_EACCESS = 0x200,
  LINUX_AT_REMOVEDIR = 0x200,
  LINUX_AT_SYMLINK_FOLLOW = 0x400,
  LINUX_AT_NO_AUTOMOUNT = 0x800,
  LINUX_AT_EMPTY_PATH = 0x1000,
  LINUX_AT_STATX_SYNC = 0x6000,
};

/* fcntl */
enum {
  LINUX_F_DUPFD = 0,
  LINUX_F_GETFD = 1,
  LINUX_F_SETFD = 2,
  LINUX_F_GETFL = 3,
  LINUX_F_SETFL = 4,
  LINUX_F_GETLK = 5,
  LINUX_F_SETLK = 6,
  LINUX_F_SETLKW = 7,
  LINUX_F_OFD_GETLK = 36,
  LINUX_F_OFD_SETLK = 37,
  LINUX_F_OFD_SETLKW = 38,
  LINUX_F_DUPFD_CLOEXEC = 1030,
  LINUX_F_SETPIPE_SZ = 1031,
  LINUX_F_GETPIPE_SZ = 1032,
};

/* mmap, mremap, madvise */
enum {
  LINUX_PROT_READ = 1,
  LINUX_PROT_WRITE = 2,
  LINUX_PROT_EXEC = 4,
  LINUX_MAP_SHARED = 1,
  LINUX_MAP_PRIVATE = 2,
  LINUX_MAP_SHARED_VALIDATE = 3,
  LINUX_MAP_TYPE = 0xf,
  LINUX_MAP_FIXED = 0x10,
  LINUX_MAP_ANONYMOUS = 0x20,
  LINUX_MAP_FIXED_NOREPLACE = 0x100000,
  LINUX_MREMAP_MAYMOVE = 1,
  LINUX_MREMAP_FIXED = 2,
  LINUX_MADV_DONTNEED = 4,
  LINUX_MADV_LAST = 25,
};

/* signals */
enum {
  LINUX_SIGHUP = 1,
  LINUX_SIGILL = 4,
  LINUX_SIGTRAP = 5,
  LINUX_SIGABRT = 6,
  LINUX_SIGBUS = 7,
  LINUX_SIGKILL = 9,
  LINUX_SIGSEGV = 11,
  LINUX_SIGPIPE = 13,
  LINUX_SIGCHLD = 17,
  LINUX_SIGCONT = 18,
  LINUX_SIGSTOP = 19,
  LINUX_SIGTSTP = 20,
  LINUX_SIGTTIN = 21,
  LINUX_SIGTTOU = 22,
  LINUX_SIGURG = 23,
  LINUX_SIGWINCH = 28,
  LINUX_SIG_DFL = 0,
  LINUX_SIG_IGN = 1,
  LINUX_SS_DISABLE = 2,
};

struct linux_iovec {
  uint64_t base;
  uint64_t nbytes;
};

struct linux_timespec {
  int64_t sec;
  int64_t nsec;
};

struct linux_timeval {
  int64_t sec;
  int64_t usec;
};

struct linux_stat {
  uint64_t dev;
  uint64_t ino;
  uint32_t mode;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint64_t rdev;
  uint64_t pad1;
  int64_t size;
  int32_t blksize;
  int32_t pad2;
  int64_t blocks;
  struct linux_timespec atime;
  struct linux_timespec mtime;
  struct linux_timespec ctime;
  uint32_t unused[2];
};
_Static_assert(sizeof(struct linux_stat) == 128, "struct stat");

struct linux_statx_time {
  int64_t sec;
  uint32_t nsec;
  uint32_t reserved;
};

struct linux_statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0;
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  struct linux_statx_time atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor;
  uint32_t dev_major, dev_minor;
  uint64_t spare2[14];
};
_Static_assert(sizeof(struct linux_statx) == 256, "struct statx");

struct linux_statfs {
  uint64_t type, bsize, blocks, bfree, bavail, files, ffree;
  int32_t fsid[2];
  uint64_t namelen, frsize, flags, spare[4];
};
_Static_assert(sizeof(struct linux_statfs) == 120, "struct statfs");

struct linux_flock {
  int16_t type;
  int16_t whence;
  int32_t pad;
  int64_t start;
  int64_t length;
  int32_t pid;
  int32_t pad2;
};
_Static_assert(sizeof(struct linux_flock) == 32, "struct flock");

struct linux_pollfd {
  int32_t fd;
  int16_t events;
  int16_t revents;
};

struct linux_rlimit {
  uint64_t soft;
  uint64_t hard;
};

struct linux_rusage {
  struct linux_timeval user, system;
  int64_t maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock,
    msgsnd, msgrcv, nsignals, nvcsw, nivcsw;
};
_Static_assert(sizeof(struct linux_rusage) == 144, "struct rusage");

struct linux_tms {
  int64_t user, system, child_user, child_system;
};

struct linux_sysinfo {
  int64_t uptime;
  uint64_t loads[3];
  uint64_t totalram, freeram, sharedram, bufferram, totalswap, freeswap;
  uint16_t procs;
  uint16_t pad;
  uint32_t pad2;
  uint64_t totalhigh, freehigh;
  uint32_t unit;
  uint32_t pad3;
};
_Static_assert(sizeof(struct linux_sysinfo) == 112, "struct sysinfo");

struct linux_utsname {
  char sysname[65], nodename[65], release[65], version[65], machine[65],
    domainname[65];
};

struct linux_sigaction { /* no restorer in asm-generic */
  uint64_t handler;
  uint64_t flags;
  uint64_t mask;
};

struct linux_sigaltstack {
  uint64_t sp;
  int32_t flags;
  int32_t pad;
  uint64_t nbytes;
};

#endif
