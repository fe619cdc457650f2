/*
 * riscv-encodings FILE: writes to FILE encodings of all rows of the RISC-V
 * table and all compressed ones, and prints "address text" of each, "-" for what
 * is no instruction.  Left out is what GNU objdump 2.40 is known to see
 * otherwise: reserved fields of fences, rounding modes of exact conversions,
 * names of CSRs that the engine has not, c.addi16sp of 0.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "diff.h"
#include "emu/riscv.h"

enum { EACH = 200, C_ADDI16SP_0 = 0x6101, EXACT_ROUNDING = 'e' };

static void put(FILE *file, uint64_t *pc, const uint32_t *raw, size_t nbytes)
{
  char text[80];
  int n = vmm_disassemble(NULL, *pc, raw, nbytes, text, sizeof(text));

  fwrite(raw, nbytes, 1, file);
  printf("%" PRIx64 " %s\n", *pc, n < 0 ? "-" : text);
  *pc += nbytes;
}

/* => false if objdump writes something else */
static bool is_common(uint32_t raw)
{
  static const unsigned csrs[] = { 1, 2, 3, 0xc00, 0xc01, 0xc02 };
  struct riscv_insn insn;
  const char *letter;
  size_t i;

  if (vmmi_riscv_decode(raw, &insn) != 0)
    return false;
  if ((raw & 0x7f) == 0x0f)
    return insn.op == RISCV_FENCE ? (raw & 0xf00fff80) == 0 && raw >> 24 &&
                                        (raw >> 20 & 15)
                                  : raw == vmmi_riscv_rows[insn.op].match;
  for (letter = insn.row->operands; *letter != '\0'; letter++) {
    if (*letter == EXACT_ROUNDING && insn.rm != 0)
      return false;
    if (*letter != 'E')
      continue;
    for (i = 0; i < sizeof(csrs) / sizeof(csrs[0]); i++)
      if (insn.imm == (int)csrs[i])
        return true;
    return false;
  }
  return true;
}

/* Changes what is random of the row's encoding so that it is common. */
static uint32_t draw(struct random *r, const struct riscv_row *row)
{
  uint32_t raw, csr = random_below(r, 3) + 1 + (random_next(r) & 1) * 0xbff;

  do {
    raw = ((uint32_t)random_next(r) & ~row->mask) | row->match;
    if ((raw & 0x7f) == 0x73 && row->mask != 0xffffffff)
      raw = (raw & 0xfffff) | csr << 20;
    if ((raw & 0x7f) == 0x0f)
      raw = (raw & ~0xf00fff80 & ~row->mask) | row->match;
  } while (!is_common(raw));
  return raw;
}

int main(int argc, char **argv)
{
  struct random r = { 1 };
  uint64_t pc = 0;
  uint32_t raw;
  unsigned i, j;
  FILE *file;

  if (argc != 2 || (file = fopen(argv[1], "wb")) == NULL) {
    fprintf(stderr, "usage: riscv-encodings FILE\n");
    return 2;
  }
  vmmi_riscv_decode_prepare();
  for (raw = 0; raw < 0x10000; raw++)
    if ((raw & 3) != 3 && raw != C_ADDI16SP_0)
      put(file, &pc, &raw, 2);
  for (i = 0; i < RISCV_INSNS; i++)
    for (j = 0; j < EACH; j++) {
      raw = draw(&r, &vmmi_riscv_rows[i]);
      put(file, &pc, &raw, 4);
    }
  return fclose(file) == 0 ? 0 : 1;
}
