/*
 * Single accesses that may fault, for x86-64: one instruction each, which the
 * exception table names.
 */
#include "arch.h"

#include <errno.h>

#include <vmm/extable.h>

int vmmi_arch_load(const void *from, void *value, size_t nbytes)
{
  switch (nbytes) {
  case 1:
    vmm_try_load_u8(*(vmmi_mem_u8 *)value, from, fault);
    return 0;
  case 2:
    vmm_try_load_u16(*(vmmi_mem_u16 *)value, from, fault);
    return 0;
  case 4:
    vmm_try_load_u32(*(vmmi_mem_u32 *)value, from, fault);
    return 0;
  case 8:
    vmm_try_load_u64(*(vmmi_mem_u64 *)value, from, fault);
    return 0;
  }
  return -EINVAL;
fault:
  return -EFAULT;
}

int vmmi_arch_store(void *to, const void *value, size_t nbytes)
{
  switch (nbytes) {
  case 1:
    vmm_try_store_u8(to, *(const vmmi_mem_u8 *)value, fault);
    return 0;
  case 2:
    vmm_try_store_u16(to, *(const vmmi_mem_u16 *)value, fault);
    return 0;
  case 4:
    vmm_try_store_u32(to, *(const vmmi_mem_u32 *)value, fault);
    return 0;
  case 8:
    vmm_try_store_u64(to, *(const vmmi_mem_u64 *)value, fault);
    return 0;
  }
  return -EINVAL;
fault:
  return -EFAULT;
}

/* The accessor, and whether it swapped. */
#define cas_bits(bits, insn)                                                   \
  do {                                                                         \
    vmmi_mem_u##bits *wanted = expected;                                       \
    uint##bits##_t found = *wanted;                                            \
    vmmi_try_cas(bits, insn, at, found, *(const vmmi_mem_u##bits *)desired,    \
                 fault);                                                       \
    swapped = found == *wanted;                                                \
    *wanted = found;                                                           \
  } while (0)

int vmmi_arch_cas(void *at, void *expected, const void *desired, size_t nbytes)
{
  int swapped;

  switch (nbytes) {
  case 1:
    cas_bits(8, "cmpxchgb %b2, %0");
    break;
  case 2:
    cas_bits(16, "cmpxchgw %w2, %0");
    break;
  case 4:
    cas_bits(32, "cmpxchgl %k2, %0");
    break;
  case 8:
    cas_bits(64, "cmpxchgq %q2, %0");
    break;
  default:
    return -EINVAL;
  }
  return swapped ? 0 : 1;
fault:
  return -EFAULT;
}
#undef cas_bits

int vmmi_arch_probe(void *byte, int write)
{
  unsigned char value;

  if (!write)
    return vmmi_arch_load(byte, &value, sizeof(value));
  __asm__ volatile goto("1: lock orb $0, %0\n\t" VMMI_EX_ENTRY("%l[fault]")
                        : "+m"(*(volatile vmmi_mem_u8 *)byte)
                        :
                        : "memory", "cc"
                        : fault);
  return 0;
fault:
  __asm__ volatile("");
  return -EFAULT;
}
