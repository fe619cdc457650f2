/*
 * SIGNAL CONTEXT.  Everything here runs in a handler of a synchronous signal,
 * which may have interrupted anything: no malloc, no stdio, no lazily made
 * thread-local variable, no lock but through vmmi_resolve(), no errno left
 * changed, no longjmp.  What it calls says "signal-safe" where it is declared.
 *
 * All but the synchronous signals are blocked.  A fault goes its way (rule 10):
 * repair, the region's or space's handler, exception table, registered code's
 * handler, a guarded call, the handler before ours, the default action.
 * Exactly one ends it.
 */
#define _GNU_SOURCE 1
#include "entry.h"

#include <errno.h>

#include "arch.h"
#include "displace.h"
#include "gate.h"
#include "guard.h"
#include "os.h"
#include "os_signal.h"
#include "perform.h"

/* An access that faults again though nothing is to be repaired is one for good
 * after so many times; another thread's repair may explain the first. */
#define LIVELOCK_LIMIT 16

struct event {
  int signal;
  siginfo_t *info;
  void *context;
  uintptr_t pc;
  uintptr_t insn; /* the instruction: at pc, or before it */
  size_t length;  /* of it, if it ran out of line; else 0 */
  struct vmmi_request request; /* window NULL: the fault is in none */
  struct vmm_fault fault;
};

/* ---- whose fault, and which ---- */

static unsigned access_kind(const struct event *event)
{
  const struct vmmi_request *request = &event->request;
  unsigned access = vmmi_arch_access(event->context);

  if (access != 0)
    return access;
  if ((uintptr_t)event->info->si_addr == event->pc)
    return VMM_EXEC;
  /* a read, unless reading is granted already */
  if (request->window == NULL || request->va >= request->space->size)
    return VMM_READ;
  return vmmi_window_granted(request->window, request->va) & VMM_READ
             ? VMM_WRITE
             : VMM_READ;
}

/*
 * => the window and its space, with *va the guest address; or NULL, with *va as
 *    it was.  A child of fork() has the records of windows that it did not
 *    inherit.  A hart's window may have turned from one space to another, or to
 *    none; what is installed then is checked again (window_install.c).
 */
static struct vmmi_window *window_of(const void *host, vmm_addr_t *va,
                                     struct vmm_space **space)
{
  struct vmmi_window *window;
  vmm_addr_t at;

  if (vmmi_os_in_child())
    return NULL;
  window = vmmi_window_find(host, &at);
  if (window == NULL)
    return NULL;
  *space = atomic_load(&window->space);
  if (*space == NULL)
    return NULL;
  *va = at;
  return window;
}

/* Finds the window, unless the library itself was interrupted, in its alias or
 * with its locks: its own accesses have entries in the exception table. */
static void find_window(struct event *event, bool inside)
{
  struct vmmi_request *request = &event->request;
  bool misaligned = event->signal == SIGBUS &&
                    event->info->si_code == BUS_ADRALN;

  request->va = (uintptr_t)event->info->si_addr;
  if (!inside && !misaligned)
    request->window = window_of(event->info->si_addr, &request->va,
                                &request->space);
  request->access = access_kind(event);
}

/* ---- the table repairs it ---- */

/* => whether the host can't give the page: a truncated file, a full disk */
static bool is_object_gone(const struct vmmi_request *request)
{
  uint64_t offset = request->va & (request->space->page_nbytes - 1);

  return vmmi_arch_probe(vmmi_arena_pointer(request->frame) + offset,
                         request->access == VMM_WRITE) != 0;
}

/* Counts an access that faults with nothing to repair.
 * => whether it has done so too often, with no change of the window between */
static bool is_livelock(const struct event *event)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  const struct vmmi_request *request = &event->request;
  uint64_t changes = atomic_load(&request->window->changes);

  if (self->again_pc != event->pc || self->again_va != request->va ||
      self->again_changes != changes)
    self->again = 0;
  self->again_pc = event->pc;
  self->again_va = request->va;
  self->again_changes = changes;
  if (++self->again < LIVELOCK_LIMIT)
    return false;
  self->again = 0;
  return true;
}

/* => 0 the access may be repeated; VMMI_RESOLVE_DEVICE: it is for software;
 *    else an error, with request->reason */
static int repair(struct event *event)
{
  struct vmmi_request *request = &event->request;
  int error;

  if (vmmi_thread_self.nofault > 0)
    request->flags |= VMMI_RESOLVE_NOFAULT;
  error = vmmi_resolve_locked(request);
  if (error == 0 && request->software) {
    vmmi_space_unlock(request->space); /* performing it counts */
    return VMMI_RESOLVE_DEVICE;
  }
  if (error != 0)
    return error;
  if (event->signal == SIGBUS && is_object_gone(request)) {
    request->reason = VMM_FAULT_OBJECT;
    error = -EIO;
  } else if (request->unchanged && is_livelock(event)) {
    request->reason = VMM_FAULT_LIVELOCK;
    error = -EFAULT;
  }
  vmmi_resolve_count(request, error);
  request->region = NULL;
  vmmi_space_unlock(request->space);
  return error;
}

/* ---- verdicts ---- */

/* => the instruction's length, or 0 */
static size_t insn_length(const struct event *event)
{
  unsigned char code[VMMI_ARCH_INSN_MAX];
  size_t nbytes;

  if (event->length != 0) /* a patch stands in its place */
    return event->length;
  nbytes = vmmi_perform_read_insn(event->insn, code);
  return nbytes != 0 ? vmmi_arch_insn_length(code, nbytes) : 0;
}

/* => whether there was an instruction to step over */
static bool step_over(struct event *event)
{
  size_t length = insn_length(event);

  if (length == 0)
    return false;
  vmmi_arch_set_pc(event->context, event->insn + length);
  return true;
}

/* => whether the verdict ends the fault */
static bool obey(struct event *event, enum vmm_verdict verdict)
{
  switch (verdict) {
  case VMM_RETRY:
    if (event->insn != event->pc)
      vmmi_arch_set_pc(event->context, event->insn);
    return true;
  case VMM_RESUME: /* the handler has set the pc */
    return true;
  case VMM_SKIP:
    if (step_over(event))
      return true;
    break;
  case VMM_DECLINE:
    break;
  }
  vmmi_arch_set_pc(event->context, event->pc); /* for those who come next */
  return false;
}

/* ---- the way of a fault ---- */

static void describe(struct event *event, int error)
{
  struct vmm_fault *fault = &event->fault;

  vmmi_resolve_describe(&event->request, error, fault);
  fault->host_pc = (void *)event->insn;
  fault->info = event->info;
  fault->context = event->context;
}

/* If the instruction ran out of line, it stands where it belongs from here
 * on. */
static void bring_home(struct event *event)
{
  if (vmmi_displace_rollback(event->context, &event->length))
    event->insn = event->pc = vmmi_arch_pc(event->context);
}

/* The instruction may say what is next, whoever's address it is. */
static bool go_by_insn(struct event *event)
{
  uintptr_t fixup = vmmi_extable_find(event->insn);

  if (fixup != 0) {
    vmmi_arch_set_pc(event->context, fixup);
    return true;
  }
  return obey(event, vmmi_extable_ask(event->insn, &event->fault));
}

/* Guarded calls take what is a window's, or what their code does. */
static bool go_to_guard(struct event *event)
{
  bool covered = event->fault.space != NULL ||
                 vmmi_extable_holds(event->insn);
  struct vmm_space *space;
  vmm_addr_t va;

  if (!covered)
    covered = window_of((void *)event->insn, &va, &space) != NULL;
  return vmmi_guard_end(event->context, &event->fault, covered);
}

/* A fault that is no window's.  An overflow is recorded though it may go on to
 * the handler before ours, which has no other way to know. */
static bool deal_with_other(struct event *event, bool inside)
{
  bool done = go_by_insn(event) || (!inside && go_to_guard(event));

  if (!inside && (done || event->fault.reason == VMM_FAULT_STACK))
    vmmi_resolve_give_up(NULL, &event->fault);
  return done;
}

/* An accessor asks at its label for what software is to do: that is no failure,
 * so nobody else is asked, and the call that is made there counts. */
static bool go_to_label(struct event *event)
{
  uintptr_t fixup = vmmi_extable_find(event->insn);

  if (fixup == 0)
    return false;
  event->request.reason = VMM_FAULT_FORM;
  describe(event, -EFAULT);
  vmmi_resolve_record(&event->fault);
  vmmi_arch_set_pc(event->context, fixup);
  return true;
}

/* => 0 the instruction is done; else an error, with request->reason */
static int perform(struct event *event)
{
  int error = vmmi_perform_insn(&event->request, event->insn, event->context);

  if (error != 0 && event->request.reason == VMM_FAULT_FORM)
    vmmi_resolve_count_performed(&event->request, error);
  return error;
}

static bool deal_with_access(struct event *event, bool inside)
{
  struct vmmi_request *request = &event->request;
  int error;

  find_window(event, inside);
  if (request->window == NULL) {
    request->reason = !inside && vmmi_guard_is_overflow(request->va)
                          ? VMM_FAULT_STACK
                          : VMM_FAULT_OUTSIDE;
    bring_home(event);
    describe(event, -EFAULT);
    return deal_with_other(event, inside);
  }
  error = repair(event);
  if (error == VMMI_RESOLVE_DEVICE) {
    if (go_to_label(event))
      return true;
    error = perform(event);
  }
  if (error == 0)
    return true;
  bring_home(event);
  describe(event, error);
  if (obey(event, vmmi_resolve_ask(request, &event->fault)))
    return true;
  vmmi_resolve_give_up(request, &event->fault);
  return go_by_insn(event) || go_to_guard(event);
}

/* SIGILL, SIGFPE, SIGTRAP: there is nothing to repair. */
static bool deal_with_insn(struct event *event, bool inside)
{
  struct vmmi_request *request = &event->request;

  if (event->signal == SIGTRAP && vmmi_displace_trap(event->context))
    return true;
  bring_home(event);
  request->va = event->insn;
  request->access = VMM_EXEC;
  request->reason = event->signal == SIGILL   ? VMM_FAULT_ILLEGAL
                    : event->signal == SIGFPE ? VMM_FAULT_ARITHMETIC
                                              : VMM_FAULT_TRAP;
  if (!inside)
    window_of((void *)event->insn, &request->va, &request->space);
  describe(event, -EFAULT);
  return deal_with_other(event, inside);
}

static bool deal_with(struct event *event, bool inside)
{
  if (event->signal == SIGSEGV || event->signal == SIGBUS)
    return deal_with_access(event, inside);
  return deal_with_insn(event, inside);
}

/*
 * The owner of a software TLB in a section: who waits for its end may be inside,
 * and the gate shut until he is out.  Memory of the alias that is gone (a file
 * was truncated) ends at the instruction's entry in the exception table without
 * passing the gate.
 */
static bool end_in_section(struct event *event)
{
  uintptr_t fixup = vmmi_extable_find(event->insn);
  vmm_addr_t va = (uintptr_t)event->info->si_addr;
  struct vmm_space *space;

  if (fixup == 0 || window_of(event->info->si_addr, &va, &space) != NULL)
    return false;
  event->request.va = va;
  event->request.access = access_kind(event);
  event->request.reason = VMM_FAULT_OUTSIDE;
  describe(event, -EFAULT);
  vmmi_resolve_give_up(NULL, &event->fault);
  vmmi_arch_set_pc(event->context, fixup);
  return true;
}

/* => whether the fault has ended; else the context is as it was, where it
 *    stands for what it was (displace.h) */
static bool handle(int signal, siginfo_t *info, void *context)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  struct event event = { .signal = signal,
                         .info = info,
                         .context = context,
                         .pc = vmmi_arch_pc(context),
                         .insn = vmmi_arch_insn(context) };
  unsigned inside = self->inside;
  bool done;

  if (vmmi_os_signal_is_sent(info)) {
    vmm_displace_rollback(context);
    return false;
  }
  if (vmmi_unlikely(self->sections > 0) && inside == 0 &&
      end_in_section(&event))
    return true;
  if (inside == 0) { /* as the outermost enter does */
    vmmi_arch_mask(context, &self->mask);
    vmmi_gate_pass();
  }
  self->inside = inside + 1;
  self->signals++;
  done = deal_with(&event, inside != 0);
  self->signals--;
  self->inside = inside;
  if (inside == 0)
    vmmi_gate_leave();
  return done;
}

/* ---- those who were here before ---- */

/* The default action, so that a core shows the true fault: the instruction
 * faults again, or, if there was none or it is over, the same siginfo comes
 * again. */
static void act_by_default(int signal, siginfo_t *info)
{
  struct sigaction action = { .sa_handler = SIG_DFL };
  sigset_t set;

  sigaction(signal, &action, NULL);
  if (!vmmi_os_signal_is_sent(info) && signal != SIGTRAP)
    return;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, NULL); /* until we have returned */
  vmmi_os_signal_resend(signal, info);
}

/* Calls the handler as the kernel would have. */
static void call_previous(const struct sigaction *action, int signal,
                          siginfo_t *info, void *context)
{
  sigset_t mask, more = action->sa_mask;
  int n;

  vmmi_arch_mask(context, &mask);
  if (!(action->sa_flags & SA_NODEFER))
    sigaddset(&more, signal);
  for (n = 1; n < NSIG; n++)
    if (sigismember(&more, n) == 1)
      sigaddset(&mask, n);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  if (action->sa_flags & SA_SIGINFO)
    action->sa_sigaction(signal, info, context);
  else
    action->sa_handler(signal);
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
  struct sigaction action;

  vmmi_signal_previous(signal, &action);
  if (action.sa_handler == SIG_IGN && vmmi_os_signal_is_sent(info))
    return;
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)
    act_by_default(signal, info);
  else
    call_previous(&action, signal, info, context);
}

/* ---- the ways in ---- */

void vmmi_signal_handler(int signal, siginfo_t *info, void *context)
{
  int saved = errno;
  bool done = handle(signal, info, context);

  errno = saved;
  if (!done)
    pass_on(signal, info, context);
  errno = saved;
}

int vmm_handle_signal(int signal, void *info, void *context)
{
  int saved = errno;
  sigset_t ours, theirs;
  bool done;

  if (!vmmi_signal_is_ours(signal))
    return 0;
  vmmi_thread_async_signals(&ours); /* the synchronous ones are not blocked */
  pthread_sigmask(SIG_SETMASK, &ours, &theirs);
  done = handle(signal, info, context);
  pthread_sigmask(SIG_SETMASK, &theirs, NULL);
  errno = saved;
  return done;
}
