/*
 * Devices: objects without bytes.  A load or store of a range that shows a
 * device is given to its callbacks, whoever makes it:
 *
 *   - a call of <vmm/access.h>; a copy or fill is done in aligned pieces of 8,
 *     4, 2 and 1 bytes; a compare-and-swap is a load and a store, and not
 *     atomic;
 *   - a guest of <vmm/emu.h>;
 *   - host code through the window: an instruction that moves 1 to 16 bytes
 *     between memory and a register or from an immediate, once a decoder is
 *     there (<vmm/mmio.h>).  All others, and all where there is no decoder, are
 *     a fault with reason VMM_FAULT_FORM;
 *   - an accessor of <vmm/extable.h>, decoder or not, goes to its label, with
 *     VMM_FAULT_FORM in vmm_fault_last(): there the access is done by
 *     vmm_host_load(), vmm_host_store() or vmm_host_cas(), or by a call.
 *
 * With faults disabled an access of a device fails (VMM_FAULT_DISABLED).  A
 * device has no frames: its pages are in no window, can't be wired or pinned,
 * and their entries stay 0; trackers see nothing of it, snapshots keep nothing,
 * a system call on it fails with EFAULT.
 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A device's callback.  value has nbytes (1 to 16) in host byte order, which a
 * load fills and a store takes; offset is the first one's, aligned or not.  An
 * access that goes over the end of what is mapped of the device is two.  => 0;
 * anything else makes the access a fault with reason VMM_FAULT_DEVICE and error
 * -EIO.
 *
 * It runs on the accessing thread with none of the library's locks held and the
 * mask that the access found; in signal context if the access was host code's,
 * with the rules of a fault handler (<vmm/fault.h>).  It may touch windows,
 * other devices too, and may unmap the device, which lives on until it returns.
 * It is called by several threads at once.  Guarded calls of before do not
 * count in it.
 */
typedef int vmm_device_load(struct vmm_object *device, uint64_t offset,
                            void *value, uint32_t nbytes, void *arg);
typedef int vmm_device_store(struct vmm_object *device, uint64_t offset,
                             const void *value, uint32_t nbytes, void *arg);

struct vmm_device_options {
  vmm_device_load *load;   /* NULL: every load is a fault */
  vmm_device_store *store; /* NULL: every store is */
  void *arg;
  uint64_t reserved[5];
};

/*
 * Makes a device of nbytes, a multiple of 4096.  It is mapped as any object
 * (vmm_map), at several places and in several spaces if wanted; VMM_WRITE
 * may go without VMM_READ.  VMM_EXEC, VMM_PRIVATE and VMM_WIRED are
 * -ENOTSUP.
 *
 * -EINVAL  also: no callback, another size
 * -ENOMEM  no memory
 */
VMM_API int vmm_device_create(struct vmm_object **device, uint64_t nbytes,
                              const struct vmm_device_options *options);

#ifdef __cplusplus
}
#endif
#endif
