/*
 * The trampoline page of a space, as regions and faults see it.  Layer 4.
 */
#ifndef VMMI_TRAMPOLINE_H
#define VMMI_TRAMPOLINE_H

#include "resolve.h"

/* => whether a part of the range is the space's trampoline page.  => space
 *    locked */
bool vmmi_trampoline_is_in(struct vmm_space *space, vmm_addr_t va,
                           vmm_addr_t end);

/*
 * Finds the page of the guest thread for whom the request is: request->frame;
 * it is taken if the thread has none.
 * => 0; -EFAULT, -ENOMEM with a reason
 * => inside; signal-safe
 */
int vmmi_trampoline_find(struct vmmi_request *request);

#endif
