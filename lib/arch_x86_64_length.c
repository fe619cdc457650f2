/*
 * The length of an x86-64 instruction (Intel SDM volume 2, chapter 2 and
 * appendix A; AMD APM volume 3 for XOP):
 *
 *   [prefixes] [REX] [0F [38|3A]] opcode [ModRM [SIB] [disp]] [immediate]
 *   VEX C5 p | C4 p p, EVEX 62 p p p, XOP 8F p p:  opcode ModRM ... [imm8]
 *
 * Each opcode is a letter of a map that says what follows it.
 */
#include "arch_x86_64_insn.h"

#include "arch.h"

/*
 *   .  nothing            m  ModRM               r  ModRM, registers only
 *   b  imm8               B  ModRM, imm8         w  imm16
 *   z  imm16/32           Z  ModRM, imm16/32     v  imm16/32/64
 *   j  rel32              o  an address          e  imm16, imm8
 *   g  ModRM, imm8 if TEST                       G  ModRM, imm16/32 if TEST
 *   q  ModRM, two imm8 if there is a prefix 66 or F2 (SSE4a), else ModRM
 *   x  no instruction of 64-bit mode; or a prefix, which never gets here
 */
static const char one_byte_map[] =
    "mmmmbzxxmmmmbzxx" /* 00 */
    "mmmmbzxxmmmmbzxx"
    "mmmmbzxxmmmmbzxx"
    "mmmmbzxxmmmmbzxx"
    "xxxxxxxxxxxxxxxx" /* 40 REX */
    "................"
    "xxxmxxxxzZbB...." /* 60 */
    "bbbbbbbbbbbbbbbb"
    "BZxBmmmmmmmmmmmm" /* 80 */
    "..........x....."
    "oooo....bz......" /* A0 */
    "bbbbbbbbvvvvvvvv"
    "BBw.xxBZe.w..bx." /* C0 */
    "mmmmxxx.mmmmmmmm"
    "bbbbbbbbjjxb...." /* E0 */
    "x.xx..gG......mm";

static const char two_byte_map[] =
    "mmmmx.....x.xm.B" /* 0F 00 */
    "mmmmmmmmmmmmmmmm"
    "rrrrxxxxmmmmmmmm" /* 0F 20 */
    "......x.xxxxxxxx"
    "mmmmmmmmmmmmmmmm" /* 0F 40 */
    "mmmmmmmmmmmmmmmm"
    "mmmmmmmmmmmmmmmm" /* 0F 60 */
    "BBBBmmm.qmxxmmmm"
    "jjjjjjjjjjjjjjjj" /* 0F 80 */
    "mmmmmmmmmmmmmmmm"
    "...mBmxx...mBmmm" /* 0F A0 */
    "mmmmmmmmmmBmmmmm"
    "mmBmBBBm........" /* 0F C0 */
    "mmmmmmmmmmmmmmmm"
    "mmmmmmmmmmmmmmmm" /* 0F E0 */
    "mmmmmmmmmmmmmmmm";

enum {
  OPCODE_REX_W = 1 << 3,
  REGISTER = 3,     /* ModRM.mod */
  SIB_FOLLOWS = 4,  /* ModRM.rm */
  DISP32_ONLY = 5,  /* ModRM.rm or SIB.base, with ModRM.mod 0 */
};

/* => the next byte; past the end 0, and at tells in the end */
static uint8_t read_byte(struct vmmi_x86_insn *insn)
{
  size_t at = insn->at++;

  return at < insn->nbytes ? insn->code[at] : 0;
}

/* => the first byte after the prefixes */
static uint8_t read_prefixes(struct vmmi_x86_insn *insn)
{
  for (;;) {
    uint8_t byte = read_byte(insn);

    if (insn->at > VMMI_ARCH_INSN_MAX)
      return byte;
    if ((byte & 0xf0) == 0x40) {
      insn->rex = byte;
      insn->rex_at = (uint8_t)(insn->at - 1);
      continue;
    }
    switch (byte) {
    case 0x66:
      insn->operand16 = true;
      break;
    case 0x67:
      insn->address32 = true;
      break;
    case 0xf0:
      insn->lock = true;
      break;
    case 0xf2:
    case 0xf3:
      insn->repeat = true;
      insn->f2 = byte == 0xf2;
      break;
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
      break;
    default:
      return byte;
    }
    insn->rex = 0; /* counts only right before the opcode */
  }
}

/* Reads ModRM, SIB and displacement. */
static void read_modrm(struct vmmi_x86_insn *insn)
{
  unsigned mod, rm;

  insn->modrm_at = (uint8_t)insn->at;
  insn->modrm = read_byte(insn);
  mod = insn->modrm >> 6;
  rm = insn->modrm & 7;
  if (mod == REGISTER)
    return;
  if (rm == SIB_FOLLOWS) {
    rm = read_byte(insn) & 7;
    if (rm == SIB_FOLLOWS) /* rsp as a base, not another SIB */
      rm = 0;
  }
  if (mod == 1)
    insn->at += 1;
  else if (mod == 2 || rm == DISP32_ONLY)
    insn->at += 4;
}

/* => bytes of an immediate of 16 or 32 bits */
static size_t word_nbytes(const struct vmmi_x86_insn *insn)
{
  return insn->operand16 && !(insn->rex & OPCODE_REX_W) ? 2 : 4;
}

/* Reads what an opcode's letter says. => false if it is no instruction */
static bool read_operands(struct vmmi_x86_insn *insn, char form)
{
  bool test;

  switch (form) {
  case '.': return true;
  case 'b': insn->at += 1; return true;
  case 'w': insn->at += 2; return true;
  case 'e': insn->at += 3; return true;
  case 'j': insn->at += 4; return true;
  case 'z': insn->at += word_nbytes(insn); return true;
  case 'v':
    insn->at += insn->rex & OPCODE_REX_W ? 8 : word_nbytes(insn);
    return true;
  case 'o': insn->at += insn->address32 ? 4 : 8; return true;
  case 'r': insn->at += 1; return true;
  case 'x': return false;
  }
  read_modrm(insn);
  test = (insn->modrm >> 3 & 7) < 2;
  switch (form) {
  case 'B': insn->at += 1; break;
  case 'Z': insn->at += word_nbytes(insn); break;
  case 'g': insn->at += test ? 1 : 0; break;
  case 'G': insn->at += test ? word_nbytes(insn) : 0; break;
  case 'q': insn->at += insn->operand16 || (insn->repeat && insn->f2) ? 2 : 0;
  }
  return true;
}

/* The opcode and the rest after a VEX, EVEX or XOP prefix that chose the
 * map. */
static bool read_vector(struct vmmi_x86_insn *insn, unsigned map)
{
  enum { XOP_IMM8 = 8, XOP_NONE = 9, XOP_IMM32 = 10 };

  insn->map = (uint8_t)map;
  insn->opcode = read_byte(insn);
  switch (map) {
  case 1: return read_operands(insn, two_byte_map[insn->opcode]);
  case 2: case 5: case 6: case XOP_NONE: return read_operands(insn, 'm');
  case 3: case XOP_IMM8: return read_operands(insn, 'B');
  case XOP_IMM32: read_modrm(insn); insn->at += 4; return true;
  }
  return false;
}

/* => whether it was such a prefix; *valid, whether an instruction followed */
static bool read_vector_prefix(struct vmmi_x86_insn *insn, uint8_t first,
                               bool *valid)
{
  unsigned map;

  insn->vector_at = (uint8_t)(insn->at - 1);
  if (first == VMMI_X86_VEX2) {
    insn->at += 1;
    map = 1;
  } else if (first == VMMI_X86_VEX3) {
    map = read_byte(insn) & 0x1f;
    insn->at += 1;
  } else if (first == VMMI_X86_EVEX) {
    map = read_byte(insn) & 7;
    insn->at += 2;
  } else if (first == VMMI_X86_XOP && insn->at < insn->nbytes &&
             (insn->code[insn->at] & 0x1f) >= 8) { /* else POP, with ModRM */
    map = read_byte(insn) & 0x1f;
    insn->at += 1;
  } else {
    return false;
  }
  insn->vector = first;
  *valid = !insn->rex && !insn->operand16 && !insn->repeat && !insn->lock &&
           (map < 8) == (first != VMMI_X86_XOP) && read_vector(insn, map);
  return true;
}

static bool read_opcode(struct vmmi_x86_insn *insn)
{
  uint8_t byte = read_prefixes(insn);
  bool valid;

  if (insn->at > VMMI_ARCH_INSN_MAX)
    return false;
  if (read_vector_prefix(insn, byte, &valid))
    return valid;
  insn->opcode = byte;
  if (byte != 0x0f)
    return read_operands(insn, one_byte_map[byte]);
  insn->map = 1;
  insn->opcode = byte = read_byte(insn);
  if (byte != 0x38 && byte != 0x3a)
    return read_operands(insn, two_byte_map[byte]);
  insn->map = byte == 0x38 ? 2 : 3;
  insn->opcode = read_byte(insn);
  return read_operands(insn, byte == 0x38 ? 'm' : 'B');
}

bool vmmi_x86_insn_decode(struct vmmi_x86_insn *insn, const void *code,
                          size_t nbytes)
{
  *insn = (struct vmmi_x86_insn){ .code = code, .nbytes = nbytes };
  return read_opcode(insn) && insn->at <= nbytes &&
         insn->at <= VMMI_ARCH_INSN_MAX;
}

size_t vmmi_arch_insn_length(const void *code, size_t nbytes)
{
  struct vmmi_x86_insn insn;

  return vmmi_x86_insn_decode(&insn, code, nbytes) ? insn.at : 0;
}
