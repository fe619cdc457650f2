/*
 * The fault path: one function that every access goes through which a window
 * did not satisfy, from a signal, a copy, a pin, a fetch or a fixup.  Layer 4.
 */
#ifndef VMMI_RESOLVE_H
#define VMMI_RESOLVE_H

#include "space.h"

enum {
  VMMI_RESOLVE_NOFAULT = 1 << 0, /* repair a stale window only */
  VMMI_RESOLVE_PIN = 1 << 1,     /* a frame of its own, even for reading */
  VMMI_RESOLVE_FORCE = 1 << 2,   /* a debugger's: private pages need no right */
  VMMI_RESOLVE_WIRE = 1 << 3,    /* fail where the budget can't hold it */
  VMMI_RESOLVE_HOLD = 1 << 4,    /* keep a pager's page: vmmi_pager_unhold() */
  VMMI_RESOLVE_LOOK = 1 << 5,    /* if it is for software, a call follows */
  VMMI_RESOLVE_USER = 1 << 6,    /* by a user's view, without its window */
  VMMI_RESOLVE_READ = 1 << 7,    /* the access needs VMM_READ too */
};

/* Beside 0 and errors: the page is a device's, which has no frame; nothing was
 * counted, no lock is held. */
enum { VMMI_RESOLVE_DEVICE = 2 };

struct vmmi_request {
  struct vmm_space *space;
  struct vmmi_window *window; /* to install in; NULL: none (a call's access) */
  vmm_addr_t va;
  unsigned access;            /* VMM_READ, VMM_WRITE or VMM_EXEC */
  unsigned flags;             /* VMMI_RESOLVE_* */
  uint32_t nbytes;            /* of the access, for its record; 0: unknown */

  /* out */
  uint64_t frame;             /* of the page, if 0 is returned */
  struct vmmi_region *region; /* that holds it; while the space is locked */
  bool cacheable;             /* VMM_EXEC: writers tell before they write */
  bool silent;                /* the entry granted the access already */
  bool held;                  /* VMMI_RESOLVE_HOLD: the page is a pager's */
  bool waited;                /* for a pager: the lock was dropped meanwhile */
  bool software;              /* a watch denies it to windows: 0 is returned,
                                 and it is to be performed by the alias */
  bool unchanged;             /* ... and the window: nothing was repaired */
  unsigned reason;            /* enum vmm_fault_reason, else */
  void *cookie;               /* the region's */
  vmm_fault_handler *handler; /* the region's, else the space's, or NULL */
  void *handler_arg;
};

/* => whether the access, by a user's view, is to supervisor memory */
static inline bool vmmi_resolve_is_hidden(const struct vmmi_request *request,
                                          const struct vmmi_region *region)
{
  bool user = (request->flags & VMMI_RESOLVE_USER) ||
              (request->window != NULL &&
               request->window->view == VMMI_VIEW_USER);

  return user && (region->flags & VMM_SUPERVISOR);
}

/*
 * => 0 the access may be repeated; VMMI_RESOLVE_DEVICE; else -EFAULT, -ENOMEM,
 *    -EIO or a pager's error, with a reason
 * => no lock held, inside vmmi_thread_enter() or our signal handler;
 *    signal-safe; calls trackers' callbacks, and pagers' or waits for them
 */
int vmmi_resolve(struct vmmi_request *request);

/*
 * As vmmi_resolve(), and leaves with the space locked (shared) if it gives 0,
 * so that request->frame stays what it is: for access by the alias.
 */
int vmmi_resolve_locked(struct vmmi_request *request);

/*
 * Counts the fault as repaired (error 0) or not.  vmmi_resolve_locked() leaves
 * that to its caller where it succeeds, who may find out more; all else does it
 * itself.
 * => space locked
 */
void vmmi_resolve_count(struct vmmi_request *request, int error);

/*
 * For a call's access: resolves; asks the handlers if that fails; records the
 * fault for vmm_fault_last().  Leaves locked as above on 0.
 * => 0; 1 skip (a handler said VMM_SKIP; not locked); VMMI_RESOLVE_DEVICE;
 *    -EFAULT -ENOMEM -EIO
 */
int vmmi_resolve_call(struct vmmi_request *request);

/* A device was called: counts the access, and, without an error, its end.
 * => no lock held */
void vmmi_resolve_count_performed(struct vmmi_request *request, int error);

/* => the region of va, or NULL; sets the request's region, cookie and handler.
 * => space locked */
struct vmmi_region *vmmi_resolve_region(struct vmmi_request *request,
                                        vmm_addr_t va);

/* Nobody repaired the access (request is NULL if it met no window): records it
 * for vmm_fault_last(), counts it.
 * => signal-safe */
void vmmi_resolve_give_up(struct vmmi_request *request,
                          const struct vmm_fault *fault);

/* Makes the fault the one of vmm_fault_last(). */
void vmmi_resolve_record(const struct vmm_fault *fault);

/* Fills a fault record from a request that failed; the rest of it is zero. */
void vmmi_resolve_describe(const struct vmmi_request *request, int error,
                           struct vmm_fault *fault);

/* => the verdict of the request's handler about fault, run with the interrupted
 *    signal mask and no lock; VMM_DECLINE if there is none (signal_inside.c
 *    uses it too); counts handled */
enum vmm_verdict vmmi_resolve_ask(struct vmmi_request *request,
                                  struct vmm_fault *fault);

#endif
