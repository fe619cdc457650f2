/*
 * Copies that may fault, for x86-64: one string instruction each, which the
 * exception table names.
 */
#include "arch.h"

#include <errno.h>

#include <vmm/extable.h>

int vmmi_arch_copy(void *to, const void *from, size_t nbytes)
{
  __asm__ volatile goto("1: rep movsb\n\t" VMMI_EX_ENTRY("%l[fault]")
                        : "+D"(to), "+S"(from), "+c"(nbytes)
                        :
                        : "memory"
                        : fault);
  return 0;
fault:
  __asm__ volatile("");
  return -EFAULT;
}

int vmmi_arch_fill(void *to, int byte, size_t nbytes)
{
  __asm__ volatile goto("1: rep stosb\n\t" VMMI_EX_ENTRY("%l[fault]")
                        : "+D"(to), "+c"(nbytes)
                        : "a"(byte)
                        : "memory"
                        : fault);
  return 0;
fault:
  __asm__ volatile("");
  return -EFAULT;
}
