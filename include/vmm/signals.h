/*
 * How faults reach the library: SIGSEGV and SIGBUS, and for registered code and
 * guarded calls SIGILL, SIGFPE and SIGTRAP.
 */
#ifndef VMM_SIGNALS_H
#define VMM_SIGNALS_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  VMM_SIGNALS_OWNED,     /* the first space installs handlers (the default) */
  VMM_SIGNALS_FORWARDED, /* the program's handler calls vmm_handle_signal() */
  VMM_SIGNALS_NONE,      /* no signals: windows are not to be touched, guest
                            memory is reached by calls alone */
};

/*
 * Chooses the way; to be called before the first space is made.
 * -EBUSY  a space exists
 */
VMM_API int vmm_init(unsigned signals);

/*
 * Gives the calling thread an alternate signal stack of its own with a guard
 * page, unless it has one, and touches what the handler needs.  A thread that
 * was not attached may fault too, on its own stack: attaching is for threads
 * that may run out of theirs, or have it in a window.  No thread is attached by
 * itself, neither by the first space: only vmm_guard_call_on() does it.  An
 * attached thread is not attached again.  Where its stack overflows to is known
 * from then on: VMM_FAULT_STACK.
 *
 * -ENOMEM  no memory for the stack, or no thread key left
 * -EINVAL  the thread's alternate stack lies in a window
 */
VMM_API int vmm_thread_attach(void);
/* Undoes it; -ENOENT if the thread is not attached.  An attached thread that
 * ends does it by itself. */
VMM_API int vmm_thread_detach(void);

/*
 * For programs that own the handlers: call this first with the handler's three
 * arguments.  => 1 the fault is dealt with: return; 0 it is not the library's.
 * It chains to nobody, and blocks what must be blocked by itself.  The program
 * installs its handler of SIGSEGV and SIGBUS, and of the other three if it
 * likes, with SA_SIGINFO; SA_ONSTACK for attached threads.  => signal-safe
 */
VMM_API int vmm_handle_signal(int signal, void *info, void *context);

/*
 * Restores the handlers that were there before, for a program that has no space
 * any more.  (The last space leaves them: others may have been installed over
 * ours, and hand on to it.)
 *
 * -EBUSY   a space exists
 * -ENOENT  none are installed
 * -EEXIST  somebody installed a handler over ours: it was left in place, and
 *          ours passes everything on
 */
VMM_API int vmm_signals_remove(void);

/* => 1 if SIGSEGV and SIGBUS still reach the library, 0 if it was displaced or
 *    never installed, and vmm_error_text() says which */
VMM_API int vmm_signals_installed(void);

#ifdef __cplusplus
}
#endif
#endif
