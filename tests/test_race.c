/*
 * Threads against each other: S2.5, S2.6, S2.16, S4.5, S4.17, S4.18.  Work is
 * bounded by counts; how the threads meet is up to the host.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/time.h>

#include "probe.h"

#define AT 0x200000
#define NPAGES 8
#define MAX_THREADS 64

static struct {
  struct vmm_space *space;
  struct vmm_tracker *tracker;
  uint64_t page;
  char *at;                /* host address of AT */
  atomic_uint running;     /* threads that have not ended their work */
  atomic_bool stop;        /* for threads whose work has no end */
  atomic_uint wrong;       /* violations seen in threads */
  uint64_t seed;
  unsigned nthreads, nsteps;
  uint64_t done[MAX_THREADS][NPAGES];
} race;

static void set_up(uint32_t rights, const char *who)
{
  struct vmm_tracker_options options = { 0 };

  race.seed = probe_seed(who);
  race.space = vmm_test_space(1 << 26, VMM_EXACT);
  race.page = vmm_space_page_size(race.space);
  race.at = vmm_space_base(race.space) + AT;
  ck_assert_ok(vmm_map_anon(race.space, AT, NPAGES * race.page, rights));
  ck_assert_ok(vmm_tracker_create(&race.tracker, race.space, AT,
                                  NPAGES * race.page, &options));
}

static void tear_down(void)
{
  ck_assert_uint_eq(race.wrong, 0);
  vmm_tracker_destroy(race.tracker);
  vmm_test_end(race.space);
}

/* Each thread's work is called with its number; what is done on this thread
 * meanwhile, again and again. */
static void run_threads(unsigned nthreads, unsigned nsteps,
                        void *(*work)(void *), void (*meanwhile)(void))
{
  pthread_t threads[MAX_THREADS];
  uintptr_t i;

  race.nthreads = nthreads;
  race.nsteps = nsteps;
  race.running = nthreads;
  for (i = 0; i < nthreads; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
  while (race.running != 0)
    meanwhile();
  for (i = 0; i < nthreads; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

static uint64_t thread_seed(uintptr_t self)
{
  return race.seed + 0x9e3779b97f4a7c15 * (self + 1);
}

/* ---- S4.18: a cleaner and writers ---- */

/* Each thread has a counter of its own in each page. */
static void *write_own(void *arg)
{
  uintptr_t self = (uintptr_t)arg;
  uint64_t random = thread_seed(self);

  while (!race.stop) {
    unsigned p = (unsigned)(probe_random(&random) >> 33) % NPAGES;
    volatile uint64_t *count =
        (volatile uint64_t *)(race.at + p * race.page) + self;

    *count = *count + 1;
    race.done[self][p]++;
    if (p == 0)
      sched_yield();
  }
  atomic_fetch_sub(&race.running, 1);
  return NULL;
}

/* => all that was written to the page, by the alias: no bits are set */
static uint64_t sum_page(unsigned p)
{
  volatile uint64_t *counts =
      (volatile uint64_t *)vmm_debug_ptr(race.space, AT + p * race.page);
  uint64_t sum = 0;
  unsigned i;

  for (i = 0; counts != NULL && i < MAX_THREADS; i++)
    sum += counts[i];
  return sum;
}

static bool is_tracked(unsigned p, int clear)
{
  struct vmm_range run;
  size_t nruns = 1;

  ck_assert_ok(vmm_tracker_fetch(race.tracker, AT + p * race.page, race.page,
                                 clear, &run, &nruns, NULL));
  return nruns == 1;
}

/* A write after the clear shows in the bytes: then it shows in the bits too. */
static void clean_and_look(void)
{
  static uint64_t random;
  static unsigned cleans;
  uint64_t before, after, pte;
  vmm_addr_t va;
  unsigned p;
  bool tracked;

  random += random == 0 ? race.seed : 0;
  race.stop |= ++cleans >= race.nsteps;
  p = (unsigned)(probe_random(&random) >> 33) % NPAGES;
  va = AT + p * race.page;
  ck_assert_ok(vmm_pages(race.space, va, race.page, YOUNG | DIRTY, NULL));
  is_tracked(p, 1);
  before = sum_page(p);
  if (probe_random(&random) & 1 << 20)
    sched_yield();
  after = sum_page(p);
  ck_assert_ok(vmm_pages(race.space, va, race.page, 0, &pte));
  tracked = is_tracked(p, 0);
  if (before != after) {
    ck_assert_uint_eq(pte & (YOUNG | DIRTY), YOUNG | DIRTY);
    ck_assert(tracked);
  }
}

/* What was counted is there, and a page at rest can be cleaned. */
static void check_counts(void)
{
  unsigned i, p;

  for (p = 0; p < NPAGES; p++) {
    uint64_t *counts = vmm_debug_ptr(race.space, AT + p * race.page);

    for (i = 0; i < race.nthreads; i++)
      ck_assert_uint_eq(counts[i], race.done[i][p]);
    probe_clear(race.space, AT + p * race.page, race.page, DIRTY);
    is_tracked(p, 1);
    ck_assert_pte(race.space, AT + p * race.page, DIRTY, 0);
    ck_assert(!is_tracked(p, 0));
    step(race.space, 0, 1, vmm_test_set(race.space, AT + p * race.page, 1));
    ck_assert(is_tracked(p, 0));
  }
}

/* S4.5, S4.18 */
START_TEST(no_write_after_a_clean_is_without_its_bits)
{
  static const unsigned threads[] = { 1, 2, 8, 32 };

  set_up(RW, "clean");
  run_threads(threads[_i], 10000, write_own, clean_and_look);
  check_counts();
  tear_down();
}
END_TEST

/* ---- S2.6: compare-and-swap ---- */

static bool add_by_cas(volatile uint32_t *at)
{
  uint32_t old, expected;

  do {
    vmm_try_load_u32(old, at, fault);
    expected = old;
    vmm_try_cas_u32(at, expected, old + 1, fault);
  } while (expected != old);
  return true;
fault:
  return false;
}

static bool add_by_call(vmm_addr_t va)
{
  uint32_t expected, desired;
  int result = vmm_load(race.space, va, &expected, 4);

  while (result == 0) {
    desired = expected + 1;
    result = vmm_cas(race.space, va, &expected, &desired, 4);
    if (result == 0)
      return true;
    if (result == 1)
      result = 0; /* expected is what is there now */
  }
  return false;
}

static void *swap(void *arg)
{
  uintptr_t self = (uintptr_t)arg;
  unsigned i;

  for (i = 0; i < race.nsteps; i++) {
    bool added = (self + i) % 4 == 0 ? add_by_call(AT)
                                     : add_by_cas((uint32_t *)race.at);

    if (!added)
      atomic_fetch_add(&race.wrong, 1);
  }
  atomic_fetch_sub(&race.running, 1);
  return NULL;
}

static void clean_swapped(void)
{
  volatile uint32_t *at = vmm_debug_ptr(race.space, AT);
  uint32_t before, after;
  uint64_t pte;

  if (at == NULL)
    return;
  ck_assert_ok(vmm_pages(race.space, AT, race.page, DIRTY, NULL));
  before = *at;
  sched_yield();
  after = *at;
  ck_assert_ok(vmm_pages(race.space, AT, race.page, 0, &pte));
  if (before != after)
    ck_assert_uint_eq(pte & DIRTY, DIRTY);
}

/* S2.6 */
START_TEST(no_swap_is_lost_to_a_cleaner)
{
  uint32_t value;

  set_up(RW, "swap");
  vmm_test_set(race.space, AT, 0);
  run_threads(64, 500, swap, clean_swapped);
  ck_assert_ok(vmm_load(race.space, AT, &value, 4));
  ck_assert_uint_eq(value, 64 * 500);
  tear_down();
}
END_TEST

/* ---- S2.5: two writes to one copy-on-write page ---- */

static pthread_barrier_t start_line;

static void *write_together(void *arg)
{
  uintptr_t self = (uintptr_t)arg;
  unsigned i;

  for (i = 0; i < race.nsteps; i++) {
    pthread_barrier_wait(&start_line); /* the page is read-only and shared */
    ((volatile uint8_t *)race.at)[self] = (uint8_t)(i + 1);
    pthread_barrier_wait(&start_line); /* both have written */
  }
  return NULL;
}

/* S2.5 */
START_TEST(two_writes_to_a_copy_on_write_page_keep_one_copy)
{
  struct vmm_object *object;
  pthread_t threads[2];
  uintptr_t i, round;

  set_up(RW, "copy");
  object = probe_object(race.page, 0);
  race.nsteps = 1000;
  pthread_barrier_init(&start_line, NULL, 3);
  for (i = 0; i < 2; i++)
    pthread_create(&threads[i], NULL, write_together, (void *)i);
  for (round = 1; round <= race.nsteps; round++) {
    ck_assert_ok(probe_map(race.space, AT, race.page, object, 0,
                           RW | VMM_PRIVATE | VMM_REPLACE));
    vmm_test_get(race.space, AT);
    pthread_barrier_wait(&start_line);
    pthread_barrier_wait(&start_line);
    ck_assert_uint_eq(vmm_test_get(race.space, AT), (uint8_t)round);
    ck_assert_uint_eq(vmm_test_get(race.space, AT + 1), (uint8_t)round);
    ck_assert_uint_eq(vmm_test_stats(race.space).frames, 1);
  }
  for (i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  vmm_object_release(object);
  tear_down();
}
END_TEST

/* ---- S4.17: a page that gets another frame ---- */

static struct {
  atomic_uint started;   /* the round whose replacement may have begun */
  atomic_uint published; /* the round whose write has been done */
} rounds;

/* A value is of the published round or a later one; zeros between rounds. */
static void *read_rounds(void *arg)
{
  (void)arg;
  while (!race.stop) {
    unsigned published = rounds.published;
    uint32_t value;

    vmm_try_load_u32(value, race.at, fault);
    sched_yield();
    if (value == 0 ? rounds.started <= published && published != 0
                   : value < published || value > rounds.started)
      atomic_fetch_add(&race.wrong, 1);
    continue;
  fault:
    atomic_fetch_add(&race.wrong, 1);
  }
  return NULL;
}

/* Gives the page another frame and then the round's number. */
static void replace(int way, struct vmm_object *object, unsigned round)
{
  vmm_addr_t staging = AT + 0x100000, to = AT;

  switch (way) {
  case 0:
    ck_assert_ok(vmm_discard(race.space, AT, race.page));
    break;
  case 1:
    ck_assert_ok(vmm_map_anon(race.space, AT, race.page, RW | VMM_REPLACE));
    break;
  case 2:
    ck_assert_ok(probe_map(race.space, AT, race.page, object, 0,
                           RW | VMM_PRIVATE | VMM_REPLACE));
    break;
  default:
    ck_assert_ok(vmm_map_anon(race.space, staging, race.page, RW));
    ck_assert_ok(vmm_store(race.space, staging, &round, 4));
    ck_assert_ok(vmm_move(race.space, staging, race.page, &to, VMM_REPLACE));
    return;
  }
  if (round % 3 == 0)
    sched_yield();
  if (round & 1)
    ck_assert_ok(vmm_store(race.space, AT, &round, 4));
  else
    *(volatile uint32_t *)race.at = round;
}

/* S4.17 */
START_TEST(no_old_frame_is_seen_once_the_new_one_is_written)
{
  struct vmm_object *object;
  pthread_t readers[2];
  unsigned round, i;

  set_up(RW, "replace");
  object = probe_object(race.page, 0);
  for (i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&readers[i], NULL, read_rounds, NULL), 0);
  for (round = 1; round <= 6000; round++) {
    rounds.started = round;
    replace(_i, object, round);
    rounds.published = round;
  }
  race.stop = true;
  for (i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_join(readers[i], NULL), 0);
  vmm_object_release(object);
  tear_down();
}
END_TEST

/* ---- S2.16: the program's own signal handler ---- */

static volatile unsigned ticks;

static void touch_window(int signal)
{
  unsigned n = ticks++;
  volatile char *at = race.at + n % NPAGES * race.page;

  (void)signal;
  if (n & 8)
    *at = (char)n;
  else
    (void)*at;
}

/* All kinds of calls, on the pages that the handler touches and others. */
static void call_everything(uint64_t *random)
{
  vmm_addr_t other = AT + 0x100000 + (probe_random(random) >> 40) % 64 *
                                         race.page;
  vmm_addr_t va = AT + (probe_random(random) >> 40) % NPAGES * race.page;
  char bytes[64] = "";

  vmm_map_anon(race.space, other, 4 * race.page, RW | VMM_REPLACE);
  vmm_copyout(race.space, va + 128, bytes, sizeof(bytes), NULL);
  vmm_pages(race.space, va, race.page, YOUNG | DIRTY, NULL);
  vmm_copyout(race.space, other, race.at, 128, NULL);
  vmm_protect(race.space, other, race.page, VMM_READ);
  vmm_copyin(race.space, bytes, va, sizeof(bytes), NULL);
  vmm_discard(race.space, va, race.page);
  is_tracked((unsigned)((va - AT) / race.page), 1);
  vmm_unmap(race.space, other, 2 * race.page);
}

static void *call_in_a_thread(void *arg)
{
  uint64_t random = thread_seed((uintptr_t)arg);
  unsigned i;

  for (i = 0; i < race.nsteps; i++)
    call_everything(&random);
  atomic_fetch_sub(&race.running, 1);
  return NULL;
}

static void wait_a_little(void)
{
  static uint64_t random = 77;

  call_everything(&random);
}

/* S2.16 */
START_TEST(signal_handler_that_touches_a_window_never_deadlocks)
{
  struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
  struct sigaction action = { 0 };

  set_up(RW, "signals");
  action.sa_handler = touch_window;
  action.sa_flags = SA_RESTART;
  ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
  ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
  run_threads(2, 10000, call_in_a_thread, wait_a_little);
  ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
  ck_assert_uint_gt(ticks, 0);
  tear_down();
}
END_TEST

/* ---- everything at once ---- */

/* Accesses of pages that others map, protect and move: each succeeds or
 * fails. */
static void *access_anything(void *arg)
{
  uint64_t random = thread_seed((uintptr_t)arg);
  unsigned i;

  for (i = 0; i < race.nsteps; i++) {
    vmm_addr_t va = AT + (probe_random(&random) >> 40) % (96 * race.page);
    uint8_t byte = (uint8_t)i;

    switch (probe_random(&random) >> 60) {
    case 0:
      vmm_fetch(race.space, va, &byte, 1);
      break;
    case 1:
      vmm_fixup(race.space, va, VMM_WRITE);
      break;
    case 2:
      vmm_copyout(race.space, va, &byte, 1, NULL);
      break;
    case 3:
      vmm_pages(race.space, va & ~(race.page - 1), race.page, YOUNG | DIRTY,
                NULL);
      break;
    case 4: case 5: case 6: case 7: case 8:
      probe_read(race.space, va, &byte);
      break;
    default:
      probe_write(race.space, va, byte);
    }
  }
  atomic_fetch_sub(&race.running, 1);
  return NULL;
}

static struct vmm_object *race_object;

static void change_anything(void)
{
  static uint64_t random = 99;
  vmm_addr_t va = AT + (probe_random(&random) >> 40) % 88 * race.page;
  vmm_addr_t to = AT + (probe_random(&random) >> 40) % 88 * race.page;
  uint64_t nbytes = (1 + (probe_random(&random) >> 61)) * race.page;
  uint32_t rights = (uint32_t)(probe_random(&random) >> 61);

  switch (probe_random(&random) >> 61) {
  case 0:
    vmm_unmap(race.space, va, nbytes);
    break;
  case 1:
    vmm_move(race.space, va, nbytes, &to, VMM_REPLACE);
    break;
  case 2:
    vmm_discard(race.space, va, nbytes);
    break;
  case 3:
    vmm_protect(race.space, va, nbytes, rights);
    break;
  case 4: case 5:
    probe_map(race.space, va, nbytes, race_object, 0,
              VMM_REPLACE | RW | VMM_EXEC | (rights & 1 ? VMM_PRIVATE : 0));
    break;
  default:
    vmm_map_anon(race.space, va, nbytes, RW | VMM_EXEC | VMM_REPLACE);
  }
}

START_TEST(changes_and_accesses_at_once_keep_the_rules)
{
  set_up(RW | VMM_EXEC, "everything");
  race_object = probe_object(8 * race.page, _i ? VMM_OBJECT_EXPORT : 0);
  run_threads(4, 30000, access_anything, change_anything);
  ck_assert_ok(vmm_check(race.space, 0, 0));
  ck_assert_ok(vmm_unmap(race.space, 0, vmm_space_size(race.space)));
  ck_assert_uint_eq(vmm_test_stats(race.space).frames, 0);
  vmm_object_release(race_object);
  tear_down();
}
END_TEST

Suite *vmm_suite_race(void)
{
  Suite *suite = suite_create("race");
  TCase *tcase = tcase_create("race");

  tcase_add_loop_test(tcase, no_write_after_a_clean_is_without_its_bits, 0, 4);
  tcase_add_test(tcase, no_swap_is_lost_to_a_cleaner);
  tcase_add_test(tcase, two_writes_to_a_copy_on_write_page_keep_one_copy);
  tcase_add_loop_test(tcase, no_old_frame_is_seen_once_the_new_one_is_written,
                      0, 4);
  tcase_add_loop_test(tcase, changes_and_accesses_at_once_keep_the_rules, 0, 2);
  suite_add_tcase(suite, tcase);

  tcase = tcase_create("interrupted");
  tcase_set_tags(tcase, "async");
  tcase_add_test(tcase, signal_handler_that_touches_a_window_never_deadlocks);
  suite_add_tcase(suite, tcase);
  return suite;
}
