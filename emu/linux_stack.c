/*
 * The initial stack, as the System V ABI and Linux's fs/binfmt_elf.c lay it
 * out:
 *
 *   sp -> argc | argv ... NULL | envp ... NULL | auxv pairs ... AT_NULL |
 *         padding | 16 random bytes | strings | <- the stack's end
 *
 * sp is a multiple of 16.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "elf.h"
#include "linux.h"

enum {
  MAX_STACK_IMAGE = 2 << 20, /* a quarter of the stack, as Linux */
  RANDOM_BYTES = 16,
  ALIGN = 16,
  TICKS = 100, /* AT_CLKTCK, of every Linux */
};

/* What is pushed, in host memory; it is copied to the guest at once. */
struct image {
  char *bytes;     /* of the stack's last MAX_STACK_IMAGE bytes */
  size_t low;      /* pushed down to here */
  vmm_addr_t base; /* guest address of bytes */
  int error;
};

static vmm_addr_t push(struct image *image, const void *from, size_t nbytes)
{
  if (nbytes > image->low) {
    image->error = -E2BIG;
    return 0;
  }
  image->low -= nbytes;
  memcpy(image->bytes + image->low, from, nbytes);
  return image->base + image->low;
}

static vmm_addr_t push_string(struct image *image, const char *string)
{
  return push(image, string, strlen(string) + 1);
}

static size_t count(char **strings)
{
  size_t n = 0;

  while (strings[n] != NULL)
    n++;
  return n;
}

/* Pushes the strings and stores their addresses, and a zero behind them. */
static uint64_t *push_strings(struct image *image, char **strings,
                              uint64_t *words)
{
  for (; *strings != NULL; strings++)
    *words++ = push_string(image, *strings);
  *words++ = 0;
  return words;
}

static uint64_t *put_aux(uint64_t *words, uint64_t type, uint64_t value)
{
  *words++ = type;
  *words++ = value;
  return words;
}

enum { NAUX = 20 };

/* The vector without what lies on the stack itself. */
static uint64_t *put_auxv(const struct linux_process *p,
                          const struct elf_image *program,
                          const struct elf_image *interp, uint64_t *words)
{
  if (program->phdrs != 0) {
    words = put_aux(words, AT_PHDR, program->phdrs + program->bias);
    words = put_aux(words, AT_PHENT, sizeof(Elf64_Phdr));
    words = put_aux(words, AT_PHNUM, program->nphdrs);
  }
  words = put_aux(words, AT_PAGESZ, p->page);
  words =
    put_aux(words, AT_BASE, interp == NULL ? 0 : interp->bias + interp->start);
  words = put_aux(words, AT_FLAGS, 0);
  words = put_aux(words, AT_ENTRY, program->entry + program->bias);
  words = put_aux(words, AT_UID, getuid());
  words = put_aux(words, AT_EUID, geteuid());
  words = put_aux(words, AT_GID, getgid());
  words = put_aux(words, AT_EGID, getegid());
  words = put_aux(words, AT_HWCAP, p->isa->hwcap);
  words = put_aux(words, AT_CLKTCK, TICKS);
  words = put_aux(words, AT_SECURE, 0);
  return words;
}

static int build(struct image *image, struct linux_process *p,
                 const struct elf_image *program,
                 const struct elf_image *interp,
                 const struct linux_start *start, uint64_t *words)
{
  uint64_t *end = words;
  unsigned char random[RANDOM_BYTES];
  vmm_addr_t execfn = push_string(image, start->program);

  if (getrandom(random, sizeof random, 0) != sizeof random)
    return -errno;
  *end++ = count(start->argv);
  end = push_strings(image, start->argv, end);
  end = push_strings(image, start->envp, end);
  image->low -= image->low % ALIGN;
  end = put_auxv(p, program, interp, end);
  end = put_aux(end, AT_RANDOM, push(image, random, sizeof random));
  end = put_aux(end, AT_EXECFN, execfn);
  end = put_aux(end, AT_NULL, 0);
  if ((end - words) % 2 != 0) /* words are 8 bytes: keep sp aligned */
    push(image, "\0\0\0\0\0\0\0", 8);
  push(image, words, (size_t)(end - words) * sizeof *words);
  return image->error;
}

int vmmi_linux_stack(struct linux_process *p, const struct elf_image *program,
                     const struct elf_image *interp,
                     const struct linux_start *start, vmm_addr_t *sp)
{
  struct image image = { .low = MAX_STACK_IMAGE };
  size_t nwords = 3 + count(start->argv) + count(start->envp) + 2 * NAUX;
  uint64_t *words = calloc(nwords, sizeof *words);
  int error = -ENOMEM;

  image.bytes = malloc(MAX_STACK_IMAGE);
  image.base = p->stack_end - MAX_STACK_IMAGE;
  if (words != NULL && image.bytes != NULL)
    error = build(&image, p, program, interp, start, words);
  *sp = image.base + image.low;
  if (error == 0)
    error = vmm_copyout(p->space, *sp, image.bytes + image.low,
                        MAX_STACK_IMAGE - image.low, NULL);
  free(image.bytes);
  free(words);
  return error;
}
