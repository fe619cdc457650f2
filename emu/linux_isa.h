/*
 * What the Linux layer has to know about a guest's instruction set: which ELF
 * files are for it, which registers carry a system call, and which numbers the
 * calls have there.  All else in linux_*.c is the same for every guest.
 */
#ifndef EMU_LINUX_ISA_H
#define EMU_LINUX_ISA_H

#include <stddef.h>
#include <stdint.h>

struct linux_call;

struct linux_isa {
  const char *name;    /* for vmm_cpu_create() and vmm_disassemble() */
  const char *machine; /* uname -m */
  uint16_t elf_machine;
  uint8_t elf_class;
  uint8_t elf_data;
  uint32_t elf_flags_refused; /* e_flags of ABIs that the cpu can't run */
  uint64_t space_size;        /* of the user half */
  uint64_t hwcap;             /* AT_HWCAP */
  unsigned pc;                /* registers of vmm_cpu_get() */
  unsigned sp;
  unsigned number;
  unsigned args[6];
  unsigned result;
  unsigned call_nbytes;           /* of the system call instruction */
  const struct linux_call *calls; /* indexed by number */
  size_t ncalls;
};

/* => the descriptor for an ELF e_machine, or NULL */
const struct linux_isa *vmmi_linux_isa_find(uint16_t elf_machine);

#endif
