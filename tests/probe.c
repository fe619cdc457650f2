/*
 * Seeds: every random test says its seed, and takes it from the environment.
 */
#include <time.h>

#include "probe.h"

uint64_t probe_seed(const char *who)
{
  struct timespec now;
  uint64_t seed;

  clock_gettime(CLOCK_REALTIME, &now);
  seed = probe_setting("VMM_SEED", (uint64_t)now.tv_sec * 1000000007u +
                                       (uint64_t)now.tv_nsec);
  seed += seed == 0;
  printf("# %s: VMM_SEED=%" PRIu64 "\n", who, seed);
  fflush(stdout);
  return seed;
}
