/*
 * The page-table entry: its bits, and the operations on them as pure functions.
 *
 *  63                        24 23 20 19 18 17 16 15         8 7 6 5 4 3 2 1 0
 * +----------------------------+-----+--+--------+------------+---------------+
 * |           frame            |  0  |V |SX SW SR| trackers   |C S M A X W R P|
 * +----------------------------+-----+--+--------+------------+---------------+
 *
 * P  PRESENT    the entry has a frame         A  ACCESSED   young
 * R  READ   W  WRITE   X  EXEC   rights       M  MODIFIED   dirty
 * S  SUPERVISOR hidden from user views        C  COW        the frame is shared
 * trackers      one bit each: accessed or written since its last clear
 * V  SAVED      the latest snapshot has what the page held: it may be written
 * (20 to 22 are no entry's: in a vmm_pte_watch they keep SR, SW, SX away)
 * SR SREAD  SW SWRITE  SX SEXEC  "silent": a window may grant it, so that the
 *               access reaches memory without a fault
 *
 * The region decides whether an access is legal, the entry only whether it is
 * silent.  What a silent bit needs (the invariant that every operation keeps):
 *
 *   SREAD  => PRESENT, ACCESSED, READ and the bit of every access tracker
 *   SWRITE => SREAD, WRITE, MODIFIED, not COW, the bit of every tracker, and
 *             SAVED while the space has a snapshot
 *   SEXEC  => PRESENT, ACCESSED, EXEC
 *   never SWRITE and SEXEC together
 *
 * The names are the field's (Linux pte_mkdirty, pte_wrprotect ...); the split
 * of MODIFIED and a silent write bit is that of MIPS (arch/mips
 * pgtable-bits.h).
 */
#ifndef VMM_PTE_H
#define VMM_PTE_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t vmm_pte_t;

#define VMM_PTE_PRESENT ((vmm_pte_t)1 << 0)
#define VMM_PTE_READ ((vmm_pte_t)1 << 1)
#define VMM_PTE_WRITE ((vmm_pte_t)1 << 2)
#define VMM_PTE_EXEC ((vmm_pte_t)1 << 3)
#define VMM_PTE_ACCESSED ((vmm_pte_t)1 << 4)
#define VMM_PTE_MODIFIED ((vmm_pte_t)1 << 5)
#define VMM_PTE_SUPERVISOR ((vmm_pte_t)1 << 6)
#define VMM_PTE_COW ((vmm_pte_t)1 << 7)
#define VMM_PTE_TRACKER(slot) ((vmm_pte_t)1 << (8 + (slot)))
#define VMM_PTE_TRACKERS ((vmm_pte_t)0xff << 8)
#define VMM_PTE_SREAD ((vmm_pte_t)1 << 16)
#define VMM_PTE_SWRITE ((vmm_pte_t)1 << 17)
#define VMM_PTE_SEXEC ((vmm_pte_t)1 << 18)
#define VMM_PTE_SAVED ((vmm_pte_t)1 << 19)

#define VMM_PTE_RIGHTS (VMM_PTE_READ | VMM_PTE_WRITE | VMM_PTE_EXEC)
#define VMM_PTE_SILENT (VMM_PTE_SREAD | VMM_PTE_SWRITE | VMM_PTE_SEXEC)
#define VMM_PTE_WATCHED (VMM_PTE_TRACKERS | VMM_PTE_SAVED)
#define VMM_PTE_FRAME_SHIFT 24
/* A silent bit, shifted so: watchpoints (<vmm/watch.h>) deny it. */
#define VMM_PTE_STOP_SHIFT 4
#define VMM_PTE_STOPS (VMM_PTE_SILENT << VMM_PTE_STOP_SHIFT)

/* What watches a page: trackers, as VMM_PTE_TRACKER() bits, snapshots,
 * watchpoints. */
struct vmm_pte_watch {
  vmm_pte_t access; /* trackers of kind VMM_TRACK_ACCESS */
  vmm_pte_t all;    /* those, those of kind VMM_TRACK_WRITE; VMM_PTE_SAVED;
                       stops */
};

/* => the silent bits that watchpoints deny */
static inline vmm_pte_t vmm_pte_stopped(struct vmm_pte_watch watch)
{
  return (watch.all & VMM_PTE_STOPS) >> VMM_PTE_STOP_SHIFT;
}

static inline uint64_t vmm_pte_frame(vmm_pte_t pte)
{
  return pte >> VMM_PTE_FRAME_SHIFT;
}

/* => an entry with this frame and these rights (VMM_PTE_READ ...;
 *    VMM_PTE_SUPERVISOR goes along), neither young nor dirty */
static inline vmm_pte_t vmm_pte_make(uint64_t frame, vmm_pte_t rights)
{
  return (vmm_pte_t)frame << VMM_PTE_FRAME_SHIFT | VMM_PTE_PRESENT |
         (rights & (VMM_PTE_RIGHTS | VMM_PTE_SUPERVISOR));
}

/* Narrowing: each clears its bit and the silent bits that need it. */

static inline vmm_pte_t vmm_pte_wrprotect(vmm_pte_t pte)
{
  return pte & ~(VMM_PTE_WRITE | VMM_PTE_SWRITE);
}

static inline vmm_pte_t vmm_pte_rdprotect(vmm_pte_t pte)
{
  return pte & ~(VMM_PTE_READ | VMM_PTE_SREAD | VMM_PTE_SWRITE);
}

static inline vmm_pte_t vmm_pte_exprotect(vmm_pte_t pte)
{
  return pte & ~(VMM_PTE_EXEC | VMM_PTE_SEXEC);
}

static inline vmm_pte_t vmm_pte_mkclean(vmm_pte_t pte)
{
  return pte & ~(VMM_PTE_MODIFIED | VMM_PTE_SWRITE);
}

static inline vmm_pte_t vmm_pte_mkold(vmm_pte_t pte)
{
  return pte & ~(VMM_PTE_ACCESSED | VMM_PTE_SILENT);
}

/* Clears trackers' bits (a mask of VMM_PTE_TRACKER) that watch the page. */
static inline vmm_pte_t vmm_pte_untrack(vmm_pte_t pte, vmm_pte_t bits,
                                        struct vmm_pte_watch watch)
{
  bits &= VMM_PTE_TRACKERS;
  pte &= ~bits;
  if (bits & watch.all)
    pte &= ~VMM_PTE_SWRITE;
  if (bits & watch.access) /* a fetch is an access too */
    pte &= ~(VMM_PTE_SREAD | VMM_PTE_SEXEC);
  return pte;
}

/* Widening: each sets its bit, and grants a silent bit where all it needs is
 * there.  SWRITE is not granted to an entry that has SEXEC. */

static inline vmm_pte_t vmm_pte_silence(vmm_pte_t pte,
                                        struct vmm_pte_watch watch)
{
  const vmm_pte_t young = VMM_PTE_PRESENT | VMM_PTE_ACCESSED;
  vmm_pte_t read = young | VMM_PTE_READ | (watch.access & VMM_PTE_TRACKERS);
  vmm_pte_t write = read | VMM_PTE_SREAD | VMM_PTE_WRITE | VMM_PTE_MODIFIED |
                    (watch.all & VMM_PTE_WATCHED);

  if ((pte & read) == read)
    pte |= VMM_PTE_SREAD;
  pte &= ~vmm_pte_stopped(watch);
  if ((pte & write) == write && !(pte & (VMM_PTE_COW | VMM_PTE_SEXEC)))
    pte |= VMM_PTE_SWRITE;
  return pte & ~vmm_pte_stopped(watch);
}

static inline vmm_pte_t vmm_pte_mkyoung(vmm_pte_t pte,
                                        struct vmm_pte_watch watch)
{
  pte |= VMM_PTE_ACCESSED | (watch.access & VMM_PTE_TRACKERS);
  return vmm_pte_silence(pte, watch);
}

static inline vmm_pte_t vmm_pte_mkdirty(vmm_pte_t pte,
                                        struct vmm_pte_watch watch)
{
  pte |= VMM_PTE_MODIFIED | (watch.all & VMM_PTE_WATCHED);
  return vmm_pte_silence(pte, watch);
}

static inline vmm_pte_t vmm_pte_mkread(vmm_pte_t pte,
                                       struct vmm_pte_watch watch)
{
  return vmm_pte_silence(pte | VMM_PTE_READ, watch);
}

static inline vmm_pte_t vmm_pte_mkwrite(vmm_pte_t pte,
                                        struct vmm_pte_watch watch)
{
  return vmm_pte_silence(pte | VMM_PTE_WRITE, watch);
}

/* Takes SWRITE away where it grants SEXEC.  (What a watchpoint denies is the
 * caller's to take.) */
static inline vmm_pte_t vmm_pte_mkexec(vmm_pte_t pte)
{
  const vmm_pte_t need = VMM_PTE_PRESENT | VMM_PTE_ACCESSED;

  pte |= VMM_PTE_EXEC;
  if ((pte & need) == need)
    pte = (pte | VMM_PTE_SEXEC) & ~VMM_PTE_SWRITE;
  return pte;
}

/* The entry is no longer code: SEXEC goes; SWRITE may be granted again. */
static inline vmm_pte_t vmm_pte_uncode(vmm_pte_t pte)
{
  return pte & ~VMM_PTE_SEXEC;
}

/* Replaces the rights; keeps frame, young, dirty and trackers; takes away the
 * silent bits that the new rights do not cover and grants none. */
static inline vmm_pte_t vmm_pte_modify(vmm_pte_t pte, vmm_pte_t rights)
{
  pte = (pte & ~VMM_PTE_RIGHTS) | (rights & VMM_PTE_RIGHTS);
  if (!(pte & VMM_PTE_READ))
    pte &= ~(VMM_PTE_SREAD | VMM_PTE_SWRITE);
  if (!(pte & VMM_PTE_WRITE))
    pte &= ~VMM_PTE_SWRITE;
  if (!(pte & VMM_PTE_EXEC))
    pte &= ~VMM_PTE_SEXEC;
  return pte;
}

/* => whether the invariant above holds */
static inline int vmm_pte_valid(vmm_pte_t pte, struct vmm_pte_watch watch)
{
  const vmm_pte_t young = VMM_PTE_PRESENT | VMM_PTE_ACCESSED;
  vmm_pte_t read = young | VMM_PTE_READ | (watch.access & VMM_PTE_TRACKERS);
  vmm_pte_t write = read | VMM_PTE_SREAD | VMM_PTE_WRITE | VMM_PTE_MODIFIED |
                    (watch.all & VMM_PTE_WATCHED);
  vmm_pte_t exec = young | VMM_PTE_EXEC;

  if (pte & vmm_pte_stopped(watch))
    return 0;
  if ((pte & VMM_PTE_SREAD) && (pte & read) != read)
    return 0;
  if ((pte & VMM_PTE_SEXEC) && (pte & exec) != exec)
    return 0;
  if (!(pte & VMM_PTE_SWRITE))
    return 1;
  return (pte & write) == write && !(pte & (VMM_PTE_COW | VMM_PTE_SEXEC));
}

#ifdef __cplusplus
}
#endif
#endif
