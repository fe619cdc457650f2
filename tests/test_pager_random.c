/*
 * Pagers with few frames under random operations, against a flat array; and
 * under several threads.  VMM_SEED chooses the seed, which is printed.
 */
#include <pthread.h>
#include <stdbool.h>

#include "probe.h"
#include "store.h"

#define PAGE 4096u
#define SHARED 0x400000u  /* where each space maps the store, */
#define MIRROR 0x800000u  /* ... once more, */
#define PRIVATE 0xc00000u /* ... and a copy of it */
#define NBYTES (STORE_PAGES * PAGE)
#define OPERATIONS 6000u
enum { SPACES = 2, THREADS = 4, STEPS = 2500 };

static const uint32_t ways[] = { 0, VMM_PAGER_INLINE };

static struct {
  struct store store;
  struct vmm_space *space[SPACES];
  uint8_t shared[STORE_PAGES];
  int copied[SPACES][STORE_PAGES]; /* -1: shows what the store holds */
  struct vmm_pin *pin;
  uint64_t random;
  atomic_bool stop;
} world;

static unsigned choose(unsigned n)
{
  return (unsigned)(probe_random(&world.random) >> 33) % n;
}

static void set_up(uint32_t flags, uint64_t max_frames, const char *who)
{
  world.random = probe_seed(who);
  store_open(&world.store, flags, max_frames);
  for (int i = 0; i < SPACES; i++) {
    world.space[i] = vmm_test_space(1 << 26, 0);
    store_map(&world.store, world.space[i], SHARED, RW, 0);
    store_map(&world.store, world.space[i], MIRROR, RW, 0);
    store_map(&world.store, world.space[i], PRIVATE, RW, VMM_PRIVATE);
  }
  for (unsigned p = 0; p < STORE_PAGES; p++) {
    world.shared[p] = (uint8_t)(p + 1);
    for (int i = 0; i < SPACES; i++)
      world.copied[i][p] = -1;
  }
}

static void tear_down(void)
{
  for (int i = 0; i < SPACES; i++)
    vmm_test_end(world.space[i]);
  store_close(&world.store);
}

/* ---- one thread, against the array ---- */

static vmm_addr_t place_of(unsigned p)
{
  return (choose(2) ? SHARED : MIRROR) + p * PAGE + choose(PAGE);
}

/* => the byte at va, by one way or another */
static uint8_t get(struct vmm_space *space, vmm_addr_t va)
{
  uint8_t byte = 0;

  if (choose(2))
    return vmm_test_get(space, va);
  ck_assert_ok(vmm_copyin(space, &byte, va, 1, NULL));
  return byte;
}

/* Makes all bytes of the page this one. */
static void fill_page(struct vmm_space *space, vmm_addr_t va, uint8_t byte)
{
  va &= ~(vmm_addr_t)(PAGE - 1);
  if (choose(2))
    memset(vmm_space_base(space) + va, byte, PAGE);
  else
    ck_assert_ok(vmm_fill(space, va, byte, PAGE, NULL));
}

static void operate_on_pages(int i, unsigned p)
{
  struct vmm_space *space = world.space[i];
  int copied = world.copied[i][p];

  switch (choose(4)) {
  case 0:
    ck_assert_uint_eq(get(space, place_of(p)), world.shared[p]);
    break;
  case 1:
    world.shared[p] = (uint8_t)choose(256);
    fill_page(space, place_of(p), world.shared[p]);
    break;
  case 2:
    ck_assert_uint_eq(get(space, PRIVATE + p * PAGE + choose(PAGE)),
                      copied < 0 ? world.shared[p] : copied);
    break;
  default:
    world.copied[i][p] = (int)choose(256);
    fill_page(space, PRIVATE + p * PAGE, (uint8_t)world.copied[i][p]);
  }
}

static void pin_or_unpin(struct vmm_space *space, unsigned p)
{
  struct vmm_iovec iov;
  size_t niov = 1;

  vmm_unpin(world.pin);
  world.pin = NULL;
  if (choose(2))
    return;
  ck_assert_ok(vmm_pin(space, SHARED + p * PAGE, PAGE, VMM_WRITE, &iov, &niov,
                       &world.pin));
  world.shared[p] = (uint8_t)choose(256);
  memset(iov.base, world.shared[p], PAGE);
}

/* The fork sees what the space saw, and goes. */
static void fork_and_look(int i, unsigned p)
{
  int copied = world.copied[i][p];
  struct vmm_space *child;

  ck_assert_ok(vmm_space_fork(&child, world.space[i]));
  fill_page(child, PRIVATE + (p ^ 1) * PAGE, 1);
  ck_assert_uint_eq(get(child, PRIVATE + p * PAGE),
                    copied < 0 ? world.shared[p] : copied);
  vmm_test_end(child);
}

static void discard_copies(int i, unsigned p)
{
  unsigned n = 1 + choose(STORE_PAGES - p);

  ck_assert_ok(vmm_discard(world.space[i], PRIVATE + p * PAGE, n * PAGE));
  for (unsigned k = p; k < p + n; k++)
    world.copied[i][k] = -1;
}

static void map_again(int i)
{
  vmm_addr_t to = SHARED + 0x1000000;

  ck_assert_ok(vmm_move(world.space[i], SHARED, NBYTES, &to, 0));
  ck_assert_ok(vmm_unmap(world.space[i], to, NBYTES));
  store_map(&world.store, world.space[i], SHARED, RW, 0);
}

static void operate(void)
{
  struct store *store = &world.store;
  int i = (int)choose(SPACES);
  unsigned p = choose(STORE_PAGES);
  uint64_t offset = p * (uint64_t)PAGE;
  uint64_t nbytes = (1 + choose(STORE_PAGES - p)) * (uint64_t)PAGE;
  int result;

  switch (choose(40)) {
  case 0:
    ck_assert_ok(vmm_object_flush(store->object, offset, nbytes));
    break;
  case 1:
    result = vmm_object_evict(store->object, offset, nbytes);
    ck_assert(result == 0 || (result == -EBUSY && world.pin != NULL));
    break;
  case 2:
    store->write_error = -ENOSPC;
    result = vmm_object_flush(store->object, offset, nbytes);
    ck_assert(result == 0 || result == -ENOSPC);
    store->write_error = 0;
    break;
  case 3:
    pin_or_unpin(world.space[i], p);
    break;
  case 4:
    if (choose(10) == 0)
      fork_and_look(i, p);
    break;
  case 5:
    discard_copies(i, p);
    break;
  case 6:
    if (choose(4) == 0)
      map_again(i);
    break;
  case 7:
    ck_assert_ok(vmm_pages(world.space[i], SHARED, NBYTES,
                           VMM_PTE_ACCESSED | VMM_PTE_MODIFIED, NULL));
    break;
  default:
    operate_on_pages(i, p);
  }
}

START_TEST(random_operations_agree_with_a_flat_array)
{
  set_up(ways[_i & 1], _i < 2 ? 3 : 20, "pager_random");
  for (unsigned n = 0; n < OPERATIONS; n++) {
    operate();
    if (n % 512 == 0)
      ck_assert_ok(vmm_check(world.space[n / 512 % SPACES], 0, 0));
  }
  vmm_unpin(world.pin);
  ck_assert_ok(vmm_object_flush(world.store.object, 0, NBYTES));
  for (unsigned p = 0; p < STORE_PAGES; p++) {
    ck_assert_uint_eq(world.store.bytes[p * PAGE], world.shared[p]);
    ck_assert_uint_eq(world.store.bytes[p * PAGE + PAGE - 1], world.shared[p]);
  }
  tear_down();
}
END_TEST

/* ---- threads ---- */

static atomic_uint running;

/* Each thread has a counter of its own in each page, and knows what it is. */
static void *count_up(void *arg)
{
  uintptr_t self = (uintptr_t)arg;
  uint64_t random = world.random + 0x9e3779b97f4a7c15 * (self + 1);
  struct vmm_space *space = world.space[self % SPACES];
  uint64_t count[STORE_PAGES] = { 0 };

  for (unsigned n = 0; n < STEPS; n++) {
    unsigned p = (unsigned)(probe_random(&random) >> 33) % STORE_PAGES;
    vmm_addr_t va = (n % 2 ? SHARED : MIRROR) + p * PAGE + self * 8;
    uint64_t value = 0;

    if (n % 7 == 0)
      ck_assert_ok(vmm_copyin(space, &value, va, sizeof(value), NULL));
    else
      value = *(volatile uint64_t *)(vmm_space_base(space) + va);
    ck_assert_uint_eq(value, count[p]);
    value = ++count[p];
    if (n % 11 == 0)
      ck_assert_ok(vmm_copyout(space, va, &value, sizeof(value), NULL));
    else
      *(volatile uint64_t *)(vmm_space_base(space) + va) = value;
  }
  for (unsigned p = 0; p < STORE_PAGES; p++) {
    uint64_t value = 0;

    ck_assert_ok(vmm_copyin(space, &value, SHARED + p * PAGE + self * 8,
                            sizeof(value), NULL));
    ck_assert_uint_eq(value, count[p]);
  }
  running--;
  return NULL;
}

START_TEST(threads_lose_no_write_to_evictions)
{
  pthread_t threads[THREADS];

  set_up(ways[_i & 1], 5, "pager_threads");
  memset(world.store.bytes, 0, NBYTES);
  running = THREADS;
  for (uintptr_t i = 0; i < THREADS; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, (void *)i), 0);
  while (running != 0) {
    ck_assert_ok(vmm_object_flush(world.store.object, 0, NBYTES));
    ck_assert_ok(vmm_object_evict(world.store.object, choose(8) * 8 * PAGE,
                                  8 * PAGE));
  }
  for (int i = 0; i < THREADS; i++)
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
  tear_down();
}
END_TEST

Suite *vmm_suite_pager_random(void);

Suite *vmm_suite_pager_random(void)
{
  Suite *suite = suite_create("pager_random");
  TCase *tcase = tcase_create("pager_random");

  tcase_add_loop_test(tcase, random_operations_agree_with_a_flat_array, 0, 4);
  tcase_add_loop_test(tcase, threads_lose_no_write_to_evictions, 0, 2);
  suite_add_tcase(suite, tcase);
  return suite;
}
