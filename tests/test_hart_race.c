/*
 * Harts against each other: S1.4, S1.8, S4.8 and S4.18 with windows of their
 * own, and spaces that are destroyed under them.  Work is bounded by counts;
 * how the threads meet is up to the host.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "hart.h"
#include "probe.h"

#define AT 0x200000
enum { HARTS = 4, PAGES = 64, SPACES = 5 };

static uint64_t race_seed, page;
static atomic_uint wrong, running;

static uint64_t seed_of(uintptr_t self)
{
  return race_seed + 0x9e3779b97f4a7c15 * (self + 1);
}

static unsigned pick(uint64_t *random, unsigned n)
{
  return (unsigned)(probe_random(random) >> 33) % n;
}

static void run_harts(void *(*work)(void *), void (*meanwhile)(void))
{
  pthread_t threads[HARTS];
  uintptr_t i;

  wrong = 0;
  running = HARTS;
  for (i = 0; i < HARTS; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)i), 0);
  while (running != 0)
    meanwhile();
  for (i = 0; i < HARTS; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
  ck_assert_uint_eq(wrong, 0);
}

/* ---- S1.4: mapping and accessing ---- */

static struct {
  struct vmm_space *space;
  uint32_t flags;
  unsigned iterations;
  struct {
    atomic_int value; /* what a mapped page reads; 0: it may not be mapped */
    atomic_int readers;
  } pages[PAGES];
} lazy;

/* A page of the hart's own goes, once nobody reads it, and comes again. */
static void map_again(char *base, unsigned p, int value)
{
  vmm_addr_t va = AT + p * page;

  lazy.pages[p].value = 0;
  if (lazy.pages[p].readers != 0)
    return; /* another time: whoever reads now found it mapped */
  if (vmm_map_anon(lazy.space, va, page, RW | VMM_REPLACE) != 0 ||
      hart_try_set(base, va, value) != 0)
    atomic_fetch_add(&wrong, 1);
  lazy.pages[p].value = value;
}

static void read_page(const char *base, unsigned p)
{
  int value, found;

  atomic_fetch_add(&lazy.pages[p].readers, 1);
  value = lazy.pages[p].value;
  found = hart_try_get(base, AT + p * page);
  /* no fault of a page that is mapped reaches us, nor what was there before */
  if (value != 0 && found != value)
    atomic_fetch_add(&wrong, 1);
  atomic_fetch_sub(&lazy.pages[p].readers, 1);
}

static void *map_and_access(void *arg)
{
  unsigned self = (unsigned)(uintptr_t)arg;
  uint64_t random = seed_of(self);
  struct vmm_hart *hart = hart_begin(lazy.flags, 1);
  char *base = hart_turn(hart, lazy.space);

  for (unsigned i = 0; i < lazy.iterations; i++) {
    if (i % 4 == 0)
      map_again(base, pick(&random, PAGES / HARTS) * HARTS + self,
                1 + (int)i / 4 % 255);
    else
      read_page(base, pick(&random, PAGES));
  }
  hart_end(hart);
  atomic_fetch_sub(&running, 1);
  return NULL;
}

static void look_on(void)
{
  sched_yield();
}

/* S1.4: lazy, eager, and without invalid entries */
START_TEST(no_mark_is_lost_and_no_spurious_fault_gets_through)
{
  static const uint32_t flags[] = { VMM_HART_INVALID,
                                    VMM_HART_INVALID | VMM_HART_EAGER, 0 };

  race_seed = probe_seed("lazy");
  lazy.space = vmm_test_space(1 << 26, VMM_EXACT);
  page = vmm_space_page_size(lazy.space);
  lazy.flags = VMM_HART_WINDOWS | flags[_i];
  lazy.iterations = (unsigned)probe_setting("VMM_LAZY", 100000) / HARTS;
  run_harts(map_and_access, look_on);
  vmm_test_end(lazy.space);
}
END_TEST

/* ---- switching while others narrow ---- */

static struct {
  struct vmm_space *spaces[SPACES];
  uint64_t done[HARTS][SPACES];
  unsigned iterations;
} tags;

/* Each hart has a counter of its own in each space, and one tag less than it
 * needs. */
static void *count_in_turns(void *arg)
{
  uintptr_t self = (uintptr_t)arg;
  uint64_t random = seed_of(self);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, self % 2 ? 1 : 2);

  for (unsigned i = 0; i < tags.iterations; i++) {
    unsigned s = pick(&random, SPACES);
    char *base = hart_turn(hart, tags.spaces[s]);
    volatile uint64_t *count = (volatile uint64_t *)(base + AT) + self;

    for (int n = 0; n < 3; n++) {
      *count = *count + 1;
      tags.done[self][s]++;
    }
  }
  hart_end(hart);
  atomic_fetch_sub(&running, 1);
  return NULL;
}

static uint64_t sum_of(struct vmm_space *space)
{
  volatile uint64_t *counts = vmm_debug_ptr(space, AT);
  uint64_t sum = 0;

  for (unsigned i = 0; counts != NULL && i < HARTS; i++)
    sum += counts[i];
  return sum;
}

/* A write after the clean shows in the bytes: then it shows in the bits too. */
static void clean_one(void)
{
  static uint64_t random = 7;
  struct vmm_space *space = tags.spaces[pick(&random, SPACES)];
  uint64_t before, after, pte;

  ck_assert_ok(vmm_pages(space, AT, page, YOUNG | DIRTY, NULL));
  before = sum_of(space);
  sched_yield();
  after = sum_of(space);
  ck_assert_ok(vmm_pages(space, AT, page, 0, &pte));
  if (before != after)
    ck_assert_uint_eq(pte & (YOUNG | DIRTY), YOUNG | DIRTY);
}

/* S4.8, S4.18 */
START_TEST(no_write_of_a_switching_hart_is_lost_or_unseen)
{
  race_seed = probe_seed("switch");
  for (int i = 0; i < SPACES; i++)
    tags.spaces[i] = hart_space(1, RW);
  page = vmm_space_page_size(tags.spaces[0]);
  tags.iterations = (unsigned)probe_setting("VMM_SWITCH", 3000);
  run_harts(count_in_turns, clean_one);
  for (int s = 0; s < SPACES; s++) {
    const uint64_t *counts = vmm_debug_ptr(tags.spaces[s], AT);

    for (int i = 0; i < HARTS; i++)
      ck_assert_uint_eq(counts[i], tags.done[i][s]);
    vmm_test_end(tags.spaces[s]);
  }
}
END_TEST

/* ---- spaces that end ---- */

static struct {
  _Atomic(struct vmm_space *) space; /* the one of this round, or of one before */
  atomic_uint refused, ran;
  unsigned rounds;
  atomic_bool stop;
} ends;

static void *run_what_is_there(void *arg)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1 + (uintptr_t)arg % 2);

  while (!ends.stop) {
    char *base;
    int error = vmm_hart_set_space(hart, ends.space, &base);

    if (error != 0) {
      if (error != -EBUSY && error != -EINVAL)
        atomic_fetch_add(&wrong, 1);
      atomic_fetch_add(&ends.refused, 1);
      sched_yield();
      continue;
    }
    atomic_fetch_add(&ends.ran, 1);
    /* the next space may have the handle of the last one, and no page yet */
    if (hart_try_set(base, AT, 1) == 0 && hart_try_get(base, AT) != 1)
      atomic_fetch_add(&wrong, 1);
    vmm_hart_set_space(hart, NULL, NULL);
    sched_yield();
  }
  hart_end(hart);
  atomic_fetch_sub(&running, 1);
  return NULL;
}

static void make_and_destroy(void)
{
  static unsigned round;
  struct vmm_space *space = hart_space(1, RW);
  int error;

  ends.space = space;
  sched_yield();
  while ((error = vmm_space_destroy(space)) == -EBUSY)
    sched_yield();
  ck_assert_int_eq(error, 0);
  if (++round == ends.rounds)
    ends.stop = true;
  while (ends.stop && running != 0)
    sched_yield();
}

START_TEST(no_space_is_destroyed_under_a_hart)
{
  race_seed = probe_seed("ends");
  ends.space = hart_space(1, RW);
  ends.rounds = (unsigned)probe_setting("VMM_ENDS", 2000);
  run_harts(run_what_is_there, make_and_destroy);
}
END_TEST

/* ---- harts that come and go ---- */

/* S3.11, S1.8: rights are taken while windows come and go. */
static void *come_and_go(void *arg)
{
  unsigned n = 0;

  for (unsigned i = 0; i < tags.iterations; i++) {
    struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS | VMM_HART_INVALID, 1);
    char *base = hart_turn(hart, tags.spaces[0]);

    for (unsigned k = 0; k < 4; k++)
      n += hart_try_set(base, AT + k * page, (int)i) == 0;
    hart_end(hart);
  }
  atomic_fetch_sub(&running, 1);
  return (void *)((uintptr_t)arg + n);
}

static void change_rights(void)
{
  static uint64_t random = 9;
  struct vmm_space *space = tags.spaces[0];
  vmm_addr_t va = AT + pick(&random, 4) * page;

  switch (pick(&random, 3)) {
  case 0:
    ck_assert_ok(vmm_map_anon(space, va, page, RW | VMM_REPLACE));
    break;
  case 1:
    vmm_protect(space, va, page, VMM_READ);
    break;
  default:
    vmm_unmap(space, va, page);
  }
}

START_TEST(harts_come_and_go_while_rights_do)
{
  race_seed = probe_seed("come and go");
  tags.spaces[0] = hart_space(4, RW);
  page = vmm_space_page_size(tags.spaces[0]);
  tags.iterations = (unsigned)probe_setting("VMM_COME", 1000);
  run_harts(come_and_go, change_rights);
  vmm_test_end(tags.spaces[0]);
}
END_TEST

Suite *vmm_suite_hart_race(void);

Suite *vmm_suite_hart_race(void)
{
  Suite *suite = suite_create("hart_race");
  TCase *tcase = tcase_create("hart_race");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, no_mark_is_lost_and_no_spurious_fault_gets_through,
                      0, 3);
  tcase_add_test(tcase, no_write_of_a_switching_hart_is_lost_or_unseen);
  tcase_add_test(tcase, no_space_is_destroyed_under_a_hart);
  tcase_add_test(tcase, harts_come_and_go_while_rights_do);
  suite_add_tcase(suite, tcase);
  return suite;
}
