/*
 * SIGNAL CONTEXT.  How a fault ends a guarded call: the record is written into
 * the call's frame, and the context rewritten to go on at its landing pad.
 * Nothing is jumped over, since the handler returns.
 *
 * The frames may lie on a stack in a window (a guest's), so touching one may
 * fault: meanwhile the thread counts as outside of the library, with no guarded
 * call, so that such a fault is repaired as any other, or goes past us.
 */
#include "guard.h"

#include "arch.h"
#include "gate.h"

/* The sanitizer's, where the program has it: it must forget the frames that
 * never return.  Otherwise these are NULL. */
void __asan_handle_no_return(void) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *at, size_t nbytes)
    __attribute__((weak));

static void forget_frames(const struct vmmi_guard *guard)
{
  if (__asan_handle_no_return == NULL || __asan_unpoison_memory_region == NULL)
    return;
  __asan_handle_no_return();
  if (guard->stack.end != 0)
    __asan_unpoison_memory_region((void *)guard->stack.start,
                                  guard->stack.end - guard->stack.start);
}

void vmmi_guard_unwind(struct vmmi_guard *guard, const struct vmm_fault *fault)
{
  guard->fault = *fault;
  guard->fault.info = NULL;
  guard->fault.context = NULL;
  forget_frames(guard);
  vmmi_thread_self.nofault = guard->nofault;
  if (guard->hart != NULL && guard->hart == vmmi_thread_self.hart)
    vmm_view_resume(&guard->hart->views, &guard->view);
}

/* ---- frames, which may fault ---- */

/* What the thread is not meanwhile. */
struct frames {
  struct vmmi_guard *innermost;
  unsigned inside;
  sigset_t mask;
};

static void begin_frames(struct frames *frames)
{
  struct vmmi_thread *self = &vmmi_thread_self;

  frames->innermost = self->guard;
  frames->inside = self->inside;
  frames->mask = self->mask;
  self->guard = NULL;
  self->inside = 0;
  vmmi_gate_leave();
}

static void end_frames(const struct frames *frames,
                       struct vmmi_guard *innermost)
{
  struct vmmi_thread *self = &vmmi_thread_self;

  vmmi_gate_pass();
  self->inside = frames->inside;
  self->mask = frames->mask;
  self->guard = innermost;
}

static bool takes(const struct vmmi_guard *guard, const struct vmm_fault *fault,
                  bool covered)
{
  if (guard->sp == NULL)
    return false;
  if (covered || (guard->flags & VMM_GUARD_ANY))
    return true;
  return fault->reason == VMM_FAULT_STACK &&
         vmmi_span_holds(&guard->overflow, fault->va);
}

bool vmmi_guard_end(void *context, const struct vmm_fault *fault, bool covered)
{
  struct frames frames;
  struct vmmi_guard *guard, *outer;
  void *sp;

  if (vmmi_thread_self.guard == NULL)
    return false;
  begin_frames(&frames);
  guard = frames.innermost;
  while (guard != NULL && !takes(guard, fault, covered))
    guard = guard->outer;
  if (guard == NULL) {
    end_frames(&frames, frames.innermost);
    return false;
  }
  vmmi_guard_unwind(guard, fault);
  outer = guard->outer;
  sp = guard->sp;
  end_frames(&frames, outer);
  vmmi_arch_guard_land(context, sp);
  return true;
}

bool vmmi_guard_is_overflow(uintptr_t host)
{
  bool found = vmmi_span_holds(&vmmi_thread_self.overflow, host);
  const struct vmmi_guard *guard;
  struct frames frames;

  if (found || vmmi_thread_self.guard == NULL)
    return found;
  begin_frames(&frames);
  for (guard = frames.innermost; guard != NULL && !found; guard = guard->outer)
    found = vmmi_span_holds(&guard->overflow, host);
  end_frames(&frames, frames.innermost);
  return found;
}
