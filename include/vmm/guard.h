/*
 * Guarded calls: code that faults gives a fault record in place of a crash.
 *
 *   struct vmm_fault fault;
 *
 *   if (vmm_guard_call(run_guest, guest, 0, &fault) == 1)
 *     report(&fault);
 *
 * A fault that nothing repairs (<vmm/fault.h> tells the order) ends the
 * innermost guarded call of its thread that takes it.  A guarded call takes
 *
 *   - what an access to a window was denied, whoever made it;
 *   - what registered code (vmm_code_register) or code in a window does: any
 *     SIGSEGV and SIGBUS, and SIGILL, SIGFPE and SIGTRAP;
 *   - the overflow of the stack that vmm_guard_call_on() gave it;
 *   - with VMM_GUARD_ANY, every other fault of the thread too.
 *
 * What it doesn't take goes to the guarded call around it, and from the
 * outermost one to the handler that was installed before the library's.  A
 * signal that somebody sent (kill, raise) never ends a guarded call.
 *
 * An end by a fault is like a longjmp: the function's frames are gone, with all
 * that they would have let go.  A lock that it held stays held, and what it got
 * from malloc stays allocated: so does a lock of malloc's, if VMM_GUARD_ANY met
 * a fault in there.  The function itself must not leave by longjmp, by an
 * exception or by pthread_exit; vmm_guard_raise() is the way out.
 *
 * Guarded calls are a thread's and nest.  One that was begun outside of a
 * callback of the library's (a fault handler, a tracker's) doesn't count in it;
 * a callback may guard calls of its own.  They are no space's:
 * vmm_space_destroy() knows nothing of them and does not wait, so stop the
 * threads that use a window first.  Faults are signals, so none is taken before
 * the handlers are there, which come with the first space that has a window, or
 * are the program's: <vmm/signals.h>.
 */
#ifndef VMM_GUARD_H
#define VMM_GUARD_H

#include <vmm/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of a guarded call. */
enum {
  VMM_GUARD_ANY = 1 << 0,  /* take every fault of this thread */
  VMM_GUARD_MASK = 1 << 1, /* give back the signal mask that was found, however
                              the call ends; costs two system calls */
};

typedef void vmm_guard_function(void *arg);

/*
 * Calls fn(arg).  What a function may not change is then as it was:
 * callee-saved registers, the control words of SSE and x87, and, if a fault
 * ended it, the depth of vmm_nofault_begin().  The signal mask is then that of
 * the code that faulted, and not a handler's, unless VMM_GUARD_MASK is given.
 *
 * => 0 fn returned, and *fault is unchanged; 1 a fault ended it, which *fault
 *    tells (info and context are NULL in it; fault may be NULL)
 * => signal-safe
 * -EINVAL  fn is NULL
 */
VMM_API int vmm_guard_call(vmm_guard_function *fn, void *arg, uint32_t flags,
                           struct vmm_fault *fault);

/*
 * The same on the stack [stack, stack + nbytes), both aligned to the host's
 * page, of 16 KiB at least.  The host page below it must be inaccessible, as
 * vmm_stack_create() leaves it: an access there is an overflow, VMM_FAULT_STACK
 * with a host address in va.  (A function whose frame is larger than a page
 * must touch each page of it: -fstack-clash-protection.)
 *
 * It attaches the thread if it is not (vmm_thread_attach), since an overflow
 * needs an alternate signal stack, which then must stay the thread's.
 *
 * => as above, but not signal-safe
 * -EINVAL  also: the stack is too small, lies in a window, or this thread runs
 *          on it already; what vmm_thread_attach() gives
 * -EBUSY   this thread runs on its alternate signal stack, in a handler:
 *          another fault would overwrite what is there
 * -ENOMEM  as vmm_thread_attach()
 */
VMM_API int vmm_guard_call_on(void *stack, size_t nbytes,
                              vmm_guard_function *fn, void *arg, uint32_t flags,
                              struct vmm_fault *fault);

/* Makes a stack for vmm_guard_call_on(), a guard page below it.  -ENOMEM */
VMM_API int vmm_stack_create(void **stack, size_t nbytes);
/* Frees it; nbytes as it was made with.
 * -EINVAL  also: the thread runs on it    -ENOMEM  the host can't unmap it */
VMM_API int vmm_stack_destroy(void *stack, size_t nbytes);

/*
 * Ends this thread's innermost guarded call, which gives 1 and a copy of
 * *fault: for a function that generated code calls, or to hand on what an inner
 * guarded call gave back.  Not for a signal handler of the program.
 *
 * => doesn't return if it succeeds
 * -ENOENT  no guarded call is there, or none that counts in this callback
 */
VMM_API int vmm_guard_raise(const struct vmm_fault *fault);

#ifdef __cplusplus
}
#endif
#endif
