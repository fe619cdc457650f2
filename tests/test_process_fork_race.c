/*
 * Copies of the process while pagers work and threads fault and map; and host
 * calls that fail on the way, which leave no child.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "process_copy.h"

static void end_world(void)
{
  if (second != NULL)
    vmm_test_end(second);
  vmm_test_end(space);
  vmm_object_release(object);
}

/* ---- pagers ---- */

static _Atomic unsigned fills;
static _Atomic bool may_fill;

/* The second page is not given before may_fill. */
static int fill_page(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  (void)arg;
  atomic_fetch_add(&fills, 1);
  while (offset == page && !atomic_load(&may_fill))
    sched_yield();
  memset(to, (int)(1 + offset / page), nbytes);
  return 0;
}

static int keep_page(uint64_t offset, const void *from, size_t nbytes, void *arg)
{
  (void)arg;
  return offset == 0 && nbytes == page && *(const char *)from == 9 ? 0 : -EIO;
}

static void make_pager(uint32_t flags)
{
  struct vmm_pager_options options = { .nbytes = 4 * page,
                                       .flags = flags,
                                       .fill = fill_page,
                                       .write_back = keep_page };
  struct vmm_map_options map = { .rights = RW };
  vmm_addr_t at = OTHER;

  ck_assert_ok(vmm_pager_create(&object, &options));
  map.object = object;
  ck_assert_ok(vmm_map(space, &at, 4 * page, &map));
}

static void use_pager(void)
{
  unsigned before = atomic_load(&fills);

  must(vmm_test_get(space, OTHER) == 7);
  must(atomic_load(&fills) == before);
  must(vmm_test_get(space, OTHER + 2 * page) == 3);
  must(atomic_load(&fills) == before + 1);
  vmm_test_set(space, OTHER, 9);
  must(vmm_object_flush(object, 0, 4 * page) == 0);
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_space_destroy(space) == 0);
  must(vmm_pager_destroy(object) == 0);
}

START_TEST(pager_works_on_in_the_child)
{
  space = space_with(1, RW);
  make_pager(_i == 0 ? 0 : VMM_PAGER_INLINE);
  vmm_test_set(space, OTHER, 7);
  ck_assert_int_eq(in_copy(use_pager), 0);
  ck_assert_uint_eq(vmm_test_get(space, OTHER), 7);
  ck_assert_uint_eq(atomic_load(&fills), 1);
  vmm_test_set(space, OTHER, 9);
  end_world();
}
END_TEST

static void *touch_second(void *arg)
{
  (void)arg;
  return vmm_test_get(space, OTHER + page) == 2 ? NULL : &space;
}

static void fill_again(void)
{
  struct vmm_pager_stats stats = { .struct_size = sizeof(stats) };

  atomic_store(&may_fill, true);
  must(vmm_pager_stats(object, &stats) == 0 && stats.resident == 0);
  must(vmm_test_get(space, OTHER + page) == 2);
  must(atomic_load(&fills) == 2);
  must(vmm_check(space, 0, 0) == 0);
}

START_TEST(page_that_is_just_filled_is_filled_again_in_the_child)
{
  pthread_t thread;
  void *wrong;

  space = space_with(1, RW);
  make_pager(_i == 0 ? 0 : VMM_PAGER_INLINE);
  ck_assert_int_eq(pthread_create(&thread, NULL, touch_second, NULL), 0);
  while (atomic_load(&fills) == 0)
    sched_yield();
  ck_assert_int_eq(in_copy(fill_again), 0);
  atomic_store(&may_fill, true);
  pthread_join(thread, &wrong);
  ck_assert_ptr_null(wrong);
  ck_assert_uint_eq(atomic_load(&fills), 1);
  end_world();
}
END_TEST

/* ---- harts ---- */

static struct vmm_hart *hart, *other_hart;
static char *hart_base;
static _Atomic bool running;

static struct vmm_hart *run_hart(char **base)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS };
  struct vmm_hart *made;

  ck_assert_ok(vmm_hart_create(&made, &options));
  ck_assert_ok(vmm_hart_set_space(made, space, base));
  (*base)[AT] = 3;
  return made;
}

static void *run_other_hart(void *arg)
{
  char *base;

  (void)arg;
  other_hart = run_hart(&base);
  atomic_store(&running, true);
  while (atomic_load(&running))
    sched_yield();
  need(vmm_hart_set_space(other_hart, NULL, NULL) == 0);
  need(vmm_hart_destroy(other_hart) == 0);
  return NULL;
}

static void use_hart(void)
{
  char *base;

  must(hart_base[AT] == 3);
  hart_base[AT] = 4;
  must(vmm_test_get(space, AT) == 4);
  must(vmm_hart_set_space(other_hart, space, &base) == -EINVAL);
  must(vmm_hart_set_space(hart, space, &base) == 0 && base == hart_base);
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_hart_set_space(hart, NULL, NULL) == 0);
  must(vmm_space_destroy(space) == 0); /* no hart runs it any more */
  must(vmm_hart_destroy(hart) == 0);
  must(vmm_hart_create(&hart, NULL) == 0);
}

/* S3.12 */
START_TEST(child_has_its_threads_hart_and_no_other)
{
  pthread_t thread;

  space = space_with(1, RW);
  hart = run_hart(&hart_base);
  ck_assert_int_eq(pthread_create(&thread, NULL, run_other_hart, NULL), 0);
  while (!atomic_load(&running))
    sched_yield();
  ck_assert_int_eq(in_copy(use_hart), 0);
  atomic_store(&running, false);
  pthread_join(thread, NULL);
  ck_assert_int_eq(hart_base[AT], 3);
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_ok(vmm_hart_destroy(hart));
  end_world();
}
END_TEST

/* ---- failing ---- */

static void survive_failing(unsigned call, uint64_t count)
{
  unsigned descriptors = open_descriptors();
  uint64_t nth = 1;
  int child;

  for (;; nth++) {
    int status;

    ck_assert_ok(vmm_test_fail(call, nth, count));
    child = vmm_process_fork();
    if (child == 0) {
      vmm_test_fail(call, 0, 0);
      look_at_mirrors();
      _exit(0);
    }
    ck_assert_ok(vmm_test_fail(call, 0, 0));
    ck_assert_uint_eq(open_descriptors(), descriptors);
    if (child > 0) {
      ck_assert_int_eq(waitpid(child, &status, 0), child);
      ck_assert_int_eq(status, 0);
      return;
    }
    ck_assert_msg(child == -ENOMEM || child == -EMFILE || child == -EAGAIN ||
                      child == -ENOSPC, "call %u, number %u: %d", call,
                  (unsigned)nth, child);
    ck_assert_int_eq(waitpid(-1, &status, WNOHANG), -1); /* no child is left */
    ck_assert_uint_lt(nth, 100);
  }
}

START_TEST(host_call_that_fails_leaves_no_child)
{
  make_mirrors(VMM_OBJECT_EXPORT);
  ck_assert_ok(vmm_map_anon(space, 0x2000000, 2 * page, RW | VMM_WIRED));
  vmm_test_set(space, AT, 7);
  for (unsigned call = 0; call < VMM_TEST_CALLS; call++)
    survive_failing(call, _i == 0 ? 1 : UINT64_MAX);
  ck_assert_uint_eq(vmm_test_get(second, AT + page), 7);
  end_world();
}
END_TEST

static char *place; /* vmm_space_base() tells nothing in there */

static void take_the_place(void)
{
  mmap(place, 4096, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

START_TEST(place_that_is_taken_in_the_child_is_eexist)
{
  int status;

  space = space_with(PAGES, RW);
  vmm_test_set(space, AT, 1);
  place = vmm_space_base(space);
  ck_assert_int_eq(pthread_atfork(NULL, NULL, take_the_place), 0);
  ck_assert_error(vmm_process_fork(), EEXIST);
  ck_assert_str_eq(vmm_error_text(),
                   "process fork: mmap of a window: File exists");
  ck_assert_int_eq(waitpid(-1, &status, 0), -1);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  end_world();
}
END_TEST

/* ---- threads ---- */

static _Atomic bool stop;

/* Faults, and changes what is mapped, in a part of its own. */
static void *churn(void *arg)
{
  vmm_addr_t at = 0x800000 + (uintptr_t)arg * 0x400000;
  uint8_t byte = 0;

  while (!atomic_load(&stop)) {
    if (vmm_map_anon(space, at, 8 * page, RW) != 0)
      abort();
    for (unsigned i = 0; i < 8; i++)
      vmm_test_set(space, at + i * page, ++byte);
    if (vmm_protect(space, at, 4 * page, VMM_READ) != 0 ||
        vmm_pages(space, at, 8 * page, VMM_PTE_MODIFIED, NULL) < 0 ||
        vmm_test_get(space, at + 7 * page) != byte ||
        vmm_unmap(space, at, 8 * page) != 0)
      abort();
  }
  return NULL;
}

static void be_whole(void)
{
  must(vmm_check(space, 0, 0) == 0);
  for (unsigned i = 0; i < PAGES; i++)
    must(vmm_test_get(space, AT + i * page) == i);
  must(vmm_unmap(space, 0, vmm_space_size(space)) == 0);
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_space_destroy(space) == 0);
}

START_TEST(other_threads_wait_and_leave_nothing_half_done)
{
  pthread_t threads[3];

  space = space_with(PAGES, RW);
  for (unsigned i = 0; i < PAGES; i++)
    vmm_test_set(space, AT + i * page, (uint8_t)i);
  for (uintptr_t i = 0; i < 3; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
  for (unsigned i = 0; i < 24; i++)
    ck_assert_int_eq(in_copy(be_whole), 0);
  atomic_store(&stop, true);
  for (unsigned i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  end_world();
}
END_TEST

static void *fork_by_thread(void *arg)
{
  (void)arg;
  for (unsigned i = 0; i < 8; i++)
    if (in_copy(be_whole) != 0)
      abort();
  return NULL;
}

START_TEST(two_threads_fork_at_once)
{
  pthread_t threads[2];

  space = space_with(PAGES, RW);
  for (unsigned i = 0; i < PAGES; i++)
    vmm_test_set(space, AT + i * page, (uint8_t)i);
  for (unsigned i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, fork_by_thread, NULL), 0);
  for (unsigned i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  end_world();
}
END_TEST

Suite *vmm_suite_process_fork_race(void);

Suite *vmm_suite_process_fork_race(void)
{
  Suite *suite = suite_create("process_fork_race");
  TCase *tcase = tcase_create("process_fork_race");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, pager_works_on_in_the_child, 0, 2);
  tcase_add_loop_test(
      tcase, page_that_is_just_filled_is_filled_again_in_the_child, 0, 2);
  tcase_add_test(tcase, child_has_its_threads_hart_and_no_other);
  tcase_add_loop_test(tcase, host_call_that_fails_leaves_no_child, 0, 2);
  tcase_add_test(tcase, place_that_is_taken_in_the_child_is_eexist);
  tcase_add_test(tcase, other_threads_wait_and_leave_nothing_half_done);
  tcase_add_test(tcase, two_threads_fork_at_once);
  suite_add_tcase(suite, tcase);
  return suite;
}
