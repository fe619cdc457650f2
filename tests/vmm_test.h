/*
 * What the Check suites share: assertions of the library's results, a space to
 * work in, and exact counts of faults.
 *
 * Each test runs in a process of its own and makes its own spaces there.
 */
#ifndef VMM_TESTS_VMM_TEST_H
#define VMM_TESTS_VMM_TEST_H

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/vmm.h>

/* The call succeeds; if not, the failure says why. */
#define ck_assert_ok(call)                                                     \
  do {                                                                         \
    int vmm_test_result = (call);                                              \
    ck_assert_msg(vmm_test_result == 0, "%s: %s: %s", #call,                   \
                  strerror(-vmm_test_result), vmm_error_text());               \
  } while (0)

/* The call fails with this error: ck_assert_error(vmm_unmap(...), EINVAL). */
#define ck_assert_error(call, error)                                           \
  do {                                                                         \
    int vmm_test_result = (call);                                              \
    ck_assert_msg(vmm_test_result == -(error), "%s: %d, not -%s", #call,       \
                  vmm_test_result, #error);                                    \
  } while (0)

/* The statement takes exactly so many read and write faults in the space. */
#define ck_assert_faults(space, reads, writes, statement)                      \
  do {                                                                         \
    struct vmm_stats vmm_test_before = vmm_test_stats(space), vmm_test_after;  \
    statement;                                                                 \
    vmm_test_after = vmm_test_stats(space);                                    \
    ck_assert_uint_eq(                                                         \
        vmm_test_after.faults_read - vmm_test_before.faults_read, (reads));    \
    ck_assert_uint_eq(                                                         \
        vmm_test_after.faults_write - vmm_test_before.faults_write, (writes)); \
  } while (0)

/* => whether the suites run on spaces without windows
 *    (tests/programs/checked.sh) */
static inline int vmm_test_checked(void)
{
  return getenv("VMM_TEST_CHECKED") != NULL;
}

/* => a space of so many bytes with the flags (VMM_EXACT or 0) */
static inline struct vmm_space *vmm_test_space(uint64_t size, uint32_t flags)
{
  struct vmm_space_options options = { 0 };
  struct vmm_space *space;

  options.size = size;
  options.flags = flags;
  if (vmm_test_checked()) {
    options.flags |= VMM_CHECKED;
    options.page_size = 4096;
  }
  ck_assert_ok(vmm_space_create(&space, &options));
  return space;
}

/* => the space's counters now */
static inline struct vmm_stats vmm_test_stats(struct vmm_space *space)
{
  struct vmm_stats stats = { 0 };

  stats.struct_size = sizeof(stats);
  ck_assert_ok(vmm_space_stats(space, &stats));
  return stats;
}

/* The space keeps every rule, and can be destroyed. */
static inline void vmm_test_end(struct vmm_space *space)
{
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_ok(vmm_space_destroy(space));
}

/* Reads or writes one byte through the window, whatever the compiler thinks; by
 * a call where there is none. */
static inline uint8_t vmm_test_get(struct vmm_space *space, vmm_addr_t va)
{
  uint8_t byte;

  if (vmm_space_base(space) == NULL) {
    ck_assert_ok(vmm_load(space, va, &byte, 1));
    return byte;
  }
  return *(volatile uint8_t *)(vmm_space_base(space) + va);
}

static inline void vmm_test_set(struct vmm_space *space, vmm_addr_t va,
                                uint8_t byte)
{
  if (vmm_space_base(space) == NULL) {
    ck_assert_ok(vmm_store(space, va, &byte, 1));
    return;
  }
  *(volatile uint8_t *)(vmm_space_base(space) + va) = byte;
}

#endif
