/*
 * The fault path.  A driver goes round while a stage says RESTART:
 *
 *   classify  the region and the right, the leaf; a device's page ends here,
 *             for software (perform.c); with faults disabled, only what the
 *             entry grants already
 *   tell      a tracker's callback, before the first access (no lock)
 *   promote   a frame, young, dirty; as widely as is free (page.c)
 *   page_in   waits until a pager has filled the page, or has kept it (no lock)
 *   install   in the window that missed
 *   trim      windows use too many of the host's mappings: flush some (no lock)
 *   evict     the host is out of mappings: flush, once more (no lock)
 *
 * Locks: the space, shared; in promote the region's object, then the leaf; in
 * install the window.  A lost race is a success that the access finds out
 * about.
 */
#include "resolve.h"

#include <errno.h>
#include <string.h>

#include "guest_thread.h"
#include "hart.h"
#include "inject.h"
#include "lazy.h"
#include "page.h"
#include "pager.h"
#include "tracker.h"
#include "trampoline.h"
#include "window_budget.h"

#define RESTART 1

/* What one resolution carries from stage to stage. */
struct attempt {
  struct vmmi_request *request;
  struct vmmi_page_range range;
  uint8_t told;     /* trackers whose callback was called */
  struct {          /* the one that is to be told next */
    struct vmm_tracker *tracker; /* a name: it may end meanwhile */
    void (*touched)(struct vmm_tracker *, vmm_addr_t, void *);
    void *arg;
    vmm_addr_t at;
  } next;
  unsigned evicted; /* how often */
  bool trimmed;
  bool silent;      /* the entry granted the access already */
  struct vmm_object *kept; /* held, and its page, until this has ended */
  uint64_t kept_offset;
};

static int fail(struct vmmi_request *request, unsigned reason, int error)
{
  request->reason = reason;
  return error;
}

static void count_fault(struct vmmi_region *region, unsigned access)
{
  switch (access) {
  case VMM_WRITE:
    vmmi_count(&region->faults_write, 1);
    break;
  case VMM_EXEC:
    vmmi_count(&region->faults_exec, 1);
    break;
  default:
    vmmi_count(&region->faults_read, 1);
  }
}

static vmm_addr_t request_page(const struct vmmi_request *request)
{
  return vmmi_align_down(request->va, request->space->page_nbytes);
}

/* A look that fails is made again by the call that follows it, if there is a
 * handler whose verdict that call needs: it counts, and asks, alone. */
static bool is_for_call(const struct vmmi_request *request)
{
  return (request->flags & VMMI_RESOLVE_LOOK) && request->handler != NULL &&
         vmmi_thread_self.nofault == 0;
}

static bool is_forced(const struct vmmi_request *request,
                      const struct vmmi_region *region)
{
  return (request->flags & VMMI_RESOLVE_FORCE) &&
         !vmmi_region_is_shared(region) && !(region->flags & VMM_TRAMPOLINE);
}

/* Beyond the space: a guard, or below the stack of an entry area. */
static unsigned outside_reason(const struct vmmi_request *request)
{
  return request->window != NULL &&
                 vmmi_hart_is_redzone(request->window, request->va)
             ? VMM_FAULT_STACK
             : VMM_FAULT_OUTSIDE;
}

struct vmmi_region *vmmi_resolve_region(struct vmmi_request *request,
                                        vmm_addr_t va)
{
  struct vmm_space *space = request->space;
  struct vmmi_region *region =
      va < space->size ? vmmi_region_at(space->regions, va) : NULL;

  request->region = region;
  request->cookie = NULL;
  request->handler = atomic_load(&space->handler);
  request->handler_arg = atomic_load(&space->handler_arg);
  if (region == NULL)
    return NULL;
  request->cookie = region->cookie;
  if (region->handler != NULL) {
    request->handler = region->handler;
    request->handler_arg = region->handler_arg;
  }
  return region;
}

static uint32_t needed_rights(const struct vmmi_request *request)
{
  return request->access |
         (request->flags & VMMI_RESOLVE_READ ? (uint32_t)VMM_READ : 0);
}

static int classify_device(struct vmmi_request *request)
{
  if (request->flags & VMMI_RESOLVE_NOFAULT)
    return fail(request, VMM_FAULT_DISABLED, -EFAULT);
  return VMMI_RESOLVE_DEVICE;
}

static int classify(struct attempt *attempt)
{
  struct vmmi_request *request = attempt->request;
  struct vmm_space *space = request->space;
  struct vmmi_page_range *range = &attempt->range;
  struct vmmi_region *region = vmmi_resolve_region(request, request->va);

  if (request->va >= space->size)
    return fail(request, outside_reason(request), -EFAULT);
  if (region == NULL)
    return fail(request, VMM_FAULT_NO_REGION, -EFAULT);
  if ((needed_rights(request) & ~region->rights) && !is_forced(request, region))
    return fail(request, VMM_FAULT_RIGHTS, -EFAULT);
  if (vmmi_resolve_is_hidden(request, region))
    return fail(request, VMM_FAULT_SUPERVISOR, -EFAULT);
  if (vmmi_region_is_device(region))
    return classify_device(request);
  range->region = region;
  range->va = request_page(request);
  range->npages = 1;
  range->leaf = vmmi_pagetable_walk(&space->pt, request->va, true);
  if (range->leaf == NULL)
    return fail(request, VMM_FAULT_NO_MEMORY, -ENOMEM);
  return 0;
}

/* A callback is called with no lock held, so the resolution begins again. */
static int tell(struct attempt *attempt)
{
  struct vmm_space *space = attempt->request->space;
  struct vmmi_away away;

  vmmi_space_unlock(space);
  vmmi_thread_away(&away);
  attempt->next.touched(attempt->next.tracker, attempt->next.at,
                        attempt->next.arg);
  vmmi_thread_back(&away);
  vmmi_space_lock_shared(space);
  return RESTART;
}

/* => whether a tracker is to be told of the access, whose callback is in
 *    attempt->next then.  => pages locked, or the tracker could end */
static bool has_to_tell(struct attempt *attempt, vmm_pte_t pte)
{
  struct vmmi_request *request = attempt->request;
  const struct vmmi_region *region = request->region;
  vmm_addr_t at = request_page(request);
  struct vmm_tracker *tracker = vmmi_tracker_to_tell(
      attempt->range.region, attempt->range.va, request->access, pte);

  if (tracker == NULL || (attempt->told & (1u << tracker->slot)))
    return false;
  if (request->flags & VMMI_RESOLVE_NOFAULT)
    return true; /* the access is not made */
  attempt->told |= (uint8_t)(1u << tracker->slot);
  attempt->next.tracker = tracker;
  attempt->next.touched = tracker->touched;
  attempt->next.arg = tracker->arg;
  attempt->next.at =
      tracker->object != NULL ? region->offset + (at - region->start) : at;
  return true;
}

static void let_go(struct attempt *attempt)
{
  if (attempt->kept == NULL)
    return;
  vmmi_pager_unhold(attempt->kept, attempt->kept_offset, false, false);
  vmm_object_release(attempt->kept);
  attempt->kept = NULL;
}

/* The pager is waited for with no lock held, so the resolution begins again.
 * The page is kept until then, or others could take it each time. */
static int page_in(struct attempt *attempt)
{
  struct vmmi_request *request = attempt->request;
  struct vmm_space *space = request->space;
  struct vmmi_region *region = request->region;
  struct vmm_object *object = vmm_object_hold(region->object);
  uint64_t offset = region->offset + (request_page(request) - region->start);
  unsigned reason = VMM_FAULT_NONE;
  bool held = false;
  int error;

  vmmi_count(&space->counters.paged, 1);
  request->region = NULL;
  vmmi_thread_enter(); /* a copy of the process must know all who wait */
  atomic_fetch_add(&space->users, 1);
  vmmi_space_unlock(space);
  let_go(attempt);
  error = vmmi_pager_bring(object, offset, space, request->access == VMM_WRITE,
                           &reason, &held);
  vmmi_space_lock_shared(space);
  atomic_fetch_sub(&space->users, 1);
  vmmi_thread_leave();
  request->waited = true;
  if (held) {
    attempt->kept = object;
    attempt->kept_offset = offset;
  } else {
    vmm_object_release(object);
  }
  return error != 0 ? fail(request, reason, error) : RESTART;
}

/* Holds the page, if a pager's is to be held.  => whether it is; page locked */
static bool hold_promoted(const struct attempt *attempt, vmm_pte_t pte)
{
  const struct vmmi_page_range *range = &attempt->range;
  unsigned flags = attempt->request->flags;

  if (!(flags & VMMI_RESOLVE_HOLD) || !vmmi_pager_shows(range->region, pte))
    return false;
  vmmi_pager_hold(range->region, range->va, (flags & VMMI_RESOLVE_PIN) != 0);
  return true;
}

static int promote(struct attempt *attempt)
{
  struct vmmi_request *request = attempt->request;
  struct vmmi_page_range *range = &attempt->range;
  unsigned i = vmmi_leaf_index(&request->space->pt, range->va);
  vmm_pte_t pte;
  int error = 0;
  bool tells;

  vmmi_page_lock(range);
  pte = atomic_load(&range->leaf->pte[i]);
  attempt->silent = vmmi_page_grants(range, request, pte);
  if ((request->flags & VMMI_RESOLVE_PIN) && (pte & VMM_PTE_COW))
    attempt->silent = false;
  tells = has_to_tell(attempt, pte);
  if (request->flags & VMMI_RESOLVE_NOFAULT) {
    if (!attempt->silent)
      error = fail(request, VMM_FAULT_DISABLED, -EFAULT);
  } else if (attempt->silent) {
    if (vmmi_page_is_coarse(range, request))
      vmmi_page_widen(range); /* the window lost more than this page */
  } else if (!tells) {
    error = vmmi_page_promote(range, request);
  }
  if (error == 0 && request->access == VMM_EXEC && attempt->silent)
    request->cacheable =
        vmmi_code_note(range->region, request_page(request),
                       vmm_pte_frame(atomic_load(&range->leaf->pte[i])));
  pte = atomic_load(&range->leaf->pte[i]);
  request->held = error == 0 && !tells && hold_promoted(attempt, pte);
  vmmi_page_unlock(range);
  if (error == VMMI_PAGE_AWAY)
    return page_in(attempt);
  if (tells && error == 0 && !(request->flags & VMMI_RESOLVE_NOFAULT))
    return tell(attempt);
  return error;
}

static int evict(struct attempt *attempt)
{
  struct vmmi_request *request = attempt->request;

  if (attempt->evicted == 2)
    return fail(request, VMM_FAULT_NO_MEMORY, -ENOMEM);
  vmmi_space_unlock(request->space);
  vmmi_thread_enter();
  /* the window that was refused has flushed itself; then all others */
  if (attempt->evicted++ > 0)
    vmmi_window_flush_all();
  vmmi_thread_leave();
  vmmi_space_lock_shared(request->space);
  return RESTART;
}

/* The windows have too many of the host's mappings: some are flushed, perhaps
 * this one, so the stage begins again. */
static int trim(struct attempt *attempt)
{
  struct vmm_space *space = attempt->request->space;

  attempt->trimmed = true;
  vmmi_space_unlock(space);
  vmmi_thread_enter();
  vmmi_budget_trim();
  vmmi_thread_leave();
  vmmi_space_lock_shared(space);
  if ((attempt->request->flags & VMMI_RESOLVE_WIRE) && vmmi_budget_is_full())
    return fail(attempt->request, VMM_FAULT_NO_MEMORY, -ENOMEM);
  return RESTART;
}

static int install(struct attempt *attempt)
{
  struct vmmi_request *request = attempt->request;
  const struct vmmi_page_range *range = &attempt->range;
  struct vmmi_install what = {
    .space = request->space,
    .va = range->va,
    .npages = range->npages,
    .access = request->access,
    .leaf = range->leaf,
    .object = range->region->object,
    .huge = (range->region->flags & VMM_HUGE) != 0,
  };
  int changed;

  request->frame = vmm_pte_frame(atomic_load(
      &range->leaf->pte[vmmi_leaf_index(&request->space->pt, request->va)]));
  if (request->window == NULL) {
    request->unchanged = attempt->silent;
    return 0;
  }
  /* wired memory is wired in the space's own window alone */
  what.wired =
      (range->region->flags & VMM_WIRED) && request->window->hart == NULL;
  changed = vmmi_window_install(request->window, &what);
  if (changed < 0)
    return evict(attempt);
  if (vmmi_budget_is_exceeded() && !attempt->trimmed)
    return trim(attempt);
  request->unchanged = attempt->silent && changed == 0;
  return 0;
}

/* No entry tells of a trampoline page: it is that of the guest thread which the
 * access's hart runs. */
static int show_trampoline(struct attempt *attempt)
{
  struct vmmi_request *request = attempt->request;
  const struct vmmi_page_range *range = &attempt->range;
  int error = vmmi_trampoline_find(request);
  int changed;

  request->cacheable = false;
  request->held = false;
  attempt->silent = request->window == NULL;
  if (error != 0 || request->window == NULL)
    return error;
  changed = vmmi_trampoline_show(request->window, request->space, range->va,
                                 range->region->rights);
  if (changed < 0)
    return evict(attempt);
  if (vmmi_budget_is_exceeded() && !attempt->trimmed)
    return trim(attempt);
  request->unchanged = changed == 0;
  return 0;
}

static void count_arrival(struct vmmi_request *request)
{
  struct vmmi_counters *counters = &request->space->counters;
  struct vmm_stats *own = &vmmi_thread_self.stats;

  switch (request->access) {
  case VMM_WRITE:
    vmmi_count(&counters->faults_write, 1);
    own->faults_write++;
    break;
  case VMM_EXEC:
    vmmi_count(&counters->faults_exec, 1);
    own->faults_exec++;
    break;
  default:
    vmmi_count(&counters->faults_read, 1);
    own->faults_read++;
  }
}

void vmmi_resolve_count(struct vmmi_request *request, int error)
{
  struct vmmi_counters *counters = &request->space->counters;
  struct vmm_stats *own = &vmmi_thread_self.stats;
  struct vmmi_region *region = request->region;

  /* a call that finds all granted is no fault: a window would not have told */
  if (error == 0 && request->window == NULL && request->silent &&
      !request->software)
    return;
  if (error == 0 && request->software && (request->flags & VMMI_RESOLVE_LOOK))
    return;
  count_arrival(request);
  if (region != NULL)
    count_fault(region, request->access);
  if (error != 0) {
    if (region != NULL)
      vmmi_count(&region->unresolved, 1);
    return;
  }
  if (request->software) {
    vmmi_count(&counters->performed, 1);
    own->performed++;
    return;
  }
  vmmi_count(&counters->repaired, 1);
  vmmi_count(&region->repaired, 1);
  own->repaired++;
  if (!request->silent)
    return;
  vmmi_count(&counters->spurious, 1);
  vmmi_count(&region->spurious, 1);
  own->spurious++;
}

void vmmi_resolve_count_performed(struct vmmi_request *request, int error)
{
  count_arrival(request);
  if (error != 0)
    return; /* who tells of it counts its end */
  vmmi_count(&request->space->counters.performed, 1);
  vmmi_thread_self.stats.performed++;
}

int vmmi_resolve_locked(struct vmmi_request *request)
{
  struct attempt attempt = { .request = request };
  struct vmm_space *space = request->space;
  bool special;
  int error;

  /* a signal may come for a space that has just been destroyed */
  if (atomic_load(&space->magic) != VMMI_SPACE_MAGIC)
    return fail(request, VMM_FAULT_NO_REGION, -EFAULT);
  request->region = NULL;
  request->reason = VMM_FAULT_NONE;
  error = vmmi_lazy_arrive(request);
  if (error != 0) {
    vmmi_resolve_count(request, error);
    return error;
  }
  vmmi_space_lock_shared(space);
  do {
    error = classify(&attempt);
    vmmi_inject_step(VMMI_STEP_CLASSIFIED);
    special = error == 0 && (attempt.range.region->flags & VMM_TRAMPOLINE);
    if (error == 0 && !special)
      error = promote(&attempt);
    vmmi_inject_step(VMMI_STEP_PROMOTED);
    if (error == 0)
      error = special ? show_trampoline(&attempt) : install(&attempt);
    vmmi_inject_step(VMMI_STEP_INSTALLED);
  } while (error == RESTART);
  request->silent = attempt.silent;
  let_go(&attempt);
  if (error != 0) {
    if (error != VMMI_RESOLVE_DEVICE && !is_for_call(request))
      vmmi_resolve_count(request, error);
    vmmi_lazy_remember(request);
    request->region = NULL;
    vmmi_space_unlock(space);
  }
  return error;
}

int vmmi_resolve(struct vmmi_request *request)
{
  int error = vmmi_resolve_locked(request);

  if (error == 0) {
    vmmi_resolve_count(request, 0);
    request->region = NULL;
    vmmi_space_unlock(request->space);
  }
  return error;
}

/* ---- when the table can't ---- */

void vmmi_resolve_describe(const struct vmmi_request *request, int error,
                           struct vmm_fault *fault)
{
  memset(fault, 0, sizeof(*fault));
  fault->access = request->access;
  fault->reason = request->reason;
  fault->va = request->va;
  fault->nbytes = request->nbytes;
  fault->error = error;
  fault->space = request->space;
  fault->cookie = request->cookie;
}

void vmmi_resolve_record(const struct vmm_fault *fault)
{
  struct vmmi_thread *self = &vmmi_thread_self;

  self->last = *fault;
  self->last.info = NULL;
  self->last.context = NULL;
  self->has_last = true;
}

void vmmi_resolve_give_up(struct vmmi_request *request,
                          const struct vmm_fault *fault)
{
  vmmi_resolve_record(fault);
  vmmi_thread_self.stats.unresolved++;
  if (request != NULL)
    vmmi_count(&request->space->counters.unresolved, 1);
}

enum vmm_verdict vmmi_resolve_ask(struct vmmi_request *request,
                                  struct vmm_fault *fault)
{
  enum vmm_verdict verdict;
  struct vmm_view_saved view = { 0 };
  struct vmmi_away away;

  if (request->handler == NULL || vmmi_thread_self.nofault > 0)
    return VMM_DECLINE;
  vmmi_thread_away(&away);
  vmmi_hart_interrupt(&view);
  verdict = request->handler(fault, request->handler_arg);
  if (verdict != VMM_RESUME)
    vmmi_hart_resume(&view);
  vmmi_thread_back(&away);
  if (verdict != VMM_DECLINE) {
    vmmi_count(&request->space->counters.handled, 1);
    vmmi_thread_self.stats.handled++;
  }
  return verdict;
}

int vmmi_resolve_call(struct vmmi_request *request)
{
  struct vmm_fault fault;
  int error;

  if (vmmi_thread_self.nofault > 0)
    request->flags |= VMMI_RESOLVE_NOFAULT;
  while ((error = vmmi_resolve_locked(request)) != 0) {
    enum vmm_verdict verdict;

    if (error == VMMI_RESOLVE_DEVICE)
      return error;
    if (is_for_call(request))
      return 1;
    vmmi_resolve_describe(request, error, &fault);
    vmmi_thread_enter();
    verdict = vmmi_resolve_ask(request, &fault);
    vmmi_thread_leave();
    if (verdict == VMM_SKIP)
      return 1;
    if (verdict == VMM_RETRY)
      continue;
    vmmi_resolve_give_up(request, &fault);
    return vmmi_error(error, vmm_fault_reason_name(fault.reason), 0);
  }
  vmmi_resolve_count(request, 0);
  return 0;
}
