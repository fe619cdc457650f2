/*
 * The benchmarks' clock, medians and lines of output.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmm/vmm.h>

#define MAX_ROUNDS 64

static double read_clock(clockid_t clock)
{
  struct timespec now;

  clock_gettime(clock, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

double bench_now(void)
{
  return read_clock(CLOCK_MONOTONIC);
}

double bench_cpu(void)
{
  return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static int compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;

  return (x > y) - (x < y);
}

double bench_median(double *values, unsigned n)
{
  qsort(values, n, sizeof(values[0]), compare_doubles);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void bench_print(const char *name, double value, const char *unit,
                 double ratio)
{
  char text[16] = "-";

  if (ratio != 0)
    snprintf(text, sizeof(text), "%.3f", ratio);
  printf("%-44s %12.3f  %-12s %8s\n", name, value, unit, text);
  fflush(stdout);
}

void bench_compare(const char *ours_name, bench_run *ours,
                   const char *theirs_name, bench_run *theirs, void *arg,
                   unsigned rounds, const char *unit)
{
  double a[MAX_ROUNDS], b[MAX_ROUNDS], ratio[MAX_ROUNDS];
  unsigned i;

  rounds = rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS;
  ours(arg);
  theirs(arg);
  for (i = 0; i < rounds; i++) {
    /* who comes first changes, so that neither always finds a warm cache */
    if (i % 2 == 0)
      a[i] = ours(arg);
    b[i] = theirs(arg);
    if (i % 2 == 1)
      a[i] = ours(arg);
    ratio[i] = a[i] / b[i];
  }
  bench_print(theirs_name, bench_median(b, rounds), unit, 1);
  bench_print(ours_name, bench_median(a, rounds), unit,
              bench_median(ratio, rounds));
}

void bench_need(int error, const char *what)
{
  if (error == 0)
    return;
  fprintf(stderr, "%s: %s: %s\n", what, strerror(-error), vmm_error_text());
  exit(EXIT_FAILURE);
}
