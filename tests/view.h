/*
 * What the suites of views share: a space with memory of the user's and a stack
 * of the supervisor's, and a hart with views over it.
 */
#ifndef VMM_TESTS_VIEW_H
#define VMM_TESTS_VIEW_H

#include <stdio.h>
#include <unistd.h>

#include "hart.h"
#include "probe.h"

#define AT 0x200000        /* user memory */
#define STACK_TOP 0x400000 /* of the supervisor */
#define STACK_PAGES 4
#define DISPLACEMENT (1 << 20)

static struct vmm_space *space;
static struct vmm_hart *hart;
static struct vmm_views *views;
static uint64_t page;

/* A guarded call's function that writes to its argument. */
static inline void write_to(void *at)
{
  *(volatile char *)at = 1;
}

/* The guarded call is ended by a fault with this reason at this guest
 * address. */
static inline void check_ended(vmm_guard_function *fn, void *arg, unsigned reason,
                        vmm_addr_t va)
{
  struct vmm_fault fault;

  ck_assert_int_eq(vmm_guard_call(fn, arg, 0, &fault), 1);
  ck_assert_str_eq(vmm_fault_reason_name(fault.reason),
                   vmm_fault_reason_name(reason));
  ck_assert_uint_eq(fault.va, va);
}

static inline struct vmm_hart *begin_views(void)
{
  struct vmm_hart_options options = {
    .flags = VMM_HART_WINDOWS | VMM_HART_VIEWS,
    .tag_bits = 2,
    .displacement = DISPLACEMENT,
  };
  struct vmm_hart *made;

  ck_assert_ok(vmm_hart_create(&made, &options));
  return made;
}

static inline void set_up(void)
{
  space = hart_space(4, RW);
  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, STACK_TOP - STACK_PAGES * page,
                            STACK_PAGES * page, RW | VMM_SUPERVISOR));
  hart = begin_views();
  views = vmm_hart_views(hart);
  ck_assert_ptr_nonnull(views);
  ck_assert_ptr_null(views->base);
  hart_turn(hart, space);
}

static inline void set_stack(void)
{
  ck_assert_ok(vmm_hart_set_stack(hart, STACK_TOP, STACK_PAGES * page));
}

static inline void end(void)
{
  ck_assert_ok(vmm_check(space, 0, 0));
  hart_end(hart);
  vmm_test_end(space);
}

/* Everything that the host lets code access in [from, to), as offsets from the
 * user base: only the pages that the guest may read there. */
struct reachable {
  uintptr_t from, to;
  size_t pages;
};

static inline void look_at_line(const char *line, void *arg)
{
  struct reachable *reachable = arg;
  uintptr_t start, end;
  char rights[5];

  ck_assert_int_eq(sscanf(line, "%lx-%lx %4s", &start, &end, rights), 3);
  if (strncmp(rights, "---", 3) == 0)
    return;
  start = start < reachable->from ? reachable->from : start;
  end = end > reachable->to ? reachable->to : end;
  if (start < end)
    reachable->pages += (end - start) / (uintptr_t)sysconf(_SC_PAGESIZE);
}

static inline size_t reachable_pages(const char *from, const char *to)
{
  struct reachable reachable = { (uintptr_t)from, (uintptr_t)to, 0 };
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];

  ck_assert_ptr_nonnull(maps);
  while (fgets(line, sizeof(line), maps) != NULL)
    look_at_line(line, &reachable);
  fclose(maps);
  return reachable.pages;
}

#endif
