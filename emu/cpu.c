/*
 * The public interface of the cpus, and the loop round the dispatch loop: it
 * finds or makes the trace at pc, links, takes what is pending, counts.
 */
#include "cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct vmmi_isa *const isas[] = { &vmmi_riscv64 };

static const struct vmmi_isa *find_isa(const char *name)
{
  size_t i;

  if (name == NULL)
    return isas[0];
  for (i = 0; i < sizeof(isas) / sizeof(isas[0]); i++)
    if (strcmp(isas[i]->name, name) == 0)
      return isas[i];
  return NULL;
}

/* => any thread; signal-safe */
static void raise_pending(struct vmm_cpu *cpu, uint32_t what)
{
  /* release: what it stands for is seen with it */
  atomic_fetch_or_explicit(&cpu->pending, what, memory_order_release);
}

/* The notifier.  => signal-safe, with the library's locks held */
static void code_changed(struct vmm_notifier *n, vmm_addr_t va, uint64_t nbytes)
{
  struct vmm_cpu *cpu = n->arg;

  vmmi_code_invalidate(&cpu->code, va, nbytes);
  raise_pending(cpu, PENDING_CODE);
}

static bool options_valid(const struct vmm_cpu_options *options)
{
  size_t i;

  for (i = 0; i < sizeof(options->reserved) / sizeof(options->reserved[0]); i++)
    if (options->reserved[i] != 0)
      return false;
  return options->flags == 0 && options->reserved32 == 0;
}

/* Loads and stores go through the window; without one, by a TLB. */
static int open_memory(struct vmm_cpu *cpu)
{
  struct vmm_tlb_options options = { 0 };

  cpu->size = vmm_space_size(cpu->space);
  cpu->base = vmm_space_base(cpu->space);
  cpu->way = cpu->base != NULL ? VMMI_DIRECT : VMMI_TLB;
  if (cpu->way == VMMI_DIRECT)
    return 0;
  options.poll = (uint32_t *)&cpu->pending;
  options.poll_bits = PENDING_TLB;
  return vmm_tlb_create(&cpu->tlb, cpu->space, &options);
}

int vmm_cpu_create(struct vmm_cpu **out, struct vmm_space *space,
                   const struct vmm_cpu_options *options)
{
  const struct vmmi_isa *isa = find_isa(options ? options->isa : NULL);
  struct vmm_cpu *cpu;
  int error;

  if (options != NULL && !options_valid(options))
    return -EINVAL;
  if (out == NULL || vmm_space_size(space) == 0)
    return -EINVAL;
  if (isa == NULL)
    return -ENOTSUP;
  cpu = calloc(1, sizeof(*cpu));
  if (cpu == NULL)
    return -ENOMEM;
  if (options != NULL)
    cpu->options = *options;
  cpu->isa = isa;
  cpu->space = space;
  error = open_memory(cpu);
  if (error != 0)
    goto free_cpu;
  error = vmmi_code_init(&cpu->code, vmm_space_page_size(space));
  if (error != 0)
    goto close_memory;
  isa->prepare();
  cpu->notifier.invalidate = code_changed;
  cpu->notifier.arg = cpu;
  error = vmm_notifier_add(space, &cpu->notifier);
  if (error != 0)
    goto free_code;
  *out = cpu;
  return 0;

free_code:
  vmmi_code_fini(&cpu->code);
close_memory:
  vmm_tlb_destroy(cpu->tlb);
free_cpu:
  free(cpu);
  return error;
}

void vmm_cpu_destroy(struct vmm_cpu *cpu)
{
  if (cpu == NULL)
    return;
  vmm_notifier_remove(cpu->space, &cpu->notifier);
  vmmi_code_fini(&cpu->code);
  vmm_tlb_destroy(cpu->tlb);
  free(cpu);
}

/* The first op to run at cpu->pc: of a kept trace if there may be one.
 * => 0 or -errno, and exit->fault tells */
static int find_op(struct vmm_cpu *cpu, struct vmmi_op **op,
                   struct vmm_cpu_exit *exit)
{
  int error;

  *op = vmmi_code_find(&cpu->code, cpu->pc);
  if (*op == NULL) {
    if (vmmi_code_reserve(&cpu->code))
      cpu->link = NULL;
    error = cpu->isa->translate(cpu, cpu->pc, VMMI_KEEP, op, exit);
    if (error == 1)
      return cpu->isa->translate(cpu, cpu->pc, VMMI_ONCE, op, exit);
    if (error != 0)
      return error;
  }
  if (cpu->link != NULL)
    vmmi_code_link(&cpu->code, cpu->link, *op);
  *vmmi_code_jump(&cpu->code, cpu->pc) = (struct vmmi_jump){ cpu->pc, *op };
  return 0;
}

/* => true if the run is to stop: interrupted */
static bool take_pending(struct vmm_cpu *cpu)
{
  /* acquire: pairs with raise_pending() */
  uint32_t pending =
      atomic_exchange_explicit(&cpu->pending, 0, memory_order_acquire);

  if (pending & PENDING_CODE) {
    cpu->link = NULL;
    vmmi_code_drop_stale(&cpu->code);
  }
  return pending & PENDING_INTERRUPT;
}

static bool is_pending(const struct vmm_cpu *cpu)
{
  return atomic_load_explicit(&cpu->pending, memory_order_relaxed) != 0;
}

static int stop_at_fetch(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit)
{
  exit->stop = VMM_CPU_FAULT;
  exit->pc = cpu->pc;
  return 0;
}

static int stop_at(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit,
                   enum vmm_cpu_stop stop)
{
  exit->stop = stop;
  exit->pc = cpu->pc;
  return 0;
}

/* Runs one instruction, not kept, whose access is made by a call. */
static enum vmmi_why run_by_calls(struct vmm_cpu *cpu,
                                  struct vmm_cpu_exit *exit)
{
  enum vmmi_way way = cpu->way;
  enum vmmi_why why = VMMI_STOP;
  struct vmmi_op *op;

  cpu->way = VMMI_CALLS;
  cpu->link = NULL;
  if (cpu->isa->translate(cpu, cpu->pc, VMMI_STEP, &op, exit) != 0)
    stop_at_fetch(cpu, exit);
  else
    why = cpu->isa->run[VMMI_CALLS](cpu, op, exit);
  cpu->way = way;
  cpu->link = NULL;
  return why;
}

static enum vmmi_why run_ops(struct vmm_cpu *cpu, struct vmmi_op *op,
                             struct vmm_cpu_exit *exit)
{
  enum vmmi_why why = cpu->isa->run[cpu->way](cpu, op, exit);

  return why == VMMI_CALL ? run_by_calls(cpu, exit) : why;
}

/* Runs one instruction, not kept. */
static int run_one(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit)
{
  struct vmmi_op *op;

  if (cpu->options.trace != NULL)
    cpu->options.trace(cpu, cpu->pc, cpu->options.arg);
  if (cpu->isa->translate(cpu, cpu->pc, VMMI_STEP, &op, exit) != 0)
    return stop_at_fetch(cpu, exit);
  cpu->link = NULL;
  if (run_ops(cpu, op, exit) == VMMI_STOP)
    return 0;
  return stop_at(cpu, exit, VMM_CPU_BUDGET);
}

static int run_traced(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit)
{
  do {
    if (is_pending(cpu) && take_pending(cpu))
      return stop_at(cpu, exit, VMM_CPU_INTERRUPTED);
    run_one(cpu, exit);
  } while (exit->stop == VMM_CPU_BUDGET && cpu->left > 0);
  return 0;
}

static int run_traces(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit)
{
  struct vmmi_op *op;

  cpu->link = NULL;
  do {
    if (is_pending(cpu) && take_pending(cpu))
      return stop_at(cpu, exit, VMM_CPU_INTERRUPTED);
    if (cpu->left <= 0)
      return stop_at(cpu, exit, VMM_CPU_BUDGET);
    if (find_op(cpu, &op, exit) != 0)
      return stop_at_fetch(cpu, exit);
    cpu->link = NULL;
  } while (run_ops(cpu, op, exit) == VMMI_FIND);
  return 0;
}

/* A budget that lasts for years, with room for a place in a trace above it. */
static const uint64_t NO_LIMIT = INT64_MAX / 2;

static void begin_run(struct vmm_cpu *cpu, uint64_t max_insns,
                      struct vmm_cpu_exit *exit)
{
  memset(exit, 0, sizeof(*exit));
  if (max_insns == 0 || max_insns > NO_LIMIT)
    max_insns = NO_LIMIT;
  cpu->left = (int64_t)max_insns;
  cpu->granted = max_insns;
}

static void end_run(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit)
{
  exit->executed = cpu->granted - (uint64_t)cpu->left;
  cpu->executed += exit->executed;
  cpu->left = 0;
  cpu->granted = 0;
}

/* Copies as much as the caller's structure holds. */
static void give_exit(struct vmm_cpu_exit *to, struct vmm_cpu_exit *from)
{
  size_t size = to->struct_size;

  from->struct_size = to->struct_size;
  memcpy(to, from, size < sizeof(*from) ? size : sizeof(*from));
}

int vmm_cpu_run(struct vmm_cpu *cpu, uint64_t max_insns,
                struct vmm_cpu_exit *exit)
{
  struct vmm_cpu_exit e;

  begin_run(cpu, max_insns, &e);
  if (cpu->options.trace != NULL)
    run_traced(cpu, &e);
  else
    run_traces(cpu, &e);
  end_run(cpu, &e);
  give_exit(exit, &e);
  return 0;
}

int vmm_cpu_step(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit)
{
  struct vmm_cpu_exit e;

  begin_run(cpu, 1, &e);
  if (is_pending(cpu) && take_pending(cpu))
    stop_at(cpu, &e, VMM_CPU_INTERRUPTED);
  else
    run_one(cpu, &e);
  end_run(cpu, &e);
  give_exit(exit, &e);
  return 0;
}

void vmm_cpu_interrupt(struct vmm_cpu *cpu)
{
  raise_pending(cpu, PENDING_INTERRUPT);
}

uint64_t vmm_cpu_get(const struct vmm_cpu *cpu, unsigned reg)
{
  return cpu->isa->get(cpu, reg);
}

void vmm_cpu_set(struct vmm_cpu *cpu, unsigned reg, uint64_t value)
{
  cpu->isa->set(cpu, reg, value);
}

int vmm_cpu_stats(const struct vmm_cpu *cpu, struct vmm_cpu_stats *stats)
{
  struct vmm_cpu_stats s = { 0 };
  size_t size = stats->struct_size;

  s.struct_size = stats->struct_size;
  s.executed = vmmi_cpu_executed(cpu);
  s.decoded = cpu->decoded;
  s.invalidated = cpu->code.dropped;
  s.uncached = cpu->uncached;
  memcpy(stats, &s, size < sizeof(s) ? size : sizeof(s));
  return 0;
}

int vmm_disassemble(const char *name, vmm_addr_t pc, const void *code,
                    size_t nbytes, char *text, size_t size)
{
  const struct vmmi_isa *isa = find_isa(name);

  return isa == NULL ? -EINVAL : isa->disassemble(pc, code, nbytes, text, size);
}
