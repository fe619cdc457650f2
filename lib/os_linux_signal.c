/*
 * The host's signals on Linux: the size of a frame comes with the auxiliary
 * vector (it grows with the CPU's vector registers), and one system call sends
 * a signal with a siginfo of the caller's.
 */
#define _GNU_SOURCE 1
#include "os_signal.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

size_t vmmi_os_signal_frame(void)
{
  int saved = errno;
  size_t nbytes = getauxval(AT_MINSIGSTKSZ);

  errno = saved;
  return nbytes;
}

/* A counter of perf_event_open() ran over. */
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif

bool vmmi_os_signal_is_sent(const siginfo_t *info)
{
  return info->si_code <= 0 ||
         (info->si_signo == SIGBUS && info->si_code == BUS_MCEERR_AO) ||
         (info->si_signo == SIGTRAP && info->si_code == TRAP_PERF);
}

int vmmi_os_signal_resend(int signal, siginfo_t *info)
{
  int saved = errno;
  int error = 0;

  if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signal,
              info) != 0)
    error = -errno;
  errno = saved;
  return error;
}
