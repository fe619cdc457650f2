/*
 * Faults: what one is, who is asked about it, and in which order.
 *
 *   1. the page table repairs it (first touch, a stale window, young, dirty)
 *   2. the region's handler, then the space's
 *   3. the exception table, or the registered code's handler, for the host pc
 *   4. the innermost guarded call of the thread that takes it: <vmm/guard.h>
 *   5. the handler that was installed before the library's, unchanged
 *   6. the default action: the instruction faults again and the core shows it
 *
 * Exactly one of these ends it.  A fault in no window begins at 3, and so do
 * the SIGILL, SIGFPE and SIGTRAP of an instruction.  With faults disabled
 * (vmm_nofault_begin) only a stale window entry is repaired, and 2 is left out.
 */
#ifndef VMM_FAULT_H
#define VMM_FAULT_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmm_fault_reason {
  VMM_FAULT_NONE,
  VMM_FAULT_NO_REGION, /* nothing is mapped there */
  VMM_FAULT_RIGHTS,    /* the region lacks the right */
  VMM_FAULT_OUTSIDE,   /* beyond the space's size, in a guard, in no window */
  VMM_FAULT_NO_MEMORY, /* the host has no memory or no mappings left */
  VMM_FAULT_LIMIT,     /* max_frames is reached */
  VMM_FAULT_OBJECT,    /* the object can't give the page: a truncated file */
  VMM_FAULT_DISABLED,  /* faults are disabled and the page is not there */
  VMM_FAULT_LIVELOCK,  /* the access faults again though all is granted */
  VMM_FAULT_STACK,     /* a stack overflows: an attached thread's, or that of
                          vmm_guard_call_on() */
  VMM_FAULT_ILLEGAL,    /* SIGILL, by the instruction at va (VMM_EXEC) ... */
  VMM_FAULT_ARITHMETIC, /* SIGFPE */
  VMM_FAULT_TRAP,       /* SIGTRAP: a breakpoint */
  VMM_FAULT_SUPERVISOR, /* VMM_SUPERVISOR memory, in a window that hides it */
  VMM_FAULT_PAGER,      /* a pager failed: error is what its callback gave, or
                           -EINTR or -EDEADLK (<vmm/pager.h>) */
  VMM_FAULT_NO_THREAD,  /* a trampoline page, and no hart of the window or of
                           the caller runs a guest thread: <vmm/trampoline.h> */
  VMM_FAULT_FORM,   /* a device or a watched page, and the access is of a form
                       that software can't perform: <vmm/device.h>,
                       <vmm/watch.h> */
  VMM_FAULT_DEVICE, /* the device's callback refuses it */
  VMM_FAULT_WATCH,  /* a watch's callback refuses it */
};

struct vmm_fault {
  uint32_t access; /* VMM_READ, VMM_WRITE or VMM_EXEC */
  uint32_t reason; /* enum vmm_fault_reason */
  vmm_addr_t va;   /* guest address; may lie in a guard, below 0 or above size;
                      if space is NULL, a host address in no window */
  uint32_t nbytes; /* of the access; 0: not known */
  int32_t error;   /* as a call would return it: -EFAULT, -ENOMEM, -EIO */
  struct vmm_space *space;
  void *cookie;  /* the region's, or NULL */
  void *host_pc; /* the instruction; NULL if the access was a call's */
  void *info;    /* siginfo_t *; NULL if the access was a call's */
  void *context; /* ucontext_t *; NULL if the access was a call's */
  uint64_t reserved[6]; /* 0: what later kinds of fault will tell */
};

/* What a handler answers. */
enum vmm_verdict {
  VMM_DECLINE, /* not mine: ask the next */
  VMM_RETRY,   /* I changed something: do the access again (and ask me again) */
  VMM_SKIP,    /* leave the instruction out (if the host knows its length, else
                  as VMM_DECLINE); a call's access reads zeros */
  VMM_RESUME,  /* go on at the host pc that I set with vmm_fault_set_pc() */
};

/*
 * A handler runs on the faulting thread, in signal context if fault->context is
 * set, with the interrupted signal mask and none of the library's locks held.
 * There it may call what is marked signal-safe, and vmm_protect(), vmm_pages(),
 * vmm_copyin(), vmm_copyout() and vmm_fixup(), which take no memory from
 * malloc.  It must not call malloc or stdio, nor leave by longjmp.
 *
 * A handler that answers VMM_RETRY and changes nothing is asked again, as often
 * as it does so: it may be waiting for another thread, and the library can't
 * tell.
 */
typedef enum vmm_verdict vmm_fault_handler(struct vmm_fault *fault, void *arg);

/* Sets the space's handler; NULL takes it away.  A handler that runs meanwhile
 * on another thread may still be the old one. */
VMM_API int vmm_space_set_handler(struct vmm_space *space,
                                  vmm_fault_handler *handler, void *arg);

/* Sets the handler of the regions in the range, splitting them at its ends.
 * -ENOMEM  a part of the range is not mapped; no memory for a split */
VMM_API int vmm_region_set_handler(struct vmm_space *space, vmm_addr_t va,
                                   uint64_t nbytes, vmm_fault_handler *handler,
                                   void *arg);

/* In a handler: where VMM_RESUME goes on.  => signal-safe
 * -ENOTSUP  the access was a call's: there is no context */
VMM_API int vmm_fault_set_pc(struct vmm_fault *fault, void *pc);

/* In a handler: host registers by their DWARF numbers (x86-64: 0 rax, 1 rdx,
 * 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp, 7 rsp, 8 to 15).  => signal-safe
 * -EINVAL   no such register    -ENOTSUP  there is no context */
VMM_API int vmm_fault_get_register(const struct vmm_fault *fault, unsigned n,
                                   uint64_t *value);
VMM_API int vmm_fault_set_register(struct vmm_fault *fault, unsigned n,
                                   uint64_t value);

/* The calling thread's last access that nobody repaired, by whatever way it
 * ended; context and info are NULL in it.  => signal-safe
 * -ENOENT  there was none */
VMM_API int vmm_fault_last(struct vmm_fault *fault);

/*
 * From here to the matching end, the calling thread's accesses to windows fail
 * with EFAULT at once where a page is not there: an access by the accessors of
 * <vmm/extable.h> takes its fault label, a copy stops.  Nests.  => signal-safe
 */
VMM_API void vmm_nofault_begin(void);
VMM_API void vmm_nofault_end(void);

/* => "no region", "rights", ... for a reason */
VMM_API const char *vmm_fault_reason_name(unsigned reason);

#ifdef __cplusplus
}
#endif
#endif
