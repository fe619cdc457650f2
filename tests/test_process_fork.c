/*
 * Copies of the process with copies of its spaces: what is the child's own,
 * what stays shared, what is where it was, and from where it is refused.
 */
#define _GNU_SOURCE
#include "process_copy.h"
#include "windows.h"

static struct vmm_tracker *tracker;
static struct vmm_snapshot *snapshot;
static struct vmm_pin *pin;
static struct vmm_iovec pinned;
static int file;

static struct vmm_stats stats_of(struct vmm_space *of)
{
  struct vmm_stats stats = { .struct_size = sizeof(stats) };

  must(vmm_space_stats(of, &stats) == 0);
  return stats;
}

static void end_world(void)
{
  vmm_unpin(pin);
  vmm_snapshot_drop(snapshot);
  vmm_tracker_destroy(tracker);
  if (second != NULL)
    vmm_test_end(second);
  vmm_test_end(space);
  vmm_object_release(object);
}

/* ---- memory ---- */

static void write_all_pages(void)
{
  for (unsigned i = 0; i < PAGES; i++) {
    must(vmm_test_get(space, AT + i * page) == i);
    vmm_test_set(space, AT + i * page, 200);
  }
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_map_anon(space, OTHER, page, RW) == 0);
  must(vmm_test_get(space, OTHER) == 0);
  must(vmm_space_destroy(space) == 0);
  must(vmm_space_create(&space, NULL) == 0);
  must(vmm_space_destroy(space) == 0);
}

START_TEST(child_has_copies_and_neither_sees_the_others_writes)
{
  space = space_with(PAGES, RW);
  for (unsigned i = 0; i < PAGES; i++)
    vmm_test_set(space, AT + i * page, (uint8_t)i);
  ck_assert_int_eq(in_copy(write_all_pages), 0);
  for (unsigned i = 0; i < PAGES; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i * page), i);
  ck_assert_error(vmm_unmap(space, OTHER + 1, page), EINVAL);
  end_world();
}
END_TEST

START_TEST(mirrors_and_several_spaces_are_mirrors_in_the_child)
{
  make_mirrors(_i == 0 ? 0 : VMM_OBJECT_EXPORT);
  vmm_test_set(second, AT + page, 7);
  ck_assert_int_eq(in_copy(look_at_mirrors), 0);
  ck_assert_uint_eq(vmm_test_get(space, OTHER), 7);
  end_world();
}
END_TEST

static void write_by_descriptor(void)
{
  char byte = 9;

  must(pwrite(vmm_object_fd(object), &byte, 1, 0) == 1);
  must(vmm_test_get(space, AT) == 9);
}

START_TEST(descriptor_of_an_exported_object_is_the_childs_own)
{
  make_mirrors(VMM_OBJECT_EXPORT);
  vmm_test_set(space, AT, 7);
  ck_assert_int_eq(in_copy(write_by_descriptor), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 7);
  end_world();
}
END_TEST

static void write_to_file(void)
{
  must(vmm_test_get(space, AT) == 5);
  vmm_test_set(space, AT, 6);
}

START_TEST(file_stays_shared_with_the_child)
{
  struct vmm_map_options options = { .rights = RW };
  vmm_addr_t at = AT;
  char byte = 5;

  space = vmm_test_space(1 << 26, VMM_EXACT);
  page = vmm_space_page_size(space);
  file = memfd_create("file", 0);
  ck_assert_int_eq(ftruncate(file, (off_t)page), 0);
  ck_assert_int_eq(pwrite(file, &byte, 1, 0), 1);
  ck_assert_ok(vmm_object_from_fd(&object, file, 0, page, NULL));
  options.object = object;
  ck_assert_ok(vmm_map(space, &at, page, &options));
  ck_assert_int_eq(in_copy(write_to_file), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 6);
  end_world();
  close(file);
}
END_TEST

/* ---- what is where it was ---- */

static void look_at_bits(void)
{
  struct vmm_stats before = stats_of(space), after;
  struct vmm_range range;
  uint64_t bits[2];
  size_t count = 1;

  must(vmm_pages(space, AT + page, 2 * page, 0, bits) >= 0);
  must((bits[0] & VMM_PTE_MODIFIED) && (bits[0] & VMM_PTE_SWRITE));
  must(!(bits[1] & VMM_PTE_MODIFIED) && (bits[1] & VMM_PTE_ACCESSED));
  must(vmm_tracker_fetch(tracker, AT, 3 * page, 0, &range, &count, NULL) == 0);
  must(count == 1 && range.start == AT + page && range.nbytes == page);
  vmm_test_set(space, AT + page, 2); /* only the window has lost it */
  after = stats_of(space);
  must(after.faults_write - before.faults_write == 1);
  must(after.spurious - before.spurious == 1);
  must(after.faults_read == before.faults_read);
}

START_TEST(bits_and_trackers_are_kept_and_windows_are_empty)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE };

  space = space_with(PAGES, RW);
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, PAGES * page, &options));
  vmm_test_set(space, AT + page, 1);
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 0);
  ck_assert_int_eq(in_copy(look_at_bits), 0);
  ck_assert_faults(space, 0, 0, vmm_test_set(space, AT + page, 2));
  end_world();
}
END_TEST

static void use_pin_and_snapshot(void)
{
  must(*(char *)pinned.base == 4);
  *(char *)pinned.base = 5;
  must(vmm_test_get(space, AT) == 5);
  vmm_unpin(pin);
  must(vmm_snapshot_restore(space, snapshot) == 0);
  must(vmm_test_get(space, AT) == 3);
  vmm_snapshot_drop(snapshot);
  must(vmm_check(space, 0, 0) == 0);
  must(vmm_space_destroy(space) == 0); /* nothing of it is in use any more */
}

START_TEST(pins_and_snapshots_are_where_they_were)
{
  size_t niov = 1;

  space = space_with(PAGES, RW);
  vmm_test_set(space, AT, 3);
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(vmm_pin(space, AT, page, VMM_WRITE, &pinned, &niov, &pin));
  *(char *)pinned.base = 4;
  ck_assert_int_eq(in_copy(use_pin_and_snapshot), 0);
  ck_assert_int_eq(*(char *)pinned.base, 4);
  end_world();
}
END_TEST

static void read_into_wired_memory(void)
{
  struct vmm_stats before = stats_of(space), after;
  char *base = vmm_space_base(space);

  must(pread(file, base + AT, 2 * page, 0) == (ssize_t)(2 * page));
  must(base[AT] == 0 && base[AT + page] == 0);
  after = stats_of(space);
  must(after.faults_write == before.faults_write);
  must(after.faults_read == before.faults_read);
}

START_TEST(wired_memory_is_wired_in_the_child)
{
  space = space_with(PAGES, RW);
  ck_assert_ok(vmm_wire(space, AT, 2 * page));
  vmm_test_set(space, AT, 1);
  file = memfd_create("file", 0);
  ck_assert_int_eq(ftruncate(file, (off_t)(2 * page)), 0);
  ck_assert_int_eq(in_copy(read_into_wired_memory), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  end_world();
  close(file);
}
END_TEST

static void fork_again(void)
{
  struct vmm_space *made;
  pid_t plain;
  int status, copy;

  must(vmm_test_get(space, AT) == 1);
  vmm_test_set(space, AT, 2);
  copy = vmm_process_fork();
  if (copy == 0) {
    must(vmm_test_get(space, AT) == 2);
    vmm_test_set(space, AT, 3);
    must(vmm_process_fork() >= 0); /* and one more generation */
    must(vmm_test_get(space, AT) == 3);
    _exit(0);
  }
  must(copy > 0 && waitpid(copy, &status, 0) == copy && status == 0);
  must(vmm_test_get(space, AT) == 2);
  plain = fork();
  if (plain == 0) {
    must(vmm_space_create(&made, NULL) == -ESTALE);
    must(vmm_process_fork() == -ESTALE);
    _exit(0);
  }
  must(plain > 0 && waitpid(plain, &status, 0) == plain && status == 0);
}

START_TEST(child_may_fork_again_and_by_plain_fork_is_estale)
{
  space = space_with(PAGES, RW);
  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(in_copy(fork_again), 0);
  end_world();
}
END_TEST

static void make_first_space(void)
{
  space = space_with(1, RW);
  vmm_test_set(space, AT, 1);
  must(vmm_test_get(space, AT) == 1);
}

START_TEST(process_without_a_space_is_forked_plainly)
{
  ck_assert_int_eq(in_copy(make_first_space), 0);
}
END_TEST

/* ---- from where ---- */

static int result_in_callback;

static enum vmm_verdict fork_in_handler(struct vmm_fault *fault, void *arg)
{
  (void)arg;
  result_in_callback = vmm_process_fork();
  vmm_protect(fault->space, AT, page, RW);
  return VMM_RETRY;
}

static void fork_when_touched(struct vmm_tracker *of, vmm_addr_t va, void *arg)
{
  (void)of;
  (void)va;
  (void)arg;
  result_in_callback = vmm_process_fork();
}

START_TEST(callback_that_forks_is_refused)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE,
                                         .touched = fork_when_touched };
  char byte = 1;

  space = space_with(PAGES, VMM_READ);
  ck_assert_ok(vmm_space_set_handler(space, fork_in_handler, NULL));
  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(result_in_callback, -EBUSY);
  ck_assert_ok(vmm_protect(space, AT, PAGES * page, RW));
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, PAGES * page, &options));
  result_in_callback = 0;
  vmm_test_set(space, AT + page, 1);
  ck_assert_int_eq(result_in_callback, -EBUSY);
  result_in_callback = 0; /* in a call it is a callback too */
  ck_assert_ok(vmm_copyout(space, AT + 2 * page, &byte, 1, NULL));
  ck_assert_int_eq(result_in_callback, -EBUSY);
  end_world();
}
END_TEST

static volatile int guarded_child;

static void fork_and_fault(void *arg)
{
  (void)arg;
  guarded_child = vmm_process_fork();
  plain_write(vmm_space_base(space)); /* where nothing is mapped */
}

START_TEST(guarded_call_goes_on_in_both)
{
  struct vmm_fault fault;
  int status;

  space = space_with(PAGES, RW);
  ck_assert_int_eq(vmm_guard_call(fork_and_fault, NULL, 0, &fault), 1);
  if (guarded_child == 0)
    _exit(fault.va == 0 && fault.reason == VMM_FAULT_NO_REGION ? 0 : 1);
  ck_assert_int_gt(guarded_child, 0);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_int_eq(waitpid(guarded_child, &status, 0), guarded_child);
  ck_assert_int_eq(status, 0);
  end_world();
}
END_TEST

Suite *vmm_suite_process_fork(void);

Suite *vmm_suite_process_fork(void)
{
  Suite *suite = suite_create("process_fork");
  TCase *tcase = tcase_create("process_fork");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, child_has_copies_and_neither_sees_the_others_writes);
  tcase_add_loop_test(
      tcase, mirrors_and_several_spaces_are_mirrors_in_the_child, 0, 2);
  tcase_add_test(tcase, descriptor_of_an_exported_object_is_the_childs_own);
  tcase_add_test(tcase, file_stays_shared_with_the_child);
  tcase_add_window_test(tcase,
                        bits_and_trackers_are_kept_and_windows_are_empty);
  tcase_add_test(tcase, pins_and_snapshots_are_where_they_were);
  tcase_add_window_test(tcase, wired_memory_is_wired_in_the_child);
  tcase_add_test(tcase, child_may_fork_again_and_by_plain_fork_is_estale);
  tcase_add_test(tcase, process_without_a_space_is_forked_plainly);
  tcase_add_test(tcase, callback_that_forks_is_refused);
  tcase_add_window_test(tcase, guarded_call_goes_on_in_both);
  suite_add_tcase(suite, tcase);
  return suite;
}
