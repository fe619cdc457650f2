/*
 * Every operation on memory with every host call failing: see inject.h.
 */
#define _GNU_SOURCE
#include "inject.h"

/* ---- the operations ---- */

static int create_space(struct world *w)
{
  return vmm_space_create(&w->made_space, NULL);
}

static int fork_space(struct world *w)
{
  return vmm_space_fork(&w->made_space, w->space);
}

static int create_object(struct world *w)
{
  return vmm_object_create(&w->made_object, PAGE, NULL);
}

static int export_object(struct world *w)
{
  struct vmm_object_options options = { .flags = VMM_OBJECT_EXPORT };

  return vmm_object_create(&w->made_object, PAGE, &options);
}

static int open_object(struct world *w)
{
  return vmm_object_from_fd(&w->made_object, w->fd, 0, PAGE, NULL);
}

static int map_memory(struct world *w)
{
  return vmm_map_anon(w->space, FREE, PAGE, VMM_READ | VMM_WRITE);
}

static int map_over(struct world *w)
{
  return vmm_map_anon(w->space, AT + 2 * PAGE, 3 * PAGE,
                      VMM_READ | VMM_REPLACE);
}

static int map_wired(struct world *w)
{
  return vmm_map_anon(w->space, FREE, 4 * PAGE,
                      VMM_READ | VMM_WRITE | VMM_WIRED);
}

static int unmap_middle(struct world *w)
{
  return vmm_unmap(w->space, AT + 3 * PAGE, 5 * PAGE);
}

static int protect_middle(struct world *w)
{
  return vmm_protect(w->space, AT + 3 * PAGE, (PAGES + 2) * PAGE, VMM_READ);
}

static int move_middle(struct world *w)
{
  vmm_addr_t to = FREE;

  return vmm_move(w->space, AT + PAGE, 4 * PAGE, &to, 0);
}

static int discard_some(struct world *w)
{
  return vmm_discard(w->space, AT, 6 * PAGE);
}

static int wire_all(struct world *w)
{
  return vmm_wire(w->space, AT, 2 * PAGES * PAGE);
}

static int clear_bits(struct world *w)
{
  return vmm_pages(w->space, AT, 2 * PAGES * PAGE,
                   VMM_PTE_ACCESSED | VMM_PTE_MODIFIED, NULL);
}

static int copy_out(struct world *w)
{
  static char bytes[PAGES * PAGE];

  return vmm_copyout(w->space, AT, bytes, sizeof(bytes), NULL);
}

static int touch(struct world *w)
{
  char *base = vmm_space_base(w->space);

  for (unsigned i = 0; i < 2 * PAGES; i++)
    vmm_try_store_u8(base + AT + i * PAGE, 9, fault);
  return 0;
fault:
  return -ENOMEM;
}

static int pin_all(struct world *w)
{
  struct vmm_iovec iov[2 * PAGES];
  size_t niov = 2 * PAGES;

  return vmm_pin(w->space, AT, 2 * PAGES * PAGE, VMM_WRITE, iov, &niov,
                 &w->made_pin);
}

static int track_space(struct world *w)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_WRITE };

  return vmm_tracker_create(&w->made_tracker, w->space, AT, PAGES * PAGE,
                            &options);
}

static int track_object(struct world *w)
{
  struct vmm_tracker_options options = { .kind = VMM_TRACK_ACCESS };

  return vmm_tracker_create_object(&w->made_tracker, w->object, 0, PAGES * PAGE,
                                   &options);
}

static int attach_thread(struct world *w)
{
  int error = vmm_thread_attach();

  (void)w;
  if (error == 0)
    vmm_thread_detach();
  return error;
}

static const struct operation operations[] = {
  { "space create", create_space },   { "space fork", fork_space },
  { "object create", create_object }, { "object export", export_object },
  { "object from fd", open_object },  { "map", map_memory },
  { "map over", map_over },           { "map wired", map_wired },
  { "unmap", unmap_middle },          { "protect", protect_middle },
  { "move", move_middle },            { "discard", discard_some },
  { "wire", wire_all },               { "clear bits", clear_bits },
  { "copyout", copy_out },            { "touch", touch },
  { "pin", pin_all },                 { "track space", track_space },
  { "track object", track_object },   { "attach", attach_thread },
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

START_TEST(a_host_call_that_fails_once_is_survived)
{
  fail_each(&operations[_i], 1);
}
END_TEST

START_TEST(a_host_call_that_fails_from_then_on_is_survived)
{
  fail_each(&operations[_i], UINT64_MAX);
}
END_TEST

START_TEST(what_is_not_a_call_cannot_fail)
{
  ck_assert_error(vmm_test_fail(VMM_TEST_CALLS, 1, 1), EINVAL);
  ck_assert_uint_eq(vmm_test_count(VMM_TEST_CALLS), 0);
}
END_TEST

Suite *vmm_suite_inject(void);

Suite *vmm_suite_inject(void)
{
  Suite *suite = suite_create("inject");
  TCase *tcase = tcase_create("inject");

  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, a_host_call_that_fails_once_is_survived, 0,
                      OPERATIONS);
  tcase_add_loop_test(tcase, a_host_call_that_fails_from_then_on_is_survived, 0,
                      OPERATIONS);
  tcase_add_test(tcase, what_is_not_a_call_cannot_fail);
  suite_add_tcase(suite, tcase);
  return suite;
}
