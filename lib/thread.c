/*
 * What the library knows of the calling thread, and the signal mask around its
 * locks.  Everything here is signal-safe: static thread-local memory and
 * pthread_sigmask().
 */
#define _GNU_SOURCE 1
#include "thread.h"

#include <errno.h>

#include "gate.h"
#include "os.h"

__thread struct vmmi_thread vmmi_thread_self
    __attribute__((tls_model("initial-exec")));

_Atomic(void (*)(void)) vmmi_thread_chore;

void vmmi_thread_async_signals(sigset_t *set)
{
  sigfillset(set);
  sigdelset(set, SIGSEGV);
  sigdelset(set, SIGBUS);
  sigdelset(set, SIGILL);
  sigdelset(set, SIGFPE);
  sigdelset(set, SIGTRAP);
}

void vmmi_thread_enter(void)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  sigset_t async;

  if (self->inside == 0) {
    vmmi_thread_async_signals(&async);
    pthread_sigmask(SIG_BLOCK, &async, &self->mask);
    vmmi_gate_pass();
  }
  self->inside++;
}

static void do_chore(void)
{
  void (*chore)(void);

  if (vmmi_thread_self.signals > 0)
    return; /* it may take what signal context may not */
  chore = atomic_exchange(&vmmi_thread_chore, NULL);
  if (chore != NULL)
    chore();
}

void vmmi_thread_leave(void)
{
  struct vmmi_thread *self = &vmmi_thread_self;

  vmmi_assert(self->inside > 0, "vmmi_thread_leave: not inside");
  if (--self->inside > 0)
    return;
  vmmi_gate_leave();
  pthread_sigmask(SIG_SETMASK, &self->mask, NULL);
  if (vmmi_unlikely(atomic_load_explicit(&vmmi_thread_chore,
                                         memory_order_relaxed) != NULL))
    do_chore();
}

void vmmi_thread_leave_quietly(void)
{
  vmmi_thread_self.signals++;
  vmmi_thread_leave();
  vmmi_thread_self.signals--;
}

void vmmi_thread_away(struct vmmi_away *away)
{
  struct vmmi_thread *self = &vmmi_thread_self;

  away->inside = self->inside;
  self->away++;
  away->guard = self->guard;
  self->guard = NULL;
  if (away->inside == 0)
    return;
  away->mask = self->mask;
  self->inside = 0;
  vmmi_gate_leave();
  pthread_sigmask(SIG_SETMASK, &away->mask, &away->ours);
}

void vmmi_thread_back(const struct vmmi_away *away)
{
  struct vmmi_thread *self = &vmmi_thread_self;

  self->away--;
  if (away->inside == 0) {
    self->guard = away->guard;
    return;
  }
  pthread_sigmask(SIG_SETMASK, &away->ours, NULL);
  vmmi_gate_pass();
  self->inside = away->inside;
  self->mask = away->mask;
  self->guard = away->guard;
}

int vmmi_error(int error, const char *why, int host)
{
  vmmi_thread_self.error = why;
  vmmi_thread_self.error_host = host;
  return error;
}

int vmm_fault_last(struct vmm_fault *fault)
{
  if (fault == NULL)
    return vmmi_error(-EINVAL, "fault last: no place for it", 0);
  if (!vmmi_thread_self.has_last)
    return vmmi_error(-ENOENT, "this thread has had no fault", 0);
  *fault = vmmi_thread_self.last;
  return 0;
}

void vmm_nofault_begin(void)
{
  vmmi_thread_self.nofault++;
}

void vmm_nofault_end(void)
{
  vmmi_assert(vmmi_thread_self.nofault > 0, "vmm_nofault_end: no section");
  vmmi_thread_self.nofault--;
}

int vmmi_thread_check_process(void)
{
  if (vmmi_likely(!vmmi_os_in_child()))
    return 0;
  return vmmi_error(-ESTALE, "nothing of the library is inherited by fork()",
                    0);
}
