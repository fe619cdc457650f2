/*
 * The cache of decoded code of one cpu: traces of ops, found by pc, linked to
 * each other, dropped by page.  Used by the cpu's thread alone, except for
 * vmmi_code_invalidate().  Memory is bounded: when it is full all is flushed.
 *
 * Ops of a dropped trace stay where they are until a flush, which only happens
 * between runs of the dispatch loop: the loop never executes freed memory.
 */
#ifndef VMMI_TRACE_H
#define VMMI_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <vmm/code.h>
#include "op.h"

enum {
  TRACE_INSNS = 128,               /* instructions of a trace at most */
  TRACE_SLOTS = 3 * TRACE_INSNS + 8, /* slots that it may take */
  TRACE_PAGES = 4,                 /* pages that it may lie in */
  CODE_OPS = 1 << 18,
  CODE_TRACES = 1 << 15,
  CODE_NODES = 1 << 16,
  CODE_BUCKETS = 1 << 14,
  CODE_JUMPS = 1 << 11,
  CODE_QUEUE = 32,
  ONCE_INSNS = 32,    /* instructions decoded at once to be run once, */
  CODE_SCRATCH = 128, /* and slots for them */
};

/* A trace; index 0 is none. */
struct vmmi_trace {
  vmm_addr_t pc;
  uint32_t first;    /* its first op */
  uint32_t nslots;
  uint32_t next;     /* in its bucket */
  uint32_t incoming; /* extensions of other traces that are linked to it */
  bool live;
};

/* "This trace has code in this page." */
struct vmmi_code_page {
  uint64_t page;
  uint32_t trace;
  uint32_t next;
};

/* The cache of indirect jumps, by pc. */
struct vmmi_jump {
  vmm_addr_t pc;
  struct vmmi_op *op; /* NULL: empty */
};

/* A range told by the notifier: EMPTY -> BUSY -> READY -> EMPTY. */
struct vmmi_stale {
  _Atomic uint32_t state;
  vmm_addr_t va;
  uint64_t nbytes;
};

struct vmmi_code {
  struct vmmi_jump jumps[CODE_JUMPS];
  struct vmmi_op *ops;
  struct vmmi_op_info *info;
  struct vmmi_trace *traces;
  struct vmmi_code_page *nodes;
  uint32_t nops, ntraces, nnodes;
  uint32_t buckets[CODE_BUCKETS];
  uint32_t pages[CODE_BUCKETS];
  unsigned page_shift;
  uint64_t dropped; /* pages of decoded code that were dropped */
  uint64_t generation; /* changes with each flush */

  struct vmmi_stale queue[CODE_QUEUE];
  _Atomic uint32_t overflow; /* a range found no room: flush */
};

/* -ENOMEM  no memory */
int vmmi_code_init(struct vmmi_code *code, uint32_t page_size);
void vmmi_code_fini(struct vmmi_code *code);

/* => the first op of the trace that begins at pc, or NULL */
struct vmmi_op *vmmi_code_find(struct vmmi_code *code, vmm_addr_t pc);

/* Makes room for a trace of TRACE_SLOTS and TRACE_PAGES.
 * => true if it flushed */
bool vmmi_code_reserve(struct vmmi_code *code);

/* Keeps the slots [nops, nops + nslots) as the trace that begins at pc and lies
 * in these pages.  => its first op */
struct vmmi_op *vmmi_code_keep(struct vmmi_code *code, vmm_addr_t pc,
                               uint32_t nslots, const uint64_t *pages,
                               unsigned npages);

/* Links the extension to the first op of a trace.  => between runs only */
void vmmi_code_link(struct vmmi_code *code, struct vmmi_op *extension,
                    struct vmmi_op *first);
/* Links an extension to an op of its own trace. */
void vmmi_code_link_inside(struct vmmi_code *code, struct vmmi_op *extension,
                           struct vmmi_op *op);

void vmmi_code_flush(struct vmmi_code *code);

/* Queues a range.  => any thread; signal-safe */
void vmmi_code_invalidate(struct vmmi_code *code, vmm_addr_t va,
                          uint64_t nbytes);
/* Drops what was queued. */
void vmmi_code_drop_stale(struct vmmi_code *code);

static inline struct vmmi_op_info *vmmi_code_info(struct vmmi_code *code,
                                                  const struct vmmi_op *op)
{
  return &code->info[op - code->ops];
}

static inline struct vmmi_jump *vmmi_code_jump(struct vmmi_code *code,
                                               vmm_addr_t pc)
{
  return &code->jumps[(pc >> 1) & (CODE_JUMPS - 1)];
}

#endif
