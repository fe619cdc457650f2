/*
 * Where the calling thread's stack ends on Linux, as libc tells it.  The first
 * thread's stack grows down to a limit, which the kernel keeps free below it.
 */
#define _GNU_SOURCE 1
#include "os.h"

#include <errno.h>
#include <pthread.h>

struct vmmi_span vmmi_os_stack_overflow(void)
{
  uintptr_t page = (uintptr_t)1 << vmmi_os_page_shift();
  struct vmmi_span overflow = { 0, 0 };
  pthread_attr_t attr;
  size_t nbytes, guard;
  int saved = errno;
  void *low;

  if (pthread_getattr_np(pthread_self(), &attr) != 0) {
    errno = saved;
    return overflow;
  }
  if (pthread_attr_getstack(&attr, &low, &nbytes) == 0 &&
      pthread_attr_getguardsize(&attr, &guard) == 0) {
    overflow.end = (uintptr_t)low;
    overflow.start = overflow.end - vmmi_max(guard, page);
  }
  pthread_attr_destroy(&attr);
  errno = saved;
  return overflow;
}
