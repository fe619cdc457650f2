/*
 * riscv-diff [sequences [seed]]: compares libvmm-emu with qemu-riscv64 over so
 * many random sequences (default 100,000).  The first that differs is shrunk to
 * the units that matter and printed; then the exit status is 1.
 */
#include "diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmm/emu.h>

static struct sequence sequences[BATCH];
static uint8_t ours[BATCH * BLOCK], theirs[BATCH * BLOCK];

/* ---- what differs ---- */

/* x30 and x31 are the driver's. */
static bool is_compared(unsigned at)
{
  return at / 8 != 30 && at / 8 != 31;
}

static bool differs(const uint8_t *a, const uint8_t *b)
{
  unsigned at;

  for (at = 0; at < BLOCK; at += 8)
    if (is_compared(at) && memcmp(a + at, b + at, 8) != 0)
      return true;
  return false;
}

static void print_place(unsigned at)
{
  if (at < BLOCK_F)
    printf("x%u", at / 8);
  else if (at < BLOCK_FCSR)
    printf("f%u", (at - BLOCK_F) / 8);
  else if (at < BLOCK_SCRATCH)
    printf("fcsr");
  else
    printf("scratch+%u", at - BLOCK_SCRATCH);
}

static uint64_t word(const uint8_t *block, unsigned at)
{
  uint64_t value;

  memcpy(&value, block + at, 8);
  return value;
}

static void print_difference(const uint8_t *before, const uint8_t *a,
                             const uint8_t *b)
{
  unsigned at;

  for (at = 0; at < BLOCK; at += 8) {
    if (!is_compared(at) || memcmp(a + at, b + at, 8) == 0)
      continue;
    printf("  ");
    print_place(at);
    printf(": before %016" PRIx64 "  libvmm %016" PRIx64 "  qemu %016" PRIx64
           "\n",
           word(before, at), word(a, at), word(b, at));
  }
}

static void print_sequence(const struct sequence *s)
{
  unsigned i, at;
  char text[80];
  int n;

  printf("  fcsr before: %#" PRIx64 "\n", word(s->block, BLOCK_FCSR));
  for (i = 0; i < s->nunits; i++)
    for (at = 0; at < s->units[i].nparcels; at += (unsigned)n / 2) {
      n = vmm_disassemble(NULL, 0, s->units[i].parcels + at,
                          2 * (s->units[i].nparcels - at), text, sizeof(text));
      if (n < 0)
        n = 2, snprintf(text, sizeof(text), "?");
      printf("  %s\n", text);
    }
}

static void print_registers(const struct sequence *s)
{
  unsigned at;

  printf("registers before:\n");
  for (at = 0; at < BLOCK_FCSR; at += 8) {
    printf("  ");
    print_place(at);
    printf(" %016" PRIx64 "%s", word(s->block, at), at % 32 == 24 ? "\n" : "");
  }
}

/* ---- shrinking ---- */

static bool fails(const struct sequence *s)
{
  if (!run_sequences(s, 1, ours, theirs))
    return true;
  return differs(ours, theirs);
}

static struct sequence without(const struct sequence *s, unsigned unit)
{
  struct sequence shorter = *s;

  shorter.nunits--;
  memmove(&shorter.units[unit], &shorter.units[unit + 1],
          (shorter.nunits - unit) * sizeof(shorter.units[0]));
  return shorter;
}

/* Leaves out each unit without which it still fails. */
static void shrink(struct sequence *s)
{
  struct sequence shorter;
  unsigned i;

  for (i = s->nunits; i-- > 0;) {
    shorter = without(s, i);
    if (fails(&shorter))
      *s = shorter;
  }
}

static void report(uint64_t seed, uint64_t index)
{
  struct sequence s;

  make_sequence(&s, seed, index, BLOCKS_VA);
  printf("seed %" PRIu64 ", sequence %" PRIu64 " differs", seed, index);
  if (!fails(&s)) {
    printf(", but not when it runs alone\n");
    print_sequence(&s);
    return;
  }
  shrink(&s);
  printf("; without what does not matter:\n");
  print_sequence(&s);
  fails(&s);
  printf("it leaves:\n");
  print_difference(s.block, ours, theirs);
  print_registers(&s);
}

/* ---- batches ---- */

/* => the first of the batch that differs, or n */
static size_t run_batch(uint64_t seed, uint64_t first, size_t n)
{
  size_t i;

  for (i = 0; i < n; i++)
    make_sequence(&sequences[i], seed, first + i, BLOCKS_VA + i * BLOCK);
  if (run_sequences(sequences, n, ours, theirs)) {
    for (i = 0; i < n; i++)
      if (differs(ours + i * BLOCK, theirs + i * BLOCK))
        return i;
    return n;
  }
  for (i = 0; i < n; i++) { /* one of them stopped the program */
    make_sequence(&sequences[0], seed, first + i, BLOCKS_VA);
    if (fails(&sequences[0]))
      return i;
  }
  return n;
}

int main(int argc, char **argv)
{
  uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 100000;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
  uint64_t done = 0;

  printf("seed %" PRIu64 "\n", seed);
  fflush(stdout);
  while (done < count) {
    size_t n = count - done < BATCH ? (size_t)(count - done) : BATCH;
    size_t bad = run_batch(seed, done, n);

    if (bad != n) {
      report(seed, done + bad);
      return 1;
    }
    done += n;
  }
  printf("%" PRIu64 " sequences, no difference\n", done);
  return 0;
}
