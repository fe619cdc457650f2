/*
 * A shared object with accessors, to be loaded and unloaded.  WHICH tells two of
 * them apart.
 */
#include <vmm/vmm.h>

int plugin_load(const char *at);

int plugin_load(const char *at)
{
  uint32_t value;

  vmm_try_load_u32(value, at, fault);
  return (int)value;
fault:
  return -WHICH;
}
