/*
 * Giving memory back.  The host may refuse (to cut a mapping in two takes one
 * more), so what it refuses is remembered and tried again later; meanwhile
 * nobody can access it, if the host allows that much.
 */
#define _GNU_SOURCE 1
#include "os.h"

#include <errno.h>
#include <sys/mman.h>

#define LEFT_MAX 256
#define CLAIMED 1 /* no page begins there */

/* What is still to be given back; beyond these it is kept until the process
 * ends. */
static struct {
  _Atomic uintptr_t at; /* 0: free; CLAIMED: somebody is at it */
  size_t nbytes;
} left[LEFT_MAX];

static _Atomic unsigned left_count;

int vmmi_os_try_release(void *at, size_t nbytes)
{
  int saved = errno;
  int error;

  if (vmmi_inject(VMM_TEST_MUNMAP))
    return -ENOMEM;
  error = munmap(at, nbytes) != 0 ? -errno : 0;
  errno = saved;
  return error;
}

static void remember(void *at, size_t nbytes)
{
  for (unsigned i = 0; i < LEFT_MAX; i++) {
    uintptr_t none = 0;

    if (!atomic_compare_exchange_strong(&left[i].at, &none, CLAIMED))
      continue;
    left[i].nbytes = nbytes;
    atomic_store(&left[i].at, (uintptr_t)at);
    atomic_fetch_add(&left_count, 1);
    return;
  }
}

void vmmi_os_release_again(void)
{
  if (vmmi_likely(atomic_load(&left_count) == 0))
    return;
  for (unsigned i = 0; i < LEFT_MAX; i++) {
    uintptr_t at = atomic_load(&left[i].at);

    if (at <= CLAIMED ||
        !atomic_compare_exchange_strong(&left[i].at, &at, CLAIMED))
      continue;
    if (vmmi_os_try_release((void *)at, left[i].nbytes) != 0) {
      atomic_store(&left[i].at, at);
      return; /* it is still so */
    }
    atomic_fetch_sub(&left_count, 1);
    atomic_store(&left[i].at, 0);
  }
}

void vmmi_os_release(void *at, size_t nbytes)
{
  int saved = errno;

  if (vmmi_likely(vmmi_os_try_release(at, nbytes) == 0)) {
    vmmi_os_release_again();
    return;
  }
  mprotect(at, nbytes, PROT_NONE);
  errno = saved;
  remember(at, nbytes);
}

void vmmi_os_forget_left(void)
{
  for (unsigned i = 0; i < LEFT_MAX; i++)
    atomic_store(&left[i].at, 0);
  atomic_store(&left_count, 0);
}
