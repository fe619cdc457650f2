/*
 * Snapshots, inside.  Each has a log of the pages that changed while it was the
 * latest: what they held when it was taken.  The log hangs in the page table's
 * leaves, one record a page:
 *
 *   leaf -> log of the latest -> log of an older one -> ...
 *              record[i]  0: unchanged   1: the page had no frame of its own
 *                         n + 1: it was frame n, which the log holds
 *
 * What a page held at a snapshot is the record of it or of the first newer one
 * that has one, else what it holds now.  A frame that both an entry and a log
 * hold is copy-on-write in the entry.  VMM_PTE_SAVED says that the latest log
 * has a record; without the bit it may have one too.
 *
 * Locks: a leaf's log under its leaf lock, with the space shared; all else, and
 * taking records out, with the space exclusive.  Layer 3.
 */
#ifndef VMMI_SNAPSHOT_H
#define VMMI_SNAPSHOT_H

#include "space.h"

struct vmm_snapshot {
  struct vmm_space *space;         /* (c) */
  struct vmm_snapshot *older;      /* (s) */
  uint64_t number;                 /* (c) higher than those of older ones */
  struct vmmi_region *regions;     /* (c) copies, ascending by right */
  _Atomic(struct vmmi_log *) logs; /* by next; faults push */
};

#define VMMI_RECORD_NOTHING ((uint64_t)1)

/* The log of one leaf. */
struct vmmi_log {
  struct vmm_snapshot *snapshot;
  struct vmmi_log *next;  /* of the snapshot */
  struct vmmi_log *older; /* of the leaf */
  struct vmmi_leaf *leaf;
  vmm_addr_t va;          /* of the leaf */
  uint64_t run;           /* where its copies lie, or VMMI_NO_RUN */
  unsigned count;         /* of records that are not 0, */
  uint64_t some[8];       /* and a bit for each */
  uint64_t record[];
};

#define VMMI_LOG_END UINT32_MAX

/* => the first page from i whose record is not 0, or VMMI_LOG_END */
static inline unsigned vmmi_log_next(const struct vmmi_log *log, unsigned i)
{
  for (unsigned word = i / 64; word < 8; word++) {
    uint64_t bits = log->some[word];

    if (word == i / 64)
      bits &= UINT64_MAX << i % 64;
    if (bits != 0)
      return 64 * word + (unsigned)__builtin_ctzll(bits);
  }
  return VMMI_LOG_END;
}

/* => VMM_PTE_SAVED if writes to the region's pages need it, else 0
 * => space locked; signal-safe */
vmm_pte_t vmmi_snapshot_watch(const struct vmmi_region *region);

/*
 * The page of va, whose entry is pte, is about to be written or to get another
 * frame: its latest snapshot gets a copy, or a hold.  -ENOMEM, and nothing
 * changed
 * => the leaf locked; signal-safe
 */
int vmmi_snapshot_save(struct vmmi_region *region, struct vmmi_leaf *leaf,
                       vmm_addr_t va, vmm_pte_t pte);

/* The frames of the range are about to go: keep, which can't fail, gives them
 * to the latest snapshot, after reserve found room.  -ENOMEM
 * => space locked exclusively */
int vmmi_snapshot_reserve(struct vmm_space *space, vmm_addr_t va,
                          vmm_addr_t end);
void vmmi_snapshot_keep(struct vmm_space *space, vmm_addr_t va, vmm_pte_t pte);

/* Likewise for a range that moves.  => the entry as it has to be at its new
 * place */
int vmmi_snapshot_reserve_move(struct vmm_space *space, vmm_addr_t va,
                               vmm_addr_t end, vmm_addr_t to);
vmm_pte_t vmmi_snapshot_move(struct vmm_space *space, vmm_addr_t va,
                             vmm_addr_t to, vmm_pte_t pte);

/* A page comes with a frame where none was; the latest snapshot's log of the
 * leaf was opened.  => the entry as it has to be
 * => space locked exclusively */
vmm_pte_t vmmi_snapshot_arrive(struct vmm_space *space, struct vmmi_leaf *leaf,
                               vmm_addr_t va, vmm_pte_t pte);

/* For the checker.  => space locked */
bool vmmi_snapshot_has(struct vmm_space *space, vmm_addr_t va);
unsigned vmmi_snapshot_count(struct vmm_space *space);
int vmmi_snapshot_check(struct vmm_space *space);

/* ---- between the files of snapshots ---- */

/* => the snapshot's log of the leaf, made if there is none; NULL without
 *    memory */
struct vmmi_log *vmmi_log_open(struct vmm_snapshot *snapshot,
                               struct vmmi_leaf *leaf, vmm_addr_t va);
/* => the record of page i, 0 if log is NULL */
uint64_t vmmi_log_find(const struct vmm_snapshot *snapshot,
                       const struct vmmi_leaf *leaf, unsigned i);
/* => the record of page i, or one that says what the entry has now; never 0
 * => the leaf locked */
uint64_t vmmi_log_then(const struct vmm_snapshot *snapshot,
                       const struct vmmi_leaf *leaf, unsigned i);
/* As vmmi_snapshot_save(), in whatever region; the space has a snapshot. */
int vmmi_log_save(struct vmm_space *space, struct vmmi_leaf *leaf,
                  vmm_addr_t va, vmm_pte_t pte);
/* Puts what the page of va holds into the log, which has no record of it.
 * -ENOMEM */
int vmmi_log_copy(struct vmmi_log *log, vmm_addr_t va, vmm_pte_t pte);
/* Takes record i out.  => it, whose frame is the caller's then */
uint64_t vmmi_log_take(struct vmmi_log *log, unsigned i);
/* Puts a record where none is; its frame is the log's then. */
void vmmi_log_put(struct vmmi_log *log, unsigned i, uint64_t record);
/* Frees a log out of its lists, and the frames that it holds. */
void vmmi_log_free(struct vmmi_log *log, struct vmmi_free_batch *batch);
/* Takes a log out of its leaf's list. */
void vmmi_log_unlink(struct vmmi_log *log);
void vmmi_log_push(struct vmmi_log *log, struct vmm_snapshot *snapshot);

/* Copies the space's regions for the snapshot; frees them.  -ENOMEM */
int vmmi_snapshot_copy_regions(struct vmm_snapshot *snapshot);
void vmmi_snapshot_free_regions(struct vmm_snapshot *snapshot);

/* How the regions become what they were: prepare does all that can fail and
 * changes nothing that is seen, apply does the rest; or end gives up.
 * => space locked exclusively */
struct vmmi_snapshot_plan {
  struct vmm_snapshot *snapshot;
  struct vmmi_region *added; /* by right, joined to their objects */
  bool changed;              /* there is something to do */
  bool wired;                /* out: a wired region got other rights */
};
int vmmi_snapshot_prepare_regions(struct vmmi_snapshot_plan *plan);
void vmmi_snapshot_apply_regions(struct vmmi_snapshot_plan *plan);
void vmmi_snapshot_end_regions(struct vmmi_snapshot_plan *plan);

#endif
