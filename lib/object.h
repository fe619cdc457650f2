/*
 * Objects, inside.  An object with a descriptor has an extent of the alias;
 * anonymous memory without one takes runs of the arena, chunk by chunk.
 *
 * The lock serialises everything that decides what mappings of a page may do
 * silently: grants of silent bits, code, trackers.  Order: space, object, leaf,
 * window.  Layer 2.
 */
#ifndef VMMI_OBJECT_H
#define VMMI_OBJECT_H

#include <pthread.h>

#include <vmm/device.h>
#include <vmm/object.h>
#include <vmm/tracker.h>

#include "arena.h"

struct vmmi_region;
struct vmmi_pager;

struct vmm_object {
  unsigned magic;
  _Atomic unsigned holds;
  uint64_t nbytes;      /* (c) */
  int fd;               /* (c) -1: runs of the arena */
  uint64_t fd_offset;   /* (c) of byte 0, in fd */
  uint64_t extent;      /* (c) first frame, if fd >= 0 */
  uint64_t *runs;       /* (o) each chunk's first frame + 1, if fd < 0; or 0 */
  bool readonly;        /* (c) no shared writing */
  bool exported;        /* (c) zero-filled memory with a descriptor */
  struct vmmi_pager *pager; /* (c) that gives its bytes; or NULL */
  void (*end)(struct vmm_object *object); /* (c) no hold is left; or NULL */
  struct vmm_device_options *device; /* (c) not bytes, but callbacks */
  pthread_mutex_t lock;
  struct vmmi_region *regions; /* (o) that map it, by object_next */
  struct vmm_tracker *trackers; /* (o) on it, by object_next */
  int copy;                     /* of it, for a child; see object_fork.c */
  struct vmm_object *next_shown, **shown_link; /* (list) those with an fd */
};

/* Maps the object's descriptor over its extent.  What only its pager may write is
 * writable there. */
int vmmi_object_show(const struct vmm_object *object);

/* ---- object_fork.c: what vmm_process_fork() needs ---- */

/* An object that has its extent joins the list of those, or leaves it.
 * => signal-safe in enter */
void vmmi_object_list(struct vmm_object *object);
void vmmi_object_unlist(struct vmm_object *object);

/* => the object after that one in the list, or the first of all, or NULL
 * => nobody else inside */
struct vmm_object *vmmi_object_next(const struct vmm_object *object);

/* Copies the memory files; ends that in the parent; in the child, shows the
 * copies and the files again.  => nobody else inside; -errno */
int vmmi_object_fork_prepare(void);
void vmmi_object_fork_parent(void);
int vmmi_object_fork_child(void);

bool vmmi_object_valid(const struct vmm_object *object);

/* Makes an object over a memory file that nobody else gets, for a pager.
 * => inside vmmi_thread_enter(); -ENOMEM -EMFILE -ENFILE */
int vmmi_object_make(struct vmm_object **object, uint64_t nbytes,
                     bool readonly);
/* Frees an object that nobody holds.  => not locked */
void vmmi_object_end(struct vmm_object *object);
/* => an object without bytes, held once; NULL without memory
 * => inside vmmi_thread_enter() */
struct vmm_object *vmmi_object_new(uint64_t nbytes, uint32_t flags);
/* Frees one that is not, or no longer, held. */
void vmmi_object_unmake(struct vmm_object *object);

/* => 0 and the frame of the page at offset
 * => object locked; signal-safe */
int vmmi_object_frame(struct vmm_object *object, uint64_t offset,
                      uint64_t *frame);

/* The descriptor and offset to map a frame of it from. */
void vmmi_object_backing(const struct vmm_object *object, uint64_t frame,
                         int *fd, uint64_t *offset);

#endif
