/*
 * What the suites of forked processes share: a child with copies of the spaces,
 * which runs a function and says how it went.
 */
#ifndef VMM_TESTS_PROCESS_COPY_H
#define VMM_TESTS_PROCESS_COPY_H

#include "faults.h"
#include "process.h"

#define OTHER 0x1000000
enum { PAGES = 64 };

/* A child that has all runs the function.  => its exit status; -1: it was
 * killed */
static inline int in_copy(void (*function)(void))
{
  int child, status;

  fflush(NULL);
  child = vmm_process_fork();
  if (child == 0) {
    alarm(120);
    function();
    _exit(0);
  }
  ck_assert_msg(child > 0, "%d: %s", child, vmm_error_text());
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- what parent and child both have ---- */

static struct vmm_space *space, *second;
static struct vmm_object *object;

static inline void look_at_mirrors(void)
{
  must(vmm_test_get(space, AT) == 7);
  vmm_test_set(space, AT, 8);
  must(vmm_test_get(space, OTHER) == 8);
  must(vmm_test_get(second, AT + page) == 8);
  must(*(char *)vmm_debug_ptr(second, AT + page) == 8);
  must(vmm_check(space, 0, 0) == 0 && vmm_check(second, 0, 0) == 0);
}

static inline void make_mirrors(uint32_t object_flags)
{
  struct vmm_object_options how = { .flags = object_flags };
  struct vmm_map_options options = { .rights = RW };
  vmm_addr_t at = AT;

  space = vmm_test_space(1 << 26, VMM_EXACT);
  second = vmm_test_space(1 << 26, 0);
  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_object_create(&object, PAGES * page, &how));
  options.object = object;
  ck_assert_ok(vmm_map(space, &at, PAGES * page, &options));
  at = OTHER;
  ck_assert_ok(vmm_map(space, &at, PAGES * page, &options));
  at = AT + page;
  ck_assert_ok(vmm_map(second, &at, PAGES * page, &options));
}

#endif
