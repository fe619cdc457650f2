/*
 * The public suites where libvmm takes the host for one of larger pages: linked
 * to the library statically, with VMM_PRETEND_PAGE_SHIFT in the environment.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../lib/os.h"

__attribute__((constructor)) static void pretend(void)
{
  const char *shift = getenv("VMM_PRETEND_PAGE_SHIFT");

  if (shift == NULL) {
    fprintf(stderr, "check-pages: VMM_PRETEND_PAGE_SHIFT is not set\n");
    exit(EXIT_FAILURE);
  }
  vmmi_os_pretend_page_shift((unsigned)atoi(shift));
}
