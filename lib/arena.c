/*
 * The arena and the alias.  The memory file grows by steps, each mapped into
 * the alias as it comes; frames' and runs' records are sparse arrays as long as
 * the alias.  A frame that is given back is punched out of the file before it
 * may be taken again, so a taken frame always reads as zeros.  Where it shares
 * a host page with others that only zeroes it, and the run's end gives the page
 * back.
 */
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <vmm/types.h>

#include "arch.h"
#include "os.h"
#include "thread.h"

/* log2 of the alias; less where the host has less to give, and under
 * ThreadSanitizer, which keeps most of the addresses for itself */
#ifdef __SANITIZE_THREAD__
#define ALIAS_SHIFT_MAX 37
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define ALIAS_SHIFT_MAX 37
#endif
#endif
#ifndef ALIAS_SHIFT_MAX
#define ALIAS_SHIFT_MAX 44
#endif
#define ALIAS_SHIFT_MIN 32

#define STEP_MIN ((uint64_t)64 << 20)
#define STEP_MAX ((uint64_t)4 << 30)

/* refs of a frame that is being given back: it is neither held nor free */
#define FREEING UINT32_MAX

struct extent {
  uint64_t frame, count;
  struct extent *next;
};

static struct {
  pthread_mutex_t lock;
  _Atomic bool ready;
  int fd;
  char *alias;              /* (c) */
  uint64_t limit;           /* (c) frames in the alias */
  uint64_t extents_from;    /* (c) frames below are the arena's */
  struct vmmi_frame *frame; /* (c) a record a frame */
  _Atomic uint32_t *live;   /* (c) by run: frames held, + 1 while it is taken */
  uint32_t *next_free;      /* (l) by run: the next of the free list */
  uint32_t free_list;       /* (l) 0: empty */
  uint64_t runs_made;       /* (l) run 0 holds the zero frame */
  uint64_t runs_used;       /* (l) */
  uint64_t nbytes;          /* (l) of the file, all mapped */
  struct extent *extents;   /* (l) in use, ascending */
} arena = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

static uint64_t run_frames(void)
{
  return VMMI_CHUNK_SIZE >> VMMI_FRAME_SHIFT;
}

/* A signal that touches a window must not meet the lock. */
static void lock_arena(void)
{
  vmmi_assert(vmmi_thread_self.inside > 0, "arena: locked with signals open");
  pthread_mutex_lock(&arena.lock);
}

/* => arena locked */
static int grow(void)
{
  uint64_t end = arena.extents_from << VMMI_FRAME_SHIFT;
  uint64_t step = vmmi_min(vmmi_max(arena.nbytes, STEP_MIN), STEP_MAX);
  int error;

  step = vmmi_min(step, end - arena.nbytes);
  if (step == 0)
    return -ENOMEM;
  error = vmmi_os_memory_grow(arena.fd, arena.nbytes + step);
  if (error == 0)
    error = vmmi_os_map(arena.alias + arena.nbytes, step, VMM_READ | VMM_WRITE,
                        arena.fd, arena.nbytes);
  if (error != 0)
    return error;
  vmmi_os_want_dump(arena.alias + arena.nbytes, step);
  arena.nbytes += step;
  return 0;
}

static int reserve_alias(unsigned alias_shift)
{
  uint64_t nbytes = (uint64_t)1 << alias_shift;
  uint64_t frames = nbytes >> VMMI_FRAME_SHIFT;
  uint64_t runs = nbytes >> VMMI_CHUNK_SHIFT;
  void *alias, *frame, *live, *next;
  int error = vmmi_os_reserve(&alias, NULL, nbytes, VMMI_CHUNK_SIZE);

  if (error != 0)
    return error;
  error = vmmi_os_alloc(&frame, frames * sizeof(arena.frame[0]));
  if (error != 0)
    goto no_frames;
  error = vmmi_os_alloc(&live, runs * sizeof(arena.live[0]));
  if (error != 0)
    goto no_live;
  error = vmmi_os_alloc(&next, runs * sizeof(arena.next_free[0]));
  if (error != 0)
    goto no_next;
  arena.alias = alias;
  arena.frame = frame;
  arena.live = live;
  arena.next_free = next;
  arena.limit = frames;
  arena.extents_from = frames / 2;
  return 0;
no_next:
  vmmi_os_release(live, runs * sizeof(arena.live[0]));
no_live:
  vmmi_os_release(frame, frames * sizeof(arena.frame[0]));
no_frames:
  vmmi_os_release(alias, nbytes);
  return error;
}

/* => arena locked */
static int set_up(void)
{
  unsigned alias_shift = ALIAS_SHIFT_MAX;
  int error;

  if (arena.fd < 0) {
    arena.fd = vmmi_os_memory_open("libvmm", 0);
    if (arena.fd < 0)
      return arena.fd;
  }
  while (arena.alias == NULL && (error = reserve_alias(alias_shift)) != 0)
    if (--alias_shift < ALIAS_SHIFT_MIN)
      return error;
  if (arena.nbytes == 0 && (error = grow()) != 0)
    return error;
  error = vmmi_os_protect(arena.alias, VMMI_CHUNK_SIZE, VMM_READ);
  if (error != 0)
    return error; /* nobody writes the zero frame, not even by mistake */
  arena.runs_made = 1;
  atomic_store_explicit(&arena.ready, true, memory_order_release);
  return 0;
}

int vmmi_arena_init(void)
{
  int error = 0;

  if (atomic_load_explicit(&arena.ready, memory_order_acquire))
    return 0;
  lock_arena();
  if (!atomic_load_explicit(&arena.ready, memory_order_relaxed))
    error = set_up();
  pthread_mutex_unlock(&arena.lock);
  return error;
}

bool vmmi_arena_memory(struct vmmi_arena_memory *memory)
{
  *memory = (struct vmmi_arena_memory){ arena.fd, arena.alias,
                                        arena.limit << VMMI_FRAME_SHIFT,
                                        arena.nbytes };
  return atomic_load_explicit(&arena.ready, memory_order_acquire);
}

char *vmmi_arena_pointer(uint64_t frame)
{
  vmmi_assert(frame < arena.limit, "arena_pointer: no such frame");
  return arena.alias + (frame << VMMI_FRAME_SHIFT);
}

struct vmmi_frame *vmmi_arena_frame(uint64_t frame)
{
  vmmi_assert(frame < arena.limit, "arena_frame: no such frame");
  return &arena.frame[frame];
}

bool vmmi_arena_owns(uint64_t frame)
{
  return frame < arena.extents_from;
}

int vmmi_arena_fd(void)
{
  return arena.fd;
}

uint64_t vmmi_arena_offset(uint64_t frame)
{
  return frame << VMMI_FRAME_SHIFT;
}

int vmmi_run_take(uint64_t *frame)
{
  uint64_t run;
  int error = 0;

  lock_arena();
  run = arena.free_list;
  if (run != 0) {
    arena.free_list = arena.next_free[run];
  } else {
    if ((arena.runs_made + 1) << VMMI_CHUNK_SHIFT > arena.nbytes)
      error = grow();
    if (error == 0)
      run = arena.runs_made++;
  }
  if (error == 0) {
    arena.runs_used++;
    atomic_store_explicit(&arena.live[run], 1, memory_order_relaxed);
    *frame = run * run_frames();
  }
  pthread_mutex_unlock(&arena.lock);
  return error;
}

static void run_unhold(uint64_t frame, uint32_t count)
{
  uint32_t run = (uint32_t)(frame / run_frames());

  /* acq_rel: the next taker sees all that was done to it */
  if (atomic_fetch_sub_explicit(&arena.live[run], count,
                                memory_order_acq_rel) != count)
    return;
  /* what was zeroed piece by piece */
  if (vmmi_os_page_shift() > VMMI_FRAME_SHIFT)
    vmmi_os_memory_punch(arena.fd, (uint64_t)run << VMMI_CHUNK_SHIFT,
                         VMMI_CHUNK_SIZE);
  lock_arena();
  arena.next_free[run] = arena.free_list;
  arena.free_list = run;
  arena.runs_used--;
  pthread_mutex_unlock(&arena.lock);
}

void vmmi_run_drop(uint64_t frame)
{
  run_unhold(frame, 1);
}

bool vmmi_frame_take(uint64_t frame, unsigned nframes)
{
  uint32_t none = 0;

  /* acquire: the punch of the former holder is done */
  if (!atomic_compare_exchange_strong_explicit(
          &arena.frame[frame].refs, &none, 1, memory_order_acquire,
          memory_order_relaxed))
    return false;
  atomic_fetch_add_explicit(&arena.live[frame / run_frames()], nframes,
                            memory_order_relaxed);
  return true;
}

bool vmmi_frame_is_written(uint64_t frame, unsigned nframes)
{
  if (frame == VMMI_ZERO_FRAME)
    return false;
  for (unsigned i = 0; i < nframes; i++)
    if (atomic_load(&arena.frame[frame + i].state) & VMMI_FRAME_PINS)
      return true;
  return false;
}

void vmmi_frame_hold(uint64_t frame)
{
  uint32_t refs = atomic_fetch_add_explicit(&arena.frame[frame].refs, 1,
                                            memory_order_relaxed);

  vmmi_assert(refs != 0 && refs < FREEING - 1, "frame_hold: not a held frame");
  (void)refs;
}

void vmmi_frame_end_batch(struct vmmi_free_batch *batch)
{
  uint64_t offset = batch->frame << VMMI_FRAME_SHIFT;
  uint64_t nbytes = batch->count << VMMI_FRAME_SHIFT;

  if (batch->count == 0 || vmmi_os_in_child()) /* the parent has them still */
    return;
  if (vmmi_os_memory_punch(arena.fd, offset, nbytes) != 0)
    vmmi_arch_fill(arena.alias + offset, 0, nbytes);
  for (uint64_t i = 0; i < batch->count; i++)
    if (atomic_load_explicit(&arena.frame[batch->frame + i].refs,
                             memory_order_relaxed) == FREEING)
      atomic_store_explicit(&arena.frame[batch->frame + i].refs, 0,
                            memory_order_release); /* after the punch */
  run_unhold(batch->frame, (uint32_t)batch->count);
  batch->count = 0;
}

/* A batch stays within one run, since the run is given back with it. */
static bool extends(const struct vmmi_free_batch *batch, uint64_t frame)
{
  return batch->count != 0 && batch->frame + batch->count == frame &&
         batch->frame / run_frames() == frame / run_frames();
}

void vmmi_frame_release_batch(struct vmmi_free_batch *batch, uint64_t frame,
                              unsigned nframes)
{
  struct vmmi_frame *record = &arena.frame[frame];
  uint32_t refs = atomic_load_explicit(&record->refs, memory_order_relaxed);

  /* acq_rel: what the other holders did to the frame is done */
  while (!atomic_compare_exchange_weak_explicit(
      &record->refs, &refs, refs == 1 ? FREEING : refs - 1,
      memory_order_acq_rel, memory_order_relaxed))
    ;
  vmmi_assert(refs != 0 && refs != FREEING, "frame_release: not a held frame");
  if (refs != 1)
    return;
  atomic_store_explicit(&record->state, 0, memory_order_relaxed);
  if (!extends(batch, frame)) {
    vmmi_frame_end_batch(batch);
    batch->frame = frame;
  }
  batch->count += nframes;
}

void vmmi_frame_release(uint64_t frame, unsigned nframes)
{
  struct vmmi_free_batch batch = { 0 };

  vmmi_frame_release_batch(&batch, frame, nframes);
  vmmi_frame_end_batch(&batch);
}

int vmmi_extent_take(uint64_t *frame, uint64_t nbytes)
{
  uint64_t count = vmmi_align_up(nbytes, VMMI_CHUNK_SIZE) >> VMMI_FRAME_SHIFT;
  struct extent **place = &arena.extents;
  uint64_t from = arena.extents_from;
  struct extent *extent;
  int error = 0;

  if (nbytes > arena.limit << VMMI_FRAME_SHIFT)
    return -ENOMEM;
  extent = vmmi_os_malloc(sizeof(*extent));
  if (extent == NULL)
    return -ENOMEM;
  lock_arena();
  while (*place != NULL && (*place)->frame - from < count) {
    from = (*place)->frame + (*place)->count;
    place = &(*place)->next;
  }
  if (arena.limit - from < count)
    error = -ENOMEM;
  if (error == 0) {
    *extent = (struct extent){ from, count, *place };
    *place = extent;
    *frame = from;
  }
  pthread_mutex_unlock(&arena.lock);
  if (error != 0)
    free(extent);
  return error;
}

void vmmi_extent_drop(uint64_t frame, uint64_t nbytes)
{
  struct extent **place = &arena.extents;
  struct extent *extent;

  lock_arena();
  while (*place != NULL && (*place)->frame != frame)
    place = &(*place)->next;
  extent = *place;
  vmmi_assert(extent != NULL, "extent_drop: not an extent");
  /* a refusal leaves it mapped until the next extent covers it */
  vmmi_os_rereserve(arena.alias + (frame << VMMI_FRAME_SHIFT), nbytes);
  *place = extent->next;
  pthread_mutex_unlock(&arena.lock);
  free(extent);
}

int vmmi_alias_copy(void *to, const void *from, size_t nbytes)
{
  return vmmi_arch_copy(to, from, nbytes) == 0 ? 0 : -EIO;
}
