/* A program that includes the header and has no accessor, so no table. */
#include <vmm/vmm.h>

int main(void)
{
  return vmm_version() == 0;
}
