/*
 * Frames: the pieces of 4 KiB that hold guest memory, numbered by their place
 * in the alias, one mapping of all of them that is never protected:
 *
 *   alias + (frame << VMMI_FRAME_SHIFT) = the frame's bytes
 *
 *   0            1 .............. extents ...................... limit
 *   +------------+----------------+-------------------------------+
 *   | zero frame | arena: runs of | extents: one for each object  |
 *   |            | one memfd      | that has a descriptor         |
 *   +------------+----------------+-------------------------------+
 *
 * A guest page is one frame or several, and so is a host page: a checked
 * space's pages may be smaller than the host's.  What the host is asked for is
 * in its own pages.
 *
 * A run is VMMI_CHUNK_SIZE bytes of the arena, aligned; a leaf of a page table
 * or a chunk of an anonymous object takes one, so that a chunk's pages are
 * neighbours in the host too.  Layer 2.  Locks: its own, a leaf.
 */
#ifndef VMMI_ARENA_H
#define VMMI_ARENA_H

#include "base.h"

#define VMMI_FRAME_SHIFT 12
#define VMMI_FRAME_SIZE ((uint64_t)1 << VMMI_FRAME_SHIFT)
#define VMMI_CHUNK_SHIFT 21
#define VMMI_CHUNK_SIZE ((uint64_t)1 << VMMI_CHUNK_SHIFT)
#define VMMI_ZERO_FRAME 0

/*
 * What is known of a frame; of a guest page of several, the first one's counts.
 * refs counts the page-table entries and pins that hold a private frame, and is
 * 0 for a frame that an object owns.
 */
struct vmmi_frame {
  _Atomic uint32_t refs;
  _Atomic uint32_t state;
};

/*
 *   31 30    20 19                 0
 *  +--+--------+--------------------+  C      decoded somewhere: nobody may
 *  | C| churn  | pins for writing   |         write silently
 *  +--+--------+--------------------+  churn  how often it was in vain (code.c)
 */
#define VMMI_FRAME_CODE ((uint32_t)1 << 31)
#define VMMI_FRAME_PINS (((uint32_t)1 << 20) - 1)
#define VMMI_FRAME_CHURN_SHIFT 20
#define VMMI_FRAME_CHURN_MASK ((uint32_t)0x7ff)

/* Makes the arena; idempotent.  -ENOMEM, -EMFILE ... */
int vmmi_arena_init(void);

/* => the frame's bytes; signal-safe */
char *vmmi_arena_pointer(uint64_t frame);
struct vmmi_frame *vmmi_arena_frame(uint64_t frame);
/* => whether it belongs to the arena (and not to an extent) */
bool vmmi_arena_owns(uint64_t frame);
/* The descriptor that backs an arena frame, and where in it. */
int vmmi_arena_fd(void);
uint64_t vmmi_arena_offset(uint64_t frame);

/* Takes a run, all zeros; *frame is its first.  -ENOMEM.  signal-safe in
 * enter */
int vmmi_run_take(uint64_t *frame);
/* The taker no longer needs it; its frames that are held live on. */
void vmmi_run_drop(uint64_t frame);

/* Takes a frame of a run that the caller holds, zero-filled: refs 0 -> 1.
 * => false if somebody still holds it (a pin) */
bool vmmi_frame_take(uint64_t frame, unsigned nframes);
/* => whether any of the nframes from it is pinned for writing */
bool vmmi_frame_is_written(uint64_t frame, unsigned nframes);
void vmmi_frame_hold(uint64_t frame);
/* The last holder's release frees the nframes from it. */
void vmmi_frame_release(uint64_t frame, unsigned nframes);

/* Many releases, in ascending order, with one host call for neighbours: the
 * frames are free when the batch has ended. */
struct vmmi_free_batch {
  uint64_t frame;
  uint64_t count; /* 0: empty */
};
void vmmi_frame_release_batch(struct vmmi_free_batch *batch, uint64_t frame,
                              unsigned nframes);
void vmmi_frame_end_batch(struct vmmi_free_batch *batch);

/* Takes address space in the alias for nbytes of an object, where the caller
 * maps it.  -ENOMEM.  May use malloc: not in signal context. */
int vmmi_extent_take(uint64_t *frame, uint64_t nbytes);
void vmmi_extent_drop(uint64_t frame, uint64_t nbytes);

/* Where the arena lies; a fork of the process copies it (arena_fork.c).
 * => false: there is none yet */
struct vmmi_arena_memory {
  int fd;
  char *alias;
  uint64_t alias_nbytes;
  uint64_t nbytes; /* of the file */
};
bool vmmi_arena_memory(struct vmmi_arena_memory *memory);

/* Copies the memory file; ends that in the parent; in the child, makes the
 * alias again, over the copy.  => nobody else inside; -errno */
int vmmi_arena_fork_prepare(void);
void vmmi_arena_fork_parent(void);
int vmmi_arena_fork_child(void);

/* A copy guarded by an exception-table entry: a truncated file is -EIO. */
int vmmi_alias_copy(void *to, const void *from, size_t nbytes);

#endif
