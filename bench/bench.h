/*
 * What the benchmarks share: a clock, medians, and comparisons of two ways of
 * doing the same, measured in turns in one process, so that what the machine does
 * meanwhile hits both.  Each line of output is "name  value  unit  ratio".
 */
#ifndef VMM_BENCH_H
#define VMM_BENCH_H

#include <stdint.h>

/* => nanoseconds of a clock that only goes forward */
double bench_now(void);
/* => nanoseconds that this thread has run: what others do is left out */
double bench_cpu(void);

/* => the median of values[0 .. n), which are sorted by it */
double bench_median(double *values, unsigned n);

/* Prints a line; ratio 0: none. */
void bench_print(const char *name, double value, const char *unit,
                 double ratio);

/* One measurement. => its result, in the unit that is printed */
typedef double bench_run(void *arg);

/*
 * Measures ours and theirs in turns, rounds times each after one that does not
 * count; prints both medians and, as the ratio of ours, the median of the
 * ratios of each turn.
 */
void bench_compare(const char *ours_name, bench_run *ours,
                   const char *theirs_name, bench_run *theirs, void *arg,
                   unsigned rounds, const char *unit);

/* Ends the program if error, a result of the library, is not 0. */
void bench_need(int error, const char *what);

/* => a cheap random number; *state is not 0 */
static inline uint64_t bench_random(uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

#endif
