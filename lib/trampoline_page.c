/*
 * The trampoline page of a guest thread, and windows that show it.
 *
 * A window shows the page of the guest thread that its hart runs, and a hart
 * may turn to another at any time, while somebody else's access of the window
 * faults.  The hart first says whom it runs, then looks whether a window of its
 * may show another's page; who shows a page first says so, then looks whom the
 * hart runs (both sequentially consistent): one of both sees the other.
 * Layer 3.
 */
#include "guest_thread.h"

#include <errno.h>

#include "os.h"
#include "window_index.h"
#include "window_record.h"

/* ---- the page ---- */

uint64_t vmmi_trampoline_page(struct vmm_guest_thread *thread)
{
  uint64_t page = atomic_load(&thread->page), none = 0;

  if (page != 0)
    return page;
  if (vmmi_arena_init() != 0 || vmmi_run_take(&page) != 0)
    return 0;
  vmmi_frame_take(page, 1);
  if (atomic_compare_exchange_strong(&thread->page, &none, page))
    return page;
  vmmi_frame_release(page, 1); /* another host thread was first */
  vmmi_run_drop(page);
  return none;
}

bool vmmi_trampoline_give_page(struct vmm_guest_thread *thread)
{
  uint64_t page = atomic_load(&thread->page);

  if (page == 0)
    return true;
  /* acquire: what the other holders did with it is done */
  if (atomic_load_explicit(&vmmi_arena_frame(page)->refs,
                           memory_order_acquire) != 1)
    return false;
  atomic_store(&thread->page, 0);
  vmmi_frame_release(page, 1);
  vmmi_run_drop(page);
  return true;
}

/* ---- windows that show it ---- */

/* => window locked, of a space with a page at va */
static struct vmmi_window_chunk *chunk_of(struct vmmi_window *window,
                                          vmm_addr_t va, unsigned *i,
                                          bool make)
{
  *i = vmmi_leaf_index(&window->space->pt, va);
  return vmmi_record_chunk(window, va, make);
}

/* => window locked */
static void hide_page(struct vmmi_window *window)
{
  struct vmm_space *space = atomic_load(&window->space);
  vmm_addr_t va = window->trampoline_va;
  struct vmmi_window_chunk *chunk = NULL;
  unsigned i = 0;

  atomic_store(&window->trampoline, 0);
  if (space != NULL && va < space->size)
    chunk = chunk_of(window, va, &i, false);
  if (chunk == NULL || !(chunk->page[i] & VMMI_RECORD_RIGHTS))
    return; /* the window was flushed, or has another space */
  vmmi_record_host_call(window);
  if (window->backend->protect(window->base + va, space->page_nbytes, 0) != 0)
    vmmi_record_hide(window, va, space->page_nbytes);
  vmmi_record_set(window, chunk, i, 0);
  vmmi_count(&space->counters.narrowed, 1);
}

/* => window locked, and says that it shows the page; shown, whether it did
 *    before; as vmmi_trampoline_show() */
static int show_page(struct vmmi_window *window, vmm_addr_t va, uint64_t page,
                     unsigned rights, bool shown)
{
  struct vmm_space *space = window->space;
  uint8_t record = (uint8_t)(rights | VMMI_RECORD_OTHER);
  unsigned i;
  struct vmmi_window_chunk *chunk = chunk_of(window, va, &i, true);
  int error;

  if (chunk == NULL)
    return -ENOMEM;
  if (chunk->page[i] == record && shown)
    return 0;
  vmmi_record_host_call(window);
  error = window->backend->map(window->base + va, space->page_nbytes, rights,
                               vmmi_arena_fd(), vmmi_arena_offset(page));
  if (error != 0) {
    vmmi_record_flush(window);
    return error;
  }
  vmmi_record_set(window, chunk, i, record);
  vmmi_count(&space->counters.installed, 1);
  return 1;
}

/* => window locked */
static int show_current(struct vmmi_window *window, vmm_addr_t va,
                        unsigned rights)
{
  struct vmm_hart *hart = atomic_load(&window->hart);
  struct vmm_guest_thread *thread;
  uint64_t page, shown;

  if (atomic_load(&window->trampoline) != 0 && window->trampoline_va != va)
    hide_page(window);
  shown = atomic_load(&window->trampoline);
  window->trampoline_va = va;
  do {
    thread = atomic_load(&hart->thread);
    page = thread != NULL ? atomic_load(&thread->page) : 0;
    if (page == 0) { /* it turned to one that has none, or to none */
      atomic_store(&window->trampoline, shown);
      return 0;
    }
    atomic_store(&window->trampoline, page);
    atomic_store(&hart->shows, true);
    vmmi_inject_step(VMMI_STEP_SHOWING);
  } while (atomic_load(&hart->thread) != thread);
  return show_page(window, va, page, rights, shown == page);
}

int vmmi_trampoline_show(struct vmmi_window *window, struct vmm_space *space,
                         vmm_addr_t va, unsigned rights)
{
  int changed = 0;

  pthread_mutex_lock(&window->lock);
  if (atomic_load(&window->space) == space)
    changed = show_current(window, va, rights);
  pthread_mutex_unlock(&window->lock);
  return changed;
}

void vmmi_trampoline_hide(struct vmm_hart *hart,
                          const struct vmm_guest_thread *thread)
{
  uint64_t page = atomic_load(&thread->page);
  bool shows = false;

  if (!atomic_load(&hart->shows))
    return;
  atomic_store(&hart->shows, false);
  for (unsigned i = 0; i < (unsigned)VMMI_VIEWS << hart->asids.bits; i++) {
    struct vmmi_window *window =
        atomic_load(&hart->windows[i / VMMI_VIEWS][i % VMMI_VIEWS]);

    if (window == NULL || atomic_load(&window->trampoline) == 0)
      continue;
    /* locked: another thread's fault may have named this page and still be
     * about to show it, in the place of the other */
    pthread_mutex_lock(&window->lock);
    if (atomic_load(&window->trampoline) == page)
      shows = true;
    else
      hide_page(window);
    pthread_mutex_unlock(&window->lock);
  }
  if (shows)
    atomic_store(&hart->shows, true);
}

/* ---- a guest thread that ends ---- */

static __thread uint64_t ending __attribute__((tls_model("initial-exec")));

static void hide_ending(struct vmmi_window *window)
{
  if (atomic_load(&window->trampoline) != ending)
    return;
  pthread_mutex_lock(&window->lock);
  if (atomic_load(&window->trampoline) == ending)
    hide_page(window);
  pthread_mutex_unlock(&window->lock);
}

void vmmi_trampoline_hide_all(const struct vmm_guest_thread *thread)
{
  ending = atomic_load(&thread->page);
  if (ending != 0)
    vmmi_window_index_each(hide_ending);
}
