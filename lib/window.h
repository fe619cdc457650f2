/*
 * Windows: host address ranges through which host code reaches a space, used as
 * a TLB.  A window grants a page no more than the page table's silent bits say;
 * it may grant less, and may be flushed at any time.  What it grants stands in
 * its record, one byte a page, in chunks that exist where something was
 * installed:
 *
 *    7   6   5    4  3   2 1 0
 *   +---+---+---+------+-------+  kind  0 nothing is mapped
 *   | 0 | J | I | kind | X W R |        1 its place in the chunk's run
 *   +---+---+---+------+-------+        2 zeros   3 another frame
 *                                 I     wired: not to be evicted
 *                                 J     kind 3, and the frame after the one of
 *                                       the page before: one host mapping
 *
 * A kind that is not 0 means that the host maps the frame that the page's entry
 * has; so whoever gives an entry another frame drops the page first.
 *
 * A space has one window of its own, which all threads share; harts may have
 * others over it, which come and go (window_table.h).
 *
 * Locks: one mutex a window, a leaf; no thread holds two.  Layer 3.
 */
#ifndef VMMI_WINDOW_H
#define VMMI_WINDOW_H

#include <pthread.h>

#include "pagetable.h"

struct vmm_space;
struct vmm_hart;
struct vmm_object;
struct vmmi_lazy;
struct vmmi_window_chunk;
struct vmmi_backend;

/* What a window shows of a space: all, or all but VMM_SUPERVISOR memory. */
enum vmmi_view { VMMI_VIEW_SUPERVISOR, VMMI_VIEW_USER, VMMI_VIEWS };

struct vmmi_window {
  char *base;                   /* (c) host address of guest address 0 */
  _Atomic(struct vmm_space *) space; /* (c) of a space's own; else (w) */
  _Atomic(struct vmm_hart *) hart;   /* (c) NULL: the space's own, shared */
  enum vmmi_view view;          /* (c) */
  unsigned place;               /* (c) of a hart's, in the tables of spaces */
  const struct vmmi_backend *backend; /* (c) */
  void *reserved;               /* (c) the reservation, guards included */
  size_t reserved_nbytes;       /* (c) */
  uint64_t guard_below;         /* (c) */
  uint64_t guard_above;         /* (c) */
  pthread_mutex_t lock;
  struct vmmi_radix chunks;     /* (w) the record, by chunk number */
  uint64_t wired;               /* (w) pages */
  _Atomic uint64_t pieces;      /* host mappings at most; changed by (w) */
  _Atomic uint64_t changes;     /* of the record, counted: livelock */
  _Atomic uint64_t trampoline;  /* a guest thread's page that it may show */
  vmm_addr_t trampoline_va;     /* (w) and where */
  void *entry_stack;            /* (w) alias of the stack in its entry area */
  struct vmmi_lazy *lazy;       /* (c) its invalid entries; NULL: none */
  struct vmmi_window *next_free; /* of windows that no hart has */
};

/* A stretch of pages to install, all in one chunk and one region. */
struct vmmi_install {
  struct vmm_space *space;
  vmm_addr_t va;
  unsigned npages;
  unsigned access;           /* VMM_EXEC asks for exec, else read and write */
  struct vmmi_leaf *leaf;
  struct vmm_object *object; /* that may own frames of it; or NULL */
  bool huge;
  bool wired;
};

/* Where a window is to lie. */
struct vmmi_window_place {
  uint64_t size;
  void *base;     /* NULL: anywhere */
  uint64_t align; /* of the base */
  uint64_t guard_below, guard_above;
};

/* Reserves address space for a window of no space yet, and makes it known to
 * vmmi_window_find().  -EEXIST -ENOMEM */
int vmmi_window_reserve(struct vmmi_window *window,
                        const struct vmmi_window_place *place);
/* Gives it back.  => the window is empty */
void vmmi_window_release(struct vmmi_window *window);

/* Makes the space's own window.  -EEXIST -ENOMEM */
int vmmi_window_open(struct vmmi_window *window, struct vmm_space *space,
                     const struct vmmi_window_place *place);
void vmmi_window_close(struct vmmi_window *window);

/*
 * => the window whose reservation holds the host address, or NULL; *va is set
 *    to the guest address (guards wrap below 0)
 * => lock-free, signal-safe
 */
struct vmmi_window *vmmi_window_find(const void *host, vmm_addr_t *va);
/* => whether [host, host + nbytes) overlaps any window; lock-free,
 *    signal-safe */
bool vmmi_window_overlaps(const void *host, size_t nbytes);

/*
 * Grants what the page table says now, but for what the window's view hides.
 * => the number of pages that were changed (0 if it is a window of that space
 *    no longer); -ENOMEM: the host is out of mappings, and the stretch grants
 *    nothing
 * => takes the window's lock; signal-safe
 */
int vmmi_window_install(struct vmmi_window *window,
                        const struct vmmi_install *what);

/* => the rights that the window grants the page */
unsigned vmmi_window_granted(struct vmmi_window *window, vmm_addr_t va);

/*
 * Takes from every window of the space, harts' too: what the page table no
 * longer says (narrow); every right, since the pages will get other frames
 * (drop); every right and the host's mappings, since the pages are mapped no
 * more (clear).  None fails.
 * => takes each window's lock in turn; signal-safe
 */
void vmmi_window_narrow(struct vmm_space *space, vmm_addr_t va,
                        uint64_t nbytes);
void vmmi_window_drop(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);
void vmmi_window_clear(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes);

/* Empties a window but for wired pages.  => as above */
void vmmi_window_flush(struct vmmi_window *window);
/* Empties all windows of the process, when the host is out of mappings. */
void vmmi_window_flush_all(void);

/* In a copy of the process: reserves every window at its place again, empty,
 * and the reserve of host mappings.  => nobody else is there; -errno */
int vmmi_window_fork_child(void);

/* Calls visit for each page with a record that is not 0, in order: for dump and
 * check.  => window locked */
int vmmi_window_walk(struct vmmi_window *window, vmm_addr_t va, uint64_t nbytes,
                     int (*visit)(vmm_addr_t va, uint8_t record, void *arg),
                     void *arg);

enum {
  VMMI_RECORD_RIGHTS = 7,
  VMMI_RECORD_NONE = 0 << 3,
  VMMI_RECORD_RUN = 1 << 3,
  VMMI_RECORD_ZERO = 2 << 3,
  VMMI_RECORD_OTHER = 3 << 3,
  VMMI_RECORD_KIND = 3 << 3,
  VMMI_RECORD_WIRED = 1 << 5,
  VMMI_RECORD_JOINED = 1 << 6,
};

#endif
