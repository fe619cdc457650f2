/*
 * Compare-and-swap of 16 bytes for x86-64, which the first of these processors
 * lack, and which the compiler only gives with an option of its own.
 */
#include "arch.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include <vmm/extable.h>

static bool has_cmpxchg16b(void)
{
  static _Atomic int known; /* 0: not asked yet; 1: no; 2: yes */
  int answer = atomic_load_explicit(&known, memory_order_relaxed);
  unsigned a, b, c = 0, d;

  if (answer == 0) {
    answer = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_CMPXCHG16B) ? 2 : 1;
    /* every thread finds the same answer */
    atomic_store_explicit(&known, answer, memory_order_relaxed);
  }
  return answer == 2;
}

int vmmi_arch_cas16(void *at, void *expected, const void *desired)
{
  uint64_t old[2], fresh[2];
  bool swapped;

  if (!has_cmpxchg16b())
    return -ENOTSUP;
  memcpy(old, expected, sizeof(old));
  memcpy(fresh, desired, sizeof(fresh));
  __asm__ volatile goto("1: lock cmpxchg16b %[at]\n\t"
                        VMMI_EX_ENTRY("%l[fault]")
                        : [at] "+m"(*(volatile unsigned __int128 *)at),
                          "+a"(old[0]), "+d"(old[1]), "=@ccz"(swapped)
                        : "b"(fresh[0]), "c"(fresh[1])
                        : "memory"
                        : fault);
  if (swapped)
    return 0;
  memcpy(expected, old, sizeof(old));
  return 1;
fault:
  __asm__ volatile("");
  return -EFAULT;
}
