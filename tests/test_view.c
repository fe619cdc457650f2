/*
 * The two views of a hart: what each shows, its trap page, wrong calls.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "view.h"

/* ---- what a view shows ---- */

START_TEST(the_supervisor_sees_what_the_user_does_not)
{
  set_up();
  ck_assert_ptr_eq(views->base, views->supervisor);
  ck_assert_ptr_eq(vmm_hart_base(hart), views->user);
  ck_assert_ptr_ne(views->user, views->supervisor);
  hart_set(views->supervisor, STACK_TOP - 1, 7);
  hart_set(views->supervisor, AT, 8);
  ck_assert_int_eq(hart_try_get(views->user, AT), 8);
  step(space, 1, 0,
       ck_assert_int_eq(hart_try_get(views->user, STACK_TOP - 1), -EFAULT));
  end();
}
END_TEST

/* Probes base + a by a load and a store, both of which fault. */
static void probe_faults(char *base, int64_t at)
{
  ck_assert_int_eq(hart_try_get(base, (vmm_addr_t)at), -EFAULT);
  ck_assert_int_eq(hart_try_set(base, (vmm_addr_t)at, 1), -EFAULT);
}

/* S3.1 */
START_TEST(no_address_of_the_guest_s_reaches_what_is_not_the_user_s)
{
  int64_t size = 1 << 26, at;
  uint64_t random = 31;

  set_up();
  set_stack();
  for (vmm_addr_t va = AT; va < AT + 4 * page; va += page)
    hart_set(views->user, va, 1);
  for (vmm_addr_t va = STACK_TOP - STACK_PAGES * page; va < STACK_TOP; va += page)
    hart_set(views->supervisor, va, 1);
  /* exactly: all that the guest's addressing covers grants the four user
   * pages */
  ck_assert_uint_eq(reachable_pages(views->user - DISPLACEMENT,
                                    views->user + size + DISPLACEMENT),
                    4 * page / (uint64_t)sysconf(_SC_PAGESIZE));
  /* and by accesses: both ends, the supervisor's pages, and anywhere */
  for (int64_t i = 1; i <= DISPLACEMENT; i <<= 1) {
    probe_faults(views->user, -i);
    probe_faults(views->user, size + i - 1);
  }
  for (vmm_addr_t va = STACK_TOP - STACK_PAGES * page; va < STACK_TOP; va += page)
    probe_faults(views->user, (int64_t)va);
  for (int i = 0; i < 2000; i++) {
    at = (int64_t)(probe_random(&random) % (uint64_t)(size + 2 * DISPLACEMENT)) -
         DISPLACEMENT;
    if (at < AT || at >= (int64_t)(AT + 4 * page))
      probe_faults(views->user, at);
  }
  end();
}
END_TEST

/* ---- trap pages ---- */

enum { HARTS = 4 };

static struct {
  pthread_barrier_t barrier;
  struct vmm_space *space;
  char *trap[HARTS]; /* where the supervisor sees it */
} many;

static void *write_own_number(void *arg)
{
  int i = (int)(intptr_t)arg;
  struct vmm_hart *own = begin_views();
  struct vmm_views *its = vmm_hart_views(own);

  hart_turn(own, many.space);
  many.trap[i] = vmm_hart_trap_page(own);
  ck_assert_int_eq(its->user - its->trap, DISPLACEMENT + 3 * (ptrdiff_t)its->page);
  *its->trap = (char)(i + 1);
  pthread_barrier_wait(&many.barrier);
  ck_assert_int_eq(*its->trap, i + 1);
  for (int k = 0; k < HARTS; k++)
    ck_assert_int_eq(*many.trap[k], k + 1);
  pthread_barrier_wait(&many.barrier);
  hart_end(own);
  return NULL;
}

/* S3.2 */
START_TEST(each_hart_reads_its_own_trap_page_and_the_supervisor_all)
{
  pthread_t threads[HARTS];

  many.space = hart_space(1, RW);
  pthread_barrier_init(&many.barrier, NULL, HARTS);
  for (intptr_t i = 0; i < HARTS; i++)
    ck_assert_int_eq(
        pthread_create(&threads[i], NULL, write_own_number, (void *)i), 0);
  for (int i = 0; i < HARTS; i++)
    pthread_join(threads[i], NULL);
  vmm_test_end(many.space);
}
END_TEST

START_TEST(the_trap_page_is_the_same_in_each_user_view_of_a_hart)
{
  struct vmm_space *other = hart_space(1, RW);
  ptrdiff_t below;

  set_up();
  below = views->user - views->trap;
  *views->trap = 5;
  hart_turn(hart, other);
  ck_assert_int_eq(views->user - views->trap, below);
  ck_assert_int_eq(*views->trap, 5);
  hart_turn(hart, space);
  end();
  vmm_test_end(other);
}
END_TEST

/* ---- changes that reach the views ---- */

/* S3.6 */
START_TEST(a_view_that_sleeps_is_told_of_changes)
{
  set_up();
  for (int i = 0; i < 3; i++) {
    hart_set(views->user, AT, 1);
    if (i == 1) /* the hart serves; then it runs no space at all */
      vmm_view_leave(views), vmm_view_enter(views);
    if (i == 2)
      ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
    ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
    if (i == 2)
      hart_turn(hart, space);
    ck_assert_int_eq(hart_try_set(views->user, AT, 2), -EFAULT);
    ck_assert_int_eq(hart_try_set(views->supervisor, AT, 2), -EFAULT);
    ck_assert_ok(vmm_protect(space, AT, page, RW));
  }
  ck_assert_uint_eq(hart_stats(hart).tags, 1);
  end();
}
END_TEST

/* S3.8 */
START_TEST(a_wrong_sync_is_an_error)
{
  set_up();
  ck_assert_error(vmm_hart_sync(hart, AT, 4 * page), EALREADY);
  hart_set(views->supervisor, AT, 1);
  hart_set(views->supervisor, AT + page, 1);
  ck_assert_ok(vmm_hart_sync(hart, AT, 4 * page));
  step(space, 0, 0, hart_set(views->user, AT + page, 2));
  ck_assert_error(vmm_hart_sync(hart, AT, 4 * page), EALREADY);
  ck_assert_error(vmm_hart_sync(hart, STACK_TOP - page, page), EACCES);
  ck_assert_error(vmm_hart_sync(hart, STACK_TOP, page), ENOMEM);
  ck_assert_error(vmm_hart_sync(hart, AT + 1, page), EINVAL);
  ck_assert_error(vmm_hart_sync(hart, AT, 0), EINVAL);
  end();
}
END_TEST

/* ---- bad input ---- */

static void *use_other_thread_s(void *arg)
{
  (void)arg;
  ck_assert_ptr_null(vmm_hart_views(hart));
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP, page), EPERM);
  ck_assert_error(vmm_hart_sync(hart, AT, page), EPERM);
  ck_assert_ptr_nonnull(vmm_hart_trap_page(hart));
  return NULL;
}

START_TEST(wrong_calls_are_errors_and_change_nothing)
{
  pthread_t thread;

  set_up();
  set_stack();
  views->stack[-1] = 1;
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP - 1, page), EINVAL);
  ck_assert_error(vmm_hart_set_stack(hart, page, 2 * page), EINVAL);
  ck_assert_error(vmm_hart_set_stack(hart, (1 << 26) + page, page), EINVAL);
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP + page, page), ENOMEM);
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP, 5 * page), ENOMEM);
  ck_assert_error(vmm_hart_set_stack(hart, AT + page, page), EACCES);
  ck_assert_ok(vmm_protect(space, STACK_TOP - 2 * page, page, VMM_READ));
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP, 2 * page), EACCES);
  ck_assert_error(vmm_hart_set_stack(NULL, STACK_TOP, page), EINVAL);
  vmm_view_leave(views);
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP, page), EBUSY);
  ck_assert_error(vmm_hart_set_space(hart, NULL, NULL), EBUSY);
  ck_assert_int_eq(views->stack[-1], 1);
  vmm_view_enter(views);
  ck_assert_int_eq(pthread_create(&thread, NULL, use_other_thread_s, NULL), 0);
  pthread_join(thread, NULL);
  end();
}
END_TEST

START_TEST(hart_with_views_may_be_the_first_of_all)
{
  hart = begin_views();
  ck_assert_ptr_nonnull(vmm_hart_trap_page(hart));
  ck_assert_ok(vmm_hart_destroy(hart));
}
END_TEST

START_TEST(options_that_do_not_fit_are_errors)
{
  static const struct vmm_hart_options wrong[] = {
    { .flags = VMM_HART_VIEWS },
    { .flags = VMM_HART_WINDOWS | VMM_HART_VIEWS | VMM_HART_USER },
    { .flags = VMM_HART_WINDOWS, .displacement = 1 << 20 },
    { .flags = VMM_HART_WINDOWS | VMM_HART_VIEWS, .displacement = 1 },
  };
  struct vmm_hart_options options = { 0 };
  struct vmm_space_options guarded = { .size = 1 << 26,
                                       .guard_below = 2 * DISPLACEMENT };
  struct vmm_space *wide;

  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
    ck_assert_error(vmm_hart_create(&hart, &wrong[i]), EINVAL);
  options.flags = VMM_HART_WINDOWS | VMM_HART_VIEWS;
  options.displacement = (uint64_t)1 << 62;
  ck_assert_error(vmm_hart_create(&hart, &options), E2BIG);
  set_up();
  ck_assert_ok(vmm_space_create(&wide, &guarded));
  ck_assert_error(vmm_hart_set_space(hart, wide, NULL), E2BIG);
  ck_assert_ptr_eq(vmm_hart_space(hart), space);
  ck_assert_ok(vmm_space_destroy(wide));
  end();
  hart = hart_begin(VMM_HART_WINDOWS, 0);
  ck_assert_ptr_null(vmm_hart_views(hart));
  ck_assert_ptr_null(vmm_hart_trap_page(hart));
  ck_assert_error(vmm_hart_set_stack(hart, 0, 0), EINVAL);
  ck_assert_ok(vmm_hart_destroy(hart));
}
END_TEST

START_TEST(a_host_that_refuses_leaves_the_stack_that_was)
{
  set_up();
  set_stack();
  views->stack[-1] = 1;
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 1, UINT64_MAX));
  ck_assert_error(vmm_hart_set_stack(hart, STACK_TOP - page, page), ENOMEM);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 0, 0));
  ck_assert_int_eq(views->stack[-1], 1);
  views->stack[-1] = 2;
  ck_assert_int_eq(hart_get(views->supervisor, STACK_TOP - 1), 2);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 1, UINT64_MAX));
  ck_assert_ok(vmm_hart_set_stack(hart, 0, 0));
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 0, 0));
  ck_assert_int_eq(hart_try_get(views->trap + 3 * views->page, (vmm_addr_t)-1),
                   -EFAULT);
  end();
}
END_TEST

Suite *vmm_suite_view(void)
{
  Suite *suite = suite_create("view");
  TCase *tcase = tcase_create("view");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, the_supervisor_sees_what_the_user_does_not);
  tcase_add_test(tcase,
                 no_address_of_the_guest_s_reaches_what_is_not_the_user_s);
  tcase_add_test(tcase,
                 each_hart_reads_its_own_trap_page_and_the_supervisor_all);
  tcase_add_test(tcase, the_trap_page_is_the_same_in_each_user_view_of_a_hart);
  tcase_add_test(tcase, a_view_that_sleeps_is_told_of_changes);
  tcase_add_test(tcase, a_wrong_sync_is_an_error);
  tcase_add_test(tcase, wrong_calls_are_errors_and_change_nothing);
  tcase_add_test(tcase, hart_with_views_may_be_the_first_of_all);
  tcase_add_test(tcase, options_that_do_not_fit_are_errors);
  tcase_add_test(tcase, a_host_that_refuses_leaves_the_stack_that_was);
  suite_add_tcase(suite, tcase);
  return suite;
}
