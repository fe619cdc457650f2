/*
 * What a hostile or careless program may do: calls that must be refused, or leave
 * nothing behind, where several parts of the library meet.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"
#include "vmm_test.h"

#define AT 0x200000
#define PAGE ((uint64_t)4096)

/* ---- callbacks that fault ---- */

static int load_wild(struct vmm_object *device, uint64_t offset, void *value,
                     uint32_t nbytes, void *wild)
{
  (void)device, (void)offset;
  memset(value, *(volatile char *)wild, nbytes);
  return 0;
}

static void load_device(void *space)
{
  uint64_t value;

  vmm_load(space, AT, &value, 8);
}

/* A guarded call of before does not count in a callback: its fault ends the
 * process, and not the call with the library half done. */
START_TEST(guard_does_not_end_a_device_s_callback_of_a_call)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  struct vmm_device_options options = { .load = load_wild };
  struct vmm_object *device;
  struct vmm_fault fault;
  int status;
  pid_t child;

  options.arg = vmm_space_base(space); /* nothing is mapped there */
  ck_assert_ok(vmm_device_create(&device, PAGE, &options));
  ck_assert_ok(probe_map(space, AT, PAGE, device, 0, RW));
  child = vmm_process_fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    _exit(vmm_guard_call(load_device, space, 0, &fault));
  }
  ck_assert_int_gt(child, 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  vmm_object_release(device);
  vmm_test_end(space);
}
END_TEST

/* ---- rights ---- */

START_TEST(write_only_memory_is_not_read_by_a_swap_or_a_pin)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_CHECKED);
  uint64_t secret = 0x5ec2e7, expected = 1, desired = 2;
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;

  ck_assert_ok(vmm_map_anon(space, AT, PAGE, RW));
  ck_assert_ok(vmm_store(space, AT, &secret, 8));
  ck_assert_ok(vmm_protect(space, AT, PAGE, VMM_WRITE));
  ck_assert_error(vmm_cas(space, AT, &expected, &desired, 8), EFAULT);
  ck_assert_uint_eq(expected, 1);
  ck_assert_error(vmm_pin(space, AT, 8, RW, &iov, &niov, &pin), EFAULT);
  niov = 1;
  ck_assert_ok(vmm_pin(space, AT, 8, VMM_WRITE, &iov, &niov, &pin));
  vmm_unpin(pin);
  vmm_test_end(space);
}
END_TEST

/* ---- pagers ---- */

static struct {
  atomic_bool filling, go;
  atomic_uint writes;
} paging;

/* Its second page fails, when it is told to go on. */
static int fill_one(uint64_t offset, void *frame, size_t nbytes, void *arg)
{
  (void)frame, (void)nbytes, (void)arg;
  if (offset == 0)
    return 0;
  atomic_store(&paging.filling, true);
  while (!atomic_load(&paging.go))
    usleep(1000);
  return -ENODATA;
}

static int write_back(uint64_t offset, const void *frame, size_t nbytes,
                      void *arg)
{
  (void)offset, (void)frame, (void)nbytes, (void)arg;
  atomic_fetch_add(&paging.writes, 1);
  return 0;
}

static void *read_second(void *space)
{
  char byte;

  ck_assert_int_lt(vmm_copyin(space, &byte, AT + PAGE, 1, NULL), 0);
  return NULL;
}

static void *let_it_go(void *arg)
{
  (void)arg;
  usleep(100000);
  atomic_store(&paging.go, true);
  return NULL;
}

START_TEST(flush_does_not_take_the_error_of_somebody_s_fill)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  struct vmm_pager_options options = { .nbytes = 2 * PAGE, .fill = fill_one,
                                       .write_back = write_back };
  struct vmm_object *object;
  pthread_t reader, other;

  ck_assert_ok(vmm_pager_create(&object, &options));
  ck_assert_ok(probe_map(space, AT, 2 * PAGE, object, 0, RW));
  ck_assert_ok(vmm_copyout(space, AT, "x", 1, NULL));
  ck_assert_int_eq(pthread_create(&reader, NULL, read_second, space), 0);
  while (!atomic_load(&paging.filling))
    usleep(1000);
  ck_assert_int_eq(pthread_create(&other, NULL, let_it_go, NULL), 0);
  ck_assert_ok(vmm_object_flush(object, 0, 2 * PAGE));
  ck_assert_uint_eq(atomic_load(&paging.writes), 1);
  pthread_join(reader, NULL);
  pthread_join(other, NULL);
  ck_assert_ok(vmm_unmap(space, AT, 2 * PAGE));
  ck_assert_ok(vmm_pager_destroy(object));
  vmm_test_end(space);
}
END_TEST

static int destroy_other(uint64_t offset, void *frame, size_t nbytes, void *arg)
{
  struct vmm_object *other = *(struct vmm_object **)arg;

  (void)offset, (void)frame, (void)nbytes;
  return vmm_pager_destroy(other) == -EDEADLK ? 0 : -EIO;
}

/* Its thread might need a page of the one whose callback would wait for it. */
START_TEST(pager_is_not_destroyed_in_another_s_callback)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  struct vmm_object *one, *two;
  struct vmm_pager_options options = { .nbytes = PAGE, .fill = fill_one };
  char byte;

  ck_assert_ok(vmm_pager_create(&one, &options));
  options.fill = destroy_other;
  options.arg = &one;
  ck_assert_ok(vmm_pager_create(&two, &options));
  ck_assert_ok(probe_map(space, AT, PAGE, two, 0, VMM_READ));
  ck_assert_ok(vmm_copyin(space, &byte, AT, 1, NULL));
  ck_assert_ok(vmm_unmap(space, AT, PAGE));
  ck_assert_ok(vmm_pager_destroy(two));
  ck_assert_ok(vmm_pager_destroy(one));
  vmm_test_end(space);
}
END_TEST

/* ---- a section of a TLB, a file that shrank, a fork ---- */

static void *protect_page(void *space)
{
  ck_assert_ok(vmm_protect(space, AT, PAGE, 0));
  return NULL;
}

static void *fork_process(void *arg)
{
  int status, child = vmm_process_fork();

  (void)arg;
  if (child == 0)
    _exit(0);
  ck_assert_int_gt(child, 0);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  return NULL;
}

START_TEST(file_that_shrank_ends_a_section_s_access_while_a_forker_waits)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  int fd = memfd_create("shrinks", 0);
  pthread_t protector, forker;
  struct vmm_object *object;
  struct vmm_tlb *tlb;
  uint8_t value;
  void *host;

  ck_assert_int_eq(ftruncate(fd, PAGE), 0);
  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, PAGE, NULL));
  ck_assert_ok(probe_map(space, AT, PAGE, object, 0, RW));
  ck_assert_ok(vmm_tlb_create(&tlb, space, NULL));
  ck_assert_ok(vmm_tlb_fill(tlb, AT, VMM_READ));
  ck_assert_int_eq(ftruncate(fd, 0), 0);
  vmm_tlb_enter(tlb);
  host = vmm_tlb_read(tlb, AT, 1);
  ck_assert_ptr_nonnull(host);
  ck_assert_int_eq(pthread_create(&protector, NULL, protect_page, space), 0);
  while (!vmm_tlb_asked(tlb)) /* it waits for the section, inside */
    usleep(1000);
  ck_assert_int_eq(pthread_create(&forker, NULL, fork_process, NULL), 0);
  usleep(200000); /* long enough, most times, for it to shut the gate */
  vmm_try_load_u8(value, host, gone);
  ck_abort_msg("read %u of no file", value);
gone:
  vmm_tlb_leave(tlb);
  pthread_join(protector, NULL);
  pthread_join(forker, NULL);
  vmm_tlb_destroy(tlb);
  vmm_object_release(object);
  close(fd);
  ck_assert_ok(vmm_space_destroy(space));
}
END_TEST

/* ---- watches ---- */

static int refuse(struct vmm_watch *watch, const struct vmm_watch_event *event,
                  void *arg)
{
  (void)watch, (void)event, (void)arg;
  return -1;
}

static enum vmm_verdict skip(struct vmm_fault *fault, void *arg)
{
  (void)fault, (void)arg;
  return VMM_SKIP;
}

START_TEST(string_that_a_watch_refuses_is_not_given)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  struct vmm_watch *watch;
  char text[16] = "-------------";
  size_t length = 9;

  ck_assert_ok(vmm_map_anon(space, AT, PAGE, RW));
  ck_assert_ok(vmm_copyout(space, AT, "secret", 7, NULL));
  ck_assert_ok(vmm_watch_add(&watch, space, AT, 8, VMM_READ, VMM_WATCH_BEFORE,
                             refuse, NULL));
  ck_assert_error(vmm_copyin_string(space, text, AT, sizeof(text), &length),
                  EFAULT);
  ck_assert_ptr_null(memmem(text, sizeof(text), "ecre", 4));
  ck_assert_ok(vmm_space_set_handler(space, skip, NULL));
  ck_assert_ok(vmm_copyin_string(space, text, AT, sizeof(text), &length));
  ck_assert_str_eq(text, "");
  ck_assert_uint_eq(length, 0);
  vmm_watch_remove(watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(execution_of_no_range_is_einval)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  ck_assert_error(vmm_watch_execute(space, AT, 0), EINVAL);
  ck_assert_error(vmm_watch_execute(space, UINT64_MAX - 1, 4), EINVAL);
  vmm_test_end(space);
}
END_TEST

/* ---- files ---- */

START_TEST(snapshot_is_loaded_where_memory_has_moved_away)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  char path[] = "/tmp/vmm-hostile-XXXXXX";
  vmm_addr_t to = AT + (16 << 20);
  struct vmm_snapshot *snapshot;
  int fd = mkstemp(path);
  char byte = 7;

  ck_assert_int_ge(fd, 0);
  close(fd);
  ck_assert_ok(vmm_map_anon(space, AT, PAGE, RW));
  ck_assert_ok(vmm_copyout(space, AT, &byte, 1, NULL));
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(vmm_snapshot_save(snapshot, path, NULL));
  vmm_snapshot_drop(snapshot);
  ck_assert_ok(vmm_move(space, AT, PAGE, &to, 0));
  ck_assert_ok(vmm_snapshot_load(space, path, NULL));
  byte = 0;
  ck_assert_ok(vmm_copyin(space, &byte, AT, 1, NULL));
  ck_assert_int_eq(byte, 7);
  unlink(path);
  vmm_test_end(space);
}
END_TEST

/* ---- NULL ---- */

START_TEST(no_place_for_a_result_is_einval)
{
  struct vmm_fault fault = { 0 };
  uint64_t value;

  ck_assert_error(vmm_fault_last(NULL), EINVAL);
  ck_assert_error(vmm_fault_set_pc(NULL, NULL), EINVAL);
  ck_assert_error(vmm_fault_get_register(NULL, 0, &value), EINVAL);
  ck_assert_error(vmm_fault_get_register(&fault, 0, NULL), EINVAL);
  ck_assert_error(vmm_fault_set_register(NULL, 0, 0), EINVAL);
  ck_assert_error(vmm_tlb_fill(NULL, 0, VMM_READ), EINVAL);
  ck_assert_ptr_null(vmm_displace_pc(NULL));
  vmm_waiter_cancel(NULL);
}
END_TEST

Suite *vmm_suite_hostile(void)
{
  Suite *suite = suite_create("hostile");
  TCase *tcase = tcase_create("hostile");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, guard_does_not_end_a_device_s_callback_of_a_call);
  tcase_add_test(tcase, write_only_memory_is_not_read_by_a_swap_or_a_pin);
  tcase_add_test(tcase, flush_does_not_take_the_error_of_somebody_s_fill);
  tcase_add_test(tcase, pager_is_not_destroyed_in_another_s_callback);
  tcase_add_test(tcase,
                 file_that_shrank_ends_a_section_s_access_while_a_forker_waits);
  tcase_add_test(tcase, string_that_a_watch_refuses_is_not_given);
  tcase_add_test(tcase, execution_of_no_range_is_einval);
  tcase_add_test(tcase, snapshot_is_loaded_where_memory_has_moved_away);
  tcase_add_test(tcase, no_place_for_a_result_is_einval);
  suite_add_tcase(suite, tcase);
  return suite;
}
