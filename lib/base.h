/*
 * What every file of the library uses: attributes, assertions, arithmetic on
 * powers of two.  Layer 0: it includes nothing of the library.
 */
#ifndef VMMI_BASE_H
#define VMMI_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMMI_UNUSED __attribute__((unused))
#define VMMI_COLD __attribute__((cold))
#define vmmi_likely(x) __builtin_expect(!!(x), 1)
#define vmmi_unlikely(x) __builtin_expect(!!(x), 0)

/* 0: none; 1: cheap ones (the default); 2: whole structures too */
#ifndef VMMI_ASSERT_LEVEL
#define VMMI_ASSERT_LEVEL 1
#endif

/* Ends the process with the message ("function: what"); signal-safe. */
_Noreturn VMMI_COLD void vmmi_base_panic(const char *message);

#if VMMI_ASSERT_LEVEL >= 1
#define vmmi_assert(condition, message)                                        \
  ((condition) ? (void)0 : vmmi_base_panic(message))
#else
#define vmmi_assert(condition, message) ((void)sizeof(condition))
#endif

#if VMMI_ASSERT_LEVEL >= 2
#define vmmi_assert_full(condition, message) vmmi_assert(condition, message)
#else
#define vmmi_assert_full(condition, message) ((void)sizeof(condition))
#endif

static inline uint64_t vmmi_align_up(uint64_t n, uint64_t align)
{
  return (n + align - 1) & ~(align - 1);
}

static inline uint64_t vmmi_align_down(uint64_t n, uint64_t align)
{
  return n & ~(align - 1);
}

static inline bool vmmi_is_aligned(uint64_t n, uint64_t align)
{
  return (n & (align - 1)) == 0;
}

static inline bool vmmi_is_power_of_2(uint64_t n)
{
  return n != 0 && (n & (n - 1)) == 0;
}

/* Host addresses, end excluded; both 0: none. */
struct vmmi_span {
  uintptr_t start, end;
};

static inline bool vmmi_span_holds(const struct vmmi_span *span, uintptr_t host)
{
  return host >= span->start && host < span->end;
}

static inline uint64_t vmmi_min(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static inline uint64_t vmmi_max(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

#endif
