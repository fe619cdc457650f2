/*
 * What the suites of trackers share: a space to track, and what a look reports
 * as a picture.
 */
#ifndef VMM_TESTS_TRACK_H
#define VMM_TESTS_TRACK_H

#include "probe.h"

#define AT 0x200000 /* where a chunk begins */

static uint64_t page; /* of the space of the test */

static inline struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 28, 0);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

static inline struct vmm_tracker *track(struct vmm_space *space, vmm_addr_t va,
                                        unsigned npages, uint32_t kind)
{
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker;

  options.kind = kind;
  ck_assert_ok(vmm_tracker_create(&tracker, space, va, npages * page, &options));
  return tracker;
}

static inline struct vmm_tracker *track_object(struct vmm_object *object,
                                               unsigned npages)
{
  struct vmm_tracker *tracker;

  ck_assert_ok(vmm_tracker_create_object(&tracker, object, 0, npages * page,
                                         NULL));
  return tracker;
}

/*
 * The tracker reports exactly these pages of [start, start + npages pages), a
 * character a page: '#' set, '.' clear; runs are as long as they can be.
 */
static inline void assert_pages(struct vmm_tracker *tracker, vmm_addr_t start,
                                const char *pages, int clear, int line)
{
  size_t n = strlen(pages), nruns = n, i, k;
  struct vmm_range runs[64];
  vmm_addr_t next, end = 0;
  char seen[65];

  ck_assert_uint_le(n, 64);
  memset(seen, '.', sizeof(seen));
  seen[n] = 0;
  ck_assert_ok(vmm_tracker_fetch(tracker, start, n * page, clear, runs, &nruns,
                                 &next));
  ck_assert_uint_eq(next, start + n * page);
  for (i = 0; i < nruns; i++) {
    ck_assert_msg(i == 0 || runs[i].start > end, "line %d: run %zu", line, i);
    end = runs[i].start + runs[i].nbytes;
    ck_assert_uint_ge(runs[i].start, start);
    ck_assert_uint_le(end, next);
    for (k = (runs[i].start - start) / page; k < (end - start) / page; k++)
      seen[k] = '#';
  }
  ck_assert_msg(strcmp(seen, pages) == 0, "line %d: %s, not %s", line, seen,
                pages);
}

#define ck_assert_pages(tracker, start, pages)                                 \
  assert_pages(tracker, start, pages, 0, __LINE__)
#define ck_assert_cleared(tracker, start, pages)                               \
  assert_pages(tracker, start, pages, 1, __LINE__)

#endif
