/*
 * Two million faults from eight threads on one space, while two more map,
 * protect, clean and unmap beside them.  Each fault is one that the accesses
 * make necessary: not one more, and not one less.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "process.h"

#if defined __SANITIZE_THREAD__
#define SHARE 200
#elif defined __SANITIZE_ADDRESS__
#define SHARE 10
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define SHARE 200
#elif __has_feature(address_sanitizer)
#define SHARE 10
#endif
#endif
#ifndef SHARE
#define SHARE 1 /* of it: all */
#endif

enum {
  WRITERS = 8,
  CHANGERS = 2,
  PAGES = 250, /* of a writer */
  ROUNDS = 1000 / SHARE,
  CHANGED = 32, /* pages of a changer, beside each writer's */
};

/* A chunk for each writer, which the changers have a part of too. */
#define CHUNK ((vmm_addr_t)2 << 20)

static struct vmm_space *space;
static uint64_t page;
static pthread_barrier_t ready;
static _Atomic bool over;
static uint64_t changer_faults[CHANGERS];

static struct vmm_stats own_stats(void)
{
  struct vmm_stats stats = { .struct_size = sizeof(stats) };

  if (vmm_thread_stats(&stats) != 0)
    abort();
  return stats;
}

/* The first round touches, each other one writes what is clean. */
static void *write_all(void *arg)
{
  vmm_addr_t at = (uintptr_t)arg * CHUNK;
  struct vmm_stats stats;

  pthread_barrier_wait(&ready);
  for (unsigned round = 0; round < ROUNDS; round++) {
    for (unsigned i = 0; i < PAGES; i++) {
      need(round == 0 ||
           vmm_test_get(space, at + i * page) == (uint8_t)(round - 1 + i));
      vmm_test_set(space, at + i * page, (uint8_t)(round + i));
    }
    need(vmm_pages(space, at, PAGES * page, VMM_PTE_MODIFIED, NULL) == 0);
  }
  stats = own_stats();
  need(stats.faults_write == PAGES * ROUNDS && stats.faults_read == 0);
  need(stats.repaired == PAGES * ROUNDS && stats.spurious == 0);
  return NULL;
}

/* A range comes, is written, narrowed, widened, cleaned, and goes.
 * => how many faults that takes */
static unsigned change(vmm_addr_t at, uint8_t byte)
{
  unsigned i;

  need(vmm_map_anon(space, at, CHANGED * page, VMM_READ | VMM_WRITE) == 0);
  for (i = 0; i < CHANGED; i++)
    vmm_test_set(space, at + i * page, byte);
  need(vmm_protect(space, at, CHANGED * page, VMM_READ) == 0);
  need(vmm_test_get(space, at + page) == byte);
  need(vmm_protect(space, at, CHANGED * page, VMM_READ | VMM_WRITE) == 0);
  need(vmm_pages(space, at, CHANGED * page, VMM_PTE_MODIFIED, NULL) == 0);
  vmm_test_set(space, at + page, byte);
  need(vmm_unmap(space, at, CHANGED * page) == 0);
  return CHANGED + 1;
}

static void *change_all(void *arg)
{
  uintptr_t self = (uintptr_t)arg;
  uint64_t faults = 0;
  struct vmm_stats stats;
  uint8_t byte = 0;

  pthread_barrier_wait(&ready);
  do {
    for (unsigned writer = 0; writer < WRITERS; writer++) {
      vmm_addr_t at = writer * CHUNK + (PAGES + self * CHANGED) * page;

      faults += change(at, ++byte);
    }
  } while (!atomic_load(&over));
  stats = own_stats();
  need(stats.faults_write == faults && stats.faults_read == 0);
  changer_faults[self] = faults;
  return NULL;
}

START_TEST(faults_of_eight_threads_are_as_many_as_their_accesses_need)
{
  pthread_t writers[WRITERS], changers[CHANGERS];
  struct vmm_stats stats;
  uintptr_t i;

  space = vmm_test_space(1 << 26, VMM_EXACT);
  page = vmm_space_page_size(space);
  for (i = 0; i < WRITERS; i++)
    ck_assert_ok(vmm_map_anon(space, i * CHUNK, PAGES * page,
                              VMM_READ | VMM_WRITE));
  pthread_barrier_init(&ready, NULL, WRITERS + CHANGERS);
  for (i = 0; i < CHANGERS; i++)
    ck_assert_int_eq(
        pthread_create(&changers[i], NULL, change_all, (void *)i), 0);
  for (i = 0; i < WRITERS; i++)
    ck_assert_int_eq(pthread_create(&writers[i], NULL, write_all, (void *)i),
                     0);
  for (i = 0; i < WRITERS; i++)
    pthread_join(writers[i], NULL);
  atomic_store(&over, true);
  for (i = 0; i < CHANGERS; i++)
    pthread_join(changers[i], NULL);
  pthread_barrier_destroy(&ready);
  stats = vmm_test_stats(space);
  ck_assert_uint_eq(stats.faults_write, WRITERS * PAGES * ROUNDS +
                                            changer_faults[0] +
                                            changer_faults[1]);
  ck_assert_uint_eq(stats.faults_read, 0);
  ck_assert_uint_eq(stats.repaired, stats.faults_write);
  ck_assert_uint_eq(stats.frames, WRITERS * PAGES);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_storm(void);

Suite *vmm_suite_storm(void)
{
  Suite *suite = suite_create("storm");
  TCase *tcase = tcase_create("storm");

  tcase_set_timeout(tcase, 900);
  tcase_add_test(tcase,
                 faults_of_eight_threads_are_as_many_as_their_accesses_need);
  suite_add_tcase(suite, tcase);
  return suite;
}
