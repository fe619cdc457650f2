/*
 * A stranger's access of a hart's window, stopped at each step of its fault,
 * while the hart turns to another guest thread: S0.15, and the page is never
 * the wrong one.
 */
#define _GNU_SOURCE 1
#include <check.h>
#include <pthread.h>
#include <sched.h>

#include <vmm/vmm.h>

#include "../lib/guest_thread.h"
#include "../lib/inject.h"

#define AT 0x10000u

static char *base;
static struct vmm_hart *hart;
static struct vmm_guest_thread *turned_to;
static pthread_t stranger;
static _Atomic int stop_step = -1;
static _Atomic int has_stopped, may_go;

/* With the window locked the hart can but say whom it runs now: that is
 * awaited. */
static void stop_stranger(enum vmmi_step step)
{
  if (!pthread_equal(pthread_self(), stranger) ||
      atomic_load(&stop_step) != (int)step)
    return;
  atomic_store(&stop_step, -1); /* once */
  atomic_store(&has_stopped, 1);
  while (!atomic_load(&may_go) &&
         !(step == VMMI_STEP_SHOWING && atomic_load(&hart->thread) == turned_to))
    sched_yield();
}

static struct vmm_guest_thread *thread_with(uint64_t id)
{
  struct vmm_guest_thread *thread;
  struct vmm_emulation emulation = { 0 };
  vmm_addr_t pc;

  ck_assert_int_eq(vmm_guest_thread_create(&thread, NULL), 0);
  emulation.code = &id;
  emulation.code_nbytes = sizeof(id);
  emulation.trap = "";
  emulation.trap_nbytes = 1;
  emulation.page = AT;
  ck_assert_int_eq(vmm_trampoline_push(thread, &emulation, &pc), 0);
  return thread;
}

static uint64_t page_id(void)
{
  return *(const volatile uint64_t *)(base + AT);
}

static void *read_id(void *id)
{
  stranger = pthread_self();
  *(uint64_t *)id = page_id();
  return NULL;
}

static void turn_while_stopped(struct vmm_guest_thread *to, uint64_t id,
                               enum vmmi_step step)
{
  uint64_t seen = 0;
  pthread_t thread;

  turned_to = to;
  atomic_store(&has_stopped, 0);
  atomic_store(&may_go, 0);
  atomic_store(&stop_step, (int)step);
  ck_assert_int_eq(pthread_create(&thread, NULL, read_id, &seen), 0);
  while (!atomic_load(&has_stopped))
    sched_yield();
  ck_assert_int_eq(vmm_hart_set_thread(hart, to), 0);
  ck_assert_uint_eq(step == VMMI_STEP_SHOWING ? page_id() : id, id);
  atomic_store(&may_go, 1);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_uint_eq(seen, id);
  ck_assert_uint_eq(page_id(), id);
}

/* S0.15 */
START_TEST(a_hart_that_turns_within_a_fault_shows_the_right_page)
{
  static const enum vmmi_step steps[] = { VMMI_STEP_CLASSIFIED,
                                          VMMI_STEP_PROMOTED,
                                          VMMI_STEP_SHOWING,
                                          VMMI_STEP_INSTALLED };
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS };
  struct vmm_space *space;
  struct vmm_guest_thread *a, *b;

  ck_assert_int_eq(vmm_space_create(&space, NULL), 0);
  ck_assert_int_eq(vmm_trampoline_map(space, AT), 0);
  ck_assert_int_eq(vmm_hart_create(&hart, &options), 0);
  ck_assert_int_eq(vmm_hart_set_space(hart, space, &base), 0);
  a = thread_with(0xa);
  b = thread_with(0xb);
  atomic_store(&vmmi_inject_stopper, stop_stranger);
  for (int i = 0; i < 4; i++) {
    /* the window may show a's page before, or nothing */
    for (int shown = 0; shown < 2; shown++) {
      ck_assert_int_eq(vmm_hart_flush(hart), 0);
      ck_assert_int_eq(vmm_hart_set_thread(hart, shown ? b : a), 0);
      if (shown) {
        ck_assert_uint_eq(page_id(), 0xb);
        ck_assert_int_eq(vmm_hart_set_thread(hart, a), 0);
      }
      turn_while_stopped(b, 0xb, steps[i]);
      ck_assert_int_eq(vmm_check(space, 0, 0), 0);
    }
  }
  atomic_store(&vmmi_inject_stopper, NULL);
  ck_assert_int_eq(vmm_hart_set_thread(hart, NULL), 0);
  ck_assert_int_eq(vmm_hart_set_space(hart, NULL, NULL), 0);
  ck_assert_int_eq(vmm_hart_destroy(hart), 0);
  ck_assert_int_eq(vmm_guest_thread_destroy(a), 0);
  ck_assert_int_eq(vmm_guest_thread_destroy(b), 0);
  ck_assert_int_eq(vmm_space_destroy(space), 0);
}
END_TEST

Suite *vmm_suite_trampoline_step(void)
{
  Suite *suite = suite_create("trampoline_step");
  TCase *tcase = tcase_create("step");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, a_hart_that_turns_within_a_fault_shows_the_right_page);
  suite_add_tcase(suite, tcase);
  return suite;
}
