/*
 * Harts: making and ending them, their windows, and turning from space to
 * space.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hart.h"
#include "probe.h"

#define AT 0x200000

/* ---- windows ---- */

START_TEST(a_hart_fills_its_own_window_by_its_own_faults)
{
  struct vmm_space *space = hart_space(4, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);
  char *base = hart_turn(hart, space);

  ck_assert_ptr_ne(base, vmm_space_base(space));
  ck_assert_ptr_eq(vmm_hart_base(hart), base);
  ck_assert_ptr_eq(vmm_hart_space(hart), space);
  step(space, 0, 1, hart_set(base, AT, 5));
  step(space, 0, 0, hart_set(base, AT, 6));
  step(space, 1, 0, ck_assert_int_eq(vmm_test_get(space, AT), 6));
  step(space, 0, 0, ck_assert_int_eq(hart_get(base, AT), 6));
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(what_narrows_reaches_the_windows_of_harts)
{
  struct vmm_space *space = hart_space(4, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);
  char *base = hart_turn(hart, space);
  uint64_t page = vmm_space_page_size(space);

  hart_set(base, AT, 1);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  step(space, 0, 1, ck_assert_int_eq(hart_try_set(base, AT, 2), -EFAULT));
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  step(space, 0, 1, hart_set(base, AT, 3));
  ck_assert_ok(vmm_pages(space, AT, page, YOUNG | DIRTY, NULL));
  step(space, 0, 1, hart_set(base, AT, 4));
  ck_assert_pte(space, AT, DIRTY, DIRTY);
  ck_assert_ok(vmm_unmap(space, AT, page));
  step(space, 1, 0, ck_assert_int_eq(hart_try_get(base, AT), -EFAULT));
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_hart_without_windows_shares_the_space_s)
{
  struct vmm_space *space = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(0, 0);
  struct vmm_hart_stats stats;

  ck_assert_ptr_eq(hart_turn(hart, space), vmm_space_base(space));
  stats = hart_stats(hart);
  ck_assert_uint_eq(stats.context, 0);
  ck_assert_uint_eq(stats.switches, 1);
  ck_assert_error(vmm_space_destroy(space), EBUSY);
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_space_without_a_window_can_be_run)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_CHECKED);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);

  ck_assert_ptr_null(hart_turn(hart, space));
  ck_assert_ptr_eq(vmm_hart_space(hart), space);
  ck_assert_error(vmm_space_destroy(space), EBUSY);
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

static void *touch_other(void *base)
{
  hart_set(base, AT, 9);
  return NULL;
}

START_TEST(another_thread_s_touch_is_resolved_in_that_window)
{
  struct vmm_space *space = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);
  char *base = hart_turn(hart, space);
  pthread_t thread;

  step(space, 0, 1, {
    ck_assert_int_eq(pthread_create(&thread, NULL, touch_other, base), 0);
    pthread_join(thread, NULL);
  });
  step(space, 0, 0, ck_assert_int_eq(hart_get(base, AT), 9));
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(supervisor_memory_is_hidden_from_a_user_window)
{
  struct vmm_space *space = vmm_test_space(1 << 26, 0);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS | VMM_HART_USER, 0);
  uint64_t page = vmm_space_page_size(space);
  char *base = hart_turn(hart, space);
  struct vmm_region_info info;
  struct vmm_fault fault;

  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  ck_assert_ok(vmm_map_anon(space, AT + page, page, RW | VMM_SUPERVISOR));
  ck_assert_ok(probe_region(space, AT + page, &info));
  ck_assert_uint_eq(info.flags & VMM_SUPERVISOR, VMM_SUPERVISOR);
  vmm_test_set(space, AT + page, 3); /* the space's own window shows all */
  ck_assert_pte(space, AT + page, VMM_PTE_SUPERVISOR, VMM_PTE_SUPERVISOR);
  step(space, 0, 1, hart_set(base, AT, 5));
  step(space, 1, 0, ck_assert_int_eq(hart_try_get(base, AT + page), -EFAULT));
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_SUPERVISOR);
  ck_assert_uint_eq(fault.va, AT + page);
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

/* ---- spaces ---- */

START_TEST(destroying_a_space_takes_its_windows_of_harts_along)
{
  struct vmm_space *one = hart_space(1, RW), *two = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);
  char *base = hart_turn(hart, one);

  hart_set(base, AT, 1);
  ck_assert_error(vmm_space_destroy(one), EBUSY);
  hart_set(hart_turn(hart, two), AT, 2);
  vmm_test_end(one);
  ck_assert_int_eq(hart_try_get(base, AT), -EFAULT); /* in no window now */
  one = hart_space(1, RW);
  base = hart_turn(hart, one);
  ck_assert_int_eq(hart_get(base, AT), 0);
  ck_assert_uint_eq(hart_stats(hart).tags, 3);
  hart_end(hart);
  vmm_test_end(one);
  vmm_test_end(two);
}
END_TEST

/* ---- what is refused ---- */

static void *misuse(void *arg)
{
  struct vmm_hart *hart = arg;

  ck_assert_error(vmm_hart_set_space(hart, NULL, NULL), EPERM);
  ck_assert_error(vmm_hart_flush(hart), EPERM);
  ck_assert_error(vmm_hart_destroy(hart), EPERM);
  ck_assert_ptr_null(vmm_hart_space(hart));
  ck_assert_ptr_null(vmm_hart_base(hart));
  ck_assert_ptr_null(vmm_hart_current());
  ck_assert_int_eq(vmm_hart_number(hart), 0);
  return NULL;
}

START_TEST(a_hart_of_another_thread_is_refused)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);
  pthread_t thread;

  ck_assert_int_eq(pthread_create(&thread, NULL, misuse, hart), 0);
  pthread_join(thread, NULL);
  ck_assert_ptr_eq(vmm_hart_current(), hart);
  hart_end(hart);
}
END_TEST

START_TEST(a_hart_ends_once_and_not_while_it_runs_a_space)
{
  struct vmm_space *space = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 0);
  char *base = hart_turn(hart, space);
  struct vmm_hart_stats stats = { .struct_size = sizeof(stats) };

  ck_assert_error(vmm_hart_destroy(hart), EBUSY);
  ck_assert_ptr_eq(vmm_hart_base(hart), base);
  hart_set(base, AT, 1);
  ck_assert_ok(vmm_hart_set_space(hart, NULL, &base));
  ck_assert_ptr_null(base);
  ck_assert_ok(vmm_hart_destroy(hart));
  ck_assert_error(vmm_hart_destroy(hart), EINVAL);
  ck_assert_error(vmm_hart_set_space(hart, space, NULL), EINVAL);
  ck_assert_error(vmm_hart_stats(hart, &stats), EINVAL);
  ck_assert_int_eq(vmm_hart_number(hart), -1);
  ck_assert_ptr_null(vmm_hart_current());
  ck_assert_ok(vmm_hart_destroy(NULL));
  vmm_test_end(space);
}
END_TEST

START_TEST(wrong_options_make_no_hart)
{
  static const struct vmm_hart_options wrong[] = {
    { .flags = 1u << 31 },
    { .flags = VMM_HART_USER },
    { .tag_bits = 4 },
    { .window_size = 1 << 20 },
    { .flags = VMM_HART_WINDOWS, .tag_bits = 9 },
    { .flags = VMM_HART_WINDOWS, .reserved = { 1 } },
  };
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS };
  struct vmm_hart *hart = NULL, *second = NULL;

  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
    ck_assert_error(vmm_hart_create(&hart, &wrong[i]), EINVAL);
  ck_assert_error(vmm_hart_create(NULL, &options), EINVAL);
  options.tag_bits = 8;
  options.window_size = (uint64_t)1 << 40;
  ck_assert_error(vmm_hart_create(&hart, &options), E2BIG);
  options.window_size = (uint64_t)1 << 38;
  ck_assert_ptr_null(hart);
  ck_assert_ok(vmm_hart_create(&hart, &options));
  ck_assert_error(vmm_hart_create(&second, NULL), EEXIST);
  ck_assert_ptr_null(second);
  hart_end(hart);
}
END_TEST

START_TEST(a_space_too_large_for_the_tags_is_refused)
{
  struct vmm_space *small = hart_space(1, RW);
  struct vmm_space *large = vmm_test_space((uint64_t)1 << 40, 0);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 8);
  char *base = hart_turn(hart, small);

  ck_assert_error(vmm_hart_set_space(hart, large, NULL), E2BIG);
  ck_assert_ptr_eq(vmm_hart_space(hart), small);
  ck_assert_ptr_eq(vmm_hart_base(hart), base);
  hart_set(base, AT, 1);
  vmm_test_end(large);
  hart_end(hart);
  vmm_test_end(small);
}
END_TEST

START_TEST(a_failed_switch_changes_nothing)
{
  struct vmm_space *one = hart_space(1, RW), *two = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  char *base = hart_turn(hart, one);
  unsigned n;

  hart_set(base, AT, 1);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 1, 1));
  ck_assert_error(vmm_hart_set_space(hart, two, NULL), ENOMEM);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 0, 0));
  ck_assert_ptr_eq(vmm_hart_space(hart), one);
  step(one, 0, 0, hart_set(base, AT, 2));
  ck_assert_uint_eq(hart_stats(hart).tags, 1);
  for (n = 1; n < 20; n++) {
    ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, n, 1));
    if (vmm_hart_set_space(hart, two, NULL) == 0)
      break;
    ck_assert_ok(vmm_check(one, 0, 0));
  }
  ck_assert_ok(vmm_test_fail(VMM_TEST_MMAP, 0, 0));
  hart_set(vmm_hart_base(hart), AT, 3);
  ck_assert_int_eq(vmm_test_get(one, AT), 2);
  hart_end(hart);
  vmm_test_end(one);
  vmm_test_end(two);
}
END_TEST

/* ---- threads ---- */

static void *leave_a_hart(void *space)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 2);

  hart_set(hart_turn(hart, space), AT, 4);
  return hart;
}

START_TEST(a_hart_ends_with_its_thread)
{
  struct vmm_space *space = hart_space(1, RW);
  pthread_t thread;
  void *hart;

  ck_assert_int_eq(pthread_create(&thread, NULL, leave_a_hart, space), 0);
  ck_assert_int_eq(pthread_join(thread, &hart), 0);
  ck_assert_int_eq(vmm_hart_number(hart), -1);
  ck_assert_int_eq(vmm_test_get(space, AT), 4);
  vmm_test_end(space); /* no hart runs it */
}
END_TEST

static void use_in_child(void)
{
  struct vmm_hart *hart = vmm_hart_current();

  if (vmm_hart_set_space(hart, NULL, NULL) != -ESTALE ||
      vmm_hart_destroy(hart) != -ESTALE)
    _exit(1);
}

/* S3.12, for plain fork() */
START_TEST(a_child_of_fork_is_told_that_its_hart_is_stale)
{
  struct vmm_space *space = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 2);
  pid_t child;
  int status;

  hart_set(hart_turn(hart, space), AT, 4);
  child = fork();
  if (child == 0) {
    use_in_child();
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

static struct {
  struct vmm_space *space;
  struct vmm_hart *hart;
  pthread_barrier_t turn;
} other;

static void *run_in_other(void *arg)
{
  other.hart = hart_begin(VMM_HART_WINDOWS, 2);
  hart_set(hart_turn(other.hart, other.space), AT, 6);
  pthread_barrier_wait(&other.turn);
  pthread_barrier_wait(&other.turn);
  ck_assert_int_eq(hart_get(vmm_hart_base(other.hart), AT), 6);
  hart_end(other.hart);
  return arg;
}

/* => what is wrong in the child, or 0 */
static int look_in_child(struct vmm_hart *hart, char *base)
{
  struct vmm_space *mine = vmm_hart_space(hart);

  if (vmm_hart_current() != hart || vmm_hart_base(hart) != base)
    return 1;
  if (hart_get(base, AT) != 4 || vmm_check(mine, 0, 0) != 0)
    return 2;
  if (vmm_hart_number(other.hart) != -1 || vmm_space_destroy(other.space) != 0)
    return 3;
  if (vmm_hart_set_space(hart, NULL, NULL) != 0 || vmm_hart_destroy(hart) != 0)
    return 4;
  return vmm_space_destroy(mine) != 0 ? 5 : 0;
}

/* S3.12 */
START_TEST(a_copy_of_the_process_has_the_forking_thread_s_hart_alone)
{
  struct vmm_space *space = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 2);
  char *base = hart_turn(hart, space);
  pthread_t thread;
  int child, status;

  hart_set(base, AT, 4);
  other.space = hart_space(1, RW);
  pthread_barrier_init(&other.turn, NULL, 2);
  ck_assert_int_eq(pthread_create(&thread, NULL, run_in_other, NULL), 0);
  pthread_barrier_wait(&other.turn);
  child = vmm_process_fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    _exit(look_in_child(hart, base));
  pthread_barrier_wait(&other.turn);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  hart_end(hart);
  vmm_test_end(space);
  vmm_test_end(other.space);
}
END_TEST

/* ---- no lock, no call ---- */

/* From here on every system call but exit kills.  A filter, and not the strict
 * mode, which is refused where there is a filter already, as in a container.
 * => 0 or -1 */
static int shut_jail(void)
{
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
  };
  struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void switch_in_a_jail(void)
{
  struct vmm_space *one = hart_space(1, RW), *two = hart_space(1, RW);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  char *base;
  int bad = 0;

  hart_set(hart_turn(hart, one), AT, 1);
  hart_set(hart_turn(hart, two), AT, 2);
  if (shut_jail() != 0)
    syscall(SYS_exit, 2);
  for (int i = 0; i < 1000; i++) {
    bad |= vmm_hart_set_space(hart, i % 2 ? two : one, &base);
    bad |= hart_get(base, AT) != 1 + i % 2;
  }
  syscall(SYS_exit, bad);
}

START_TEST(a_switch_to_a_live_tag_makes_no_system_call)
{
  pid_t child;
  int status;

  child = fork();
  if (child == 0)
    switch_in_a_jail();
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(status == 0, "status 0x%x", (unsigned)status);
}
END_TEST

Suite *vmm_suite_hart(void);

Suite *vmm_suite_hart(void)
{
  Suite *suite = suite_create("hart");
  TCase *tcase = tcase_create("hart");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, a_hart_fills_its_own_window_by_its_own_faults);
  tcase_add_test(tcase, what_narrows_reaches_the_windows_of_harts);
  tcase_add_test(tcase, a_hart_without_windows_shares_the_space_s);
  tcase_add_test(tcase, a_space_without_a_window_can_be_run);
  tcase_add_test(tcase, another_thread_s_touch_is_resolved_in_that_window);
  tcase_add_test(tcase, supervisor_memory_is_hidden_from_a_user_window);
  tcase_add_test(tcase, destroying_a_space_takes_its_windows_of_harts_along);
  tcase_add_test(tcase, a_hart_of_another_thread_is_refused);
  tcase_add_test(tcase, a_hart_ends_once_and_not_while_it_runs_a_space);
  tcase_add_test(tcase, wrong_options_make_no_hart);
  tcase_add_test(tcase, a_space_too_large_for_the_tags_is_refused);
  tcase_add_test(tcase, a_failed_switch_changes_nothing);
  tcase_add_test(tcase, a_hart_ends_with_its_thread);
  tcase_add_test(tcase, a_child_of_fork_is_told_that_its_hart_is_stale);
  tcase_add_test(tcase,
                 a_copy_of_the_process_has_the_forking_thread_s_hart_alone);
  tcase_add_test(tcase, a_switch_to_a_live_tag_makes_no_system_call);
  suite_add_tcase(suite, tcase);
  return suite;
}
