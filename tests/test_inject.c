/*
 * Every operation with every host call failing, the Nth for N = 1, 2, ... until it
 * passes, once and from then on: a documented error, every rule kept, nothing lost,
 * no descriptor left, and the same operation fine when the host is well again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm_test.h"

#define PAGE 4096u
#define AT 0x40000000u
#define PAGES 16u
#define FREE 0x50000000u

/* What an operation works on. */
struct world {
  struct vmm_space *space;
  struct vmm_object *object;
  int fd;
  /* what it made, to be ended */
  struct vmm_space *made_space;
  struct vmm_object *made_object;
  struct vmm_tracker *made_tracker;
  struct vmm_pin *made_pin;
};

static void begin(struct world *world)
{
  struct vmm_map_options options = { .rights = VMM_READ | VMM_WRITE };
  vmm_addr_t va = AT + PAGES * PAGE;

  memset(world, 0, sizeof(*world));
  world->space = vmm_test_space(1ull << 32, VMM_EXACT);
  ck_assert_ok(vmm_map_anon(world->space, AT, PAGES * PAGE,
                            VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_object_create(&world->object, PAGES * PAGE, NULL));
  options.object = world->object;
  ck_assert_ok(vmm_map(world->space, &va, PAGES * PAGE, &options));
  for (unsigned i = 0; i < 2 * PAGES; i += 2)
    vmm_test_set(world->space, AT + i * PAGE, (uint8_t)(i + 1));
  world->fd = memfd_create("test", 0);
  ck_assert_int_eq(ftruncate(world->fd, PAGE), 0);
}

static void end(struct world *world)
{
  vmm_unpin(world->made_pin);
  vmm_tracker_destroy(world->made_tracker);
  if (world->made_space != NULL)
    vmm_test_end(world->made_space);
  vmm_object_release(world->made_object);
  vmm_object_release(world->object);
  vmm_test_end(world->space);
  close(world->fd);
}

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

static const struct operation {
  const char *name;
  int (*run)(struct world *world);
} operations[] = {
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

/* ---- the proof ---- */

static unsigned open_descriptors(void)
{
  DIR *dir = opendir("/proc/self/fd");
  unsigned n = 0;

  ck_assert_ptr_nonnull(dir);
  while (readdir(dir) != NULL)
    n++;
  closedir(dir);
  return n;
}

static void fail_one(const struct operation *operation, unsigned call,
                     uint64_t count)
{
  for (uint64_t nth = 1;; nth++) {
    unsigned descriptors = open_descriptors();
    struct world world;
    uint64_t before;
    bool reached;
    int error;

    begin(&world);
    before = vmm_test_count(call);
    vmm_test_fail(call, nth, count);
    error = operation->run(&world);
    vmm_test_fail(call, 0, 0);
    reached = vmm_test_count(call) - before >= nth;
    ck_assert_msg(error == 0 || error == -ENOMEM || error == -EMFILE ||
                      error == -ENOSPC,
                  "%s, call %u, number %u: %d", operation->name, call,
                  (unsigned)nth, error);
    ck_assert_msg(error == 0 || reached, "%s fails by itself", operation->name);
    ck_assert_ok(vmm_check(world.space, 0, 0));
    if (error != 0) /* the host is well again */
      ck_assert_msg(operation->run(&world) == 0, "%s, call %u, number %u: %s",
                    operation->name, call, (unsigned)nth, vmm_error_text());
    end(&world);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    if (!reached)
      return;
    ck_assert_uint_lt(nth, 1000);
  }
}

/* What is made once a process does not count. */
static void warm_up(void)
{
  struct world world;

  begin(&world);
  end(&world);
}

START_TEST(a_host_call_that_fails_once_is_survived)
{
  warm_up();
  for (unsigned call = 0; call < VMM_TEST_CALLS; call++)
    fail_one(&operations[_i], call, 1);
}
END_TEST

START_TEST(a_host_call_that_fails_from_then_on_is_survived)
{
  warm_up();
  for (unsigned call = 0; call < VMM_TEST_CALLS; call++)
    fail_one(&operations[_i], call, UINT64_MAX);
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
