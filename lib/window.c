/*
 * Windows: opening and closing them, installing, narrowing, dropping, flushing.
 * Host calls are made for stretches of neighbouring pages, which a small
 * accumulator joins.  A host call that is refused while narrowing (out of
 * mappings) makes the window flush itself, which needs none.
 */
#include "window.h"

#include <errno.h>

#include "backend.h"
#include "metadata.h"
#include "os.h"
#include "space.h"
#include "window_index.h"

struct vmmi_window_chunk {
  uint64_t run;     /* what pages of kind RUN show; VMMI_NO_RUN: none do */
  uint32_t mapped;  /* pages whose kind is not NONE */
  uint32_t wired;   /* pages with VMMI_RECORD_WIRED */
  uint8_t page[];
};

/* Neighbouring pages that get the same rights. */
struct stretch {
  vmm_addr_t va;
  uint64_t nbytes; /* 0: empty */
  unsigned rights;
};

/* ---- opening and closing ---- */

static size_t chunk_nbytes(const struct vmm_space *space)
{
  return sizeof(struct vmmi_window_chunk) + vmmi_leaf_pages(&space->pt);
}

static void *make_chunk(const void *space)
{
  struct vmmi_window_chunk *chunk = vmmi_metadata_alloc(chunk_nbytes(space));

  if (chunk != NULL)
    chunk->run = VMMI_NO_RUN;
  return chunk;
}

static void unmake_chunk(void *chunk, const void *space)
{
  vmmi_metadata_free(chunk, chunk_nbytes(space));
}

static int reserve(struct vmmi_window *window, void *base, uint64_t align)
{
  uint64_t size = window->space->size;
  uint64_t below = window->guard_below;
  char *want = base != NULL ? (char *)base - below : NULL;
  uint64_t slack = 0;
  void *at;
  int error;

  /* the base is aligned, not the reservation */
  if (base == NULL && !vmmi_is_aligned(below, align))
    slack = vmmi_align_up(below, align) - below;
  window->reserved_nbytes = slack + below + size + window->guard_above;
  error = vmmi_os_reserve(&at, want, window->reserved_nbytes, align);
  if (error != 0)
    return error;
  window->reserved = at;
  window->base = (char *)at + slack + below;
  window->guard_below = slack + below;
  return 0;
}

int vmmi_window_open(struct vmmi_window *window, struct vmm_space *space,
                     void *base, uint64_t align, uint64_t guard_below,
                     uint64_t guard_above)
{
  int error;

  window->space = space;
  window->backend = &vmmi_backend_mprotect;
  window->guard_below = guard_below;
  window->guard_above = guard_above;
  window->wired = 0;
  atomic_store(&window->changes, 0);
  error = vmmi_radix_init(&window->chunks, space->pt.leaves.count);
  if (error != 0)
    return error;
  error = reserve(window, base, align);
  if (error != 0)
    goto no_reservation;
  error = vmmi_window_index_add(window);
  if (error != 0)
    goto no_index;
  return 0;
no_index:
  vmmi_os_release(window->reserved, window->reserved_nbytes);
no_reservation:
  vmmi_radix_end(&window->chunks);
  return error;
}

void vmmi_window_close(struct vmmi_window *window)
{
  struct vmmi_window_chunk *chunk;

  vmmi_window_index_remove(window);
  vmmi_os_release(window->reserved, window->reserved_nbytes);
  for (uint64_t i = 0; (chunk = vmmi_radix_next(&window->chunks, &i,
                                                window->chunks.count)) != NULL;
       i++)
    unmake_chunk(chunk, window->space);
  vmmi_radix_end(&window->chunks);
}

/* ---- host calls ---- */

static void count_host_call(struct vmmi_window *window)
{
  vmmi_count(&window->space->counters.host_calls, 1);
  atomic_fetch_add_explicit(&window->changes, 1, memory_order_relaxed);
}

static void flush_locked(struct vmmi_window *window);

/* A host call that takes away can't be let fail: flushing needs no mapping. */
static void must(struct vmmi_window *window, int error,
                 int (*again)(void *at, size_t nbytes), void *at, size_t nbytes)
{
  if (vmmi_likely(error == 0))
    return;
  flush_locked(window);
  error = again(at, nbytes);
  vmmi_assert(error == 0, "window: the host refuses to take a page away");
  (void)error;
}

static int deny(void *at, size_t nbytes)
{
  return vmmi_os_protect(at, nbytes, 0);
}

static void take_stretch(struct vmmi_window *window, struct stretch *stretch)
{
  char *at = window->base + stretch->va;
  int error;

  if (stretch->nbytes == 0)
    return;
  count_host_call(window);
  error = window->backend->protect(at, stretch->nbytes, stretch->rights);
  if (error != 0)
    must(window, error, deny, at, stretch->nbytes);
  stretch->nbytes = 0;
}

static bool joins(const struct stretch *stretch, vmm_addr_t va, unsigned rights)
{
  return stretch->nbytes == 0 || (stretch->va + stretch->nbytes == va &&
                                  stretch->rights == rights);
}

static void join(struct vmmi_window *window, struct stretch *stretch,
                 vmm_addr_t va, unsigned rights)
{
  if (stretch->nbytes == 0) {
    stretch->va = va;
    stretch->rights = rights;
  }
  stretch->nbytes += window->space->page_nbytes;
}

/* ---- installing ---- */

/* The rights that an entry lets a window grant. */
static unsigned allowed(vmm_pte_t pte)
{
  return (pte & VMM_PTE_SREAD ? VMM_READ : 0) |
         (pte & VMM_PTE_SWRITE ? VMM_WRITE : 0) |
         (pte & VMM_PTE_SEXEC ? VMM_EXEC : 0);
}

/* What a page is to become: record bits, and the frame behind them. */
struct target {
  uint8_t record;
  uint64_t frame;
};

static struct target aim(struct vmmi_window *window,
                         const struct vmmi_window_chunk *chunk,
                         const struct vmmi_install *what, unsigned i)
{
  vmm_pte_t pte = atomic_load(&what->leaf->pte[i]);
  unsigned rights = allowed(pte);
  struct target target = { 0, vmm_pte_frame(pte) };
  uint64_t home = chunk->run + (uint64_t)i * window->space->page_frames;

  /* exec is installed when asked for only: native code is the rare case */
  if (what->access != VMM_EXEC)
    rights &= VMM_READ | VMM_WRITE | (chunk->page[i] & VMM_EXEC);
  if (rights == 0)
    return target;
  target.record = (uint8_t)rights;
  if (target.frame == VMMI_ZERO_FRAME)
    target.record |= VMMI_RECORD_ZERO;
  else if (chunk->run != VMMI_NO_RUN && target.frame == home &&
           !(rights & VMM_EXEC))
    target.record |= VMMI_RECORD_RUN;
  else
    target.record |= VMMI_RECORD_OTHER;
  if (what->wired)
    target.record |= VMMI_RECORD_WIRED;
  return target;
}

static void set_record(struct vmmi_window *window,
                       struct vmmi_window_chunk *chunk, unsigned i,
                       uint8_t record)
{
  uint8_t old = chunk->page[i];

  chunk->mapped += !!(record & VMMI_RECORD_KIND) - !!(old & VMMI_RECORD_KIND);
  chunk->wired += !!(record & VMMI_RECORD_WIRED) - !!(old & VMMI_RECORD_WIRED);
  window->wired += (uint64_t)!!(record & VMMI_RECORD_WIRED) -
                   (uint64_t)!!(old & VMMI_RECORD_WIRED);
  chunk->page[i] = record;
}

/* An empty chunk gets its whole run, without rights, so that installing a page of
 * it is one mprotect from then on. */
static int map_run(struct vmmi_window *window, struct vmmi_window_chunk *chunk,
                   const struct vmmi_install *what)
{
  vmm_addr_t va = vmmi_align_down(what->va, VMMI_CHUNK_SIZE);
  uint64_t nbytes = vmmi_min(VMMI_CHUNK_SIZE, window->space->size - va);
  uint64_t run = atomic_load(&what->leaf->run);
  char *at = window->base + va;
  int error;

  if (chunk->mapped != 0 || run == VMMI_NO_RUN || run == chunk->run)
    return 0;
  count_host_call(window);
  error = window->backend->map(at, nbytes, 0, vmmi_arena_fd(),
                               vmmi_arena_offset(run));
  if (error != 0)
    return error;
  if (what->huge)
    vmmi_os_want_huge(at, nbytes);
  chunk->run = run;
  for (unsigned i = 0; i < nbytes >> window->space->page_shift; i++)
    set_record(window, chunk, i, VMMI_RECORD_RUN);
  return 0;
}

/* Shows n pages from index i, which all aim at the same record and, but for zeros,
 * at neighbouring frames. */
static int show(struct vmmi_window *window, const struct vmmi_install *what,
                struct target target, uint8_t old, vmm_addr_t va, unsigned n)
{
  const struct vmmi_backend *backend = window->backend;
  size_t nbytes = (size_t)n << window->space->page_shift;
  unsigned rights = target.record & VMMI_RECORD_RIGHTS;
  unsigned kind = target.record & VMMI_RECORD_KIND;
  char *at = window->base + va;
  int fd = vmmi_arena_fd();
  uint64_t offset = vmmi_arena_offset(target.frame);

  count_host_call(window);
  if (kind == (old & VMMI_RECORD_KIND) && !(rights & ~old & VMM_EXEC))
    return backend->protect(at, nbytes, rights);
  if (kind == VMMI_RECORD_ZERO && !(rights & VMM_EXEC))
    return backend->map_zero(at, nbytes);
  if (!vmmi_arena_owns(target.frame))
    vmmi_object_backing(what->object, target.frame, &fd, &offset);
  return backend->map(at, nbytes, rights, fd, offset);
}

static bool neighbours(const struct vmm_space *space, struct target first,
                       struct target next, unsigned distance)
{
  if (first.record != next.record)
    return false;
  return first.frame == VMMI_ZERO_FRAME
             ? next.frame == VMMI_ZERO_FRAME
             : next.frame == first.frame + (uint64_t)distance * space->page_frames;
}

static int install_locked(struct vmmi_window *window,
                          struct vmmi_window_chunk *chunk,
                          const struct vmmi_install *what)
{
  struct vmm_space *space = window->space;
  unsigned first = vmmi_leaf_index(&space->pt, what->va);
  unsigned changed = 0;
  unsigned i = first;

  while (i < first + what->npages) {
    struct target target = aim(window, chunk, what, i);
    uint8_t old = chunk->page[i];
    unsigned n = 1;
    int error;

    if (target.record == 0 || target.record == old) {
      i++;
      continue;
    }
    while (i + n < first + what->npages && chunk->page[i + n] == old &&
           neighbours(space, target, aim(window, chunk, what, i + n), n))
      n++;
    error = show(window, what, target, old,
                 what->va + ((vmm_addr_t)(i - first) << space->page_shift), n);
    if (error != 0)
      return error;
    for (unsigned k = 0; k < n; k++)
      set_record(window, chunk, i + k, target.record);
    changed += n;
    i += n;
  }
  vmmi_count(&space->counters.installed, changed);
  return (int)changed;
}

int vmmi_window_install(struct vmmi_window *window,
                        const struct vmmi_install *what)
{
  struct vmm_space *space = window->space;
  struct vmmi_window_chunk *chunk;
  int result;

  pthread_mutex_lock(&window->lock);
  chunk = vmmi_radix_make(&window->chunks, what->va >> VMMI_CHUNK_SHIFT,
                          make_chunk, unmake_chunk, space);
  result = chunk != NULL ? map_run(window, chunk, what) : -ENOMEM;
  if (result == 0)
    result = install_locked(window, chunk, what);
  /* what the host did of a call that failed is not known: begin anew */
  if (result < 0 && chunk != NULL)
    flush_locked(window);
  pthread_mutex_unlock(&window->lock);
  return result;
}

unsigned vmmi_window_granted(struct vmmi_window *window, vmm_addr_t va)
{
  struct vmmi_window_chunk *chunk;
  unsigned granted = 0;

  pthread_mutex_lock(&window->lock);
  chunk = vmmi_radix_get(&window->chunks, va >> VMMI_CHUNK_SHIFT);
  if (chunk != NULL)
    granted = chunk->page[vmmi_leaf_index(&window->space->pt, va)] &
              VMMI_RECORD_RIGHTS;
  pthread_mutex_unlock(&window->lock);
  return granted;
}

/* ---- taking away ---- */

enum taking { NARROW, DROP, CLEAR };

/* => what is left of the record of a page */
static uint8_t left_of(struct vmm_space *space, enum taking how, vmm_addr_t va,
                       uint8_t old)
{
  unsigned kind = old & VMMI_RECORD_KIND;

  if (how == CLEAR)
    return 0;
  if (how == DROP) /* its place in the run stays its place */
    return kind == VMMI_RECORD_RUN ? VMMI_RECORD_RUN : 0;
  return old & (uint8_t)(~VMMI_RECORD_RIGHTS |
                         allowed(vmmi_pagetable_get(&space->pt, va)));
}

static void take_chunk(struct vmmi_window *window, enum taking how,
                       struct vmmi_window_chunk *chunk, vmm_addr_t va,
                       vmm_addr_t end, struct stretch *stretch)
{
  struct vmm_space *space = window->space;
  uint64_t narrowed = 0;

  for (; va < end; va += space->page_nbytes) {
    unsigned i = vmmi_leaf_index(&space->pt, va);
    uint8_t old = chunk->page[i];
    uint8_t left = old != 0 ? left_of(space, how, va, old) : 0;
    unsigned rights = left & VMMI_RECORD_RIGHTS;

    if (left == old)
      continue;
    if (how != CLEAR && (old & VMMI_RECORD_RIGHTS) != rights) {
      if (!joins(stretch, va, rights))
        take_stretch(window, stretch);
      if (chunk->page[i] == 0)
        continue; /* that flushed the window */
      join(window, stretch, va, rights);
    }
    narrowed += (old & VMMI_RECORD_RIGHTS) != rights;
    set_record(window, chunk, i, left);
  }
  if (how == CLEAR && chunk->mapped == 0)
    chunk->run = VMMI_NO_RUN;
  vmmi_count(&space->counters.narrowed, narrowed);
}

static void take_all(struct vmmi_window *window, enum taking how, vmm_addr_t va,
                     vmm_addr_t end)
{
  struct stretch stretch = { 0 };
  vmm_addr_t first = end, last = va;
  uint64_t chunks = ((end - 1) >> VMMI_CHUNK_SHIFT) + 1;
  struct vmmi_window_chunk *chunk;

  for (uint64_t i = va >> VMMI_CHUNK_SHIFT;
       (chunk = vmmi_radix_next(&window->chunks, &i, chunks)) != NULL; i++) {
    vmm_addr_t from = vmmi_max(va, i << VMMI_CHUNK_SHIFT);
    vmm_addr_t to = vmmi_min(end, (i + 1) << VMMI_CHUNK_SHIFT);

    if (chunk->mapped == 0)
      continue;
    first = vmmi_min(first, from);
    last = to;
    take_chunk(window, how, chunk, from, to, &stretch);
  }
  take_stretch(window, &stretch);
  if (how == CLEAR && first < last) {
    char *at = window->base + first;

    count_host_call(window);
    must(window, window->backend->unmap(at, last - first),
         window->backend->unmap, at, last - first);
  }
}

static void take(struct vmm_space *space, enum taking how, vmm_addr_t va,
                 uint64_t nbytes)
{
  for (struct vmmi_window *w = space->windows; w != NULL; w = w->next) {
    pthread_mutex_lock(&w->lock);
    take_all(w, how, va, va + nbytes);
    pthread_mutex_unlock(&w->lock);
  }
}

void vmmi_window_narrow(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  take(space, NARROW, va, nbytes);
}

void vmmi_window_drop(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  take(space, DROP, va, nbytes);
}

void vmmi_window_clear(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  take(space, CLEAR, va, nbytes);
}

/* ---- flushing ---- */

/* Empties the stretches of a chunk that are not wired. */
static void flush_chunk(struct vmmi_window *window,
                        struct vmmi_window_chunk *chunk, vmm_addr_t va)
{
  struct vmm_space *space = window->space;
  uint64_t nbytes = vmmi_min(VMMI_CHUNK_SIZE, space->size - va);
  unsigned n = (unsigned)(nbytes >> space->page_shift);
  unsigned i = 0;

  while (i < n) {
    unsigned from = i;

    while (i < n && !(chunk->page[i] & VMMI_RECORD_WIRED))
      set_record(window, chunk, i++, 0);
    if (i > from)
      window->backend->unmap(
          window->base + va + ((vmm_addr_t)from << space->page_shift),
          (size_t)(i - from) << space->page_shift);
    while (i < n && (chunk->page[i] & VMMI_RECORD_WIRED))
      i++;
  }
  if (chunk->mapped == 0)
    chunk->run = VMMI_NO_RUN;
}

static void flush_locked(struct vmmi_window *window)
{
  uint64_t count = window->chunks.count;
  struct vmmi_window_chunk *chunk;
  bool whole = window->wired == 0;

  if (whole) {
    int error = window->backend->unmap(window->base, window->space->size);

    vmmi_assert(error == 0, "window_flush: the host refuses");
    (void)error;
  }
  for (uint64_t i = 0;
       (chunk = vmmi_radix_next(&window->chunks, &i, count)) != NULL; i++) {
    if (chunk->mapped == 0)
      continue;
    if (!whole) {
      flush_chunk(window, chunk, i << VMMI_CHUNK_SHIFT);
      continue;
    }
    for (unsigned k = 0; k < vmmi_leaf_pages(&window->space->pt); k++)
      set_record(window, chunk, k, 0);
    chunk->run = VMMI_NO_RUN;
  }
  vmmi_count(&window->space->counters.flushes, 1);
  count_host_call(window);
}

void vmmi_window_flush(struct vmmi_window *window)
{
  pthread_mutex_lock(&window->lock);
  flush_locked(window);
  pthread_mutex_unlock(&window->lock);
}

void vmmi_window_flush_all(void)
{
  vmmi_window_index_each(vmmi_window_flush);
}

int vmmi_window_walk(struct vmmi_window *window, vmm_addr_t va, uint64_t nbytes,
                     int (*visit)(vmm_addr_t va, uint8_t record, void *arg),
                     void *arg)
{
  struct vmm_space *space = window->space;
  uint64_t chunks = ((va + nbytes - 1) >> VMMI_CHUNK_SHIFT) + 1;
  struct vmmi_window_chunk *chunk;
  int result = 0;

  pthread_mutex_lock(&window->lock);
  for (uint64_t i = va >> VMMI_CHUNK_SHIFT;
       result == 0 &&
       (chunk = vmmi_radix_next(&window->chunks, &i, chunks)) != NULL;
       i++) {
    vmm_addr_t at = vmmi_max(va, i << VMMI_CHUNK_SHIFT);
    vmm_addr_t end = vmmi_min(va + nbytes, (i + 1) << VMMI_CHUNK_SHIFT);

    for (; at < end && result == 0; at += space->page_nbytes) {
      uint8_t record = chunk->page[vmmi_leaf_index(&space->pt, at)];

      if (record != 0)
        result = visit(at, record, arg);
    }
  }
  pthread_mutex_unlock(&window->lock);
  return result;
}
