/*
 * Objects: files, other processes' memory, mirrors, private copies.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"
#include "windows.h"

#define AT 0x100000
#define FAR 0x1000000

static uint64_t page;

static struct vmm_space *new_space(void)
{
  struct vmm_space *space = vmm_test_space(1 << 28, VMM_EXACT);

  page = vmm_space_page_size(space);
  return space;
}

/* => a descriptor of a file without a name, whose page i begins with 'a' + i */
static int new_file(unsigned npages)
{
  char path[] = "/tmp/vmm-test.XXXXXX";
  int fd = mkstemp(path);
  unsigned i;

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(ftruncate(fd, (off_t)(npages * page)), 0);
  for (i = 0; i < npages; i++) {
    char byte = (char)('a' + i);

    ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)(i * page)), 1);
  }
  return fd;
}

static char file_byte(int fd, uint64_t offset)
{
  char byte = 0;

  ck_assert_int_eq(pread(fd, &byte, 1, (off_t)offset), 1);
  return byte;
}

START_TEST(mirrors_in_one_space_show_each_others_bytes)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(4 * page, 0);

  ck_assert_ok(probe_map(space, AT, 4 * page, object, 0, RW));
  ck_assert_ok(probe_map(space, FAR, 2 * page, object, page, RW));
  step(space, 0, 1, vmm_test_set(space, AT + 2 * page, 5));
  step(space, 1, 0,
       ck_assert_uint_eq(vmm_test_get(space, FAR + page), 5));
  step(space, 0, 1, vmm_test_set(space, FAR + page, 6));
  step(space, 0, 0,
       ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 6));
  ck_assert_uint_eq(vmm_pte_frame(probe_pte(space, AT + 2 * page)),
                    vmm_pte_frame(probe_pte(space, FAR + page)));
  ck_assert_ok(vmm_unmap(space, AT, 4 * page));
  ck_assert_uint_eq(vmm_test_get(space, FAR + page), 6);
  ck_assert_ok(vmm_unmap(space, FAR, 2 * page));
  ck_assert_ok(probe_map(space, FAR, 4 * page, object, 0, VMM_READ));
  ck_assert_uint_eq(vmm_test_get(space, FAR + 2 * page), 6);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

/* Reading a mirror first must not leave it with zeros: S4.15. */
START_TEST(mirror_read_before_the_first_write_sees_it)
{
  struct vmm_space *space = new_space(), *other = new_space();
  struct vmm_object *object = probe_object(4 * page, 0);

  ck_assert_ok(probe_map(space, AT, 4 * page, object, 0, VMM_READ));
  ck_assert_ok(probe_map(other, FAR, 4 * page, object, 0, RW));
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_set(other, FAR, 9);
  step(space, 0, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 9));
  ck_assert_uint_eq(probe_reason(space, AT, VMM_WRITE), VMM_FAULT_RIGHTS);
  vmm_test_end(other);
  ck_assert_uint_eq(vmm_test_get(space, AT), 9);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(region_holds_its_object)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(page, 0);

  ck_assert_ptr_eq(vmm_object_hold(object), object);
  ck_assert_uint_eq(vmm_object_size(object), page);
  ck_assert_error(vmm_object_fd(object), ENOTSUP);
  vmm_object_release(object);
  ck_assert_ok(probe_map(space, AT, page, object, 0, RW));
  vmm_object_release(object);
  vmm_test_set(space, AT, 3);
  ck_assert_uint_eq(vmm_test_get(space, AT), 3);
  vmm_test_end(space);
}
END_TEST

START_TEST(private_mapping_copies_on_write)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(2 * page, 0);

  ck_assert_ok(probe_map(space, AT, 2 * page, object, 0, RW));
  ck_assert_ok(probe_map(space, FAR, 2 * page, object, 0, RW | VMM_PRIVATE));
  vmm_test_set(space, AT, 1);
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, FAR), 1));
  ck_assert_pte(space, FAR, VMM_PTE_COW | VMM_PTE_SWRITE, VMM_PTE_COW);
  vmm_test_set(space, AT, 2); /* not copied yet: it may be seen */
  step(space, 0, 1, vmm_test_set(space, FAR + 1, 7));
  ck_assert_pte(space, FAR, VMM_PTE_COW | DIRTY, DIRTY);
  ck_assert_uint_eq(vmm_test_get(space, FAR), 2);
  vmm_test_set(space, AT, 3);
  ck_assert_uint_eq(vmm_test_get(space, FAR), 2);
  ck_assert_uint_eq(vmm_test_get(space, AT + 1), 0);
  ck_assert_uint_eq(vmm_test_stats(space).copies, 1);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  step(space, 0, 1, vmm_test_set(space, FAR + page, 8)); /* never read */
  ck_assert_uint_eq(vmm_test_stats(space).copies, 2);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(shared_file_mapping_writes_the_file)
{
  struct vmm_space *space = new_space();
  int fd = new_file(4);
  struct vmm_object *object;

  ck_assert_ok(vmm_object_from_fd(&object, fd, page, 3 * page, NULL));
  ck_assert_uint_eq(vmm_object_size(object), 3 * page);
  ck_assert_int_ge(vmm_object_fd(object), 0);
  ck_assert_int_ne(vmm_object_fd(object), fd);
  ck_assert_ok(probe_map(space, AT, 2 * page, object, page, RW));
  step(space, 1, 0, ck_assert_uint_eq(vmm_test_get(space, AT), 'c'));
  vmm_test_set(space, AT, 'X');
  ck_assert_int_eq(file_byte(fd, 2 * page), 'X');
  ck_assert_ok(vmm_copyout(space, AT + page, "Y", 1, NULL));
  ck_assert_int_eq(file_byte(fd, 3 * page), 'Y');
  ck_assert_int_eq(pwrite(fd, "Z", 1, (off_t)(3 * page)), 1);
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 'Z');
  vmm_test_end(space);
  vmm_object_release(object);
  close(fd);
}
END_TEST

START_TEST(private_file_mapping_leaves_the_file)
{
  struct vmm_space *space = new_space();
  int fd = new_file(2);
  struct vmm_object *object;

  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, 2 * page, NULL));
  ck_assert_ok(probe_map(space, AT, 2 * page, object, 0, RW | VMM_PRIVATE));
  vmm_object_release(object);
  close(dup(fd));
  vmm_test_set(space, AT, 'X');
  ck_assert_uint_eq(vmm_test_get(space, AT), 'X');
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 'b');
  ck_assert_int_eq(file_byte(fd, 0), 'a');
  vmm_test_end(space);
  close(fd);
}
END_TEST

/* => the same file by a descriptor that can only read */
static int reopen_readonly(int fd)
{
  char path[64];

  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  return open(path, O_RDONLY);
}

START_TEST(readonly_descriptor_gives_no_shared_writing)
{
  struct vmm_space *space = new_space();
  int fd = new_file(2), readonly = reopen_readonly(fd);
  struct vmm_object *object;

  ck_assert_int_ge(readonly, 0);
  ck_assert_ok(vmm_object_from_fd(&object, readonly, 0, 2 * page, NULL));
  ck_assert_refused(space, probe_map(space, AT, page, object, 0, RW), EACCES);
  ck_assert_ok(probe_map(space, AT, page, object, 0, VMM_READ));
  ck_assert_uint_eq(vmm_test_get(space, AT), 'a');
  ck_assert_refused(space, vmm_protect(space, AT, page, RW), EACCES);
  ck_assert_ok(probe_map(space, FAR, page, object, 0, RW | VMM_PRIVATE));
  vmm_test_set(space, FAR, 'X');
  ck_assert_uint_eq(vmm_test_get(space, AT), 'a');
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(readonly_object_gives_no_shared_writing)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(page, VMM_OBJECT_READONLY);

  ck_assert_refused(space, probe_map(space, AT, page, object, 0, RW), EACCES);
  ck_assert_ok(probe_map(space, AT, page, object, 0, VMM_READ));
  ck_assert_ok(probe_map(space, FAR, page, object, 0, RW | VMM_PRIVATE));
  vmm_test_set(space, FAR, 1);
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(access_beyond_a_truncated_file_is_a_fault)
{
  struct vmm_space *space = new_space();
  int fd = new_file(3), i;
  struct vmm_object *object;
  struct vmm_fault fault;
  size_t left;
  char byte;

  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, 3 * page, NULL));
  ck_assert_ok(probe_map(space, AT, 3 * page, object, 0, RW));
  ck_assert_ok(probe_map(space, FAR, 3 * page, object, 0, RW | VMM_PRIVATE));
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 'b'); /* was installed */
  ck_assert_uint_eq(vmm_test_get(space, FAR + page), 'b');
  ck_assert_int_eq(ftruncate(fd, (off_t)page), 0);
  for (i = 1; i < 3; i++) {
    vmm_addr_t at = AT + (unsigned)i * page;

    ck_assert_uint_eq(probe_reason(space, at, VMM_READ), VMM_FAULT_OBJECT);
    ck_assert_uint_eq(probe_reason(space, at, VMM_WRITE), VMM_FAULT_OBJECT);
    ck_assert_ok(vmm_fault_last(&fault));
    ck_assert_int_eq(fault.error, -EIO);
    ck_assert_error(vmm_copyin(space, &byte, at, 1, &left), EIO);
    ck_assert_uint_eq(left, 1);
    ck_assert_error(vmm_copyout(space, at, "x", 1, &left), EIO);
    ck_assert_uint_eq(probe_reason(space, FAR + (unsigned)i * page, VMM_WRITE),
                      VMM_FAULT_OBJECT);
  }
  ck_assert_uint_eq(vmm_test_get(space, AT), 'a');
  ck_assert_int_eq(ftruncate(fd, (off_t)(3 * page)), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 0);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(another_processs_memfd_is_shared_with_it)
{
  struct vmm_space *space = new_space();
  int fd = memfd_create("guest", MFD_CLOEXEC), status;
  struct vmm_object *object;
  pid_t child;

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(ftruncate(fd, (off_t)page), 0);
  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, page, NULL));
  ck_assert_ok(probe_map(space, AT, page, object, 0, RW));
  vmm_test_set(space, AT, 1);
  child = fork();
  if (child == 0) {
    char *theirs = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (theirs == MAP_FAILED || theirs[0] != 1)
      _exit(1);
    theirs[1] = 2;
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(vmm_test_get(space, AT + 1), 2);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(exported_object_is_mapped_elsewhere_by_its_descriptor)
{
  struct vmm_space *space = new_space();
  struct vmm_object *object = probe_object(page, VMM_OBJECT_EXPORT);
  char *mapped;

  ck_assert_ok(probe_map(space, AT, page, object, 0, RW));
  vmm_test_set(space, AT, 1);
  mapped = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
                vmm_object_fd(object), 0);
  ck_assert_ptr_ne(mapped, MAP_FAILED);
  ck_assert_int_eq(mapped[0], 1);
  mapped[1] = 2;
  ck_assert_uint_eq(vmm_test_get(space, AT + 1), 2);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(bad_descriptors_are_refused)
{
  struct vmm_object *object = NULL;
  struct vmm_space *space = new_space();
  int fd = new_file(1), fds[2], writeonly;
  char path[64];

  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  writeonly = open(path, O_WRONLY);
  ck_assert_int_eq(pipe(fds), 0);
  ck_assert_error(vmm_object_from_fd(&object, -1, 0, page, NULL), EBADF);
  ck_assert_error(vmm_object_from_fd(&object, writeonly, 0, page, NULL), EBADF);
  ck_assert_error(vmm_object_from_fd(&object, fds[0], 0, page, NULL), ENODEV);
  ck_assert_error(vmm_object_from_fd(&object, fd, 1, page, NULL), EINVAL);
  ck_assert_error(vmm_object_from_fd(&object, fd, 0, 0, NULL), EINVAL);
  ck_assert_error(vmm_object_from_file(&object, "/nonexistent/file", NULL),
                  ENOENT);
  ck_assert_ptr_null(object);
  vmm_test_end(space);
}
END_TEST

START_TEST(file_by_its_path_is_all_of_it)
{
  struct vmm_space *space = new_space();
  char path[] = "/tmp/vmm-test.XXXXXX";
  int fd = mkstemp(path);
  struct vmm_object *object;

  ck_assert_int_eq(pwrite(fd, "begin", 5, 0), 5);
  ck_assert_int_eq(pwrite(fd, "end", 3, (off_t)page + 10), 3);
  ck_assert_ok(vmm_object_from_file(&object, path, NULL));
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_uint_ge(vmm_object_size(object), page + 13);
  ck_assert_ok(probe_map(space, AT, 2 * page, object, 0, VMM_READ));
  ck_assert_uint_eq(vmm_test_get(space, AT + page + 12), 'd');
  ck_assert_uint_eq(vmm_test_get(space, AT + page + 13), 0);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

static void add_file_tests(Suite *suite)
{
  TCase *tcase = tcase_create("file");

  tcase_add_test(tcase, shared_file_mapping_writes_the_file);
  tcase_add_test(tcase, private_file_mapping_leaves_the_file);
  tcase_add_test(tcase, readonly_descriptor_gives_no_shared_writing);
  tcase_add_window_test(tcase, access_beyond_a_truncated_file_is_a_fault);
  tcase_add_test(tcase, another_processs_memfd_is_shared_with_it);
  tcase_add_test(tcase, exported_object_is_mapped_elsewhere_by_its_descriptor);
  tcase_add_test(tcase, bad_descriptors_are_refused);
  tcase_add_test(tcase, file_by_its_path_is_all_of_it);
  suite_add_tcase(suite, tcase);
}

Suite *vmm_suite_object(void)
{
  Suite *suite = suite_create("object");
  TCase *tcase = tcase_create("object");

  tcase_add_test(tcase, mirrors_in_one_space_show_each_others_bytes);
  tcase_add_window_test(tcase, mirror_read_before_the_first_write_sees_it);
  tcase_add_test(tcase, region_holds_its_object);
  tcase_add_test(tcase, private_mapping_copies_on_write);
  tcase_add_test(tcase, readonly_object_gives_no_shared_writing);
  suite_add_tcase(suite, tcase);
  add_file_tests(suite);
  return suite;
}
