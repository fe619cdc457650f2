/*
 * Snapshots in files: what is saved comes back, in a new space and in one that
 * has changed since; what else holds, watches or shares the memory meanwhile.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "snapshot_files.h"
#include "windows.h"

static const uint32_t kinds[] = { 0, VMM_EXACT, VMM_CHECKED };

static struct vmm_region_info region_at(struct vmm_space *space, vmm_addr_t va)
{
  struct vmm_region_info info = { .struct_size = sizeof(info) };

  ck_assert_ok(vmm_region_find(space, va, &info));
  return info;
}

static struct vmm_space *load_new(const char *path)
{
  struct vmm_space *space;

  ck_assert_ok(vmm_space_load(&space, NULL, path, NULL));
  ck_assert_ok(vmm_check(space, 0, 0));
  return space;
}

/* ---- bytes and regions ---- */

START_TEST(a_space_comes_back_from_its_file)
{
  struct vmm_space_options options = { .flags = kinds[_i] };
  struct vmm_space *space = space_with_pages(kinds[_i]), *loaded;
  struct files files = make_folder();

  save_now(space, files.path);
  vmm_test_end(space);
  ck_assert_ok(vmm_space_load(&loaded, &options, files.path, NULL));
  ck_assert_ok(vmm_check(loaded, 0, 0));
  ck_assert_uint_eq(vmm_space_size(loaded), 1ull << 32);
  ck_assert_uint_eq(vmm_test_stats(loaded).frames, PAGES / 2);
  ck_assert_uint_eq(vmm_test_stats(loaded).mapped, PAGES * PAGE);
  assert_as_made(loaded);
  set(loaded, AT + 60 * PAGE, 9);
  ck_assert_uint_eq(get(loaded, AT + 60 * PAGE), 9);
  vmm_test_end(loaded);
  remove_folder(&files);
}
END_TEST

START_TEST(a_space_that_changed_becomes_what_it_was)
{
  struct vmm_space *space = space_with_pages(kinds[_i]);
  struct files files = make_folder();
  vmm_addr_t to = FREE;

  save_now(space, files.path);
  ck_assert_ok(vmm_unmap(space, AT + 4 * PAGE, 4 * PAGE));
  ck_assert_ok(vmm_protect(space, AT + 20 * PAGE, PAGE, VMM_READ));
  ck_assert_ok(vmm_move(space, AT + 10 * PAGE, PAGE, &to, 0));
  set(space, AT, 99);
  set(space, AT + 63 * PAGE, 99);
  for (int round = 0; round < 2; round++) { /* loaded twice */
    ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
    ck_assert_ok(vmm_check(space, 0, 0));
    assert_as_made(space);
    ck_assert_uint_eq(region_at(space, 0).start, AT);
    ck_assert_uint_eq(region_at(space, 0).nbytes, PAGES * PAGE);
    ck_assert_uint_eq(vmm_test_stats(space).mapped, PAGES * PAGE);
    ck_assert_uint_eq(vmm_test_stats(space).frames, PAGES / 2);
  }
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

static void *twice(uint64_t was, void *arg)
{
  (void)arg;
  return (void *)(uintptr_t)(2 * was);
}

START_TEST(regions_come_back_as_they_were)
{
  struct vmm_snapshot_options names = { .cookie = twice };
  struct vmm_map_options options = { .rights = VMM_READ | VMM_EXEC,
                                     .flags = VMM_EXACT,
                                     .cookie = (void *)21 };
  struct vmm_space *space = vmm_test_space(1ull << 32, 0), *loaded, *child;
  struct files files = make_folder();
  struct vmm_region_info info;
  vmm_addr_t va = FREE;

  ck_assert_ok(vmm_map(space, &va, 8 * PAGE, &options));
  ck_assert_ok(vmm_map_anon(space, AT, 9 * PAGE, RW | VMM_HUGE));
  ck_assert_ok(vmm_protect(space, AT + 3 * PAGE, 3 * PAGE, 0));
  ck_assert_ok(vmm_inherit(space, AT + 6 * PAGE, 3 * PAGE, VMM_INHERIT_NONE));
  save_now(space, files.path);
  vmm_test_end(space);
  ck_assert_ok(vmm_space_load(&loaded, NULL, files.path, &names));
  info = region_at(loaded, FREE);
  ck_assert_uint_eq(info.rights, VMM_READ | VMM_EXEC);
  ck_assert_uint_eq(info.flags & VMM_EXACT, VMM_EXACT);
  ck_assert_ptr_eq(info.cookie, (void *)42);
  ck_assert_uint_eq(info.nbytes, 8 * PAGE);
  ck_assert_uint_eq(region_at(loaded, AT).nbytes, 3 * PAGE);
  ck_assert_uint_eq(region_at(loaded, AT).flags & VMM_HUGE, VMM_HUGE);
  ck_assert_uint_eq(region_at(loaded, AT + 3 * PAGE).rights, 0);
  ck_assert_ok(vmm_space_fork(&child, loaded));
  ck_assert_uint_eq(region_at(child, AT + 6 * PAGE).start, FREE);
  vmm_test_end(child);
  /* pieces of one mapping are one again when they are alike */
  ck_assert_ok(vmm_inherit(loaded, AT, 9 * PAGE, VMM_INHERIT_COPY));
  ck_assert_ok(vmm_protect(loaded, AT, 9 * PAGE, RW));
  ck_assert_uint_eq(region_at(loaded, AT).nbytes, 9 * PAGE);
  ck_assert_ok(vmm_snapshot_load(loaded, files.path, NULL));
  ck_assert_ptr_null(region_at(loaded, FREE).cookie);
  vmm_test_end(loaded);
  remove_folder(&files);
}
END_TEST

START_TEST(an_empty_space_is_saved_too)
{
  struct vmm_space *space = vmm_test_space(16 * PAGE, 0);
  struct vmm_region_info info = { .struct_size = sizeof(info) };
  struct files files = make_folder();

  save_now(space, files.path);
  ck_assert_ok(vmm_map_anon(space, 0, PAGE, RW));
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_error(vmm_region_find(space, 0, &info), ENOENT);
  vmm_test_end(space);
  space = load_new(files.path);
  ck_assert_uint_eq(vmm_space_size(space), 16 * PAGE);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(large_pages_are_saved_whole)
{
  struct vmm_space_options options = { .page_size = 1 << (14 + 2 * _i) };
  uint64_t page = options.page_size;
  struct vmm_space *space;
  struct files files = make_folder();

  ck_assert_ok(vmm_space_create(&space, &options));
  ck_assert_ok(vmm_map_anon(space, 0, 8 * page, RW));
  set(space, page - 1, 1);
  set(space, 6 * page, 6);
  save_now(space, files.path);
  vmm_test_end(space);
  space = load_new(files.path);
  ck_assert_uint_eq(vmm_space_page_size(space), page);
  ck_assert_uint_eq(vmm_test_get(space, page - 1), 1);
  ck_assert_uint_eq(vmm_test_get(space, 6 * page), 6);
  ck_assert_uint_eq(vmm_test_get(space, 3 * page), 0);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(zeros_take_no_place)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct files files = make_folder();
  struct stat st;

  ck_assert_ok(vmm_map_anon(space, 0, 1 << 30, RW));
  ck_assert_ok(vmm_fill(space, 0, 0, 8 << 20, NULL)); /* frames of zeros */
  set(space, 5 << 20, 1);
  set(space, 900 << 20, 2);
  save_now(space, files.path);
  ck_assert_int_eq(stat(files.path, &st), 0);
  ck_assert_int_le(st.st_size, 4 * 4096);
  vmm_test_end(space);
  space = load_new(files.path);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 2);
  ck_assert_uint_eq(get(space, 5 << 20), 1);
  ck_assert_uint_eq(get(space, (5 << 20) - 1), 0);
  ck_assert_uint_eq(get(space, 900 << 20), 2);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

/* ---- which moment ---- */

START_TEST(an_old_snapshot_is_saved_while_newer_ones_exist)
{
  struct vmm_space *space = space_with_pages(0), *loaded;
  struct files files = make_folder();
  struct vmm_snapshot *first = take(space), *second, *third;

  vmm_test_set(space, AT, 50);
  ck_assert_ok(vmm_unmap(space, AT + 8 * PAGE, 4 * PAGE));
  second = take(space);
  vmm_test_set(space, AT + PAGE, 51);
  vmm_test_set(space, AT + 50 * PAGE, 52);
  ck_assert_ok(vmm_discard(space, AT + 2 * PAGE, PAGE));
  third = take(space);
  ck_assert_ok(vmm_map_anon(space, AT + 8 * PAGE, 4 * PAGE, RW));
  ck_assert_ok(vmm_fill(space, AT, 99, 12 * PAGE, NULL));
  ck_assert_ok(vmm_snapshot_save(first, files.path, NULL));
  loaded = load_new(files.path);
  assert_as_made(loaded);
  ck_assert_ok(vmm_snapshot_save(second, files.path, NULL));
  ck_assert_ok(vmm_snapshot_load(loaded, files.path, NULL));
  ck_assert_uint_eq(get(loaded, AT), 50);
  ck_assert_uint_eq(get(loaded, AT + PAGE), 2);
  ck_assert_uint_eq(region_at(loaded, AT + 8 * PAGE).start, AT + 12 * PAGE);
  ck_assert_ok(vmm_snapshot_save(third, files.path, NULL));
  ck_assert_ok(vmm_snapshot_load(loaded, files.path, NULL));
  ck_assert_uint_eq(get(loaded, AT + PAGE), 51);
  ck_assert_uint_eq(get(loaded, AT + 2 * PAGE), 0);
  ck_assert_uint_eq(get(loaded, AT + 50 * PAGE), 52);
  vmm_test_end(loaded);
  /* dropping one leaves the others what they were */
  vmm_snapshot_drop(second);
  ck_assert_ok(vmm_snapshot_save(first, files.path, NULL));
  loaded = load_new(files.path);
  assert_as_made(loaded);
  vmm_test_end(loaded);
  vmm_snapshot_drop(third);
  drop_and_end(space, first);
  remove_folder(&files);
}
END_TEST

START_TEST(snapshots_of_the_space_outlive_a_load)
{
  struct vmm_space *space = space_with_pages(kinds[_i]);
  struct files files = make_folder();
  struct vmm_snapshot *older, *newer;

  save_now(space, files.path);
  set(space, AT, 60);
  set(space, AT + 40 * PAGE, 61);
  older = take(space);
  ck_assert_ok(vmm_unmap(space, AT + 3 * PAGE, PAGE));
  set(space, AT + PAGE, 62);
  newer = take(space);
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_ok(vmm_check(space, 0, 0));
  assert_as_made(space);
  set(space, AT + 5 * PAGE, 63);
  restore(space, newer);
  ck_assert_uint_eq(get(space, AT), 60);
  ck_assert_uint_eq(get(space, AT + PAGE), 62);
  ck_assert_uint_eq(get(space, AT + 5 * PAGE), 6);
  ck_assert_uint_eq(region_at(space, AT + 3 * PAGE).start, AT + 4 * PAGE);
  restore(space, older);
  ck_assert_uint_eq(get(space, AT + PAGE), 2);
  ck_assert_uint_eq(get(space, AT + 3 * PAGE), 4);
  ck_assert_uint_eq(get(space, AT + 40 * PAGE), 61);
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  assert_as_made(space);
  vmm_snapshot_drop(older);
  drop_and_end(space, newer);
  remove_folder(&files);
}
END_TEST

struct writer {
  struct vmm_space *space;
  atomic_bool stop;
};

static void *write_on(void *arg)
{
  struct writer *writer = arg;

  for (unsigned i = 0; !atomic_load(&writer->stop); i++) {
    vmm_addr_t va = AT + i * 7 % PAGES * PAGE;

    if (i % 64 == 0)
      vmm_discard(writer->space, AT + 16 * PAGE, 8 * PAGE);
    vmm_test_set(writer->space, va, (uint8_t)(100 + i % 100));
    vmm_test_set(writer->space, va + PAGE - 1, (uint8_t)(100 + i % 100));
  }
  return NULL;
}

START_TEST(a_save_is_of_the_snapshots_moment_while_others_write)
{
  struct vmm_space *space = space_with_pages(0), *loaded;
  struct files files = make_folder();
  struct vmm_snapshot *snapshot = take(space);
  struct writer writer = { .space = space };
  pthread_t thread[2];

  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&thread[i], NULL, write_on, &writer), 0);
  for (unsigned round = 0; round < 30; round++) {
    struct vmm_snapshot *newer;

    ck_assert_ok(vmm_snapshot_save(snapshot, files.path, NULL));
    ck_assert_ok(vmm_snapshot_take(&newer, space));
    loaded = load_new(files.path);
    assert_as_made(loaded);
    vmm_test_end(loaded);
    vmm_snapshot_drop(newer);
  }
  atomic_store(&writer.stop, true);
  for (int i = 0; i < 2; i++)
    pthread_join(thread[i], NULL);
  drop_and_end(space, snapshot);
  remove_folder(&files);
}
END_TEST

/* ---- with what else there is ---- */

START_TEST(a_pin_keeps_what_it_holds_over_a_load)
{
  struct vmm_space *space = space_with_pages(0);
  struct files files = make_folder();
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;

  ck_assert_ok(vmm_pin(space, AT, PAGE, VMM_WRITE, &iov, &niov, &pin));
  *(uint8_t *)iov.base = 7;
  save_now(space, files.path);
  *(uint8_t *)iov.base = 8;
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_uint_eq(vmm_test_get(space, AT), 7);
  *(uint8_t *)iov.base = 9;
  ck_assert_uint_eq(vmm_test_get(space, AT), 7);
  vmm_unpin(pin);
  ck_assert_uint_eq(vmm_test_get(space, AT), 7);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(trackers_report_what_a_load_changes)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE };
  struct vmm_space *space = space_with_pages(0);
  struct files files = make_folder();
  struct vmm_tracker *tracker;
  struct vmm_range runs[4];
  size_t n = 4;

  save_now(space, files.path);
  ck_assert_ok(vmm_unmap(space, AT + PAGES / 2 * PAGE, PAGES / 2 * PAGE));
  ck_assert_ok(vmm_tracker_create(&tracker, space, 0, 1u << 31, &options));
  ck_assert_ok(vmm_tracker_fetch(tracker, 0, 1u << 31, 1, runs, &n, NULL));
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_ok(vmm_check(space, 0, 0));
  n = 4;
  ck_assert_ok(vmm_tracker_fetch(tracker, 0, 1u << 31, 1, runs, &n, NULL));
  ck_assert_uint_eq(n, 1);
  ck_assert_uint_eq(runs[0].start, AT);
  ck_assert_uint_eq(runs[0].nbytes, PAGES / 2 * PAGE);
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT, 1));
  n = 4;
  ck_assert_ok(vmm_tracker_fetch(tracker, 0, 1u << 31, 1, runs, &n, NULL));
  ck_assert_uint_eq(n, 1);
  ck_assert_uint_eq(runs[0].nbytes, PAGE);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

static void count_call(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes)
{
  *(unsigned *)self->arg += va <= AT && AT < va + nbytes;
}

START_TEST(code_that_a_load_changes_is_told)
{
  struct vmm_space *space = space_with_pages(VMM_EXACT);
  struct files files = make_folder();
  unsigned calls = 0;
  struct vmm_notifier notifier = { .invalidate = count_call, .arg = &calls };
  uint8_t byte;

  ck_assert_ok(vmm_protect(space, AT, PAGE, RW | VMM_EXEC));
  save_now(space, files.path);
  ck_assert_int_eq(vmm_fetch(space, AT, &byte, 1), 0);
  ck_assert_ok(vmm_notifier_add(space, &notifier));
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_uint_eq(calls, 1);
  ck_assert_int_eq(vmm_fetch(space, AT, &byte, 1), 0);
  ck_assert_uint_eq(byte, 1);
  ck_assert_ok(vmm_notifier_remove(space, &notifier));
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(wired_memory_is_saved_and_loaded_unwired)
{
  struct vmm_space *space = space_with_pages(0);
  struct files files = make_folder();

  ck_assert_ok(vmm_wire(space, AT, 4 * PAGE));
  save_now(space, files.path);
  vmm_test_set(space, AT, 77);
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_uint_eq(region_at(space, AT).flags & VMM_WIRED, 0);
  assert_as_made(space);
  ck_assert_ok(vmm_wire(space, AT, 4 * PAGE));
  assert_as_made(space);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(forks_of_a_loaded_space_are_its_own)
{
  struct vmm_space *space = space_with_pages(0), *child;
  struct files files = make_folder();

  save_now(space, files.path);
  ck_assert_ok(vmm_space_fork(&child, space));
  set(space, AT, 70);
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  set(child, AT + PAGE, 71);
  assert_as_made(space);
  save_now(child, files.path);
  vmm_test_end(child);
  ck_assert_ok(vmm_space_fork(&child, space));
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  assert_as_made(child);
  ck_assert_uint_eq(get(space, AT + PAGE), 71);
  vmm_test_end(child);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(a_window_of_invalid_entries_sees_what_a_load_maps)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS |
                                               VMM_HART_INVALID };
  struct vmm_space *space = space_with_pages(0);
  struct files files = make_folder();
  struct vmm_hart *hart;
  uint8_t byte;
  char *base;

  save_now(space, files.path);
  ck_assert_ok(vmm_unmap(space, AT, PAGES * PAGE));
  ck_assert_ok(vmm_hart_create(&hart, &options));
  ck_assert_ok(vmm_hart_set_space(hart, space, &base));
  vmm_try_load_u8(byte, base + AT, fault);
  ck_abort_msg("%d where nothing is mapped", byte);
fault: /* which the window remembers */
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_uint_eq(*(volatile uint8_t *)(base + AT), 1);
  ck_assert_uint_eq(*(volatile uint8_t *)(base + AT + 3 * PAGE), 4);
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_ok(vmm_hart_destroy(hart));
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(supervisor_memory_comes_back_hidden_from_the_user)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS | VMM_HART_USER };
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct files files = make_folder();
  struct vmm_hart *hart;
  uint8_t byte;
  char *base;

  ck_assert_ok(vmm_map_anon(space, AT, 2 * PAGE, RW | VMM_SUPERVISOR));
  ck_assert_ok(vmm_fill(space, AT, 1, PAGE, NULL));
  save_now(space, files.path);
  vmm_test_end(space);
  space = load_new(files.path);
  ck_assert_uint_eq(region_at(space, AT).flags & VMM_SUPERVISOR, VMM_SUPERVISOR);
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_ok(vmm_hart_create(&hart, &options));
  ck_assert_ok(vmm_hart_set_space(hart, space, &base));
  vmm_try_load_u8(byte, base + AT, fault);
  ck_abort_msg("%d for the user", byte);
fault:
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_ok(vmm_hart_destroy(hart));
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

Suite *vmm_suite_snapshot_file(void);

Suite *vmm_suite_snapshot_file(void)
{
  Suite *suite = suite_create("snapshot_file");
  TCase *tcase = tcase_create("snapshot_file");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, a_space_comes_back_from_its_file, 0, 3);
  tcase_add_loop_test(tcase, a_space_that_changed_becomes_what_it_was, 0, 3);
  tcase_add_test(tcase, regions_come_back_as_they_were);
  tcase_add_test(tcase, an_empty_space_is_saved_too);
  tcase_add_loop_test(tcase, large_pages_are_saved_whole, 0, 4);
  tcase_add_test(tcase, zeros_take_no_place);
  tcase_add_test(tcase, an_old_snapshot_is_saved_while_newer_ones_exist);
  tcase_add_loop_test(tcase, snapshots_of_the_space_outlive_a_load, 0, 3);
  tcase_add_test(tcase, a_save_is_of_the_snapshots_moment_while_others_write);
  tcase_add_test(tcase, a_pin_keeps_what_it_holds_over_a_load);
  tcase_add_test(tcase, trackers_report_what_a_load_changes);
  tcase_add_test(tcase, code_that_a_load_changes_is_told);
  tcase_add_window_test(tcase, wired_memory_is_saved_and_loaded_unwired);
  tcase_add_test(tcase, forks_of_a_loaded_space_are_its_own);
  tcase_add_test(tcase, supervisor_memory_comes_back_hidden_from_the_user);
  tcase_add_window_test(tcase,
                        a_window_of_invalid_entries_sees_what_a_load_maps);
  suite_add_tcase(suite, tcase);
  return suite;
}
