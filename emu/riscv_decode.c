/*
 * From encodings to operands.  Each letter of a row's operands names a field of
 * the encoding; this file takes fields out, riscv_disasm.c prints them.
 *
 *   d s t r   rd rs1 rs2 rs3              D S T R   the same, of f registers
 *   j o q     immediate of I; of I, S before an address
 *   p a u     of B, J, U                  > <       shift count of 6, 5 bits
 *   m e       rounding mode, of what is     A         aq and rl
 *             exact anyhow
 *   E Z       CSR, its immediate          P Q       fence's sets
 *   0 ( ) ,   print themselves or nothing
 *
 * Compressed rows (of 16 bits) have letters of their own, see take_operand16().
 */
#include "riscv.h"

#include <errno.h>
#include <pthread.h>

const struct riscv_row vmmi_riscv_rows[RISCV_INSNS] = {
#define INSN(op, name, operands, mask, match, ...)                             \
  { name, operands, mask, match, RISCV_##op },
#include "riscv_insns.def"
};

const struct riscv_row vmmi_riscv_rows16[] = {
#define INSN16(name, operands, mask, match, op)                                \
  { name, operands, mask, match, RISCV_##op },
#include "riscv_compressed.def"
#undef INSN16
};
const size_t vmmi_riscv_nrows16 =
    sizeof(vmmi_riscv_rows16) / sizeof(vmmi_riscv_rows16[0]);

/* bits [low, low + n) of the encoding, at position at of the result */
static inline uint32_t field(uint32_t raw, unsigned low, unsigned n,
                             unsigned at)
{
  return (raw >> low & ((1u << n) - 1)) << at;
}

static inline int32_t sign(uint32_t value, unsigned nbits)
{
  return (int32_t)(value << (32 - nbits)) >> (32 - nbits);
}

/*  31        25 24   20 19   15 14  12 11      7 6      0
 *   imm[11:0]           rs1    funct3   rd        opcode     I
 *   imm[11:5]    rs2    rs1    funct3   imm[4:0]  opcode     S
 *   imm[12|10:5] rs2    rs1    funct3   imm[4:1|11]          B
 *   imm[31:12]                          rd        opcode     U
 *   imm[20|10:1|11|19:12]               rd        opcode     J */
static int32_t imm_s(uint32_t raw)
{
  return sign(field(raw, 25, 7, 5) | field(raw, 7, 5, 0), 12);
}

static int32_t imm_b(uint32_t raw)
{
  return sign(field(raw, 31, 1, 12) | field(raw, 7, 1, 11) |
                  field(raw, 25, 6, 5) | field(raw, 8, 4, 1),
              13);
}

static int32_t imm_j(uint32_t raw)
{
  return sign(field(raw, 31, 1, 20) | field(raw, 12, 8, 12) |
                  field(raw, 20, 1, 11) | field(raw, 21, 10, 1),
              21);
}

/* => false if the field's value is reserved */
static bool take_operand(char letter, uint32_t raw, struct riscv_insn *insn)
{
  switch (letter) {
  case 'd': insn->rd = field(raw, 7, 5, 0); break;
  case 's': insn->rs1 = field(raw, 15, 5, 0); break;
  case 't': insn->rs2 = field(raw, 20, 5, 0); break;
  case 'D': insn->rd = RISCV_F0 + field(raw, 7, 5, 0); break;
  case 'S': insn->rs1 = RISCV_F0 + field(raw, 15, 5, 0); break;
  case 'T': insn->rs2 = RISCV_F0 + field(raw, 20, 5, 0); break;
  case 'R': insn->rs3 = RISCV_F0 + field(raw, 27, 5, 0); break;
  case 'j':
  case 'o': insn->imm = (int32_t)raw >> 20; break;
  case 'q': insn->imm = imm_s(raw); break;
  case 'p': insn->imm = imm_b(raw); break;
  case 'a': insn->imm = imm_j(raw); break;
  case 'u': insn->imm = (int32_t)(raw & 0xfffff000); break;
  case '>': insn->imm = field(raw, 20, 6, 0); break;
  case '<': insn->imm = field(raw, 20, 5, 0); break;
  case 'E': insn->imm = field(raw, 20, 12, 0); break;
  case 'Z': insn->rs1 = field(raw, 15, 5, 0); break;
  case 'm':
  case 'e':
    insn->rm = field(raw, 12, 3, 0);
    insn->imm = insn->rm ^ RISCV_RM_DYN;
    return insn->rm != 5 && insn->rm != 6;
  }
  return true;
}

/*  c.j:    imm[11|4|9:8|10|6|7|3:1|5] in 12:2
 *  c.beqz: imm[8|4:3] in 12:10, imm[7:6|2:1|5] in 6:2 */
static int32_t imm_cj(uint32_t raw)
{
  return sign(field(raw, 12, 1, 11) | field(raw, 11, 1, 4) |
                  field(raw, 9, 2, 8) | field(raw, 8, 1, 10) |
                  field(raw, 7, 1, 6) | field(raw, 6, 1, 7) |
                  field(raw, 3, 3, 1) | field(raw, 2, 1, 5),
              12);
}

static int32_t imm_cb(uint32_t raw)
{
  return sign(field(raw, 12, 1, 8) | field(raw, 10, 2, 3) |
                  field(raw, 5, 2, 6) | field(raw, 3, 2, 1) |
                  field(raw, 2, 1, 5),
              9);
}

/* Immediates of the compressed formats.  => false if it is reserved */
static bool take_imm16(char letter, uint32_t raw, int32_t *imm)
{
  switch (letter) {
  case 'j': /* CI */
    *imm = sign(field(raw, 12, 1, 5) | field(raw, 2, 5, 0), 6);
    return true;
  case '>':
    *imm = (int32_t)(field(raw, 12, 1, 5) | field(raw, 2, 5, 0));
    return true;
  case 'u':
    *imm = sign(field(raw, 12, 1, 17) | field(raw, 2, 5, 12), 18);
    return *imm != 0;
  case '6': /* c.addi16sp */
    *imm = sign(field(raw, 12, 1, 9) | field(raw, 6, 1, 4) |
                    field(raw, 5, 1, 6) | field(raw, 3, 2, 7) |
                    field(raw, 2, 1, 5),
                10);
    return *imm != 0;
  case '4': /* c.addi4spn */
    *imm = (int32_t)(field(raw, 11, 2, 4) | field(raw, 7, 4, 6) |
                     field(raw, 6, 1, 2) | field(raw, 5, 1, 3));
    return *imm != 0;
  case 'w': /* words, doublewords: CL, CS */
    *imm = (int32_t)(field(raw, 10, 3, 3) | field(raw, 6, 1, 2) |
                     field(raw, 5, 1, 6));
    return true;
  case 'd':
    *imm = (int32_t)(field(raw, 10, 3, 3) | field(raw, 5, 2, 6));
    return true;
  case 'l': /* from the stack: CI */
    *imm = (int32_t)(field(raw, 12, 1, 5) | field(raw, 4, 3, 2) |
                     field(raw, 2, 2, 6));
    return true;
  case 'm':
    *imm = (int32_t)(field(raw, 12, 1, 5) | field(raw, 5, 2, 3) |
                     field(raw, 2, 3, 6));
    return true;
  case 'L': /* to the stack: CSS */
    *imm = (int32_t)(field(raw, 9, 4, 2) | field(raw, 7, 2, 6));
    return true;
  case 'M':
    *imm = (int32_t)(field(raw, 10, 3, 3) | field(raw, 7, 3, 6));
    return true;
  case 'a': *imm = imm_cj(raw); return true;
  case 'p': *imm = imm_cb(raw); return true;
  }
  return true;
}

/*
 *   D n F    rd in 11:7: any, not 0, f     x k v    rd = rs1: any, not 0, 9:7
 *   r        rs1 in 11:7, not 0            t V G    rs2 in 6:2: any, not 0, f
 *   y Y      rd in 4:2, f                  z        rs1 in 9:7
 *   q Q      rs2 in 4:2, f                 2 X      rs1 = x2; rd too
 *   1        rd = x1: not printed
 * and the immediates of take_imm16().
 */
static bool take_operand16(char letter, uint32_t raw, struct riscv_insn *insn)
{
  const uint8_t wide = field(raw, 7, 5, 0), low = field(raw, 2, 5, 0);
  const uint8_t middle = 8 + field(raw, 7, 3, 0);
  const uint8_t small = 8 + field(raw, 2, 3, 0);

  switch (letter) {
  case 'D': insn->rd = wide; break;
  case 'n': insn->rd = wide; return wide != 0;
  case 'F': insn->rd = RISCV_F0 + wide; break;
  case 'x': insn->rd = insn->rs1 = wide; break;
  case 'k': insn->rd = insn->rs1 = wide; return wide != 0;
  case 'v': insn->rd = insn->rs1 = middle; break;
  case 'r': insn->rs1 = wide; return wide != 0;
  case 't': insn->rs2 = low; break;
  case 'V': insn->rs2 = low; return low != 0;
  case 'G': insn->rs2 = RISCV_F0 + low; break;
  case 'y': insn->rd = small; break;
  case 'Y': insn->rd = RISCV_F0 + small; break;
  case 'z': insn->rs1 = middle; break;
  case 'q': insn->rs2 = small; break;
  case 'Q': insn->rs2 = RISCV_F0 + small; break;
  case '2': insn->rs1 = RISCV_SP; break;
  case 'X': insn->rd = insn->rs1 = RISCV_SP; break;
  case '1': insn->rd = RISCV_RA; break;
  default: return take_imm16(letter, raw, &insn->imm);
  }
  return true;
}

/* Where to begin to look: by opcode and funct3, for 16 bits by quadrant and
 * funct3.  A row is entered in every place that its mask allows. */
enum { PLACES = 32 * 8, PLACES16 = 4 * 8, PLACE_ROWS = 40 };
static uint8_t places[PLACES][PLACE_ROWS];
static uint8_t places16[PLACES16][PLACE_ROWS];
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void enter_row(uint8_t *rows, size_t row)
{
  while (*rows != 0)
    rows++;
  *rows = (uint8_t)(row + 1);
}

static void prepare(void)
{
  uint32_t place, bits;
  size_t i;

  for (place = 0; place < PLACES; place++) {
    bits = (place >> 3) << 2 | 3 | (place & 7) << 12;
    for (i = 0; i < RISCV_INSNS; i++) {
      const struct riscv_row *row = &vmmi_riscv_rows[i];

      if (((bits ^ row->match) & row->mask & 0x707f) == 0)
        enter_row(places[place], i);
    }
  }
  for (place = 0; place < PLACES16; place++) {
    bits = place >> 3 | (place & 7) << 13;
    for (i = 0; i < vmmi_riscv_nrows16; i++) {
      const struct riscv_row *row = &vmmi_riscv_rows16[i];

      if (((bits ^ row->match) & row->mask & 0xe003) == 0)
        enter_row(places16[place], i);
    }
  }
}

void vmmi_riscv_decode_prepare(void)
{
  pthread_once(&prepared, prepare);
}

static const struct riscv_row *find_row(const struct riscv_row *rows,
                                        const uint8_t *place, uint32_t raw)
{
  for (; *place != 0; place++) {
    const struct riscv_row *row = &rows[*place - 1];

    if ((raw & row->mask) == row->match)
      return row;
  }
  return NULL;
}

int vmmi_riscv_decode(uint32_t raw, struct riscv_insn *insn)
{
  bool (*take)(char, uint32_t, struct riscv_insn *) = take_operand;
  unsigned nbytes = vmmi_riscv_length((uint16_t)raw);
  const struct riscv_row *row;
  const char *letter;

  if (nbytes == 0)
    return -EILSEQ;
  if (nbytes == 2) {
    raw &= 0xffff;
    take = take_operand16;
    row = find_row(vmmi_riscv_rows16, places16[(raw & 3) << 3 | raw >> 13],
                   raw);
  } else {
    row = find_row(vmmi_riscv_rows,
                   places[(raw >> 2 & 31) << 3 | (raw >> 12 & 7)], raw);
  }
  if (row == NULL)
    return -EILSEQ;
  *insn = (struct riscv_insn){ .row = row, .op = row->op, .raw = raw,
                               .nbytes = (uint8_t)nbytes };
  for (letter = row->operands; *letter != '\0'; letter++)
    if (!take(*letter, raw, insn))
      return -EILSEQ;
  return 0;
}
