/*
 * The control and status registers of user level: fcsr in its three views, and
 * the counters (chapters 9 to 11).  cycle counts instructions, as instret does;
 * time counts nanoseconds of the host's monotonic clock.
 */
#include "cpu.h"
#include "riscv.h"

#include <errno.h>
#include <time.h>

enum {
  CSR_FFLAGS = 0x001,
  CSR_FRM = 0x002,
  CSR_FCSR = 0x003,
  CSR_CYCLE = 0xc00,
  CSR_TIME = 0xc01,
  CSR_INSTRET = 0xc02,
};

/* fcsr:  31     8 7   5 4  3  2  1  0
 *        reserved  frm  NV DZ OF UF NX   (11.2) */
enum { FFLAGS = 0x1f, FRM = 7, FRM_SHIFT = 5 };

static uint64_t host_time(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int read_csr(struct vmm_cpu *cpu, unsigned csr, uint64_t *value)
{
  switch (csr) {
  case CSR_FFLAGS: *value = cpu->fp.flags; return 0;
  case CSR_FRM: *value = cpu->fp.rm; return 0;
  case CSR_FCSR: *value = cpu->fp.rm << FRM_SHIFT | cpu->fp.flags; return 0;
  case CSR_CYCLE:
  case CSR_INSTRET: *value = vmmi_cpu_executed(cpu); return 0;
  case CSR_TIME: *value = host_time(); return 0;
  }
  return -EILSEQ;
}

static int write_csr(struct vmm_cpu *cpu, unsigned csr, uint64_t value)
{
  switch (csr) {
  case CSR_FCSR:
    cpu->fp.rm = value >> FRM_SHIFT & FRM;
    /* fall through */
  case CSR_FFLAGS: cpu->fp.flags = value & FFLAGS; return 0;
  case CSR_FRM: cpu->fp.rm = value & FRM; return 0;
  }
  return -EILSEQ; /* the counters are read-only */
}

int vmmi_riscv_csr(struct vmm_cpu *cpu, unsigned csr, enum riscv_csr_write how,
                   bool writes, uint64_t operand, uint64_t *old)
{
  uint64_t value;

  if (read_csr(cpu, csr, old) != 0)
    return -EILSEQ;
  if (!writes)
    return 0;
  value = how == RISCV_CSR_SET     ? *old | operand
          : how == RISCV_CSR_CLEAR ? *old & ~operand
                                   : operand;
  return write_csr(cpu, csr, value);
}

uint64_t vmmi_riscv_get(const struct vmm_cpu *cpu, unsigned reg)
{
  if (reg < RISCV_SINK)
    return cpu->r[reg];
  if (reg == VMM_RISCV_PC)
    return cpu->pc;
  if (reg == VMM_RISCV_FCSR)
    return cpu->fp.rm << FRM_SHIFT | cpu->fp.flags;
  return 0;
}

void vmmi_riscv_set(struct vmm_cpu *cpu, unsigned reg, uint64_t value)
{
  if (reg > 0 && reg < RISCV_SINK)
    cpu->r[reg] = value;
  else if (reg == VMM_RISCV_PC)
    cpu->pc = value & ~1ull; /* its lowest bit is always 0 (2.5) */
  else if (reg == VMM_RISCV_FCSR)
    write_csr(cpu, CSR_FCSR, value);
}
