/*
 * What the suites of displaced instructions share: a hart for the thread, whose
 * guest thread has the page.
 */
#ifndef VMM_TESTS_DISPLACING_H
#define VMM_TESTS_DISPLACING_H

#include <stdbool.h>

#include "vmm_test.h"

struct displacing {
  struct vmm_space *space; /* its first one brings the signals */
  struct vmm_hart *hart;
};

static inline struct displacing displacing_begin(void)
{
  struct displacing displacing;

  displacing.space = vmm_test_space(1 << 26, 0);
  ck_assert_ok(vmm_hart_create(&displacing.hart, NULL));
  return displacing;
}

static inline void displacing_end(struct displacing *displacing)
{
  ck_assert_ok(vmm_hart_destroy(displacing->hart));
  vmm_test_end(displacing->space);
}

#endif
