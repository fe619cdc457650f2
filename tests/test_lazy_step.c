/*
 * New mappings and harts with a stop injected between their steps, from the
 * inside: S1.5, S1.7, and a window that comes while rights are taken (S1.8,
 * S4.8).
 */
#include <pthread.h>
#include <stdatomic.h>

#include "../lib/inject.h"
#include "hart.h"

#define AT 0x200000
enum {
  RW = VMM_READ | VMM_WRITE,
  LAZY = VMM_HART_WINDOWS | VMM_HART_INVALID
};

/* What the calling thread does when it comes to the step, once. */
static struct {
  _Atomic int step; /* -1: none */
  void (*act)(void);
  int acted;
} stop = { .step = -1 };

static void act_at_step(enum vmmi_step step)
{
  int expected = (int)step;

  if (atomic_compare_exchange_strong(&stop.step, &expected, -1)) {
    stop.acted++;
    stop.act();
  }
}

static void stop_at(enum vmmi_step step, void (*act)(void))
{
  stop.act = act;
  stop.acted = 0;
  atomic_store(&stop.step, (int)step);
  atomic_store(&vmmi_inject_stopper, act_at_step);
}

static void stopped(int times)
{
  atomic_store(&vmmi_inject_stopper, NULL);
  ck_assert_int_eq(stop.acted, times);
}

static struct {
  struct vmm_space *space;
  uint64_t page;
  vmm_addr_t next; /* that another thread maps */
} b;

static void begin(unsigned npages)
{
  b.space = hart_space(npages, RW);
  b.page = vmm_space_page_size(b.space);
}

static void *map_next(void *arg)
{
  ck_assert_ok(vmm_map_anon(b.space, b.next, b.page, RW));
  return arg;
}

static void in_a_thread(void *(*work)(void *))
{
  pthread_t thread;

  ck_assert_int_eq(pthread_create(&thread, NULL, work, NULL), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void map_another(void)
{
  in_a_thread(map_next);
}

/* S1.5 */
START_TEST(a_mark_made_between_clear_and_repair_is_kept)
{
  struct vmm_hart *hart = hart_begin(LAZY, 0);
  vmm_addr_t x = AT, y = AT;
  char *base;

  begin(0);
  y += 4 * b.page;
  base = hart_turn(hart, b.space);
  ck_assert_int_eq(hart_try_get(base, x), -EFAULT);
  ck_assert_int_eq(hart_try_get(base, y), -EFAULT);
  ck_assert_ok(vmm_map_anon(b.space, x, b.page, RW));
  b.next = y;
  stop_at(VMMI_STEP_MARK_TAKEN, map_another);
  ck_assert_int_eq(hart_try_get(base, x), 0);
  stopped(1);
  ck_assert_uint_eq(hart_stats(hart).marks, 2);
  ck_assert_uint_eq(hart_stats(hart).retries, 1);
  ck_assert_int_eq(hart_try_get(base, y), 0); /* no third party is needed */
  ck_assert_uint_eq(hart_stats(hart).retries, 2);
  ck_assert_uint_eq(hart_stats(hart).refused, 0);
  hart_end(hart);
  vmm_test_end(b.space);
}
END_TEST

START_TEST(a_mapping_behind_a_taken_mark_is_found_by_the_same_fault)
{
  struct vmm_hart *hart = hart_begin(LAZY, 0);
  char *base;

  begin(0);
  base = hart_turn(hart, b.space);
  ck_assert_int_eq(hart_try_get(base, AT), -EFAULT);
  ck_assert_ok(vmm_map_anon(b.space, AT + b.page, b.page, RW)); /* a mark */
  b.next = AT;
  stop_at(VMMI_STEP_MARK_TAKEN, map_another);
  ck_assert_int_eq(hart_try_get(base, AT), 0);
  stopped(1);
  ck_assert_uint_eq(hart_stats(hart).retries, 1);
  hart_end(hart);
  vmm_test_end(b.space);
}
END_TEST

/* ---- S1.7: a mark that comes too late ---- */

static struct {
  pthread_barrier_t turn;
  struct vmm_hart *hart;
  char *base;
} late;

/* Its hart ends while its window is about to be marked. */
static void *be_marked(void *arg)
{
  struct vmm_hart *hart = hart_begin(LAZY, 0);
  char *base = hart_turn(hart, b.space);

  ck_assert_int_eq(vmm_hart_number(hart), 0); /* it is marked first */
  ck_assert_int_eq(hart_try_get(base, AT), -EFAULT);
  pthread_barrier_wait(&late.turn);
  pthread_barrier_wait(&late.turn);
  hart_end(hart);
  pthread_barrier_wait(&late.turn);
  return arg;
}

static void let_the_hart_end(void)
{
  pthread_barrier_wait(&late.turn);
  pthread_barrier_wait(&late.turn);
}

/* S1.7 */
START_TEST(a_mark_for_a_hart_that_has_ended_is_harmless)
{
  struct vmm_hart *hart;
  char *base;
  pthread_t thread;

  begin(0);
  pthread_barrier_init(&late.turn, NULL, 2);
  ck_assert_int_eq(pthread_create(&thread, NULL, be_marked, NULL), 0);
  pthread_barrier_wait(&late.turn);
  hart = hart_begin(LAZY, 0);
  base = hart_turn(hart, b.space);
  stop_at(VMMI_STEP_MARKING, let_the_hart_end);
  ck_assert_ok(vmm_map_anon(b.space, AT, b.page, RW));
  stopped(1);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_uint_eq(hart_stats(hart).marks, 1);
  ck_assert_int_eq(hart_try_get(base, AT), 0);
  hart_end(hart);
  hart = hart_begin(LAZY, 0); /* the records of those windows are used again */
  base = hart_turn(hart, b.space);
  ck_assert_int_eq(hart_try_get(base, AT + b.page), -EFAULT);
  ck_assert_int_eq(hart_get(base, AT), 0);
  hart_end(hart);
  vmm_test_end(b.space);
}
END_TEST

/* ---- a window that comes while rights are taken ---- */

static void *open_and_write(void *arg)
{
  late.hart = hart_begin(VMM_HART_WINDOWS, 0);
  late.base = hart_turn(late.hart, b.space);
  hart_set(late.base, AT, 2);
  pthread_barrier_wait(&late.turn);
  pthread_barrier_wait(&late.turn);
  hart_end(late.hart);
  return arg;
}

static pthread_t opener;

static void open_another(void)
{
  ck_assert_int_eq(pthread_create(&opener, NULL, open_and_write, NULL), 0);
  pthread_barrier_wait(&late.turn);
}

/* A cleaner stands between the entries and the windows, or behind the windows,
 * and meanwhile a hart makes a window and writes: its write is dirty, and after
 * the next clean it faults again. */
START_TEST(a_window_that_comes_within_a_clean_misses_none)
{
  static const enum vmmi_step steps[] = { VMMI_STEP_CLEARED,
                                          VMMI_STEP_NARROWED };
  struct vmm_stats before;
  uint64_t pte;

  begin(1);
  pthread_barrier_init(&late.turn, NULL, 2);
  vmm_test_set(b.space, AT, 1);
  stop_at(steps[_i], open_another);
  ck_assert_ok(vmm_pages(b.space, AT, b.page, VMM_PTE_MODIFIED, NULL));
  stopped(1);
  ck_assert_ok(vmm_pages(b.space, AT, b.page, VMM_PTE_MODIFIED, &pte));
  ck_assert_uint_ne(pte & VMM_PTE_MODIFIED, 0);
  before = vmm_test_stats(b.space);
  hart_set(late.base, AT, 3);
  ck_assert_uint_eq(vmm_test_stats(b.space).faults_write - before.faults_write,
                    1);
  ck_assert_ok(vmm_check(b.space, 0, 0));
  pthread_barrier_wait(&late.turn);
  ck_assert_int_eq(pthread_join(opener, NULL), 0);
  vmm_test_end(b.space);
}
END_TEST

Suite *vmm_suite_lazy_step(void);

Suite *vmm_suite_lazy_step(void)
{
  Suite *suite = suite_create("lazy_step");
  TCase *tcase = tcase_create("lazy_step");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, a_mark_made_between_clear_and_repair_is_kept);
  tcase_add_test(tcase,
                 a_mapping_behind_a_taken_mark_is_found_by_the_same_fault);
  tcase_add_test(tcase, a_mark_for_a_hart_that_has_ended_is_harmless);
  tcase_add_loop_test(tcase, a_window_that_comes_within_a_clean_misses_none, 0,
                      2);
  suite_add_tcase(suite, tcase);
  return suite;
}
