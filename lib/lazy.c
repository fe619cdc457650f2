/*
 * Invalid entries of windows, and marks that take the place of shootdowns.
 */
#include "lazy.h"

#include <errno.h>

#include "hart.h"
#include "inject.h"
#include "metadata.h"
#include "window_budget.h"
#include "window_table.h"

#define NEGATIVES 64
/* Chunks of a pending range that one mark installs from, at most. */
#define PENDING_CHUNKS 16

/* An access that is known to fail, and how. */
struct negative {
  uint64_t key;   /* the page's address and the access; 0: none */
  uint64_t epoch; /* of the window when it was made: earlier ones do not hold */
  unsigned reason;
  void *cookie;
  vmm_fault_handler *handler;
  void *handler_arg;
};

struct vmmi_lazy {
  _Atomic uint64_t mark;
  _Atomic uint64_t epoch; /* raised to drop all entries */
  _Atomic bool eager;
  struct negative entries[NEGATIVES]; /* the hart's own thread */
};

struct vmmi_lazy *vmmi_lazy_new(void)
{
  return vmmi_metadata_alloc(sizeof(struct vmmi_lazy));
}

void vmmi_lazy_flush(struct vmmi_lazy *lazy)
{
  atomic_fetch_add(&lazy->epoch, 1);
}

void vmmi_lazy_begin(struct vmmi_lazy *lazy, bool eager)
{
  if (lazy == NULL)
    return;
  atomic_store(&lazy->mark, 0);
  atomic_store(&lazy->eager, eager);
  vmmi_lazy_flush(lazy);
}

/* ---- marks ---- */

/* log2 of the bytes that one step of a mark stands for */
static unsigned unit_shift(const struct vmm_space *space)
{
  unsigned bits = 64 - (unsigned)__builtin_clzll(space->size - 1);

  return bits > space->page_shift + 31 ? bits - 31 : space->page_shift;
}

static uint64_t mark_of(const struct vmm_space *space, vmm_addr_t va,
                        uint64_t nbytes)
{
  unsigned shift = unit_shift(space);

  return va >> shift << 32 | (((va + nbytes - 1) >> shift) + 1);
}

static uint64_t join_marks(uint64_t a, uint64_t b)
{
  if (a == 0)
    return b;
  return vmmi_min(a >> 32, b >> 32) << 32 |
         vmmi_max(a & UINT32_MAX, b & UINT32_MAX);
}

static void set_mark(struct vmmi_lazy *lazy, uint64_t mark)
{
  uint64_t old = atomic_load(&lazy->mark);

  while (!atomic_compare_exchange_weak(&lazy->mark, &old,
                                       join_marks(old, mark)))
    ;
}

/* Visits a window that may have turned to another space: then nothing is
 * dropped. */
static bool shoot_down(struct vmm_space *space, struct vmmi_window *window)
{
  bool hit;

  pthread_mutex_lock(&window->lock);
  hit = atomic_load(&window->space) == space;
  if (hit)
    vmmi_lazy_flush(window->lazy);
  pthread_mutex_unlock(&window->lock);
  return hit;
}

void vmmi_lazy_note_windows(struct vmm_space *space, vmm_addr_t va,
                            uint64_t nbytes)
{
  struct vmmi_window_table *table = atomic_load(&space->table);
  unsigned next = 0;
  int place;

  while ((place = vmmi_window_table_next(table->holds, &next)) >= 0) {
    struct vmmi_window *window = atomic_load(&table->window[place]);
    struct vmmi_hart_counters *counters =
        &atomic_load(&window->hart)->counters;

    if (atomic_load(&window->lazy->eager)) {
      vmmi_count(&counters->shootdowns, shoot_down(space, window));
      continue;
    }
    vmmi_inject_step(VMMI_STEP_MARKING);
    set_mark(window->lazy, mark_of(space, va, nbytes));
    vmmi_count(&counters->marks, 1);
  }
}

/* ---- a fault takes a mark ---- */

static bool is_granted_somewhere(struct vmm_space *space,
                                 const struct vmmi_leaf *leaf, vmm_addr_t va,
                                 unsigned npages)
{
  unsigned first = vmmi_leaf_index(&space->pt, va);

  for (unsigned i = first; i < first + npages; i++)
    if (atomic_load_explicit(&leaf->pte[i], memory_order_relaxed) &
        VMM_PTE_SILENT)
      return true;
  return false;
}

/* Installs what is granted of a part of one chunk, region by region.
 * => whether the host does not mind.  => space locked */
static bool install_chunk(struct vmmi_request *request, struct vmmi_leaf *leaf,
                          vmm_addr_t va, vmm_addr_t end)
{
  struct vmm_space *space = request->space;
  struct vmmi_region *region;

  while (va < end && (region = vmmi_region_from(space->regions, va)) != NULL &&
         region->start < end) {
    vmm_addr_t from = vmmi_max(va, region->start);
    struct vmmi_install what = {
      .space = space,
      .va = from,
      .npages = (unsigned)((vmmi_min(end, region->end) - from) >>
                           space->page_shift),
      .access = VMM_READ,
      .leaf = leaf,
      .object = region->object,
      .huge = (region->flags & VMM_HUGE) != 0,
    };

    if (is_granted_somewhere(space, leaf, from, what.npages) &&
        vmmi_window_install(request->window, &what) < 0)
      return false;
    va = region->end;
  }
  return !vmmi_budget_is_exceeded();
}

static void install_pending(struct vmmi_request *request, uint64_t mark)
{
  struct vmm_space *space = request->space;
  unsigned shift = unit_shift(space);
  vmm_addr_t va = mark >> 32 << shift;
  vmm_addr_t end = vmmi_min((mark & UINT32_MAX) << shift, space->size);
  struct vmmi_leaf *leaf;

  vmmi_space_lock_shared(space);
  for (unsigned n = 0; n < PENDING_CHUNKS; n++) {
    vmm_addr_t stop;

    leaf = vmmi_pagetable_next(&space->pt, &va, end);
    if (leaf == NULL)
      break;
    stop = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE;
    if (!install_chunk(request, leaf, va, vmmi_min(stop, end)))
      break;
    va = stop;
  }
  vmmi_space_unlock(space);
}

static void take_mark(struct vmmi_request *request, struct vmm_hart *hart)
{
  struct vmmi_lazy *lazy = request->window->lazy;
  uint64_t mark = atomic_exchange(&lazy->mark, 0);

  vmmi_inject_step(VMMI_STEP_MARK_TAKEN);
  vmmi_lazy_flush(lazy);
  vmmi_hart_count(&hart->counters.retries);
  install_pending(request, mark);
}

/* A user's access to what is the supervisor's fails whatever has been mapped:
 * the mark stays.  => no lock held */
static bool is_supervisors(const struct vmmi_request *request)
{
  struct vmm_space *space = request->space;
  const struct vmmi_region *region;
  bool hidden;

  if (request->window->view != VMMI_VIEW_USER)
    return false;
  vmmi_space_lock_shared(space);
  region = vmmi_region_at(space->regions, request->va);
  hidden = region != NULL && (region->flags & VMM_SUPERVISOR);
  vmmi_space_unlock(space);
  return hidden;
}

/* ---- invalid entries ---- */

static uint64_t key_of(const struct vmmi_request *request)
{
  return vmmi_align_down(request->va, request->space->page_nbytes) |
         request->access;
}

static struct negative *entry_of(const struct vmmi_request *request)
{
  uint64_t n = (request->va >> request->space->page_shift) ^
               (uint64_t)request->access << 4;

  return &request->window->lazy->entries[n % NEGATIVES];
}

/* => the calling thread's hart, if the window is its own */
static struct vmm_hart *own_hart(const struct vmmi_request *request)
{
  struct vmm_hart *hart = vmmi_thread_self.hart;

  return atomic_load(&request->window->hart) == hart ? hart : NULL;
}

int vmmi_lazy_take(struct vmmi_request *request)
{
  struct vmmi_lazy *lazy = request->window->lazy;
  struct vmm_hart *hart = own_hart(request);
  const struct negative *entry;

  if (hart == NULL)
    return 0;
  if (atomic_load(&lazy->mark) != 0) {
    if (!is_supervisors(request))
      take_mark(request, hart);
    return 0;
  }
  entry = entry_of(request);
  if (entry->key != key_of(request) ||
      entry->epoch != atomic_load(&lazy->epoch))
    return 0;
  request->reason = entry->reason;
  request->cookie = entry->cookie;
  request->handler = entry->handler;
  request->handler_arg = entry->handler_arg;
  vmmi_hart_count(&hart->counters.refused);
  return -EFAULT;
}

void vmmi_lazy_remember(const struct vmmi_request *request)
{
  struct vmm_hart *hart;

  if (request->window == NULL || request->window->lazy == NULL ||
      (request->reason != VMM_FAULT_NO_REGION &&
       request->reason != VMM_FAULT_RIGHTS))
    return;
  hart = own_hart(request);
  if (hart == NULL)
    return;
  *entry_of(request) = (struct negative){
    .key = key_of(request),
    .epoch = atomic_load(&request->window->lazy->epoch),
    .reason = request->reason,
    .cookie = request->cookie,
    .handler = request->handler,
    .handler_arg = request->handler_arg,
  };
  vmmi_hart_count(&hart->counters.negatives);
}
