/*
 * Ten thousand spaces at once, most of them small: no descriptor each, no more
 * host mappings than there are, and each keeps what it holds.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

/* ThreadSanitizer keeps most addresses for itself, a limit of mappings is
 * shared with a sanitizer's own. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define SPACES 1000u
#elif defined __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SPACES 1000u
#endif
#endif
#ifndef SPACES
#define SPACES 10000u
#endif

enum { MIRRORED = 8 }; /* neighbours that map one object */
#define AT 0x40000
#define MIRROR 0x80000

static unsigned count;
static struct vmm_space **spaces;
static struct vmm_object **objects;
static uint64_t page;

static unsigned mapping_limit(void)
{
  FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
  unsigned limit = 0;

  ck_assert_ptr_nonnull(file);
  ck_assert_int_eq(fscanf(file, "%u", &limit), 1);
  fclose(file);
  return limit;
}

/* One in a hundred has 4 GiB, the others 1 MiB. */
static struct vmm_space *make_one(unsigned i)
{
  struct vmm_space_options options = {
    .size = i % 100 == 0 ? (uint64_t)1 << 32 : (uint64_t)1 << 20,
    .flags = VMM_EXACT,
  };
  struct vmm_map_options map = { .rights = VMM_READ | VMM_WRITE,
                                 .object = objects[i / MIRRORED] };
  vmm_addr_t at = MIRROR;
  struct vmm_space *space;

  ck_assert_ok(vmm_space_create(&space, &options));
  ck_assert_ok(vmm_map_anon(space, AT, 16 * page, VMM_READ | VMM_WRITE));
  ck_assert_ok(vmm_map(space, &at, page, &map));
  return space;
}

static uint32_t *word(unsigned i, vmm_addr_t va)
{
  return (uint32_t *)(void *)(vmm_space_base(spaces[i]) + va);
}

static void make_all(unsigned n)
{
  count = n;
  spaces = calloc(count, sizeof(spaces[0]));
  objects = calloc(count / MIRRORED + 1, sizeof(objects[0]));
  ck_assert(spaces != NULL && objects != NULL);
  for (unsigned i = 0; i < (count + MIRRORED - 1) / MIRRORED; i++)
    ck_assert_ok(vmm_object_create(&objects[i], page, NULL));
  for (unsigned i = 0; i < count; i++)
    spaces[i] = make_one(i);
}

static void end_all(void)
{
  for (unsigned i = 0; i < count; i++)
    ck_assert_ok(vmm_space_destroy(spaces[i]));
  for (unsigned i = 0; i < (count + MIRRORED - 1) / MIRRORED; i++)
    vmm_object_release(objects[i]);
  free(spaces);
  free(objects);
}

/* Two pages of each, a page apart, and its place in the shared one. */
static void write_each(void)
{
  for (unsigned i = 0; i < count; i++) {
    *word(i, AT) = i;
    *word(i, AT + 2 * page) = ~i;
    *word(i, MIRROR + (i % MIRRORED) * 4) = i + 1;
  }
}

/* => how many spaces have lost something */
static unsigned count_wrong(void)
{
  unsigned wrong = 0;

  for (unsigned i = 0; i < count; i++) {
    unsigned other = i / MIRRORED * MIRRORED + (i + 1) % MIRRORED;

    wrong += *word(i, AT) != i || *word(i, AT + 2 * page) != ~i ||
             *word(i, MIRROR + (i % MIRRORED) * 4) != i + 1 ||
             *word(i, MIRROR + (other % MIRRORED) * 4) != other + 1;
  }
  return wrong;
}

START_TEST(ten_thousand_spaces_live_at_once)
{
  unsigned descriptors, mappings;
  uint64_t faults = 0, pages = 0;

  page = (uint64_t)sysconf(_SC_PAGESIZE);
  vmm_test_end(vmm_test_space(1 << 20, 0)); /* what is made once */
  descriptors = open_descriptors();
  mappings = host_mappings();
  make_all(SPACES);
  write_each();
  for (unsigned i = 0; i < count; i++) {
    faults += vmm_test_stats(spaces[i]).faults_write;
    pages += vmm_test_stats(spaces[i]).frames;
  }
  ck_assert_uint_eq(faults, 3 * count);
  ck_assert_uint_eq(pages, 2 * count);
  ck_assert_uint_eq(count_wrong(), 0);
  ck_assert_uint_eq(open_descriptors(), descriptors);
  ck_assert_uint_lt(host_mappings(), mapping_limit());
  for (unsigned i = 0; i < count; i += 97)
    ck_assert_ok(vmm_check(spaces[i], 0, 0));
  end_all();
  ck_assert_uint_eq(open_descriptors(), descriptors);
  /* the library's own memory grows by large pieces, and stays */
  ck_assert_uint_lt(host_mappings(), mappings + 300);
}
END_TEST

START_TEST(two_thousand_spaces_are_forked_and_copied)
{
  struct vmm_space *clone;
  int child, status;

  page = (uint64_t)sysconf(_SC_PAGESIZE);
  make_all(SPACES / 5);
  write_each();
  for (unsigned i = 0; i < count; i += 10) {
    ck_assert_ok(vmm_space_fork(&clone, spaces[i]));
    ck_assert_ok(vmm_space_destroy(spaces[i]));
    spaces[i] = clone;
  }
  child = vmm_process_fork();
  if (child == 0)
    _exit(count_wrong() == 0 ? 0 : 1);
  ck_assert_msg(child > 0, "%d: %s", child, vmm_error_text());
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(count_wrong(), 0);
  end_all();
}
END_TEST

Suite *vmm_suite_scale(void);

Suite *vmm_suite_scale(void)
{
  Suite *suite = suite_create("scale");
  TCase *tcase = tcase_create("scale");

  tcase_set_timeout(tcase, 600);
  tcase_add_test(tcase, ten_thousand_spaces_live_at_once);
  tcase_add_test(tcase, two_thousand_spaces_are_forked_and_copied);
  suite_add_tcase(suite, tcase);
  return suite;
}
