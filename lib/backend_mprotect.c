/*
 * The portable backend: rights are the host's page protections.
 */
#include "backend.h"

#include "os.h"

const struct vmmi_backend vmmi_backend_mprotect = {
  .name = "mprotect",
  .map = vmmi_os_map,
  .map_zero = vmmi_os_map_zero,
  .protect = vmmi_os_protect,
  .unmap = vmmi_os_rereserve,
};
