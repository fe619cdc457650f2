/*
 * Fusing: where the ops of a trace follow each other as riscv_fused.def says,
 * the first gets the label that runs them all.
 */
#include "riscv.h"

/* A fused op by its first two, and by three. */
static uint16_t pairs[RISCV_OPS][RISCV_OPS];

static const struct {
  uint16_t ops[3], fused;
} triples[] = {
#define TRIPLE(first, second, third)                                           \
  { { RISCV_##first, RISCV_##second, RISCV_##third },                          \
    RISCV_##first##_##second##_##third },
#include "riscv_fused.def"
};

void vmmi_riscv_fuse_prepare(void)
{
#define PAIR(first, second)                                                    \
  pairs[RISCV_##first][RISCV_##second] = RISCV_##first##_##second;
#define PAIR_BRANCH PAIR
#include "riscv_fused.def"
}

static unsigned find_triple(const uint8_t *codes)
{
  size_t i;

  for (i = 0; i < sizeof(triples) / sizeof(triples[0]); i++)
    if (codes[0] == triples[i].ops[0] && codes[1] == triples[i].ops[1] &&
        codes[2] == triples[i].ops[2])
      return triples[i].fused;
  return 0;
}

void vmmi_riscv_fuse(struct vmmi_op *ops, const uint8_t *codes, size_t n,
                     const void *const *labels)
{
  unsigned fused;
  size_t i;

  for (i = 0; i + 1 < n; i++) {
    fused = i + 2 < n ? find_triple(&codes[i]) : 0;
    if (fused != 0) {
      ops[i].handler = labels[fused];
      i += 2;
      continue;
    }
    fused = pairs[codes[i]][codes[i + 1]];
    if (fused != 0) {
      ops[i].handler = labels[fused];
      i++;
    }
  }
}
