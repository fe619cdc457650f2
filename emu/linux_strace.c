/*
 * --strace: a line a system call, from the formats in linux_table.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "linux.h"
#include "linux_table.h"

enum { SHOWN = 64 }; /* of a string */

static void show_string(struct linux_process *p, vmm_addr_t at)
{
  char text[SHOWN + 1] = { 0 };
  int error = vmm_copyin_string(p->space, text, at, SHOWN, NULL);

  if (error != 0 && error != -ENAMETOOLONG) {
    fprintf(p->strace, "0x%" PRIx64, at);
    return;
  }
  fputc('"', p->strace);
  for (size_t i = 0; text[i] != '\0'; i++)
    if (text[i] >= ' ' && text[i] < 127 && text[i] != '"' && text[i] != '\\')
      fputc(text[i], p->strace);
    else
      fprintf(p->strace, "\\x%02x", (unsigned char)text[i]);
  fprintf(p->strace, text[SHOWN - 1] != '\0' ? "\"..." : "\"");
}

static void show(struct linux_process *p, char format, uint64_t value)
{
  switch (format) {
  case 'd':
    fprintf(p->strace, "%" PRId64, (int64_t)value);
    break;
  case 'u':
    fprintf(p->strace, "%" PRIu64, value);
    break;
  case 'o':
    fprintf(p->strace, "0%" PRIo32, (uint32_t)value);
    break;
  case 'f':
    if ((int32_t)value == LINUX_AT_FDCWD)
      fputs("AT_FDCWD", p->strace);
    else
      fprintf(p->strace, "%" PRId32, (int32_t)value);
    break;
  case 's':
    show_string(p, value);
    break;
  default:
    fprintf(p->strace, "0x%" PRIx64, value);
  }
}

void vmmi_strace_enter(struct linux_process *p, uint64_t number,
                       const uint64_t *args)
{
  const char *format = "xxxxxx";

  if (number < p->isa->ncalls && p->isa->calls[number].name != NULL) {
    fputs(p->isa->calls[number].name, p->strace);
    format = p->isa->calls[number].format;
  } else {
    fprintf(p->strace, "syscall_%" PRIu64, number);
  }
  fputc('(', p->strace);
  for (int i = 0; format[i] != '\0'; i++) {
    if (i > 0)
      fputs(", ", p->strace);
    show(p, format[i], args[i]);
  }
  fputc(')', p->strace);
  fflush(p->strace);
}

void vmmi_strace_leave(struct linux_process *p, uint64_t number, int64_t result)
{
  const int64_t last_errno = 4095;
  int known = number < p->isa->ncalls && p->isa->calls[number].name != NULL;

  if (p->end == LINUX_EXITED)
    fputs(" = ?\n", p->strace);
  else if (result < 0 && result >= -last_errno)
    fprintf(p->strace, " = %" PRId64 " (%s)\n", result,
            known ? strerror((int)-result) : "unknown system call");
  else if (result >= 0 && result < 1 << 20)
    fprintf(p->strace, " = %" PRId64 "\n", result);
  else
    fprintf(p->strace, " = 0x%" PRIx64 "\n", (uint64_t)result);
}
