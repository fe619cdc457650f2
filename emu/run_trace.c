/*
 * --trace: instructions before they run, and the faults that they took.
 *
 * Faults that the page table repairs are told to nobody, so they are found by
 * comparing the space's counters from one instruction to the next.  The address
 * is computed from the operand of the instruction and the registers before it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { REGISTERS = 32, INSN_TEXT = 128 };

/* => the disassembled instruction at pc, or "?" */
static const char *text_at(struct run_trace *t, vmm_addr_t pc,
                           char text[INSN_TEXT])
{
  unsigned char code[RUN_CODE];
  size_t n = run_report_peek(t->process, pc, code);

  if (vmm_disassemble(t->process->isa->name, pc, code, n, text, INSN_TEXT) < 0)
    return "?";
  return text;
}

/* "... 16(x2)": => 16 + x2 as it was before the instruction, 0 without one */
static vmm_addr_t operand_address(const struct run_trace *t, const char *text)
{
  const char *open = strrchr(text, '(');
  const char *digits = open;
  unsigned long reg;

  if (open == NULL || open[1] != 'x')
    return 0;
  reg = strtoul(open + 2, NULL, 10);
  while (digits > text && strchr("-0123456789", digits[-1]) != NULL)
    digits--;
  return reg < REGISTERS ? t->regs[reg] + (uint64_t)strtoll(digits, NULL, 10)
                         : 0;
}

static const char *how(const struct vmm_stats *now, const struct vmm_stats *was)
{
  if (now->copies > was->copies)
    return "copied";
  if (now->zero_fills > was->zero_fills)
    return "zero-filled";
  if (now->zero_maps > was->zero_maps)
    return "zero-mapped";
  if (now->spurious > was->spurious)
    return "spurious";
  return now->repaired > was->repaired ? "granted" : "not repaired";
}

static void tell(struct run_trace *t, const struct vmm_stats *now, int in_call)
{
  const struct vmm_stats *was = &t->seen;
  vmm_addr_t pc = vmm_cpu_get(t->process->cpu, t->process->isa->pc);
  int write = now->faults_write > was->faults_write;
  char text[INSN_TEXT];
  const char *insn;

  if (now->faults_exec > was->faults_exec)
    fprintf(stderr, "fault exec  0x%" PRIx64 " %s\n", pc, how(now, was));
  if (now->faults_read == was->faults_read && !write)
    return;
  if (in_call) {
    fprintf(stderr,
            "fault in a system call: %" PRIu64 " read, %" PRIu64 " write, %s\n",
            now->faults_read - was->faults_read,
            now->faults_write - was->faults_write, how(now, was));
    return;
  }
  insn = text_at(t, t->pc, text);
  fprintf(stderr, "fault %s 0x%" PRIx64 " %s, pc 0x%" PRIx64 " %s\n",
          write ? "write" : "read ", operand_address(t, insn), how(now, was),
          t->pc, insn);
}

void run_trace_faults(struct run_trace *t, int in_call)
{
  struct vmm_stats now = { .struct_size = sizeof now };

  if (!(t->what & RUN_TRACE_FAULTS))
    return;
  vmm_space_stats(t->process->space, &now);
  if (t->started)
    tell(t, &now, in_call);
  t->started = 1;
  t->seen = now;
}

void run_trace_insn(struct vmm_cpu *cpu, vmm_addr_t pc, void *arg)
{
  struct run_trace *t = arg;

  if (t->what & RUN_TRACE_FAULTS) {
    run_trace_faults(t, 0);
    t->pc = pc;
    for (unsigned i = 0; i < REGISTERS; i++)
      t->regs[i] = vmm_cpu_get(cpu, i);
  }
  if (t->what & RUN_TRACE_INSNS)
    run_report_insn(t->process, pc);
}
