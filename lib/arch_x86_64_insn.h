/*
 * An x86-64 instruction as far as its length, its memory operand and what it
 * does to the pc need it; arch_x86_64_length.c reads it.  Layer 1.
 */
#ifndef VMMI_ARCH_X86_64_INSN_H
#define VMMI_ARCH_X86_64_INSN_H

#include "base.h"

struct vmmi_x86_insn {
  const uint8_t *code;
  size_t nbytes;     /* readable at code */
  size_t at;         /* of them read; in the end its length */
  uint8_t map;       /* of the opcode: 0; 1 0F; 2 0F 38; 3 0F 3A; vectors' */
  uint8_t opcode;
  uint8_t modrm;
  uint8_t modrm_at;  /* 0: it has none */
  uint8_t rex;       /* or 0 */
  uint8_t rex_at;
  uint8_t vector;    /* VMMI_X86_VEX2 ..., or 0 */
  uint8_t vector_at;
  bool operand16;    /* prefix 66 */
  bool address32;    /* prefix 67 */
  bool repeat;       /* prefix F2 or F3 */
  bool f2;           /* the last of those was F2 */
  bool lock;         /* prefix F0 */
};

/* The first byte of a prefix that holds the map too. */
enum {
  VMMI_X86_EVEX = 0x62,
  VMMI_X86_XOP = 0x8f,
  VMMI_X86_VEX3 = 0xc4,
  VMMI_X86_VEX2 = 0xc5,
};

/* => whether the first of nbytes at code are an instruction; signal-safe */
bool vmmi_x86_insn_decode(struct vmmi_x86_insn *insn, const void *code,
                          size_t nbytes);

#endif
