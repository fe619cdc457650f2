/*
 * Tags of harts: S4.6, S4.8, and what becomes of windows when tags run out.
 */
#include <pthread.h>

#include "hart.h"
#include "probe.h"

#define AT 0x200000

static struct vmm_space *numbered_space(int n)
{
  struct vmm_space *space = hart_space(1, RW);

  ck_assert_ok(vmm_fill(space, AT, n, 1, NULL));
  return space;
}

/* S4.6 */
START_TEST(spaces_beyond_the_tags_never_show_each_other)
{
  unsigned bits = (unsigned)_i, tags = 1u << bits, n = 3 * tags;
  static struct vmm_space *spaces[3 * 256];
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, bits);
  struct vmm_hart_stats stats;

  for (unsigned i = 0; i < n; i++)
    spaces[i] = numbered_space((int)i % 251);
  for (unsigned i = 0; i < 2 * n; i++) {
    char *base = hart_turn(hart, spaces[i % n]);

    ck_assert_int_eq(hart_get(base, AT), (int)(i % n) % 251);
    stats = hart_stats(hart);
    ck_assert_uint_eq(stats.context, tags + i);
    ck_assert_uint_eq(stats.generation, 1 + i / tags);
  }
  ck_assert_uint_eq(stats.live, 0);
  ck_assert_uint_eq(stats.tags, 2 * n);
  ck_assert_uint_eq(stats.rollovers, 2 * n / tags - 1);
  ck_assert_uint_eq(stats.flushes, stats.rollovers);
  ck_assert_uint_eq(stats.flushed, stats.rollovers * tags);
  hart_end(hart);
  for (unsigned i = 0; i < n; i++)
    vmm_test_end(spaces[i]);
}
END_TEST

START_TEST(as_many_spaces_as_tags_are_never_flushed)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 3);
  struct vmm_space *spaces[8];
  char *bases[8];

  for (int i = 0; i < 8; i++) {
    spaces[i] = numbered_space(i);
    bases[i] = hart_turn(hart, spaces[i]);
    ck_assert_int_eq(hart_get(bases[i], AT), i);
  }
  for (int i = 0; i < 80; i++) {
    ck_assert_ptr_eq(hart_turn(hart, spaces[i % 8]), bases[i % 8]);
    step(spaces[i % 8], 0, 0, hart_get(bases[i % 8], AT));
  }
  ck_assert_uint_eq(hart_stats(hart).live, 80);
  ck_assert_uint_eq(hart_stats(hart).rollovers, 0);
  hart_end(hart);
  for (int i = 0; i < 8; i++)
    vmm_test_end(spaces[i]);
}
END_TEST

START_TEST(an_idle_switch_to_the_same_space_keeps_its_tag)
{
  struct vmm_space *space = numbered_space(1);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  char *base = hart_turn(hart, space);
  uint64_t context = hart_stats(hart).context;

  hart_get(base, AT);
  ck_assert_ptr_eq(hart_turn(hart, space), base);
  ck_assert_ok(vmm_hart_set_space(hart, NULL, NULL));
  ck_assert_uint_eq(hart_stats(hart).context, 0);
  ck_assert_ptr_eq(hart_turn(hart, space), base);
  ck_assert_uint_eq(hart_stats(hart).context, context);
  step(space, 0, 0, hart_get(base, AT));
  hart_end(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_flush_empties_all_windows_and_keeps_the_tags)
{
  struct vmm_space *one = numbered_space(1), *two = numbered_space(2);
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  char *first = hart_turn(hart, one);
  char *second = hart_turn(hart, two);

  hart_get(first, AT); /* a live tag's window works though another is run */
  hart_get(second, AT);
  ck_assert_ok(vmm_hart_flush(hart));
  ck_assert_uint_eq(hart_stats(hart).flushed, 2);
  step(one, 1, 0, ck_assert_int_eq(hart_get(first, AT), 1));
  step(two, 1, 0, ck_assert_int_eq(hart_get(second, AT), 2));
  ck_assert_ptr_eq(hart_turn(hart, one), first);
  ck_assert_uint_eq(hart_stats(hart).tags, 2);
  hart_end(hart);
  vmm_test_end(one);
  vmm_test_end(two);
}
END_TEST

START_TEST(windows_grow_with_the_spaces)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  struct vmm_space *spaces[4];
  unsigned round, i;

  for (i = 0; i < 4; i++) {
    struct vmm_space_options options = { .size = (uint64_t)1 << (24 + 2 * i),
                                         .guard_below = i << 16,
                                         .guard_above = i << 20,
                                         .base_align = (uint64_t)1 << (21 + i) };

    ck_assert_ok(vmm_space_create(&spaces[i], &options));
    ck_assert_ok(vmm_map_anon(spaces[i], options.size - 0x1000, 0x1000, RW));
  }
  for (round = 0; round < 3; round++)
    for (i = 0; i < 4; i++) {
      uint64_t size = vmm_space_size(spaces[i]);
      char *base = hart_turn(hart, spaces[i]);

      ck_assert_uint_eq((uintptr_t)base % ((uintptr_t)1 << (21 + i)), 0);
      hart_set(base, size - 1, (int)(round + i));
      ck_assert_int_eq(vmm_test_get(spaces[i], size - 1), (int)(round + i));
      ck_assert_ok(vmm_check(spaces[i], 0, 0));
    }
  hart_end(hart);
  for (i = 0; i < 4; i++)
    vmm_test_end(spaces[i]);
}
END_TEST

/* ---- S4.8 ---- */

static struct {
  struct vmm_space *space;
  pthread_barrier_t turn;
} shared;

static void *run_shared(void *arg)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  char *base = hart_turn(hart, shared.space);

  (void)arg;
  ck_assert_int_eq(hart_get(base, AT), 9);
  pthread_barrier_wait(&shared.turn); /* A rolls over */
  pthread_barrier_wait(&shared.turn);
  ck_assert_int_eq(hart_get(base, AT), 9);
  ck_assert_uint_eq(hart_stats(hart).rollovers, 0);
  ck_assert_ok(vmm_protect(shared.space, AT,
                           vmm_space_page_size(shared.space), 0));
  ck_assert_int_eq(hart_try_get(base, AT), -EFAULT);
  pthread_barrier_wait(&shared.turn); /* A looks */
  hart_end(hart);
  return NULL;
}

/* S4.8 */
START_TEST(a_flush_takes_effect_after_another_hart_s_rollover)
{
  struct vmm_hart *hart = hart_begin(VMM_HART_WINDOWS, 1);
  struct vmm_space *others[3];
  pthread_t thread;
  char *base;

  shared.space = numbered_space(9);
  pthread_barrier_init(&shared.turn, NULL, 2);
  ck_assert_int_eq(hart_get(hart_turn(hart, shared.space), AT), 9);
  ck_assert_int_eq(pthread_create(&thread, NULL, run_shared, NULL), 0);
  pthread_barrier_wait(&shared.turn);
  for (int i = 0; i < 3; i++) {
    others[i] = numbered_space(i);
    ck_assert_int_eq(hart_get(hart_turn(hart, others[i]), AT), i);
  }
  base = hart_turn(hart, shared.space);
  ck_assert_int_eq(hart_get(base, AT), 9);
  ck_assert_uint_eq(hart_stats(hart).rollovers, 2);
  pthread_barrier_wait(&shared.turn);
  pthread_barrier_wait(&shared.turn);
  ck_assert_int_eq(hart_try_get(base, AT), -EFAULT); /* it reached A as well */
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  hart_end(hart);
  vmm_test_end(shared.space);
  for (int i = 0; i < 3; i++)
    vmm_test_end(others[i]);
}
END_TEST

Suite *vmm_suite_hart_tags(void);

Suite *vmm_suite_hart_tags(void)
{
  Suite *suite = suite_create("hart_tags");
  TCase *tcase = tcase_create("hart_tags");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, spaces_beyond_the_tags_never_show_each_other, 1, 9);
  tcase_add_test(tcase, as_many_spaces_as_tags_are_never_flushed);
  tcase_add_test(tcase, an_idle_switch_to_the_same_space_keeps_its_tag);
  tcase_add_test(tcase, a_flush_empties_all_windows_and_keeps_the_tags);
  tcase_add_test(tcase, windows_grow_with_the_spaces);
  tcase_add_test(tcase, a_flush_takes_effect_after_another_hart_s_rollover);
  suite_add_tcase(suite, tcase);
  return suite;
}
