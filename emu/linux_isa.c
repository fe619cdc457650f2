/*
 * The guests' instruction sets, a descriptor each.
 */
#include "linux_isa.h"

#include <elf.h>

#include <vmm/emu.h>

#include "linux_table.h"

/* AT_HWCAP of RISC-V: a bit a letter of the single-letter extensions. */
#define RISCV_LETTER(letter) ((uint64_t)1 << ((letter) - 'A'))

enum {
  RISCV_RVE = 0x8, /* e_flags: the 16-register ABI */
  RISCV_SP = 2,
  RISCV_A0 = 10,
  RISCV_A7 = 17,
};

static const struct linux_isa isas[] = {
  {
    .name = "rv64gc",
    .machine = "riscv64",
    .elf_machine = EM_RISCV,
    .elf_class = ELFCLASS64,
    .elf_data = ELFDATA2LSB,
    .elf_flags_refused = RISCV_RVE,
    .space_size = (uint64_t)1 << 38, /* the user half of Sv39 */
    .hwcap = RISCV_LETTER('I') | RISCV_LETTER('M') | RISCV_LETTER('A') |
             RISCV_LETTER('F') | RISCV_LETTER('D') | RISCV_LETTER('C'),
    .pc = VMM_RISCV_PC,
    .sp = RISCV_SP,
    .number = RISCV_A7,
    .args = { RISCV_A0, RISCV_A0 + 1, RISCV_A0 + 2, RISCV_A0 + 3, RISCV_A0 + 4,
              RISCV_A0 + 5 },
    .result = RISCV_A0,
    .call_nbytes = 4,
    .calls = vmmi_linux_generic,
    .ncalls = LINUX_GENERIC_CALLS,
  },
};

const struct linux_isa *vmmi_linux_isa_find(uint16_t elf_machine)
{
  for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++)
    if (isas[i].elf_machine == elf_machine)
      return &isas[i];
  return NULL;
}
