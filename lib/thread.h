/*
 * What the library knows of the calling thread.  It is static thread-local
 * memory (initial-exec), so that signal context may use it.  Layer 1.
 */
#ifndef VMMI_THREAD_H
#define VMMI_THREAD_H

#include <signal.h>

#include <vmm/fault.h>
#include <vmm/stats.h>

#include "base.h"

struct vmm_hart;
struct vmmi_guard;
struct vmmi_wait;
struct vmmi_pager_call;

/* A thread as others wait for it, and wake it: pager_wait.c. */
struct vmm_waiter {
  _Atomic bool cancelled;        /* its next wait ends at once */
  struct vmmi_wait *waits;       /* (graph) the innermost first */
  struct vmmi_pager_call *calls; /* the thread's own: callbacks that it is in */
};
struct vmmi_displacer;

struct vmmi_thread {
  unsigned nofault;       /* depth of vmm_nofault_begin() */
  unsigned inside;        /* depth of vmmi_thread_enter() */
  unsigned away;          /* depth of vmmi_thread_away(): of callbacks */
  unsigned sections;      /* of software TLBs that it is in: <vmm/tlb.h> */
  sigset_t mask;          /* what the outermost enter found */
  struct vmm_hart *hart;      /* bound to this thread, or NULL */
  struct vmmi_guard *guard;   /* the innermost guarded call that counts here */
  struct vmmi_span overflow;  /* attached: below the thread's own stack, */
  struct vmmi_span alternate; /* ... and its alternate signal stack */
  unsigned signals;       /* depth of our signal handler */
  struct vmm_waiter waiter;
  bool has_last;          /* last is valid */
  struct vmm_fault last;  /* the last fault that nobody repaired */
  struct vmm_stats stats; /* of this thread */
  uintptr_t again_pc;     /* livelock: the last repair that changed nothing, */
  vmm_addr_t again_va;
  uint64_t again_changes; /* the window's count of changes then, */
  unsigned again;         /* and how often in a row */
  struct vmmi_displacer *displacer; /* of the guest thread that its hart runs */
  const char *error;      /* vmm_error_text(): a literal, ... */
  int error_host;         /* ... and the host's errno, or 0 */
  char text[160];         /* room to format it */
};

extern __thread struct vmmi_thread vmmi_thread_self
    __attribute__((tls_model("initial-exec")));

/*
 * Around every part of the library that takes locks: asynchronous signals wait
 * meanwhile, so that a handler of the program, which may touch a window, can't
 * meet our locks.  The outermost one passes the gate (gate.h).  Nests.  In our
 * own signal handler they are blocked already; it passes the gate and raises
 * the depth by itself.
 */
void vmmi_thread_enter(void);
void vmmi_thread_leave(void);

/* As leave, where it may be a handler of the program's that calls: no chore. */
void vmmi_thread_leave_quietly(void);

/* To be done where no lock is held and no signal is handled: by the thread that
 * next leaves.  NULL: nothing. */
extern _Atomic(void (*)(void)) vmmi_thread_chore;

/*
 * Around code of the program that the library calls: from away to back it runs
 * as if the library were left, with the signal mask that the outermost enter
 * found, but no guarded call of before counts: it would end with ours half
 * done.
 * => no lock held; signal-safe; outside of enter it only counts
 */
struct vmmi_away {
  unsigned inside;
  struct vmmi_guard *guard;
  sigset_t mask, ours;
};
void vmmi_thread_away(struct vmmi_away *away);
void vmmi_thread_back(const struct vmmi_away *away);

/* Sets *set to all signals but the synchronous ones: SEGV BUS ILL FPE TRAP. */
void vmmi_thread_async_signals(sigset_t *set);

/* => -ESTALE, said why, in a child of plain fork(); else 0 */
int vmmi_thread_check_process(void);

/* Says why a call fails, for vmm_error_text(); host is an errno value or 0.
 * => error, so that it can end a function */
int vmmi_error(int error, const char *why, int host);

#endif
