/*
 * Random operations on a space with snapshots, against arrays: what each page
 * holds and may do, now and at each snapshot.  VMM_TEST_SEED chooses the seed,
 * which is printed.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vmm_test.h"

#define PAGE 4096u
#define PAGES 1100u /* three leaves */
#define AT (0x40000000u - 100 * PAGE)
#define RW (VMM_READ | VMM_WRITE)
#define OPERATIONS 20000u
enum { SLOTS = 6 };

/* A state of the space: rights, or -1 where nothing is mapped, and a value that
 * the whole page holds. */
struct state {
  int8_t rights[PAGES];
  uint16_t value[PAGES];
};

static struct {
  struct vmm_space *space;
  struct state now;
  struct vmm_snapshot *snapshot[SLOTS];
  struct state then[SLOTS];
  struct vmm_pin *pin;
  unsigned pinned, pinned_count; /* pages that may not go meanwhile */
  struct vmm_space *child;
  struct state childs;
  uint64_t random;
} world;

static unsigned choose(unsigned n)
{
  world.random = world.random * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(world.random >> 33) % n;
}

static vmm_addr_t va_of(unsigned page)
{
  return AT + (vmm_addr_t)page * PAGE;
}

static bool all_mapped(unsigned page, unsigned n)
{
  for (unsigned i = page; i < page + n; i++)
    if (world.now.rights[i] < 0)
      return false;
  return true;
}

static bool none_mapped(unsigned page, unsigned n)
{
  for (unsigned i = page; i < page + n; i++)
    if (world.now.rights[i] >= 0)
      return false;
  return true;
}

/* => whether a pin holds some of it, whose bytes would no longer be the
 *    guest's */
static bool is_pinned(unsigned page, unsigned n)
{
  return world.pin != NULL && page < world.pinned + world.pinned_count &&
         world.pinned < page + n;
}

/* ---- the operations ---- */

static void write_some(unsigned page, unsigned n)
{
  uint16_t value = (uint16_t)(1 + choose(60000));
  uint64_t words[PAGE / 8];

  for (unsigned i = 0; i < PAGE / 8; i++)
    words[i] = value;
  for (unsigned i = page; i < page + n; i++) {
    int error = vmm_copyout(world.space, va_of(i), words, PAGE, NULL);

    if (world.now.rights[i] != RW) {
      ck_assert_error(error, EFAULT);
      continue;
    }
    ck_assert_ok(error);
    if (choose(2)) /* once more, by the window */
      *(volatile uint64_t *)(vmm_space_base(world.space) + va_of(i)) = value;
    world.now.value[i] = value;
  }
}

static void map_some(unsigned page, unsigned n)
{
  if (is_pinned(page, n))
    return;
  ck_assert_ok(vmm_map_anon(world.space, va_of(page), n * PAGE,
                            RW | VMM_REPLACE));
  for (unsigned i = page; i < page + n; i++) {
    world.now.rights[i] = RW;
    world.now.value[i] = 0;
  }
}

static void unmap_some(unsigned page, unsigned n)
{
  if (is_pinned(page, n))
    return;
  ck_assert_ok(vmm_unmap(world.space, va_of(page), n * PAGE));
  for (unsigned i = page; i < page + n; i++) {
    world.now.rights[i] = -1;
    world.now.value[i] = 0;
  }
}

static void discard_some(unsigned page, unsigned n)
{
  if (is_pinned(page, n) || !all_mapped(page, n))
    return;
  ck_assert_ok(vmm_discard(world.space, va_of(page), n * PAGE));
  for (unsigned i = page; i < page + n; i++)
    world.now.value[i] = 0;
}

static void protect_some(unsigned page, unsigned n)
{
  int8_t rights = choose(2) ? RW : VMM_READ;

  if (!all_mapped(page, n))
    return;
  ck_assert_ok(vmm_protect(world.space, va_of(page), n * PAGE,
                           (uint32_t)rights));
  for (unsigned i = page; i < page + n; i++)
    world.now.rights[i] = rights;
}

static void move_some(unsigned page, unsigned n)
{
  unsigned at = choose(PAGES - n);
  vmm_addr_t to = va_of(at);

  if (is_pinned(page, n) || is_pinned(at, n) || !all_mapped(page, n) ||
      (at < page + n && page < at + n))
    return;
  if (choose(2) && !none_mapped(at, n))
    return;
  ck_assert_ok(vmm_move(world.space, va_of(page), n * PAGE, &to, VMM_REPLACE));
  for (unsigned i = 0; i < n; i++) {
    world.now.rights[at + i] = world.now.rights[page + i];
    world.now.value[at + i] = world.now.value[page + i];
    world.now.rights[page + i] = -1;
    world.now.value[page + i] = 0;
  }
}

static void unpin(void)
{
  vmm_unpin(world.pin);
  world.pin = NULL;
}

static void pin_some(unsigned page, unsigned n)
{
  struct vmm_iovec iov[64];
  size_t niov = 64;
  uint16_t value = (uint16_t)(1 + choose(60000));

  if (world.pin != NULL) {
    unpin();
    return;
  }
  for (unsigned i = page; i < page + n; i++)
    if (world.now.rights[i] != RW)
      return;
  ck_assert_ok(vmm_pin(world.space, va_of(page), n * PAGE, VMM_WRITE, iov,
                       &niov, &world.pin));
  world.pinned = page;
  world.pinned_count = n;
  for (size_t k = 0; k < niov; k++)
    for (size_t i = 0; i < iov[k].nbytes; i += 8)
      *(uint64_t *)((char *)iov[k].base + i) = value;
  for (unsigned i = page; i < page + n; i++)
    world.now.value[i] = value;
}

static void take_or_drop(unsigned page, unsigned n)
{
  unsigned slot = choose(SLOTS);

  (void)page;
  (void)n;
  if (world.snapshot[slot] != NULL) {
    vmm_snapshot_drop(world.snapshot[slot]);
    world.snapshot[slot] = NULL;
    return;
  }
  ck_assert_ok(vmm_snapshot_take(&world.snapshot[slot], world.space));
  world.then[slot] = world.now;
}

static void restore_one(unsigned page, unsigned n)
{
  unsigned slot = choose(SLOTS);

  (void)page;
  (void)n;
  if (world.snapshot[slot] == NULL)
    return;
  for (unsigned i = 0; world.pin != NULL && i < world.pinned_count; i++)
    if (world.then[slot].rights[world.pinned + i] < 0) {
      unpin();
      break;
    }
  ck_assert_ok(vmm_snapshot_restore(world.space, world.snapshot[slot]));
  world.now = world.then[slot];
}

static void assert_page(struct vmm_space *space, const struct state *state,
                        unsigned page)
{
  uint64_t words[PAGE / 8];
  int error = vmm_copyin(space, words, va_of(page), PAGE, NULL);

  if (state->rights[page] < 0) {
    ck_assert_error(error, EFAULT);
    return;
  }
  ck_assert_ok(error);
  ck_assert_msg(words[0] == state->value[page] &&
                    words[PAGE / 8 - 1] == state->value[page],
                "page %u holds %u, not %u", page, (unsigned)words[0],
                state->value[page]);
}

static void fork_or_end(unsigned page, unsigned n)
{
  (void)page;
  (void)n;
  if (world.child == NULL) {
    ck_assert_ok(vmm_space_fork(&world.child, world.space));
    world.childs = world.now;
    return;
  }
  for (unsigned i = 0; i < PAGES; i++)
    assert_page(world.child, &world.childs, i);
  vmm_test_end(world.child);
  world.child = NULL;
}

static void read_some(unsigned page, unsigned n)
{
  for (unsigned i = page; i < page + n; i++)
    assert_page(world.space, &world.now, i);
}

/* ---- the run ---- */

static void step(void)
{
  static const struct {
    unsigned weight;
    void (*run)(unsigned page, unsigned n);
  } operations[] = {
    { 40, write_some }, { 10, read_some },  { 6, map_some },
    { 4, unmap_some },  { 6, discard_some }, { 6, protect_some },
    { 6, move_some },   { 6, pin_some },    { 4, take_or_drop },
    { 4, restore_one }, { 1, fork_or_end },
  };
  unsigned n = 1 + choose(choose(8) ? 6 : 60);
  unsigned page = choose(PAGES - n), which = choose(93), k = 0;

  while (which >= operations[k].weight)
    which -= operations[k++].weight;
  operations[k].run(page, n);
}

static void run_all(uint32_t flags)
{
  const char *given = getenv("VMM_TEST_SEED");
  uint64_t seed = given != NULL ? strtoull(given, NULL, 0)
                                : (uint64_t)time(NULL) + flags;

  printf("# snapshot_random: VMM_TEST_SEED=%llu\n", (unsigned long long)seed);
  fflush(stdout);
  world.random = seed;
  world.space = vmm_test_space(1ull << 32, flags);
  memset(world.now.rights, -1, sizeof(world.now.rights));
  map_some(0, PAGES);
  for (unsigned i = 0; i < OPERATIONS / 2; i++) {
    step();
    ck_assert_ok(vmm_check(world.space, 0, 0));
    if (i % 500 == 0)
      read_some(0, PAGES);
  }
  unpin();
  for (unsigned i = 0; i < SLOTS; i++) {
    if (world.snapshot[i] == NULL)
      continue;
    ck_assert_ok(vmm_snapshot_restore(world.space, world.snapshot[i]));
    world.now = world.then[i];
    read_some(0, PAGES);
    vmm_snapshot_drop(world.snapshot[i]);
  }
  if (world.child != NULL)
    vmm_test_end(world.child);
  vmm_test_end(world.space);
}

/* Half of the operations each. */
START_TEST(random_operations_agree_with_the_arrays)
{
  run_all(_i ? VMM_EXACT : 0);
}
END_TEST

Suite *vmm_suite_snapshot_random(void);

Suite *vmm_suite_snapshot_random(void)
{
  Suite *suite = suite_create("snapshot_random");
  TCase *tcase = tcase_create("snapshot_random");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, random_operations_agree_with_the_arrays, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
