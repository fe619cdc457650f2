/*
 * Devices: making one, and calling it.
 */
#include "device.h"

#include <errno.h>
#include <string.h>

#include "os.h"
#include "thread.h"

static int check_device_options(uint64_t nbytes,
                                const struct vmm_device_options *options)
{
  static const struct vmm_device_options none;

  if (options == NULL || (options->load == NULL && options->store == NULL))
    return vmmi_error(-EINVAL, "device options: no callback", 0);
  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "device options: reserved fields not zero", 0);
  if (nbytes == 0 || nbytes > INT64_MAX ||
      !vmmi_is_aligned(nbytes, VMMI_FRAME_SIZE))
    return vmmi_error(-EINVAL, "device size: not a multiple of 4096", 0);
  return 0;
}

/* => inside vmmi_thread_enter() */
static int make_device(struct vmm_object **device, uint64_t nbytes,
                       const struct vmm_device_options *options)
{
  struct vmm_object *made = vmmi_object_new(nbytes, 0);

  if (made == NULL)
    return vmmi_error(-ENOMEM, "device: malloc", ENOMEM);
  made->device = vmmi_os_malloc(sizeof(*made->device));
  if (made->device == NULL) {
    vmmi_object_unmake(made);
    return vmmi_error(-ENOMEM, "device: malloc", ENOMEM);
  }
  *made->device = *options;
  *device = made;
  return 0;
}

int vmm_device_create(struct vmm_object **device, uint64_t nbytes,
                      const struct vmm_device_options *options)
{
  int error = vmmi_thread_check_process();

  if (error == 0 && device == NULL)
    error = vmmi_error(-EINVAL, "device: no place for the handle", 0);
  if (error == 0)
    error = check_device_options(nbytes, options);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  error = make_device(device, nbytes, options);
  vmmi_thread_leave();
  return error;
}

int vmmi_device_access(struct vmm_object *device, uint64_t offset,
                       unsigned access, void *value, uint32_t nbytes)
{
  const struct vmm_device_options *options = device->device;
  struct vmmi_away away;
  int result = -EIO;

  vmmi_thread_away(&away);
  if (access == VMM_READ && options->load != NULL)
    result = options->load(device, offset, value, nbytes, options->arg);
  else if (access == VMM_WRITE && options->store != NULL)
    result = options->store(device, offset, value, nbytes, options->arg);
  vmmi_thread_back(&away);
  return result == 0 ? 0 : -EIO;
}
