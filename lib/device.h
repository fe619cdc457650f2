/*
 * Devices, inside: an object whose device field has the callbacks.  Layer 2.
 */
#ifndef VMMI_DEVICE_H
#define VMMI_DEVICE_H

#include "object.h"

/*
 * Gives a load or store to the device, which the caller holds.
 * => 0; -EIO it refuses
 * => no lock held; signal-safe as far as the callback is
 */
int vmmi_device_access(struct vmm_object *device, uint64_t offset,
                       unsigned access, void *value, uint32_t nbytes);

#endif
