/*
 * What the suites of harts share: a space and a hart to work with, and accesses
 * through a base.
 */
#ifndef VMM_TESTS_HART_H
#define VMM_TESTS_HART_H

#include "vmm_test.h"

/* => a space of 64 MiB with n exact pages at 0x200000 */
static inline struct vmm_space *hart_space(unsigned n, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  if (n != 0)
    ck_assert_ok(vmm_map_anon(space, 0x200000,
                              n * (uint64_t)vmm_space_page_size(space), rights));
  return space;
}

static inline struct vmm_hart *hart_begin(uint32_t flags, unsigned tag_bits)
{
  struct vmm_hart_options options = { .flags = flags, .tag_bits = tag_bits };
  struct vmm_hart *hart;

  ck_assert_ok(vmm_hart_create(&hart, &options));
  ck_assert_ptr_eq(vmm_hart_current(), hart);
  return hart;
}

static inline void hart_end(struct vmm_hart *hart)
{
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_ok(vmm_hart_destroy(hart));
}

/* => the base */
static inline char *hart_turn(struct vmm_hart *hart, struct vmm_space *space)
{
  char *base;

  ck_assert_ok(vmm_hart_set_space(hart, space, &base));
  return base;
}

static inline struct vmm_hart_stats hart_stats(const struct vmm_hart *hart)
{
  struct vmm_hart_stats stats = { .struct_size = sizeof(stats) };

  ck_assert_ok(vmm_hart_stats(hart, &stats));
  return stats;
}

static inline int hart_get(const char *base, vmm_addr_t va)
{
  return *(const volatile uint8_t *)(base + va);
}

static inline void hart_set(char *base, vmm_addr_t va, int byte)
{
  *(volatile uint8_t *)(base + va) = (uint8_t)byte;
}

/* => the byte, or -EFAULT where nobody repairs the fault */
static inline int hart_try_get(const char *base, vmm_addr_t va)
{
  uint8_t value;

  vmm_try_load_u8(value, base + va, fault);
  return value;
fault:
  return -EFAULT;
}

static inline int hart_try_set(char *base, vmm_addr_t va, int byte)
{
  vmm_try_store_u8(base + va, (uint8_t)byte, fault);
  return 0;
fault:
  return -EFAULT;
}

#endif
