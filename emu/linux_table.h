/*
 * The system calls, a row each: number, name, and how --strace writes the
 * arguments, a letter each (linux_strace.c):
 *
 *   d  signed decimal    u  unsigned decimal    x  hexadecimal    o  octal
 *   f  a descriptor      s  a path or string
 *
 * The numbers are Linux's asm-generic ones (include/uapi/asm-generic/unistd.h),
 * which RISC-V uses.  A row makes both the prototype of vmmi_sys_<name>() and
 * the entry of the table.
 */
#ifndef EMU_LINUX_TABLE_H
#define EMU_LINUX_TABLE_H

#include <stdint.h>

struct linux_process;

typedef int64_t linux_handler(struct linux_process *p, const uint64_t *args);

struct linux_call {
  const char *name;
  linux_handler *handler; /* NULL: ENOSYS */
  const char *format;
};

/* clang-format off */
#define LINUX_GENERIC(ROW)                                                     \
  /* descriptors: linux_fd.c */                                                \
  ROW(23, dup, "f")                                                            \
  ROW(24, dup3, "ffx")                                                         \
  ROW(25, fcntl, "fdx")                                                        \
  ROW(32, flock, "fd")                                                         \
  ROW(57, close, "f")                                                          \
  ROW(59, pipe2, "xx")                                                         \
  ROW(436, close_range, "uux")                                                 \
  /* bytes of files: linux_file.c */                                           \
  ROW(56, openat, "fsxo")                                                      \
  ROW(62, lseek, "fdd")                                                        \
  ROW(63, read, "fxu")                                                         \
  ROW(64, write, "fxu")                                                        \
  ROW(65, readv, "fxu")                                                        \
  ROW(66, writev, "fxu")                                                       \
  ROW(67, pread64, "fxud")                                                     \
  ROW(68, pwrite64, "fxud")                                                    \
  ROW(69, preadv, "fxud")                                                      \
  ROW(70, pwritev, "fxud")                                                     \
  ROW(71, sendfile, "ffxu")                                                    \
  ROW(45, truncate, "sd")                                                      \
  ROW(46, ftruncate, "fd")                                                     \
  ROW(47, fallocate, "fxdd")                                                   \
  ROW(61, getdents64, "fxu")                                                   \
  ROW(81, sync, "")                                                            \
  ROW(82, fsync, "f")                                                          \
  ROW(83, fdatasync, "f")                                                      \
  ROW(223, fadvise64, "fddd")                                                  \
  ROW(267, syncfs, "f")                                                        \
  /* names: linux_name.c */                                                    \
  ROW(17, getcwd, "xu")                                                        \
  ROW(33, mknodat, "fsox")                                                     \
  ROW(34, mkdirat, "fso")                                                      \
  ROW(35, unlinkat, "fsx")                                                     \
  ROW(36, symlinkat, "sfs")                                                    \
  ROW(37, linkat, "fsfsx")                                                     \
  ROW(38, renameat, "fsfs")                                                    \
  ROW(49, chdir, "s")                                                          \
  ROW(50, fchdir, "f")                                                         \
  ROW(78, readlinkat, "fsxu")                                                  \
  ROW(166, umask, "o")                                                         \
  ROW(276, renameat2, "fsfsx")                                                 \
  /* what is known of files: linux_stat.c */                                   \
  ROW(43, statfs, "sx")                                                        \
  ROW(44, fstatfs, "fx")                                                       \
  ROW(48, faccessat, "fsx")                                                    \
  ROW(52, fchmod, "fo")                                                        \
  ROW(53, fchmodat, "fso")                                                     \
  ROW(54, fchownat, "fsddx")                                                   \
  ROW(55, fchown, "fdd")                                                       \
  ROW(79, newfstatat, "fsxx")                                                  \
  ROW(80, fstat, "fx")                                                         \
  ROW(88, utimensat, "fsxx")                                                   \
  ROW(291, statx, "fsxxx")                                                     \
  ROW(439, faccessat2, "fsxx")                                                 \
  ROW(452, fchmodat2, "fsox")                                                  \
  /* waiting and devices: linux_poll.c */                                      \
  ROW(29, ioctl, "fxx")                                                        \
  ROW(72, pselect6, "dxxxxx")                                                  \
  ROW(73, ppoll, "xuxxu")                                                      \
  /* memory: linux_memory.c */                                                 \
  ROW(214, brk, "x")                                                           \
  ROW(215, munmap, "xx")                                                       \
  ROW(216, mremap, "xxxxx")                                                    \
  ROW(222, mmap, "xxxxfx")                                                     \
  ROW(226, mprotect, "xxx")                                                    \
  ROW(227, msync, "xxx")                                                       \
  ROW(228, mlock, "xx")                                                        \
  ROW(229, munlock, "xx")                                                      \
  ROW(233, madvise, "xxd")                                                     \
  /* the process: linux_process.c */                                           \
  ROW(90, capget, "xx")                                                        \
  ROW(93, exit, "d")                                                           \
  ROW(94, exit_group, "d")                                                     \
  ROW(96, set_tid_address, "x")                                                \
  ROW(98, futex, "xduxxu")                                                     \
  ROW(99, set_robust_list, "xu")                                               \
  ROW(123, sched_getaffinity, "dux")                                           \
  ROW(124, sched_yield, "")                                                    \
  ROW(144, setgid, "u")                                                        \
  ROW(146, setuid, "u")                                                        \
  ROW(148, getresuid, "xxx")                                                   \
  ROW(150, getresgid, "xxx")                                                   \
  ROW(155, getpgid, "d")                                                       \
  ROW(156, getsid, "d")                                                        \
  ROW(158, getgroups, "ux")                                                    \
  ROW(160, uname, "x")                                                         \
  ROW(163, getrlimit, "dx")                                                    \
  ROW(164, setrlimit, "dx")                                                    \
  ROW(165, getrusage, "dx")                                                    \
  ROW(167, prctl, "dxxxx")                                                     \
  ROW(168, getcpu, "xxx")                                                      \
  ROW(172, getpid, "")                                                         \
  ROW(173, getppid, "")                                                        \
  ROW(174, getuid, "")                                                         \
  ROW(175, geteuid, "")                                                        \
  ROW(176, getgid, "")                                                         \
  ROW(177, getegid, "")                                                        \
  ROW(178, gettid, "")                                                         \
  ROW(179, sysinfo, "x")                                                       \
  ROW(260, wait4, "dxxx")                                                      \
  ROW(261, prlimit64, "ddxx")                                                  \
  ROW(278, getrandom, "xux")                                                   \
  /* signals: linux_signal.c */                                                \
  ROW(129, kill, "dd")                                                         \
  ROW(130, tkill, "dd")                                                        \
  ROW(131, tgkill, "ddd")                                                      \
  ROW(132, sigaltstack, "xx")                                                  \
  ROW(134, rt_sigaction, "dxxu")                                               \
  ROW(135, rt_sigprocmask, "dxxu")                                             \
  ROW(136, rt_sigpending, "xu")                                                \
  /* time: linux_time.c */                                                     \
  ROW(101, nanosleep, "xx")                                                    \
  ROW(113, clock_gettime, "dx")                                                \
  ROW(114, clock_getres, "dx")                                                 \
  ROW(115, clock_nanosleep, "dxxx")                                            \
  ROW(153, times, "x")                                                         \
  ROW(169, gettimeofday, "xx")

/* Known by name, and answered ENOSYS: more than one process or thread, and what
 * a C library asks for and can do without. */
#define LINUX_GENERIC_ABSENT(ROW)                                              \
  ROW(100, get_robust_list, "dxx")                                             \
  ROW(137, rt_sigtimedwait, "xxxu")                                            \
  ROW(139, rt_sigreturn, "")                                                   \
  ROW(198, socket, "ddd")                                                      \
  ROW(203, connect, "fxu")                                                     \
  ROW(220, clone, "xxxxx")                                                     \
  ROW(221, execve, "sxx")                                                      \
  ROW(258, riscv_hwprobe, "xuxxx")                                             \
  ROW(259, riscv_flush_icache, "xxx")                                          \
  ROW(283, membarrier, "dxd")                                                  \
  ROW(285, copy_file_range, "fxfxux")                                          \
  ROW(293, rseq, "xuxx")                                                       \
  ROW(435, clone3, "xu")                                                       \
  ROW(437, openat2, "fsxu")
/* clang-format on */

enum { LINUX_GENERIC_CALLS = 453 };

#define LINUX_PROTOTYPE(number, name, format) \
  int64_t vmmi_sys_##name(struct linux_process *p, const uint64_t *args);
LINUX_GENERIC(LINUX_PROTOTYPE)
#undef LINUX_PROTOTYPE

extern const struct linux_call vmmi_linux_generic[LINUX_GENERIC_CALLS];

#endif
