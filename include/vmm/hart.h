/*
 * Harts: what runs guest code.  A hart is bound to the host thread that makes
 * it, and ends with that thread or before it.  It may have windows of its own
 * over spaces, filled by its own faults alone, several at a time: it keeps one
 * for each of its tags (an address-space identifier, ASID), so that turning
 * from one space to another and back is an exchange of base addresses, and
 * nothing is flushed.
 *
 * A thread needs no hart: the space's window is there for all.
 *
 * A window of a hart's own is a window like any other: whoever touches it, from
 * any thread, faults in that window, for that hart.  But when its space is
 * turned away (below) its addresses are in no window until another space gets
 * them.
 */
#ifndef VMM_HART_H
#define VMM_HART_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_hart;

enum {
  VMM_HART_WINDOWS = 1 << 0, /* windows of its own; else each space's */
  VMM_HART_USER = 1 << 1,    /* they hide VMM_SUPERVISOR memory */
  VMM_HART_INVALID = 1 << 2, /* they hold invalid entries: see below */
  VMM_HART_EAGER = 1 << 3,   /* and yet each new mapping goes to them at once */
  VMM_HART_VIEWS = 1 << 4,   /* a user and a supervisor window: <vmm/view.h> */
};

/*
 * Invalid entries: a window remembers that an access failed, because nothing
 * was mapped there or the region lacks the right, and reports the next one at
 * once.  It still makes no difference to what a guest sees: who maps something,
 * or widens rights, marks the window; the next fault in it takes the mark,
 * drops all that was remembered, and is looked up afresh.  No window is visited
 * for a new mapping, however many harts there are.  VMM_HART_EAGER is there to
 * compare: each new mapping visits each window, a shootdown.  Narrowing reaches
 * every window before the call returns in any case.
 */

struct vmm_hart_options {
  uint32_t flags;       /* VMM_HART_WINDOWS ... */
  uint32_t tag_bits;    /* 1 to 8: 2^tag_bits windows at most; 0: 4 */
  uint64_t window_size; /* bytes of the largest space that its windows must
                           hold; 0: each is made as its space needs it */
  uint64_t displacement; /* with VMM_HART_VIEWS: bytes, a multiple of the host's
                            page, by which guest addressing may miss the user
                            window on either side; 0: 2 GiB */
  uint64_t reserved[7];
};

/*
 * Makes the calling thread's hart.  options may be NULL: it shares the spaces'
 * windows.  Address space for a window is reserved when its tag is first given:
 * in the end 2^tag_bits times the largest space with its guards; twice that and
 * the displacements for VMM_HART_VIEWS.
 *
 * -EINVAL  tag_bits above 8, or set without VMM_HART_WINDOWS, as window_size or
 *          another flag; VMM_HART_USER with VMM_HART_VIEWS, displacement
 *          without
 * -EEXIST  the thread has a hart
 * -ENOSPC  1024 harts are there
 * -E2BIG   2^tag_bits windows of window_size are more than the host's address
 *          range
 * -ENOMEM  no memory, or no thread key left
 */
VMM_API int vmm_hart_create(struct vmm_hart **hart,
                            const struct vmm_hart_options *options);

/*
 * Ends the hart and its windows.  A thread that ends does it by itself,
 * whatever its hart runs then.  NULL is allowed.
 *
 * -EBUSY   it runs a space: vmm_hart_set_space() to NULL first
 * -EPERM   it is another thread's
 */
VMM_API int vmm_hart_destroy(struct vmm_hart *hart);

/* => the calling thread's hart, or NULL; signal-safe */
VMM_API struct vmm_hart *vmm_hart_current(void);

/*
 * Turns the hart to a space, or, if it is NULL, to none.  *base (which may be
 * NULL) becomes the host address of the space's guest address 0 for this hart:
 * of its own window (the user's, if it has two), or of the space's; NULL where
 * there is no window (VMM_CHECKED).
 *
 * If the hart has a live tag for the space this takes no lock and calls nothing
 * of the host, and the window is as it was left.  If not, the next tag is
 * given.  When all were given, every window of the hart is flushed and turned
 * away from its space, and the next generation of tags begins: then the base
 * for a space may be another one, so take it anew each time.
 *
 * -EINVAL  not a space, or destroyed     -EPERM  the hart is another thread's
 * -EBUSY   the space is being destroyed; the hart's user view is active
 * -E2BIG   the space is larger than window_size, or its guard_below than
 *          displacement, or 2^tag_bits windows as large as it are more than the
 *          host's address range
 * -ENOMEM  the host can't reserve the window, or has no memory
 */
VMM_API int vmm_hart_set_space(struct vmm_hart *hart, struct vmm_space *space,
                               char **base);

/* What the calling thread's hart runs now: the space, and the base; NULL: none,
 * or the hart is another thread's.  => signal-safe */
VMM_API struct vmm_space *vmm_hart_space(const struct vmm_hart *hart);
VMM_API char *vmm_hart_base(const struct vmm_hart *hart);

/* => 0 to 1023: the lowest number that no other hart had when this one was
 *    made; -1 if it is no hart; signal-safe */
VMM_API int vmm_hart_number(const struct vmm_hart *hart);

/* Empties the hart's own windows, all of them; tags stay live.
 * -EPERM   the hart is another thread's */
VMM_API int vmm_hart_flush(struct vmm_hart *hart);

/* Counters of one hart, never reset. */
struct vmm_hart_stats {
  uint32_t struct_size; /* sizeof, set by the caller */
  uint32_t number;
  uint64_t context;    /* of the space that it runs: generation, tag; 0: none */
  uint64_t generation; /* from 1 */
  uint64_t switches;   /* to a space, */
  uint64_t live;       /* ... that had a live tag */
  uint64_t tags;       /* given */
  uint64_t rollovers;  /* of the tags: a flush of all windows each */
  uint64_t flushes;    /* of all windows: rollovers, and vmm_hart_flush() */
  uint64_t flushed;    /* windows that a flush found something in */
  uint64_t host_calls; /* on its windows */
  uint64_t negatives;  /* invalid entries made, */
  uint64_t refused;    /* ... accesses that one ended, */
  uint64_t marks;      /* ... times that a change marked a window, */
  uint64_t retries;    /* ... faults that took a mark: looked up afresh, */
  uint64_t shootdowns; /* ... visits of a window by a change (VMM_HART_EAGER) */
};

/* By any thread.  => signal-safe */
VMM_API int vmm_hart_stats(const struct vmm_hart *hart,
                           struct vmm_hart_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
