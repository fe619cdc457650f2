/*
 * Objects in files of snapshots: saved by their bytes, once, or by a name that
 * the program gives; and what is refused.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/mman.h>

#include "snapshot_files.h"

static struct vmm_object *make_object(uint64_t nbytes, uint32_t flags)
{
  struct vmm_object_options options = { .flags = flags };
  struct vmm_object *object;

  ck_assert_ok(vmm_object_create(&object, nbytes, &options));
  return object;
}

static void map(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                struct vmm_object *object, uint64_t offset, uint32_t flags)
{
  struct vmm_map_options options = { .object = object, .offset = offset,
                                     .rights = RW, .flags = flags };

  ck_assert_ok(vmm_map(space, &va, nbytes, &options));
}

static struct vmm_region_info region_of(struct vmm_space *space, vmm_addr_t va)
{
  struct vmm_region_info info = { .struct_size = sizeof(info) };

  ck_assert_ok(vmm_region_find(space, va, &info));
  return info;
}

/* ---- bytes ---- */

START_TEST(a_mirrored_object_is_saved_once_and_mirrored_again)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct vmm_object *object =
      make_object(1 << 22, _i ? VMM_OBJECT_EXPORT : 0);
  struct files files = make_folder();
  struct stat st;

  map(space, AT, 1 << 22, object, 0, 0);
  map(space, FREE, 1 << 20, object, 1 << 20, 0);
  ck_assert_ok(vmm_fill(space, AT + (1 << 20), 5, 64 * PAGE, NULL));
  set(space, AT + (1 << 22) - 1, 6);
  vmm_object_release(object);
  save_now(space, files.path);
  vmm_test_end(space);
  ck_assert_int_eq(stat(files.path, &st), 0);
  ck_assert_int_le(st.st_size, 70 * 4096);
  ck_assert_ok(vmm_space_load(&space, NULL, files.path, NULL));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(vmm_test_get(space, FREE), 5);
  ck_assert_uint_eq(vmm_test_get(space, AT + (1 << 22) - 1), 6);
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_set(space, FREE + 3 * PAGE, 77);
  ck_assert_uint_eq(vmm_test_get(space, AT + (1 << 20) + 3 * PAGE), 77);
  ck_assert_ptr_eq(region_of(space, AT).object, region_of(space, FREE).object);
  ck_assert_int_eq(vmm_object_fd(region_of(space, AT).object) >= 0, _i == 1);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(private_bytes_hide_an_objects_also_as_zeros)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct vmm_object *object = make_object(16 * PAGE, 0);
  struct files files = make_folder();

  map(space, FREE, 16 * PAGE, object, 0, 0);
  map(space, AT, 16 * PAGE, object, 0, VMM_PRIVATE);
  vmm_object_release(object);
  ck_assert_ok(vmm_fill(space, FREE, 1, 16 * PAGE, NULL));
  ck_assert_ok(vmm_fill(space, AT, 0, PAGE, NULL));
  ck_assert_ok(vmm_fill(space, AT + PAGE, 2, PAGE, NULL));
  save_now(space, files.path);
  vmm_test_end(space);
  ck_assert_ok(vmm_space_load(&space, NULL, files.path, NULL));
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 2);
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * PAGE), 1);
  ck_assert_uint_eq(vmm_test_get(space, FREE), 1);
  vmm_test_set(space, FREE + 2 * PAGE, 3);
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * PAGE), 3);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

START_TEST(a_load_leaves_the_old_object_to_those_who_hold_it)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct vmm_space *other = vmm_test_space(1ull << 32, 0);
  struct vmm_object *object = make_object(4 * PAGE, 0);
  struct files files = make_folder();

  map(space, AT, 4 * PAGE, object, 0, 0);
  map(other, AT, 4 * PAGE, object, 0, 0);
  set(space, AT, 1);
  save_now(space, files.path);
  set(space, AT, 2);
  ck_assert_ok(vmm_snapshot_load(space, files.path, NULL));
  ck_assert_uint_eq(vmm_test_get(space, AT), 1);
  ck_assert_uint_eq(vmm_test_get(other, AT), 2);
  ck_assert_ptr_ne(region_of(space, AT).object, object);
  vmm_object_release(object);
  vmm_test_end(other);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

/* ---- names ---- */

struct names {
  struct vmm_object *object;
  unsigned named, opened;
  int answer;
};

static int give_name(struct vmm_object *object, char *name, void *arg)
{
  struct names *names = arg;

  names->named++;
  if (object != names->object)
    return 1;
  strcpy(name, "rom");
  return names->answer;
}

static int open_name(struct vmm_object **object, const char *name, void *arg)
{
  struct names *names = arg;

  names->opened++;
  ck_assert_str_eq(name, "rom");
  if (names->answer == 0 && names->object != NULL)
    *object = vmm_object_hold(names->object);
  return names->answer;
}

static struct vmm_object *file_object(uint8_t byte)
{
  struct vmm_object *object;
  int fd = memfd_create("rom", 0);

  ck_assert_int_eq(ftruncate(fd, 4 * PAGE), 0);
  ck_assert_int_eq(pwrite(fd, &byte, 1, 0), 1);
  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, 4 * PAGE, NULL));
  close(fd);
  return object;
}

START_TEST(a_file_is_saved_by_name_and_opened_again)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct names names = { .object = file_object(9) };
  struct vmm_snapshot_options options = { .name = give_name, .open = open_name,
                                          .arg = &names };
  struct vmm_object *plain = make_object(PAGE, 0);
  struct files files = make_folder();
  struct vmm_snapshot *snapshot;

  map(space, AT, 2 * PAGE, names.object, PAGE, VMM_PRIVATE);
  map(space, FREE, 4 * PAGE, names.object, 0, 0);
  map(space, 0, PAGE, plain, 0, 0);
  set(space, 0, 3);
  set(space, AT, 4);
  snapshot = take(space);
  ck_assert_error(vmm_snapshot_save(snapshot, files.path, NULL), ENOTSUP);
  ck_assert_uint_eq(count_files(&files), 0);
  ck_assert_ok(vmm_snapshot_save(snapshot, files.path, &options));
  ck_assert_uint_eq(names.named, 2);
  vmm_object_release(plain);
  drop_and_end(space, snapshot);
  ck_assert_error(vmm_space_load(&space, NULL, files.path, NULL), ENOTSUP);
  ck_assert_ok(vmm_space_load(&space, NULL, files.path, &options));
  ck_assert_uint_eq(names.opened, 1);
  ck_assert_uint_eq(vmm_test_get(space, FREE), 9);
  ck_assert_uint_eq(vmm_test_get(space, AT), 4);
  ck_assert_uint_eq(vmm_test_get(space, 0), 3);
  ck_assert_ptr_eq(region_of(space, AT).object, names.object);
  vmm_test_end(space);
  vmm_object_release(names.object);
  remove_folder(&files);
}
END_TEST

static int fill_page(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  (void)arg;
  memset(to, (int)(offset / PAGE) + 1, nbytes);
  return 0;
}

START_TEST(a_pagers_object_is_saved_by_name_only)
{
  struct vmm_pager_options pager = { .nbytes = 4 * PAGE, .fill = fill_page };
  struct vmm_space *space = vmm_test_space(1ull << 32, 0), *other;
  struct names names = { .object = NULL };
  struct vmm_snapshot_options options = { .name = give_name, .open = open_name,
                                          .arg = &names };
  struct files files = make_folder();
  struct vmm_snapshot *snapshot;

  ck_assert_ok(vmm_pager_create(&names.object, &pager));
  map(space, AT, 4 * PAGE, names.object, 0, VMM_PRIVATE);
  set(space, AT + PAGE, 77);
  ck_assert_uint_eq(get(space, AT + 2 * PAGE), 3);
  snapshot = take(space);
  ck_assert_error(vmm_snapshot_save(snapshot, files.path, NULL), ENOTSUP);
  ck_assert_ok(vmm_snapshot_save(snapshot, files.path, &options));
  drop_and_end(space, snapshot);
  ck_assert_ok(vmm_space_load(&space, NULL, files.path, &options));
  ck_assert_uint_eq(get(space, AT), 1);
  ck_assert_uint_eq(get(space, AT + PAGE), 77);
  ck_assert_uint_eq(get(space, AT + PAGE + 1), 2);
  vmm_test_end(space);
  ck_assert_ok(vmm_pager_destroy(names.object));
  /* a pager of other pages can't be mapped there */
  pager.page_size = 1 << 14;
  pager.nbytes = 4 << 14;
  ck_assert_ok(vmm_pager_create(&names.object, &pager));
  ck_assert_error(vmm_space_load(&other, NULL, files.path, &options), EINVAL);
  ck_assert_ok(vmm_pager_destroy(names.object));
  remove_folder(&files);
}
END_TEST

START_TEST(what_the_callbacks_answer_is_checked)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct names names = { .object = file_object(9), .answer = -EPERM };
  struct vmm_snapshot_options options = { .name = give_name, .open = open_name,
                                          .arg = &names };
  struct vmm_object *rom = names.object, *small = make_object(PAGE, 0);
  struct files files = make_folder();
  struct vmm_snapshot *snapshot;

  map(space, AT, 4 * PAGE, rom, 0, 0);
  snapshot = take(space);
  ck_assert_error(vmm_snapshot_save(snapshot, files.path, &options), EPERM);
  names.answer = 0;
  ck_assert_ok(vmm_snapshot_save(snapshot, files.path, &options));
  names.answer = -EPERM;
  ck_assert_error(vmm_snapshot_load(space, files.path, &options), EPERM);
  names.answer = 0;
  names.object = NULL; /* nothing given */
  ck_assert_error(vmm_snapshot_load(space, files.path, &options), EINVAL);
  names.object = small;
  ck_assert_error(vmm_snapshot_load(space, files.path, &options), EINVAL);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(vmm_test_get(space, AT), 9);
  vmm_object_release(small);
  vmm_object_release(rom);
  drop_and_end(space, snapshot);
  remove_folder(&files);
}
END_TEST

START_TEST(bytes_of_a_truncated_file_are_not_lost)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  struct vmm_object *object;
  struct names names;
  struct vmm_snapshot_options options = { .name = give_name, .open = open_name,
                                          .arg = &names };
  struct files files = make_folder();
  struct vmm_snapshot *snapshot;
  int fd = memfd_create("data", 0);

  ck_assert_int_eq(ftruncate(fd, 4 * PAGE), 0);
  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, 4 * PAGE, NULL));
  names = (struct names){ .object = object };
  map(space, AT, 4 * PAGE, object, 0, VMM_PRIVATE);
  set(space, AT + PAGE, 5);
  snapshot = take(space);
  ck_assert_int_eq(ftruncate(fd, 0), 0);
  ck_assert_ok(vmm_snapshot_save(snapshot, files.path, &options));
  ck_assert_ok(vmm_snapshot_load(space, files.path, &options));
  ck_assert_uint_eq(vmm_test_get(space, AT + PAGE), 5);
  close(fd);
  vmm_object_release(object);
  drop_and_end(space, snapshot);
  remove_folder(&files);
}
END_TEST

/* ---- refusals ---- */

START_TEST(misuse_of_files_is_refused)
{
  struct vmm_snapshot_options options = { .reserved = { 1 } };
  struct vmm_space *space = space_with_pages(0), *other;
  struct vmm_space_options large = { .page_size = 1 << 14 };
  struct vmm_space_options small = { .size = 1 << 20 };
  struct files files = make_folder();
  struct vmm_snapshot *snapshot = take(space);

  ck_assert_error(vmm_snapshot_save(NULL, files.path, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_save(snapshot, NULL, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_save(snapshot, "", NULL), EINVAL);
  ck_assert_error(vmm_snapshot_save(snapshot, files.folder, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_save(snapshot, "/dev/null", NULL), EINVAL);
  ck_assert_error(vmm_snapshot_save(snapshot, "/no/such/folder", NULL), ENOENT);
  ck_assert_error(vmm_snapshot_save(snapshot, files.path, &options), EINVAL);
  ck_assert_uint_eq(count_files(&files), 0);
  ck_assert_error(vmm_snapshot_load(space, files.path, NULL), ENOENT);
  ck_assert_ok(vmm_snapshot_save(snapshot, files.path, NULL));
  ck_assert_error(vmm_snapshot_load(NULL, files.path, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_load(space, NULL, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_load(space, files.folder, NULL), EINVAL);
  ck_assert_error(vmm_snapshot_load(space, "/dev/null", NULL), EINVAL);
  ck_assert_error(vmm_snapshot_load(space, files.path, &options), EINVAL);
  ck_assert_error(vmm_space_load(NULL, NULL, files.path, NULL), EINVAL);
  ck_assert_error(vmm_space_load(&other, &large, files.path, NULL), EINVAL);
  ck_assert_error(vmm_space_load(&other, &small, files.path, NULL), EINVAL);
  ck_assert_ok(vmm_space_create(&other, &large));
  ck_assert_error(vmm_snapshot_load(other, files.path, NULL), EINVAL);
  vmm_test_end(other);
  assert_as_made(space);
  drop_and_end(space, snapshot);
  remove_folder(&files);
}
END_TEST

START_TEST(limits_hold_for_files_too)
{
  struct vmm_snapshot_options options = { .max_nbytes = PAGES / 2 * PAGE - 1 };
  struct vmm_space_options limited = { .max_frames = PAGES / 2 - 1 };
  struct vmm_space *space = space_with_pages(0), *other;
  struct files files = make_folder();

  save_now(space, files.path);
  ck_assert_error(vmm_snapshot_load(space, files.path, &options), EFBIG);
  ck_assert_error(vmm_space_load(&other, &limited, files.path, NULL), EFBIG);
  options.max_nbytes++;
  limited.max_frames++;
  ck_assert_ok(vmm_space_load(&other, &limited, files.path, &options));
  assert_as_made(other);
  vmm_test_end(other);
  vmm_test_end(space);
  remove_folder(&files);
}
END_TEST

Suite *vmm_suite_snapshot_object(void);

Suite *vmm_suite_snapshot_object(void)
{
  Suite *suite = suite_create("snapshot_object");
  TCase *tcase = tcase_create("snapshot_object");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, a_mirrored_object_is_saved_once_and_mirrored_again,
                      0, 2);
  tcase_add_test(tcase, private_bytes_hide_an_objects_also_as_zeros);
  tcase_add_test(tcase, a_load_leaves_the_old_object_to_those_who_hold_it);
  tcase_add_test(tcase, a_file_is_saved_by_name_and_opened_again);
  tcase_add_test(tcase, a_pagers_object_is_saved_by_name_only);
  tcase_add_test(tcase, what_the_callbacks_answer_is_checked);
  tcase_add_test(tcase, bytes_of_a_truncated_file_are_not_lost);
  tcase_add_test(tcase, misuse_of_files_is_refused);
  tcase_add_test(tcase, limits_hold_for_files_too);
  suite_add_tcase(suite, tcase);
  return suite;
}
