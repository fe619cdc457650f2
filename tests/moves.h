/*
 * Random moves of x86-64, assembled at run time, and a way to run one of them
 * with all registers given and seen: for the suites of libvmm-mmio.
 */
#ifndef VMM_TESTS_MOVES_H
#define VMM_TESTS_MOVES_H

#include <stdbool.h>

#include "probe.h"

struct machine {
  uint64_t gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8 ...; rsp stays as it is */
  uint64_t flags;
  const void *code; /* of one move */
  uint8_t vector[16][32] __attribute__((aligned(32)));
};

/* Runs the move; the machine is then what it has become.  (In
 * test_mmio_moves.c) */
void moves_run(struct machine *machine);
extern const char moves_back[]; /* where the code of each goes on */
extern uint32_t moves_avx;      /* whether vectors have 32 bytes here */

/* What one move does, as the test knows it beforehand. */
struct move {
  uint8_t code[48]; /* with the way back behind it */
  unsigned length;  /* of the move alone */
  bool load;
  bool vector;       /* the register is one */
  unsigned reg;      /* number of the register: of a high byte, its whole one's */
  unsigned nbytes;   /* of memory */
  unsigned base, index; /* registers of the address; 16: none */
  unsigned scale;
  int32_t displacement;
  bool absolute;     /* the address is in the code: at 2 + its prefixes */
};

/* Assembles a random move.  at: where memory is, in case the move names it. */
void moves_make(struct move *move, uint64_t at, uint64_t *seed);

#endif
