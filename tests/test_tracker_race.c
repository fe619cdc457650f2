/*
 * Writers against looks (S2.15, S4.5, S4.15, S4.18): a copy that is kept up to
 * date by a tracker's reports alone equals the memory after each round, in
 * which every writer writes each page once, so that no write hides the loss of
 * another.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "track.h"

enum { PAGES = 4, WRITERS = 3, ROUNDS = 1500, COPIES = 2 };

#define MIRROR (2 * AT)

struct shared {
  struct vmm_space *space[2]; /* both show the same bytes, if there are two */
  vmm_addr_t va[2];
  int by_calls; /* only, and many bytes at once */
  pthread_barrier_t barrier;
  _Atomic unsigned running;
};

struct writer {
  struct shared *shared;
  unsigned id;
  uint64_t seed;
};

static void write_word(struct vmm_space *space, vmm_addr_t va, uint64_t value,
                       unsigned way)
{
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t one = 1;

  switch (way % 16) {
  case 0:
    ck_assert_ok(vmm_pin(space, va, 8, VMM_WRITE, &iov, &one, &pin));
    *(volatile uint64_t *)iov.base = value;
    vmm_unpin(pin);
    return;
  case 1:
    ck_assert_ok(vmm_copyout(space, va, &value, 8, NULL));
    return;
  case 2:
    ck_assert_ok(vmm_store(space, va, &value, 8));
    return;
  default:
    *(volatile uint64_t *)(vmm_space_base(space) + va) = value;
  }
}

static void write_part(struct vmm_space *space, vmm_addr_t va, uint64_t value,
                       unsigned way)
{
  size_t nbytes = page / WRITERS & ~(size_t)7;
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t one = 1;

  if (way % 2) {
    ck_assert_ok(vmm_fill(space, va, (int)value, nbytes, NULL));
    return;
  }
  ck_assert_ok(vmm_pin(space, va, nbytes, VMM_WRITE, &iov, &one, &pin));
  memset(iov.base, (int)value, nbytes);
  vmm_unpin(pin);
}

static void write_round(struct writer *writer, uint64_t value)
{
  struct shared *shared = writer->shared;

  for (unsigned i = 0; i < PAGES; i++) {
    uint64_t random = probe_random(&writer->seed);
    vmm_addr_t va = shared->va[random & 1] + i * page;
    struct vmm_space *space = shared->space[random & 1];

    /* a place of its own in each page */
    if (shared->by_calls)
      write_part(space, va + page / WRITERS / 8 * 8 * writer->id, value,
                 (unsigned)(random >> 32));
    else
      write_word(space, va + writer->id * 8, value, (unsigned)(random >> 32));
  }
}

static void *write_rounds(void *arg)
{
  struct writer *writer = arg;

  for (unsigned round = 1; round <= ROUNDS; round++) {
    pthread_barrier_wait(&writer->shared->barrier);
    write_round(writer, round);
    atomic_fetch_sub(&writer->shared->running, 1);
    pthread_barrier_wait(&writer->shared->barrier);
  }
  return NULL;
}

/* Brings the copy of the pages that the tracker reports up to date. */
static void refresh(struct vmm_tracker *tracker, uint64_t start, char *copy,
                    const struct shared *shared)
{
  struct vmm_range runs[4];
  uint64_t at = start, end = start + PAGES * page;

  while (at < end) {
    size_t nruns = 4;

    ck_assert_ok(vmm_tracker_fetch(tracker, at, end - at, 1, runs, &nruns,
                                   &at));
    for (size_t i = 0; i < nruns; i++)
      ck_assert_ok(vmm_copyin(shared->space[0],
                              copy + (runs[i].start - start),
                              shared->va[0] + (runs[i].start - start),
                              runs[i].nbytes, NULL));
  }
}

/* The copies are what the memory is.  => nobody writes */
static void compare(struct vmm_tracker *trackers[COPIES], uint64_t start,
                    char *copy[COPIES], const struct shared *shared,
                    char *final)
{
  ck_assert_ok(vmm_copyin(shared->space[0], final, shared->va[0], PAGES * page,
                          NULL));
  for (unsigned i = 0; i < COPIES; i++) {
    refresh(trackers[i], start, copy[i], shared);
    ck_assert_int_eq(memcmp(copy[i], final, PAGES * page), 0);
  }
}

/* Two copies, each by a tracker of its own. */
static void race(struct shared *shared, struct vmm_tracker *trackers[COPIES],
                 uint64_t start)
{
  uint64_t seed = probe_seed("tracker_race");
  struct writer writers[WRITERS];
  pthread_t threads[WRITERS];
  char *copy[COPIES], *final;
  unsigned i, round;

  for (i = 0; i < COPIES; i++)
    ck_assert_ptr_nonnull(copy[i] = calloc(PAGES, page));
  ck_assert_ptr_nonnull(final = calloc(PAGES, page));
  pthread_barrier_init(&shared->barrier, NULL, WRITERS + 1);
  for (i = 0; i < WRITERS; i++) {
    writers[i] = (struct writer){ shared, i, seed + i };
    ck_assert_int_eq(pthread_create(&threads[i], NULL, write_rounds,
                                    &writers[i]), 0);
  }
  for (round = 0; round < ROUNDS; round++) {
    atomic_store(&shared->running, WRITERS);
    pthread_barrier_wait(&shared->barrier);
    for (i = 0; atomic_load(&shared->running) != 0; i++)
      refresh(trackers[i % COPIES], start, copy[i % COPIES], shared);
    pthread_barrier_wait(&shared->barrier);
    compare(trackers, start, copy, shared, final);
  }
  for (i = 0; i < WRITERS; i++)
    pthread_join(threads[i], NULL);
  for (i = 0; i < COPIES; i++) {
    free(copy[i]);
    vmm_tracker_destroy(trackers[i]);
  }
  free(final);
}

/* _i: by windows and calls, by calls alone */
START_TEST(copy_kept_by_a_spaces_tracker_equals_the_memory)
{
  struct vmm_space *space = space_with(PAGES, RW);
  struct shared shared = { .space = { space, space }, .va = { AT, AT },
                           .by_calls = _i };
  struct vmm_tracker *trackers[COPIES];

  trackers[0] = track(space, AT, PAGES, VMM_TRACK_WRITE);
  trackers[1] = track(space, AT, PAGES, VMM_TRACK_ACCESS);
  race(&shared, trackers, AT);
  vmm_test_end(space);
}
END_TEST

/* _i % 2: of one space, of two; _i / 2: as above */
START_TEST(copy_kept_by_an_objects_tracker_equals_the_memory)
{
  struct vmm_space *a = space_with(1, RW);
  struct vmm_space *b = _i % 2 ? space_with(1, RW) : a;
  struct vmm_object *object = probe_object(PAGES * page, 0);
  struct shared shared = { .space = { a, b },
                           .va = { MIRROR, 2 * MIRROR }, .by_calls = _i / 2 };
  struct vmm_tracker *trackers[COPIES];

  ck_assert_ok(probe_map(a, MIRROR, PAGES * page, object, 0, RW));
  ck_assert_ok(probe_map(b, 2 * MIRROR, PAGES * page, object, 0, RW));
  trackers[0] = track_object(object, PAGES);
  trackers[1] = track_object(object, PAGES);
  race(&shared, trackers, 0);
  vmm_object_release(object);
  vmm_test_end(a);
  if (b != a)
    vmm_test_end(b);
}
END_TEST

Suite *vmm_suite_tracker_race(void)
{
  Suite *suite = suite_create("tracker_race");
  TCase *tcase = tcase_create("tracker_race");

  tcase_add_loop_test(tcase, copy_kept_by_a_spaces_tracker_equals_the_memory, 0,
                      2);
  tcase_add_loop_test(tcase, copy_kept_by_an_objects_tracker_equals_the_memory,
                      0, 4);
  suite_add_tcase(suite, tcase);
  return suite;
}
