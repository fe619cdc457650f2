/*
 * Random sequences: a row of the table is drawn, then encodings of it until one
 * is harmless, or it is made so (addresses into the scratch memory, jumps over
 * the next instruction).
 */
#include "diff.h"

#include <string.h>

#include "emu/riscv.h"

enum { NOP = 0x13, AMO_ADDRESS = 9, JUMP_BASE = 5 };

uint64_t random_next(struct random *r)
{
  uint64_t z = r->state += 0x9e3779b97f4a7c15;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/* ---- operands ---- */

static uint64_t interesting_int(struct random *r)
{
  static const uint64_t values[] = {
    0, 1, 2, ~0ull, ~1ull, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
    0xffffffff80000000, 0xffffffff7fffffff, 0x7fffffffffffffff,
    0x8000000000000000, 0x8000000000000001, 63, 64, 31, 32,
  };

  switch (random_below(r, 4)) {
  case 0: return random_next(r);
  case 1: return random_next(r) >> random_below(r, 64);
  case 2: return (uint64_t)((int64_t)random_next(r) >> random_below(r, 64));
  }
  return values[random_below(r, sizeof(values) / sizeof(values[0]))];
}

static uint64_t interesting_double(struct random *r)
{
  static const uint64_t values[] = {
    0, 0x3ff0000000000000, 0x7ff0000000000000, 0x7ff8000000000000,
    0x7ff0000000000001, 0x7fefffffffffffff, 1, 0x000fffffffffffff,
    0x0010000000000000, 0x41dfffffffc00000, 0x41e0000000000000,
    0x41efffffffe00000, 0x43e0000000000000, 0x43f0000000000000,
    0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000,
    0x41dfffffffe00000, 0x41effffffff00000, 0x47efffffe0000000,
    0x47effffff0000000, 0x380fffffffffffff, 0x36a0000000000000,
    0x7ff800000000dead, 0x3fefffffffffffff, 0x41e0000000100000,
  };
  uint64_t sign = random_next(r) & 0x8000000000000000;
  uint64_t fraction = random_next(r) >> 12 << random_below(r, 53);

  switch (random_below(r, 4)) {
  case 0: return random_next(r);
  case 1: /* of a size near 1, where sums and products meet */
    return sign | (fraction & 0x000fffffffffffff) |
           (uint64_t)(1023 - 60 + random_below(r, 120)) << 52;
  case 2: /* at the ends of the exponents */
    return sign | (fraction & 0x000fffffffffffff) |
           (uint64_t)(random_next(r) & 1 ? random_below(r, 60)
                                         : 2047 - random_below(r, 60))
               << 52;
  }
  return sign | values[random_below(r, sizeof(values) / sizeof(values[0]))];
}

static uint64_t interesting_float(struct random *r)
{
  static const uint32_t values[] = {
    0, 0x3f800000, 0x7f800000, 0x7fc00000, 0x7f800001, 0x7f7fffff, 1,
    0x007fffff, 0x00800000, 0x4effffff, 0x4f000000, 0x4f7fffff, 0x4f800000,
    0x5f000000, 0x5f800000, 0x5effffff, 0x3f000000, 0x3fc00000, 0x40200000,
    0x7fc0dead, 0x3f7fffff, 0x00000002, 0x33800000, 0x34000000,
  };
  const uint64_t box = 0xffffffff00000000;
  uint32_t random = (uint32_t)random_next(r), sign = random & 0x80000000;
  uint32_t fraction = random >> 9 << random_below(r, 24) & 0x007fffff;

  switch (random_below(r, 8)) {
  case 0: return random_next(r); /* not boxed */
  case 1: case 2: return box | random;
  case 3: case 4:
    return box | sign | fraction | (127 - 30 + random_below(r, 60)) << 23;
  case 5:
    return box | sign | fraction |
           (random & 1 ? random_below(r, 30) : 255 - random_below(r, 30)) << 23;
  }
  return box | sign | values[random_below(r, sizeof(values) / sizeof(*values))];
}

static void make_block(struct random *r, uint8_t *block, uint64_t va)
{
  uint64_t value;
  unsigned i;

  memset(block, 0, BLOCK);
  for (i = 0; i < 32; i++) {
    value = interesting_int(r);
    if (i == RISCV_SP)
      value = va + BLOCK_SCRATCH;
    if (i == 8)
      value = va + BLOCK_SCRATCH + 256;
    memcpy(block + 8 * i, &value, 8);
    value = random_next(r) & 1 ? interesting_double(r) : interesting_float(r);
    memcpy(block + BLOCK_F + 8 * i, &value, 8);
  }
  value = random_below(r, 5) << 5 | random_below(r, 32);
  memcpy(block + BLOCK_FCSR, &value, 8);
  for (i = BLOCK_SCRATCH; i < BLOCK; i += 8) {
    value = interesting_int(r);
    memcpy(block + i, &value, 8);
  }
}

/* ---- units ---- */

static void put16(struct unit *u, uint32_t parcel)
{
  u->parcels[u->nparcels++] = (uint16_t)parcel;
}

static void put32(struct unit *u, uint32_t raw)
{
  put16(u, raw);
  put16(u, raw >> 16);
}

static uint32_t addi(unsigned rd, unsigned rs1, int imm)
{
  return NOP | rd << 7 | rs1 << 15 | (uint32_t)imm << 20;
}

static bool is_reserved_register(unsigned n)
{
  return n == RISCV_SP || n == 8 || n == 30 || n == 31;
}

static uint32_t opcode_of(const struct riscv_insn *insn)
{
  return vmmi_riscv_rows[insn->op].match & 0x7f;
}

/* => whether running the encoding as it is can do no harm */
static bool is_harmless(const struct riscv_insn *insn)
{
  uint32_t raw = insn->raw, zimm = raw >> 15 & 31, funct3 = raw >> 12 & 7;

  if (is_reserved_register(insn->rd))
    return false;
  if (opcode_of(insn) != 0x73)
    return true;
  switch (insn->imm) { /* CSRs; no invalid rounding mode */
  case 1: return true;
  case 2: return (funct3 == 5 && zimm < 5) || (funct3 > 1 && zimm == 0);
  case 3: return funct3 == 5 || (funct3 > 1 && zimm == 0);
  }
  return false;
}

/* An access of the scratch memory in place of this one. */
static uint32_t move_access(struct random *r, const struct riscv_insn *insn)
{
  uint32_t raw = insn->raw, imm;

  if (insn->nbytes == 2)
    return (raw & 3) == 2 ? raw : raw & ~0x0380u; /* by x2; else by x8 */
  imm = random_below(r, 504) - 256;
  raw = (raw & ~(31u << 15)) | 8 << 15;
  if (opcode_of(insn) == 0x03 || opcode_of(insn) == 0x07)
    return (raw & 0x000fffff) | imm << 20;
  return (raw & 0x01fff07f) | (imm & 31) << 7 | (imm >> 5 & 127) << 25;
}

static void put_access(struct random *r, struct unit *u,
                       const struct riscv_insn *insn)
{
  uint32_t raw = move_access(r, insn);

  if (insn->nbytes == 2)
    put16(u, raw);
  else
    put32(u, raw);
}

/* An atomic, its address in AMO_ADDRESS; LR and SC come as a pair. */
static void put_atomic(struct random *r, struct unit *u,
                       const struct riscv_insn *insn)
{
  const int width = insn->raw >> 12 & 1 ? 8 : 4;
  const uint32_t address = AMO_ADDRESS << 15;
  uint32_t raw = (insn->raw & ~(31u << 15)) | address;
  bool reserves = insn->op == RISCV_LR_W || insn->op == RISCV_LR_D;
  bool conditional = insn->op == RISCV_SC_W || insn->op == RISCV_SC_D;

  put32(u, addi(AMO_ADDRESS, 8, (int)random_below(r, 24) * width - 96));
  if (!reserves && !conditional) {
    put32(u, raw);
    return;
  }
  raw = (raw & ~(31u << 27)) | 2u << 27;
  put32(u, (raw & ~(31u << 20 | 31u << 7)) | 10 << 7);
  if (random_below(r, 4) == 0)
    put32(u, addi(AMO_ADDRESS, AMO_ADDRESS, width));
  put32(u, raw | 1u << 27 | (11 + random_below(r, 8)) << 20);
}

/* Jumps over an instruction that would be seen. */
static void put_jump(struct random *r, struct unit *u,
                     const struct riscv_insn *insn)
{
  const uint32_t skipped = addi(7, 7, (int)random_below(r, 1000));
  uint32_t raw = insn->raw;

  if (insn->nbytes == 2 && (raw & 3) == 2) { /* c.jr, c.jalr */
    put32(u, 0x17 | JUMP_BASE << 7); /* auipc */
    put32(u, addi(JUMP_BASE, JUMP_BASE, 14));
    put16(u, (raw & 0xf07f) | JUMP_BASE << 7);
    put32(u, skipped);
    return;
  }
  if (insn->nbytes == 2) { /* over 4 bytes: +6 is imm[2:1] in bits 4:3 */
    raw &= insn->op == RISCV_JAL ? 0xe003 : 0xe383;
    put16(u, raw | 3 << 3);
    put32(u, skipped);
    return;
  }
  if (insn->op == RISCV_JALR) {
    put32(u, 0x17 | JUMP_BASE << 7);
    raw = (raw & 0x7fff) | JUMP_BASE << 15 | 12 << 20;
  } else if (insn->op == RISCV_JAL) {
    raw = (raw & 0xfff) | 8 << 20;
  } else {
    raw = (raw & 0x01fff07f) | 8 << 7;
  }
  put32(u, raw);
  put32(u, skipped);
}

static bool make_unit(struct random *r, struct unit *u)
{
  size_t n = random_below(r, RISCV_INSNS + (unsigned)vmmi_riscv_nrows16);
  const struct riscv_row *row = n < RISCV_INSNS
                                    ? &vmmi_riscv_rows[n]
                                    : &vmmi_riscv_rows16[n - RISCV_INSNS];
  uint32_t raw = ((uint32_t)random_next(r) & ~row->mask) | row->match;
  struct riscv_insn insn;

  u->nparcels = 0;
  if (vmmi_riscv_decode(raw, &insn) != 0 || insn.row != row)
    return false;
  if (insn.nbytes == 2 && row->operands[0] == 'X') { /* c.addi16sp */
    put16(u, raw);
    put32(u, addi(RISCV_SP, 8, -256));
    return true;
  }
  if (insn.op == RISCV_ECALL || insn.op == RISCV_EBREAK || !is_harmless(&insn))
    return false;
  switch (opcode_of(&insn)) {
  case 0x03: case 0x07: case 0x23: case 0x27: put_access(r, u, &insn); break;
  case 0x2f: put_atomic(r, u, &insn); break;
  case 0x63: case 0x67: case 0x6f: put_jump(r, u, &insn); break;
  default:
    if (insn.nbytes == 2)
      put16(u, raw);
    else
      put32(u, raw);
  }
  return true;
}

void make_sequence(struct sequence *s, uint64_t seed, uint64_t index,
                   uint64_t va)
{
  struct random r = { seed * 0x2545f4914f6cdd1d + index };
  unsigned i;

  vmmi_riscv_decode_prepare();
  make_block(&r, s->block, va);
  s->nunits = 4 + random_below(&r, UNITS - 3);
  for (i = 0; i < s->nunits; i++)
    while (!make_unit(&r, &s->units[i]))
      ;
}
