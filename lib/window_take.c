/*
 * Taking away: narrowing, dropping and clearing, in every window and TLB of a
 * space, a hart's too.  The entries are changed first, so that a window which a
 * hart gets meanwhile reads them as they are (window_table.h).  Host calls are
 * made for stretches of neighbouring pages.  One that is refused (out of
 * mappings) makes the window flush itself, which needs none.
 */
#include "window.h"

#include "os.h"
#include "tlb.h"
#include "window_record.h"
#include "window_table.h"

/* Neighbouring pages that get the same rights. */
struct stretch {
  vmm_addr_t va;
  uint64_t nbytes; /* 0: empty */
  unsigned rights;
};

/* The host refused to take rights away from a stretch.  Flushing takes all but
 * wired pages; those among the stretch are then made to show nothing. */
static void take_otherwise(struct vmmi_window *window, vmm_addr_t va,
                           uint64_t nbytes)
{
  vmm_addr_t end = va + nbytes;

  vmmi_record_flush(window);
  if (window->wired == 0)
    return;
  vmmi_record_hide(window, va, nbytes);
  for (; va < end; va += window->space->page_nbytes) {
    struct vmmi_window_chunk *chunk = vmmi_record_chunk(window, va, false);

    if (chunk != NULL)
      vmmi_record_set(window, chunk, vmmi_leaf_index(&window->space->pt, va),
                      0);
  }
}

static void take_stretch(struct vmmi_window *window, struct stretch *stretch)
{
  char *at = window->base + stretch->va;
  uint64_t nbytes = stretch->nbytes;

  stretch->nbytes = 0;
  if (nbytes == 0)
    return;
  vmmi_record_host_call(window);
  if (window->backend->protect(at, nbytes, stretch->rights) != 0)
    take_otherwise(window, stretch->va, nbytes);
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

enum taking { NARROW, DROP, CLEAR };

/* => what is left of the record of a page */
static uint8_t left_of(const struct vmmi_window *window, enum taking how,
                       vmm_addr_t va, uint8_t old)
{
  vmm_pte_t pte;
  unsigned kind = old & VMMI_RECORD_KIND;

  if (how == CLEAR)
    return 0;
  if (how == DROP) /* its place in the run stays its place */
    return kind == VMMI_RECORD_RUN ? VMMI_RECORD_RUN : 0;
  pte = vmmi_pagetable_get(&window->space->pt, va);
  return old & (uint8_t)(~VMMI_RECORD_RIGHTS |
                         vmmi_record_allowed(pte, window->view));
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
    uint8_t left = old != 0 ? left_of(window, how, va, old) : 0;
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
    vmmi_record_set(window, chunk, i, left);
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
    vmmi_record_host_call(window);
    vmmi_record_hide(window, first, last - first);
  }
}

struct taken {
  enum taking how;
  vmm_addr_t va, end;
};

static int take_from(struct vmmi_window *window, void *arg)
{
  const struct taken *taken = arg;

  take_all(window, taken->how, taken->va, taken->end);
  return 0;
}

static void take(struct vmm_space *space, enum taking how, vmm_addr_t va,
                 uint64_t nbytes)
{
  struct taken taken = { how, va, va + nbytes };

  vmmi_window_each(space, take_from, &taken);
  vmmi_tlb_take(space, va, nbytes, how != NARROW);
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

