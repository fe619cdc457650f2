/*
 * The runner of Check suites, for people and for `make check`.
 *
 * For people it is Check's own: CK_RUN_SUITE and CK_RUN_CASE choose, CK_FORK=no
 * runs under a debugger.  With VMM_TAP in the environment standard output is
 * TAP alone, a line a test, and what the tests themselves print goes to standard
 * error.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "suites.h"

/* => whether the runner's log is TAP on what was standard output */
static int log_tap(SRunner *runner)
{
  static char path[32]; /* which the runner keeps */
  int out;

  if (getenv("VMM_TAP") == NULL)
    return 0;
  out = dup(STDOUT_FILENO);
  if (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    perror("check");
    exit(EXIT_FAILURE);
  }
  snprintf(path, sizeof(path), "/dev/fd/%d", out);
  srunner_set_tap(runner, path);
  return 1;
}

int main(void)
{
  SRunner *runner = srunner_create(NULL);
  int failed, tap, i;

  /* Against a hang, not a measure of speed. */
  setenv("CK_DEFAULT_TIMEOUT", "300", 0);
  for (i = 0; vmm_test_suites[i] != NULL; i++)
    srunner_add_suite(runner, vmm_test_suites[i]());
  tap = log_tap(runner);
  srunner_run_all(runner, tap ? CK_SILENT : CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  /* In TAP the lines tell; a status would count the whole program as well. */
  return !tap && failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
