/*
 * Waiting for pagers: the lock that is dropped meanwhile, cancelling, rings of
 * pagers, and callbacks that do what they like.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

#include "store.h"

#define PAGE 4096u
#define AT 0x400000u
#define NBYTES (STORE_PAGES * PAGE)
#define RW (VMM_READ | VMM_WRITE)

static const uint32_t ways[] = { 0, VMM_PAGER_INLINE };

static struct {
  struct vmm_space *space;
  int result;           /* of what a callback tried */
  atomic_uint deadlocks; /* that callbacks were told of */
  atomic_bool begun, go; /* a callback that stops in between */
} test;

static void set_up(struct store *store, uint32_t flags)
{
  test.space = vmm_test_space(1 << 26, 0);
  store_open(store, flags, 0);
  store_map(store, test.space, AT, RW, 0);
}

static void tear_down(struct store *store)
{
  vmm_test_end(test.space);
  store_close(store);
}

static void stop_here(struct store *store, uint64_t offset)
{
  (void)store;
  (void)offset;
  test.begun = true;
  while (!test.go)
    sched_yield();
}

static void wait_for(atomic_bool *flag)
{
  while (!*flag)
    sched_yield();
}

/* ---- the lock is dropped ---- */

/* S2.4 */
START_TEST(fixup_tells_that_a_pager_was_waited_for)
{
  struct store store = { 0 };

  set_up(&store, ways[_i]);
  ck_assert_int_eq(vmm_fixup(test.space, AT, VMM_READ), 1);
  ck_assert_int_eq(vmm_fixup(test.space, AT, VMM_WRITE), 0);
  ck_assert_uint_eq(store.fills, 1);
  ck_assert_uint_eq(vmm_test_stats(test.space).paged, 1);
  tear_down(&store);
}
END_TEST

static void unmap_all(struct store *store, uint64_t offset)
{
  (void)store;
  (void)offset;
  test.result = vmm_unmap(test.space, AT, NBYTES);
}

/* S2.4 */
START_TEST(region_that_goes_while_its_pager_fills_is_efault)
{
  struct store store = { 0 };
  struct vmm_fault fault;
  char byte;

  set_up(&store, ways[_i]);
  store.in_fill = unmap_all;
  ck_assert_error(vmm_fixup(test.space, AT, VMM_WRITE), EFAULT);
  ck_assert_ok(test.result);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  store_map(&store, test.space, AT, RW, 0);
  ck_assert_error(vmm_copyin(test.space, &byte, AT + PAGE, 1, NULL), EFAULT);
  ck_assert_uint_eq(store.fills, 2);
  tear_down(&store);
}
END_TEST

static void map_over(struct store *store, uint64_t offset)
{
  (void)store;
  (void)offset;
  test.result = vmm_map_anon(test.space, AT, NBYTES, RW | VMM_REPLACE);
}

/* S2.4 */
START_TEST(what_is_mapped_meanwhile_is_what_the_access_sees)
{
  struct store store = { 0 };
  char byte = 7;

  set_up(&store, ways[_i]);
  store.in_fill = map_over;
  ck_assert_ok(vmm_copyin(test.space, &byte, AT, 1, NULL));
  ck_assert_ok(test.result);
  ck_assert_int_eq(byte, 0);
  ck_assert_int_eq(vmm_fixup(test.space, AT, VMM_WRITE), 0);
  tear_down(&store);
}
END_TEST

START_TEST(last_holder_may_go_while_the_pager_fills)
{
  struct store store = { 0 };

  set_up(&store, ways[_i]);
  store.in_fill = unmap_all;
  vmm_object_release(store.object);
  ck_assert_error(vmm_fixup(test.space, AT, VMM_WRITE), EFAULT);
  while (store.releases == 0)
    sched_yield();
  vmm_test_end(test.space);
  free(store.bytes);
}
END_TEST

START_TEST(faults_disabled_ask_no_pager)
{
  struct store store = { 0 };
  struct vmm_fault fault;
  char byte;

  set_up(&store, ways[_i]);
  vmm_nofault_begin();
  ck_assert_error(vmm_copyin(test.space, &byte, AT, 1, NULL), EFAULT);
  vmm_nofault_end();
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_DISABLED);
  ck_assert_uint_eq(store.fills, 0);
  tear_down(&store);
}
END_TEST

/* ---- cancelling ---- */

struct waiting {
  pthread_t thread;
  _Atomic(struct vmm_waiter *) self;
  int result;
  struct vmm_fault fault;
};

static void *copy_first_byte(void *arg)
{
  struct waiting *waiting = arg;
  char byte;

  waiting->self = vmm_waiter_self();
  waiting->result = vmm_copyin(test.space, &byte, AT, 1, NULL);
  return NULL;
}

static void touch_first_byte(void *unused)
{
  (void)unused;
  vmm_test_get(test.space, AT);
}

static void *touch_guarded(void *arg)
{
  struct waiting *waiting = arg;

  waiting->self = vmm_waiter_self();
  waiting->result = vmm_guard_call(touch_first_byte, NULL, 0, &waiting->fault);
  return NULL;
}

/* S2.12 */
START_TEST(wait_for_a_pager_can_be_cancelled)
{
  struct store store = { 0 };
  struct waiting waiting = { 0 };
  struct vmm_space *fork;

  set_up(&store, 0);
  store.in_fill = stop_here;
  ck_assert_int_eq(pthread_create(&waiting.thread, NULL,
                                  _i == 0 ? copy_first_byte : touch_guarded,
                                  &waiting), 0);
  wait_for(&test.begun);
  vmm_waiter_cancel(waiting.self);
  ck_assert_int_eq(pthread_join(waiting.thread, NULL), 0);
  if (_i == 0) {
    ck_assert_error(waiting.result, EINTR);
  } else {
    ck_assert_int_eq(waiting.result, 1);
    ck_assert_uint_eq(waiting.fault.reason, VMM_FAULT_PAGER);
    ck_assert_int_eq(waiting.fault.error, -EINTR);
  }
  /* no lock is held: this needs all of them */
  ck_assert_ok(vmm_map_anon(test.space, AT + NBYTES, PAGE, RW));
  ck_assert_ok(vmm_space_fork(&fork, test.space));
  ck_assert_ok(vmm_space_destroy(fork));
  test.go = true;
  /* the pager went on: the page comes without another fill */
  ck_assert_uint_eq(vmm_test_get(test.space, AT), 1);
  ck_assert_uint_eq(store.fills, 1);
  tear_down(&store);
}
END_TEST

/* S2.12 */
START_TEST(thread_that_waits_for_nothing_is_cancelled_at_its_next_wait)
{
  struct store store = { 0 };
  char byte;

  set_up(&store, 0);
  vmm_waiter_cancel(vmm_waiter_self());
  ck_assert_error(vmm_copyin(test.space, &byte, AT, 1, NULL), EINTR);
  ck_assert_uint_eq(store.fills, 0);
  ck_assert_ok(vmm_copyin(test.space, &byte, AT, 1, NULL));
  vmm_test_set(test.space, AT, 5);
  vmm_waiter_cancel(vmm_waiter_self());
  ck_assert_error(vmm_object_flush(store.object, 0, NBYTES), EINTR);
  ck_assert_uint_eq(store_stats(&store).dirty, 1);
  tear_down(&store);
}
END_TEST

/* ---- rings ---- */

static void read_own(struct store *store, uint64_t offset)
{
  char byte;

  (void)store;
  test.result = vmm_copyin(test.space, &byte, AT + offset + PAGE, 1, NULL);
}

START_TEST(callback_that_needs_its_own_pager_gets_edeadlk)
{
  struct store store = { 0 };

  set_up(&store, ways[_i]);
  store.in_fill = read_own;
  ck_assert_uint_eq(vmm_test_get(test.space, AT), 1);
  ck_assert_error(test.result, EDEADLK);
  ck_assert_uint_eq(store.fills, 1);
  store.in_fill = NULL;
  ck_assert_uint_eq(vmm_test_get(test.space, AT + PAGE), 2);
  tear_down(&store);
}
END_TEST

#define OTHER (AT + NBYTES)

/* => reads a byte; counts where that would close the ring */
static void read_byte(vmm_addr_t va)
{
  char byte;
  int result = vmm_copyin(test.space, &byte, va, 1, NULL);

  if (result == -EDEADLK)
    test.deadlocks++;
  else
    ck_assert_ok(result);
}

static void read_other(struct store *store, uint64_t offset)
{
  (void)store;
  (void)offset;
  read_byte(OTHER);
}

static void read_first(struct store *store, uint64_t offset)
{
  (void)store;
  (void)offset;
  read_byte(AT + PAGE);
}

/* Whoever would close it: an inline pager's callback runs on any thread. */
START_TEST(ring_of_pagers_gets_edeadlk)
{
  struct store store = { 0 }, other = { 0 };

  set_up(&store, ways[_i & 1]);
  store_open(&other, ways[_i >> 1], 0);
  store_map(&other, test.space, OTHER, RW, 0);
  store.in_fill = read_other;
  other.in_fill = read_first;
  ck_assert_uint_eq(vmm_test_get(test.space, AT), 1);
  ck_assert_uint_eq(test.deadlocks, 1);
  ck_assert_uint_eq(vmm_test_get(test.space, OTHER), 1);
  ck_assert_uint_eq(other.fills, 1);
  tear_down(&store);
  store_close(&other);
}
END_TEST

static void flush_own(struct store *store, uint64_t offset)
{
  (void)offset;
  test.result = vmm_object_flush(store->object, 0, NBYTES);
}

START_TEST(flush_in_a_callback_gets_edeadlk)
{
  struct store store = { 0 };

  set_up(&store, ways[_i]);
  vmm_test_set(test.space, AT, 9);
  store.in_write = flush_own;
  ck_assert_ok(vmm_object_flush(store.object, 0, NBYTES));
  ck_assert_error(test.result, EDEADLK);
  ck_assert_uint_eq(store.bytes[0], 9);
  store.in_write = NULL;
  tear_down(&store);
}
END_TEST

static void destroy_all(struct store *store, uint64_t offset)
{
  (void)offset;
  test.result = vmm_pager_destroy(store->object);
  ck_assert_error(vmm_space_destroy(test.space), EBUSY);
}

START_TEST(callback_can_destroy_neither_pager_nor_space)
{
  struct store store = { 0 };

  set_up(&store, ways[_i]);
  store.in_fill = destroy_all;
  ck_assert_int_eq(vmm_fixup(test.space, AT, VMM_READ), 1);
  ck_assert_error(test.result, EDEADLK);
  tear_down(&store);
}
END_TEST

/* ---- writing back ---- */

static void *flush_all(void *arg)
{
  struct store *store = arg;

  ck_assert_ok(vmm_object_flush(store->object, 0, NBYTES));
  return NULL;
}

static void *write_two(void *unused)
{
  (void)unused;
  vmm_test_set(test.space, AT, 2);
  return NULL;
}

START_TEST(writer_waits_while_its_page_is_written_back)
{
  struct store store = { 0 };
  pthread_t flusher, writer;
  uint64_t waits;

  set_up(&store, ways[_i]);
  vmm_test_set(test.space, AT, 1);
  store.in_write = stop_here;
  ck_assert_int_eq(pthread_create(&flusher, NULL, flush_all, &store), 0);
  wait_for(&test.begun);
  waits = store_stats(&store).waits;
  ck_assert_uint_eq(vmm_test_get(test.space, AT), 1); /* a reader doesn't */
  ck_assert_int_eq(pthread_create(&writer, NULL, write_two, NULL), 0);
  while (store_stats(&store).waits == waits)
    sched_yield();
  ck_assert_uint_eq(vmm_test_get(test.space, AT), 1);
  store.in_write = NULL;
  test.go = true;
  ck_assert_int_eq(pthread_join(flusher, NULL), 0);
  ck_assert_int_eq(pthread_join(writer, NULL), 0);
  ck_assert_uint_eq(store.bytes[0], 1);
  ck_assert_uint_eq(vmm_test_get(test.space, AT), 2);
  ck_assert_uint_eq(store_stats(&store).dirty, 1);
  tear_down(&store);
}
END_TEST

Suite *vmm_suite_pager_wait(void);

Suite *vmm_suite_pager_wait(void)
{
  Suite *suite = suite_create("pager_wait");
  TCase *tcase = tcase_create("pager_wait");

  tcase_add_loop_test(tcase, fixup_tells_that_a_pager_was_waited_for, 0, 2);
  tcase_add_loop_test(tcase,
                      region_that_goes_while_its_pager_fills_is_efault, 0, 2);
  tcase_add_loop_test(tcase, what_is_mapped_meanwhile_is_what_the_access_sees,
                      0, 2);
  tcase_add_loop_test(tcase, last_holder_may_go_while_the_pager_fills, 0, 2);
  tcase_add_loop_test(tcase, faults_disabled_ask_no_pager, 0, 2);
  tcase_add_loop_test(tcase, wait_for_a_pager_can_be_cancelled, 0, 2);
  tcase_add_test(tcase,
                 thread_that_waits_for_nothing_is_cancelled_at_its_next_wait);
  tcase_add_loop_test(tcase, callback_that_needs_its_own_pager_gets_edeadlk, 0,
                      2);
  tcase_add_loop_test(tcase, ring_of_pagers_gets_edeadlk, 0, 4);
  tcase_add_loop_test(tcase, flush_in_a_callback_gets_edeadlk, 0, 2);
  tcase_add_loop_test(tcase, callback_can_destroy_neither_pager_nor_space, 0, 2);
  tcase_add_loop_test(tcase, writer_waits_while_its_page_is_written_back, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
