/*
 * Adding watches, removing them, and the executions that an interpreter tells
 * of.  A watch takes silent bits away (a narrowing: it reaches every window
 * before the call returns); what it denied comes back by the next fault.
 * Layer 4.
 */
#include <errno.h>

#include "inject.h"
#include "map.h"
#include "metadata.h"
#include "watch.h"

#define WATCH_MAGIC 0x766d6d77u
#define ALL_ACCESSES (VMM_READ | VMM_WRITE | VMM_EXEC)

struct denial {
  vmm_pte_t denied;
  bool narrower;
};

static int deny_entry(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct denial *denial = arg;

  (void)va;
  denial->narrower |= (vmmi_pte_clear(slot, denial->denied) &
                       denial->denied) != 0;
  return 0;
}

/* The pages that the watch lies in. */
static struct vmm_range pages_of(const struct vmm_watch *watch)
{
  uint64_t page = watch->space->page_nbytes;
  vmm_addr_t start = vmmi_align_down(watch->start, page);

  return (struct vmm_range){ start, vmmi_align_up(watch->end, page) - start };
}

/* => space locked exclusively, the watch in its tree */
static void deny(struct vmm_watch *watch)
{
  struct vmm_space *space = watch->space;
  struct vmm_range pages = pages_of(watch);
  struct vmm_pte_watch stops = {
    0, vmmi_watch_stops(space, watch->start, watch->end - watch->start)
  };
  struct denial denial = { .denied = vmm_pte_stopped(stops) };

  vmmi_pagetable_each(&space->pt, pages.start, pages.start + pages.nbytes,
                      deny_entry, &denial);
  if (denial.narrower)
    vmmi_window_narrow(space, pages.start, pages.nbytes);
  if (watch->access & VMM_EXEC) /* what was decoded is fetched again */
    vmmi_code_notify(space, pages.start, pages.nbytes);
}

/* Metadata, since it may be taken and given back in signal context; counted as
 * malloc, which an embedder would make fail. */
static struct vmm_watch *new_watch(void)
{
  struct vmm_watch *watch = NULL;

  vmmi_thread_enter();
  if (!vmmi_inject(VMM_TEST_MALLOC))
    watch = vmmi_metadata_alloc(sizeof(*watch));
  vmmi_thread_leave();
  return watch;
}

static int check_watch(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes,
                       uint32_t access, uint32_t when)
{
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  if (nbytes == 0 || va >= space->size || nbytes > space->size - va)
    return vmmi_error(-EINVAL, "watch: the range is empty or leaves the space",
                      0);
  if (access == 0 || (access & ~(uint32_t)ALL_ACCESSES))
    return vmmi_error(-EINVAL, "watch: no access, or not one", 0);
  if (when != VMM_WATCH_BEFORE && when != VMM_WATCH_AFTER)
    return vmmi_error(-EINVAL, "watch: neither before nor after", 0);
  return 0;
}

int vmm_watch_add(struct vmm_watch **watch, struct vmm_space *space,
                  vmm_addr_t va, uint64_t nbytes, uint32_t access,
                  enum vmm_watch_when when, vmm_watch_function *function,
                  void *arg)
{
  struct vmm_watch *made;
  int error = check_watch(space, va, nbytes, access, when);

  if (error == 0 && (watch == NULL || function == NULL))
    error = vmmi_error(-EINVAL, "watch: no function, or no place for it", 0);
  if (error != 0)
    return error;
  made = new_watch();
  if (made == NULL)
    return vmmi_error(-ENOMEM, "watch: malloc", ENOMEM);
  *made = (struct vmm_watch){ .magic = WATCH_MAGIC, .space = space,
                              .start = va, .end = va + nbytes,
                              .access = access, .when = when,
                              .function = function, .arg = arg };
  atomic_fetch_add(&space->users, 1);
  *watch = made; /* its first callback may come before this returns */
  vmmi_space_lock(space);
  made->serial = ++space->serial;
  vmmi_watch_insert(made);
  deny(made);
  vmmi_space_unlock(space);
  return 0;
}

void vmm_watch_remove(struct vmm_watch *watch)
{
  struct vmm_space *space;
  struct vmm_range pages;

  if (watch == NULL)
    return;
  vmmi_assert(watch->magic == WATCH_MAGIC, "watch_remove: not a watch");
  space = watch->space;
  if (vmmi_space_check(space) == 0) {
    pages = pages_of(watch);
    vmmi_space_lock(space);
    vmmi_watch_take(watch);
    vmmi_space_unlock(space);
    vmmi_wire_again(space, pages.start, pages.start + pages.nbytes);
    atomic_fetch_sub(&space->users, 1);
  }
  watch->magic = 0;
  vmmi_thread_enter();
  vmmi_metadata_free(watch, sizeof(*watch));
  vmmi_thread_leave();
}

int vmm_watch_execute(struct vmm_space *space, vmm_addr_t va, uint64_t nbytes)
{
  struct vmmi_request request = { .space = space, .va = va,
                                  .access = VMM_EXEC,
                                  .nbytes = (uint32_t)nbytes,
                                  .reason = VMM_FAULT_WATCH };
  struct vmm_watch_event event = { .space = space, .va = va,
                                   .nbytes = nbytes, .access = VMM_EXEC,
                                   .when = VMM_WATCH_BEFORE };
  struct vmm_fault fault;
  int error = vmmi_space_check(space);

  if (error == 0 && (nbytes == 0 || nbytes - 1 > UINT64_MAX - va))
    error = vmmi_error(-EINVAL, "watch: the range is empty or wraps", 0);
  if (error == 0)
    error = vmmi_watch_tell(&event);
  if (error != -EFAULT)
    return error;
  vmmi_resolve_describe(&request, error, &fault);
  vmmi_resolve_give_up(&request, &fault);
  return vmmi_error(error, "a watch refuses the access", 0);
}
