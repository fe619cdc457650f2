/*
 * The runner of Check suites, for people and for `make check`.
 *
 * Its arguments are the suites to run, all of them if there are none; Check's
 * own CK_RUN_CASE chooses further, CK_FORK=no is for debuggers.  With VMM_TAP
 * in the environment standard output is TAP alone, a line a test, and what the
 * tests themselves print goes to standard error.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static const struct vmm_test_suite *find(const char *name)
{
  const struct vmm_test_suite *suite = vmm_test_suites;

  while (suite->name != NULL && strcmp(suite->name, name) != 0)
    suite++;
  if (suite->name == NULL) {
    fprintf(stderr, "check: no suite %s\n", name);
    exit(EXIT_FAILURE);
  }
  return suite;
}

static void add_suites(SRunner *runner, char **names)
{
  const struct vmm_test_suite *suite;

  if (*names == NULL)
    for (suite = vmm_test_suites; suite->name != NULL; suite++)
      srunner_add_suite(runner, suite->make());
  for (; *names != NULL; names++)
    srunner_add_suite(runner, find(*names)->make());
}

int main(int argc, char **argv)
{
  SRunner *runner = srunner_create(NULL);
  int failed, tap;

  /* Against a hang, not a measure of speed. */
  setenv("CK_DEFAULT_TIMEOUT", "300", 0);
  add_suites(runner, argv + (argc > 0));
  tap = log_tap(runner);
  srunner_run_all(runner, tap ? CK_SILENT : CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  /* In TAP the lines tell; a status would count the whole program as well. */
  return !tap && failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
