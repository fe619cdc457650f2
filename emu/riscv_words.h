/*
 * The words in which riscv_insns.def tells its semantics, and the arithmetic
 * behind them.  For riscv_loop.def alone: the words use the names of its
 * functions' variables (cpu, op, left), its words of memory, and labels (fault,
 * misaligned, jump, find, stopped, do_ILLEGAL).  Nothing is written before the
 * last thing that may fault.
 */
#ifndef VMMI_RISCV_WORDS_H
#define VMMI_RISCV_WORDS_H

#include <vmm/extable.h>
#include "arch_fp.h"
#include "cpu.h"
#include "riscv.h"

/* ---- integer helpers: what C leaves undefined (7.1, 7.2) ---- */

static inline uint64_t sext32(uint64_t value)
{
  return (uint64_t)(int64_t)(int32_t)value;
}

static inline uint64_t mulh(uint64_t a, uint64_t b)
{
  return (uint64_t)((__int128)(int64_t)a * (int64_t)b >> 64);
}

static inline uint64_t mulhsu(uint64_t a, uint64_t b)
{
  return (uint64_t)((__int128)(int64_t)a * (__int128)b >> 64);
}

static inline uint64_t mulhu(uint64_t a, uint64_t b)
{
  return (uint64_t)((unsigned __int128)a * b >> 64);
}

static inline uint64_t div64(uint64_t a, uint64_t b)
{
  if (b == 0)
    return ~0ull;
  return b == ~0ull ? -a : (uint64_t)((int64_t)a / (int64_t)b);
}

static inline uint64_t rem64(uint64_t a, uint64_t b)
{
  if (b == 0)
    return a;
  return b == ~0ull ? 0 : (uint64_t)((int64_t)a % (int64_t)b);
}

static inline uint64_t div32(uint64_t a, uint64_t b)
{
  return sext32(div64(sext32(a), sext32(b)));
}

static inline uint64_t rem32(uint64_t a, uint64_t b)
{
  return sext32(rem64(sext32(a), sext32(b)));
}

static inline uint64_t divu32(uint64_t a, uint64_t b)
{
  return (uint32_t)b ? sext32((uint32_t)a / (uint32_t)b) : ~0ull;
}

static inline uint64_t remu32(uint64_t a, uint64_t b)
{
  return sext32((uint32_t)b ? (uint32_t)a % (uint32_t)b : a);
}

/* ---- floating-point helpers ---- */

static const uint64_t SIGN32 = 0x80000000, SIGN64 = 1ull << 63;

/* Single precision in a 64-bit register has all upper bits set; what has not
 * counts as the canonical NaN (12.2). */
static inline uint64_t box(uint64_t value)
{
  return value | 0xffffffff00000000;
}

static inline uint64_t unbox(uint64_t reg)
{
  return reg >> 32 == 0xffffffff ? (uint32_t)reg : 0x7fc00000;
}

/* What the host converts as asked: all results fit, and it is no NaN. */
static inline bool converts(uint64_t a, unsigned width, bool is32,
                            bool is_signed)
{
  if (is_signed)
    a &= ~(width == 64 ? SIGN64 : SIGN32);
  if (width == 64) /* below 2^31 - 1, below 2^63 */
    return a < (is32 ? 0x41dfffffffc00000 : 0x43e0000000000000);
  return a < (is32 ? 0x4f000000 : 0x5f000000); /* below 2^31, below 2^63 */
}

/* ---- the words of riscv_insns.def ---- */

#define RD cpu->r[op->rd]
#define RS1 cpu->r[op->rs1]
#define RS2 cpu->r[op->rs2]
#define RS3 cpu->r[op->rs3]
#define IMM (uint64_t)(int64_t)op->imm
#define UIMM op->rs1
#define PC vmmi_code_info(&cpu->code, op)->pc

#define DISPATCH goto *op->handler
#define NEXT                                                                   \
  do {                                                                         \
    op++;                                                                      \
    DISPATCH;                                                                  \
  } while (0)

#define unlikely(x) __builtin_expect(!!(x), 0)
#define PENDING atomic_load_explicit(&cpu->pending, memory_order_relaxed)

/* Goes to op, the taken exit having counted: the one place that stops loops. */
#define ENTER                                                                  \
  do {                                                                         \
    if (unlikely(left <= 0 || PENDING))                                        \
      goto leave;                                                              \
    DISPATCH;                                                                  \
  } while (0)

#define TAKE_EXIT                                                              \
  do {                                                                         \
    left -= op->imm;                                                           \
    op = op[1].target;                                                         \
    ENTER;                                                                     \
  } while (0)

#define JUMP(target) __builtin_unreachable() /* translated to RISCV_GOTO */

#define JUMP_REGISTER(to)                                                      \
  target = to;                                                                 \
  RD = op[1].value;                                                            \
  goto jump

#define LOAD(width, result)                                                    \
  uint64_t address = RS1 + IMM;                                                \
  uint##width##_t VALUE;                                                       \
                                                                               \
  MEMORY_ADDRESS;                                                              \
  MEMORY_LOAD(width, VALUE, address);                                          \
  result

#define STORE(width, value)                                                    \
  uint64_t address = RS1 + IMM;                                                \
                                                                               \
  MEMORY_ADDRESS;                                                              \
  MEMORY_STORE(width, address, value)

/* An atomic's address: aligned, and in the space, even if SC makes no access. */
#define ATOMIC_ADDRESS(width)                                                  \
  if (unlikely(address & (width / 8 - 1)))                                     \
    goto misaligned;                                                           \
  if (unlikely(address >= cpu->size))                                          \
  goto fault

#define EXTEND(width, value)                                                   \
  (width == 32 ? sext32(value) : (uint64_t)(value))

#define LOAD_RESERVED(width)                                                   \
  uint64_t address = RS1;                                                      \
  uint##width##_t value;                                                       \
                                                                               \
  ATOMIC_ADDRESS(width);                                                       \
  MEMORY_LOAD(width, value, address);                                          \
  atomic_thread_fence(memory_order_seq_cst);                                   \
  cpu->reserved.va = address;                                                  \
  cpu->reserved.value = value;                                                 \
  cpu->reserved.nbytes = width / 8;                                            \
  RD = EXTEND(width, value)

/* Succeeds if memory still holds the value that was loaded. */
#define STORE_CONDITIONAL(width)                                               \
  uint64_t address = RS1;                                                      \
  uint##width##_t value = (uint##width##_t)cpu->reserved.value;                \
  bool failed = true;                                                          \
                                                                               \
  ATOMIC_ADDRESS(width);                                                       \
  if (cpu->reserved.nbytes == width / 8 && cpu->reserved.va == address) {      \
    MEMORY_SWAP(width, address, value, RS2);                                   \
    failed = value != (uint##width##_t)cpu->reserved.value;                    \
  }                                                                            \
  cpu->reserved.nbytes = 0;                                                    \
  RD = failed

#define AMO(width, combined)                                                   \
  uint64_t address = RS1;                                                      \
  uint##width##_t OLD, seen, NEW = (uint##width##_t)RS2;                       \
                                                                               \
  ATOMIC_ADDRESS(width);                                                       \
  MEMORY_LOAD(width, seen, address);                                           \
  do {                                                                         \
    OLD = seen;                                                                \
    MEMORY_SWAP(width, address, seen, combined);                               \
  } while (seen != OLD);                                                       \
  RD = EXTEND(width, OLD)

#define BARRIER atomic_thread_fence(memory_order_seq_cst)

#define SYNC_CODE                                                              \
  cpu->pc = PC + 4;                                                            \
  left -= vmmi_code_info(&cpu->code, op)->count + 1;                           \
  goto find

#define STOP(reason)                                                           \
  why = reason;                                                                \
  goto stopped

#define CSR(how, operand)                                                      \
  uint64_t old;                                                                \
  int error;                                                                   \
                                                                               \
  cpu->left = left - vmmi_code_info(&cpu->code, op)->count;                    \
  vmmi_fp_leave(&cpu->fp, host_fp);                                            \
  error = vmmi_riscv_csr(cpu, (unsigned)op->imm, RISCV_##how,                  \
                         RISCV_##how == RISCV_CSR_WRITE || op->rs1 != 0,       \
                         operand, &old);                                       \
  host_fp = vmmi_fp_enter(&cpu->fp);                                           \
  if (error != 0)                                                              \
    goto do_ILLEGAL;                                                           \
  RD = old

#define BOX(value) box(value)
#define UNBOX(reg) unbox(reg)
#define FP &cpu->fp.flags

/* The host may do it: dynamic rounding (imm is 0), in a mode that it has. */
#define FP_FAST (VMMI_FP_HOST && (op->imm | cpu->fp.slow) == 0)

/* The rounding mode; reserved ones in frm are illegal (11.2). */
#define FP_ROUNDING                                                            \
  unsigned rm = (unsigned)op->imm ^ RISCV_RM_DYN;                              \
                                                                               \
  if (rm == RISCV_RM_DYN)                                                      \
    rm = cpu->fp.rm;                                                           \
  if (rm >= FP_ROUNDINGS)                                                      \
  goto do_ILLEGAL

#define FP2(width, name, a, b, BOXED)                                          \
  uint64_t value;                                                              \
                                                                               \
  if (!FP_FAST || !vmmi_host_##name##width(a, b, &value)) {                    \
    FP_ROUNDING;                                                               \
    value = vmmi_fp_##name(&vmmi_f##width, a, b, rm, FP);                      \
  }                                                                            \
  RD = BOXED(value)

#define FP2_S(name) FP2(32, name, UNBOX(RS1), UNBOX(RS2), BOX)
#define FP2_D(name) FP2(64, name, RS1, RS2, )

#define FP1(width, name, a, BOXED)                                             \
  uint64_t value;                                                              \
                                                                               \
  if (!FP_FAST || !vmmi_host_##name##width(a, &value)) {                       \
    FP_ROUNDING;                                                               \
    value = vmmi_fp_##name(&vmmi_f##width, a, rm, FP);                         \
  }                                                                            \
  RD = BOXED(value)

#define FP1_S(name) FP1(32, name, UNBOX(RS1), BOX)
#define FP1_D(name) FP1(64, name, RS1, )

/* fmadd a*b+c, fmsub a*b-c, fnmsub -a*b+c, fnmadd -a*b-c: signs of a and c */
enum { madd = 0, msub = 2, nmsub = 1, nmadd = 3 };

#define FMA(width, signs, a, b, c, BOXED)                                      \
  uint64_t x = a ^ (signs & 1 ? SIGN##width : 0);                              \
  uint64_t z = c ^ (signs & 2 ? SIGN##width : 0), value;                       \
                                                                               \
  if (!FP_FAST || !vmmi_host_has_fma() ||                                      \
      !vmmi_host_fma##width(x, b, z, &value)) {                                \
    FP_ROUNDING;                                                               \
    value = vmmi_fp_fma(&vmmi_f##width, x, b, z, rm, FP);                      \
  }                                                                            \
  RD = BOXED(value)

#define FMA_S(signs) FMA(32, signs, UNBOX(RS1), UNBOX(RS2), UNBOX(RS3), BOX)
#define FMA_D(signs) FMA(64, signs, RS1, RS2, RS3, )

/* Integer types of conversions: bits, signedness. */
#define BITS_i32 32
#define BITS_u32 32
#define BITS_i64 64
#define BITS_u64 64
#define SIGNED_i32 true
#define SIGNED_u32 false
#define SIGNED_i64 true
#define SIGNED_u64 false

#define TO_INT(type, width, a)                                                 \
  uint64_t from = a;                                                           \
  bool to_zero = op->imm == (FP_TO_ZERO ^ RISCV_RM_DYN);                       \
                                                                               \
  if (VMMI_FP_HOST && (to_zero || FP_FAST) &&                                  \
      converts(from, width, BITS_##type == 32, SIGNED_##type)) {               \
    RD = EXTEND(BITS_##type, vmmi_host_to_int##width(from, to_zero));          \
  } else {                                                                     \
    FP_ROUNDING;                                                               \
    RD = vmmi_fp_to_int(&vmmi_f##width, from, BITS_##type, SIGNED_##type, rm,  \
                        FP);                                                   \
  }

/* The operand as an int64_t, and whether it is not one. */
#define INT_i32(x) (int64_t)(int32_t)x
#define INT_u32(x) (int64_t)(uint32_t)x
#define INT_i64(x) (int64_t)x
#define INT_u64(x) (int64_t)x

#define FROM_INT(width, type, BOXED)                                           \
  int64_t from = INT_##type(RS1);                                              \
  bool huge = !SIGNED_##type && from < 0, negative = from < 0 && !huge;        \
                                                                               \
  if (FP_FAST && !huge) {                                                      \
    RD = BOXED(vmmi_host_from_int##width(from));                               \
  } else {                                                                     \
    FP_ROUNDING;                                                               \
    RD = BOXED(vmmi_fp_from_int(&vmmi_f##width,                                \
                                negative ? -(uint64_t)from : (uint64_t)from,   \
                                negative, rm, FP));                            \
  }

#define FROM_INT_S(type) FROM_INT(32, type, BOX)
#define FROM_INT_D(type) FROM_INT(64, type, )

#define NARROW                                                                 \
  uint64_t value;                                                              \
                                                                               \
  if (!FP_FAST || !vmmi_host_narrow(RS1, &value)) {                            \
    FP_ROUNDING;                                                               \
    value = vmmi_fp_convert(&vmmi_f32, &vmmi_f64, RS1, rm, FP);                \
  }                                                                            \
  RD = BOX(value)

#define WIDEN                                                                  \
  FP_ROUNDING;                                                                 \
  RD = vmmi_fp_convert(&vmmi_f64, &vmmi_f32, UNBOX(RS1), rm, FP)

#endif
