/*
 * The host's limits: mappings, descriptors; and the child of a plain fork().
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define AT ((vmm_addr_t)1 << 24)

static uint64_t page;

static struct vmm_space *new_space(void)
{
  struct vmm_space *space = vmm_test_space((uint64_t)1 << 32, VMM_EXACT);

  page = vmm_space_page_size(space);
  return space;
}

/* => the host's mappings that lie in the space's window */
static unsigned count_mappings(struct vmm_space *space)
{
  uintptr_t base = (uintptr_t)vmm_space_base(space), start, end;
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  unsigned n = 0;

  ck_assert_ptr_nonnull(maps);
  while (fgets(line, sizeof(line), maps) != NULL)
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2)
      n += start >= base && end <= base + vmm_space_size(space);
  fclose(maps);
  return n;
}

/* A window's own reservation and its guards are no part of the budget. */
#define ROOM 8

/* Every second page costs the host a mapping or two of its own. */
START_TEST(more_pages_than_the_host_has_mappings_can_be_touched)
{
  struct vmm_space *space = new_space();
  unsigned i, n = 70000;

  ck_assert_ok(vmm_map_anon(space, AT, 2 * n * page, RW));
  for (i = 0; i < n; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + 2 * i * page), 0);
  ck_assert_uint_eq(vmm_test_stats(space).faults_read, n);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  ck_assert_uint_ge(vmm_test_stats(space).flushes, 1);
  for (i = n - 10; i < n; i++) /* what came last is there still */
    ck_assert_uint_eq(vmm_test_get(space, AT + 2 * i * page), 0);
  ck_assert_uint_eq(vmm_test_stats(space).faults_read, n);
  vmm_test_end(space);
}
END_TEST

START_TEST(mapping_budget_is_kept_and_costs_no_bytes)
{
  struct vmm_space *space = new_space();
  uint64_t random = probe_seed("budget");
  uint8_t written[2048] = { 0 };
  unsigned i;

  vmm_mapping_budget(256);
  ck_assert_ok(vmm_map_anon(space, AT, 2 * 2048 * page, RW));
  for (i = 1; i <= 20000; i++) {
    unsigned p = (unsigned)(probe_random(&random) >> 40) % 2048;
    vmm_addr_t va = AT + 2 * p * page;

    ck_assert_uint_eq(vmm_test_get(space, va), written[p]);
    written[p] = (uint8_t)i;
    vmm_test_set(space, va, written[p]);
    if (i % 500 == 0)
      ck_assert_uint_le(count_mappings(space), 256 + ROOM);
  }
  ck_assert_uint_ge(vmm_test_stats(space).flushes, 1);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(wired_memory_stays_when_windows_are_flushed)
{
  struct vmm_space *space = new_space();
  int fds[2];
  unsigned i;

  vmm_mapping_budget(256);
  ck_assert_ok(vmm_map_anon(space, 0, 4 * page, RW | VMM_WIRED));
  ck_assert_ok(vmm_map_anon(space, AT, 2 * 2048 * page, RW));
  for (i = 0; i < 2048; i++)
    vmm_test_set(space, AT + 2 * i * page, 1);
  ck_assert_uint_ge(vmm_test_stats(space).flushes, 1);
  ck_assert_int_eq(pipe(fds), 0);
  ck_assert_int_eq(write(fds[1], "wired", 5), 5);
  ck_assert_int_eq(read(fds[0], vmm_space_base(space) + page - 2, 5), 5);
  step(space, 0, 0, vmm_test_set(space, 3 * page, 1));
  ck_assert_uint_eq(vmm_test_get(space, page - 2), 'w');
  vmm_test_end(space);
}
END_TEST

/* Wired pages of every second kind can't all stay in a small budget. */
START_TEST(wired_memory_beyond_the_budget_is_enomem)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object;
  unsigned i;
  int error = 0;

  vmm_mapping_budget(256);
  object = probe_object(2 * 1024 * page, 0);
  for (i = 0; i < 1024 && error == 0; i++) /* backwards: no neighbours */
    error = probe_map(space, AT + i * page, page, object,
                      2 * (1023 - i) * page, RW | VMM_WIRED);
  ck_assert_int_eq(error, -ENOMEM);
  ck_assert_uint_gt(i, 32);
  ck_assert_uint_le(count_mappings(space), 256 + ROOM);
  step(space, 0, 0, vmm_test_set(space, AT, 1));
  ck_assert_ok(vmm_map_anon(space, 0, page, RW)); /* others still work */
  vmm_test_set(space, 0, 1);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

/* Lets the process open no descriptor any more. */
static void use_up_descriptors(void)
{
  struct rlimit limit;

  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = 32;
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
  while (dup(0) >= 0)
    ;
  ck_assert_int_eq(errno, EMFILE);
}

static void give_descriptors_back(void)
{
  int fd;

  for (fd = 8; fd < 32; fd++)
    close(fd);
}

START_TEST(first_space_without_a_descriptor_is_emfile)
{
  struct vmm_space *space = NULL;

  use_up_descriptors();
  ck_assert_error(vmm_space_create(&space, NULL), EMFILE);
  ck_assert_ptr_null(space);
  give_descriptors_back();
  ck_assert_ok(vmm_space_create(&space, NULL)); /* nothing was left behind */
  vmm_test_end(space);
}
END_TEST

START_TEST(later_spaces_and_plain_objects_need_no_descriptor)
{
  struct vmm_object_options options = { .flags = VMM_OBJECT_EXPORT };
  struct vmm_space *space = new_space(), *other;
  struct vmm_object *object = NULL;

  use_up_descriptors();
  other = new_space();
  ck_assert_error(vmm_object_create(&object, page, &options), EMFILE);
  ck_assert_error(vmm_object_from_fd(&object, 0, 0, page, NULL), EMFILE);
  ck_assert_ptr_null(object);
  ck_assert_ok(vmm_object_create(&object, page, NULL));
  ck_assert_ok(probe_map(other, AT, page, object, 0, RW));
  vmm_test_set(other, AT, 1);
  ck_assert_ok(vmm_space_destroy(other));
  vmm_object_release(object);
  give_descriptors_back(); /* the checker, and sanitizers, need some */
  vmm_test_end(space);
}
END_TEST

/* ---- plain fork() ---- */

/* In the child: every call says so.  => which one did not, or 0 */
static int child_result(struct vmm_space *space, struct vmm_object *object)
{
  struct vmm_stats stats = { .struct_size = sizeof(stats) };
  struct vmm_space *made;
  vmm_addr_t to = 0;
  char byte = 1;

  if (vmm_space_create(&made, NULL) != -ESTALE)
    return 1;
  if (vmm_map_anon(space, 0, page, RW) != -ESTALE)
    return 2;
  if (vmm_copyin(space, &byte, AT, 1, NULL) != -ESTALE)
    return 3;
  if (vmm_copyout(space, AT, &byte, 1, NULL) != -ESTALE)
    return 4;
  if (vmm_unmap(space, AT, page) != -ESTALE)
    return 5;
  if (vmm_move(space, AT, page, &to, 0) != -ESTALE)
    return 6;
  if (vmm_fixup(space, AT, VMM_READ) != -ESTALE)
    return 7;
  if (vmm_space_destroy(space) != -ESTALE)
    return 8;
  if (vmm_object_create(&object, page, NULL) != -ESTALE)
    return 9;
  if (vmm_check(space, 0, 0) != -ESTALE)
    return 10;
  if (vmm_debug_ptr(space, AT) != NULL)
    return 11;
  return vmm_space_stats(space, &stats) == -ESTALE ? 0 : 12;
}

START_TEST(child_of_a_plain_fork_is_told_and_shares_nothing)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(page, 0);
  pid_t child;
  int status;

  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  vmm_test_set(space, AT, 1);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    _exit(child_result(space, object));
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

/* The descriptors of guest memory are inherited: what a child gives up may not
 * be taken from the parent. */
START_TEST(child_of_a_plain_fork_frees_nothing_of_the_parents)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(page, 0);
  struct vmm_iovec iov[1];
  struct vmm_pin *pin;
  size_t niov = 1;
  pid_t child;
  int status;

  ck_assert_ok(probe_map(space, AT, page, object, 0, RW));
  vmm_test_set(space, AT, 5);
  ck_assert_ok(vmm_unmap(space, AT, page));
  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  vmm_test_set(space, AT, 6);
  ck_assert_ok(vmm_pin(space, AT, page, VMM_READ, iov, &niov, &pin));
  ck_assert_ok(vmm_unmap(space, AT, page)); /* the pin alone holds it */
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    vmm_object_release(object);
    vmm_unpin(pin);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(*(volatile char *)iov[0].base, 6);
  ck_assert_ok(probe_map(space, AT, page, object, 0, RW));
  ck_assert_uint_eq(vmm_test_get(space, AT), 5);
  vmm_unpin(pin);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(access_of_a_window_in_a_child_ends_the_child)
{
  struct vmm_space *space;
  volatile char *byte;
  pid_t child;
  int status;

  signal(SIGSEGV, SIG_DFL); /* no sanitizer's */
  space = new_space();
  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  byte = vmm_space_base(space) + AT;
  *byte = 1;
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    alarm(20);
    *byte = 2;
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGSEGV);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_limits(void)
{
  Suite *suite = suite_create("limits");
  TCase *tcase = tcase_create("limits");

  tcase_add_test(tcase, more_pages_than_the_host_has_mappings_can_be_touched);
  tcase_add_test(tcase, mapping_budget_is_kept_and_costs_no_bytes);
  tcase_add_test(tcase, wired_memory_stays_when_windows_are_flushed);
  tcase_add_test(tcase, wired_memory_beyond_the_budget_is_enomem);
  tcase_add_test(tcase, first_space_without_a_descriptor_is_emfile);
  tcase_add_test(tcase, later_spaces_and_plain_objects_need_no_descriptor);
  tcase_add_test(tcase, child_of_a_plain_fork_is_told_and_shares_nothing);
  tcase_add_test(tcase, child_of_a_plain_fork_frees_nothing_of_the_parents);
  tcase_add_test(tcase, access_of_a_window_in_a_child_ends_the_child);
  suite_add_tcase(suite, tcase);
  return suite;
}
