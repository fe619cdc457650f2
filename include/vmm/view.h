/*
 * Two views of a space: a hart made with VMM_HART_VIEWS has a user window, for
 * guest code, that never shows VMM_SUPERVISOR memory, and a supervisor window,
 * for what serves that code.  Entering and leaving exchange a base and a stack
 * pointer: no system call, and nothing is copied.
 *
 *           entry area                  what guest addressing may reach
 * +------+------+---------+-------+---------------+-----------+---------------+
 * | none | trap | redzone | stack | displacement  | the space | displacement  |
 * +------+------+---------+-------+---------------+-----------+---------------+
 *                                                 ^ base of the user view
 *
 * Guest code that addresses base + a, with -displacement <= a < size +
 * displacement, meets user memory or a fault.  The entry area is for host code
 * alone; it lies at the same distance before each user base of a hart.  A page
 * there is one of the host's:
 *
 *   trap   this hart's page: readable and writable in each of its user views,
 *          another one for each hart
 *   stack  the top page of the supervisor stack (vmm_hart_set_stack), by
 *          another address: what is pushed there stands at once on the stack
 *          itself, in the supervisor's view.  Below is the redzone, which
 *          faults (VMM_FAULT_STACK).
 *
 * After NetBSD's separate virtual space (SVS), sys/arch/x86/x86/svs.c.
 */
#ifndef VMM_VIEW_H
#define VMM_VIEW_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_hart;

/*
 * Where a hart is: of the thread that the hart is bound to, and of the code
 * that interrupts it.  base and sp are the active view's; the rest is the
 * library's to change, in the calls below and in vmm_hart_set_space().  All
 * NULL while the hart runs no space.
 */
struct vmm_views {
  char *volatile base;     /* user or supervisor: the view that is active */
  char *volatile sp;       /* stack pointer, which grows down; yours to move */
  char *user, *supervisor; /* the bases for the space that the hart runs */
  char *stack;     /* end of the stack page in the entry area, or NULL */
  ptrdiff_t shift; /* from there to the supervisor's stack; 0: none */
  char *trap;      /* the trap page in the entry area */
  size_t page;     /* bytes of the trap page, and of the stack page */
};

/* => the hart's, at the same address as long as it lives; NULL: it has no
 *    views, or is another thread's.  => signal-safe */
VMM_API struct vmm_views *vmm_hart_views(struct vmm_hart *hart);

/* => the bytes of the hart's trap page, for the supervisor, whatever the hart
 *    runs, by any thread; NULL: it has none.  => signal-safe */
VMM_API void *vmm_hart_trap_page(const struct vmm_hart *hart);

/*
 * The supervisor stack is [top - nbytes, top) of the space that the hart runs,
 * in VMM_SUPERVISOR memory that can be read and written; a multiple of the
 * guest page.  Its top page of the host is shown in the entry area, and what
 * was shown there before no longer is; sp becomes top, in the supervisor's
 * view.  It is the stack of the guest thread that the hart runs:
 * vmm_hart_set_thread() changes stacks by itself.  nbytes 0: no stack, and sp
 * is NULL.
 *
 * The top guest page is pinned for writing (vmm_pin) until another stack is
 * set, the hart turns to no space, its tags roll over, or it ends: the space is
 * in use as long.  While the hart runs another space it has no stack there.
 *
 * -EINVAL  also: the hart has no views, runs no space or one without windows;
 *          the range leaves the space
 * -EPERM   the hart is another thread's
 * -EBUSY   the user's view is active
 * -EACCES  a part is not VMM_SUPERVISOR, or can't be read and written
 * -ENOMEM  a part is not mapped; no memory; entry areas have a quarter of the
 *          budget of host mappings
 * -EFAULT -EIO  the top page can't be had; and a pager's errors
 */
VMM_API int vmm_hart_set_stack(struct vmm_hart *hart, vmm_addr_t top,
                               uint64_t nbytes);

/*
 * Shows in the user view what the page table grants of the range already, so
 * that the guest does not fault for it.  It is never needed.
 *
 * -EINVAL  also: the hart has no views, or runs no space
 * -EPERM   the hart is another thread's
 * -EACCES  a part is VMM_SUPERVISOR memory
 * -EALREADY  the view shows all of that
 * -ENOMEM  a part is not mapped; no memory, or the host has no mappings left
 */
VMM_API int vmm_hart_sync(struct vmm_hart *hart, vmm_addr_t va,
                          uint64_t nbytes);

/* ---- entering and leaving: two stores each, in this order ---- */

/* From the user's view to the supervisor's: the view, then the stack.  sp lies
 * in the stack's page of the entry area, or there is no stack. */
static inline void vmm_view_enter(struct vmm_views *views)
{
  views->base = views->supervisor;
  views->sp = views->sp + views->shift;
}

/* And back: the stack, then the view.  sp lies in the top page of the stack. */
static inline void vmm_view_leave(struct vmm_views *views)
{
  views->sp = views->sp - views->shift;
  views->base = views->user;
}

/*
 * Code that interrupts, a signal handler for example, at any moment, between
 * those stores too: begin saves what is active and enters the supervisor's
 * view; end makes it exactly what it was.  They nest.  (The library does the
 * same round a handler of a fault; a handler that answers VMM_RESUME leaves the
 * view as it wants it, and a fault that ends a guarded call puts back the view
 * of the call.)
 */
struct vmm_view_saved {
  char *base, *sp;
};

static inline void vmm_view_interrupt(struct vmm_views *views,
                                      struct vmm_view_saved *saved)
{
  char *sp = views->sp;
  size_t below = (size_t)(views->stack - sp); /* wraps above it */

  saved->base = views->base;
  saved->sp = sp;
  views->base = views->supervisor;
  if (views->stack != NULL && below <= views->page)
    views->sp = sp + views->shift;
}

static inline void vmm_view_resume(struct vmm_views *views,
                                   const struct vmm_view_saved *saved)
{
  views->sp = saved->sp;
  views->base = saved->base;
}

#ifdef __cplusplus
}
#endif
#endif
