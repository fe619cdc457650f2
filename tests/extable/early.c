/*
 * An accessor that faults before main(), in a constructor of the program: its
 * table is registered by then.
 */
#include <vmm/vmm.h>

static int result = -1;

__attribute__((constructor)) static void use_early(void)
{
  struct vmm_space *space;
  uint32_t value;

  if (vmm_space_create(&space, NULL) != 0)
    return;
  vmm_try_load_u32(value, vmm_space_base(space), fault);
  result = (int)value + 1;
  return;
fault:
  result = vmm_space_destroy(space);
}

int main(void)
{
  return result;
}
