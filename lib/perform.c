/*
 * Performing an access.  Memory alone is what it nearly always is: its pages
 * are held and its bytes moved by the alias, at once if they are aligned.  If
 * one of its pages is a device's it falls into pieces, one a region; all of
 * them must be there before the first is done.
 */
#include "perform.h"

#include <errno.h>

#include "access.h"
#include "device.h"
#include "watch.h"

/* A part of an access, in one region. */
struct piece {
  struct vmm_object *device; /* held; NULL: memory */
  uint64_t offset;           /* in the device */
  size_t nbytes;
};

enum { PIECES_MAX = 17 }; /* no page is smaller than a byte */

/* ---- pieces ---- */

static int refuse_piece(struct vmmi_request *request, vmm_addr_t va,
                        unsigned reason)
{
  request->va = va;
  request->reason = reason;
  return -EFAULT;
}

/* => space locked */
static int find_locked(struct vmmi_request *request, vmm_addr_t va,
                       size_t nbytes, struct piece *piece)
{
  const struct vmmi_region *region = vmmi_resolve_region(request, va);

  if (va >= request->space->size)
    return refuse_piece(request, va, VMM_FAULT_OUTSIDE);
  if (region == NULL)
    return refuse_piece(request, va, VMM_FAULT_NO_REGION);
  if (!(region->rights & request->access))
    return refuse_piece(request, va, VMM_FAULT_RIGHTS);
  if (vmmi_resolve_is_hidden(request, region))
    return refuse_piece(request, va, VMM_FAULT_SUPERVISOR);
  piece->nbytes = (size_t)vmmi_min(nbytes, region->end - va);
  if (!vmmi_region_is_device(region))
    return 0;
  if (vmmi_thread_self.nofault > 0)
    return refuse_piece(request, va, VMM_FAULT_DISABLED);
  piece->device = vmm_object_hold(region->object);
  piece->offset = region->offset + (va - region->start);
  return 0;
}

static int find_piece(struct vmmi_request *request, vmm_addr_t va,
                      size_t nbytes, struct piece *piece)
{
  struct vmm_space *space = request->space;
  int error;

  *piece = (struct piece){ 0 };
  vmmi_space_lock_shared(space);
  error = find_locked(request, va, nbytes, piece);
  request->region = NULL;
  vmmi_space_unlock(space);
  return error;
}

/* Two views of one device that meet are one. */
static bool join_pieces(struct piece *low, struct piece *high)
{
  if (low->device == NULL || low->device != high->device ||
      low->offset + low->nbytes != high->offset)
    return false;
  low->nbytes += high->nbytes;
  vmm_object_release(high->device);
  return true;
}

static int do_piece(struct vmmi_request *request, vmm_addr_t va, void *value,
                    const struct piece *piece)
{
  bool read = request->access == VMM_READ;
  int error;

  if (piece->device == NULL)
    return read ? vmmi_access_copyin(request->space, value, va, piece->nbytes,
                                     request->flags & VMMI_RESOLVE_USER)
                : vmmi_access_copyout(request->space, va, value, piece->nbytes,
                                      request->flags & VMMI_RESOLVE_USER);
  error = vmmi_device_access(piece->device, piece->offset, request->access,
                             value, (uint32_t)piece->nbytes);
  vmmi_resolve_count_performed(request, error);
  if (error != 0) {
    request->va = va;
    request->reason = VMM_FAULT_DEVICE;
  }
  return error;
}

static int do_pieces(struct vmmi_request *request, char *value)
{
  struct piece pieces[PIECES_MAX];
  size_t nbytes = request->nbytes, done = 0;
  vmm_addr_t va = request->va;
  unsigned n = 0;
  int error = 0;

  for (size_t found = 0; error == 0 && found < nbytes;) {
    error = find_piece(request, va + found, nbytes - found, &pieces[n]);
    if (error != 0)
      break;
    found += pieces[n].nbytes;
    n += n == 0 || !join_pieces(&pieces[n - 1], &pieces[n]);
  }
  for (unsigned i = 0; error == 0 && i < n; i++) {
    error = do_piece(request, va + done, value + done, &pieces[i]);
    done += pieces[i].nbytes;
  }
  for (unsigned i = 0; i < n; i++)
    vmm_object_release(pieces[i].device);
  return error;
}

/* ---- the whole access ---- */

/* => an event of the access, by its address */
static struct vmm_watch_event event_of(const struct vmmi_performance *p,
                                       unsigned when, const void *value)
{
  return (struct vmm_watch_event){
    .space = p->request.space,
    .va = p->request.va,
    .nbytes = p->request.nbytes,
    .access = p->request.access,
    .when = when,
    .value = when == VMM_WATCH_BEFORE && p->request.access == VMM_READ ? NULL
                                                                       : value,
    .host_pc = p->host_pc,
  };
}

/* A watch said no: the fault has the region's handler and cookie. */
static int refuse_watched(struct vmmi_request *request)
{
  struct vmm_space *space = request->space;

  vmmi_space_lock_shared(space);
  vmmi_resolve_region(request, request->va);
  request->region = NULL;
  vmmi_space_unlock(space);
  return refuse_piece(request, request->va, VMM_FAULT_WATCH);
}

int vmmi_perform(struct vmmi_performance *p, void *value)
{
  struct vmmi_request *request = &p->request;
  struct vmm_watch_event before = event_of(p, VMM_WATCH_BEFORE, value);
  struct vmm_watch_event after = event_of(p, VMM_WATCH_AFTER, value);
  int error = p->quiet ? 0 : vmmi_watch_tell(&before);

  request->reason = VMM_FAULT_NONE;
  if (error != 0)
    return refuse_watched(request);
  if (request->window != NULL && request->window->view == VMMI_VIEW_USER)
    request->flags |= VMMI_RESOLVE_USER; /* whatever is mapped there by now */
  error = vmmi_access_memory(request->space, request->va, request->nbytes,
                             request->access,
                             request->flags & VMMI_RESOLVE_USER, value);
  if (error == VMMI_RESOLVE_DEVICE)
    error = do_pieces(request, value);
  if (error == 0 && !p->quiet)
    vmmi_watch_tell(&after);
  return error;
}

/* ---- for calls ---- */

int vmmi_perform_refuse(struct vmmi_request *request, int error)
{
  enum vmm_verdict verdict;
  struct vmm_fault fault;

  vmmi_resolve_describe(request, error, &fault);
  vmmi_thread_enter();
  verdict = vmmi_resolve_ask(request, &fault);
  vmmi_thread_leave();
  if (verdict == VMM_RETRY)
    return 0;
  if (verdict == VMM_SKIP)
    return 1;
  vmmi_resolve_give_up(request, &fault);
  return vmmi_error(error, vmm_fault_reason_name(request->reason), 0);
}

static int perform_and_ask(struct vmmi_performance asked, void *value)
{
  int error;

  do {
    struct vmmi_performance p = asked;

    error = vmmi_perform(&p, value);
    if (error >= 0 || p.request.reason == VMM_FAULT_NONE)
      return error;
    error = vmmi_perform_refuse(&p.request, error);
  } while (error == 0);
  return error;
}

int vmmi_perform_call(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                      unsigned access, void *value)
{
  struct vmmi_performance p = { .request = { .space = space, .va = va,
                                             .access = access,
                                             .nbytes = (uint32_t)nbytes } };

  return perform_and_ask(p, value);
}

int vmmi_perform_quiet(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                       unsigned access, void *value)
{
  struct vmmi_performance p = { .request = { .space = space, .va = va,
                                             .access = access,
                                             .nbytes = (uint32_t)nbytes },
                                .quiet = true };

  return perform_and_ask(p, value);
}

int vmmi_perform_tell(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                      unsigned access, unsigned when, const void *value)
{
  struct vmm_watch_event event = { .space = space, .va = va,
                                   .nbytes = nbytes, .access = access,
                                   .when = when, .value = value };
  struct vmmi_request request = { .space = space, .va = va };
  int error;

  do {
    if (nbytes == 0 || vmmi_watch_tell(&event) == 0)
      return 0;
    request.access = access & VMM_WRITE ? VMM_WRITE : VMM_READ;
    error = refuse_watched(&request);
    error = vmmi_perform_refuse(&request, error);
  } while (error == 0);
  return error;
}
