/*
 * vmm-run: runs a Linux program of another machine in a space of libvmm.  The
 * loop here is all that joins the cpu and the Linux layer: the cpu runs until
 * it stops, and a stop is a system call or a signal.
 */
#include "run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct run {
  struct linux_process process;
  struct run_options options;
  struct run_trace trace;
  struct vmm_cpu_exit exit; /* the last stop */
};

static double now(void)
{
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* => the signal that Linux sends for a stop; 0 if it sends none */
static int signal_of(const struct vmm_cpu_exit *exit)
{
  switch (exit->stop) {
  case VMM_CPU_EBREAK:
    return LINUX_SIGTRAP;
  case VMM_CPU_ILLEGAL:
    return LINUX_SIGILL;
  case VMM_CPU_MISALIGNED:
    return LINUX_SIGBUS;
  case VMM_CPU_FAULT:
    break;
  default:
    return 0;
  }
  switch (exit->fault.reason) {
  case VMM_FAULT_OBJECT:
    return LINUX_SIGBUS;
  case VMM_FAULT_NO_MEMORY:
  case VMM_FAULT_LIMIT:
    return LINUX_SIGKILL; /* as when Linux runs out of memory */
  default:
    return LINUX_SIGSEGV;
  }
}

/* => instructions that are left of --max-insns; 0: no limit */
static uint64_t budget(const struct run *run, int *reached)
{
  struct vmm_cpu_stats stats = { .struct_size = sizeof stats };

  *reached = 0;
  if (run->options.max_insns == 0)
    return 0;
  vmm_cpu_stats(run->process.cpu, &stats);
  *reached = stats.executed >= run->options.max_insns;
  return run->options.max_insns - stats.executed;
}

/* => -1 when the guest has ended, or an exit status */
static int run_guest(struct run *run)
{
  struct linux_process *p = &run->process;
  int reached;

  while (p->end == LINUX_RUNS) {
    uint64_t left = budget(run, &reached);
    int error;

    if (reached) {
      fprintf(stderr,
              "vmm-run: stopped at pc 0x%" PRIx64 ": --max-insns %" PRIu64
              " is reached\n",
              vmm_cpu_get(p->cpu, p->isa->pc), run->options.max_insns);
      return RUN_LIMIT;
    }
    run->exit.struct_size = sizeof run->exit;
    error = vmm_cpu_run(p->cpu, left, &run->exit);
    if (error != 0) {
      fprintf(stderr, "vmm-run: the cpu can't run: %s\n", strerror(-error));
      return RUN_FAILED;
    }
    run_trace_faults(&run->trace, 0);
    if (run->exit.stop == VMM_CPU_ECALL) {
      vmmi_linux_call(p);
      run_trace_faults(&run->trace, 1);
    } else if (signal_of(&run->exit) != 0) {
      p->end = LINUX_TERMINATED;
      p->signal = signal_of(&run->exit);
    }
  }
  return -1;
}

static int start(struct run *run)
{
  const struct run_options *options = &run->options;
  struct linux_start how = { 0 };
  char text[LINUX_TEXT];
  int failure;

  how.program = options->argv[0];
  how.argv = options->argv;
  how.envp = options->envp;
  how.root = options->root;
  how.exact = options->exact;
  how.checked = options->checked;
  how.max_pages = options->max_pages;
  run->trace.process = &run->process;
  run->trace.what = options->trace;
  if (options->trace != 0) {
    how.trace = run_trace_insn;
    how.trace_arg = &run->trace;
  }
  failure = vmmi_linux_start(&run->process, &how, text);
  if (failure != 0)
    fprintf(stderr, "vmm-run: %s\n", text);
  run->process.strace = options->strace ? stderr : NULL;
  return failure;
}

/* => the exit status */
static int run_all(struct run *run)
{
  double begin;
  int status = start(run);

  if (status != 0)
    return status;
  begin = now();
  status = run_guest(run);
  if (run->process.end == LINUX_TERMINATED) {
    run_report_signal(&run->process, &run->exit);
    status = RUN_SIGNAL + run->process.signal;
  } else if (run->process.end == LINUX_EXITED) {
    status = run->process.status;
  }
  if (run->options.stats)
    run_report_stats(&run->process, now() - begin);
  return status;
}

int main(int argc, char **argv)
{
  struct run *run = calloc(1, sizeof *run);
  int status;

  if (run == NULL) {
    fputs("vmm-run: no memory\n", stderr);
    return RUN_FAILED;
  }
  status = run_options_read(&run->options, argc, argv);
  if (status < 0) {
    signal(SIGPIPE, SIG_IGN); /* a guest's write tells, and it may ignore it */
    status = run_all(run);
    vmmi_linux_finish(&run->process);
  }
  free(run);
  return status;
}
