/*
 * A replacement policy in a program's own code, over the young bits: the handler of
 * a region keeps three pages accessible and evicts by the clock.
 */
#include "vmm_test.h"

#define PAGE 4096u
#define AT 0x40000000u
#define PAGES 8u
#define FRAMES 3u
#define NOBODY UINT32_MAX

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

/* S4.13: the trace and its answer are Stallings', Operating Systems, section 8.2,
 * "Replacement Policy". */
START_TEST(a_clock_over_young_bits_evicts_what_the_textbook_says)
{
  static const unsigned trace[] = { 2, 3, 2, 1, 5, 2, 4, 5, 3, 2, 5, 2 };
  static const unsigned answer[] = { 2, 3, 1, 5, 4 };
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

Suite *vmm_suite_policy(void);

Suite *vmm_suite_policy(void)
{
  Suite *suite = suite_create("policy");
  TCase *tcase = tcase_create("policy");

  tcase_add_test(tcase,
                 a_clock_over_young_bits_evicts_what_the_textbook_says);
  suite_add_tcase(suite, tcase);
  return suite;
}
