/*
 * Accesses by calls against other threads: decoded code, windows, a cleaner.
 */
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "probe.h"

#define AT 0x100000

static uint64_t page;

static struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

/* A thread that caches code while the test writes it, round by round. */
struct cacher {
  struct vmm_notifier notifier;
  struct vmm_space *space;
  _Atomic unsigned go, done; /* the round */
  _Atomic int stale;
  int kept; /* vmm_fetch() said that it may be */
  uint32_t cached;
};

enum { FETCHES = 20000 };

static void make_stale(struct vmm_notifier *self, vmm_addr_t va,
                       uint64_t nbytes)
{
  (void)va;
  (void)nbytes;
  atomic_store(&((struct cacher *)self->arg)->stale, 1);
}

static void spin(unsigned n)
{
  for (volatile unsigned i = 0; i < n; i++)
    ;
}

/* Waits for a thread that is most often about to come, on a cpu of its own. */
static void wait_for(_Atomic unsigned *word, unsigned value)
{
  for (unsigned tries = 1; atomic_load(word) != value; tries++)
    if (tries % 1000 == 0)
      sched_yield();
}

static void *cache_code(void *arg)
{
  struct cacher *cacher = arg;

  for (unsigned round = 1; round <= FETCHES; round++) {
    wait_for(&cacher->go, round);
    spin(round * 7 % 1000);
    atomic_store(&cacher->stale, 0);
    cacher->kept = vmm_fetch(cacher->space, AT, &cacher->cached, 4) == 0;
    atomic_store(&cacher->done, round);
  }
  return NULL;
}

/* A writer by the alias and a fetch that race: one sees the other. */
START_TEST(code_is_never_kept_while_a_call_writes_it)
{
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  struct cacher cacher = { .space = space };
  pthread_t thread;
  uint32_t round;

  cacher.notifier.invalidate = make_stale;
  cacher.notifier.arg = &cacher;
  ck_assert_ok(vmm_notifier_add(space, &cacher.notifier));
  ck_assert_int_eq(pthread_create(&thread, NULL, cache_code, &cacher), 0);
  for (round = 1; round <= FETCHES; round++) {
    atomic_store(&cacher.go, round);
    spin(round * 11 % 1000);
    ck_assert_ok(vmm_copyout(space, AT, &round, 4, NULL));
    wait_for(&cacher.done, round);
    if (cacher.kept && !atomic_load(&cacher.stale))
      ck_assert_uint_eq(cacher.cached, round);
  }
  pthread_join(thread, NULL);
  ck_assert_ok(vmm_notifier_remove(space, &cacher.notifier));
  vmm_test_end(space);
}
END_TEST

enum { THREADS = 4, ROUNDS = 3000 };

struct counter {
  struct vmm_space *space;
  int by_window;
};

static void *count_up(void *arg)
{
  const struct counter *counter = arg;
  uint64_t old = 0, fresh;
  int i;

  for (i = 0; i < ROUNDS; i++) {
    if (counter->by_window) {
      __atomic_fetch_add((uint64_t *)(vmm_space_base(counter->space) + AT), 1,
                         __ATOMIC_SEQ_CST);
      continue;
    }
    do
      fresh = old + 1;
    while (vmm_cas(counter->space, AT, &old, &fresh, 8) == 1);
  }
  return NULL;
}

/* S2.6 */
START_TEST(no_update_is_lost_by_cas_against_windows_and_a_cleaner)
{
  struct vmm_space *space = space_with(1, RW);
  struct counter counters[THREADS];
  pthread_t threads[THREADS];
  uint64_t value;
  int i;

  for (i = 0; i < THREADS; i++) {
    counters[i] = (struct counter){ space, i % 2 };
    ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, &counters[i]),
                     0);
  }
  for (i = 0; i < 2000; i++)
    probe_clear(space, AT, page, i % 3 ? DIRTY : YOUNG | DIRTY);
  for (i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  ck_assert_ok(vmm_load(space, AT, &value, 8));
  ck_assert_uint_eq(value, THREADS * ROUNDS);
  vmm_test_end(space);
}
END_TEST

static char *tick_base;
static _Atomic unsigned ticks;

/* A profiler's handler: it touches another page each time. */
static void touch_a_page(int signal)
{
  (void)signal;
  tick_base[atomic_fetch_add(&ticks, 1) % 512 * page] = 1;
}

/* S2.16, for objects */
START_TEST(a_signal_that_touches_a_window_meets_no_lock_of_objects)
{
  struct vmm_space *space = space_with(512, VMM_READ | VMM_WRITE);
  struct sigaction action = { .sa_handler = touch_a_page };
  struct itimerval every = { { 0, 200 }, { 0, 200 } }, never = { 0 };
  struct vmm_object_options options = { .flags = VMM_OBJECT_EXPORT };
  struct vmm_object *object;

  tick_base = vmm_space_base(space) + AT;
  ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
  ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
  for (unsigned i = 0; atomic_load(&ticks) < 2000; i++) {
    ck_assert_ok(vmm_object_create(&object, page, i % 2 ? &options : NULL));
    vmm_object_release(object);
    if (atomic_load(&ticks) % 512 == 0)
      ck_assert_ok(vmm_discard(space, AT, 512 * page));
  }
  ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_access_race(void)
{
  Suite *suite = suite_create("access_race");
  TCase *tcase = tcase_create("access_race");

  tcase_add_test(tcase, code_is_never_kept_while_a_call_writes_it);
  tcase_add_test(tcase, no_update_is_lost_by_cas_against_windows_and_a_cleaner);
  suite_add_tcase(suite, tcase);

  tcase = tcase_create("interrupted");
  tcase_set_tags(tcase, "async");
  tcase_add_test(tcase,
                 a_signal_that_touches_a_window_meets_no_lock_of_objects);
  suite_add_tcase(suite, tcase);
  return suite;
}
