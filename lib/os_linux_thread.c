#define _GNU_SOURCE 1
/*
 * A thread of the library's own, on Linux.
 */
#include "os_thread.h"

#include <errno.h>
#include <signal.h>

#include "inject.h"
#include "thread.h"

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
