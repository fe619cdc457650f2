/*
 * Between the files of calls that reach guest memory: access.c has the copies,
 * access_single.c the single accesses.  Layer 5.
 */
#ifndef VMMI_ACCESS_H
#define VMMI_ACCESS_H

#include "arch.h"
#include "os.h"
#include "pin.h"

/* The bytes behind a held page are gone (a truncated file): records the fault for
 * vmm_fault_last().  => -EIO */
int vmmi_access_fail(struct vmm_space *space, vmm_addr_t va, unsigned access);

#endif
