/*
 * Signals.  Actions and masks are recorded as the guest sets them.  A signal
 * that the process sends to itself ends it, is ignored, or stays pending while
 * it is blocked.  Handlers are not run in this release: a signal that has one
 * is dropped, and a fault that has one ends the process as if it had none.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

static const char *const names[LINUX_NSIG + 1] = {
  NULL,      "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",    "SIGTRAP",
  "SIGABRT", "SIGBUS",  "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV",
  "SIGUSR2", "SIGPIPE", "SIGALRM",   "SIGTERM", "SIGSTKFLT", "SIGCHLD",
  "SIGCONT", "SIGSTOP", "SIGTSTP",   "SIGTTIN", "SIGTTOU",   "SIGURG",
  "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH",  "SIGIO",
  "SIGPWR",  "SIGSYS",
};

const char *vmmi_signal_name(int signal)
{
  return signal > 0 && signal <= LINUX_NSIG ? names[signal] : NULL;
}

static uint64_t bit(int signal)
{
  return (uint64_t)1 << (signal - 1);
}

static const uint64_t never_blocked =
  (uint64_t)1 << (LINUX_SIGKILL - 1) | (uint64_t)1 << (LINUX_SIGSTOP - 1);

static void deliver(struct linux_process *p, int signal)
{
  if (p->actions[signal].handler != LINUX_SIG_DFL)
    return; /* ignored, or a handler that can't be run */
  switch (signal) {
  case LINUX_SIGCHLD:
  case LINUX_SIGCONT:
  case LINUX_SIGURG:
  case LINUX_SIGWINCH:
    return;
  case LINUX_SIGSTOP:
  case LINUX_SIGTSTP:
  case LINUX_SIGTTIN:
  case LINUX_SIGTTOU:
    kill(getpid(), SIGSTOP);
    return;
  default:
    p->end = LINUX_TERMINATED;
    p->signal = signal;
  }
}

void vmmi_signal_send(struct linux_process *p, int signal)
{
  if (p->blocked & bit(signal))
    p->pending |= bit(signal);
  else
    deliver(p, signal);
}

static int64_t send_self(struct linux_process *p, uint64_t signal)
{
  if ((uint32_t)signal > LINUX_NSIG)
    return -EINVAL;
  if ((uint32_t)signal != 0)
    vmmi_signal_send(p, (int)signal);
  return 0;
}

/* Other processes are out of reach: as if there were none. */
int64_t vmmi_sys_kill(struct linux_process *p, const uint64_t *a)
{
  pid_t pid = (pid_t)a[0];

  return pid == getpid() || pid == 0 ? send_self(p, a[1]) : -ESRCH;
}

int64_t vmmi_sys_tkill(struct linux_process *p, const uint64_t *a)
{
  return (pid_t)a[0] == getpid() ? send_self(p, a[1]) : -ESRCH;
}

int64_t vmmi_sys_tgkill(struct linux_process *p, const uint64_t *a)
{
  if ((pid_t)a[0] != getpid() || (pid_t)a[1] != getpid())
    return -ESRCH;
  return send_self(p, a[2]);
}

int64_t vmmi_sys_rt_sigaction(struct linux_process *p, const uint64_t *a)
{
  uint32_t signal = (uint32_t)a[0];
  struct linux_sigaction new;
  struct linux_sigaction old;

  if (a[3] != sizeof(uint64_t) || signal == 0 || signal > LINUX_NSIG)
    return -EINVAL;
  if (a[1] != 0 && (never_blocked & bit((int)signal)))
    return -EINVAL;
  if (a[1] != 0 && vmmi_linux_get(p, &new, a[1], sizeof new) != 0)
    return -EFAULT;
  old = p->actions[signal];
  if (a[2] != 0 && vmmi_linux_put(p, a[2], &old, sizeof old) != 0)
    return -EFAULT;
  if (a[1] != 0)
    p->actions[signal] = new;
  return 0;
}

static void deliver_pending(struct linux_process *p)
{
  for (int signal = 1; signal <= LINUX_NSIG && p->end == LINUX_RUNS; signal++)
    if (p->pending & ~p->blocked & bit(signal)) {
      p->pending &= ~bit(signal);
      deliver(p, signal);
    }
}

int64_t vmmi_sys_rt_sigprocmask(struct linux_process *p, const uint64_t *a)
{
  enum { BLOCK, UNBLOCK, SETMASK };
  uint64_t old = p->blocked;
  uint64_t set;

  if (a[3] != sizeof set)
    return -EINVAL;
  if (a[1] != 0) {
    if (vmmi_linux_get(p, &set, a[1], sizeof set) != 0)
      return -EFAULT;
    switch ((uint32_t)a[0]) {
    case BLOCK:
      set |= old;
      break;
    case UNBLOCK:
      set = old & ~set;
      break;
    case SETMASK:
      break;
    default:
      return -EINVAL;
    }
    p->blocked = set & ~never_blocked;
    deliver_pending(p);
  }
  return a[2] == 0 ? 0 : vmmi_linux_put(p, a[2], &old, sizeof old);
}

int64_t vmmi_sys_rt_sigpending(struct linux_process *p, const uint64_t *a)
{
  if (a[1] > sizeof p->pending)
    return -EINVAL;
  return vmmi_linux_put(p, a[0], &p->pending, a[1]);
}

int64_t vmmi_sys_sigaltstack(struct linux_process *p, const uint64_t *a)
{
  struct linux_sigaltstack old = p->altstack;
  struct linux_sigaltstack new;

  if (old.nbytes == 0)
    old.flags = LINUX_SS_DISABLE;
  if (a[0] != 0) {
    if (vmmi_linux_get(p, &new, a[0], sizeof new) != 0)
      return -EFAULT;
    if (new.flags & LINUX_SS_DISABLE)
      memset(&new, 0, sizeof new);
    else if (new.nbytes < 2048) /* MINSIGSTKSZ */
      return -ENOMEM;
    p->altstack = new;
  }
  return a[1] == 0 ? 0 : vmmi_linux_put(p, a[1], &old, sizeof old);
}
