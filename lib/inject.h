/*
 * Failing on purpose, from the inside: os_*.c ask before each call of the host.
 * Layer 0.
 */
#ifndef VMMI_INJECT_H
#define VMMI_INJECT_H

#include <vmm/test.h>

#include "base.h"

/* Counts a call.  => whether it is to fail; signal-safe */
bool vmmi_inject(enum vmm_test_call call);

#endif
