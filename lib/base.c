/*
 * How an assertion ends the process: one write and abort, which is what signal
 * context may do.
 */
#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void vmmi_base_panic(const char *message)
{
  static const char head[] = "libvmm: ";
  char line[256];
  size_t n = sizeof(head) - 1;
  size_t rest = strnlen(message, sizeof(line) - n - 1);

  memcpy(line, head, n);
  memcpy(line + n, message, rest);
  n += rest;
  line[n++] = '\n';
  if (write(STDERR_FILENO, line, n) < 0)
    abort();
  abort();
}
