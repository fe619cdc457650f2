/*
 * Views while other threads change the space: S3.5 and S3.11.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "hart.h"
#include "probe.h"

#define START 0x200000
#define PAGES 8

#if defined __SANITIZE_THREAD__
#define ROUNDS 20000
#define LIVES 20
#else
#define ROUNDS 1000000
#define LIVES 200
#endif

/*
 * What the table grants of a page, and how often that changed:
 *
 *   version << 3 | rights; an odd version: it is being changed
 */
static struct {
  struct vmm_space *space, *other;
  uint64_t page;
  _Atomic uint64_t state[PAGES];
  atomic_bool done;
} race;

static vmm_addr_t page_at(unsigned i)
{
  return START + i * race.page;
}

/* Maps, unmaps or protects one page; the last one is the supervisor's. */
static void change_page(uint64_t *random)
{
  static const uint32_t choices[] = { 0, VMM_READ, VMM_READ | VMM_WRITE };
  uint64_t choice = probe_random(random) >> 40;
  unsigned i = (unsigned)(choice % PAGES);
  uint32_t rights = choices[choice / PAGES % 3];
  uint32_t flags = i == PAGES - 1 ? VMM_SUPERVISOR : 0;
  uint64_t old = atomic_load(&race.state[i]);
  uint64_t changing = ((old >> 3) + 1) << 3;

  atomic_store(&race.state[i], changing | (old & 7));
  if (rights == 0 && (old & 7))
    ck_assert_ok(vmm_unmap(race.space, page_at(i), race.page));
  else if (rights != 0 && (old & 7))
    ck_assert_ok(vmm_protect(race.space, page_at(i), race.page, rights));
  else if (rights != 0)
    ck_assert_ok(vmm_map_anon(race.space, page_at(i), race.page, rights | flags));
  atomic_store(&race.state[i], (changing + (1 << 3)) | rights);
}

static void *change_pages(void *seed)
{
  uint64_t random = (uintptr_t)seed;

  while (!atomic_load(&race.done))
    change_page(&random);
  return NULL;
}

/* One access by a view, which must end as the table says, if that says one
 * thing from its beginning to its end. */
static void access_page(const struct vmm_views *views, uint64_t choice)
{
  unsigned i = (unsigned)(choice % PAGES);
  bool user = choice & 0x100, store = choice & 0x200;
  char *base = user ? views->user : views->supervisor;
  uint64_t before = atomic_load(&race.state[i]), after;
  uint32_t right = store ? VMM_WRITE : VMM_READ;
  bool granted = (before & right) && !(user && i == PAGES - 1);
  int result = store ? hart_try_set(base, page_at(i), 1)
                     : hart_try_get(base, page_at(i));

  after = atomic_load(&race.state[i]);
  if (before == after && !(before >> 3 & 1))
    ck_assert_msg((result >= 0) == granted,
                  "page %u, user %d, store %d: %d, the table grants %u", i, user,
                  store, result, (unsigned)(before & 7));
}

static struct vmm_hart *begin_views(void)
{
  struct vmm_hart_options options = {
    .flags = VMM_HART_WINDOWS | VMM_HART_VIEWS,
    .tag_bits = 2,
    .displacement = 1 << 20,
  };
  struct vmm_hart *hart;

  ck_assert_ok(vmm_hart_create(&hart, &options));
  return hart;
}

static void set_up(void)
{
  race.space = hart_space(0, 0);
  race.other = hart_space(1, VMM_READ);
  race.page = vmm_space_page_size(race.space);
  for (unsigned i = 0; i < PAGES; i++)
    atomic_store(&race.state[i], 0);
  atomic_store(&race.done, false);
}

/* S3.5 */
START_TEST(a_view_is_as_the_table_while_it_is_activated)
{
  struct vmm_hart *hart = (set_up(), begin_views());
  struct vmm_views *views = vmm_hart_views(hart);
  uint64_t random = 5;
  pthread_t thread;

  ck_assert_int_eq(pthread_create(&thread, NULL, change_pages, (void *)7), 0);
  for (unsigned i = 0; i < ROUNDS; i++) {
    uint64_t choice = probe_random(&random) >> 40;

    if (choice & 0x400)
      hart_turn(hart, choice & 0x800 ? race.other : NULL);
    hart_turn(hart, race.space);
    access_page(views, choice);
  }
  atomic_store(&race.done, true);
  pthread_join(thread, NULL);
  ck_assert_ok(vmm_check(race.space, 0, 0));
  hart_end(hart);
  vmm_test_end(race.other);
  vmm_test_end(race.space);
}
END_TEST

/* Harts come and go, with a stack now and then. */
static void *live_and_end(void *seed)
{
  uint64_t random = (uintptr_t)seed;
  vmm_addr_t top = START + (PAGES + 2) * race.page;

  for (unsigned life = 0; life < LIVES; life++) {
    struct vmm_hart *hart = begin_views();
    const struct vmm_views *views = vmm_hart_views(hart);

    hart_turn(hart, race.space);
    if (life % 2 == 0)
      ck_assert_ok(vmm_hart_set_stack(hart, top, race.page));
    for (unsigned i = 0; i < 20; i++)
      access_page(views, probe_random(&random) >> 40);
    hart_end(hart);
  }
  return NULL;
}

/* S3.11 */
START_TEST(a_hart_may_end_while_another_thread_changes_the_space)
{
  pthread_t threads[2], changer;

  set_up();
  ck_assert_ok(vmm_map_anon(race.space, START + PAGES * race.page,
                            2 * race.page,
                            VMM_READ | VMM_WRITE | VMM_SUPERVISOR));
  ck_assert_int_eq(pthread_create(&changer, NULL, change_pages, (void *)9), 0);
  for (uintptr_t i = 0; i < 2; i++)
    ck_assert_int_eq(
        pthread_create(&threads[i], NULL, live_and_end, (void *)(i + 1)), 0);
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  atomic_store(&race.done, true);
  pthread_join(changer, NULL);
  vmm_test_end(race.other);
  vmm_test_end(race.space);
}
END_TEST

Suite *vmm_suite_view_race(void)
{
  Suite *suite = suite_create("view_race");
  TCase *tcase = tcase_create("view_race");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, a_view_is_as_the_table_while_it_is_activated);
  tcase_add_test(tcase, a_hart_may_end_while_another_thread_changes_the_space);
  suite_add_tcase(suite, tcase);
  return suite;
}
