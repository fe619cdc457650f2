/*
 * S4.13: replacement policies over the young bits.  A program's own, where the
 * handler of a region keeps three pages accessible and evicts by the clock; a
 * pager's, by the library and by a hook.
 */
#include <stdbool.h>

#include "vmm_test.h"

#define PAGE 4096u
#define AT 0x40000000u
#define PAGES 8u
#define FRAMES 3u
#define NOBODY UINT32_MAX

static const unsigned trace[] = { 2, 3, 2, 1, 5, 2, 4, 5, 3, 2, 5, 2 };
static const unsigned answer[] = { 2, 3, 1, 5, 4 };

struct clock {
  struct vmm_space *space;
  unsigned resident[FRAMES]; /* page in each frame */
  unsigned hand;
  unsigned evicted[16];
  unsigned evictions;
};

static int is_young(struct clock *clock, unsigned page)
{
  uint64_t bits = 0;

  vmm_pages(clock->space, AT + page * PAGE, PAGE, VMM_PTE_ACCESSED, &bits);
  return (bits & VMM_PTE_ACCESSED) != 0;
}

/* Second chance: a young page is made old and passed over.  => a free frame */
static unsigned evict(struct clock *clock)
{
  unsigned frame;

  while (clock->resident[clock->hand] != NOBODY &&
         is_young(clock, clock->resident[clock->hand]))
    clock->hand = (clock->hand + 1) % FRAMES;
  frame = clock->hand;
  clock->hand = (frame + 1) % FRAMES;
  if (clock->resident[frame] != NOBODY) {
    clock->evicted[clock->evictions++] = clock->resident[frame];
    vmm_protect(clock->space, AT + clock->resident[frame] * PAGE, PAGE, 0);
  }
  return frame;
}

static enum vmm_verdict load_page(struct vmm_fault *fault, void *arg)
{
  struct clock *clock = arg;
  unsigned page = (unsigned)((fault->va - AT) / PAGE);

  if (fault->reason != VMM_FAULT_RIGHTS)
    return VMM_DECLINE;
  clock->resident[evict(clock)] = page;
  if (vmm_protect(clock->space, AT + page * PAGE, PAGE,
                  VMM_READ | VMM_WRITE) != 0)
    return VMM_DECLINE;
  return VMM_RETRY;
}

/* S4.13: the trace and its answer are Stallings', Operating Systems, section
 * 8.2, "Replacement Policy". */
START_TEST(a_clock_over_young_bits_evicts_what_the_textbook_says)
{
  struct clock clock = { .resident = { NOBODY, NOBODY, NOBODY } };

  clock.space = vmm_test_space(1ull << 32, VMM_EXACT);
  ck_assert_ok(vmm_map_anon(clock.space, AT, PAGES * PAGE, 0));
  ck_assert_ok(vmm_region_set_handler(clock.space, AT, PAGES * PAGE, load_page,
                                      &clock));
  for (unsigned i = 0; i < sizeof(trace) / sizeof(trace[0]); i++)
    vmm_test_set(clock.space, AT + trace[i] * PAGE, (uint8_t)trace[i]);
  ck_assert_uint_eq(clock.evictions, sizeof(answer) / sizeof(answer[0]));
  ck_assert_mem_eq(clock.evicted, answer, sizeof(answer));
  ck_assert_uint_eq(vmm_test_get(clock.space, AT + 4 * PAGE), 4); /* kept */
  vmm_test_end(clock.space);
}
END_TEST

/* ---- the library's policy, and a pager's hook ---- */

/* A pager whose pages are all written, so that an eviction is a write-back. */
struct paged {
  struct clock clock;
  unsigned asked; /* how often for a victim */
};

static int note_fill(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  (void)offset;
  (void)to;
  (void)nbytes;
  (void)arg;
  return 0;
}

static int note_eviction(uint64_t offset, const void *from, size_t nbytes,
                         void *arg)
{
  struct paged *paged = arg;

  (void)from;
  (void)nbytes;
  if (paged->clock.evictions < 5) /* those at the end are not told of */
    paged->clock.evicted[paged->clock.evictions++] = (unsigned)(offset / PAGE);
  return 0;
}

/* The clock of above, which the pages come to when they are filled. */
static int fill_frame(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  struct clock *clock = &((struct paged *)arg)->clock;
  unsigned frame = 0;

  while (clock->resident[frame] != NOBODY)
    frame++;
  clock->resident[frame] = (unsigned)(offset / PAGE);
  return note_fill(offset, to, nbytes, arg);
}

static int choose_victim(uint64_t *offset, void *arg)
{
  struct paged *paged = arg;
  struct clock *clock = &paged->clock;

  paged->asked++;
  while (is_young(clock, clock->resident[clock->hand]))
    clock->hand = (clock->hand + 1) % FRAMES;
  *offset = clock->resident[clock->hand] * (uint64_t)PAGE;
  clock->resident[clock->hand] = NOBODY;
  clock->hand = (clock->hand + 1) % FRAMES;
  return 0;
}

/* S4.13 by the library's second chance, and by a hook that is given the choice,
 * on the pager's thread and inline. */
START_TEST(a_pager_evicts_what_the_textbook_says)
{
  struct paged paged = { .clock = { .resident = { NOBODY, NOBODY, NOBODY } } };
  bool hook = _i >= 2;
  struct vmm_pager_options options = {
    .nbytes = PAGES * PAGE, .max_frames = FRAMES, .page_size = PAGE,
    .flags = _i % 2 ? VMM_PAGER_INLINE : 0,
    .fill = hook ? fill_frame : note_fill, .write_back = note_eviction,
    .victim = hook ? choose_victim : NULL, .arg = &paged,
  };
  struct vmm_map_options map = { .rights = VMM_READ | VMM_WRITE };
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  vmm_addr_t at = AT;

  ck_assert_ok(vmm_pager_create(&map.object, &options));
  ck_assert_ok(vmm_map(space, &at, PAGES * PAGE, &map));
  paged.clock.space = space;
  for (unsigned i = 0; i < sizeof(trace) / sizeof(trace[0]); i++)
    vmm_test_set(space, AT + trace[i] * PAGE, 1);
  ck_assert_uint_eq(paged.clock.evictions, sizeof(answer) / sizeof(answer[0]));
  ck_assert_mem_eq(paged.clock.evicted, answer, sizeof(answer));
  ck_assert_uint_eq(paged.asked, hook ? 5 : 0);
  vmm_test_end(space);
  ck_assert_ok(vmm_pager_destroy(map.object));
}
END_TEST

static int choose_badly(uint64_t *offset, void *arg)
{
  unsigned *asked = arg;

  *offset = ++*asked % 2 ? 100 * PAGE : 7 * PAGE; /* outside; not resident */
  return *asked == 3;
}

START_TEST(the_library_chooses_where_the_hook_chooses_badly)
{
  unsigned asked = 0;
  struct vmm_pager_options options = {
    .nbytes = PAGES * PAGE, .max_frames = 1, .page_size = PAGE,
    .flags = VMM_PAGER_INLINE, .fill = note_fill, .victim = choose_badly,
    .arg = &asked,
  };
  struct vmm_map_options map = { .rights = VMM_READ };
  struct vmm_space *space = vmm_test_space(1ull << 32, 0);
  vmm_addr_t at = AT;

  ck_assert_ok(vmm_pager_create(&map.object, &options));
  ck_assert_ok(vmm_map(space, &at, PAGES * PAGE, &map));
  for (unsigned i = 0; i < 4; i++)
    ck_assert_uint_eq(vmm_test_get(space, AT + i * PAGE), 0);
  ck_assert_uint_eq(asked, 3);
  vmm_test_end(space);
  ck_assert_ok(vmm_pager_destroy(map.object));
}
END_TEST

Suite *vmm_suite_policy(void);

Suite *vmm_suite_policy(void)
{
  Suite *suite = suite_create("policy");
  TCase *tcase = tcase_create("policy");

  tcase_add_test(tcase,
                 a_clock_over_young_bits_evicts_what_the_textbook_says);
  tcase_add_loop_test(tcase, a_pager_evicts_what_the_textbook_says, 0, 4);
  tcase_add_test(tcase, the_library_chooses_where_the_hook_chooses_badly);
  suite_add_tcase(suite, tcase);
  return suite;
}
