/*
 * Every other operation with every host call failing: snapshots, files, pagers,
 * harts, guarded calls, checked access.  See inject.h.
 */
#define _GNU_SOURCE
#include "inject.h"

/* ---- regions ---- */

static int open_file(struct world *w)
{
  char path[32];

  snprintf(path, sizeof(path), "/proc/self/fd/%d", w->fd);
  return vmm_object_from_file(&w->made_object, path, NULL);
}

static int map_private(struct world *w)
{
  struct vmm_map_options options = { .rights = VMM_READ | VMM_WRITE,
                                     .flags = VMM_PRIVATE | VMM_ANY,
                                     .object = w->object };
  vmm_addr_t at = FREE;
  int error = vmm_map(w->space, &at, PAGES * PAGE, &options);
  uint8_t byte = 3;

  return error != 0 ? error : vmm_copyout(w->space, at, &byte, 1, NULL);
}

static int wire_and_unwire(struct world *w)
{
  int error = vmm_wire(w->space, AT + PAGE, 4 * PAGE);

  return error != 0 ? error : vmm_unwire(w->space, AT + 2 * PAGE, PAGE);
}

static int leave_out_of_forks(struct world *w)
{
  int error = vmm_inherit(w->space, AT + PAGE, 2 * PAGE, VMM_INHERIT_NONE);

  return error != 0 ? error : vmm_space_fork(&w->made_space, w->space);
}

static int set_handlers(struct world *w)
{
  return vmm_region_set_handler(w->space, AT + PAGE, PAGE, NULL, NULL);
}

static int unmap_tracked(struct world *w)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE };
  struct vmm_range run;
  size_t nruns = 1;
  int error = 0;

  if (w->made_tracker == NULL)
    error = vmm_tracker_create(&w->made_tracker, w->space, AT, PAGES * PAGE,
                               &options);
  if (error == 0)
    error = vmm_unmap(w->space, AT + PAGE, 3 * PAGE);
  if (error == 0)
    error = vmm_tracker_fetch(w->made_tracker, AT, PAGES * PAGE, 1, &run, &nruns,
                              NULL);
  return error;
}

static int write_as_a_debugger(struct world *w)
{
  static const char bytes[3 * PAGE];
  int error = vmm_protect(w->space, AT, PAGES * PAGE, VMM_READ);

  return error != 0 ? error
                    : vmm_debug_write(w->space, AT, bytes, sizeof(bytes), NULL);
}

static int fetch_code(struct world *w)
{
  uint32_t insn;
  int error = vmm_protect(w->space, AT, PAGES * PAGE, VMM_READ | VMM_EXEC);

  if (error == 0)
    error = vmm_fetch(w->space, AT, &insn, sizeof(insn));
  return error > 0 ? 0 : error;
}

static int fix_up(struct world *w)
{
  return vmm_fixup(w->space, AT + PAGE, VMM_WRITE);
}

static int use_checked_space(struct world *w)
{
  struct vmm_space_options options = { .size = 1 << 24, .flags = VMM_CHECKED };
  uint64_t value = 1, expected = 1;
  int error = 0;

  if (w->made_space == NULL)
    error = vmm_space_create(&w->made_space, &options);
  if (error == 0)
    error = vmm_map_anon(w->made_space, AT % (1 << 24), PAGE,
                         VMM_READ | VMM_WRITE | VMM_REPLACE);
  if (error == 0)
    error = vmm_store(w->made_space, AT % (1 << 24), &value, sizeof(value));
  if (error == 0)
    error = vmm_cas(w->made_space, AT % (1 << 24), &expected, &value,
                    sizeof(value));
  return error < 0 ? error : 0;
}

/* ---- snapshots ---- */

static int take_and_restore(struct world *w)
{
  uint8_t byte = 77;
  int error = 0;

  if (w->made_snapshot == NULL)
    error = vmm_snapshot_take(&w->made_snapshot, w->space);
  if (error == 0)
    error = vmm_copyout(w->space, AT + 2 * PAGE, &byte, 1, NULL);
  if (error == 0)
    error = vmm_unmap(w->space, AT + 4 * PAGE, PAGE);
  if (error == 0)
    error = vmm_snapshot_restore(w->space, w->made_snapshot);
  return error;
}

static const char *snapshot_path(void)
{
  static char path[64];

  snprintf(path, sizeof(path), "/tmp/vmm-inject.%d", (int)getpid());
  return path;
}

static int save_and_load(struct world *w)
{
  int error = 0;

  if (w->made_snapshot == NULL)
    error = vmm_snapshot_take(&w->made_snapshot, w->space);
  if (error == 0)
    error = vmm_snapshot_save(w->made_snapshot, snapshot_path(), NULL);
  if (error == 0)
    error = vmm_space_load(&w->made_space, NULL, snapshot_path(), NULL);
  unlink(snapshot_path());
  return error;
}

/* ---- pagers ---- */

static int fill_page(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  (void)arg;
  memset(to, (int)(offset / PAGE + 1), nbytes);
  return 0;
}

static int keep_page(uint64_t offset, const void *from, size_t nbytes, void *arg)
{
  (void)offset;
  (void)from;
  (void)nbytes;
  (void)arg;
  return 0;
}

static int use_pager(struct world *w, uint32_t flags)
{
  struct vmm_pager_options options = { .nbytes = 4 * PAGE,
                                       .max_frames = 2,
                                       .flags = flags,
                                       .fill = fill_page,
                                       .write_back = keep_page };
  struct vmm_map_options map = { .rights = VMM_READ | VMM_WRITE,
                                 .flags = VMM_REPLACE };
  vmm_addr_t at = FREE;
  uint8_t byte = 9;
  int error = 0;

  if (w->made_pager == NULL)
    error = vmm_pager_create(&w->made_pager, &options);
  map.object = w->made_pager;
  if (error == 0)
    error = vmm_map(w->space, &at, 4 * PAGE, &map);
  for (unsigned i = 0; error == 0 && i < 4; i++)
    error = vmm_copyout(w->space, FREE + i * PAGE, &byte, 1, NULL);
  if (error == 0)
    error = vmm_object_flush(w->made_pager, 0, 4 * PAGE);
  if (error == 0)
    error = vmm_object_evict(w->made_pager, 0, 4 * PAGE);
  return error;
}

static int use_threaded_pager(struct world *w)
{
  return use_pager(w, 0);
}

static int use_inline_pager(struct world *w)
{
  return use_pager(w, VMM_PAGER_INLINE);
}

/* ---- threads ---- */

static void touch_all(void *arg)
{
  struct world *w = arg;

  for (unsigned i = 0; i < 2 * PAGES; i++)
    *(volatile char *)(vmm_space_base(w->space) + AT + i * PAGE) = 5;
}

static int call_guarded(struct world *w)
{
  size_t nbytes = (size_t)64 << 10;
  struct vmm_fault fault;
  void *stack;
  int error = vmm_stack_create(&stack, nbytes);

  if (error != 0)
    return error;
  error = vmm_guard_call_on(stack, nbytes, touch_all, w, 0, &fault);
  if (error == 1)
    error = fault.error;
  while (vmm_stack_destroy(stack, nbytes) == -ENOMEM)
    vmm_test_fail(VMM_TEST_MUNMAP, 0, 0);
  vmm_thread_detach();
  return error;
}

static int turn_hart(struct world *w)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS,
                                      .tag_bits = 1 };
  char *base;
  int error = 0;

  if (w->made_hart == NULL)
    error = vmm_hart_create(&w->made_hart, &options);
  if (error == 0)
    error = vmm_hart_set_space(w->made_hart, w->space, &base);
  if (error != 0)
    return error;
  vmm_try_store_u8(base + AT + 2 * PAGE, 9, fault);
  return 0;
fault:
  return -ENOMEM;
}

static int make_guest_thread(struct world *w)
{
  struct vmm_guest_thread *thread;
  int error = vmm_guest_thread_create(&thread, NULL);

  (void)w;
  if (error == 0)
    ck_assert_ok(vmm_guest_thread_destroy(thread));
  return error;
}

static const struct operation operations[] = {
  { "object from file", open_file },
  { "map private", map_private },
  { "unwire", wire_and_unwire },
  { "inherit", leave_out_of_forks },
  { "region handler", set_handlers },
  { "unmap tracked", unmap_tracked },
  { "debug write", write_as_a_debugger },
  { "fetch", fetch_code },
  { "fixup", fix_up },
  { "checked space", use_checked_space },
  { "snapshot restore", take_and_restore },
  { "snapshot save", save_and_load },
  { "pager", use_threaded_pager },
  { "inline pager", use_inline_pager },
  { "guarded call", call_guarded },
  { "hart", turn_hart },
  { "guest thread", make_guest_thread },
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

START_TEST(a_host_call_that_fails_once_is_survived_by_it)
{
  fail_each(&operations[_i], 1);
}
END_TEST

START_TEST(a_host_call_that_fails_from_then_on_is_survived_by_it)
{
  fail_each(&operations[_i], UINT64_MAX);
}
END_TEST

Suite *vmm_suite_inject_calls(void);

Suite *vmm_suite_inject_calls(void)
{
  Suite *suite = suite_create("inject_calls");
  TCase *tcase = tcase_create("inject_calls");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, a_host_call_that_fails_once_is_survived_by_it, 0,
                      OPERATIONS);
  tcase_add_loop_test(tcase,
                      a_host_call_that_fails_from_then_on_is_survived_by_it, 0,
                      OPERATIONS);
  suite_add_tcase(suite, tcase);
  return suite;
}
