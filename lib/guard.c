/*
 * Guarded calls as the program sees them.  A call puts its struct vmmi_guard
 * before the thread's others and takes it away again; the registers are kept by
 * vmmi_arch_guard_run(), which is also where a fault makes it go on.
 */
#include "guard.h"

#include <errno.h>

#include "arch.h"
#include "os.h"
#include "window.h"

#include <vmm/signals.h>

/* What a function may do at least, calls of the library included. */
#define GUARD_STACK_MIN ((size_t)16 << 10)

/* => 0 fn returned; 1 a fault ended it */
static int run_guarded(struct vmmi_guard *guard, vmm_guard_function *fn,
                       void *arg, struct vmm_fault *fault)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  int ended;

  guard->outer = self->guard;
  guard->sp = NULL;
  guard->nofault = self->nofault;
  guard->hart = self->hart;
  if (vmmi_unlikely(guard->hart != NULL))
    guard->view = (struct vmm_view_saved){ guard->hart->views.base,
                                           guard->hart->views.sp };
  if (vmmi_unlikely(guard->flags & VMM_GUARD_MASK))
    pthread_sigmask(SIG_SETMASK, NULL, &guard->mask);
  self->guard = guard;
  ended = vmmi_arch_guard_run(fn, arg, &guard->sp, (void *)guard->stack.end);
  self->guard = guard->outer;
  if (vmmi_unlikely(guard->flags & VMM_GUARD_MASK))
    pthread_sigmask(SIG_SETMASK, &guard->mask, NULL);
  if (vmmi_unlikely(ended) && fault != NULL)
    *fault = guard->fault;
  return ended;
}

static int check_call(vmm_guard_function *fn, uint32_t flags)
{
  if (fn == NULL)
    return vmmi_error(-EINVAL, "guard: no function", 0);
  if (flags & ~(uint32_t)(VMM_GUARD_ANY | VMM_GUARD_MASK))
    return vmmi_error(-EINVAL, "guard: unknown flags", 0);
  return 0;
}

int vmm_guard_call(vmm_guard_function *fn, void *arg, uint32_t flags,
                   struct vmm_fault *fault)
{
  struct vmmi_guard guard;
  int error = check_call(fn, flags);

  if (vmmi_unlikely(error != 0))
    return error;
  guard.flags = flags;
  guard.stack = guard.overflow = (struct vmmi_span){ 0, 0 };
  return run_guarded(&guard, fn, arg, fault);
}

/* ---- stacks ---- */

static uintptr_t host_page(void)
{
  return (uintptr_t)1 << vmmi_os_page_shift();
}

static bool is_stack(uintptr_t start, size_t nbytes)
{
  return start >= host_page() && nbytes >= GUARD_STACK_MIN &&
         nbytes <= UINTPTR_MAX - start &&
         vmmi_is_aligned(start | nbytes, host_page());
}

/* => whether the calling thread, or one of its guarded calls, runs on it */
static bool is_in_use(const struct vmmi_span *stack)
{
  const struct vmmi_guard *guard;

  if (vmmi_span_holds(stack, (uintptr_t)&guard))
    return true;
  for (guard = vmmi_thread_self.guard; guard != NULL; guard = guard->outer)
    if (guard->stack.start < stack->end && guard->stack.end > stack->start)
      return true;
  return false;
}

int vmm_guard_call_on(void *stack, size_t nbytes, vmm_guard_function *fn,
                      void *arg, uint32_t flags, struct vmm_fault *fault)
{
  uintptr_t start = (uintptr_t)stack;
  struct vmmi_guard guard;
  int error = check_call(fn, flags);

  if (error != 0)
    return error;
  if (!is_stack(start, nbytes))
    return vmmi_error(-EINVAL, "guard: the stack is too small, or not aligned",
                      0);
  guard.flags = flags;
  guard.stack = (struct vmmi_span){ start, start + nbytes };
  guard.overflow = (struct vmmi_span){ start - host_page(), start };
  if (vmmi_window_overlaps(stack, nbytes))
    return vmmi_error(-EINVAL, "guard: the stack lies in a window", 0);
  if (is_in_use(&guard.stack))
    return vmmi_error(-EINVAL, "guard: the thread runs on that stack", 0);
  error = vmm_thread_attach();
  if (error != 0)
    return error;
  if (vmmi_span_holds(&vmmi_thread_self.alternate, (uintptr_t)&guard))
    return vmmi_error(-EBUSY, "guard: the thread runs on its alternate stack",
                      0);
  return run_guarded(&guard, fn, arg, fault);
}

int vmm_stack_create(void **stack, size_t nbytes)
{
  uintptr_t page = host_page();
  void *at;
  int error;

  if (stack == NULL || nbytes > UINTPTR_MAX - 2 * page ||
      !is_stack(page, nbytes))
    return vmmi_error(-EINVAL, "stack: too small, or not aligned", 0);
  error = vmmi_os_alloc(&at, page + nbytes);
  if (error != 0)
    return vmmi_error(-ENOMEM, "stack: mmap", -error);
  error = vmmi_os_protect(at, page, 0);
  if (error != 0) {
    vmmi_os_release(at, page + nbytes);
    return vmmi_error(-ENOMEM, "stack: mprotect", -error);
  }
  *stack = (char *)at + page;
  return 0;
}

int vmm_stack_destroy(void *stack, size_t nbytes)
{
  struct vmmi_span span = { (uintptr_t)stack, (uintptr_t)stack + nbytes };
  int error;

  if (stack == NULL)
    return 0;
  if (!is_stack(span.start, nbytes))
    return vmmi_error(-EINVAL, "stack: not one of vmm_stack_create()", 0);
  if (is_in_use(&span))
    return vmmi_error(-EINVAL, "stack: the thread runs on it", 0);
  error = vmmi_os_try_release((char *)stack - host_page(),
                              host_page() + nbytes);
  return error != 0 ? vmmi_error(-ENOMEM, "stack: munmap", -error) : 0;
}

/* ---- without a signal ---- */

int vmm_guard_raise(const struct vmm_fault *fault)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  struct vmmi_guard *guard = self->guard;

  if (fault == NULL)
    return vmmi_error(-EINVAL, "guard: no fault to raise", 0);
  while (guard != NULL && guard->sp == NULL)
    guard = guard->outer;
  if (guard == NULL || self->inside > 0)
    return vmmi_error(-ENOENT, "guard: no guarded call to end", 0);
  vmmi_guard_unwind(guard, fault);
  vmmi_arch_guard_leave(guard->sp);
}
