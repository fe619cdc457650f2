/*
 * Installing: the host is made to show what the page table lets a window grant,
 * stretch by stretch of pages that become alike.
 */
#include "window.h"

#include <errno.h>

#include "object.h"
#include "os.h"
#include "window_record.h"

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
  unsigned rights = vmmi_record_allowed(pte, window->view);
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

/* An empty chunk gets its whole run, without rights, so that installing a page
 * of it is one mprotect from then on. */
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
  vmmi_record_host_call(window);
  error = window->backend->map(at, nbytes, 0, vmmi_arena_fd(),
                               vmmi_arena_offset(run));
  if (error != 0)
    return error;
  if (what->huge)
    vmmi_os_want_huge(at, nbytes);
  chunk->run = run;
  for (unsigned i = 0; i < nbytes >> window->space->page_shift; i++)
    vmmi_record_set(window, chunk, i, VMMI_RECORD_RUN);
  return 0;
}

/* Shows n pages from index i, which all aim at the same record and, but for
 * zeros, at neighbouring frames. */
static int show_pages(struct vmmi_window *window,
                      const struct vmmi_install *what, struct target target,
                      uint8_t old, vmm_addr_t va, unsigned n)
{
  const struct vmmi_backend *backend = window->backend;
  size_t nbytes = (size_t)n << window->space->page_shift;
  unsigned rights = target.record & VMMI_RECORD_RIGHTS;
  unsigned kind = target.record & VMMI_RECORD_KIND;
  char *at = window->base + va;
  int fd = vmmi_arena_fd();
  uint64_t offset = vmmi_arena_offset(target.frame);

  vmmi_record_host_call(window);
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
             : next.frame ==
                   first.frame + (uint64_t)distance * space->page_frames;
}

/* The record of a page that goes on where the one before it ends. */
static uint8_t joined(uint8_t record)
{
  return (record & VMMI_RECORD_KIND) == VMMI_RECORD_OTHER
             ? record | VMMI_RECORD_JOINED
             : record;
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

    if (target.record == 0 ||
        target.record == (old & ~VMMI_RECORD_JOINED)) {
      i++;
      continue;
    }
    while (i + n < first + what->npages &&
           (chunk->page[i + n] | VMMI_RECORD_JOINED) ==
               (old | VMMI_RECORD_JOINED) &&
           neighbours(space, target, aim(window, chunk, what, i + n), n))
      n++;
    error = show_pages(window, what, target, old,
                 what->va + ((vmm_addr_t)(i - first) << space->page_shift), n);
    if (error != 0)
      return error;
    for (unsigned k = 0; k < n; k++)
      vmmi_record_set(window, chunk, i + k,
                      k == 0 ? target.record : joined(target.record));
    changed += n;
    i += n;
  }
  vmmi_count(&space->counters.installed, changed);
  return (int)changed;
}

/* What the host did of a call that failed is not known.  A flush leaves chunks
 * out that show nothing, if some page of the window is wired. */
static void begin_anew(struct vmmi_window *window,
                       const struct vmmi_window_chunk *chunk, vmm_addr_t va)
{
  va = vmmi_align_down(va, VMMI_CHUNK_SIZE);
  if (chunk->mapped == 0)
    vmmi_record_hide(window, va,
                     vmmi_min(VMMI_CHUNK_SIZE, window->space->size - va));
  vmmi_record_flush(window);
}

int vmmi_window_install(struct vmmi_window *window,
                        const struct vmmi_install *what)
{
  struct vmmi_window_chunk *chunk;
  int result;

  pthread_mutex_lock(&window->lock);
  if (vmmi_unlikely(atomic_load(&window->space) != what->space)) {
    /* its hart has turned to another space */
    pthread_mutex_unlock(&window->lock);
    return 0;
  }
  chunk = vmmi_record_chunk(window, what->va, true);
  result = chunk != NULL ? map_run(window, chunk, what) : -ENOMEM;
  if (result == 0)
    result = install_locked(window, chunk, what);
  if (result < 0 && chunk != NULL)
    begin_anew(window, chunk, what->va);
  pthread_mutex_unlock(&window->lock);
  return result;
}

