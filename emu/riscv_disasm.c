/*
 * From rows to text, as GNU objdump -M no-aliases,numeric writes it.
 */
#include "riscv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Text that is cut off at the end of its buffer but counted in full. */
struct text {
  char *at;
  size_t left;
};

static void put(struct text *text, const char *format, ...)
{
  va_list args;
  int n;

  va_start(args, format);
  n = vsnprintf(text->at, text->left, format, args);
  va_end(args);
  if ((size_t)n >= text->left)
    n = text->left == 0 ? 0 : (int)text->left - 1;
  text->at += n;
  text->left -= (size_t)n;
}

static void put_register(struct text *text, unsigned n)
{
  if (n < RISCV_F0)
    put(text, "x%u", n);
  else
    put(text, "f%u", n - RISCV_F0);
}

/* The CSRs that this engine has; others are numbers. */
static void put_csr(struct text *text, unsigned csr)
{
  static const struct {
    unsigned csr;
    const char *name;
  } names[] = { { 1, "fflags" },     { 2, "frm" },      { 3, "fcsr" },
                { 0xc00, "cycle" }, { 0xc01, "time" }, { 0xc02, "instret" } };
  size_t i;

  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (names[i].csr == csr) {
      put(text, "%s", names[i].name);
      return;
    }
  put(text, "0x%x", csr);
}

static void put_fence_set(struct text *text, unsigned set)
{
  static const char letters[] = "iorw";
  unsigned i;

  if (set == 0)
    put(text, "unknown");
  for (i = 0; i < 4; i++)
    if (set & 8 >> i)
      put(text, "%c", letters[i]);
}

static void put_rounding(struct text *text, unsigned rm)
{
  static const char *const names[] = { "rne", "rtz", "rdn", "rup", "rmm" };

  if (rm < 5)
    put(text, ",%s", names[rm]);
}

static void put_order(struct text *text, uint32_t raw)
{
  static const char *const names[] = { "", ".rl", ".aq", ".aqrl" };

  put(text, "%s", names[raw >> 25 & 3]);
}

static void put_operand(struct text *text, char letter, vmm_addr_t pc,
                        const struct riscv_insn *insn)
{
  switch (letter) {
  case 'd': case 'D': put_register(text, insn->rd); break;
  case 's': case 'S': put_register(text, insn->rs1); break;
  case 't': case 'T': put_register(text, insn->rs2); break;
  case 'R': put_register(text, insn->rs3); break;
  case 'j': case 'o': case 'q': put(text, "%" PRId32, insn->imm); break;
  case 'p': case 'a':
    put(text, "0x%" PRIx64, pc + (uint64_t)(int64_t)insn->imm);
    break;
  case 'u': put(text, "0x%" PRIx32, (uint32_t)insn->imm >> 12); break;
  case '>': case '<': put(text, "0x%" PRIx32, insn->imm); break;
  case 'E': put_csr(text, (unsigned)insn->imm); break;
  case 'Z': put(text, "%u", insn->rs1); break;
  case 'P': put_fence_set(text, insn->raw >> 24 & 15); break;
  case 'Q': put_fence_set(text, insn->raw >> 20 & 15); break;
  case 'm': put_rounding(text, insn->rm); break;
  case 'e':
    if (insn->rm != 0)
      put_rounding(text, insn->rm);
    break;
  case '(': case ')': case ',': put(text, "%c", letter); break;
  }
}

static void put_operand16(struct text *text, char letter, vmm_addr_t pc,
                          const struct riscv_insn *insn)
{
  switch (letter) {
  case 'D': case 'n': case 'F': case 'x': case 'k': case 'v': case 'X':
  case 'y': case 'Y':
    put_register(text, insn->rd);
    break;
  case 'r': case 'z': case '2': put_register(text, insn->rs1); break;
  case 't': case 'V': case 'G': case 'q': case 'Q':
    put_register(text, insn->rs2);
    break;
  case 'u': put(text, "0x%" PRIx32, (uint32_t)insn->imm >> 12 & 0xfffff); break;
  case '>': put(text, "0x%" PRIx32, insn->imm); break;
  case 'p': case 'a':
    put(text, "0x%" PRIx64, pc + (uint64_t)(int64_t)insn->imm);
    break;
  case '1': break;
  case '(': case ')': case ',': put(text, "%c", letter); break;
  default: put(text, "%" PRId32, insn->imm); break;
  }
}

static int load_encoding(const uint8_t *code, size_t nbytes, uint32_t *raw)
{
  unsigned length;

  if (nbytes < 2)
    return -EINVAL;
  *raw = code[0] | (uint32_t)code[1] << 8;
  length = vmmi_riscv_length((uint16_t)*raw);
  if (length == 4 && nbytes < 4)
    return -EINVAL;
  if (length == 4)
    *raw |= (uint32_t)code[2] << 16 | (uint32_t)code[3] << 24;
  return 0;
}

int vmmi_riscv_disassemble(vmm_addr_t pc, const void *code, size_t nbytes,
                           char *buffer, size_t size)
{
  struct text text = { buffer, size };
  struct riscv_insn insn;
  const char *letter;
  uint32_t raw;

  if (load_encoding(code, nbytes, &raw) != 0)
    return -EINVAL;
  vmmi_riscv_decode_prepare();
  if (vmmi_riscv_decode(raw, &insn) != 0)
    return -EILSEQ;
  put(&text, "%s", insn.row->name);
  letter = insn.row->operands;
  if (*letter == 'A') {
    put_order(&text, raw);
    letter++;
  }
  if (*letter != '\0')
    put(&text, " ");
  for (; *letter != '\0'; letter++) {
    if (insn.nbytes == 4 && *letter == ',' &&
        (letter[1] == 'm' || letter[1] == 'e'))
      continue; /* the rounding mode brings its comma */
    if (insn.nbytes == 4)
      put_operand(&text, *letter, pc, &insn);
    else
      put_operand16(&text, *letter, pc, &insn);
  }
  return insn.nbytes;
}
