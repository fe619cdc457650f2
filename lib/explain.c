/*
 * What an access would do, in words, and a page's bytes for debuggers.  Neither
 * changes anything.
 *
 *   would succeed   the window grants it: no fault
 *   would fault     and be repaired
 *   would be performed  by software: on a device, or since a watch wants it so
 *   would fail      nobody repairs it, unless a handler does
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "pager.h"
#include "snapshot.h"
#include "tracker.h"
#include "watch.h"

/* What is known of one page, as an access sees it. */
struct view {
  const struct vmmi_region *region;
  vmm_pte_t pte;
  struct vmm_pte_watch watch;
  unsigned granted; /* by the window */
  bool windowed;    /* there is one */
  bool shown;       /* it grants something */
  bool away;        /* a pager's page, not resident */
  bool device;      /* software does it: for a device, */
  vmm_pte_t stopped; /* ... or for watches, which deny these silent bits */
};

static vmm_pte_t bit_of(unsigned access)
{
  return access == VMM_WRITE  ? VMM_PTE_SWRITE
         : access == VMM_EXEC ? VMM_PTE_SEXEC
                              : VMM_PTE_SREAD;
}

static bool is_silent(vmm_pte_t pte, unsigned access)
{
  return (pte & bit_of(access)) != 0;
}

static bool is_performed(const struct view *view, unsigned access)
{
  return view->device || (view->stopped & bit_of(access)) != 0;
}

static const char *region_word(const struct view *view, unsigned access)
{
  if (view->region == NULL)
    return "no";
  if (!(view->region->rights & access))
    return "lacks the right";
  return view->device ? "of a device" : "yes";
}

/* => why the entry does not let the access pass */
static const char *pte_word(const struct view *view, unsigned access)
{
  vmm_pte_t pte = view->pte;

  if (view->away)
    return "not resident";
  if (pte == 0)
    return "none";
  if (is_silent(pte, access))
    return "silent";
  if (view->stopped & bit_of(access))
    return "watched";
  if (!(pte & VMM_PTE_PRESENT))
    return "without a frame";
  if (access == VMM_WRITE && (pte & VMM_PTE_COW))
    return vmm_pte_frame(pte) == VMMI_ZERO_FRAME ? "zeros" : "copy-on-write";
  if (!(pte & VMM_PTE_ACCESSED))
    return "old";
  if (access == VMM_EXEC)
    return "not fetched";
  if (access == VMM_WRITE && !(pte & VMM_PTE_MODIFIED))
    return "clean";
  if (access == VMM_WRITE && (~pte & view->watch.all & VMM_PTE_SAVED))
    return "not in the snapshot";
  if (~pte & (access == VMM_WRITE ? view->watch.all : view->watch.access))
    return "tracked";
  if (atomic_load(&vmmi_arena_frame(vmm_pte_frame(pte))->state) &
      VMMI_FRAME_CODE)
    return "code";
  return "narrowed";
}

static const char *window_word(const struct view *view, unsigned access)
{
  if (!view->windowed)
    return "none";
  if (view->granted & access)
    return "grants";
  return view->shown ? "stale" : "empty";
}

/* => space locked */
static void look_at(struct vmm_space *space, vmm_addr_t va, struct view *view)
{
  struct vmmi_region *region = vmmi_region_at(space->regions, va);
  vmm_addr_t page = vmmi_align_down(va, space->page_nbytes);

  view->region = region;
  view->pte = vmmi_pagetable_get(&space->pt, va);
  view->windowed = vmmi_space_has_window(space);
  if (view->windowed)
    view->granted = vmmi_window_granted(&space->window, va);
  else /* what is silent needs no more */
    view->granted = (view->pte & VMM_PTE_SREAD ? VMM_READ : 0) |
                    (view->pte & VMM_PTE_SWRITE ? VMM_WRITE : 0) |
                    (view->pte & VMM_PTE_SEXEC ? VMM_EXEC : 0);
  view->shown = view->granted != 0;
  if (region == NULL)
    return;
  view->device = vmmi_region_is_device(region);
  view->stopped = vmm_pte_stopped((struct vmm_pte_watch){
      0, vmmi_watch_stops(space, page, space->page_nbytes) });
  if (region->object != NULL)
    pthread_mutex_lock(&region->object->lock);
  view->watch = vmmi_tracker_watch(region, page, space->page_nbytes);
  view->watch.all |= vmmi_snapshot_watch(region);
  view->away = region->object != NULL && region->object->pager != NULL &&
               !(view->pte & VMM_PTE_PRESENT) &&
               !vmmi_pager_is_resident(region, page);
  if (region->object != NULL)
    pthread_mutex_unlock(&region->object->lock);
}

static const char *verdict(const struct view *view, unsigned access)
{
  if (view->granted & access)
    return "would succeed";
  if (view->region == NULL || !(view->region->rights & access))
    return "would fail";
  return is_performed(view, access) ? "would be performed" : "would fault";
}

int vmm_explain(struct vmm_space *space, vmm_addr_t va, unsigned access,
                char *text, size_t size)
{
  struct view view = { 0 };
  const char *words[4];
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  if ((text == NULL && size != 0) ||
      (access != VMM_READ && access != VMM_WRITE && access != VMM_EXEC))
    return vmmi_error(-EINVAL, "explain: not one access, or no text", 0);
  if (va >= space->size)
    return snprintf(text, size, "would fail: outside the space of 0x%" PRIx64
                                " bytes", space->size);
  vmmi_space_lock_shared(space);
  look_at(space, va, &view);
  words[0] = verdict(&view, access);
  words[1] = region_word(&view, access);
  words[2] = pte_word(&view, access);
  words[3] = window_word(&view, access);
  vmmi_space_unlock(space); /* the text may lie in a window */
  return snprintf(text, size, "%s: region %s, PTE %s, window %s", words[0],
                  words[1], words[2], words[3]);
}

/* Takes no lock: a debugger may have stopped the program anywhere. */
void *vmm_debug_ptr(struct vmm_space *space, vmm_addr_t va)
{
  vmm_pte_t pte;

  if (vmmi_space_check(space) != 0 || va >= space->size)
    return NULL;
  pte = vmmi_pagetable_get(&space->pt, va);
  if (!(pte & VMM_PTE_PRESENT))
    return NULL;
  return vmmi_arena_pointer(vmm_pte_frame(pte)) +
         (va & (space->page_nbytes - 1));
}
