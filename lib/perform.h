/*
 * Accesses that software performs: one load or store, wherever it leads:
 * memory, by the alias; a device, by its callbacks; a watch is told before and
 * after.  Calls, guests and decoded host code all end here.  Layer 5.
 */
#ifndef VMMI_PERFORM_H
#define VMMI_PERFORM_H

#include "resolve.h"

/* The request says where; access is VMM_READ or VMM_WRITE, nbytes 1 to 16. */
struct vmmi_performance {
  struct vmmi_request request;
  void *host_pc; /* the instruction, or NULL */
  bool quiet;    /* the watches know of it already */
};

/*
 * value has the bytes of a store, and gets those of a load.
 * => 0; 1 skip (a handler said so); -EFAULT -ENOMEM -EIO: with a reason in the
 *    request it is for the caller to tell, else it was told (vmmi_resolve_call)
 * => no lock held; signal-safe as far as callbacks are
 */
int vmmi_perform(struct vmmi_performance *performance, void *value);

/* The same for a call: asks the handlers, tells vmm_fault_last(). */
int vmmi_perform_call(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                      unsigned access, void *value);
/* ... which tells no watch. */
int vmmi_perform_quiet(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                       unsigned access, void *value);

/* An access refused without a resolution: asks, and records it.
 * => 0 it is to be done again (VMM_RETRY); 1 skip; error */
int vmmi_perform_refuse(struct vmmi_request *request, int error);

/* Tells the watches of an access of any size by a call.
 * => 0; 1 skip; -EFAULT it is refused, and that is recorded */
int vmmi_perform_tell(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                      unsigned access, unsigned when, const void *value);

/* Reads the bytes at insn, as many of VMMI_ARCH_INSN_MAX as are there.
 * => how many; signal-safe */
size_t vmmi_perform_read_insn(uintptr_t insn, unsigned char *code);

/*
 * Performs the instruction at insn, which the window denied the request's
 * access, in the context.
 * => 0 it is done; -EFAULT ... with a reason in the request
 * => signal context
 */
int vmmi_perform_insn(struct vmmi_request *request, uintptr_t insn,
                      void *context);

#endif
