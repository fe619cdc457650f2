/*
 * Trampoline pages and displaced instructions: what an emulation costs that
 * runs one instruction from the page, and what it costs to step over a patch,
 * against a debugger's way, which is to take it out, to trap after one
 * instruction, and to put it back.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <vmm/vmm.h>

#include "arch_step.h"
#include "bench.h"

enum { CALLS = 20000, TRAPS = 2000, ROUNDS = 31, AREA = 4096 };
#define TRAMPOLINE 0x10000

/* ---- emulations ---- */

static char *base;
static struct vmm_guest_thread *own;

static const uint8_t lea[] = { 0x48, 0x8d, 0x47, 5 }, ret[] = { 0xc3 };

static uint64_t call_guest(vmm_addr_t pc)
{
  return ((uint64_t(*)(uint64_t))(uintptr_t)(base + pc))(1);
}

static double run_emulation(void *arg)
{
  double start = bench_cpu();
  struct vmm_emulation emulation = {
    .code = lea, .code_nbytes = sizeof(lea), .trap = ret, .trap_nbytes = 1,
    .page = TRAMPOLINE, .pc = 0x1000, .branch_pc = 0x1000,
    .continuation_pc = 0x2000,
  };

  (void)arg;
  for (unsigned i = 0; i < CALLS; i++) {
    vmm_addr_t pc = 0;

    bench_need(vmm_trampoline_push(own, &emulation, &pc), "push");
    bench_need(call_guest(pc) != 6, "the code");
    pc += sizeof(lea);
    bench_need(vmm_trampoline_complete(own, &pc), "complete");
  }
  return (bench_cpu() - start) / CALLS;
}

static double run_code_alone(void *arg)
{
  double start = bench_cpu();

  (void)arg;
  for (unsigned i = 0; i < CALLS; i++)
    bench_need(call_guest(TRAMPOLINE) != 6, "the code");
  return (bench_cpu() - start) / CALLS;
}

/* ---- patches ---- */

/* mov (%rdi),%rax; ret */
static const uint8_t function_bytes[] = { 0x48, 0x8b, 0x07, 0xc3 };

static struct function {
  uint8_t *code;
  uint8_t saved[15];
} displaced, single_stepped, trapped;

static enum vmm_verdict step_over(struct vmm_fault *fault, void *arg)
{
  struct function *function = arg;

  return vmm_displace(fault->context, fault->host_pc, function->saved,
                      sizeof(function->saved)) == 0
             ? VMM_RESUME
             : VMM_DECLINE;
}

/* First the breakpoint, then the trap after the instruction. */
static enum vmm_verdict step_once(struct vmm_fault *fault, void *arg)
{
  struct function *function = arg;
  int again = bench_toggle_step(fault->context);

  function->code[0] = again ? 0xcc : function->saved[0];
  return again ? VMM_RESUME : VMM_RETRY;
}

/* The trap alone: the instruction is left out. */
static enum vmm_verdict leave_out(struct vmm_fault *fault, void *arg)
{
  (void)arg;
  return vmm_fault_set_pc(fault, (uint8_t *)fault->host_pc + 3) == 0
             ? VMM_RESUME
             : VMM_DECLINE;
}

static void make_function(struct function *function, vmm_fault_handler *handler)
{
  struct vmm_code_options options = { .handler = handler, .arg = function };

  function->code = mmap(NULL, AREA, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  bench_need(function->code == MAP_FAILED, "mmap");
  memcpy(function->code, function_bytes, sizeof(function_bytes));
  memcpy(function->saved, function->code, sizeof(function->saved));
  function->code[0] = 0xcc;
  bench_need(vmm_code_register(function->code, AREA, &options), "register");
}

static double run_function(const struct function *function)
{
  double start = bench_cpu();
  uint64_t data = 5;

  for (unsigned i = 0; i < TRAPS; i++)
    ((uint64_t(*)(const uint64_t *))(uintptr_t)function->code)(&data);
  return (bench_cpu() - start) / TRAPS;
}

static double run_displaced(void *arg)
{
  (void)arg;
  return run_function(&displaced);
}

static double run_single_step(void *arg)
{
  (void)arg;
  return run_function(&single_stepped);
}

static double run_trap(void *arg)
{
  (void)arg;
  return run_function(&trapped);
}

int main(void)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS };
  struct vmm_space *space;
  struct vmm_hart *hart;

  if (!BENCH_CAN_STEP)
    return 0; /* the instructions here are x86-64's */
  bench_need(vmm_space_create(&space, NULL), "vmm_space_create");
  bench_need(vmm_trampoline_map(space, TRAMPOLINE), "vmm_trampoline_map");
  bench_need(vmm_hart_create(&hart, &options), "vmm_hart_create");
  bench_need(vmm_hart_set_space(hart, space, &base), "vmm_hart_set_space");
  own = vmm_hart_thread(hart);
  bench_compare("trampoline: push, run, complete", run_emulation,
                "trampoline: the code alone", run_code_alone, NULL, ROUNDS,
                "ns");
  make_function(&displaced, step_over);
  make_function(&single_stepped, step_once);
  make_function(&trapped, leave_out);
  bench_compare("displace: breakpoint, step over", run_displaced,
                "displace: breakpoint, single step", run_single_step, NULL,
                ROUNDS, "ns");
  bench_compare("displace: breakpoint, step over", run_displaced,
                "displace: breakpoint alone", run_trap, NULL, ROUNDS, "ns");
  bench_need(vmm_hart_set_space(hart, NULL, NULL), "vmm_hart_set_space");
  bench_need(vmm_hart_destroy(hart), "vmm_hart_destroy");
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
