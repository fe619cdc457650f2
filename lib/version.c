/*
 * Which version of the library runs, which need not be the one that the program
 * was compiled with.
 */
#include <vmm/types.h>

unsigned vmm_version(void)
{
  return VMM_VERSION_MAJOR << 16 | VMM_VERSION_MINOR << 8 | VMM_VERSION_PATCH;
}
