/*
 * libvmm-emu: processors that run guest code in a space.
 *
 * A cpu is used by one thread at a time.  Its loads and stores go straight
 * through the space's window, or, in a space without one (VMM_CHECKED), by a
 * TLB of its own, with the same results, bits, counters and faults: then
 * vmm_cpu_run() is a section of it, and <vmm/tlb.h> says what a signal's
 * handler on that thread may do.  Its code is fetched by vmm_fetch(), decoded
 * once, and dropped when it changes.  State is precise at every stop.
 *
 * This release has RV64GC (I M A F D C Zicsr Zifencei, user level: The RISC-V
 * Instruction Set Manual, Volume I, 20191213).
 */
#ifndef VMM_EMU_H
#define VMM_EMU_H

#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_cpu;

struct vmm_cpu_options {
  const char *isa; /* "rv64gc"; NULL: the same */
  uint32_t flags;  /* 0 */
  uint32_t reserved32;
  /* Called before each instruction, for --trace; NULL: not.  Slow. */
  void (*trace)(struct vmm_cpu *cpu, vmm_addr_t pc, void *arg);
  void *arg;
  uint64_t reserved[6];
};

/*
 * Makes a cpu over the space, all registers 0.  options may be NULL.
 * -EINVAL   not a space, reserved fields not zero
 * -ENOTSUP  an ISA that is not built in
 * -ENOMEM   no memory
 */
VMM_API int vmm_cpu_create(struct vmm_cpu **cpu, struct vmm_space *space,
                           const struct vmm_cpu_options *options);
/* NULL is allowed.  To be called before the space is destroyed. */
VMM_API void vmm_cpu_destroy(struct vmm_cpu *cpu);

/* Why vmm_cpu_run() came back, and where the pc is then. */
enum vmm_cpu_stop {
  VMM_CPU_BUDGET,      /* max_insns are done; pc at the next one */
  VMM_CPU_INTERRUPTED, /* vmm_cpu_interrupt(); pc at the next one */
  VMM_CPU_ECALL,       /* pc at the ecall */
  VMM_CPU_EBREAK,      /* pc at the ebreak */
  VMM_CPU_ILLEGAL,     /* pc at the instruction */
  VMM_CPU_MISALIGNED,  /* an atomic's address; pc at the instruction */
  VMM_CPU_FAULT,       /* pc at the instruction; fault tells the access */
};

struct vmm_cpu_exit {
  uint32_t struct_size; /* sizeof, set by the caller */
  uint32_t stop;        /* enum vmm_cpu_stop */
  vmm_addr_t pc;
  uint32_t insn;        /* its encoding, where it could be fetched */
  uint32_t reserved32;
  uint64_t executed;    /* instructions completed by this call */
  struct vmm_fault fault; /* VMM_CPU_FAULT, VMM_CPU_MISALIGNED */
};

/*
 * Runs until something stops it.  max_insns 0: no limit; else it stops after at
 * least max_insns, at most a few hundred later (the count is taken at jumps);
 * executed is exact.
 */
VMM_API int vmm_cpu_run(struct vmm_cpu *cpu, uint64_t max_insns,
                        struct vmm_cpu_exit *exit);

/* Runs exactly one instruction: VMM_CPU_BUDGET if it completed. */
VMM_API int vmm_cpu_step(struct vmm_cpu *cpu, struct vmm_cpu_exit *exit);

/* Makes a running vmm_cpu_run() return soon, or the next one at once.
 * => any thread; signal-safe */
VMM_API void vmm_cpu_interrupt(struct vmm_cpu *cpu);

/* Registers by number.  RISC-V: 0 to 31 x0 to x31, 32 to 63 f0 to f31 (raw 64
 * bits), VMM_RISCV_PC, VMM_RISCV_FCSR.  An unknown number reads 0. */
enum { VMM_RISCV_PC = 64, VMM_RISCV_FCSR = 65 };
VMM_API uint64_t vmm_cpu_get(const struct vmm_cpu *cpu, unsigned reg);
VMM_API void vmm_cpu_set(struct vmm_cpu *cpu, unsigned reg, uint64_t value);

struct vmm_cpu_stats {
  uint32_t struct_size; /* sizeof, set by the caller */
  uint32_t reserved32;
  uint64_t executed;    /* instructions since the cpu was made */
  uint64_t decoded;     /* instructions decoded */
  uint64_t invalidated; /* pages of decoded code dropped */
  uint64_t uncached;    /* instructions run without being kept */
};
VMM_API int vmm_cpu_stats(const struct vmm_cpu *cpu,
                          struct vmm_cpu_stats *stats);

/*
 * Disassembles the instruction in code (little-endian, nbytes there) as at pc,
 * as GNU objdump with -M no-aliases,numeric writes it, with one space between
 * the name and the operands.
 * => its length in bytes, 2 or 4; -EILSEQ no instruction; -EINVAL too few bytes
 */
VMM_API int vmm_disassemble(const char *isa, vmm_addr_t pc, const void *code,
                            size_t nbytes, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
