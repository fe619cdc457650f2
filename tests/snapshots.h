/*
 * What the suites of snapshots share: a space whose bytes are known, and
 * whether it is what it was.
 */
#ifndef VMM_TESTS_SNAPSHOTS_H
#define VMM_TESTS_SNAPSHOTS_H

#include "vmm_test.h"

#define PAGE 4096u
#define AT 0x40000000u
#define PAGES 64u
#define FREE 0x50000000u
#define RW (VMM_READ | VMM_WRITE)

/* The first half of the pages was written. */
static inline struct vmm_space *space_with_pages(uint32_t flags)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, flags);

  ck_assert_ok(vmm_map_anon(space, AT, PAGES * PAGE, RW));
  for (unsigned i = 0; i < PAGES / 2; i++)
    ck_assert_ok(vmm_fill(space, AT + i * PAGE, (int)i + 1, PAGE, NULL));
  return space;
}

static inline uint8_t get(struct vmm_space *space, vmm_addr_t va)
{
  uint8_t byte = 0;

  ck_assert_ok(vmm_copyin(space, &byte, va, 1, NULL));
  return byte;
}

static inline void set(struct vmm_space *space, vmm_addr_t va, uint8_t byte)
{
  ck_assert_ok(vmm_copyout(space, va, &byte, 1, NULL));
}

static inline struct vmm_snapshot *take(struct vmm_space *space)
{
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(vmm_check(space, 0, 0));
  return snapshot;
}

static inline void restore(struct vmm_space *space, struct vmm_snapshot *snapshot)
{
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  ck_assert_ok(vmm_check(space, 0, 0));
}

/* All is as space_with_pages() left it. */
static inline void assert_as_made(struct vmm_space *space)
{
  for (unsigned i = 0; i < PAGES; i++) {
    uint8_t byte = i < PAGES / 2 ? (uint8_t)(i + 1) : 0;

    ck_assert_uint_eq(get(space, AT + i * PAGE), byte);
    ck_assert_uint_eq(get(space, AT + i * PAGE + PAGE - 1), byte);
  }
}

static inline void drop_and_end(struct vmm_space *space, struct vmm_snapshot *snapshot)
{
  vmm_snapshot_drop(snapshot);
  vmm_test_end(space);
}

#endif
