/*
 * Reading ELF headers.  Checked here is all that mapping and starting rely on;
 * layouts are those of the System V ABI, chapters 4 and 5.
 */
#include "elf.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int bad(char text[ELF_TEXT], const char *why)
{
  snprintf(text, ELF_TEXT, "%s", why);
  return -ENOEXEC;
}

/* => 0; -ENOEXEC if the file ends before; -errno of pread() */
static int read_at(int fd, void *to, size_t nbytes, uint64_t offset,
                   char text[ELF_TEXT])
{
  char *at = to;

  if (offset > INT64_MAX - nbytes) /* nbytes: a few KiB */
    return bad(text, "an offset in it wraps");
  while (nbytes > 0) {
    ssize_t n = pread(fd, at, nbytes, (off_t)offset);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      int error = -errno;

      snprintf(text, ELF_TEXT, "can't read: %s", strerror(-error));
      return error;
    }
    if (n == 0)
      return bad(text, "truncated ELF file");
    at += n;
    offset += (uint64_t)n;
    nbytes -= (size_t)n;
  }
  return 0;
}

static int check_ident(const unsigned char *ident, char text[ELF_TEXT])
{
  if (memcmp(ident, ELFMAG, SELFMAG) != 0)
    return bad(text, "not an ELF file");
  if (ident[EI_CLASS] != ELFCLASS64)
    return bad(text, "wrong ELF class: 64-bit programs only");
  if (ident[EI_DATA] != ELFDATA2LSB)
    return bad(text, "wrong byte order: little-endian programs only");
  if (ident[EI_VERSION] != EV_CURRENT)
    return bad(text, "unknown ELF version");
  return 0;
}

static int check_header(struct elf_image *image, const Elf64_Ehdr *header,
                        const struct linux_isa *isa, char text[ELF_TEXT])
{
  const struct linux_isa *found = vmmi_linux_isa_find(header->e_machine);

  if (found == NULL || (isa != NULL && found != isa)) {
    snprintf(text, ELF_TEXT, "wrong machine: ELF machine %u, not %s",
             header->e_machine, isa != NULL ? isa->machine : "riscv64");
    return -ENOEXEC;
  }
  if (header->e_flags & found->elf_flags_refused)
    return bad(text, "an ABI of the machine that is not supported");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return bad(text, "not a program: neither ET_EXEC nor ET_DYN");
  if (header->e_phnum == 0)
    return bad(text, "no program headers");
  if (header->e_phnum > ELF_MAX_PHDRS)
    return bad(text, "too many program headers: more than 128");
  if (header->e_phentsize != sizeof(Elf64_Phdr))
    return bad(text, "program headers of an unknown size");
  image->isa = found;
  image->position_independent = header->e_type == ET_DYN;
  image->nphdrs = header->e_phnum;
  image->entry = header->e_entry;
  return 0;
}

static uint32_t rights_of(uint32_t flags)
{
  uint32_t rights = 0;

  if (flags & PF_R)
    rights |= VMM_READ;
  if (flags & PF_W)
    rights |= VMM_READ | VMM_WRITE;
  if (flags & PF_X)
    rights |= VMM_EXEC;
  return rights;
}

static int add_segment(struct elf_image *image, const Elf64_Phdr *phdr,
                       uint64_t file_size, char text[ELF_TEXT])
{
  const uint64_t page = 4096;
  struct elf_segment *segment = &image->segments[image->nsegments];

  if (phdr->p_memsz == 0)
    return 0;
  if (phdr->p_filesz > phdr->p_memsz)
    return bad(text, "a segment is larger in the file than in memory");
  if (phdr->p_offset > file_size || phdr->p_filesz > file_size - phdr->p_offset)
    return bad(text, "truncated ELF file: a segment lies beyond its end");
  if (phdr->p_memsz > INT64_MAX - page ||
      phdr->p_vaddr > INT64_MAX - page - phdr->p_memsz)
    return bad(text, "a segment wraps");
  if ((phdr->p_vaddr - phdr->p_offset) % page != 0)
    return bad(text, "a segment's address and offset do not fit together");
  if (image->nsegments > 0 && phdr->p_vaddr < image->end)
    return bad(text, "segments overlap or are not in ascending order");
  segment->offset = phdr->p_offset;
  segment->va = phdr->p_vaddr;
  segment->filesz = phdr->p_filesz;
  segment->memsz = phdr->p_memsz;
  segment->rights = rights_of(phdr->p_flags);
  if (image->nsegments++ == 0)
    image->start = phdr->p_vaddr;
  image->end = phdr->p_vaddr + phdr->p_memsz;
  return 0;
}

static int read_interp(struct elf_image *image, int fd, const Elf64_Phdr *phdr,
                       char text[ELF_TEXT])
{
  int error;

  if (phdr->p_filesz < 2 || phdr->p_filesz > ELF_MAX_INTERP)
    return bad(text, "the interpreter's name has a bad length");
  error = read_at(fd, image->interp, phdr->p_filesz, phdr->p_offset, text);
  if (error != 0)
    return error;
  if (image->interp[phdr->p_filesz - 1] != '\0' || image->interp[0] == '\0')
    return bad(text, "the interpreter's name is no string");
  return 0;
}

/* => whether [va, va + nbytes) lies in the file's bytes of one segment */
static int in_file_bytes(const struct elf_image *image, vmm_addr_t va,
                         uint64_t nbytes)
{
  for (unsigned i = 0; i < image->nsegments; i++) {
    const struct elf_segment *s = &image->segments[i];

    if (va >= s->va && va - s->va < s->filesz &&
        nbytes <= s->filesz - (va - s->va))
      return 1;
  }
  return 0;
}

/* Where the program sees its own headers: PT_PHDR, or the segment that holds
 * that part of the file. */
static vmm_addr_t find_phdrs(const struct elf_image *image,
                             const Elf64_Phdr *phdrs, uint64_t offset)
{
  uint64_t nbytes = image->nphdrs * sizeof *phdrs;

  for (unsigned i = 0; i < image->nphdrs; i++)
    if (phdrs[i].p_type == PT_PHDR)
      return in_file_bytes(image, phdrs[i].p_vaddr, nbytes) ? phdrs[i].p_vaddr
                                                            : 0;
  for (unsigned i = 0; i < image->nsegments; i++) {
    const struct elf_segment *s = &image->segments[i];

    if (offset >= s->offset && offset - s->offset < s->filesz &&
        nbytes <= s->filesz - (offset - s->offset))
      return s->va + (offset - s->offset);
  }
  return 0;
}

static int check_entry(const struct elf_image *image, char text[ELF_TEXT])
{
  for (unsigned i = 0; i < image->nsegments; i++) {
    const struct elf_segment *s = &image->segments[i];

    if (image->entry < s->va || image->entry - s->va >= s->memsz)
      continue;
    if (!(s->rights & VMM_EXEC))
      return bad(text, "the entry is in a segment that is not executable");
    return 0;
  }
  return bad(text, "the entry is outside of the segments");
}

static int read_segments(struct elf_image *image, int fd,
                         const Elf64_Phdr *phdrs, uint64_t file_size,
                         char text[ELF_TEXT])
{
  for (unsigned i = 0; i < image->nphdrs; i++) {
    int error = 0;

    if (phdrs[i].p_type == PT_LOAD)
      error = add_segment(image, &phdrs[i], file_size, text);
    else if (phdrs[i].p_type == PT_INTERP && image->interp[0] == '\0')
      error = read_interp(image, fd, &phdrs[i], text);
    if (error != 0)
      return error;
  }
  if (image->nsegments == 0)
    return bad(text, "nothing to load: no PT_LOAD segment");
  return 0;
}

int vmmi_elf_read(struct elf_image *image, int fd, const struct linux_isa *isa,
                  char text[ELF_TEXT])
{
  Elf64_Phdr phdrs[ELF_MAX_PHDRS];
  Elf64_Ehdr header;
  struct stat file;
  int error;

  memset(image, 0, sizeof *image);
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
    return bad(text, "not a regular file");
  if (file.st_size < EI_NIDENT)
    return bad(text, "not an ELF file");
  error = read_at(fd, header.e_ident, EI_NIDENT, 0, text);
  if (error == 0)
    error = check_ident(header.e_ident, text);
  if (error == 0)
    error = read_at(fd, &header, sizeof header, 0, text);
  if (error == 0)
    error = check_header(image, &header, isa, text);
  if (error == 0)
    error =
      read_at(fd, phdrs, image->nphdrs * sizeof phdrs[0], header.e_phoff, text);
  if (error == 0)
    error = read_segments(image, fd, phdrs, (uint64_t)file.st_size, text);
  if (error != 0)
    return error;
  image->phdrs = find_phdrs(image, phdrs, header.e_phoff);
  return check_entry(image, text);
}
