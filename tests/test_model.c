/*
 * Random operations on spaces with mirrors, private mappings, forks, snapshots,
 * trackers, pins, decoded code and a host that sometimes refuses, against the
 * reference model: bytes, rights, bits, errors, and counts of faults.
 *
 * That it can fail was tried: it caught a fork that does not narrow, or leaves SWRITE;
 * an unpin that forgets trackers; private reads without copy-on-write; a shared frame
 * taken for one's own; cleared bits that stay in the window; written code that is not
 * told; an unmap that trackers miss; a look that misses pages held for writing; a
 * hart's window that is not marked, or not visited, for a new mapping; a user's view
 * that shows the supervisor's memory.
 *
 * VMM_SEED and VMM_OPS of the environment choose the run, VMM_TRACE=1 shows it, and
 * VMM_ONLY (numbers, as a failure prints them) runs some operations alone.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "model_run.h"
#include "probe.h"

enum { LIFE = 20000, OPERATIONS = 100000 };

/* => the numbers of VMM_ONLY, *count of them; NULL: all */
static uint32_t *read_only(uint32_t *count)
{
  char *text = getenv("VMM_ONLY");
  uint32_t *only = NULL;

  *count = 0;
  while (text != NULL && *text != '\0') {
    char *end;
    uint32_t number = (uint32_t)strtoul(text, &end, 0);

    only = realloc(only, (*count + 1) * sizeof(only[0]));
    ck_assert_ptr_nonnull(only);
    only[(*count)++] = number;
    text = *end == ',' ? end + 1 : end;
    ck_assert_msg(end != text || *end == '\0', "VMM_ONLY: numbers and commas");
  }
  return only;
}

static void run_life(struct model_run *run)
{
  struct model_report *report =
      mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(report, MAP_FAILED);
  if (!model_live(run, report)) {
    uint32_t number = report->number;

    /* who gives us too little time to shrink it is to know it too */
    printf("# VMM_SEED=%" PRIu64 ", operation %u: %s\n", run->seed, number,
           report->text);
    fflush(stdout);
    if (run->only == NULL)
      model_shrink(run, report);
    ck_abort_msg("VMM_SEED=%" PRIu64 ", operation %u: %s", run->seed, number,
                 report->text);
  }
  munmap(report, sizeof(*report));
}

static void run_lives(struct model_run run, unsigned i)
{
  uint64_t operations = probe_setting("VMM_OPS", OPERATIONS);
  /* the same lives each time, so that a change is what makes them differ;
   * VMM_SEED, and make check-model, live others */
  uint64_t seed = probe_setting("VMM_SEED", 20261128) + (uint64_t)i * 1000000;
  uint32_t *only = read_only(&run.count);

  run.trace = probe_setting("VMM_TRACE", 0) != 0;
  if (only != NULL) {
    run.seed = seed;
    run.only = only;
    run_life(&run);
    operations = 0;
  }
  for (uint64_t done = 0; done < operations; done += run.count) {
    run.seed = seed++;
    run.count = operations - done < LIFE ? (uint32_t)(operations - done) : LIFE;
    run_life(&run);
  }
  free(only);
}

/* _i: a tenth of the operations each */
START_TEST(random_operations_equal_the_model)
{
  run_lives((struct model_run){ .harts = false }, (unsigned)_i);
}
END_TEST

START_TEST(accesses_by_harts_equal_the_model)
{
  run_lives((struct model_run){ .harts = true }, (unsigned)_i);
}
END_TEST

START_TEST(operations_of_threads_equal_the_model)
{
  run_lives((struct model_run){ .lanes = true }, (unsigned)_i);
}
END_TEST

Suite *vmm_suite_model(void);

Suite *vmm_suite_model(void)
{
  Suite *suite = suite_create("model");
  TCase *tcase = tcase_create("model");

  tcase_set_timeout(tcase, 300 + (double)probe_setting("VMM_OPS", 0) / 1000);
  tcase_add_loop_test(tcase, random_operations_equal_the_model, 0, 10);
  tcase_add_loop_test(tcase, accesses_by_harts_equal_the_model, 0, 10);
  tcase_add_test(tcase, operations_of_threads_equal_the_model);
  suite_add_tcase(suite, tcase);
  return suite;
}
