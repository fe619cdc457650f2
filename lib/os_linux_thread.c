/*
 * Threads and processes on Linux: waiting by futexes, a thread of the library's
 * own, fork.
 */
#define _GNU_SOURCE 1
#include "os_thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject.h"
#include "os.h"
#include "thread.h"

void vmmi_os_wait(_Atomic uint32_t *word, uint32_t value)
{
  int saved = errno;

  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
  errno = saved;
}

void vmmi_os_wake(_Atomic uint32_t *word)
{
  int saved = errno;

  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
  errno = saved;
}

int vmmi_os_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
  sigset_t async, mask;
  int error;

  if (vmmi_inject(VMM_TEST_PTHREAD_CREATE))
    return -EAGAIN;
  vmmi_thread_async_signals(&async);
  pthread_sigmask(SIG_BLOCK, &async, &mask);
  error = pthread_create(thread, NULL, run, arg);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  return -error;
}

int vmmi_os_fork(void)
{
  int saved = errno;
  pid_t child;

  if (vmmi_inject(VMM_TEST_FORK))
    return -EAGAIN;
  child = fork();
  if (child < 0)
    child = -errno;
  errno = saved;
  return child;
}

void vmmi_os_reap(int child)
{
  int saved = errno;

  while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
    ;
  errno = saved;
}
