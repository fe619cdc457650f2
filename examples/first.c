/*
 * The first program of README: an address space of 4 GiB, some memory in it,
 * and a string in the memory.  It is C and C++.
 */
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

int main(void)
{
  struct vmm_space *space;
  struct vmm_space_options options = { 0 };
  char *base;
  char copy[6];

  options.size = 1ull << 32;
  if (vmm_space_create(&space, &options) != 0) {
    fprintf(stderr, "first: %s\n", vmm_error_text());
    return 1;
  }
  vmm_map_anon(space, 0x10000, 64 << 20, VMM_READ | VMM_WRITE);
  base = vmm_space_base(space);     /* of guest address 0; never changes */
  strcpy(base + 0x10000, "hello");  /* faults once, then at native speed */

  /* Not read(fd, base + 0x10000, n): a system call on guest memory that was not
   * touched yet fails with EFAULT.  Give it a copy (vmm_copyin, vmm_copyout), a
   * pin (vmm_pin), or memory that was mapped with VMM_WIRED. */
  vmm_copyin(space, copy, 0x10000, sizeof(copy), NULL);
  puts(copy);

  return vmm_space_destroy(space) != 0;
}
