/*
 * vmm-run: the parts of the program.
 */
#ifndef EMU_RUN_H
#define EMU_RUN_H

#include <stdint.h>

#include "linux.h"

/* Exit statuses of its own; 126 and 127 are those of enum linux_failure. */
enum {
  RUN_LIMIT = 124,  /* --max-insns was reached */
  RUN_FAILED = 125, /* bad options, or the host can't */
  RUN_SIGNAL = 128, /* and the signal's number */
};

enum { RUN_TRACE_FAULTS = 1, RUN_TRACE_INSNS = 2 };

struct run_options {
  const char *root;
  int strace;
  int stats;
  int exact;
  int checked;
  unsigned trace;     /* RUN_TRACE_* */
  uint64_t max_insns; /* 0: no limit */
  uint64_t max_pages; /* 0: no limit */
  char **argv;        /* of the guest; argv[0] is the program */
  char **envp;
};

/* Reads the command line.  => -1 to go on, or the exit status to end with;
 * run_options.c */
int run_options_read(struct run_options *options, int argc, char **argv);

/* ---- --trace: run_trace.c ---- */

struct run_trace {
  struct linux_process *process;
  unsigned what;
  int started;
  struct vmm_stats seen; /* up to the last instruction or system call */
  vmm_addr_t pc;         /* of the last instruction, */
  uint64_t regs[32];     /* and the registers before it */
};

/* For vmm_cpu_options.trace; arg is the struct run_trace. */
void run_trace_insn(struct vmm_cpu *cpu, vmm_addr_t pc, void *arg);
/* Tells of the faults since the last time: in a system call, or in the last
 * instruction. */
void run_trace_faults(struct run_trace *trace, int in_call);

/* ---- reports: run_report.c ---- */

/* Why the guest ended, if that was no exit. */
void run_report_signal(struct linux_process *process,
                       const struct vmm_cpu_exit *exit);
/* --stats */
void run_report_stats(struct linux_process *process, double seconds);
/* Reads the code at pc by debug pointers: telling about a page must not touch
 * it.  => its bytes that could be read */
enum { RUN_CODE = 4 };
size_t run_report_peek(struct linux_process *process, vmm_addr_t pc,
                       unsigned char code[RUN_CODE]);
/* Writes "  0x10004: 00a58533  add x10, x11, x10" for the instruction at pc. */
void run_report_insn(struct linux_process *process, vmm_addr_t pc);

#endif
