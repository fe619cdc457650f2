/*
 * The Linux user layer: one guest process, its system calls, its end.
 *
 * linux_table.h lists the system calls; each is a function vmmi_sys_<name>() in
 * the file of its subject: linux_file.c, linux_memory.c ...  It gets the
 * guest's six arguments and returns what the guest sees: a result or -errno.
 *
 * Guest memory is reached by vmm_copyin(), vmm_copyout() and vmm_pin() alone,
 * so a bad pointer is the guest's EFAULT.  Guest descriptors are entries of a
 * table (linux_fd.c), never host descriptors.  Paths go through linux_path.c.
 *
 * One process of one thread.  Not there: clone, fork, execve, sockets, and
 * guest signal handlers, which are recorded and never run.
 */
#ifndef EMU_LINUX_H
#define EMU_LINUX_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include <vmm/emu.h>
#include <vmm/vmm.h>

#include "linux_abi.h"
#include "linux_isa.h"

/* The most descriptors, whatever the host's limit: the table grows at once up
 * to the highest number that the guest names. */
enum { LINUX_NOFILE = 65536 };

struct linux_fd {
  int host;    /* -1: free */
  int cloexec; /* the guest's FD_CLOEXEC */
};

enum linux_end {
  LINUX_RUNS,
  LINUX_EXITED,     /* status */
  LINUX_TERMINATED, /* signal */
};

struct linux_process {
  const struct linux_isa *isa;
  struct vmm_space *space;
  struct vmm_cpu *cpu;
  uint64_t page; /* bytes of a guest page */

  struct linux_fd *fds; /* grows, up to limits[RLIMIT_NOFILE].soft */
  size_t nfds;

  int root_fd;               /* --root, or -1 */
  char root[LINUX_PATH_MAX]; /* its host path, without a trailing slash */
  char exe[LINUX_PATH_MAX];  /* the program's path, as the guest sees it */

  vmm_addr_t image_start, image_end; /* the program */
  vmm_addr_t interp_start, interp_end;
  vmm_addr_t brk_start, brk;
  vmm_addr_t mmap_base;
  vmm_addr_t stack_start, stack_end;
  uint64_t regions; /* not more than this many */

  struct linux_sigaction actions[LINUX_NSIG + 1];
  struct linux_sigaltstack altstack;
  uint64_t blocked, pending; /* signal n is bit n - 1 */
  struct linux_rlimit limits[LINUX_NRLIMITS];

  enum linux_end end;
  int status; /* LINUX_EXITED: 0 to 255 */
  int signal; /* LINUX_TERMINATED */

  FILE *strace; /* NULL: no --strace */
};

/* ---- start and end: linux_start.c ---- */

enum { LINUX_TEXT = 512 };

struct linux_start {
  const char *program; /* a guest path */
  char **argv;         /* argv[0] and on, ended by NULL */
  char **envp;
  const char *root;   /* NULL: the host's file system */
  int exact;          /* young and dirty page by page */
  int checked;        /* no window: memory by software */
  uint64_t max_pages; /* of its own that may be resident; 0: no limit */
  void (*trace)(struct vmm_cpu *cpu, vmm_addr_t pc, void *arg);
  void *trace_arg;
};

/*
 * Makes a space, a cpu and a process, loads the program and sets up its stack.
 * => 0, or what went wrong, with one line in text; finish is to be called
 * anyway
 */
enum linux_failure {
  LINUX_CANT_HOST = 125, /* the host can't do it: no memory, no --root */
  LINUX_CANT_RUN = 126,  /* the program is there, but can't be run */
  LINUX_CANT_FIND = 127, /* there is no such program */
};
int vmmi_linux_start(struct linux_process *process,
                     const struct linux_start *start, char text[LINUX_TEXT]);
void vmmi_linux_finish(struct linux_process *process);

/* Runs the system call that the cpu stopped at, and steps over it. */
void vmmi_linux_call(struct linux_process *process);

/* Builds the initial stack; linux_stack.c.  => the stack pointer, or -errno */
struct elf_image;
int vmmi_linux_stack(struct linux_process *process,
                     const struct elf_image *program,
                     const struct elf_image *interp,
                     const struct linux_start *start, vmm_addr_t *sp);

/* => what a host call gave, as the guest gets it: -errno for -1 */
static inline int64_t vmmi_linux_result(int64_t value)
{
  return value < 0 ? -errno : value;
}

/* ---- guest memory: linux_transfer.c ---- */

/* => 0 or -EFAULT */
int vmmi_linux_get(struct linux_process *p, void *to, vmm_addr_t from,
                   size_t nbytes);
int vmmi_linux_put(struct linux_process *p, vmm_addr_t to, const void *from,
                   size_t nbytes);

/* Where a transfer reads or writes in the file. */
#define LINUX_AT_POSITION INT64_MIN

/*
 * Moves bytes between a host descriptor and guest buffers: access VMM_WRITE is
 * a read (memory is written).  The buffers are pinned before the host is asked,
 * so that nothing read can get lost.  => bytes moved, or -errno
 */
int64_t vmmi_linux_transfer(struct linux_process *p, int host,
                            const struct linux_iovec *vectors, size_t count,
                            unsigned access, int64_t offset);

/* ---- descriptors: linux_fd.c ---- */

int vmmi_fd_init(struct linux_process *p);
void vmmi_fd_finish(struct linux_process *p);
/* => the host's descriptor, or -EBADF */
int vmmi_fd_host(struct linux_process *p, int64_t fd);
/* Takes over host.  => the lowest free guest descriptor from min on, or -EMFILE
 * (then host is closed) */
int vmmi_fd_add(struct linux_process *p, int host, uint64_t min, int cloexec);
void vmmi_fd_close(struct linux_process *p, int fd);
/* Guest open flags to the host's, and back. */
int vmmi_fd_flags_to_host(uint64_t flags);
uint64_t vmmi_fd_flags_to_guest(int flags);

/* ---- paths: linux_path.c ---- */

/* A file, as the host's *at() calls take it. */
struct linux_place {
  int fd;    /* a directory, or AT_FDCWD */
  int own;   /* closed by vmmi_path_end(); -1: none */
  int given; /* the host descriptor, if the guest named a descriptor; or -1 */
  int dots;  /* the name is "." or ".." */
  char name[LINUX_PATH_MAX];
};

/* Opens the root for guest paths; root NULL: the host's.
 * => 0, or -errno; -ENOSYS: the host can't confine paths (no openat2) */
int vmmi_path_init(struct linux_process *p, const char *root);
/* Opens a guest path with host flags.  => a host descriptor, or -errno */
int vmmi_path_open(struct linux_process *p, int64_t dirfd, const char *path,
                   int flags, unsigned mode);
/* The directory entry that the path names: links at its end not followed. */
int vmmi_path_entry(struct linux_process *p, int64_t dirfd, vmm_addr_t path,
                    struct linux_place *place);
/* The file that the path leads to.  at_flags: of LINUX_AT_SYMLINK_NOFOLLOW and
 * LINUX_AT_EMPTY_PATH those that the guest gave. */
int vmmi_path_target(struct linux_process *p, int64_t dirfd, vmm_addr_t path,
                     uint64_t at_flags, struct linux_place *place);
void vmmi_path_end(struct linux_place *place);
/* => 0, or -EFAULT, -ENAMETOOLONG */
int vmmi_path_get(struct linux_process *p, vmm_addr_t from,
                  char path[LINUX_PATH_MAX]);
/* The guest path of an open host descriptor.  => its length, or -errno; -EXDEV:
 * outside of --root */
int vmmi_path_of(struct linux_process *p, int host, char path[LINUX_PATH_MAX]);
/* => whether an open host descriptor may be more than read and written: links
 *    to it, its mode, its owner, its times, to be in it.  With --root, not if
 *    it was given from outside.  host -1, no descriptor: yes */
int vmmi_path_inside(struct linux_process *p, int host);
/* => the guest descriptor if path is /proc/self/fd/N, /dev/fd/N or /dev/stdin,
 *    /dev/stdout, /dev/stderr; -1 if it is not */
int vmmi_path_fd(const char *path);

/* ---- signals: linux_signal.c ---- */

/* Sends a signal to the process itself: ends it, or is ignored, or stays
 * pending while blocked. */
void vmmi_signal_send(struct linux_process *p, int signal);
/* => "SIGSEGV" ... or NULL */
const char *vmmi_signal_name(int signal);

/* ---- time: linux_time.c ---- */

/* Reads a timespec.  => 0, -EFAULT, or -EINVAL: negative, or over a second */
struct timespec;
int vmmi_time_get(struct linux_process *p, vmm_addr_t from,
                  struct timespec *time);

/* ---- --strace: linux_strace.c ---- */

void vmmi_strace_enter(struct linux_process *p, uint64_t number,
                       const uint64_t *args);
void vmmi_strace_leave(struct linux_process *p, uint64_t number,
                       int64_t result);

#endif
