/*
 * Pagers, inside.  The bytes of a pager's object lie in a memory file of its
 * own, so that a page's frame is known from its offset; a page that is not
 * resident is a hole in it, which nothing maps and no entry names.
 *
 *                     fill                    a write is granted
 *   ABSENT -> FILLING ----> RESIDENT, clean <--------------------> dirty
 *     ^                        |              written back
 *     +------------------------+
 *       evicted: entries, windows, bytes
 *
 * A page is dirty from when SWRITE is granted to an entry of it until it has
 * been taken from all and the bytes are kept; it is young from when anything is
 * granted until it is passed over by second chance.  So the bits of entries
 * stay the program's.  While a page is kept nobody may write it: who wants to
 * waits.
 *
 * Locks: the object's guards all of it, and the entries of its pages in all
 * spaces.  Graph lock: who waits for whom, a leaf.  Layer 3.
 */
#ifndef VMMI_PAGER_H
#define VMMI_PAGER_H

#include <vmm/pager.h>

#include "space.h"

enum vmmi_pager_state {
  VMMI_PAGER_ABSENT,
  VMMI_PAGER_FILLING, /* asked for, or being filled */
  VMMI_PAGER_RESIDENT,
};

enum vmmi_pager_keeping {
  VMMI_PAGER_IDLE,
  VMMI_PAGER_QUEUED,  /* to be written back, may be written meanwhile */
  VMMI_PAGER_WRITING,
};

/* Links are a page's index + 1; 0: none. */
struct vmmi_pager_page {
  uint8_t state;
  uint8_t keeping;
  bool young, dirty;
  uint32_t pins;  /* vmm_pin(): it stays */
  uint32_t holds; /* by calls that soon let go */
  uint32_t next, previous;             /* the ring of resident pages */
  uint32_t queue_next, queue_previous; /* what waits for the pager's thread */
};

/* A thread in a callback, or on its way to one, for pages [start, end). */
struct vmmi_pager_call {
  struct vmmi_pager *pager;
  struct vmm_waiter *thread;
  uint32_t start, end;
  struct vmm_space *space; /* whose access needs it; or NULL */
  struct vmmi_pager_call *outer; /* of the thread */
  struct vmmi_pager_call *next;  /* of the pager */
};

/* A thread that waits for pages [start, end). */
struct vmmi_wait {
  uint32_t start, end;
  struct vmm_space *space; /* whose access waits; or NULL */
  bool stays;   /* for all that happens to them, not for the first */
  bool wants;   /* the page is held for it when it has been filled */
  bool held;    /* out: it was */
  bool done;    /* out: it is over */
  int error;    /* out: what the pager said */
  unsigned reason;
  _Atomic uint32_t word;    /* what it sleeps on */
  struct vmm_waiter *owner; /* (graph) whom it waits for; NULL: nobody */
  struct vmmi_wait *outer;  /* (graph) of the thread */
  struct vmmi_wait *next;   /* of the pager */
};

struct vmmi_pager {
  struct vmm_object *object;        /* (c) */
  struct vmm_pager_options options; /* (c) */
  unsigned page_shift;              /* (c) */
  uint32_t npages;                  /* (c) */
  struct vmmi_pager_page *page;     /* (o) */
  uint32_t *used;                   /* (o) by VMMI_PAGER_GROUP: not absent */
  uint32_t hand;                    /* (o) of the clock: index + 1 */
  uint32_t queue_first, queue_last; /* (o) */
  uint64_t frames;                  /* (o) resident or being filled */
  uint64_t dirty;                   /* (o) pages */
  struct vmmi_wait *waits;          /* (o) */
  struct vmmi_pager_call *calls;    /* (o) */
  bool ending, joined;              /* (o) somebody waits for the thread */
  _Atomic uint32_t bell;            /* rung when the thread has work */
  pthread_t thread;                 /* (c) without VMM_PAGER_INLINE */
  struct vmm_waiter *service;       /* (c) the thread's own; NULL: inline */
  struct vmmi_pager *next_dead;
  uint64_t fills, write_backs, evictions, failures, nwaits; /* (o) */
};

#define VMMI_PAGER_GROUP 512u
#define VMMI_PAGER_RUN 64u /* pages that are written back by one call at most */

/* ---- for the fault path and for what holds pages ---- */

/* => whether the entry shows a page of a pager */
bool vmmi_pager_shows(const struct vmmi_region *region, vmm_pte_t pte);

/*
 * => whether the access to the page of va, whose entry is pte, has to wait for
 *    the region's pager
 * => object locked, if there is one; signal-safe
 */
bool vmmi_pager_must_wait(const struct vmmi_region *region, vmm_addr_t va,
                          vmm_pte_t pte, bool write);

/* The entry, which shows a page of a pager, is about to grant: marks it young,
 * and dirty.  => whether SWRITE may be granted.  => as above */
bool vmmi_pager_touch(const struct vmmi_region *region, vmm_addr_t va,
                      bool write);

/* Keeps a resident page, for long or for a moment.  => object locked */
void vmmi_pager_hold(const struct vmmi_region *region, vmm_addr_t va, bool pin);
/* Lets it go; it is dirty if it was written.  => not locked, inside enter */
void vmmi_pager_unhold(struct vmm_object *object, uint64_t offset, bool pin,
                       bool written);

/*
 * Waits until the page at offset is there, and for a write until it may be
 * written.  The caller holds the object, and is a user of the space, until it
 * returns.
 * => 0: look again; *held: vmmi_pager_unhold() is due, for no pin; or an error
 *    with *reason
 * => no lock held, inside enter; signal-safe; calls the pager
 */
int vmmi_pager_bring(struct vmm_object *object, uint64_t offset,
                     struct vmm_space *space, bool write, unsigned *reason,
                     bool *held);

/* => whether the page of va, in a region of a pager's object, is there
 * => object locked */
bool vmmi_pager_is_resident(const struct vmmi_region *region, vmm_addr_t va);
/* Proves the pagers of the space's regions.  => space locked */
int vmmi_pager_check(struct vmm_space *space);

/* In a copy of the process: forgets other threads' work; then starts the
 * pagers' threads, once they can come in.  => nobody else is there; -EAGAIN */
int vmmi_pager_fork_child(void);
int vmmi_pager_fork_start(void);

/* ---- between the files of pagers ---- */

/* Starts the pager's thread, if it is to have one.  -EAGAIN; => inside, not
 * locked */
int vmmi_pager_start(struct vmmi_pager *pager);
/* => 0; -EINVAL what is no pager's object; -ESTALE in a child of fork */
int vmmi_pager_check_handle(const struct vmm_object *object);

/* Frees it, and its object.  => nobody holds the object; inside, not locked */
void vmmi_pager_bury(struct vmmi_pager *pager);

static inline uint32_t vmmi_pager_index(const struct vmmi_pager *pager,
                                        uint64_t offset)
{
  return (uint32_t)(offset >> pager->page_shift);
}

/* => the page's bytes in the alias */
char *vmmi_pager_bytes(const struct vmmi_pager *pager, uint32_t i);

/* pager_page.c: pages and the entries that show them.  => object locked */

/* => the first page of [i, end) that is not absent, or end */
uint32_t vmmi_pager_next(const struct vmmi_pager *pager, uint32_t i,
                         uint32_t end);
void vmmi_pager_set_state(struct vmmi_pager *pager, uint32_t i,
                          enum vmmi_pager_state state);
void vmmi_pager_set_dirty(struct vmmi_pager *pager, uint32_t i, bool dirty);
void vmmi_pager_enqueue(struct vmmi_pager *pager, uint32_t i);
/* Wakes the pager's thread. */
void vmmi_pager_ring(struct vmmi_pager *pager);
void vmmi_pager_dequeue(struct vmmi_pager *pager, uint32_t i);
/* => whether a wired region maps the page */
bool vmmi_pager_is_wired(const struct vmmi_pager *pager, uint32_t i);
/* => whether nothing but its bytes' being dirty keeps the page */
bool vmmi_pager_may_go(const struct vmmi_pager *pager, uint32_t i);
/* Makes it old: its next access tells. */
void vmmi_pager_pass_over(struct vmmi_pager *pager, uint32_t i);
/* Takes the right to write n pages silently, but for wired mappings; they are
 * clean but for those that may be written all the same. */
void vmmi_pager_begin_write(struct vmmi_pager *pager, uint32_t i, uint32_t n);
/* Takes a clean page that may go from all entries and windows, and its
 * bytes. */
void vmmi_pager_drop(struct vmmi_pager *pager, uint32_t i);
void vmmi_pager_wipe(struct vmmi_pager *pager, uint32_t i);

/* pager_wait.c */

/* => the object is locked before and after all of these; wait unlocks
 *    meanwhile. */
int vmmi_wait_begin(struct vmmi_pager *pager, struct vmmi_wait *wait,
                    struct vmm_waiter *owner);
/* Sleeps until the pager has done something.  => 0, -EINTR */
int vmmi_wait_sleep(struct vmmi_pager *pager, struct vmmi_wait *wait);
void vmmi_wait_end(struct vmmi_pager *pager, struct vmmi_wait *wait);
/* The pager has done with pages [start, end): filled or kept them, or
 * failed. */
void vmmi_wait_complete(struct vmmi_pager *pager, uint32_t start, uint32_t end,
                        bool filled, int error, unsigned reason);

void vmmi_call_begin(struct vmmi_pager_call *call, struct vmmi_pager *pager,
                     uint32_t start, uint32_t end);
void vmmi_call_end(struct vmmi_pager_call *call);
/* => whether the calling thread is in a callback of the pager */
bool vmmi_call_is_within(const struct vmmi_pager *pager);
/* => who works on page i */
struct vmm_waiter *vmmi_call_owner(const struct vmmi_pager *pager, uint32_t i);

/* pager_work.c: what calls the program's callbacks.  => the object is locked
 * before and after, and unlocked meanwhile */

/* Fills page i, which is FILLING, for an access to the space, or for those who
 * wait.
 * => 0 or an error with *reason */
int vmmi_pager_fill(struct vmmi_pager *pager, uint32_t i,
                    struct vmm_space *space, unsigned *reason);
/* Writes back page i, which is resident, and neighbours below *end that are
 * dirty too (queued, if only those are meant); *end is then where it stopped.
 * => 0 or write_back's error */
int vmmi_pager_write(struct vmmi_pager *pager, uint32_t i, uint32_t *end,
                     bool queued);
/* Does what is queued, until the pager is to end. */
void vmmi_pager_serve(struct vmmi_pager *pager);

#endif
