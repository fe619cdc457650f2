/*
 * What the suites of guest threads and their pages share: a space with a
 * trampoline page, a hart, and emulations of made-up instructions that name
 * themselves.
 */
#ifndef VMM_TESTS_TRAMPOLINES_H
#define VMM_TESTS_TRAMPOLINES_H

#include <pthread.h>
#include <stdio.h>

#include "probe.h"

/* Where things are in the guest. */
enum { TRAMPOLINE = 0x40000, BRANCH = 0x1000, TARGET = 0x2000 };

static const uint8_t trap_bytes[] = { 0x0d, 0x00, 0xbe, 0xef };

static inline struct vmm_space *space_with_trampoline(void)
{
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  ck_assert_ok(vmm_trampoline_map(space, TRAMPOLINE));
  return space;
}

/* => this thread's hart, that runs the space; flags: VMM_HART_WINDOWS or 0 */
static inline struct vmm_hart *hart_on(struct vmm_space *space, uint32_t flags,
                                       char **base)
{
  struct vmm_hart_options options = { 0 };
  struct vmm_hart *hart;

  options.flags = flags;
  ck_assert_ok(vmm_hart_create(&hart, &options));
  ck_assert_ok(vmm_hart_set_space(hart, space, base));
  return hart;
}

static inline void end_hart(struct vmm_hart *hart)
{
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_ok(vmm_hart_destroy(hart));
}

static inline struct vmm_guest_thread *guest_thread(void)
{
  struct vmm_guest_thread *thread;

  ck_assert_ok(vmm_guest_thread_create(&thread, NULL));
  return thread;
}

/* An emulation of the instruction *code, 8 bytes, of a branch at BRANCH. */
static inline struct vmm_emulation emulation_of(const uint64_t *code)
{
  struct vmm_emulation emulation = { 0 };

  emulation.code = code;
  emulation.code_nbytes = sizeof(*code);
  emulation.trap = trap_bytes;
  emulation.trap_nbytes = sizeof(trap_bytes);
  emulation.page = TRAMPOLINE;
  emulation.pc = BRANCH;
  emulation.branch_pc = BRANCH;
  emulation.continuation_pc = TARGET;
  return emulation;
}

/* => the pc of the frame */
static inline vmm_addr_t push_code(struct vmm_guest_thread *thread,
                                   uint64_t code)
{
  struct vmm_emulation emulation = emulation_of(&code);
  vmm_addr_t pc = 0;

  ck_assert_ok(vmm_trampoline_push(thread, &emulation, &pc));
  return pc;
}

/* The same at pc, where another frame's instruction is. */
static inline vmm_addr_t push_nested(struct vmm_guest_thread *thread,
                                     uint64_t code, vmm_addr_t pc)
{
  struct vmm_emulation emulation = emulation_of(&code);

  emulation.pc = emulation.branch_pc = pc;
  emulation.continuation_pc = pc + sizeof(code);
  ck_assert_ok(vmm_trampoline_push(thread, &emulation, &pc));
  return pc;
}

/* A thread with a hart of its own, one of several at once. */
struct runner {
  struct vmm_space *space;
  uint32_t id; /* from 1 */
  uint64_t wrong;
};

/* Runs it by so many threads at once, each with a runner: nothing is wrong. */
static inline void run_on_harts(struct vmm_space *space, unsigned harts,
                                void *(*run)(void *runner))
{
  struct runner runner[16];
  pthread_t thread[16];

  ck_assert_uint_le(harts, 16);
  for (unsigned i = 0; i < harts; i++) {
    runner[i] = (struct runner){ space, i + 1, 0 };
    ck_assert_int_eq(pthread_create(&thread[i], NULL, run, &runner[i]), 0);
  }
  for (unsigned i = 0; i < harts; i++) {
    pthread_join(thread[i], NULL);
    ck_assert_uint_eq(runner[i].wrong, 0);
  }
}

/* => the eight bytes that a load through the window finds */
static inline uint64_t window_word(const char *base, vmm_addr_t va)
{
  return *(const volatile uint64_t *)(base + va);
}

/* The window denies a load, for this reason. */
static inline void check_denied(const char *base, vmm_addr_t va, unsigned why)
{
  struct vmm_fault fault;
  uint64_t word;

  vmm_try_load_u64(word, base + va, denied);
  ck_abort_msg("0x%" PRIx64 " was read", word);
denied:
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_str_eq(vmm_fault_reason_name(fault.reason),
                   vmm_fault_reason_name(why));
  ck_assert_uint_eq(fault.va, va);
}

#endif
