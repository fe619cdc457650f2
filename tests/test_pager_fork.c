/*
 * Pagers in a copy of the process: the child has copies of the pages, and a
 * thread of its own to fill others, though the parent's was in the middle of a
 * callback.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"
#include "process.h"
#include "store.h"

#define PAGE 4096u
#define AT 0x400000u
#define NBYTES (STORE_PAGES * PAGE)

static const uint32_t ways[] = { 0, VMM_PAGER_INLINE };

static struct vmm_space *space;
static struct store store;
static atomic_bool begun, go;

static void stop_in_page_nine(struct store *of, uint64_t offset)
{
  (void)of;
  if (offset != 9 * PAGE)
    return;
  begun = true;
  while (!go)
    sched_yield();
}

static void *touch_page_nine(void *unused)
{
  (void)unused;
  ck_assert_uint_eq(vmm_test_get(space, AT + 9 * PAGE), 10);
  return NULL;
}

/* All that a pager does, and then its end. */
static void be_child(void)
{
  alarm(120);
  store.in_fill = NULL;
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_test_get(space, AT) == 100);
  must(vmm_test_get(space, AT + PAGE) == 2);
  must(vmm_test_get(space, AT + 9 * PAGE) == 10);
  must(vmm_test_get(space, AT + 20 * PAGE) == 21);
  vmm_test_set(space, AT + PAGE, 50);
  must(vmm_object_evict(store.object, 0, NBYTES) == 0);
  must(store.bytes[0] == 100 && store.bytes[PAGE] == 50);
  must(vmm_test_get(space, AT + PAGE) == 50);
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_space_destroy(space) == 0);
  must(vmm_pager_destroy(store.object) == 0);
  must(store.releases == 1);
  _exit(0);
}

START_TEST(child_of_a_process_fork_has_pagers_of_its_own)
{
  pthread_t thread;
  int child, status;

  space = vmm_test_space(1 << 26, 0);
  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  vmm_test_set(space, AT, 100);
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 2);
  store.in_fill = stop_in_page_nine;
  ck_assert_int_eq(pthread_create(&thread, NULL, touch_page_nine, NULL), 0);
  while (!begun)
    sched_yield();
  child = vmm_process_fork();
  if (child == 0)
    be_child();
  ck_assert_msg(child > 0, "%d: %s", child, vmm_error_text());
  go = true;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert(WIFEXITED(status));
  ck_assert_int_eq(WEXITSTATUS(status), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 100);
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 2);
  ck_assert_uint_eq(store.bytes[0], 1); /* not flushed here */
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

/* Its object is read-only for the program, and not for its fill. */
START_TEST(child_fills_where_nothing_is_written_back)
{
  struct vmm_pager_options options = { .nbytes = NBYTES, .fill = store_fill,
                                       .flags = ways[_i], .arg = &store };
  struct vmm_object *object;
  int child, status;

  space = vmm_test_space(1 << 26, 0);
  store_open(&store, ways[_i], 0);
  ck_assert_ok(vmm_pager_create(&object, &options));
  ck_assert_ok(probe_map(space, AT, NBYTES, object, 0, VMM_READ));
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  child = vmm_process_fork();
  if (child == 0) {
    alarm(120);
    must(vmm_test_get(space, AT) == 1);
    must(vmm_test_get(space, AT + PAGE) == 2);
    _exit(0);
  }
  ck_assert_msg(child > 0, "%d: %s", child, vmm_error_text());
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  vmm_test_end(space);
  ck_assert_ok(vmm_pager_destroy(object));
  store_close(&store);
}
END_TEST

START_TEST(child_of_plain_fork_has_no_pagers)
{
  struct vmm_pager_stats stats = { .struct_size = sizeof(stats) };
  int child, status;

  space = vmm_test_space(1 << 26, 0);
  store_open(&store, ways[_i], 0);
  store_map(&store, space, AT, RW, 0);
  child = fork();
  if (child == 0) {
    must(vmm_object_flush(store.object, 0, NBYTES) == -ESTALE);
    must(vmm_pager_stats(store.object, &stats) == -ESTALE);
    must(vmm_pager_destroy(store.object) == -ESTALE);
    vmm_object_release(store.object);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  vmm_test_end(space);
  store_close(&store);
}
END_TEST

Suite *vmm_suite_pager_fork(void);

Suite *vmm_suite_pager_fork(void)
{
  Suite *suite = suite_create("pager_fork");
  TCase *tcase = tcase_create("pager_fork");

  tcase_add_loop_test(tcase, child_of_a_process_fork_has_pagers_of_its_own, 0, 2);
  tcase_add_loop_test(tcase, child_fills_where_nothing_is_written_back, 0, 2);
  tcase_add_loop_test(tcase, child_of_plain_fork_has_no_pagers, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
