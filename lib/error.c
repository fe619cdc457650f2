/*
 * Why the calling thread's last call failed, in words.  vmmi_error() of
 * thread.c has kept a literal and the host's errno; they become one text when
 * asked for, so that failing costs nothing in signal context.
 */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <string.h>

#include <vmm/debug.h>

#include "thread.h"

const char *vmm_error_text(void)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  char words[80];

  if (self->error == NULL)
    return "no call failed";
  if (self->error_host == 0)
    return self->error;
  snprintf(self->text, sizeof(self->text), "%s: %s", self->error,
           strerror_r(self->error_host, words, sizeof(words)));
  return self->text;
}
