/*
 * Guest threads: what a hart runs.  A hart runs one at a time, at first one of
 * its own; an emulator that schedules many over few harts gives each to the
 * hart that is to run it.  (The host's own threads are the matter of
 * vmm_thread_attach().)
 *
 * A guest thread owns what must go where it goes: a trampoline page with the
 * emulations that are under way in it (<vmm/trampoline.h>), a page for
 * displaced instructions of the host (<vmm/displace.h>), and a supervisor
 * stack.  It belongs to no space: its hart may turn from space to space, as one
 * thread of a system enters another address space.
 */
#ifndef VMM_GUEST_THREAD_H
#define VMM_GUEST_THREAD_H

#include <vmm/hart.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_guest_thread;

struct vmm_guest_thread_options {
  vmm_addr_t stack; /* its supervisor stack, as for vmm_hart_set_stack(),
                       upwards */
  uint64_t stack_nbytes; /* ... 0: none */
  uint64_t reserved[6];
};

/*
 * Makes a guest thread that no hart runs.  It costs some KiB; its pages are
 * taken when they are first used.  options may be NULL.
 * -EINVAL  the stack wraps, or is not aligned    -ENOMEM  no memory
 */
VMM_API int
vmm_guest_thread_create(struct vmm_guest_thread **thread,
                        const struct vmm_guest_thread_options *options);

/*
 * Ends a guest thread and what it owns: the frames of emulations that are still
 * under way are freed with it.  NULL is allowed.
 * -EBUSY   a hart runs it (a hart's own one always is that hart's), or its
 *          trampoline page is pinned
 */
VMM_API int vmm_guest_thread_destroy(struct vmm_guest_thread *thread);

/*
 * Turns the hart to a guest thread, which another hart may have run before; or,
 * if it is NULL, to none: what the thread before did is done, it may be run by
 * another hart, and no guest code runs on this one until the next call.
 *
 * The hart's windows keep the trampoline page of the thread that ran last, so
 * that it finds all as it was when it comes back.  They lose that page, and
 * nothing else, when another thread comes (the counters narrowed and host_calls
 * of <vmm/stats.h> tell).  A hart that ends leaves the thread to the next.
 *
 * A hart that was given another thread gets its own one back with
 * vmm_hart_set_thread(hart, own), where own is what vmm_hart_thread() gave at
 * first.
 *
 * Where the hart has views (<vmm/view.h>) and runs a space by them, the guest
 * thread's supervisor stack takes the place of the last one's, with sp where it
 * was left.
 *
 * -EPERM   the hart is another host thread's
 * -EBUSY   another hart runs the guest thread, or it is the own one of another;
 *          the user's view is active
 * Others of vmm_hart_set_stack() for its stack, in the space that the hart runs
 */
VMM_API int vmm_hart_set_thread(struct vmm_hart *hart,
                                struct vmm_guest_thread *thread);

/* => what the hart runs; NULL: nothing, or the hart is another host thread's.
 * => signal-safe */
VMM_API struct vmm_guest_thread *vmm_hart_thread(const struct vmm_hart *hart);

#ifdef __cplusplus
}
#endif
#endif
