/*
 * Looking inside: the checker sees what the host does behind the library's
 * back, explanations and dumps say what is, counters keep their size.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

#define AT 0x200000

static uint64_t page;

static struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 28, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

/* ---- the checker ---- */

/* The checker says that the page at va is wrong, and only of it. */
#define ck_assert_wrong(space, va, what)                                       \
  do {                                                                         \
    char at[32];                                                               \
    snprintf(at, sizeof(at), "at 0x%" PRIx64 ":", (uint64_t)(va));             \
    ck_assert_error(vmm_check(space, 0, 0), EPROTO);                           \
    ck_assert_msg(strstr(vmm_error_text(), at) != NULL &&                      \
                      strstr(vmm_error_text(), what) != NULL,                  \
                  "%s", vmm_error_text());                                     \
    ck_assert_error(vmm_check(space, va, page), EPROTO);                       \
    ck_assert_ok(vmm_check(space, (va) - page, page));                         \
    ck_assert_ok(vmm_check(space, (va) + page, page));                         \
  } while (0)

START_TEST(checker_sees_rights_that_the_host_has_changed)
{
  struct vmm_space *space = space_with(8, RW);
  char *base = vmm_space_base(space);
  vmm_addr_t va = AT + 2 * page;

  vmm_test_set(space, va, 1);
  vmm_test_set(space, AT + 5 * page, 1);
  vmm_test_get(space, AT + 7 * page);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_int_eq(mprotect(base + va, page, PROT_READ), 0);
  ck_assert_wrong(space, va, "the host grants");
  ck_assert_int_eq(mprotect(base + va, page,
                            PROT_READ | PROT_WRITE | PROT_EXEC), 0);
  ck_assert_wrong(space, va, "the host grants");
  ck_assert_int_eq(mprotect(base + va, page, PROT_READ | PROT_WRITE), 0);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_int_eq(mprotect(base + AT + 6 * page, page, PROT_READ), 0);
  ck_assert_wrong(space, AT + 6 * page, "the host grants");
  ck_assert_int_eq(mprotect(base + AT + 6 * page, page, PROT_NONE), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(checker_sees_what_should_be_dark)
{
  struct vmm_space *space = space_with(1, RW);
  char *base = vmm_space_base(space);
  uint64_t size = vmm_space_size(space);

  ck_assert_int_eq(mprotect(base + 100 * page, page, PROT_READ), 0);
  ck_assert_wrong(space, 100 * page, "the window nothing");
  ck_assert_int_eq(mprotect(base + 100 * page, page, PROT_NONE), 0);
  ck_assert_int_eq(mprotect(base + size, page, PROT_READ), 0); /* the guard */
  ck_assert_error(vmm_check(space, 0, 0), EPROTO);
  ck_assert_int_eq(mprotect(base + size, page, PROT_NONE), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(checker_sees_other_memory_in_place_of_a_frame)
{
  struct vmm_space *space = space_with(8, RW);
  char *base = vmm_space_base(space);
  vmm_addr_t va = AT + page;
  void *got;

  vmm_test_set(space, va, 1);
  vmm_test_set(space, va + page, 1);
  vmm_test_get(space, AT + 4 * page);
  got = mremap(base + va, 0, page, MREMAP_MAYMOVE | MREMAP_FIXED,
               base + va + page);
  ck_assert_ptr_eq(got, base + va + page);
  ck_assert_wrong(space, va + page, "does not show frame");
  ck_assert_ok(vmm_unmap(space, va + page, page));
  got = mmap(base + va, page, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  ck_assert_ptr_eq(got, base + va);
  ck_assert_wrong(space, va, "does not show frame");
  ck_assert_ok(vmm_unmap(space, va, page));
  ck_assert_int_eq(munmap(base + AT + 4 * page, page), 0);
  ck_assert_wrong(space, AT + 4 * page, "maps nothing");
  ck_assert_ok(vmm_unmap(space, AT + 4 * page, page));
  vmm_test_end(space);
}
END_TEST

START_TEST(checker_refuses_what_is_no_range)
{
  struct vmm_space *space = space_with(1, RW);

  ck_assert_error(vmm_check(NULL, 0, 0), EINVAL);
  ck_assert_error(vmm_check(space, 1, page), EINVAL);
  ck_assert_error(vmm_check(space, vmm_space_size(space), 0), EINVAL);
  ck_assert_error(vmm_check(space, 0, vmm_space_size(space) + page), EINVAL);
  ck_assert_ok(vmm_check(space, AT, 0));
  vmm_test_end(space);
}
END_TEST

/* _i: guest page of so many of the host's */
START_TEST(checker_proves_mirrors_files_and_wired_memory)
{
  struct vmm_space_options options = { 0 };
  uint64_t large = ((uint64_t)sysconf(_SC_PAGESIZE)) << _i;
  struct vmm_object *object, *exported;
  struct vmm_space *space;
  unsigned i;

  page = large;
  options.size = 1 << 28;
  options.page_size = (uint32_t)large;
  ck_assert_ok(vmm_space_create(&space, &options));
  object = probe_object(8 * page, 0);
  exported = probe_object(8 * page, VMM_OBJECT_EXPORT);
  ck_assert_ok(vmm_map_anon(space, 0, 8 * page, RW | VMM_EXEC));
  ck_assert_ok(probe_map(space, AT << 1, 8 * page, object, 0, RW));
  ck_assert_ok(probe_map(space, AT << 2, 7 * page, object, page, RW));
  ck_assert_ok(probe_map(space, AT << 3, 8 * page, exported, 0, RW));
  ck_assert_ok(probe_map(space, AT << 4, 4 * page, exported, 4 * page,
                         RW | VMM_PRIVATE));
  ck_assert_ok(vmm_map_anon(space, AT << 5, 4 * page, RW | VMM_WIRED));
  for (i = 0; i < 8; i += 3) {
    vmm_test_get(space, i * page);
    vmm_test_set(space, (AT << 1) + i * page, 1);
    vmm_test_get(space, (AT << 2) + i * page);
    vmm_test_set(space, (AT << 3) + i * page, 1);
    ck_assert_ok(vmm_check(space, 0, 0));
  }
  vmm_test_get(space, AT << 4);
  vmm_test_set(space, (AT << 4) + page, 1);
  ck_assert_ok(vmm_check(space, 0, 0));
  vmm_object_release(object);
  vmm_object_release(exported);
  vmm_test_end(space);
}
END_TEST

/* ---- words ---- */

static const char *explain(struct vmm_space *space, vmm_addr_t va,
                           unsigned access)
{
  static char text[120];
  int length = vmm_explain(space, va, access, text, sizeof(text));

  ck_assert_int_eq(length, (int)strlen(text));
  return text;
}

START_TEST(explanations_say_what_an_access_would_do)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_tracker *tracker;
  uint32_t insn;

  ck_assert_str_eq(explain(space, 0, VMM_READ),
                   "would fail: region no, PTE none, window empty");
  ck_assert_str_eq(explain(space, 1 << 28, VMM_READ),
                   "would fail: outside the space of 0x10000000 bytes");
  ck_assert_str_eq(explain(space, AT, VMM_EXEC),
                   "would fail: region lacks the right, PTE none, window empty");
  ck_assert_str_eq(explain(space, AT, VMM_WRITE),
                   "would fault: region yes, PTE none, window empty");
  vmm_test_get(space, AT);
  ck_assert_str_eq(explain(space, AT + 5, VMM_READ),
                   "would succeed: region yes, PTE silent, window grants");
  ck_assert_str_eq(explain(space, AT + 5, VMM_WRITE),
                   "would fault: region yes, PTE zeros, window stale");
  vmm_test_set(space, AT, 1);
  probe_clear(space, AT, page, DIRTY);
  ck_assert_str_eq(explain(space, AT, VMM_WRITE),
                   "would fault: region yes, PTE clean, window stale");
  probe_clear(space, AT, page, YOUNG);
  ck_assert_str_eq(explain(space, AT, VMM_READ),
                   "would fault: region yes, PTE old, window empty");
  ck_assert_ok(vmm_fixup(space, AT, VMM_WRITE));
  ck_assert_str_eq(explain(space, AT, VMM_WRITE),
                   "would fault: region yes, PTE silent, window empty");
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, page, NULL));
  ck_assert_str_eq(explain(space, AT, VMM_WRITE),
                   "would fault: region yes, PTE tracked, window empty");
  vmm_tracker_destroy(tracker);
  ck_assert_ok(vmm_protect(space, AT, page, RW | VMM_EXEC));
  ck_assert_ok(vmm_fixup(space, AT, VMM_WRITE));
  ck_assert_str_eq(explain(space, AT, VMM_EXEC),
                   "would fault: region yes, PTE not fetched, window empty");
  ck_assert_int_eq(vmm_fetch(space, AT, &insn, 4), 0);
  ck_assert_str_eq(explain(space, AT, VMM_WRITE),
                   "would fault: region yes, PTE code, window empty");
  ck_assert_error(vmm_explain(space, AT, 0, NULL, 0), EINVAL);
  ck_assert_error(vmm_explain(space, AT, RW, NULL, 0), EINVAL);
  ck_assert_int_eq(vmm_explain(space, 0, VMM_READ, NULL, 0), 45);
  vmm_test_end(space);
}
END_TEST

START_TEST(explaining_changes_nothing)
{
  struct vmm_space *space = space_with(1, RW);

  ck_assert_faults(space, 0, 0, explain(space, AT, VMM_WRITE));
  ck_assert_uint_eq(probe_pte(space, AT), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(dump_names_regions_windows_and_counts)
{
  struct vmm_space *space = space_with(4, RW);
  char *text = NULL;
  size_t length;
  FILE *file = open_memstream(&text, &length);

  vmm_test_set(space, AT, 1);
  vmm_test_get(space, AT + page);
  ck_assert_ok(vmm_protect(space, AT + 3 * page, page, VMM_READ));
  ck_assert_ptr_nonnull(file);
  ck_assert_ok(vmm_dump(space, file));
  fclose(file);
  ck_assert_ptr_nonnull(strstr(text, "000000200000-000000203000 rw- private exact\n"
                                     "    present 2 own 1 young 2 dirty 1"));
  ck_assert_ptr_nonnull(strstr(text, "r-- private"));
  ck_assert_ptr_nonnull(strstr(text, "by mprotect"));
  ck_assert_ptr_nonnull(strstr(text, "faults r 1 w 1 x 0"));
  free(text);
  ck_assert_error(vmm_dump(space, NULL), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(debug_pointer_is_the_page_in_the_alias)
{
  struct vmm_space *space = space_with(2, RW);
  char *bytes;

  ck_assert_ptr_null(vmm_debug_ptr(space, AT));
  ck_assert_ptr_null(vmm_debug_ptr(space, 0));
  ck_assert_ptr_null(vmm_debug_ptr(space, UINT64_MAX));
  ck_assert_ptr_null(vmm_debug_ptr(NULL, AT));
  vmm_test_set(space, AT + 7, 5);
  ck_assert_ok(vmm_protect(space, AT, page, 0));
  probe_clear(space, AT, page, YOUNG | DIRTY);
  bytes = vmm_debug_ptr(space, AT + 7);
  ck_assert_ptr_nonnull(bytes);
  ck_assert_int_eq(*bytes, 5);
  *bytes = 6;
  ck_assert_pte(space, AT, YOUNG | DIRTY, 0);
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  ck_assert_uint_eq(vmm_test_get(space, AT + 7), 6);
  vmm_test_end(space);
}
END_TEST

START_TEST(error_text_says_why_the_last_call_failed)
{
  struct vmm_space *space = space_with(1, RW);

  ck_assert_error(vmm_unmap(space, 1, page), EINVAL);
  ck_assert_ptr_nonnull(strstr(vmm_error_text(), "aligned"));
  ck_assert_error(vmm_map_anon(space, AT, page, RW), EEXIST);
  ck_assert_ptr_nonnull(strstr(vmm_error_text(), "mapped there"));
  ck_assert_ok(vmm_unmap(space, AT, page));
  ck_assert_ptr_nonnull(strstr(vmm_error_text(), "mapped there"));
  vmm_test_end(space);
}
END_TEST

/* ---- counters ---- */

START_TEST(stats_fill_what_the_caller_has_room_for)
{
  struct vmm_space *space = space_with(2, RW);
  struct {
    struct vmm_stats stats;
    uint64_t beyond;
  } larger;
  struct vmm_stats *stats = &larger.stats;

  vmm_test_set(space, AT, 1);
  memset(&larger, 0x77, sizeof(larger));
  stats->struct_size = sizeof(larger);
  ck_assert_ok(vmm_space_stats(space, stats));
  ck_assert_uint_eq(stats->struct_size, sizeof(larger));
  ck_assert_uint_eq(stats->faults_write, 1);
  ck_assert_uint_eq(stats->frames, 1);
  ck_assert_uint_eq(stats->mapped, 2 * page);
  ck_assert_uint_eq(larger.beyond, 0x7777777777777777);

  memset(&larger, 0x77, sizeof(larger));
  stats->struct_size = offsetof(struct vmm_stats, faults_exec);
  ck_assert_ok(vmm_space_stats(space, stats));
  ck_assert_uint_eq(stats->faults_write, 1);
  ck_assert_uint_eq(stats->faults_exec, 0x7777777777777777);
  stats->struct_size = 0;
  ck_assert_error(vmm_space_stats(space, stats), EINVAL);
  ck_assert_error(vmm_thread_stats(NULL), EINVAL);
  vmm_test_end(space);
}
END_TEST

START_TEST(stats_of_regions_and_threads_count_their_faults)
{
  struct vmm_stats region = { .struct_size = sizeof(region) };
  struct vmm_stats before = region, after = region;
  struct vmm_space *space = space_with(2, RW);
  uint8_t byte;

  ck_assert_ok(vmm_map_anon(space, AT + 8 * page, page, VMM_READ));
  ck_assert_ok(vmm_thread_stats(&before));
  vmm_test_get(space, AT);
  vmm_test_set(space, AT, 1);
  vmm_test_set(space, AT + page, 1);
  ck_assert_error(probe_write(space, AT + 8 * page, 1), EFAULT);
  ck_assert_error(probe_read(space, AT + 9 * page, &byte), EFAULT);
  ck_assert_ok(vmm_region_stats(space, AT + page, &region));
  ck_assert_uint_eq(region.faults_read, 1);
  ck_assert_uint_eq(region.faults_write, 2);
  ck_assert_uint_eq(region.repaired, 3);
  ck_assert_uint_eq(region.unresolved, 0);
  ck_assert_uint_eq(region.mapped, 2 * page);
  ck_assert_ok(vmm_region_stats(space, AT + 8 * page, &region));
  ck_assert_uint_eq(region.faults_write, 1);
  ck_assert_uint_eq(region.unresolved, 1);
  ck_assert_uint_eq(region.mapped, page);
  ck_assert_error(vmm_region_stats(space, AT + 9 * page, &region), ENOENT);
  ck_assert_ok(vmm_thread_stats(&after));
  ck_assert_uint_eq(after.faults_read - before.faults_read, 2);
  ck_assert_uint_eq(after.faults_write - before.faults_write, 3);
  ck_assert_uint_eq(after.repaired - before.repaired, 3);
  ck_assert_uint_eq(after.unresolved - before.unresolved, 2);
  vmm_test_end(space);
}
END_TEST

/* All spaces show the same zeros. */
START_TEST(nobody_writes_the_shared_zeros)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  uint8_t *zeros;
  int written = 1;

  ck_assert_ok(vmm_map_anon(space, AT, vmm_space_page_size(space), VMM_READ));
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  zeros = vmm_debug_ptr(space, AT);
  ck_assert_ptr_nonnull(zeros);
  vmm_try_store_u8(zeros, 1, refused);
  written = 0;
refused:
  ck_assert_int_eq(written, 1);
  ck_assert_uint_eq(*zeros, 0);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_debug(void)
{
  Suite *suite = suite_create("debug");
  TCase *tcase = tcase_create("debug");

  tcase_add_test(tcase, checker_sees_rights_that_the_host_has_changed);
  tcase_add_test(tcase, checker_sees_what_should_be_dark);
  tcase_add_test(tcase, checker_sees_other_memory_in_place_of_a_frame);
  tcase_add_test(tcase, checker_refuses_what_is_no_range);
  tcase_add_loop_test(tcase, checker_proves_mirrors_files_and_wired_memory, 0,
                      4);
  tcase_add_test(tcase, explanations_say_what_an_access_would_do);
  tcase_add_test(tcase, explaining_changes_nothing);
  tcase_add_test(tcase, dump_names_regions_windows_and_counts);
  tcase_add_test(tcase, debug_pointer_is_the_page_in_the_alias);
  tcase_add_test(tcase, error_text_says_why_the_last_call_failed);
  tcase_add_test(tcase, stats_fill_what_the_caller_has_room_for);
  tcase_add_test(tcase, stats_of_regions_and_threads_count_their_faults);
  tcase_add_test(tcase, nobody_writes_the_shared_zeros);
  suite_add_tcase(suite, tcase);
  return suite;
}
