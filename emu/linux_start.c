/*
 * The start of a guest process: its space, its program, its first registers.
 * The layout follows Linux's legacy one, with mappings growing upward:
 *
 *   0          size/3             size*2/3                           size
 *   | ET_EXEC .. | mmap, interp --> | ET_DYN, brk --> ...  gap| stack |
 *
 * An ET_EXEC program has its brk area after itself, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf.h"
#include "linux.h"

enum {
  STACK_BYTES = 8 << 20,
  GAP_BYTES = 1 << 20,
  SMALLEST_SPACE = 32, /* 2^32 bytes, if the host has no more */
};

static int make_space(struct linux_process *p, const struct linux_start *start,
                      char *text)
{
  struct vmm_space_options options = { 0 };
  int error;

  options.size = p->isa->space_size;
  options.flags = start->exact ? VMM_EXACT : 0;
  if (start->checked) {
    options.flags |= VMM_CHECKED;
    options.page_size = 4096; /* what programs are linked for */
  }
  options.max_frames = start->max_pages;
  do {
    error = vmm_space_create(&p->space, &options);
    options.size /= 2;
  } while (error == -ENOMEM && options.size >= 1ull << SMALLEST_SPACE);
  if (error != 0) {
    snprintf(text, LINUX_TEXT, "can't make an address space: %s: %s",
             strerror(-error), vmm_error_text());
    return LINUX_CANT_HOST;
  }
  p->page = vmm_space_page_size(p->space);
  return 0;
}

static int make_cpu(struct linux_process *p, const struct linux_start *start,
                    char *text)
{
  struct vmm_cpu_options options = { 0 };
  int error;

  options.isa = p->isa->name;
  options.trace = start->trace;
  options.arg = start->trace_arg;
  error = vmm_cpu_create(&p->cpu, p->space, &options);
  if (error == 0)
    return 0;
  snprintf(text, LINUX_TEXT, "can't make a cpu: %s", strerror(-error));
  return LINUX_CANT_HOST;
}

static vmm_addr_t page_up(const struct linux_process *p, vmm_addr_t va)
{
  return (va + p->page - 1) / p->page * p->page;
}

static int map_stack(struct linux_process *p, char *text)
{
  vmm_addr_t size = vmm_space_size(p->space);
  int error;

  p->stack_end = size - p->page;
  p->stack_start = p->stack_end - STACK_BYTES;
  p->mmap_base = page_up(p, size / 3);
  error = vmm_map_anon(p->space, p->stack_start - GAP_BYTES, GAP_BYTES, 0);
  if (error == 0)
    error =
      vmm_map_anon(p->space, p->stack_start, STACK_BYTES, VMM_READ | VMM_WRITE);
  if (error == 0)
    return 0;
  snprintf(text, LINUX_TEXT, "can't map a stack: %s", strerror(-error));
  return LINUX_CANT_HOST;
}

/* Opens a program or interpreter and reads its headers. */
static int open_image(struct linux_process *p, const char *path,
                      struct elf_image *image, int *fd, char *text)
{
  char why[ELF_TEXT];
  int error;

  *fd = vmmi_path_open(p, LINUX_AT_FDCWD, path,
                       O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0); /* a pipe? */
  if (*fd < 0) {
    snprintf(text, LINUX_TEXT, "%.200s: %s", path, strerror(-*fd));
    return *fd == -ENOENT || *fd == -ENOTDIR ? LINUX_CANT_FIND : LINUX_CANT_RUN;
  }
  error = vmmi_elf_read(image, *fd, p->isa, why);
  if (error == 0)
    return 0;
  snprintf(text, LINUX_TEXT, "%.200s: %s", path, why);
  close(*fd);
  return LINUX_CANT_RUN;
}

static int map_image(struct linux_process *p, const char *path,
                     struct elf_image *image, int fd, vmm_addr_t bias,
                     char *text)
{
  char why[ELF_TEXT];
  int error = vmmi_elf_map(image, fd, p->space, bias, why);

  close(fd);
  if (error == 0)
    return 0;
  snprintf(text, LINUX_TEXT, "%.200s: %s", path, why);
  return error == -ENOEXEC ? LINUX_CANT_RUN : LINUX_CANT_HOST;
}

/* => a bias that puts the image at the lowest free place from base on */
static int find_bias(struct linux_process *p, const struct elf_image *image,
                     vmm_addr_t base, vmm_addr_t *bias)
{
  struct vmm_map_options options = { .flags = VMM_ANY };
  vmm_addr_t start = image->start - image->start % p->page;
  uint64_t nbytes = page_up(p, image->end) - start;
  int error = vmm_map(p->space, &base, nbytes, &options);

  if (error == 0)
    error = vmm_unmap(p->space, base, nbytes);
  *bias = base - start;
  return error;
}

static int load_interp(struct linux_process *p, const char *path,
                       struct elf_image *interp, char *text)
{
  vmm_addr_t bias = 0;
  int fd;
  int failure = open_image(p, path, interp, &fd, text);

  if (failure != 0) {
    size_t length = strlen(text);

    snprintf(text + length, LINUX_TEXT - length,
             " (the program's interpreter)");
    return failure;
  }
  if (interp->position_independent &&
      find_bias(p, interp, p->mmap_base, &bias) != 0) {
    snprintf(text, LINUX_TEXT, "%.200s: it does not fit in the address space",
             path);
    close(fd);
    return LINUX_CANT_RUN;
  }
  failure = map_image(p, path, interp, fd, bias, text);
  p->interp_start = interp->start + interp->bias;
  p->interp_end = interp->end + interp->bias;
  return failure;
}

/* The program's headers say which machine the rest is made for. */
static int load(struct linux_process *p, const struct linux_start *start,
                struct elf_image *program, struct elf_image *interp, char *text)
{
  vmm_addr_t bias = 0;
  int fd;
  int failure = open_image(p, start->program, program, &fd, text);

  if (failure != 0)
    return failure;
  p->isa = program->isa;
  if (vmmi_path_of(p, fd, p->exe) < 0)
    snprintf(p->exe, sizeof p->exe, "%s", start->program);
  failure = make_space(p, start, text);
  if (failure == 0)
    failure = make_cpu(p, start, text);
  if (failure != 0) {
    close(fd);
    return failure;
  }
  if (program->position_independent)
    bias = page_up(p, vmm_space_size(p->space) / 3 * 2) -
           program->start / p->page * p->page;
  failure = map_image(p, start->program, program, fd, bias, text);
  p->image_start = program->start + program->bias;
  p->image_end = program->end + program->bias;
  p->brk_start = p->brk = page_up(p, p->image_end);
  if (failure == 0)
    failure = map_stack(p, text);
  if (failure == 0 && program->interp[0] != '\0')
    failure = load_interp(p, program->interp, interp, text);
  return failure;
}

static void lower(uint64_t *limit, uint64_t most)
{
  if (*limit > most)
    *limit = most;
}

static void init_limits(struct linux_process *p)
{
  for (int i = 0; i < LINUX_NRLIMITS; i++) {
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    getrlimit(i, &limit);
    p->limits[i].soft = limit.rlim_cur;
    p->limits[i].hard = limit.rlim_max;
  }
  p->limits[RLIMIT_STACK].soft = STACK_BYTES;
  lower(&p->limits[RLIMIT_NOFILE].soft, LINUX_NOFILE);
  lower(&p->limits[RLIMIT_NOFILE].hard, LINUX_NOFILE);
}

static int init_files(struct linux_process *p, const char *root, char *text)
{
  int error = vmmi_path_init(p, root);

  if (error == -ENOSYS) {
    snprintf(text, LINUX_TEXT, "--root needs openat2(), which this host lacks");
    return LINUX_CANT_HOST;
  }
  if (error != 0) {
    snprintf(text, LINUX_TEXT, "--root %.200s: %s", root, strerror(-error));
    return LINUX_CANT_HOST;
  }
  error = vmmi_fd_init(p);
  if (error == 0)
    return 0;
  snprintf(text, LINUX_TEXT, "can't duplicate the standard descriptors: %s",
           strerror(-error));
  return LINUX_CANT_HOST;
}

int vmmi_linux_start(struct linux_process *p, const struct linux_start *start,
                     char text[LINUX_TEXT])
{
  struct elf_image *images = calloc(2, sizeof *images); /* program, interp */
  vmm_addr_t sp = 0;
  int failure = LINUX_CANT_HOST;

  p->root_fd = -1;
  if (images == NULL) {
    snprintf(text, LINUX_TEXT, "no memory");
    return failure;
  }
  init_limits(p);
  failure = init_files(p, start->root, text);
  if (failure == 0)
    failure = load(p, start, &images[0], &images[1], text);
  if (failure == 0) {
    int has_interp = images[1].isa != NULL;
    const struct elf_image *first = &images[has_interp];
    int error =
      vmmi_linux_stack(p, &images[0], has_interp ? first : NULL, start, &sp);

    if (error != 0) {
      snprintf(text, LINUX_TEXT, "can't pass the arguments: %s",
               strerror(-error));
      failure = LINUX_CANT_RUN;
    } else {
      vmm_cpu_set(p->cpu, p->isa->pc, first->entry + first->bias);
      vmm_cpu_set(p->cpu, p->isa->sp, sp);
    }
  }
  free(images);
  return failure;
}

void vmmi_linux_finish(struct linux_process *p)
{
  vmm_cpu_destroy(p->cpu);
  vmm_space_destroy(p->space);
  vmmi_fd_finish(p);
  if (p->root_fd >= 0)
    close(p->root_fd);
}
