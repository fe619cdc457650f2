/*
 * Scenarios S1: new mappings without a shootdown.  The hart of the test is B;
 * who maps is anybody else, so that most of it needs no second thread.  Threads
 * against each other are in test_lazy_race.c, stops between steps in
 * test_lazy_step.c.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "hart.h"
#include "probe.h"

#define AT 0x200000
enum { LAZY = VMM_HART_WINDOWS | VMM_HART_INVALID };

static struct {
  struct vmm_space *space;
  struct vmm_hart *hart;
  uint64_t page;
  char *base;
} b;

static void begin(uint32_t flags, unsigned npages)
{
  b.space = hart_space(npages, RW);
  b.page = vmm_space_page_size(b.space);
  b.hart = hart_begin(flags, 0);
  b.base = hart_turn(b.hart, b.space);
}

static void end(void)
{
  hart_end(b.hart);
  vmm_test_end(b.space);
}

/* The statement takes so many free retries, and ends so many accesses by an
 * invalid entry. */
#define ck_assert_lazy(retry, refuse, statement)                               \
  do {                                                                         \
    struct vmm_hart_stats lazy_before = hart_stats(b.hart), lazy_after;        \
    statement;                                                                 \
    lazy_after = hart_stats(b.hart);                                           \
    ck_assert_uint_eq(lazy_after.retries - lazy_before.retries, (retry));      \
    ck_assert_uint_eq(lazy_after.refused - lazy_before.refused, (refuse));     \
  } while (0)

/* The access fails, and the fault tells the address and why. */
static void fails(int result, vmm_addr_t va, unsigned access, unsigned reason)
{
  struct vmm_fault fault;

  ck_assert_int_eq(result, -EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.va, va);
  ck_assert_uint_eq(fault.access, access);
  ck_assert_uint_eq(fault.reason, reason);
  ck_assert_ptr_eq(fault.space, b.space);
}

static void misses(vmm_addr_t va)
{
  fails(hart_try_get(b.base, va), va, VMM_READ, VMM_FAULT_NO_REGION);
}

static void *map_page(void *at)
{
  ck_assert_ok(vmm_map_anon(b.space, (uintptr_t)at, b.page, RW));
  return NULL;
}

static void map_by_another(vmm_addr_t va)
{
  pthread_t thread;

  ck_assert_int_eq(
      pthread_create(&thread, NULL, map_page, (void *)(uintptr_t)va), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* S1.1 */
START_TEST(a_new_mapping_costs_the_holder_of_an_invalid_entry_one_retry)
{
  begin(LAZY, 0);
  ck_assert_lazy(0, 0, misses(AT));
  ck_assert_lazy(0, 1, misses(AT)); /* it is held */
  map_by_another(AT);
  ck_assert_uint_eq(hart_stats(b.hart).marks, 1);
  ck_assert_uint_eq(hart_stats(b.hart).shootdowns, 0);
  ck_assert_lazy(1, 0, step(b.space, 1, 0,
                            ck_assert_int_eq(hart_try_get(b.base, AT), 0)));
  ck_assert_uint_eq(hart_stats(b.hart).retries, 1);
  ck_assert_uint_eq(vmm_test_stats(b.space).unresolved, 2);
  end();
}
END_TEST

/* S1.2 */
START_TEST(what_is_not_mapped_is_reported_at_once)
{
  begin(LAZY, 1);
  ck_assert_lazy(0, 0, misses(AT + 4 * b.page));
  ck_assert_lazy(0, 3, for (int i = 0; i < 3; i++)
                           step(b.space, 1, 0, misses(AT + 4 * b.page + 8 * i)));
  ck_assert_uint_eq(hart_stats(b.hart).negatives, 1);
  end();
}
END_TEST

/* S1.3 */
START_TEST(a_mark_for_another_page_costs_one_retry_and_then_the_fault)
{
  vmm_addr_t x = AT, y = AT + 16 * b.page;

  begin(LAZY, 0);
  y = AT + 16 * b.page;
  misses(x);
  misses(y);
  map_by_another(x);
  ck_assert_lazy(1, 0, misses(y));
  ck_assert_lazy(0, 1, misses(y));
  ck_assert_lazy(0, 0, ck_assert_int_eq(hart_try_get(b.base, x), 0));
  end();
}
END_TEST

/* ---- S1.6 ---- */

enum { MANY = 1024 };

static pthread_barrier_t all_here, mapped;
static unsigned wrong;

/* Its window holds an invalid entry for AT; then AT is mapped. */
static void *hold_and_retry(void *arg)
{
  struct vmm_hart *hart = hart_begin(LAZY, 1);
  char *base = hart_turn(hart, b.space);
  struct vmm_hart_stats stats;

  (void)arg;
  if (hart_try_get(base, AT) != -EFAULT || hart_try_get(base, AT) != -EFAULT)
    __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
  pthread_barrier_wait(&all_here);
  pthread_barrier_wait(&mapped);
  stats = hart_stats(hart);
  if (stats.marks != 1 || stats.retries != 0 || stats.refused != 1 ||
      hart_try_get(base, AT) != 77)
    __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
  stats = hart_stats(hart);
  if (stats.retries != 1 || stats.shootdowns != 0)
    __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
  pthread_barrier_wait(&all_here); /* all have numbers of their own until now */
  hart_end(hart);
  return NULL;
}

/* S1.6 */
START_TEST(each_of_many_harts_has_its_own_mark)
{
  static const unsigned counts[] = { 1, 63, 64, 65, MANY };
  static pthread_t threads[MANY];
  unsigned n = counts[_i];
  pthread_attr_t attr;
  struct vmm_hart *extra;

  b.space = hart_space(0, RW);
  b.page = vmm_space_page_size(b.space);
  pthread_barrier_init(&all_here, NULL, n + 1);
  pthread_barrier_init(&mapped, NULL, n + 1);
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 256 << 10);
  for (unsigned i = 0; i < n; i++)
    ck_assert_int_eq(pthread_create(&threads[i], &attr, hold_and_retry, NULL),
                     0);
  pthread_barrier_wait(&all_here);
  if (n == MANY)
    ck_assert_error(vmm_hart_create(&extra, NULL), ENOSPC);
  ck_assert_ok(vmm_map_anon(b.space, AT, b.page, RW));
  ck_assert_ok(vmm_fill(b.space, AT, 77, b.page, NULL));
  pthread_barrier_wait(&mapped);
  pthread_barrier_wait(&all_here);
  for (unsigned i = 0; i < n; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
  ck_assert_uint_eq(wrong, 0);
  vmm_test_end(b.space);
}
END_TEST

/* S1.7 */
START_TEST(without_invalid_entries_it_is_an_ordinary_first_touch)
{
  struct vmm_hart_stats stats;

  begin(VMM_HART_WINDOWS, 0);
  misses(AT);
  misses(AT);
  map_by_another(AT);
  step(b.space, 1, 0, ck_assert_int_eq(hart_try_get(b.base, AT), 0));
  stats = hart_stats(b.hart);
  ck_assert_uint_eq(stats.negatives + stats.refused + stats.marks +
                        stats.retries + stats.shootdowns, 0);
  end();
}
END_TEST

/* S1.7: the mark of a mapping that the window needed no retry for */
START_TEST(a_late_mark_costs_a_retry_and_nothing_else)
{
  begin(LAZY, 0);
  map_by_another(AT);
  ck_assert_lazy(1, 0, hart_set(b.base, AT, 1));
  map_by_another(AT + b.page);
  hart_set(b.base, AT, 2); /* no fault: the mark stays */
  ck_assert_lazy(1, 0, misses(AT + 8 * b.page));
  ck_assert_lazy(0, 0, hart_set(b.base, AT + b.page, 3));
  end();
}
END_TEST

/* S1.8 */
START_TEST(no_old_translation_outlives_an_unmap)
{
  begin(LAZY, 1);
  for (int round = 1; round < 50; round++) {
    vmm_addr_t other = AT + (1 + (unsigned)round % 7) * b.page;

    hart_set(b.base, AT, round);
    ck_assert_ok(vmm_unmap(b.space, AT, b.page));
    ck_assert_ok(vmm_map_anon(b.space, other, b.page, RW)); /* may get its frame */
    ck_assert_ok(vmm_fill(b.space, other, 0xee, b.page, NULL));
    misses(AT);
    ck_assert_int_eq(hart_get(b.base, other), 0xee);
    ck_assert_ok(vmm_unmap(b.space, other, b.page));
    ck_assert_ok(vmm_map_anon(b.space, AT, b.page, RW));
    ck_assert_int_eq(hart_get(b.base, AT), 0);
  }
  end();
}
END_TEST

/* S1.9 */
START_TEST(a_stale_writer_succeeds_when_widened_and_never_when_narrowed)
{
  begin(LAZY, 1);
  ck_assert_ok(vmm_protect(b.space, AT, b.page, VMM_READ));
  ck_assert_int_eq(hart_get(b.base, AT), 0);
  for (int i = 0; i < 2; i++)
    fails(hart_try_set(b.base, AT, 1), AT, VMM_WRITE, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(hart_stats(b.hart).refused, 1);
  ck_assert_ok(vmm_protect(b.space, AT, b.page, RW));
  ck_assert_lazy(1, 0, ck_assert_int_eq(hart_try_set(b.base, AT, 2), 0));
  ck_assert_ok(vmm_protect(b.space, AT, b.page, VMM_READ));
  ck_assert_lazy(1, 0, fails(hart_try_set(b.base, AT, 3), AT, VMM_WRITE,
                             VMM_FAULT_RIGHTS));
  ck_assert_int_eq(hart_get(b.base, AT), 2);
  end();
}
END_TEST

/* S1.10 */
START_TEST(an_alternate_stack_in_a_window_of_a_hart_is_refused)
{
  stack_t stack = { .ss_size = 64 << 10 }, old;

  begin(LAZY, 32);
  stack.ss_sp = b.base + AT;
  ck_assert_int_eq(sigaltstack(&stack, &old), 0);
  ck_assert_error(vmm_thread_attach(), EINVAL);
  ck_assert_int_eq(sigaltstack(&old, NULL), 0);
  ck_assert_ok(vmm_thread_attach());
  misses(AT + 64 * b.page);
  ck_assert_ok(vmm_thread_detach());
  end();
}
END_TEST

/* S1.11 */
START_TEST(a_stale_entry_is_repaired_with_faults_disabled)
{
  begin(LAZY, 0);
  misses(AT);
  map_by_another(AT);
  vmm_test_set(b.space, AT, 5); /* the table grants it now */
  vmm_nofault_begin();
  ck_assert_lazy(1, 0, ck_assert_int_eq(hart_try_get(b.base, AT), 5));
  vmm_nofault_end();
  /* what the table does not grant stays EFAULT, mark or no mark */
  map_by_another(AT + b.page);
  vmm_nofault_begin();
  ck_assert_lazy(1, 0, fails(hart_try_get(b.base, AT + b.page), AT + b.page,
                             VMM_READ, VMM_FAULT_DISABLED));
  vmm_nofault_end();
  ck_assert_int_eq(hart_try_get(b.base, AT + b.page), 0);
  end();
}
END_TEST

/* S1.12 */
START_TEST(a_user_s_access_to_the_supervisor_s_takes_no_mark)
{
  vmm_addr_t hidden = AT + 8 * b.page;

  begin(LAZY | VMM_HART_USER, 0);
  hidden = AT + 8 * b.page;
  ck_assert_ok(vmm_map_anon(b.space, hidden, b.page, RW | VMM_SUPERVISOR));
  misses(AT); /* and takes that mark */
  map_by_another(AT);
  for (int i = 0; i < 2; i++)
    ck_assert_lazy(0, 0, fails(hart_try_get(b.base, hidden), hidden, VMM_READ,
                               VMM_FAULT_SUPERVISOR));
  ck_assert_lazy(1, 0, ck_assert_int_eq(hart_try_get(b.base, AT), 0));
  end();
}
END_TEST

/* ---- S1.13 ---- */

static struct {
  pthread_barrier_t turn;
  uint32_t flags;
  atomic_uint shootdowns, marks, retries;
} side;

/* Its window holds invalid entries while pages are mapped; then it meets
 * one. */
static void *stand_by(void *arg)
{
  struct vmm_hart *hart = hart_begin(side.flags, 1);
  char *base = hart_turn(hart, b.space);
  struct vmm_hart_stats stats;

  ck_assert_int_eq(hart_try_get(base, AT), -EFAULT);
  pthread_barrier_wait(&side.turn);
  pthread_barrier_wait(&side.turn);
  ck_assert_int_eq(hart_try_get(base, AT), 0);
  stats = hart_stats(hart);
  atomic_fetch_add(&side.shootdowns, (unsigned)stats.shootdowns);
  atomic_fetch_add(&side.marks, (unsigned)stats.marks);
  atomic_fetch_add(&side.retries, (unsigned)stats.retries);
  hart_end(hart);
  return arg;
}

static void map_before(unsigned nharts, uint32_t flags, unsigned maps)
{
  pthread_t threads[16];
  unsigned i;

  side.flags = LAZY | flags;
  side.shootdowns = side.marks = side.retries = 0;
  pthread_barrier_init(&side.turn, NULL, nharts + 1);
  for (i = 0; i < nharts; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, stand_by, NULL), 0);
  pthread_barrier_wait(&side.turn);
  for (i = 0; i < maps; i++)
    ck_assert_ok(vmm_map_anon(b.space, AT + i * b.page, b.page, RW));
  pthread_barrier_wait(&side.turn);
  for (i = 0; i < nharts; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

/* S1.13: the time is bench/hart's */
START_TEST(only_the_eager_way_grows_with_the_harts)
{
  static const unsigned harts[] = { 1, 4, 16 };
  enum { MAPS = 1000 };
  unsigned n = harts[_i];
  uint64_t calls;

  b.space = hart_space(0, RW);
  b.page = vmm_space_page_size(b.space);
  map_before(n, 0, MAPS);
  ck_assert_uint_eq(side.shootdowns, 0);
  ck_assert_uint_eq(side.marks, n * MAPS);
  ck_assert_uint_eq(side.retries, n);
  calls = vmm_test_stats(b.space).host_calls;
  ck_assert_uint_le(calls, 2 * n); /* for the accesses, none for the mappings */
  ck_assert_ok(vmm_unmap(b.space, 0, vmm_space_size(b.space)));
  map_before(n, VMM_HART_EAGER, MAPS);
  ck_assert_uint_eq(side.shootdowns, n * MAPS);
  ck_assert_uint_eq(side.marks + side.retries, 0);
  vmm_test_end(b.space);
}
END_TEST

/* ---- beside the scenarios ---- */

START_TEST(a_mark_installs_what_is_pending)
{
  begin(LAZY, 0);
  ck_assert_ok(vmm_map_anon(b.space, AT, 16 * b.page, RW));
  for (unsigned i = 0; i < 16; i++)
    vmm_test_set(b.space, AT + i * b.page, (uint8_t)i);
  step(b.space, 1, 0, ck_assert_int_eq(hart_get(b.base, AT), 0));
  for (unsigned i = 1; i < 16; i++)
    step(b.space, 0, 0, ck_assert_int_eq(hart_get(b.base, AT + i * b.page),
                                         (int)i));
  end();
}
END_TEST

START_TEST(an_eager_mapping_visits_each_window_and_needs_no_retry)
{
  struct vmm_hart_stats stats;

  begin(LAZY | VMM_HART_EAGER, 0);
  misses(AT);
  ck_assert_lazy(0, 1, misses(AT));
  map_by_another(AT);
  ck_assert_lazy(0, 0, ck_assert_int_eq(hart_try_get(b.base, AT), 0));
  stats = hart_stats(b.hart);
  ck_assert_uint_eq(stats.shootdowns, 1);
  ck_assert_uint_eq(stats.marks, 0);
  end();
}
END_TEST

static enum vmm_verdict provide(struct vmm_fault *fault, void *cookie)
{
  ck_assert_ptr_eq(fault->cookie, cookie);
  return vmm_protect(fault->space, fault->va & ~(b.page - 1), b.page, RW) == 0
             ? VMM_RETRY
             : VMM_DECLINE;
}

START_TEST(an_invalid_entry_tells_the_region_s_cookie_and_handler_of_now)
{
  struct vmm_map_options options = { .cookie = &b };
  vmm_addr_t va = AT;
  struct vmm_fault fault;

  begin(LAZY, 0);
  ck_assert_ok(vmm_map(b.space, &va, b.page, &options));
  for (int i = 0; i < 2; i++) {
    fails(hart_try_get(b.base, AT), AT, VMM_READ, VMM_FAULT_RIGHTS);
    ck_assert_ok(vmm_fault_last(&fault));
    ck_assert_ptr_eq(fault.cookie, &b);
  }
  ck_assert_uint_eq(hart_stats(b.hart).refused, 1);
  ck_assert_ok(vmm_region_set_handler(b.space, AT, b.page, provide, &b));
  ck_assert_int_eq(hart_try_get(b.base, AT), 0);
  ck_assert_ok(vmm_unmap(b.space, AT, b.page));
  misses(AT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_ptr_null(fault.cookie);
  end();
}
END_TEST

START_TEST(every_way_to_widen_is_seen)
{
  struct vmm_snapshot *snapshot;
  vmm_addr_t to = AT + 32 * b.page;

  begin(LAZY, 1);
  to = AT + 32 * b.page;
  misses(to);
  ck_assert_ok(vmm_move(b.space, AT, b.page, &to, 0));
  ck_assert_int_eq(hart_try_get(b.base, to), 0);
  misses(AT);
  ck_assert_ok(vmm_snapshot_take(&snapshot, b.space));
  ck_assert_ok(vmm_unmap(b.space, to, b.page));
  misses(to);
  ck_assert_ok(vmm_snapshot_restore(b.space, snapshot));
  ck_assert_int_eq(hart_try_get(b.base, to), 0);
  vmm_snapshot_drop(snapshot);
  ck_assert_ok(vmm_map_anon(b.space, to, b.page, RW | VMM_REPLACE));
  ck_assert_int_eq(hart_try_get(b.base, to), 0);
  end();
}
END_TEST

START_TEST(invalid_entries_belong_to_one_space)
{
  struct vmm_space *other = hart_space(1, RW);
  char *base;

  begin(LAZY, 0);
  misses(AT);
  base = hart_turn(b.hart, other);
  ck_assert_int_eq(hart_try_get(base, AT), 0);
  b.base = hart_turn(b.hart, b.space);
  ck_assert_lazy(0, 1, misses(AT));
  ck_assert_ok(vmm_hart_flush(b.hart));
  ck_assert_lazy(0, 0, misses(AT));
  end();
  vmm_test_end(other);
}
END_TEST

Suite *vmm_suite_scenario_s1(void);

Suite *vmm_suite_scenario_s1(void)
{
  Suite *suite = suite_create("scenario_s1");
  TCase *tcase = tcase_create("scenario_s1");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase,
                 a_new_mapping_costs_the_holder_of_an_invalid_entry_one_retry);
  tcase_add_test(tcase, what_is_not_mapped_is_reported_at_once);
  tcase_add_test(tcase,
                 a_mark_for_another_page_costs_one_retry_and_then_the_fault);
  tcase_add_loop_test(tcase, each_of_many_harts_has_its_own_mark, 0, 5);
  tcase_add_test(tcase, without_invalid_entries_it_is_an_ordinary_first_touch);
  tcase_add_test(tcase, a_late_mark_costs_a_retry_and_nothing_else);
  tcase_add_test(tcase, no_old_translation_outlives_an_unmap);
  tcase_add_test(tcase,
                 a_stale_writer_succeeds_when_widened_and_never_when_narrowed);
  tcase_add_test(tcase, an_alternate_stack_in_a_window_of_a_hart_is_refused);
  tcase_add_test(tcase, a_stale_entry_is_repaired_with_faults_disabled);
  tcase_add_test(tcase, a_user_s_access_to_the_supervisor_s_takes_no_mark);
  tcase_add_loop_test(tcase, only_the_eager_way_grows_with_the_harts, 0, 3);
  tcase_add_test(tcase, a_mark_installs_what_is_pending);
  tcase_add_test(tcase, an_eager_mapping_visits_each_window_and_needs_no_retry);
  tcase_add_test(tcase,
                 an_invalid_entry_tells_the_region_s_cookie_and_handler_of_now);
  tcase_add_test(tcase, every_way_to_widen_is_seen);
  tcase_add_test(tcase, invalid_entries_belong_to_one_space);
  suite_add_tcase(suite, tcase);
  return suite;
}
