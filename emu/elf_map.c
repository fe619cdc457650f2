/*
 * Mapping ELF segments: the file's pages privately, so that they are read when
 * they are touched; zeros for what is beyond them.
 *
 *        va                va + filesz         va + memsz
 *   |    |#####################|000000000000000000|    |
 *   ^ page                     |    ^ page             ^ page
 *   +------ of the file -------+zero+--- anonymous ----+
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "elf.h"

struct mapping {
  struct vmm_space *space;
  struct vmm_object *file;
  uint64_t page;
  vmm_addr_t bias;
};

static int map_file(const struct mapping *m, const struct elf_segment *s,
                    vmm_addr_t start, vmm_addr_t end)
{
  struct vmm_map_options options = { 0 };

  options.object = m->file;
  options.offset = s->offset - s->offset % m->page;
  options.rights = s->rights;
  options.flags = VMM_REPLACE | VMM_PRIVATE;
  return vmm_map(m->space, &start, end - start, &options);
}

/* The rest of the last page of the file reads as zeros, if the segment goes on
 * beyond the file. */
static int clear_tail(const struct mapping *m, const struct elf_segment *s,
                      vmm_addr_t from, vmm_addr_t end)
{
  vmm_addr_t page = from - from % m->page;
  int error;

  if (from == end)
    return 0;
  error = vmm_protect(m->space, page, m->page, VMM_READ | VMM_WRITE);
  if (error == 0)
    error = vmm_fill(m->space, from, 0, end - from, NULL);
  if (error == 0)
    error = vmm_protect(m->space, page, m->page, s->rights);
  return error;
}

static int map_segment(const struct mapping *m, const struct elf_segment *s)
{
  vmm_addr_t va = s->va + m->bias;
  vmm_addr_t start = va - va % m->page;
  vmm_addr_t file_end = va + s->filesz + m->page - 1;
  vmm_addr_t end = va + s->memsz + m->page - 1;
  int error = 0;

  file_end -= file_end % m->page;
  end -= end % m->page;
  if (s->filesz == 0)
    file_end = start;
  else
    error = map_file(m, s, start, file_end);
  if (error == 0 && s->filesz != 0 && s->memsz > s->filesz)
    error = clear_tail(m, s, va + s->filesz, file_end);
  if (error == 0 && end > file_end)
    error =
      vmm_map_anon(m->space, file_end, end - file_end, s->rights | VMM_REPLACE);
  return error;
}

/* => an object of the whole file */
static int open_object(struct vmm_object **object, int fd, uint64_t page)
{
  struct stat file;

  if (fstat(fd, &file) != 0)
    return -errno;
  return vmm_object_from_fd(
    object, fd, 0, ((uint64_t)file.st_size + page - 1) / page * page, NULL);
}

int vmmi_elf_map(struct elf_image *image, int fd, struct vmm_space *space,
                 vmm_addr_t bias, char text[ELF_TEXT])
{
  struct mapping m = { .space = space, .bias = bias };
  uint64_t size = vmm_space_size(space);
  int error;

  m.page = vmm_space_page_size(space);
  if (bias > size || image->end > size - bias - m.page) {
    snprintf(text, ELF_TEXT, "it does not fit in the address space");
    return -ENOEXEC;
  }
  error = open_object(&m.file, fd, m.page);
  for (unsigned i = 0; error == 0 && i < image->nsegments; i++)
    error = map_segment(&m, &image->segments[i]);
  vmm_object_release(m.file);
  if (error != 0)
    snprintf(text, ELF_TEXT, "can't be mapped: %s: %s", strerror(-error),
             vmm_error_text());
  image->bias = bias;
  return error;
}
