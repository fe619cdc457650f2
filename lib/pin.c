/*
 * Holding pages, and the pins of the public interface, which are many held
 * pages.
 *
 * A writer by the alias is invisible to the host's MMU, so it is counted in its
 * frame's state: a tracker reports a counted frame each time, and vmm_fetch()
 * keeps no code of it.  The count and VMMI_FRAME_CODE share a word: of a writer
 * and a fetch that race, one sees the other.
 */
#include "pin.h"

#include <errno.h>
#include <stdlib.h>

#include "access.h"
#include "map.h"
#include "os.h"
#include "pager.h"
#include "tracker.h"

struct vmm_pin {
  struct vmm_space *space;
  size_t count;
  struct vmmi_held held[];
};

/* Counts, or uncounts, a writer of the page.
 * => false and nothing is counted: it is code */
static bool count_writer(uint64_t frame, unsigned npages)
{
  for (unsigned i = 0; i < npages; i++) {
    _Atomic uint32_t *state = &vmmi_arena_frame(frame + i)->state;

    /* acq_rel, with the fetch's compare-and-swap of the same word */
    if (!(atomic_fetch_add_explicit(state, 1, memory_order_acq_rel) &
          VMMI_FRAME_CODE))
      continue;
    for (unsigned j = 0; j <= i; j++)
      atomic_fetch_sub(&vmmi_arena_frame(frame + j)->state, 1);
    return false;
  }
  return true;
}

static void uncount_writer(uint64_t frame, unsigned npages)
{
  for (unsigned i = 0; i < npages; i++)
    /* release: the bytes and the dirty bits come first */
    atomic_fetch_sub_explicit(&vmmi_arena_frame(frame + i)->state, 1,
                              memory_order_release);
}

/* Holds what was resolved.  => space locked; false: it became code meanwhile */
static bool hold_page(const struct vmmi_request *request,
                      struct vmmi_held *held)
{
  struct vmm_space *space = request->space;
  vmm_addr_t va = vmmi_align_down(request->va, space->page_nbytes);
  struct vmmi_region *region = request->region;
  uint64_t frame = request->frame;
  bool writing = request->access == VMM_WRITE;

  *held = (struct vmmi_held){ .space = space, .va = va, .frame = frame,
                              .writing = writing };
  held->paged = request->held;
  held->pinned = (request->flags & VMMI_RESOLVE_PIN) != 0;
  if (writing && !count_writer(frame, space->page_frames)) {
    if (request->held)
      vmmi_pager_unhold(region->object, region->offset + (va - region->start),
                        held->pinned, false);
    return false;
  }
  if (frame == VMMI_ZERO_FRAME)
    return true;
  if (region->object != NULL && /* its frame, or a private copy of it? */
      atomic_load(&vmmi_arena_frame(frame)->refs) == 0) {
    held->object = vmm_object_hold(region->object);
    held->offset = region->offset + (va - region->start);
  } else {
    vmmi_frame_hold(frame);
  }
  return true;
}

int vmmi_pin_page(struct vmm_space *space, vmm_addr_t va, unsigned access,
                  unsigned flags, struct vmmi_held *held)
{
  struct vmmi_request request = { .space = space, .va = va, .access = access };
  bool done = false;

  if (vmmi_thread_self.nofault > 0)
    flags |= VMMI_RESOLVE_NOFAULT;
  request.flags = flags | VMMI_RESOLVE_HOLD;
  while (!done) {
    int error = vmmi_resolve_call(&request);

    if (error != 0)
      return error;
    done = hold_page(&request, held);
    vmmi_space_unlock(space);
  }
  return 0;
}

/*
 * Makes the entry of va dirty to all that watch it, if it still has the frame.
 * No silent bit is granted: the frame may be code by now.
 * => space locked, and the region's object, if it is shared
 */
static bool mark_entry(struct vmmi_region *region, vmm_addr_t va,
                       uint64_t frame)
{
  struct vmm_space *space = region->space;
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(&space->pt, va, false);
  struct vmm_pte_watch watch =
      vmmi_tracker_watch(region, va, space->page_nbytes);
  vmmi_pte_slot *slot;
  vmm_pte_t pte;

  if (leaf == NULL)
    return false;
  slot = &leaf->pte[vmmi_leaf_index(&space->pt, va)];
  pte = atomic_load(slot);
  do {
    if (!(pte & VMM_PTE_PRESENT) || vmm_pte_frame(pte) != frame)
      return false;
    /* even if nothing changes: who clears the bits then sees the bytes */
  } while (!atomic_compare_exchange_weak(
      slot, &pte, pte | VMM_PTE_MODIFIED | (watch.all & VMM_PTE_TRACKERS)));
  return true;
}

static bool mark_page(struct vmm_space *space, vmm_addr_t va, uint64_t frame)
{
  struct vmmi_region *region = vmmi_region_at(space->regions, va);
  bool shared, marked;

  if (region == NULL)
    return false;
  shared = vmmi_region_is_shared(region);
  if (shared)
    pthread_mutex_lock(&region->object->lock);
  marked = mark_entry(region, va, frame);
  if (shared)
    pthread_mutex_unlock(&region->object->lock);
  return marked;
}

/* The page was unmapped or moved while it was held: its object's trackers learn
 * of it, and where else the space maps it.  => space locked */
static void mark_object(const struct vmmi_held *held)
{
  struct vmm_space *space = held->space;
  struct vmm_object *object = held->object;

  pthread_mutex_lock(&object->lock);
  vmmi_tracker_note_object(object, held->offset, space->page_nbytes);
  for (struct vmmi_region *region = object->regions; region != NULL;
       region = region->object_next) {
    uint64_t at = held->offset - region->offset;

    if (region->space == space && vmmi_region_is_shared(region) &&
        held->offset >= region->offset && at < region->end - region->start)
      mark_entry(region, region->start + at, held->frame);
  }
  pthread_mutex_unlock(&object->lock);
}

/* => 1 if the entry has the frame of the held page, and was marked */
static int mark_moved(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  const struct vmmi_held *held = arg;
  vmm_pte_t pte = atomic_load(slot);

  return (pte & VMM_PTE_PRESENT) && vmm_pte_frame(pte) == held->frame &&
         mark_page(held->space, va, held->frame);
}

/* => space locked */
static void unmark_writer(struct vmmi_held *held)
{
  struct vmm_space *space = held->space;

  if (!mark_page(space, held->va, held->frame)) {
    if (held->object != NULL)
      mark_object(held);
    else if (atomic_load(&vmmi_arena_frame(held->frame)->refs) > 1)
      vmmi_pagetable_each(&space->pt, 0, space->size, mark_moved, held);
  }
  uncount_writer(held->frame, space->page_frames);
}

/* => not locked: the last hold of an object frees it */
static void release_page(const struct vmmi_held *held)
{
  if (held->paged)
    vmmi_pager_unhold(held->object, held->offset, held->pinned, held->writing);
  if (held->object != NULL)
    vmm_object_release(held->object);
  else if (held->frame != VMMI_ZERO_FRAME)
    vmmi_frame_release(held->frame, held->space->page_frames);
}

static void unpin_pages(struct vmm_space *space, struct vmmi_held *held,
                        size_t count)
{
  bool locked = false;

  vmmi_thread_enter();
  for (size_t i = 0; i < count; i++) {
    if (!held[i].writing)
      continue;
    if (!locked)
      vmmi_space_lock_shared(space);
    locked = true;
    unmark_writer(&held[i]);
  }
  if (locked)
    vmmi_space_unlock(space);
  for (size_t i = 0; i < count; i++)
    release_page(&held[i]);
  vmmi_thread_leave();
}

void vmmi_unpin_page(struct vmmi_held *held)
{
  unpin_pages(held->space, held, 1);
}

/* ---- the public pins ---- */

static int check_pin(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                     unsigned access, const void *iov, const size_t *niov,
                     struct vmm_pin **pin)
{
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  if (iov == NULL || niov == NULL || pin == NULL)
    return vmmi_error(-EINVAL, "pin: no place for the result", 0);
  if (nbytes == 0 || va + nbytes < va)
    return vmmi_error(-EINVAL, "pin: the range is empty or wraps", 0);
  if (access == 0 || access & ~(VMM_READ | VMM_WRITE))
    return vmmi_error(-EINVAL, "pin: access is neither read nor write", 0);
  return 0;
}

/* => bytes of the range in the i-th page; *at is where they begin */
static size_t page_part(const struct vmm_pin *pin, size_t i, vmm_addr_t va,
                        size_t nbytes, vmm_addr_t *at)
{
  vmm_addr_t page = pin->held[i].va;

  *at = vmmi_max(page, va);
  return (size_t)(vmmi_min(page + pin->space->page_nbytes, va + nbytes) - *at);
}

/* => vectors needed; those that fit are filled if iov is not NULL */
static size_t fill_vectors(const struct vmm_pin *pin, vmm_addr_t va,
                           size_t nbytes, struct vmm_iovec *iov)
{
  char *end = NULL;
  size_t count = 0;

  for (size_t i = 0; i < pin->count; i++) {
    vmm_addr_t at;
    size_t part = page_part(pin, i, va, nbytes, &at);
    char *start = vmmi_pin_pointer(&pin->held[i], at);

    if (start != end)
      count++;
    if (iov != NULL && start != end)
      iov[count - 1] = (struct vmm_iovec){ start, part };
    else if (iov != NULL)
      iov[count - 1].nbytes += part;
    end = start + part;
  }
  return count;
}

static int hold_range(struct vmm_pin *pin, vmm_addr_t va, size_t pages,
                      unsigned access)
{
  vmm_addr_t start = vmmi_align_down(va, pin->space->page_nbytes);
  vmm_addr_t next = start, at = va;
  unsigned flags = VMMI_RESOLVE_PIN;
  int error = 0;

  if (access == (VMM_READ | VMM_WRITE))
    flags |= VMMI_RESOLVE_READ;
  access = access & VMM_WRITE ? VMM_WRITE : VMM_READ;
  vmmi_thread_enter();
  atomic_fetch_add(&pin->space->users, 1);
  for (size_t i = 0; error == 0 && i < pages; i++) {
    at = vmmi_max(va, next);
    error = vmmi_pin_page(pin->space, at, access, flags,
                          &pin->held[i]);
    pin->count += error == 0;
    next += pin->space->page_nbytes;
  }
  /* a page that showed somebody else's frame got another one */
  vmmi_wire_again(pin->space, start, next);
  vmmi_thread_leave();
  if (error == VMMI_RESOLVE_DEVICE)
    return vmmi_access_no_frame(pin->space, at, access);
  return error > 0 ? -EFAULT : error; /* a pin can't be left out */
}

/* A range that leaves the space: the fault is at its end, and all before it
 * need not be brought in.  => -EFAULT ... */
static int refuse_outside(struct vmm_space *space, vmm_addr_t va)
{
  struct vmmi_held held;
  int error = vmmi_pin_page(space, vmmi_max(va, space->size), VMM_READ,
                            VMMI_RESOLVE_PIN, &held);

  vmmi_assert(error != 0, "pin: a page outside the space");
  return error > 0 ? -EFAULT : error;
}

int vmm_pin(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
            unsigned access, struct vmm_iovec *iov, size_t *niov,
            struct vmm_pin **pin)
{
  struct vmm_pin *made;
  size_t pages, vectors;
  int error = check_pin(space, va, nbytes, access, iov, niov, pin);

  if (error != 0)
    return error;
  if (va >= space->size || nbytes > space->size - va)
    return refuse_outside(space, va);
  pages = (size_t)(((va + nbytes - 1) >> space->page_shift) -
                   (va >> space->page_shift) + 1);
  made = vmmi_os_malloc(sizeof(*made) + pages * sizeof(made->held[0]));
  if (made == NULL)
    return vmmi_error(-ENOMEM, "pin: malloc", ENOMEM);
  made->space = space;
  made->count = 0;
  error = hold_range(made, va, pages, access);
  vectors = error == 0 ? fill_vectors(made, va, nbytes, NULL) : 0;
  if (error == 0 && vectors > *niov)
    error = vmmi_error(-E2BIG, "pin: too few vectors", 0);
  if (error != 0) {
    vmm_unpin(made);
    return error;
  }
  *niov = fill_vectors(made, va, nbytes, iov);
  *pin = made;
  return 0;
}

void vmm_unpin(struct vmm_pin *pin)
{
  if (pin == NULL)
    return;
  if (vmmi_space_check(pin->space) == 0) { /* a child of fork has no frames */
    vmmi_thread_enter();
    unpin_pages(pin->space, pin->held, pin->count);
    atomic_fetch_sub(&pin->space->users, 1);
    vmmi_thread_leave();
  }
  free(pin);
}
