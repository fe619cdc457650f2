/*
 * Watchpoints: being told of each access to a range of bytes.  The access
 * happens, unless the callback refuses it, and what else lies in the page costs
 * only time: accesses to a watched page are performed by software.
 *
 * Reported is what is made at the watched addresses of the space by
 *
 *   - calls of <vmm/access.h>: a copy, fill or string once for each watch that
 *     it meets, however long it is;
 *   - a guest of <vmm/emu.h>, whose fetches count too;
 *   - host code through the window, by the instructions that <vmm/device.h>
 *     names, once a decoder is there.  All others in a watched page are a fault
 *     with reason VMM_FAULT_FORM, even if they miss the watched bytes.  An
 *     accessor of <vmm/extable.h> goes to its label, as on a device.
 *
 * Not reported are accesses by another mapping of the same bytes, by another
 * space, by the vectors of a pin and by system calls, by windows of a
 * trampoline page; and what the library itself does: snapshots, forks,
 * vmm_debug_write().  A system call on a watched page fails with EFAULT, wired
 * or not, and so does a call whose host buffer lies in one.
 *
 * Watches stay at their addresses whatever is mapped there, may overlap and may
 * go over unmapped pages.  A fork has none of them.
 */
#ifndef VMM_WATCH_H
#define VMM_WATCH_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_watch;

enum vmm_watch_when {
  VMM_WATCH_BEFORE, /* before the access, which the callback may refuse */
  VMM_WATCH_AFTER,  /* when it has been done */
};

/* One access that meets a watch. */
struct vmm_watch_event {
  struct vmm_space *space;
  vmm_addr_t va;     /* of the access, which may be larger than the watch */
  uint64_t nbytes;
  uint32_t access;   /* VMM_READ, VMM_WRITE or VMM_EXEC; a compare-and-swap is
                        VMM_READ | VMM_WRITE */
  uint32_t when;     /* enum vmm_watch_when */
  const void *value; /* the bytes: to be written or written, or, afterwards,
                        read; NULL: not known (a copy, a fetch; a read
                        beforehand) */
  void *host_pc;     /* the instruction, if host code's; or NULL */
  uint64_t reserved[4];
};

/*
 * Called on the accessing thread, once for each access and watch, as a device's
 * callback is (<vmm/device.h>): with no lock held, in signal context for host
 * code.  It may add and remove watches, its own too; watch is the one that was
 * met.  What it accesses is told like all else: to look without being told,
 * vmm_debug_ptr().
 * => 0; before the access anything else refuses it: it is a fault with reason
 *    VMM_FAULT_WATCH, error -EFAULT
 */
typedef int vmm_watch_function(struct vmm_watch *watch,
                               const struct vmm_watch_event *event, void *arg);

/*
 * Watches accesses (VMM_READ, VMM_WRITE, VMM_EXEC, or several) to the bytes
 * [va, va + nbytes).  VMM_EXEC is told before the instruction runs, whatever
 * when says.  Native code in a window can't run from a page that is watched for
 * VMM_EXEC or VMM_READ (VMM_FAULT_FORM).
 *
 * Each access that begins after it is reported.  The space can't be destroyed
 * before its watches are removed.
 *
 * -EINVAL  also: the range leaves the space (it need not be aligned), no
 *          access, no function
 * -ENOMEM  no memory
 */
VMM_API int vmm_watch_add(struct vmm_watch **watch, struct vmm_space *space,
                          vmm_addr_t va, uint64_t nbytes, uint32_t access,
                          enum vmm_watch_when when,
                          vmm_watch_function *function, void *arg);

/* Ends it.  A callback that another thread has just begun may still be running
 * after it.  NULL is allowed.  => in a callback in signal context too */
VMM_API void vmm_watch_remove(struct vmm_watch *watch);

/*
 * For interpreters: the instruction at [va, va + nbytes), of which vmm_fetch()
 * said that a watch lies there, is about to run.  Tells the watches of
 * VMM_EXEC.
 * => 0, it may run
 * -EFAULT  one refuses it: vmm_fault_last() has VMM_FAULT_WATCH
 */
VMM_API int vmm_watch_execute(struct vmm_space *space, vmm_addr_t va,
                              uint64_t nbytes);

#ifdef __cplusplus
}
#endif
#endif
