/*
 * Between the files of calls that reach guest memory: access.c has the copies,
 * access_single.c the single accesses.  Layer 5.
 */
#ifndef VMMI_ACCESS_H
#define VMMI_ACCESS_H

#include "arch.h"
#include "os.h"
#include "pin.h"

/* The bytes behind a held page are gone (a truncated file): records the fault
 * for vmm_fault_last().  => -EIO */
int vmmi_access_fail(struct vmm_space *space, vmm_addr_t va, unsigned access);

/* The page is a device's, and what is asked for needs a frame: the same, with
 * VMM_FAULT_FORM.  => -EFAULT */
int vmmi_access_no_frame(struct vmm_space *space, vmm_addr_t va,
                         unsigned access);

/*
 * One access to memory, of any size up to 16: atomic if it is aligned to a size
 * that is a power of two.  Tells no watch.  flags: VMMI_RESOLVE_USER.
 * => 0; 1 skip; VMMI_RESOLVE_DEVICE, and nothing done; -EFAULT -ENOMEM -EIO
 */
int vmmi_access_memory(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                       unsigned access, unsigned flags, void *value);

/* vmm_copyin() and vmm_copyout() that tell no watch.  flags: as above. */
int vmmi_access_copyin(struct vmm_space *space, void *to, vmm_addr_t from,
                       size_t nbytes, unsigned flags);
int vmmi_access_copyout(struct vmm_space *space, vmm_addr_t to,
                        const void *from, size_t nbytes, unsigned flags);

#endif
