/*
 * Saves that do not come to their end: the process is killed before and after
 * each system call of one, and each host call of it fails.  The file is the old
 * one or the new one, whole.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "snapshot_files.h"

/* ---- killed ---- */

/* In a process of its own: a space whose pages hold the byte is saved, after a
 * stop if it is traced.  Never returns. */
static void save_in_child(const char *path, int byte, bool traced)
{
  struct vmm_space *space;
  struct vmm_snapshot *snapshot;

  if (traced && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
    _exit(2);
  if (vmm_space_create(&space, NULL) != 0 ||
      vmm_map_anon(space, AT, PAGES * PAGE, RW) != 0 ||
      vmm_fill(space, AT, byte, 8 * PAGE, NULL) != 0 ||
      vmm_fill(space, AT + 20 * PAGE, byte, PAGE, NULL) != 0 ||
      vmm_snapshot_take(&snapshot, space) != 0)
    _exit(3);
  if (traced)
    raise(SIGSTOP);
  _exit(vmm_snapshot_save(snapshot, path, NULL) != 0);
}

static pid_t start_child(const char *path, int byte, bool traced)
{
  pid_t child = fork();

  ck_assert_int_ge(child, 0);
  if (child == 0)
    save_in_child(path, byte, traced);
  return child;
}

static struct bytes saved_by_child(const char *path, int byte)
{
  pid_t child = start_child(path, byte, false);
  int status;

  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  return read_file(path);
}

/* Runs a traced child up to its nth stop at a system call (entry and exit count
 * alike) and kills it there.  => false if it ended before, in peace */
static bool kill_at(pid_t child, unsigned nth)
{
  unsigned stops = 0;
  int status;

  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, child, NULL,
                          (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)), 0);
  for (int signal = 0;;) {
    ck_assert_int_eq(ptrace(PTRACE_SYSCALL, child, NULL,
                            (void *)(uintptr_t)signal), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
      ck_assert_int_eq(WEXITSTATUS(status), 0);
      return false;
    }
    ck_assert(WIFSTOPPED(status));
    signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
    if (signal == 0 && ++stops == nth)
      break;
  }
  ck_assert_int_eq(kill(child, SIGKILL), 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert(WIFSIGNALED(status));
  return true;
}

/* What a killed process may leave beside the file. */
static void remove_leftover(const struct files *files, pid_t child)
{
  char path[128];

  snprintf(path, sizeof(path), "%s.%ld-0.tmp", files->path, (long)child);
  unlink(path);
  ck_assert_uint_eq(count_files(files), 1);
}

static bool is_same(const struct bytes *a, const struct bytes *b)
{
  return a->nbytes == b->nbytes && memcmp(a->at, b->at, a->nbytes) == 0;
}

START_TEST(a_save_killed_at_any_system_call_leaves_the_old_file_or_the_new)
{
  struct files files = make_folder();
  struct bytes after = saved_by_child(files.path, 2);
  struct bytes before = saved_by_child(files.path, 1);
  unsigned olds = 0, news = 0;
  bool killed = true;

  ck_assert(!is_same(&before, &after));
  for (unsigned nth = 1; killed; nth++) {
    pid_t child = start_child(files.path, 2, true);
    struct bytes now;

    killed = kill_at(child, nth);
    now = read_file(files.path);
    olds += is_same(&now, &before);
    news += is_same(&now, &after);
    ck_assert_uint_eq(olds + news, nth);
    if (news > 0) /* from here on it has happened */
      ck_assert(is_same(&now, &after));
    free(now.at);
    remove_leftover(&files, child);
    write_file(files.path, before.at, before.nbytes);
  }
  ck_assert_uint_gt(olds, 10);
  ck_assert_uint_gt(news, 2);
  free(before.at);
  free(after.at);
  remove_folder(&files);
}
END_TEST

/* ---- refused by the host ---- */

struct failing {
  struct vmm_space *space;
  struct vmm_snapshot *snapshot;
  struct vmm_space *made;
  struct files files;
};

static int save_it(struct failing *f)
{
  return vmm_snapshot_save(f->snapshot, f->files.path, NULL);
}

static int load_it(struct failing *f)
{
  return vmm_snapshot_load(f->space, f->files.path, NULL);
}

static int load_new(struct failing *f)
{
  return vmm_space_load(&f->made, NULL, f->files.path, NULL);
}

static int (*const operations[])(struct failing *) = { save_it, load_it,
                                                       load_new };

static unsigned open_files(void)
{
  struct files self = { .folder = "/proc/self/fd" };

  return count_files(&self);
}

/* A space with an object of each kind, a snapshot, and a file of another
 * content. */
static void begin(struct failing *f)
{
  struct vmm_map_options map = { .rights = RW };
  struct vmm_object_options export = { .flags = VMM_OBJECT_EXPORT };

  memset(f, 0, sizeof(*f));
  f->files = make_folder();
  f->space = space_with_pages(0);
  for (unsigned i = 0; i < 2; i++) {
    vmm_addr_t va = FREE + i * 16 * PAGE;

    ck_assert_ok(vmm_object_create(&map.object, 4 * PAGE, i ? &export : NULL));
    ck_assert_ok(vmm_map(f->space, &va, 4 * PAGE, &map));
    vmm_object_release(map.object);
    set(f->space, va + PAGE, 1);
  }
  save_now(f->space, f->files.path);
  f->snapshot = take(f->space);
  set(f->space, AT, 99);
}

static void assert_file_is_whole(struct failing *f)
{
  struct vmm_space *space;

  ck_assert_ok(vmm_space_load(&space, NULL, f->files.path, NULL));
  assert_as_made(space);
  vmm_test_end(space);
  ck_assert_uint_eq(count_files(&f->files), 1);
}

static void finish(struct failing *f)
{
  if (f->made != NULL)
    vmm_test_end(f->made);
  drop_and_end(f->space, f->snapshot);
  remove_folder(&f->files);
}

static void fail_each(int (*run)(struct failing *), unsigned call,
                      uint64_t count)
{
  bool reached = true;

  for (uint64_t nth = 1; reached; nth++) {
    unsigned descriptors = open_files();
    struct failing f;
    uint64_t before;
    int error;

    begin(&f);
    before = vmm_test_count(call);
    vmm_test_fail(call, nth, count);
    error = run(&f);
    vmm_test_fail(call, 0, 0);
    reached = vmm_test_count(call) - before >= nth;
    ck_assert_msg(error == 0 || error == -ENOMEM || error == -EMFILE ||
                      error == -EIO || error == -ENOSPC,
                  "call %u, number %u: %d", call, (unsigned)nth, error);
    ck_assert(error == 0 || reached);
    ck_assert_ok(vmm_check(f.space, 0, 0));
    if (error != 0)
      ck_assert_uint_eq(get(f.space, AT), 99); /* nothing was loaded */
    assert_file_is_whole(&f);
    if (error != 0) /* the host is well again */
      ck_assert_ok(run(&f));
    finish(&f);
    ck_assert_uint_eq(open_files(), descriptors);
    ck_assert_uint_lt(nth, 1000);
  }
}

START_TEST(a_host_call_that_fails_leaves_file_and_space_whole)
{
  struct failing f;

  begin(&f); /* what is made once a process does not count */
  assert_file_is_whole(&f);
  finish(&f);
  for (unsigned call = 0; call < VMM_TEST_CALLS; call++) {
    fail_each(operations[_i % 3], call, _i < 3 ? 1 : UINT64_MAX);
  }
}
END_TEST

START_TEST(all_is_on_the_disk_before_the_name_changes)
{
  struct failing f;
  uint64_t before;

  begin(&f);
  before = vmm_test_count(VMM_TEST_FSYNC);
  vmm_test_fail(VMM_TEST_RENAME, 1, 1);
  ck_assert_error(save_it(&f), EIO);
  ck_assert_uint_eq(vmm_test_count(VMM_TEST_FSYNC), before + 1);
  ck_assert_ok(save_it(&f));
  ck_assert_uint_eq(vmm_test_count(VMM_TEST_FSYNC), before + 3); /* the folder */
  finish(&f);
}
END_TEST

Suite *vmm_suite_snapshot_crash(void);

Suite *vmm_suite_snapshot_crash(void)
{
  Suite *suite = suite_create("snapshot_crash");
  TCase *tcase = tcase_create("snapshot_crash");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase,
                 a_save_killed_at_any_system_call_leaves_the_old_file_or_the_new);
  tcase_add_loop_test(tcase, a_host_call_that_fails_leaves_file_and_space_whole,
                      0, 6);
  tcase_add_test(tcase, all_is_on_the_disk_before_the_name_changes);
  suite_add_tcase(suite, tcase);
  return suite;
}
