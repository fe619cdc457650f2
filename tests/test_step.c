/*
 * A cleaner and a writer on one page, each stopped between every two of its
 * steps while the other goes all the way.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <pthread.h>
#include <sched.h>

#include <vmm/vmm.h>

#include "../lib/inject.h"

#define AT 0x10000u
#define PAGE 4096u
#define NO_STEP (-1)

static struct vmm_space *space;
static char *byte;

/* The thread that is to stop, and where; it goes on when released. */
static pthread_t stopping;
static _Atomic int stop_at = NO_STEP;
static _Atomic int stopped, released;

static void stop(enum vmmi_step step)
{
  if (!pthread_equal(pthread_self(), stopping) ||
      atomic_load(&stop_at) != (int)step)
    return;
  atomic_store(&stop_at, NO_STEP); /* once */
  atomic_store(&stopped, 1);
  while (!atomic_load(&released))
    sched_yield();
}

static void begin(void)
{
  struct vmm_space_options options = { .size = 1 << 26, .flags = VMM_EXACT };

  ck_assert_int_eq(vmm_space_create(&space, &options), 0);
  ck_assert_int_eq(
      vmm_map_anon(space, AT, PAGE, VMM_READ | VMM_WRITE), 0);
  byte = vmm_space_base(space) + AT;
  atomic_store(&vmmi_inject_stopper, stop);
}

static void end(void)
{
  atomic_store(&vmmi_inject_stopper, NULL);
  ck_assert_int_eq(vmm_check(space, 0, 0), 0);
  ck_assert_int_eq(vmm_space_destroy(space), 0);
}

/* => whether the page was dirty; it is clean then */
static int clean(void)
{
  uint64_t pte = 0;

  ck_assert_int_eq(vmm_pages(space, AT, PAGE, VMM_PTE_MODIFIED, &pte), 0);
  return (pte & VMM_PTE_MODIFIED) != 0;
}

static int is_dirty(void)
{
  uint64_t pte = 0;

  ck_assert_int_eq(vmm_pages(space, AT, PAGE, 0, &pte), 0);
  return (pte & VMM_PTE_MODIFIED) != 0;
}

static void write_byte(char value)
{
  *(volatile char *)byte = value;
}

static void *clean_in_thread(void *was_dirty)
{
  *(int *)was_dirty = clean();
  return NULL;
}

static void *write_in_thread(void *value)
{
  write_byte(*(char *)value);
  return NULL;
}

/* Starts a thread and waits until it has stopped at the step. */
static pthread_t start(void *(*run)(void *), void *arg, enum vmmi_step step)
{
  atomic_store(&stopped, 0);
  atomic_store(&released, 0);
  atomic_store(&stop_at, (int)step);
  ck_assert_int_eq(pthread_create(&stopping, NULL, run, arg), 0);
  while (!atomic_load(&stopped))
    sched_yield();
  return stopping;
}

static void finish(pthread_t thread)
{
  atomic_store(&released, 1);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* S4.18: a write lands while the cleaner stands between two steps. */
START_TEST(a_write_within_a_clean_is_reported_by_it_or_after_it)
{
  enum vmmi_step step = _i == 0 ? VMMI_STEP_CLEARED : VMMI_STEP_NARROWED;
  int was_dirty = 0;
  pthread_t cleaner;

  begin();
  write_byte(1);
  cleaner = start(clean_in_thread, &was_dirty, step);
  write_byte(2);
  finish(cleaner);
  ck_assert_int_eq(was_dirty, 1); /* the first write, and this clean is not lost */
  if (step == VMMI_STEP_NARROWED)
    ck_assert_int_eq(is_dirty(), 1); /* it came after the windows were clean */
  clean();
  ck_assert_int_eq(is_dirty(), 0);
  write_byte(3);
  ck_assert_int_eq(is_dirty(), 1);
  end();
}
END_TEST

/* S4.18: a clean goes by while the writer stands between two steps. */
START_TEST(a_write_around_a_clean_leaves_the_page_dirty)
{
  static const enum vmmi_step steps[] = { VMMI_STEP_CLASSIFIED,
                                          VMMI_STEP_PROMOTED,
                                          VMMI_STEP_INSTALLED };
  char value = 7;
  pthread_t writer;

  begin();
  writer = start(write_in_thread, &value, steps[_i]);
  clean();
  finish(writer);
  ck_assert_int_eq(*(volatile char *)byte, 7);
  ck_assert_int_eq(is_dirty(), 1); /* the write came after the clean */
  end();
}
END_TEST

Suite *vmm_suite_step(void);

Suite *vmm_suite_step(void)
{
  Suite *suite = suite_create("step");
  TCase *tcase = tcase_create("step");

  tcase_add_loop_test(tcase,
                      a_write_within_a_clean_is_reported_by_it_or_after_it, 0,
                      2);
  tcase_add_loop_test(tcase, a_write_around_a_clean_leaves_the_page_dirty, 0,
                      3);
  suite_add_tcase(suite, tcase);
  return suite;
}
