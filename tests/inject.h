/*
 * What the suites of failing host calls share: a world that operations work on,
 * and how one is tried with each call of the host failing, the Nth for N = 1,
 * 2, ... until it passes: a documented error, every rule kept, no descriptor
 * and no mapping left over, and the same operation fine when the host is well
 * again.
 */
#ifndef VMM_TESTS_INJECT_H
#define VMM_TESTS_INJECT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"

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
  struct vmm_snapshot *made_snapshot;
  struct vmm_hart *made_hart;
  struct vmm_object *made_pager;
};

static inline void begin(struct world *world)
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

static inline void end(struct world *world)
{
  if (world->made_hart != NULL) {
    ck_assert_ok(vmm_hart_set_space(world->made_hart, NULL, NULL));
    ck_assert_ok(vmm_hart_destroy(world->made_hart));
  }
  vmm_unpin(world->made_pin);
  vmm_snapshot_drop(world->made_snapshot);
  vmm_tracker_destroy(world->made_tracker);
  if (world->made_space != NULL)
    vmm_test_end(world->made_space);
  vmm_object_release(world->made_object);
  vmm_object_release(world->object);
  vmm_test_end(world->space);
  if (world->made_pager != NULL)
    ck_assert_ok(vmm_pager_destroy(world->made_pager));
  close(world->fd);
}

struct operation {
  const char *name;
  int (*run)(struct world *world);
};

/* ---- the proof ---- */

/* => megabytes of address space, and how many mappings they are */
static inline unsigned address_space(unsigned *mappings)
{
  FILE *file = fopen("/proc/self/maps", "r");
  unsigned long start, end, pages = 0;

  ck_assert_ptr_nonnull(file);
  for (*mappings = 0; fscanf(file, "%lx-%lx%*[^\n]", &start, &end) == 2;
       ++*mappings)
    pages += (end - start) >> 20;
  fclose(file);
  return (unsigned)pages;
}

static inline void try_each(const struct operation *operation, unsigned call,
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
                      error == -ENOSPC || error == -EAGAIN || error == -EIO,
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

/* A sanitizer's malloc maps as it likes. */
#ifdef __SANITIZE_ADDRESS__
#define MAPPINGS_MORE 1000u
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define MAPPINGS_MORE 1000u
#endif
#endif
#ifndef MAPPINGS_MORE
#define MAPPINGS_MORE 40u
#endif

/* Of mappings little may come: memory of the library's own and of threads,
 * which stay for the next; a window that is lost is 4096 megabytes. */
static inline void fail_one(const struct operation *operation, unsigned call,
                            uint64_t count)
{
  unsigned before, after;
  unsigned nbytes = address_space(&before);

  try_each(operation, call, count);
  ck_assert_uint_lt(address_space(&after), nbytes + 2048);
  ck_assert_uint_le(after, before + MAPPINGS_MORE);
}

/* Each of the host's calls fails so often in a row.  What is made once a
 * process does not count. */
static inline void fail_each(const struct operation *operation, uint64_t count)
{
  struct world world;

  begin(&world);
  end(&world);
  for (unsigned call = 0; call < VMM_TEST_CALLS; call++)
    fail_one(operation, call, count);
}

#endif
