/*
 * Windows: opening and closing them, their records, and flushing.  What
 * installs is in window_install.c, what takes away in window_take.c.
 */
#include "window.h"

#include <errno.h>

#include "metadata.h"
#include "os.h"
#include "window_budget.h"
#include "window_index.h"
#include "window_record.h"

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

static int reserve_range(struct vmmi_window *window,
                         const struct vmmi_window_place *place)
{
  uint64_t below = place->guard_below;
  char *want = place->base != NULL ? (char *)place->base - below : NULL;
  uint64_t slack = 0;
  void *at;
  int error;

  /* the base is aligned, not the reservation */
  if (place->base == NULL && !vmmi_is_aligned(below, place->align))
    slack = vmmi_align_up(below, place->align) - below;
  window->reserved_nbytes = slack + below + place->size + place->guard_above;
  error = vmmi_os_reserve(&at, want, window->reserved_nbytes, place->align);
  if (error != 0)
    return error;
  window->reserved = at;
  window->base = (char *)at + slack + below;
  window->guard_below = slack + below;
  window->guard_above = place->guard_above;
  return 0;
}

int vmmi_window_reserve(struct vmmi_window *window,
                        const struct vmmi_window_place *place)
{
  int error;

  window->backend = &vmmi_backend_mprotect;
  window->wired = 0;
  atomic_store(&window->pieces, 0);
  vmmi_budget_make_reserve();
  error = reserve_range(window, place);
  if (error != 0)
    return error;
  error = vmmi_window_index_add(window);
  if (error != 0)
    vmmi_os_release(window->reserved, window->reserved_nbytes);
  return error;
}

void vmmi_window_release(struct vmmi_window *window)
{
  vmmi_window_index_remove(window);
  vmmi_os_release(window->reserved, window->reserved_nbytes);
}

int vmmi_window_open(struct vmmi_window *window, struct vmm_space *space,
                     const struct vmmi_window_place *place)
{
  int error = vmmi_radix_init(&window->chunks, space->pt.leaves.count);

  if (error != 0)
    return error;
  atomic_store(&window->space, space);
  error = vmmi_window_reserve(window, place);
  if (error != 0)
    vmmi_radix_end(&window->chunks);
  return error;
}

void vmmi_window_close(struct vmmi_window *window)
{
  vmmi_budget_add(window, -(int64_t)atomic_load(&window->pieces));
  vmmi_window_release(window);
  vmmi_record_free(window);
}

/* ---- the record ---- */

struct vmmi_window_chunk *vmmi_record_chunk(struct vmmi_window *window,
                                            vmm_addr_t va, bool make)
{
  uint64_t i = va >> VMMI_CHUNK_SHIFT;

  if (make)
    return vmmi_radix_make(&window->chunks, i, make_chunk, unmake_chunk,
                           window->space);
  return vmmi_radix_get(&window->chunks, i);
}

void vmmi_record_free(struct vmmi_window *window)
{
  uint64_t count = window->chunks.count;
  struct vmmi_window_chunk *chunk;

  for (uint64_t i = 0;
       (chunk = vmmi_radix_next(&window->chunks, &i, count)) != NULL; i++)
    unmake_chunk(chunk, window->space);
  vmmi_radix_end(&window->chunks);
}

/* => whether a host mapping may end between the pages i - 1 and i */
static bool is_edge(const struct vmmi_window *window,
                    const struct vmmi_window_chunk *chunk, unsigned i)
{
  const uint8_t alike = VMMI_RECORD_RIGHTS | VMMI_RECORD_KIND;
  uint8_t page;

  if (i == 0 || i == vmmi_leaf_pages(&window->space->pt))
    return false;
  page = chunk->page[i];
  if ((chunk->page[i - 1] & alike) != (page & alike))
    return true;
  return (page & VMMI_RECORD_KIND) == VMMI_RECORD_OTHER &&
         !(page & VMMI_RECORD_JOINED);
}

void vmmi_record_set(struct vmmi_window *window,
                     struct vmmi_window_chunk *chunk, unsigned i,
                     uint8_t record)
{
  uint8_t old = chunk->page[i];
  int pieces = -(is_edge(window, chunk, i) + is_edge(window, chunk, i + 1));
  int mapped = !!(record & VMMI_RECORD_KIND) - !!(old & VMMI_RECORD_KIND);
  int wired = !!(record & VMMI_RECORD_WIRED) - !!(old & VMMI_RECORD_WIRED);

  pieces -= chunk->mapped != 0; /* a chunk that shows something is a piece */
  chunk->mapped += (uint32_t)mapped;
  chunk->wired += (uint32_t)wired;
  window->wired += (uint64_t)(int64_t)wired;
  chunk->page[i] = record;
  pieces += chunk->mapped != 0;
  pieces += is_edge(window, chunk, i) + is_edge(window, chunk, i + 1);
  if (pieces != 0)
    vmmi_budget_add(window, pieces);
}

unsigned vmmi_window_granted(struct vmmi_window *window, vmm_addr_t va)
{
  struct vmmi_window_chunk *chunk = NULL;
  unsigned granted = 0;

  pthread_mutex_lock(&window->lock);
  if (atomic_load(&window->space) != NULL && va < window->space->size)
    chunk = vmmi_record_chunk(window, va, false);
  if (chunk != NULL)
    granted = chunk->page[vmmi_leaf_index(&window->space->pt, va)] &
              VMMI_RECORD_RIGHTS;
  pthread_mutex_unlock(&window->lock);
  return granted;
}

/* ---- flushing ---- */

/* Mappings may stay where the host can't take them away, if only nobody can use
 * them.  => whether the host did it */
static bool try_to_hide(struct vmmi_window *window, vmm_addr_t va,
                        uint64_t nbytes)
{
  const struct vmmi_backend *backend = window->backend;
  char *at = window->base + va;

  return backend->unmap(at, nbytes) == 0 ||
         backend->protect(at, nbytes, 0) == 0;
}

void vmmi_record_forget_all(struct vmmi_window *window)
{
  uint64_t count = window->chunks.count;
  struct vmmi_window_chunk *chunk;

  for (uint64_t i = 0;
       (chunk = vmmi_radix_next(&window->chunks, &i, count)) != NULL; i++) {
    for (unsigned k = 0; k < vmmi_leaf_pages(&window->space->pt); k++)
      vmmi_record_set(window, chunk, k, 0);
    chunk->run = VMMI_NO_RUN;
  }
}

void vmmi_record_hide(struct vmmi_window *window, vmm_addr_t va,
                      uint64_t nbytes)
{
  bool hidden = try_to_hide(window, va, nbytes);

  if (vmmi_likely(hidden))
    return;
  /* to cut a mapping in two takes one more, which the program may have taken */
  vmmi_budget_open_reserve();
  hidden = try_to_hide(window, va, nbytes);
  vmmi_budget_close_reserve();
  if (hidden)
    return;
  /* all of the window, wired pages too, is cut nowhere */
  if (!try_to_hide(window, 0, window->space->size))
    vmmi_base_panic("window: the host refuses to take a page away");
  vmmi_record_forget_all(window);
}

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
      vmmi_record_set(window, chunk, i++, 0);
    if (i > from)
      vmmi_record_hide(window, va + ((vmm_addr_t)from << space->page_shift),
                       (uint64_t)(i - from) << space->page_shift);
    while (i < n && (chunk->page[i] & VMMI_RECORD_WIRED))
      i++;
  }
  if (chunk->mapped == 0)
    chunk->run = VMMI_NO_RUN;
}

void vmmi_record_flush(struct vmmi_window *window)
{
  uint64_t count = window->chunks.count;
  struct vmmi_window_chunk *chunk;
  bool whole = window->wired == 0;

  if (whole)
    vmmi_record_hide(window, 0, window->space->size);
  if (whole)
    vmmi_record_forget_all(window);
  for (uint64_t i = 0;
       !whole && (chunk = vmmi_radix_next(&window->chunks, &i, count)) != NULL;
       i++)
    if (chunk->mapped != 0)
      flush_chunk(window, chunk, i << VMMI_CHUNK_SHIFT);
  vmmi_count(&window->space->counters.flushes, 1);
  vmmi_record_host_call(window);
}

void vmmi_window_flush(struct vmmi_window *window)
{
  pthread_mutex_lock(&window->lock);
  if (atomic_load(&window->space) != NULL)
    vmmi_record_flush(window);
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
  return result;
}
