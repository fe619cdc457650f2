/*
 * What the suites of signals share: faults with a place of their own, children
 * that die of them, masks, a handler that keeps what it was asked.
 */
#ifndef VMM_TESTS_FAULTS_H
#define VMM_TESTS_FAULTS_H

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm_test.h"

#define AT 0x10000
enum { RW = VMM_READ | VMM_WRITE };

static uint64_t page;
static char *nowhere; /* a page of no window that nobody can access */

static inline struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

static inline void make_nowhere(void)
{
  nowhere = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(nowhere, MAP_FAILED);
}

static inline void open_nowhere(int prot)
{
  mprotect(nowhere, (size_t)sysconf(_SC_PAGESIZE), prot);
}

/* A write that no exception table names. */
static __attribute__((noinline, unused)) void plain_write(char *at)
{
  *(volatile char *)at = 1;
  __asm__ volatile("" : : : "memory"); /* a handler may have changed anything */
}

/* A child runs the function.  => its wait status */
static inline int status_of(void (*function)(void))
{
  pid_t child;
  int status;

  fflush(NULL);
  child = fork();
  if (child == 0) {
    function();
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  return status;
}

#define ck_assert_killed(function, by)                                         \
  do {                                                                         \
    int signal_status = status_of(function);                                   \
    ck_assert_msg(WIFSIGNALED(signal_status) &&                                \
                      WTERMSIG(signal_status) == (by),                         \
                  "%s: status 0x%x", #function, signal_status);                \
  } while (0)

#define ck_assert_exits(function, code)                                        \
  do {                                                                         \
    int signal_status = status_of(function);                                   \
    ck_assert_msg(WIFEXITED(signal_status) &&                                  \
                      WEXITSTATUS(signal_status) == (code),                    \
                  "%s: status 0x%x", #function, signal_status);                \
  } while (0)

static inline void block(int signal)
{
  sigset_t set;

  sigemptyset(&set);
  sigaddset(&set, signal);
  ck_assert_int_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
}

/* The set holds exactly these of the signals that could be in it. */
static inline void check_mask(const sigset_t *set, int segv, int usr1, int usr2)
{
  ck_assert_int_eq(sigismember(set, SIGSEGV), segv);
  ck_assert_int_eq(sigismember(set, SIGUSR1), usr1);
  ck_assert_int_eq(sigismember(set, SIGUSR2), usr2);
  ck_assert_int_eq(sigismember(set, SIGTERM), 0);
  ck_assert_int_eq(sigismember(set, SIGALRM), 0);
  ck_assert_int_eq(sigismember(set, SIGBUS), 0);
}

/* ---- a handler ---- */

static struct {
  struct vmm_space *space;
  enum vmm_verdict verdict;
  volatile int calls;
  void *arg;
  struct vmm_fault fault;
  sigset_t mask;
  void *go_on;
} asked;

static inline enum vmm_verdict decide(struct vmm_fault *fault, void *arg)
{
  asked.calls++;
  asked.fault = *fault;
  asked.arg = arg;
  pthread_sigmask(SIG_SETMASK, NULL, &asked.mask);
  errno = ERANGE;
  if (asked.verdict == VMM_RETRY)
    vmm_protect(asked.space, fault->va & ~(page - 1), page, RW);
  if (asked.verdict == VMM_RESUME)
    vmm_fault_set_pc(fault, asked.go_on);
  return asked.verdict;
}

/* A handler may fault itself, in another page, and in a space of its own. */
static inline enum vmm_verdict fault_again(struct vmm_fault *fault, void *arg)
{
  vmm_test_set(arg, AT + page, 5);
  vmm_test_set(fault->space, AT + 2 * page, 6);
  vmm_protect(fault->space, AT, page, RW);
  return VMM_RETRY;
}

#endif
