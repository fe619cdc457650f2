/*
 * What the suites of guarded calls share: functions that fault, and code that a
 * JIT would have written.
 */
#ifndef VMM_TESTS_GUARDED_H
#define VMM_TESTS_GUARDED_H

#include "faults.h"

/* A guarded call's function that writes to its argument. */
static inline void write_to(void *at)
{
  plain_write(at);
}

/* The guarded call is ended by a fault with this reason at this address. */
#define ck_assert_ended(call, record, why, at)                                 \
  do {                                                                         \
    ck_assert_int_eq(call, 1);                                                 \
    ck_assert_str_eq(vmm_fault_reason_name((record).reason),                   \
                     vmm_fault_reason_name(why));                              \
    ck_assert_uint_eq((record).va, (uint64_t)(at));                            \
    ck_assert_int_eq((record).error, -EFAULT);                                 \
    ck_assert_ptr_null((record).info);                                         \
    ck_assert_ptr_null((record).context);                                      \
  } while (0)

static inline struct vmm_stats thread_stats(void)
{
  struct vmm_stats stats = { 0 };

  stats.struct_size = sizeof(stats);
  ck_assert_ok(vmm_thread_stats(&stats));
  return stats;
}

/* ---- code ---- */

enum { CODE_NBYTES = 64 };

static const uint8_t code_load[] = { 0x8a, 0x07, 0xc3 };   /* mov (%rdi),%al */
static const uint8_t code_illegal[] = { 0x0f, 0x0b, 0xc3 }; /* ud2 */
static const uint8_t code_trap[] = { 0xcc, 0xc3 };          /* int3 */
/* xor %ecx,%ecx; div %ecx */
static const uint8_t code_divide[] = { 0x31, 0xc9, 0xf7, 0xf1, 0xc3 };
static const uint8_t code_hlt[] = { 0xf4, 0xc3 }; /* SIGSEGV without an address */

/* => executable memory of no window, with the code at its start */
static inline uint8_t *make_code(const uint8_t *bytes, size_t nbytes)
{
  uint8_t *code = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE),
                       PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(code, MAP_FAILED);
  memcpy(code, bytes, nbytes);
  return code;
}

static inline enum vmm_verdict decline(struct vmm_fault *fault, void *arg)
{
  (void)fault;
  (void)arg;
  return VMM_DECLINE;
}

static inline void register_code(uint8_t *code, vmm_fault_handler *handler)
{
  struct vmm_code_options options = { .handler = handler };

  ck_assert_ok(vmm_code_register(code, CODE_NBYTES, &options));
}

static inline vmm_guard_function *as_function(void *code)
{
  return (vmm_guard_function *)(uintptr_t)code;
}

#endif
