/*
 * The differential test of the RISC-V engine: random sequences of instructions
 * made from the engine's own table run in libvmm-emu and in qemu-riscv64, and
 * must leave the same registers, fcsr and memory.
 *
 * One guest program runs many sequences.  Each has a block of memory, which
 * holds its registers before it runs and, in the same place, after it:
 *
 *   0      256    512   1024      1280      1536
 *   | x0.. | f0.. | fcsr | scratch memory  |
 *                        ^ x2      ^ x8
 *
 * x2 and x8 point into the scratch memory, x30 and x31 belong to the driver;
 * no sequence writes these four.
 */
#ifndef VMM_TESTS_DIFF_H
#define VMM_TESTS_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  BLOCK_F = 256,
  BLOCK_FCSR = 512,
  BLOCK_SCRATCH = 1024,
  BLOCK = 1536,
  UNITS = 40,      /* of a sequence, at most */
  UNIT_PARCELS = 16, /* 16-bit parcels of a unit, at most */
  BATCH = 2000,    /* sequences of one guest program */
};

/* Where the guest program has its code and its blocks. */
static const uint64_t CODE_VA = 0x10000, BLOCKS_VA = 0x10000000;

/* The instructions that belong together: one of the table's rows with what
 * makes it harmless.  Leaving a unit out leaves a valid sequence. */
struct unit {
  uint16_t parcels[UNIT_PARCELS];
  unsigned nparcels;
};

struct sequence {
  struct unit units[UNITS];
  unsigned nunits;
  uint8_t block[BLOCK]; /* before it runs */
};

/* A stream of random numbers. */
struct random {
  uint64_t state;
};
uint64_t random_next(struct random *r);
static inline unsigned random_below(struct random *r, unsigned n)
{
  return (unsigned)(random_next(r) >> 33) % n;
}

/* Makes the sequence with this index of this seed; its block is at va. */
void make_sequence(struct sequence *s, uint64_t seed, uint64_t index,
                   uint64_t va);

/* Runs the n sequences in both engines and copies the blocks they left.
 * => false if one of them stopped otherwise than it should; it was said why */
bool run_sequences(const struct sequence *s, size_t n, uint8_t *ours,
                   uint8_t *theirs);

#endif
