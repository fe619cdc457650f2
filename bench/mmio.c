/*
 * What an access of a device costs: by an instruction through a window, which
 * is a signal, a decoding and a callback, against a handler that does nothing
 * but emulate that one instruction; by a call, against a call that loads
 * memory; and by a guest.  And what a store beside a watch costs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <vmm/emu.h>
#include <vmm/mmio.h>

#include "bench.h"

#define DEVICE ((vmm_addr_t)1 << 20)
#define MEMORY ((vmm_addr_t)2 << 20)
#define CODE ((vmm_addr_t)3 << 20)
enum { ACCESSES = 1000, ROUNDS = 31, MAPPED = 1 << 16 };

static struct vmm_space *space;
static struct vmm_cpu *cpu;
static struct sigaction ours, theirs;
static char *window, *bare;

static int load(struct vmm_object *device, uint64_t offset, void *value,
                uint32_t nbytes, void *arg)
{
  (void)device;
  (void)offset;
  (void)arg;
  memset(value, 1, nbytes);
  return 0;
}

/* movl (%rdi), %eax */
static uint32_t load_from(const void *at)
{
  uint32_t value;

  __asm__ volatile(".byte 0x8b, 0x07" : "=a"(value) : "D"(at) : "memory");
  return value;
}

static void emulate(int signal, siginfo_t *info, void *context)
{
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

  (void)signal;
  (void)info;
  registers[REG_RAX] = 0x01010101;
  registers[REG_RIP] += 2;
}

static double run_loads(const void *at)
{
  double start = bench_cpu();
  unsigned i;

  for (i = 0; i < ACCESSES; i++)
    load_from(at);
  return (bench_cpu() - start) / ACCESSES;
}

static double run_window(void *arg)
{
  (void)arg;
  return run_loads(window + DEVICE);
}

static double run_bare(void *arg)
{
  double result;

  (void)arg;
  sigaction(SIGSEGV, &theirs, &ours);
  result = run_loads(bare);
  sigaction(SIGSEGV, &ours, NULL);
  return result;
}

static double run_calls(vmm_addr_t va)
{
  double start = bench_cpu();
  uint32_t value;
  unsigned i;

  for (i = 0; i < ACCESSES; i++)
    bench_need(vmm_load(space, va, &value, sizeof(value)), "vmm_load");
  return (bench_cpu() - start) / ACCESSES;
}

static double run_call(void *arg)
{
  (void)arg;
  return run_calls(DEVICE);
}

static double run_call_memory(void *arg)
{
  (void)arg;
  return run_calls(MEMORY);
}

/* A loop of one load, a countdown and a branch. */
static double run_guest(void *arg)
{
  static const uint32_t code[] = {
    0x0005a503, /* lw a0, 0(a1) */
    0xfff28293, /* addi t0, t0, -1 */
    0xfe029ce3, /* bne t0, x0, -8 */
    0x00000073, /* ecall */
  };
  struct vmm_cpu_exit exit = { .struct_size = sizeof(exit) };
  double start;

  (void)arg;
  bench_need(vmm_copyout(space, CODE, code, sizeof(code), NULL), "code");
  vmm_cpu_set(cpu, VMM_RISCV_PC, CODE);
  vmm_cpu_set(cpu, 5, ACCESSES);
  vmm_cpu_set(cpu, 11, DEVICE);
  start = bench_cpu();
  bench_need(vmm_cpu_run(cpu, 0, &exit), "vmm_cpu_run");
  bench_need(exit.stop != VMM_CPU_ECALL, "the guest stopped early");
  return (bench_cpu() - start) / ACCESSES;
}

static double run_beside(void *arg)
{
  return run_loads(arg);
}

static int tell(struct vmm_watch *watch, const struct vmm_watch_event *event,
                void *arg)
{
  (void)watch;
  (void)event;
  (void)arg;
  return 0;
}

static void set_up(void)
{
  struct vmm_device_options options = { .load = load };
  struct vmm_map_options map = { .rights = VMM_READ | VMM_WRITE };
  vmm_addr_t va = DEVICE;

  bench_need(vmm_space_create(&space, NULL), "vmm_space_create");
  bench_need(vmm_device_create(&map.object, MAPPED, &options), "device");
  bench_need(vmm_map(space, &va, MAPPED, &map), "vmm_map");
  vmm_object_release(map.object);
  bench_need(vmm_map_anon(space, MEMORY, MAPPED, VMM_READ | VMM_WRITE), "map");
  bench_need(vmm_map_anon(space, CODE, MAPPED,
                          VMM_READ | VMM_WRITE | VMM_EXEC),
             "map");
  bench_need(vmm_mmio_enable(), "vmm_mmio_enable");
  bench_need(vmm_cpu_create(&cpu, space, NULL), "vmm_cpu_create");
  window = vmm_space_base(space);
  bare = mmap(NULL, MAPPED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  bench_need(bare == MAP_FAILED, "mmap");
  theirs.sa_sigaction = emulate;
  theirs.sa_flags = SA_SIGINFO | SA_NODEFER;
}

int main(void)
{
  struct vmm_watch *watch;

  set_up();
  bench_compare("mmio: a load through the window", run_window,
                "mmio: a bare handler's emulation of it", run_bare, NULL,
                ROUNDS, "ns");
  bench_compare("mmio: a load by a call", run_call,
                "mmio: a load of memory by a call", run_call_memory, NULL,
                ROUNDS, "ns");
  bench_compare("mmio: a load by a guest", run_guest,
                "mmio: a load by a call", run_call, NULL, ROUNDS, "ns");
  bench_need(vmm_watch_add(&watch, space, MEMORY + 64, 4, VMM_READ,
                           VMM_WATCH_AFTER, tell, NULL),
             "vmm_watch_add");
  bench_compare("watch: a load beside it, by the window", run_beside,
                "mmio: a load through the window", run_window, window + MEMORY,
                ROUNDS, "ns");
  bench_compare("watch: a load that is told", run_beside,
                "mmio: a load through the window", run_window,
                window + MEMORY + 64, ROUNDS, "ns");
  vmm_watch_remove(watch);
  vmm_cpu_destroy(cpu);
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
