/*
 * The registers of an interrupted context, as an instruction names them.
 */
#ifndef VMMI_REGISTERS_H
#define VMMI_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

struct vmmi_register {
  uint8_t number; /* as encoded: 0 rax, 1 rcx, 2 rdx ...; of an XMM register */
  uint8_t nbytes; /* 1, 2, 4, 8; 16: an XMM register */
  bool high;      /* ah, ch, dh, bh: number is that of the whole register */
  bool vector;
};

/* Learns what the processor saves; once, before all else. */
void vmmi_register_prepare(void);

/* All that follow are signal-safe. */
uint64_t vmmi_register_pc(const void *context);
void vmmi_register_set_pc(void *context, uint64_t pc);

/* Fills bytes up to the register's size.  -ENOTSUP  the context has none */
int vmmi_register_read(const void *context, const struct vmmi_register *reg,
                       uint8_t *bytes);
/* As an instruction writes it: 32 bits clear the upper half, 16 and 8 keep
 * it. */
void vmmi_register_write(void *context, const struct vmmi_register *reg,
                         const uint8_t *bytes);
/* Clears what is above the lower 128 bits of a vector register. */
void vmmi_register_clear_upper(void *context, const struct vmmi_register *reg);

#endif
