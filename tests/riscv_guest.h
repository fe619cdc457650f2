/*
 * A small guest for the RISC-V suites: a space with a page of code and pages of
 * data, a cpu over it, and an assembler for the few instructions they need.
 */
#ifndef VMM_TESTS_RISCV_GUEST_H
#define VMM_TESTS_RISCV_GUEST_H

#include <vmm/emu.h>

#include "vmm_test.h"

enum {
  GUEST_CODE = 0x10000,
  GUEST_DATA = 0x20000,
  GUEST_PAGE = 4096,
  GUEST_DATA_BYTES = 4 * GUEST_PAGE,
};
static const uint64_t GUEST_SIZE = 1 << 24;

/* Registers by their names in the calling convention. */
enum { X0 = 0, RA = 1, T0 = 5, T1 = 6, T2 = 7, A0 = 10, A1 = 11, A2 = 12 };

/* ---- encodings ---- */

static inline uint32_t rv_r(uint32_t opcode, unsigned f3, unsigned f7,
                            unsigned rd, unsigned rs1, unsigned rs2)
{
  return opcode | rd << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | f7 << 25;
}

static inline uint32_t rv_i(uint32_t opcode, unsigned f3, unsigned rd,
                            unsigned rs1, int imm)
{
  return opcode | rd << 7 | f3 << 12 | rs1 << 15 | (uint32_t)imm << 20;
}

static inline uint32_t rv_s(uint32_t opcode, unsigned f3, unsigned rs2,
                            unsigned rs1, int imm)
{
  return opcode | f3 << 12 | rs1 << 15 | rs2 << 20 |
         ((uint32_t)imm & 31) << 7 | ((uint32_t)imm >> 5 & 127) << 25;
}

static inline uint32_t rv_branch(unsigned f3, unsigned rs1, unsigned rs2,
                                 int offset)
{
  uint32_t imm = (uint32_t)offset;

  return 0x63 | f3 << 12 | rs1 << 15 | rs2 << 20 | (imm >> 1 & 15) << 8 |
         (imm >> 5 & 63) << 25 | (imm >> 11 & 1) << 7 | (imm >> 12 & 1) << 31;
}

static inline uint32_t rv_jal(unsigned rd, int offset)
{
  uint32_t imm = (uint32_t)offset;

  return 0x6f | rd << 7 | (imm >> 1 & 0x3ff) << 21 | (imm >> 11 & 1) << 20 |
         (imm >> 12 & 0xff) << 12 | (imm >> 20 & 1) << 31;
}

#define RV_ADDI(rd, rs1, imm) rv_i(0x13, 0, rd, rs1, imm)
#define RV_ADD(rd, rs1, rs2) rv_r(0x33, 0, 0, rd, rs1, rs2)
#define RV_LD(rd, rs1, imm) rv_i(0x03, 3, rd, rs1, imm)
#define RV_LW(rd, rs1, imm) rv_i(0x03, 2, rd, rs1, imm)
#define RV_SD(rs2, rs1, imm) rv_s(0x23, 3, rs2, rs1, imm)
#define RV_SW(rs2, rs1, imm) rv_s(0x23, 2, rs2, rs1, imm)
#define RV_BNE(rs1, rs2, offset) rv_branch(1, rs1, rs2, offset)
#define RV_BEQ(rs1, rs2, offset) rv_branch(0, rs1, rs2, offset)
#define RV_JALR(rd, rs1, imm) rv_i(0x67, 0, rd, rs1, imm)
#define RV_AMO(f5, f3, rd, rs1, rs2) rv_r(0x2f, f3, (f5) << 2, rd, rs1, rs2)
#define RV_CSRRS(rd, csr, rs1) rv_i(0x73, 2, rd, rs1, csr)
#define RV_CSRRW(rd, csr, rs1) rv_i(0x73, 1, rd, rs1, csr)
enum {
  RV_ECALL = 0x73,
  RV_EBREAK = 0x100073,
  RV_FENCE_I = 0x100f,
  RV_NOP = 0x13,
  RV_RET = 0x8067,
};

/* ---- the guest ---- */

struct guest {
  struct vmm_space *space;
  struct vmm_cpu *cpu;
  struct vmm_cpu_exit exit;
};

static inline void guest_write(struct guest *g, vmm_addr_t va,
                               const uint32_t *code, size_t nbytes)
{
  ck_assert_ok(vmm_copyout(g->space, va, code, nbytes, NULL));
}

/* Writes instructions: guest_code(&g, va, RV_..., RV_...) */
#define guest_code(g, va, ...)                                                 \
  guest_write(g, va, (const uint32_t[]){ __VA_ARGS__ },                        \
              sizeof((const uint32_t[]){ __VA_ARGS__ }))

static inline void guest_begin_with(struct guest *g,
                                    const struct vmm_cpu_options *options)
{
  memset(g, 0, sizeof(*g));
  g->space = vmm_test_space(GUEST_SIZE, VMM_EXACT);
  ck_assert_ok(vmm_map_anon(g->space, GUEST_CODE, GUEST_PAGE,
                            VMM_READ | VMM_WRITE | VMM_EXEC));
  ck_assert_ok(vmm_map_anon(g->space, GUEST_DATA, GUEST_DATA_BYTES,
                            VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_cpu_create(&g->cpu, g->space, options));
  vmm_cpu_set(g->cpu, VMM_RISCV_PC, GUEST_CODE);
  vmm_cpu_set(g->cpu, A1, GUEST_DATA);
}

static inline void guest_begin(struct guest *g)
{
  guest_begin_with(g, NULL);
}

static inline void guest_end(struct guest *g)
{
  vmm_cpu_destroy(g->cpu);
  vmm_test_end(g->space);
}

/* Runs on from where the cpu is; it stops for this reason. */
static inline void guest_run(struct guest *g, enum vmm_cpu_stop stop)
{
  g->exit.struct_size = sizeof(g->exit);
  ck_assert_ok(vmm_cpu_run(g->cpu, 0, &g->exit));
  ck_assert_uint_eq(g->exit.stop, stop);
  ck_assert_uint_eq(vmm_cpu_get(g->cpu, VMM_RISCV_PC), g->exit.pc);
}

static inline void guest_run_at(struct guest *g, vmm_addr_t pc,
                                enum vmm_cpu_stop stop)
{
  vmm_cpu_set(g->cpu, VMM_RISCV_PC, pc);
  guest_run(g, stop);
}

static inline uint64_t guest_get(struct guest *g, unsigned reg)
{
  return vmm_cpu_get(g->cpu, reg);
}

static inline void guest_set(struct guest *g, unsigned reg, uint64_t value)
{
  vmm_cpu_set(g->cpu, reg, value);
}

static inline struct vmm_cpu_stats guest_stats(struct guest *g)
{
  struct vmm_cpu_stats stats = { .struct_size = sizeof(stats) };

  ck_assert_ok(vmm_cpu_stats(g->cpu, &stats));
  return stats;
}

#endif
