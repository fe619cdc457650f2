/*
 * Guest threads on harts: who runs which, what a hart's windows lose when it
 * turns to another (S0.15), their end (S0.8), many at once (S0.13).
 */
#include "trampolines.h"

#include <sys/wait.h>
#include <unistd.h>

/* ---- who runs which ---- */

START_TEST(a_hart_runs_its_own_thread_until_told_otherwise)
{
  struct vmm_space *space = space_with_trampoline();
  struct vmm_hart *hart = hart_on(space, 0, NULL);
  struct vmm_guest_thread *own = vmm_hart_thread(hart), *other = guest_thread();

  ck_assert_ptr_nonnull(own);
  ck_assert_ptr_ne(own, other);
  ck_assert_ok(vmm_hart_set_thread(hart, own));
  ck_assert_ok(vmm_hart_set_thread(hart, other));
  ck_assert_ptr_eq(vmm_hart_thread(hart), other);
  ck_assert_error(vmm_guest_thread_destroy(other), EBUSY);
  ck_assert_error(vmm_guest_thread_destroy(own), EBUSY);
  ck_assert_ok(vmm_hart_set_thread(hart, NULL));
  ck_assert_ptr_null(vmm_hart_thread(hart));
  ck_assert_ok(vmm_hart_set_thread(hart, NULL));
  ck_assert_ok(vmm_guest_thread_destroy(other));
  ck_assert_error(vmm_hart_set_thread(hart, other), EINVAL);
  ck_assert_error(vmm_guest_thread_destroy(own), EBUSY);
  ck_assert_ok(vmm_hart_set_thread(hart, own));
  end_hart(hart);
  ck_assert_error(vmm_guest_thread_destroy(own), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(wrong_calls_are_refused)
{
  struct vmm_guest_thread_options options = { .reserved[5] = 1 };
  struct vmm_guest_thread *thread = NULL;

  ck_assert_error(vmm_guest_thread_create(NULL, NULL), EINVAL);
  ck_assert_error(vmm_guest_thread_create(&thread, &options), EINVAL);
  options = (struct vmm_guest_thread_options){ .stack = 0x1001 };
  ck_assert_error(vmm_guest_thread_create(&thread, &options), EINVAL);
  options = (struct vmm_guest_thread_options){ .stack_nbytes = 12 };
  ck_assert_error(vmm_guest_thread_create(&thread, &options), EINVAL);
  options = (struct vmm_guest_thread_options){ .stack = 0x4000,
                                               .stack_nbytes = -0x3000ull };
  ck_assert_error(vmm_guest_thread_create(&thread, &options), EINVAL);
  ck_assert_ptr_null(thread);
  vmm_test_fail(VMM_TEST_MMAP, 1, 1000);
  ck_assert_error(vmm_guest_thread_create(&thread, NULL), ENOMEM);
  vmm_test_fail(VMM_TEST_MMAP, 0, 0);
  ck_assert_ptr_null(thread);
  ck_assert_ok(vmm_guest_thread_create(&thread, NULL));
  ck_assert_error(vmm_hart_set_thread(NULL, thread), EINVAL);
  ck_assert_ptr_null(vmm_hart_thread(NULL));
  ck_assert_ok(vmm_guest_thread_destroy(thread));
  ck_assert_error(vmm_guest_thread_destroy(thread), EINVAL);
  ck_assert_ok(vmm_guest_thread_destroy(NULL));
}
END_TEST

/* What another host thread is told. */
struct meddling {
  struct vmm_hart *hart;
  struct vmm_guest_thread *thread, *own;
  struct vmm_space *space;
};

static void *meddle(void *arg)
{
  struct meddling *meddling = arg;
  struct vmm_emulation emulation = emulation_of(&(uint64_t){ 9 });
  struct vmm_hart *mine = hart_on(meddling->space, 0, NULL);
  vmm_addr_t pc = TRAMPOLINE + 8;

  ck_assert_error(vmm_hart_set_thread(meddling->hart, NULL), EPERM);
  ck_assert_ptr_null(vmm_hart_thread(meddling->hart));
  ck_assert_error(vmm_hart_set_thread(mine, meddling->thread), EBUSY);
  ck_assert_error(vmm_hart_set_thread(mine, meddling->own), EBUSY);
  ck_assert_error(vmm_guest_thread_destroy(meddling->thread), EBUSY);
  ck_assert_error(vmm_trampoline_push(meddling->thread, &emulation, &pc), EPERM);
  ck_assert_error(vmm_trampoline_complete(meddling->thread, &pc), EPERM);
  ck_assert_error(vmm_trampoline_rollback(meddling->thread, &pc), EPERM);
  ck_assert_error(vmm_trampoline_depth(meddling->thread), EPERM);
  ck_assert_uint_eq(vmm_trampoline_origin(meddling->thread, pc), pc);
  end_hart(mine);
  return NULL;
}

START_TEST(what_another_hart_runs_is_left_alone)
{
  struct meddling meddling = { .space = space_with_trampoline() };
  pthread_t other;

  meddling.hart = hart_on(meddling.space, 0, NULL);
  meddling.own = vmm_hart_thread(meddling.hart);
  meddling.thread = guest_thread();
  ck_assert_ok(vmm_hart_set_thread(meddling.hart, meddling.thread));
  push_code(meddling.thread, 1);
  ck_assert_int_eq(pthread_create(&other, NULL, meddle, &meddling), 0);
  pthread_join(other, NULL);
  ck_assert_int_eq(vmm_trampoline_depth(meddling.thread), 1);
  ck_assert_ptr_eq(vmm_hart_thread(meddling.hart), meddling.thread);
  end_hart(meddling.hart);
  ck_assert_ok(vmm_guest_thread_destroy(meddling.thread));
  vmm_test_end(meddling.space);
}
END_TEST

/* ---- turning ---- */

/* The statement takes so many pages from windows, by so many calls of the
 * host. */
#define ck_assert_loses(space, pages, calls, statement)                        \
  do {                                                                         \
    struct vmm_stats loses_before = vmm_test_stats(space), loses_after;        \
    statement;                                                                 \
    loses_after = vmm_test_stats(space);                                       \
    ck_assert_uint_eq(loses_after.narrowed - loses_before.narrowed, (pages));  \
    ck_assert_uint_eq(loses_after.host_calls - loses_before.host_calls,        \
                      (calls));                                                \
    ck_assert_uint_eq(loses_after.flushes, loses_before.flushes);              \
  } while (0)

START_TEST(s0_15_turning_to_another_thread_takes_one_page)
{
  struct vmm_space *space = space_with_trampoline();
  char *base;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &base);
  struct vmm_guest_thread *a = guest_thread(), *b = guest_thread();
  vmm_addr_t pc_a = push_code(a, 0xa), pc_b = push_code(b, 0xb);

  ck_assert_ok(vmm_map_anon(space, 0x100000, 1 << 16, RW));
  memset(base + 0x100000, 1, 1 << 16);
  ck_assert_loses(space, 0, 0, ck_assert_ok(vmm_hart_set_thread(hart, a)));
  ck_assert_uint_eq(window_word(base, pc_a), 0xa);
  ck_assert_loses(space, 0, 0, ck_assert_ok(vmm_hart_set_thread(hart, a)));
  /* it sleeps, and comes back */
  ck_assert_loses(space, 0, 0, ck_assert_ok(vmm_hart_set_thread(hart, NULL)));
  ck_assert_loses(space, 0, 0, ck_assert_ok(vmm_hart_set_thread(hart, a)));
  step(space, 0, 0, ck_assert_uint_eq(window_word(base, pc_a), 0xa));
  /* another one */
  ck_assert_loses(space, 1, 1, ck_assert_ok(vmm_hart_set_thread(hart, b)));
  step(space, 1, 0, ck_assert_uint_eq(window_word(base, pc_b), 0xb));
  step(space, 0, 0, ck_assert_int_eq(base[0x100000 + 12345], 1));
  ck_assert_loses(space, 1, 1, ck_assert_ok(vmm_hart_set_thread(hart, a)));
  /* that touches nothing, and back */
  ck_assert_loses(space, 0, 0, ck_assert_ok(vmm_hart_set_thread(hart, b)));
  ck_assert_loses(space, 0, 0, ck_assert_ok(vmm_hart_set_thread(hart, a)));
  step(space, 1, 0, ck_assert_uint_eq(window_word(base, pc_a), 0xa));
  /* each in mid-frame all the while */
  pc_a += 8;
  ck_assert_ok(vmm_trampoline_complete(a, &pc_a));
  ck_assert_uint_eq(pc_a, TARGET);
  ck_assert_int_eq(vmm_trampoline_depth(b), 1);
  end_hart(hart);
  ck_assert_ok(vmm_guest_thread_destroy(a));
  ck_assert_ok(vmm_guest_thread_destroy(b));
  vmm_test_end(space);
}
END_TEST

/* A thread goes to another hart, pushes there, and comes back. */
struct visit {
  struct vmm_space *space;
  struct vmm_guest_thread *thread;
  vmm_addr_t pc;
};

static void *host_visit(void *arg)
{
  struct visit *visit = arg;
  char *base;
  struct vmm_hart *hart = hart_on(visit->space, VMM_HART_WINDOWS, &base);

  push_code(vmm_hart_thread(hart), 0xee);
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 0xee);
  ck_assert_loses(visit->space, 1, 1,
                  ck_assert_ok(vmm_hart_set_thread(hart, visit->thread)));
  ck_assert_uint_eq(window_word(base, visit->pc), 0xa);
  visit->pc = push_nested(visit->thread, 0xaa, visit->pc);
  ck_assert_uint_eq(window_word(base, visit->pc), 0xaa);
  end_hart(hart); /* which leaves the thread to the next */
  return NULL;
}

START_TEST(s0_15_a_thread_that_moves_keeps_its_page)
{
  struct visit visit = { .space = space_with_trampoline(),
                         .thread = guest_thread() };
  char *base;
  struct vmm_hart *hart = hart_on(visit.space, VMM_HART_WINDOWS, &base);
  pthread_t other;

  visit.pc = push_code(visit.thread, 0xa);
  ck_assert_ok(vmm_hart_set_thread(hart, visit.thread));
  ck_assert_uint_eq(window_word(base, visit.pc), 0xa);
  ck_assert_loses(visit.space, 0, 0,
                  ck_assert_ok(vmm_hart_set_thread(hart, NULL)));
  ck_assert_int_eq(pthread_create(&other, NULL, host_visit, &visit), 0);
  pthread_join(other, NULL);
  ck_assert_loses(visit.space, 0, 0,
                  ck_assert_ok(vmm_hart_set_thread(hart, visit.thread)));
  /* the page never left this hart's window */
  step(visit.space, 0, 0,
       ck_assert_uint_eq(window_word(base, visit.pc), 0xaa));
  ck_assert_int_eq(vmm_trampoline_depth(visit.thread), 2);
  end_hart(hart);
  ck_assert_ok(vmm_guest_thread_destroy(visit.thread));
  vmm_test_end(visit.space);
}
END_TEST

START_TEST(every_window_of_the_hart_loses_the_page)
{
  struct vmm_space *space[3];
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS, .tag_bits = 2 };
  struct vmm_guest_thread *a = guest_thread(), *b = guest_thread();
  struct vmm_hart *hart;
  char *base[3];

  ck_assert_ok(vmm_hart_create(&hart, &options));
  push_code(a, 0xa);
  push_code(b, 0xb);
  ck_assert_ok(vmm_hart_set_thread(hart, a));
  for (int i = 0; i < 3; i++) {
    space[i] = vmm_test_space(1 << 26, 0);
    ck_assert_ok(vmm_trampoline_map(space[i], TRAMPOLINE + 0x1000u * (unsigned)i));
    ck_assert_ok(vmm_hart_set_space(hart, space[i], &base[i]));
    ck_assert_uint_eq(window_word(base[i], TRAMPOLINE + 0x1000u * (unsigned)i),
                      0xa);
  }
  ck_assert_ok(vmm_hart_set_thread(hart, b));
  for (int i = 0; i < 3; i++) {
    ck_assert_ok(vmm_hart_set_space(hart, space[i], &base[i]));
    step(space[i], 1, 0,
         ck_assert_uint_eq(
             window_word(base[i], TRAMPOLINE + 0x1000u * (unsigned)i), 0xb));
  }
  end_hart(hart);
  for (int i = 0; i < 3; i++)
    vmm_test_end(space[i]);
  ck_assert_ok(vmm_guest_thread_destroy(a));
  ck_assert_ok(vmm_guest_thread_destroy(b));
}
END_TEST

/* ---- the end ---- */

START_TEST(s0_8_a_thread_that_ends_leaves_no_page_behind)
{
  struct vmm_space *space = space_with_trampoline();
  char *base;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &base);
  struct vmm_guest_thread *own = vmm_hart_thread(hart), *a;

  for (int i = 0; i < 100; i++) { /* the page goes round */
    a = guest_thread();
    ck_assert_ok(vmm_hart_set_thread(hart, a));
    ck_assert_uint_eq(window_word(base, TRAMPOLINE), 0);
    push_code(a, 0xa);
    push_nested(a, 0xb, TRAMPOLINE);
    ck_assert_uint_eq(window_word(base, TRAMPOLINE), 0xa);
    ck_assert_ok(vmm_hart_set_thread(hart, NULL));
    ck_assert_loses(space, 1, 1, ck_assert_ok(vmm_guest_thread_destroy(a)));
    check_denied(base, TRAMPOLINE, VMM_FAULT_NO_THREAD);
    ck_assert_ok(vmm_check(space, 0, 0));
  }
  ck_assert_ok(vmm_hart_set_thread(hart, own));
  ck_assert_int_eq(vmm_trampoline_depth(own), 0);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

static void *end_in_mid_frame(void *arg)
{
  struct visit *visit = arg;
  struct vmm_hart *hart = hart_on(visit->space, VMM_HART_WINDOWS, NULL);

  push_code(vmm_hart_thread(hart), 1);
  ck_assert_ok(vmm_hart_set_thread(hart, visit->thread));
  push_code(visit->thread, 2);
  return NULL; /* and with the host thread, the hart */
}

START_TEST(s0_8_a_hart_that_ends_leaves_the_thread_to_others)
{
  struct visit visit = { .space = space_with_trampoline(),
                         .thread = guest_thread() };
  pthread_t other;

  for (int i = 0; i < 10; i++) {
    ck_assert_int_eq(pthread_create(&other, NULL, end_in_mid_frame, &visit), 0);
    pthread_join(other, NULL);
    ck_assert_int_eq(vmm_trampoline_depth(visit.thread), 1);
  }
  ck_assert_ok(vmm_guest_thread_destroy(visit.thread));
  vmm_test_end(visit.space);
}
END_TEST

START_TEST(a_pinned_page_outlives_no_thread)
{
  struct vmm_space *space = space_with_trampoline();
  struct vmm_hart *hart = hart_on(space, 0, NULL);
  struct vmm_guest_thread *a = guest_thread();
  struct vmm_iovec iov;
  size_t niov = 1;
  struct vmm_pin *pin;

  push_code(a, 0xa);
  ck_assert_ok(vmm_hart_set_thread(hart, a));
  ck_assert_ok(vmm_pin(space, TRAMPOLINE, 8, VMM_READ, &iov, &niov, &pin));
  ck_assert_ok(vmm_hart_set_thread(hart, NULL));
  ck_assert_error(vmm_guest_thread_destroy(a), EBUSY);
  ck_assert_uint_eq(*(uint64_t *)iov.base, 0xa);
  vmm_unpin(pin);
  ck_assert_ok(vmm_guest_thread_destroy(a));
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

/* ---- many at once ---- */

enum { HARTS = 4, ROUNDS = 20000 };

static void *push_and_read(void *arg)
{
  struct runner *runner = arg;
  char *base;
  struct vmm_hart *hart = hart_on(runner->space, VMM_HART_WINDOWS, &base);
  struct vmm_guest_thread *own = vmm_hart_thread(hart);

  for (uint64_t i = 0; i < ROUNDS; i++) {
    uint64_t code = (uint64_t)runner->id << 32 | i;
    vmm_addr_t pc = push_code(own, code);

    runner->wrong += window_word(base, pc) != code;
    pc += 8;
    runner->wrong += vmm_trampoline_complete(own, &pc) != 0 || pc != TARGET;
  }
  end_hart(hart);
  return NULL;
}

START_TEST(s0_13_each_hart_sees_its_own_page)
{
  struct vmm_space *space = space_with_trampoline();

  run_on_harts(space, HARTS, push_and_read);
  vmm_test_end(space);
}
END_TEST

/* A stranger reads a hart's window while the hart turns from thread to
 * thread. */
struct stranger {
  char *base;
  _Atomic int stop;
};

static void *read_on(void *arg)
{
  struct stranger *stranger = arg;

  while (!stranger->stop) {
    uint64_t word;

    vmm_try_load_u64(word, stranger->base + TRAMPOLINE, denied);
    (void)word;
    continue;
  denied:;
  }
  return NULL;
}

START_TEST(s0_15_a_hart_that_turned_never_sees_the_other_page)
{
  struct vmm_space *space = space_with_trampoline();
  struct stranger stranger = { .stop = 0 };
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &stranger.base);
  struct vmm_guest_thread *a[3] = { guest_thread(), guest_thread(),
                                    guest_thread() };
  pthread_t thread;

  for (unsigned i = 0; i < 3; i++)
    push_code(a[i], i);
  ck_assert_ok(vmm_hart_set_thread(hart, a[0]));
  ck_assert_int_eq(pthread_create(&thread, NULL, read_on, &stranger), 0);
  for (unsigned i = 0; i < 3000; i++) {
    ck_assert_ok(vmm_hart_set_thread(hart, a[i % 3]));
    ck_assert_uint_eq(window_word(stranger.base, TRAMPOLINE), i % 3);
    if (i % 7 == 0)
      ck_assert_ok(vmm_hart_set_thread(hart, NULL));
  }
  stranger.stop = 1;
  pthread_join(thread, NULL);
  end_hart(hart);
  for (unsigned i = 0; i < 3; i++)
    ck_assert_ok(vmm_guest_thread_destroy(a[i]));
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_guest_thread(void)
{
  Suite *suite = suite_create("guest_thread");
  TCase *run = tcase_create("run");
  TCase *end = tcase_create("end");
  TCase *many = tcase_create("many");

  tcase_add_test(run, a_hart_runs_its_own_thread_until_told_otherwise);
  tcase_add_test(run, wrong_calls_are_refused);
  tcase_add_test(run, what_another_hart_runs_is_left_alone);
  tcase_add_test(run, s0_15_turning_to_another_thread_takes_one_page);
  tcase_add_test(run, s0_15_a_thread_that_moves_keeps_its_page);
  tcase_add_test(run, every_window_of_the_hart_loses_the_page);
  suite_add_tcase(suite, run);

  tcase_add_test(end, s0_8_a_thread_that_ends_leaves_no_page_behind);
  tcase_add_test(end, s0_8_a_hart_that_ends_leaves_the_thread_to_others);
  tcase_add_test(end, a_pinned_page_outlives_no_thread);
  suite_add_tcase(suite, end);

  tcase_set_timeout(many, 300);
  tcase_add_test(many, s0_13_each_hart_sees_its_own_page);
  tcase_add_test(many, s0_15_a_hart_that_turned_never_sees_the_other_page);
  suite_add_tcase(suite, many);
  return suite;
}
