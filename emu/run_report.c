/*
 * What vmm-run tells about the guest: how it was ended by a signal, and
 * --stats. All of it goes to standard error.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <vmm/extable.h>

#include "run.h"

enum { INSN_TEXT = 128 };

size_t run_report_peek(struct linux_process *p, vmm_addr_t pc,
                       unsigned char code[RUN_CODE])
{
  size_t n = 0;

  for (; n < RUN_CODE; n++) {
    const void *at = vmm_debug_ptr(p->space, pc + n);

    if (at == NULL)
      break;
    vmm_try_load_u8(code[n], at, fault);
  }
fault: /* present, but its file is shorter now */
  return n;
}

void run_report_insn(struct linux_process *p, vmm_addr_t pc)
{
  unsigned char code[RUN_CODE];
  char text[INSN_TEXT];
  size_t n = run_report_peek(p, pc, code);
  int length = vmm_disassemble(p->isa->name, pc, code, n, text, sizeof text);

  fprintf(stderr, "  0x%" PRIx64 ": ", pc);
  if (length == 2)
    fprintf(stderr, "%02x%02x      %s\n", code[1], code[0], text);
  else if (length == 4)
    fprintf(stderr, "%02x%02x%02x%02x  %s\n", code[3], code[2], code[1],
            code[0], text);
  else if (n == 4)
    fprintf(stderr, "%02x%02x%02x%02x  no instruction\n", code[3], code[2],
            code[1], code[0]);
  else
    fprintf(stderr, "no code there\n");
}

static int within(vmm_addr_t va, vmm_addr_t start, vmm_addr_t end)
{
  return va >= start && va < end;
}

static const char *name_place(const struct linux_process *p, vmm_addr_t va)
{
  if (within(va, p->image_start - p->image_start % p->page,
             (p->image_end + p->page - 1) / p->page * p->page))
    return "program";
  if (within(va, p->interp_start, p->interp_end))
    return "interpreter";
  if (within(va, p->brk_start, p->brk))
    return "brk area";
  if (within(va, p->stack_start, p->stack_end))
    return "stack";
  return "mapping";
}

/* "0x10000-0x12000 r-x, program", or what is nearest. */
static void tell_region(struct linux_process *p, vmm_addr_t va)
{
  struct vmm_region_info region = { .struct_size = sizeof region };

  if (vmm_region_find(p->space, va, &region) != 0) {
    fputs("no region there or above", stderr);
    return;
  }
  if (region.start > va)
    fputs("no region there; the next is ", stderr);
  fprintf(stderr, "0x%" PRIx64 "-0x%" PRIx64 " %c%c%c, %s", region.start,
          region.start + region.nbytes, region.rights & VMM_READ ? 'r' : '-',
          region.rights & VMM_WRITE ? 'w' : '-',
          region.rights & VMM_EXEC ? 'x' : '-', name_place(p, region.start));
}

static const char *access_name(unsigned access)
{
  switch (access) {
  case VMM_WRITE:
    return "write to";
  case VMM_EXEC:
    return "fetch from";
  default:
    return "read from";
  }
}

static void tell_fault(struct linux_process *p, const struct vmm_cpu_exit *exit)
{
  const struct vmm_fault *fault = &exit->fault;
  const char *why = vmm_fault_reason_name(fault->reason);

  if (exit->stop == VMM_CPU_MISALIGNED)
    why = "misaligned";
  fprintf(stderr,
          "  %s 0x%" PRIx64 ": %s\n  address in: ", access_name(fault->access),
          fault->va, why);
  tell_region(p, fault->va);
  fputc('\n', stderr);
}

/* Of SIGPIPE nothing is told: it is how programs in a pipeline end. */
void run_report_signal(struct linux_process *p, const struct vmm_cpu_exit *exit)
{
  vmm_addr_t pc = vmm_cpu_get(p->cpu, p->isa->pc);
  const char *name = vmmi_signal_name(p->signal);

  if (p->signal == LINUX_SIGPIPE)
    return;
  fprintf(stderr, "vmm-run: terminated by signal %d (%s)", p->signal,
          name != NULL ? name : "real-time");
  if (exit->stop == VMM_CPU_ECALL) {
    fprintf(stderr, " at pc 0x%" PRIx64 ", in a system call\n", pc);
    return;
  }
  fprintf(stderr, " at pc 0x%" PRIx64 "\n", pc);
  run_report_insn(p, pc);
  fputs("  pc in: ", stderr);
  tell_region(p, pc);
  fputc('\n', stderr);
  if (exit->stop == VMM_CPU_FAULT || exit->stop == VMM_CPU_MISALIGNED)
    tell_fault(p, exit);
  if (p->actions[p->signal].handler > LINUX_SIG_IGN)
    fputs("  its handler was not run: not in this release\n", stderr);
}

struct pages {
  uint64_t resident, young, dirty, exec;
};

static int count_page(vmm_addr_t va, uint64_t pte, void *arg)
{
  struct pages *pages = arg;

  (void)va;
  pages->resident += (pte & VMM_PTE_PRESENT) != 0;
  pages->young += (pte & VMM_PTE_ACCESSED) != 0;
  pages->dirty += (pte & VMM_PTE_MODIFIED) != 0;
  pages->exec += (pte & VMM_PTE_SEXEC) != 0;
  return 0;
}

static void tell_faults(const struct vmm_stats *s)
{
  fprintf(
    stderr,
    "faults         %" PRIu64 " read, %" PRIu64 " write, %" PRIu64 " exec\n"
    "  of them      %" PRIu64 " repaired (%" PRIu64 " spurious), %" PRIu64
    " handled, %" PRIu64 " unresolved\n"
    "  given        %" PRIu64 " zero-filled, %" PRIu64 " zero-mapped, %" PRIu64
    " copied\n",
    s->faults_read, s->faults_write, s->faults_exec, s->repaired, s->spurious,
    s->handled, s->unresolved, s->zero_fills, s->zero_maps, s->copies);
}

void run_report_stats(struct linux_process *p, double seconds)
{
  struct vmm_cpu_stats cpu = { .struct_size = sizeof cpu };
  struct vmm_stats space = { .struct_size = sizeof space };
  struct pages pages = { 0 };
  uint64_t size = vmm_space_size(p->space);

  vmm_cpu_stats(p->cpu, &cpu);
  vmm_space_stats(p->space, &space);
  vmm_pages_walk(p->space, 0, size, count_page, &pages);
  fprintf(stderr,
          "instructions   %" PRIu64 " in %.3f s, %.1f million a second\n"
          "  decoded      %" PRIu64 ", %" PRIu64 " pages dropped, %" PRIu64
          " run uncached\n",
          cpu.executed, seconds,
          seconds > 0 ? (double)cpu.executed / seconds / 1e6 : 0.0, cpu.decoded,
          cpu.invalidated, cpu.uncached);
  tell_faults(&space);
  fprintf(stderr,
          "pages          %" PRIu64 " young, %" PRIu64 " dirty, %" PRIu64
          " exec, of %" PRIu64 " mapped (%" PRIu64 " resident)\n"
          "host calls     %" PRIu64 ", %" PRIu64 " pages granted, %" PRIu64
          " taken\n",
          pages.young, pages.dirty, pages.exec, space.mapped / p->page,
          pages.resident, space.host_calls, space.installed, space.narrowed);
}
