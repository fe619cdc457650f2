/*
 * S4.17 for pagers: an eviction is stopped at each of its steps while another
 * thread writes to the page.  It finds the page as it was, or waits; its byte
 * is never lost, whichever of them comes first.
 */
#define _GNU_SOURCE 1
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include <vmm/vmm.h>

#include "../lib/inject.h"

#define AT 0x400000u
#define MIRROR 0x800000u
#define PAGE 4096u
#define YIELDS 200

static struct vmm_space *space;
static struct vmm_object *object;
static uint8_t stored[PAGE];

/* Where the evicting thread stops: at the nth step of this kind. */
static pthread_t evicting;
static enum vmmi_step stop_at;
static unsigned countdown;

static pthread_t writer;
static _Atomic int writing, written;

static int fill(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  (void)offset;
  (void)arg;
  memcpy(to, stored, nbytes);
  return 0;
}

static int write_back(uint64_t offset, const void *from, size_t nbytes,
                      void *arg)
{
  (void)offset;
  (void)arg;
  memcpy(stored, from, nbytes);
  return 0;
}

static void *write_byte(void *unused)
{
  (void)unused;
  atomic_store(&writing, 1);
  *(volatile uint8_t *)(vmm_space_base(space) + MIRROR) = 2;
  atomic_store(&written, 1);
  return NULL;
}

/* The writer begins here; it may end, or wait for a lock that is held. */
static void stop(enum vmmi_step step)
{
  if (!pthread_equal(pthread_self(), evicting) || step != stop_at ||
      countdown == 0 || --countdown != 0)
    return;
  ck_assert_int_eq(pthread_create(&writer, NULL, write_byte, NULL), 0);
  while (!atomic_load(&writing))
    sched_yield();
  for (int i = 0; i < YIELDS && !atomic_load(&written); i++)
    sched_yield();
}

static void map_at(vmm_addr_t va)
{
  struct vmm_map_options options = { .object = object,
                                     .rights = VMM_READ | VMM_WRITE };

  ck_assert_int_eq(vmm_map(space, &va, PAGE, &options), 0);
}

static void set_up(void)
{
  struct vmm_space_options sized = { .size = 1 << 26 };
  struct vmm_pager_options options = { .nbytes = PAGE, .page_size = PAGE,
                                       .flags = VMM_PAGER_INLINE,
                                       .fill = fill,
                                       .write_back = write_back };

  ck_assert_int_eq(vmm_space_create(&space, &sized), 0);
  ck_assert_int_eq(vmm_pager_create(&object, &options), 0);
  map_at(AT);
  map_at(MIRROR);
  evicting = pthread_self();
  atomic_store(&vmmi_inject_stopper, stop);
}

static void tear_down(void)
{
  atomic_store(&vmmi_inject_stopper, NULL);
  ck_assert_int_eq(vmm_check(space, 0, 0), 0);
  ck_assert_int_eq(vmm_space_destroy(space), 0);
  ck_assert_int_eq(vmm_pager_destroy(object), 0);
}

static const struct {
  enum vmmi_step step;
  unsigned nth;
} stops[] = {
  { VMMI_STEP_TAKEN, 1 }, /* of the write-back: one mapping, ... */
  { VMMI_STEP_TAKEN, 2 }, /* both */
  { VMMI_STEP_PROTECTED, 1 },
  { VMMI_STEP_TAKEN, 3 }, /* of the eviction */
  { VMMI_STEP_TAKEN, 4 },
  { VMMI_STEP_DROPPED, 1 },
};

START_TEST(write_during_an_eviction_is_not_lost)
{
  volatile uint8_t *at;

  set_up();
  at = (volatile uint8_t *)vmm_space_base(space) + AT;
  *at = 1;
  *(at - AT + MIRROR) = 1; /* both windows grant writing */
  stop_at = stops[_i].step;
  countdown = stops[_i].nth;
  ck_assert_int_eq(vmm_object_evict(object, 0, PAGE), 0);
  ck_assert_uint_eq(countdown, 0);
  ck_assert_int_eq(pthread_join(writer, NULL), 0);
  ck_assert_uint_eq(*at, 2);
  ck_assert_int_eq(vmm_object_evict(object, 0, PAGE), 0);
  ck_assert_uint_eq(stored[0], 2);
  ck_assert_uint_eq(*at, 2);
  tear_down();
}
END_TEST

Suite *vmm_suite_pager_step(void);

Suite *vmm_suite_pager_step(void)
{
  Suite *suite = suite_create("pager_step");
  TCase *tcase = tcase_create("pager_step");

  tcase_add_loop_test(tcase, write_during_an_eviction_is_not_lost, 0,
                      sizeof(stops) / sizeof(stops[0]));
  suite_add_tcase(suite, tcase);
  return suite;
}
