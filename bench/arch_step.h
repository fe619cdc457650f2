/*
 * What a debugger sets so that a processor traps after one instruction.
 */
#ifndef VMM_BENCH_ARCH_STEP_H
#define VMM_BENCH_ARCH_STEP_H

#include <ucontext.h>

#if defined __x86_64__
enum { BENCH_CAN_STEP = 1 };

/* Turns it on or off for the interrupted code.  => whether it was on */
static inline int bench_toggle_step(void *context)
{
  enum { EFLAGS_TF = 1 << 8 };
  greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
  int was_on = (*flags & EFLAGS_TF) != 0;

  *flags ^= EFLAGS_TF;
  return was_on;
}
#else
enum { BENCH_CAN_STEP = 0 };

static inline int bench_toggle_step(void *context)
{
  (void)context;
  return 0;
}
#endif

#endif
