/*
 * TLBs by software: what they find, and that nothing that was forbidden is
 * found.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm_test.h"

#define AT 0x40000000u
#define RW (VMM_READ | VMM_WRITE)

static struct vmm_space *space;
static struct vmm_tlb *tlb;
static struct vmm_tracker *tracker;
static uint64_t page;

static void set_up(void)
{
  space = vmm_test_space(1ull << 32, VMM_CHECKED);
  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_tlb_create(&tlb, space, NULL));
  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW));
}

static void tear_down(void)
{
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_error(vmm_space_destroy(space), EBUSY);
  vmm_tlb_destroy(tlb);
  vmm_test_end(space);
}

static bool reads(vmm_addr_t va)
{
  bool found;

  vmm_tlb_enter(tlb);
  found = vmm_tlb_read(tlb, va, 1) != NULL;
  vmm_tlb_leave(tlb);
  return found;
}

static bool writes(vmm_addr_t va)
{
  bool found;

  vmm_tlb_enter(tlb);
  found = vmm_tlb_write(tlb, va, 1) != NULL;
  vmm_tlb_leave(tlb);
  return found;
}

static void fill(vmm_addr_t va, unsigned access)
{
  ck_assert_ok(vmm_tlb_fill(tlb, va, access));
  ck_assert(access == VMM_WRITE ? writes(va) : reads(va));
}

static void store(vmm_addr_t va, uint8_t byte)
{
  vmm_tlb_enter(tlb);
  *(volatile uint8_t *)vmm_tlb_write(tlb, va, 1) = byte;
  vmm_tlb_leave(tlb);
}

static uint8_t load(vmm_addr_t va)
{
  uint8_t byte;

  ck_assert_ok(vmm_load(space, va, &byte, 1));
  return byte;
}

static uint64_t bits(vmm_addr_t va, uint64_t clear)
{
  uint64_t pte;

  ck_assert_ok(vmm_pages(space, va, page, clear, &pte));
  return pte & (VMM_PTE_ACCESSED | VMM_PTE_MODIFIED);
}

START_TEST(what_was_filled_is_found_and_counted_once)
{
  ck_assert(!reads(AT));
  ck_assert_faults(space, 1, 0, fill(AT, VMM_READ));
  ck_assert(!writes(AT)); /* zeros that all share */
  ck_assert_uint_eq(bits(AT, 0), VMM_PTE_ACCESSED);
  ck_assert_faults(space, 0, 1, fill(AT + 8, VMM_WRITE));
  ck_assert(reads(AT + 16));
  ck_assert_uint_eq(bits(AT, 0), VMM_PTE_ACCESSED | VMM_PTE_MODIFIED);
  ck_assert_faults(space, 0, 0, fill(AT, VMM_READ));
  store(AT + 5, 77);
  ck_assert_uint_eq(load(AT + 5), 77);
  ck_assert_uint_eq(vmm_test_stats(space).host_calls, 0);
}
END_TEST

START_TEST(what_lies_in_two_entries_is_not_found)
{
  fill(AT, VMM_WRITE);
  fill(AT + 4096, VMM_WRITE);
  vmm_tlb_enter(tlb);
  ck_assert_ptr_nonnull(vmm_tlb_read(tlb, AT + 4092, 4));
  ck_assert_ptr_null(vmm_tlb_read(tlb, AT + 4093, 4));
  ck_assert_ptr_null(vmm_tlb_write(tlb, AT + 4089, 8));
  ck_assert_ptr_nonnull(vmm_tlb_write(tlb, AT, 4096));
  vmm_tlb_leave(tlb);
  ck_assert_ptr_null(vmm_tlb_read(tlb, UINT64_MAX, 8));
}
END_TEST

START_TEST(each_narrowing_empties_what_it_forbids_and_no_more)
{
  struct vmm_snapshot *snapshot;
  struct vmm_space *child;

  fill(AT, VMM_WRITE);
  fill(AT + page, VMM_WRITE);
  bits(AT, VMM_PTE_MODIFIED);
  ck_assert(reads(AT) && !writes(AT) && writes(AT + page));
  fill(AT, VMM_WRITE);
  bits(AT, VMM_PTE_ACCESSED);
  ck_assert(!reads(AT) && !writes(AT) && writes(AT + page));
  fill(AT, VMM_WRITE);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert(!writes(AT) && writes(AT + page));
  ck_assert_error(vmm_tlb_fill(tlb, AT, VMM_WRITE), EFAULT);
  ck_assert_ok(vmm_space_fork(&child, space));
  ck_assert(reads(AT + page) && !writes(AT + page));
  vmm_test_end(child);
  fill(AT + page, VMM_WRITE);
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert(!writes(AT + page));
  vmm_snapshot_drop(snapshot);
  fill(AT + page, VMM_READ);
  ck_assert_ok(vmm_discard(space, AT + page, page));
  ck_assert(!reads(AT + page));
  fill(AT + page, VMM_READ);
  ck_assert_ok(vmm_unmap(space, AT, 4 * page));
  ck_assert(!reads(AT + page));
  ck_assert_error(vmm_tlb_fill(tlb, AT, VMM_READ), EFAULT);
}
END_TEST

/* S4.17 */
START_TEST(zeros_are_not_found_once_the_page_has_a_frame)
{
  uint8_t byte = 9;

  fill(AT, VMM_READ);
  ck_assert_ok(vmm_store(space, AT + 3, &byte, 1));
  ck_assert(!reads(AT));
  fill(AT, VMM_READ);
  vmm_tlb_enter(tlb);
  ck_assert_uint_eq(*(uint8_t *)vmm_tlb_read(tlb, AT + 3, 1), 9);
  vmm_tlb_leave(tlb);
}
END_TEST

START_TEST(code_is_not_written_silently)
{
  uint8_t code[4];

  ck_assert_ok(vmm_protect(space, AT, page, RW | VMM_EXEC));
  fill(AT, VMM_WRITE);
  ck_assert_ok(vmm_fetch(space, AT, code, 4));
  ck_assert(!writes(AT));
  ck_assert_faults(space, 0, 1, fill(AT, VMM_WRITE));
  ck_assert_uint_eq(vmm_test_stats(space).invalidations, 1);
}
END_TEST

START_TEST(an_object_shared_with_a_window_stays_one)
{
  struct vmm_space *direct = vmm_test_space(1ull << 32, VMM_EXACT);
  struct vmm_map_options options = { 0 };
  struct vmm_object *object;
  struct vmm_range runs[4];
  size_t n = 4;
  vmm_addr_t va = AT;

  ck_assert_ok(vmm_object_create(&object, 4 * page, NULL));
  options.object = object;
  options.rights = RW;
  ck_assert_ok(vmm_map(direct, &va, 4 * page, &options));
  options.flags = VMM_REPLACE;
  ck_assert_ok(vmm_map(space, &va, 4 * page, &options));
  ck_assert_ok(vmm_tracker_create_object(&tracker, object, 0, 4 * page, NULL));
  fill(AT + page, VMM_WRITE);
  store(AT + page + 1, 42);
  ck_assert_uint_eq(vmm_test_get(direct, AT + page + 1), 42);
  ck_assert_ok(vmm_tracker_fetch(tracker, 0, 4 * page, 1, runs, &n, NULL));
  ck_assert_uint_eq(n, 1);
  ck_assert_uint_eq(runs[0].start, page);
  ck_assert_uint_eq(runs[0].nbytes, page);
  ck_assert(!writes(AT + page));
  vmm_tracker_destroy(tracker);
  vmm_test_end(direct);
  vmm_object_release(object);
}
END_TEST

/* S4.10 */
START_TEST(write_only_memory_has_no_entry)
{
  ck_assert_ok(vmm_protect(space, AT, page, VMM_WRITE));
  ck_assert_int_eq(vmm_tlb_fill(tlb, AT, VMM_WRITE), 1);
  ck_assert_error(vmm_tlb_fill(tlb, AT, VMM_READ), EFAULT);
}
END_TEST

START_TEST(wrong_calls_are_refused)
{
  struct vmm_tlb_options options = { 0 };
  struct vmm_tlb *other;

  ck_assert_error(vmm_tlb_create(NULL, space, NULL), EINVAL);
  ck_assert_error(vmm_tlb_create(&other, NULL, NULL), EINVAL);
  options.reserved[3] = 1;
  ck_assert_error(vmm_tlb_create(&other, space, &options), EINVAL);
  ck_assert_error(vmm_tlb_fill(tlb, AT, VMM_EXEC), EINVAL);
  ck_assert_error(vmm_tlb_fill(tlb, AT, RW), EINVAL);
  ck_assert_error(vmm_tlb_fill(tlb, 1ull << 40, VMM_READ), EFAULT);
  ck_assert_ok(vmm_tlb_create(&other, space, NULL));
  vmm_tlb_destroy(tlb);
  tlb = other;
  vmm_tlb_destroy(NULL);
}
END_TEST

/* ---- an owner in the middle of an access ---- */

static _Atomic int step; /* of the taker */
static uint64_t taken;

static void *clean(void *arg)
{
  (void)arg;
  step = 1;
  taken = bits(AT, VMM_PTE_MODIFIED);
  step = 2;
  return NULL;
}

static void *unmap(void *arg)
{
  (void)arg;
  step = 1;
  ck_assert_ok(vmm_unmap(space, AT, page));
  step = 2;
  return NULL;
}

/* Enters, finds, and has another thread take the page away meanwhile. */
static void store_while(void *(*taker)(void *), pthread_t *thread)
{
  volatile uint8_t *host;

  fill(AT, VMM_WRITE);
  vmm_tlb_enter(tlb);
  host = vmm_tlb_write(tlb, AT, 1);
  ck_assert_int_eq(pthread_create(thread, NULL, taker, NULL), 0);
  while (!vmm_tlb_asked(tlb))
    sched_yield();
  ck_assert_int_eq(step, 1); /* it waits for this section */
  ck_assert_ptr_null(vmm_tlb_write(tlb, AT, 1));
  *host = 5;
  vmm_tlb_leave(tlb);
  pthread_join(*thread, NULL);
  ck_assert_int_eq(step, 2);
  ck_assert(!vmm_tlb_asked(tlb));
}

/* S4.5, S4.18 */
START_TEST(a_cleaner_waits_for_the_store_that_it_counts)
{
  pthread_t thread;

  store_while(clean, &thread);
  ck_assert_uint_ne(taken & VMM_PTE_MODIFIED, 0);
  ck_assert_uint_eq(bits(AT, 0) & VMM_PTE_MODIFIED, 0);
  ck_assert_uint_eq(load(AT), 5);
  ck_assert(!writes(AT));
}
END_TEST

START_TEST(a_frame_is_reused_after_the_section_only)
{
  pthread_t thread;

  store_while(unmap, &thread);
  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  fill(AT, VMM_WRITE);
  ck_assert_uint_eq(load(AT), 0);
}
END_TEST

static void *fetch(void *arg)
{
  struct vmm_range run;
  size_t n = 1;

  (void)arg;
  ck_assert_ok(vmm_tracker_fetch(tracker, AT, page, 1, &run, &n, NULL));
  ck_assert_uint_eq(n, 1);
  return NULL;
}

/* The first has taken the silent bit; the second must wait all the same. */
START_TEST(two_cleaners_wait_for_the_same_store)
{
  pthread_t first, second;
  volatile uint8_t *host;

  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, page, NULL));
  fill(AT, VMM_WRITE);
  vmm_tlb_enter(tlb);
  host = vmm_tlb_write(tlb, AT, 1);
  ck_assert_int_eq(pthread_create(&first, NULL, fetch, NULL), 0);
  while (!vmm_tlb_asked(tlb))
    sched_yield();
  ck_assert_int_eq(pthread_create(&second, NULL, clean, NULL), 0);
  while (step == 0)
    sched_yield();
  for (int i = 0; i < 100; i++)
    sched_yield();
  ck_assert_int_eq(step, 1);
  *host = 6;
  vmm_tlb_leave(tlb);
  pthread_join(first, NULL);
  pthread_join(second, NULL);
  ck_assert_uint_eq(load(AT), 6);
  vmm_tracker_destroy(tracker);
}
END_TEST

START_TEST(the_word_to_poll_is_set)
{
  struct vmm_tlb_options options = { 0 };
  uint32_t word = 1;
  pthread_t thread;

  vmm_tlb_destroy(tlb);
  options.poll = &word;
  options.poll_bits = 6;
  ck_assert_ok(vmm_tlb_create(&tlb, space, &options));
  store_while(clean, &thread);
  ck_assert_uint_eq(word, 7);
}
END_TEST

/* ---- a copy of the process ---- */

static void *linger(void *arg)
{
  vmm_tlb_enter(tlb);
  step = 1;
  while (step == 1)
    sched_yield();
  vmm_tlb_leave(tlb);
  return arg;
}

/* The thread that was in a section is not there. */
START_TEST(a_child_waits_for_no_section_of_its_parent)
{
  pthread_t thread;
  int status;
  pid_t child;

  fill(AT, VMM_WRITE);
  ck_assert_int_eq(pthread_create(&thread, NULL, linger, NULL), 0);
  while (step == 0)
    sched_yield();
  child = vmm_process_fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    store(AT, 9);
    _exit(vmm_unmap(space, AT, page) == 0 && !writes(AT) ? 0 : 1);
  }
  step = 2;
  pthread_join(thread, NULL);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(load(AT), 0);
}
END_TEST

/* ---- many at once ---- */

#define OWNERS 3
#define PAGES 4u
#define ROUNDS 20000

static _Atomic bool over;
static _Atomic uint64_t stored[PAGES]; /* begun, by page */

static bool store_once(struct vmm_tlb *own, vmm_addr_t va)
{
  uint64_t *host;

  vmm_tlb_enter(own);
  host = vmm_tlb_write(own, va, 8);
  if (host != NULL)
    __atomic_fetch_add(host, 1, __ATOMIC_RELAXED);
  vmm_tlb_leave(own);
  return host != NULL;
}

static void *own(void *arg)
{
  unsigned seed = (unsigned)(uintptr_t)arg;
  struct vmm_tlb *mine;

  ck_assert_ok(vmm_tlb_create(&mine, space, NULL));
  for (int i = 0; i < ROUNDS; i++) {
    unsigned k = (unsigned)rand_r(&seed) % PAGES;

    while (!store_once(mine, AT + k * page))
      /* 1: the cleaner was there before the entry was */
      ck_assert_int_ge(vmm_tlb_fill(mine, AT + k * page, VMM_WRITE), 0);
    atomic_fetch_add(&stored[k], 1);
  }
  vmm_tlb_destroy(mine);
  return NULL;
}

/* S2.6: what a cleaner reported clean holds no count that the next one is not
 * told of. */
static void *keep_cleaning(void *arg)
{
  uint64_t seen[PAGES] = { 0 }, now, before;

  (void)arg;
  while (!over) {
    for (unsigned k = 0; k < PAGES; k++) {
      ck_assert_ok(vmm_load(space, AT + k * page, &before, 8));
      if (!(bits(AT + k * page, VMM_PTE_MODIFIED) & VMM_PTE_MODIFIED))
        ck_assert_uint_eq(before, seen[k]);
      ck_assert_ok(vmm_load(space, AT + k * page, &now, 8));
      seen[k] = now;
      if (bits(AT + k * page, 0) & VMM_PTE_MODIFIED)
        seen[k] = UINT64_MAX; /* written since: what it was is not known */
      while (seen[k] == UINT64_MAX) {
        bits(AT + k * page, VMM_PTE_MODIFIED);
        ck_assert_ok(vmm_load(space, AT + k * page, &now, 8));
        if (!(bits(AT + k * page, 0) & VMM_PTE_MODIFIED))
          seen[k] = now;
        if (over)
          return NULL;
      }
    }
  }
  return NULL;
}

START_TEST(no_store_is_lost_nor_undirty_while_a_cleaner_runs)
{
  pthread_t owners[OWNERS], cleaner;
  uint64_t value;

  ck_assert_int_eq(pthread_create(&cleaner, NULL, keep_cleaning, NULL), 0);
  for (uintptr_t i = 0; i < OWNERS; i++)
    ck_assert_int_eq(pthread_create(&owners[i], NULL, own, (void *)(i + 1)), 0);
  for (unsigned i = 0; i < OWNERS; i++)
    pthread_join(owners[i], NULL);
  over = true;
  pthread_join(cleaner, NULL);
  for (unsigned k = 0; k < PAGES; k++) {
    ck_assert_ok(vmm_load(space, AT + k * page, &value, 8));
    ck_assert_uint_eq(value, stored[k]);
  }
}
END_TEST

Suite *vmm_suite_tlb(void);

Suite *vmm_suite_tlb(void)
{
  Suite *suite = suite_create("tlb");
  TCase *tcase = tcase_create("tlb");

  tcase_add_checked_fixture(tcase, set_up, tear_down);
  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, what_was_filled_is_found_and_counted_once);
  tcase_add_test(tcase, what_lies_in_two_entries_is_not_found);
  tcase_add_test(tcase, each_narrowing_empties_what_it_forbids_and_no_more);
  tcase_add_test(tcase, zeros_are_not_found_once_the_page_has_a_frame);
  tcase_add_test(tcase, code_is_not_written_silently);
  tcase_add_test(tcase, an_object_shared_with_a_window_stays_one);
  tcase_add_test(tcase, write_only_memory_has_no_entry);
  tcase_add_test(tcase, wrong_calls_are_refused);
  tcase_add_test(tcase, a_cleaner_waits_for_the_store_that_it_counts);
  tcase_add_test(tcase, a_frame_is_reused_after_the_section_only);
  tcase_add_test(tcase, two_cleaners_wait_for_the_same_store);
  tcase_add_test(tcase, the_word_to_poll_is_set);
  tcase_add_test(tcase, a_child_waits_for_no_section_of_its_parent);
  tcase_add_test(tcase, no_store_is_lost_nor_undirty_while_a_cleaner_runs);
  suite_add_tcase(suite, tcase);
  return suite;
}
