/*
 * One life of a world, in a child; and how a life that fails becomes a short one:
 * operations are left out, half of them, a quarter ... one, as long as what is left
 * still fails.
 */
#include "model_run.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

enum { CHECK_EVERY = 512, LIFE_SECONDS = 60, SHRINK_ATTEMPTS = 3000 };

/* => the number of the i-th operation */
static uint32_t number_of(const struct model_run *run, uint32_t i)
{
  return run->only != NULL ? run->only[i] : run->first + i;
}

static void live(const struct model_run *run, struct model_report *report)
{
  static struct model_world world;
  char line[256];
  uint32_t i;

  model_world_begin(&world, report);
  world.harts = run->harts;
  if (run->harts)
    model_harts_begin();
  for (i = 0; i < run->count; i++) {
    struct model_op op = model_op_make(run->seed, number_of(run, i));

    if (run->trace) {
      model_op_print(&op, line, sizeof(line));
      fprintf(stderr, "%s\n", line);
    }
    report->done = i;
    model_op_run(&world, &op);
    if (i % CHECK_EVERY == CHECK_EVERY - 1 || run->count < CHECK_EVERY)
      model_world_check(&world);
  }
  model_world_end(&world);
}

struct lane {
  struct model_world world;
  const struct model_run *run;
  pthread_t thread;
};

static void *live_in_lane(void *arg)
{
  struct lane *lane = arg;
  uint64_t seed = lane->run->seed ^ (uint64_t)lane->world.lane << 56;

  for (uint32_t i = 0; i < lane->run->count; i++) {
    struct model_op op = model_op_make(seed, i);

    model_op_run(&lane->world, &op);
    if (i % CHECK_EVERY == CHECK_EVERY - 1)
      model_world_check(&lane->world);
  }
  return NULL;
}

/* Threads on the same spaces, each with its own pages. */
static void live_in_lanes(const struct model_run *run, struct model_report *report)
{
  static struct model_world first;
  static struct lane lanes[MODEL_LANES];
  unsigned i;

  model_world_begin(&first, report);
  model_world_share(&first);
  for (i = 0; i < MODEL_LANES; i++) {
    model_world_join(&lanes[i].world, &first, i);
    lanes[i].run = run;
  }
  for (i = 0; i < MODEL_LANES; i++)
    need(pthread_create(&lanes[i].thread, NULL, live_in_lane, &lanes[i]) == 0);
  for (i = 0; i < MODEL_LANES; i++)
    pthread_join(lanes[i].thread, NULL);
  for (i = MODEL_LANES; i-- > 0;)
    model_world_end(&lanes[i].world);
}

bool model_live(const struct model_run *run, struct model_report *report)
{
  int status = 0;
  pid_t child;

  memset(report, 0, sizeof(*report));
  fflush(NULL);
  child = fork();
  if (child == 0) {
    /* the library may loop with signals blocked: only the kernel ends that */
    setrlimit(RLIMIT_CPU, &(struct rlimit){ LIFE_SECONDS, LIFE_SECONDS });
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (run->lanes)
      live_in_lanes(run, report);
    else
      live(run, report);
    _exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) {
    snprintf(report->text, sizeof(report->text), "fork failed");
    return false;
  }
  if (status == 0)
    return true;
  if (!WIFEXITED(status))
    snprintf(report->text, sizeof(report->text), "%s", strsignal(WTERMSIG(status)));
  else if (report->text[0] == '\0')
    snprintf(report->text, sizeof(report->text), "exit status %d",
             WEXITSTATUS(status));
  return false;
}

struct shrinking {
  struct model_run run;          /* what fails: run.count of numbers */
  struct model_report *report;   /* of the last attempt */
  struct model_report failure;   /* of what fails */
  uint32_t *numbers, *attempt;
  unsigned attempts;
};

/* => whether it still fails without [at, at + n); then that is what is left */
static bool leave_out(struct shrinking *s, uint32_t at, uint32_t n)
{
  uint32_t rest = s->run.count - at - n;
  struct model_run run = s->run;

  memcpy(s->attempt, s->numbers, at * sizeof(s->numbers[0]));
  memcpy(s->attempt + at, s->numbers + at + n, rest * sizeof(s->numbers[0]));
  run.only = s->attempt;
  run.count = at + rest;
  s->attempts++;
  if (model_live(&run, s->report))
    return false;
  s->failure = *s->report;
  /* what comes after the failure is not needed either */
  s->run.count = run.count;
  if (s->report->done + 1 < run.count)
    s->run.count = s->report->done + 1;
  memcpy(s->numbers, s->attempt, s->run.count * sizeof(s->numbers[0]));
  return true;
}

static void shrink(struct shrinking *s)
{
  uint32_t n = s->run.count / 2;
  bool shorter = true;

  while ((n > 0 || shorter) && s->attempts < SHRINK_ATTEMPTS) {
    uint32_t at = 0;

    n = n == 0 ? 1 : n;
    shorter = false;
    while (at < s->run.count && s->attempts < SHRINK_ATTEMPTS) {
      uint32_t part = n < s->run.count - at ? n : s->run.count - at;

      if (leave_out(s, at, part))
        shorter = true;
      else
        at += part;
    }
    n /= 2;
  }
}

static void print_sequence(const struct shrinking *s)
{
  char line[256];
  uint32_t i;

  printf("# %u operations that fail (VMM_SEED=%llu VMM_ONLY=", s->run.count,
         (unsigned long long)s->run.seed);
  for (i = 0; i < s->run.count; i++)
    printf("%s%u", i == 0 ? "" : ",", s->numbers[i]);
  printf("):\n");
  for (i = 0; i < s->run.count; i++) {
    struct model_op op = model_op_make(s->run.seed, s->numbers[i]);

    model_op_print(&op, line, sizeof(line));
    printf("# %s\n", line);
  }
  printf("# %s\n", s->failure.text);
  fflush(stdout);
}

void model_shrink(const struct model_run *run, struct model_report *report)
{
  struct shrinking s = { .run = *run, .report = report, .failure = *report };
  uint32_t i;

  if (run->lanes)
    return; /* the threads' order is never the same */
  s.run.trace = false;
  s.run.count = report->done + 1;
  s.numbers = calloc(s.run.count, sizeof(s.numbers[0]));
  s.attempt = calloc(s.run.count, sizeof(s.attempt[0]));
  if (s.numbers != NULL && s.attempt != NULL) {
    for (i = 0; i < s.run.count; i++)
      s.numbers[i] = number_of(run, i);
    s.run.only = s.numbers;
    shrink(&s);
    print_sequence(&s);
  }
  free(s.numbers);
  free(s.attempt);
  *report = s.failure;
}
