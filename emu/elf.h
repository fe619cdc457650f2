/*
 * ELF programs: checking their headers, and mapping their segments into a
 * space. A file is never trusted: each number in it is checked before it is
 * used, and the first thing that is wrong is told in one line.
 */
#ifndef EMU_ELF_H
#define EMU_ELF_H

#include <stdint.h>

#include <vmm/vmm.h>

#include "linux_isa.h"

enum { ELF_MAX_PHDRS = 128, ELF_MAX_INTERP = 4096, ELF_TEXT = 256 };

struct elf_segment {
  uint64_t offset; /* in the file */
  vmm_addr_t va;   /* before the bias */
  uint64_t filesz;
  uint64_t memsz;
  uint32_t rights; /* VMM_READ ... */
};

struct elf_image {
  const struct linux_isa *isa;
  int position_independent;                   /* the bias may be chosen */
  struct elf_segment segments[ELF_MAX_PHDRS]; /* PT_LOAD, ascending */
  unsigned nsegments;
  unsigned nphdrs;
  vmm_addr_t phdrs; /* where the loaded image shows them; 0: nowhere */
  vmm_addr_t entry;
  vmm_addr_t start, end;       /* of the image; all four before the bias */
  vmm_addr_t bias;             /* set by vmmi_elf_map() */
  char interp[ELF_MAX_INTERP]; /* "" without PT_INTERP */
};

/*
 * Reads and checks the headers of the open file.  isa NULL: any that is known.
 * => 0; -ENOEXEC with what is wrong in text; -errno of reading, likewise
 */
int vmmi_elf_read(struct elf_image *image, int fd, const struct linux_isa *isa,
                  char text[ELF_TEXT]);

/*
 * Maps the segments, moved up by bias.  => 0, or -errno with a text: -ENOEXEC
 * if they do not fit in the space; then a part of them may be mapped.
 */
int vmmi_elf_map(struct elf_image *image, int fd, struct vmm_space *space,
                 vmm_addr_t bias, char text[ELF_TEXT]);

#endif
