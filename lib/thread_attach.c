/*
 * Attached threads: those that have an alternate signal stack of the library's,
 * for guests that overflow the stack, or switch it.  A key's destructor
 * detaches them when they end.  Layer 5.
 */
#define _GNU_SOURCE 1
#include "window.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <vmm/signals.h>

#include "os.h"
#include "os_signal.h"
#include "thread.h"

/* What our handler and the program's may take: the larger of these. */
#define STACK_MIN ((size_t)64 << 10)
#define STACK_BEYOND_FRAME ((size_t)32 << 10)

static __thread struct {
  bool attached;
  char *stack;   /* its guard page included; NULL: the thread has its own */
  size_t nbytes; /* the guard page included */
} attachment;

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

static void detach_at_end(void *unused)
{
  (void)unused;
  vmm_thread_detach();
}

static void make_key(void)
{
  key_error = pthread_key_create(&key, detach_at_end);
}

/* Makes a stack with a guard page below it, and tells the host.  -ENOMEM */
static int give_stack(void)
{
  size_t guard = (size_t)1 << vmmi_os_page_shift();
  size_t frame = vmmi_os_signal_frame() + STACK_BEYOND_FRAME;
  size_t nbytes = (size_t)vmmi_align_up(vmmi_max(STACK_MIN, frame), guard);
  stack_t stack = { .ss_size = nbytes };
  void *at;

  if (vmmi_os_alloc(&at, guard + nbytes) != 0)
    return -ENOMEM;
  stack.ss_sp = (char *)at + guard;
  if (vmmi_os_protect(at, guard, 0) != 0 ||
      vmmi_inject(VMM_TEST_SIGALTSTACK) || sigaltstack(&stack, NULL) != 0) {
    vmmi_os_release(at, guard + nbytes);
    return -ENOMEM;
  }
  attachment.stack = at;
  attachment.nbytes = guard + nbytes;
  return 0;
}

static void take_stack(void)
{
  stack_t now;

  if (attachment.stack == NULL)
    return;
  if (sigaltstack(NULL, &now) == 0 && (char *)now.ss_sp >= attachment.stack &&
      (char *)now.ss_sp < attachment.stack + attachment.nbytes)
    sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
  vmmi_os_release(attachment.stack, attachment.nbytes);
  attachment.stack = NULL;
}

/* Learns where the thread's stacks are, for faults that run out of one. */
static void learn_stacks(void)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  stack_t now;

  if (sigaltstack(NULL, &now) == 0)
    self->alternate = (struct vmmi_span){ (uintptr_t)now.ss_sp,
                                          (uintptr_t)now.ss_sp + now.ss_size };
  self->overflow = vmmi_os_stack_overflow();
}

static void forget_stacks(void)
{
  vmmi_thread_self.alternate = (struct vmmi_span){ 0, 0 };
  vmmi_thread_self.overflow = (struct vmmi_span){ 0, 0 };
}

/* Binds and touches what the handler would else meet for the first time. */
static void touch(void)
{
  *(volatile unsigned *)&vmmi_thread_self.inside += 0;
  vmmi_thread_enter();
  vmmi_thread_leave();
  vmmi_window_overlaps(&key, 1);
}

int vmm_thread_attach(void)
{
  stack_t now;
  int saved = errno;
  int error = 0;

  if (attachment.attached)
    return 0;
  pthread_once(&key_once, make_key);
  if (key_error != 0)
    return vmmi_error(-ENOMEM, "attach: pthread_key_create", key_error);
  if (sigaltstack(NULL, &now) != 0 || (now.ss_flags & SS_DISABLE))
    error = give_stack();
  else if (vmmi_window_overlaps(now.ss_sp, now.ss_size))
    error = -EINVAL;
  errno = saved;
  if (error != 0)
    return vmmi_error(error,
                      error == -EINVAL
                          ? "attach: the alternate stack lies in a window"
                          : "attach: no memory for a stack",
                      0);
  if (pthread_setspecific(key, &attachment) != 0) {
    take_stack();
    return vmmi_error(-ENOMEM, "attach: pthread_setspecific", 0);
  }
  touch();
  learn_stacks();
  attachment.attached = true;
  return 0;
}

int vmm_thread_detach(void)
{
  int saved = errno;

  if (!attachment.attached)
    return vmmi_error(-ENOENT, "detach: the thread is not attached", 0);
  attachment.attached = false;
  pthread_setspecific(key, NULL);
  forget_stacks();
  take_stack();
  errno = saved;
  return 0;
}
