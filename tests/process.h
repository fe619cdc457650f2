/*
 * What a test asks the host of its own process, and how code of it ends that
 * runs where Check doesn't look: in a child, in another thread.
 */
#ifndef VMM_TESTS_PROCESS_H
#define VMM_TESTS_PROCESS_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm_test.h"

/* In a child, whose exit status tells. */
#define must(what)                                                             \
  do {                                                                         \
    if (!(what)) {                                                             \
      fprintf(stderr, "child: line %d: %s\n", __LINE__, #what);                \
      _exit(1);                                                                \
    }                                                                          \
  } while (0)

/* In another thread. */
#define need(what)                                                             \
  do {                                                                         \
    if (!(what))                                                               \
      abort();                                                                 \
  } while (0)

static inline unsigned open_descriptors(void)
{
  DIR *dir = opendir("/proc/self/fd");
  unsigned n = 0;

  ck_assert_ptr_nonnull(dir);
  while (readdir(dir) != NULL)
    n++;
  closedir(dir);
  return n;
}

static inline unsigned host_mappings(void)
{
  FILE *maps = fopen("/proc/self/maps", "r");
  unsigned lines = 0;
  int c;

  ck_assert_ptr_nonnull(maps);
  while ((c = getc(maps)) != EOF)
    lines += c == '\n';
  fclose(maps);
  return lines;
}

#endif
