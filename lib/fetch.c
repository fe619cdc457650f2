/*
 * Fetching code for a cache of decoded code, which code.c keeps true.
 */
#include <errno.h>
#include <string.h>

#include <vmm/code.h>

#include "access.h"
#include "pager.h"
#include "resolve.h"
#include "watch.h"

int vmm_fetch(struct vmm_space *space, vmm_addr_t va, void *to, size_t nbytes)
{
  struct vmmi_request request = {
    .space = space, .va = va, .access = VMM_EXEC, .nbytes = (uint32_t)nbytes,
    .flags = VMMI_RESOLVE_HOLD
  };
  bool watched;
  uint64_t in_page;
  int result = vmmi_space_check(space);

  if (result != 0)
    return result;
  in_page = va & (space->page_nbytes - 1);
  if (to == NULL || nbytes == 0 || nbytes > space->page_nbytes - in_page)
    return vmmi_error(-EINVAL, "fetch: more than one page", 0);
  if (vmmi_window_overlaps(to, nbytes)) /* it is written under our lock */
    return vmmi_error(-EINVAL, "fetch: to lies in a window", 0);
  vmmi_thread_enter();
  result = vmmi_resolve_call(&request);
  if (result == 0) {
    result = vmmi_alias_copy(to, vmmi_arena_pointer(request.frame) + in_page,
                             nbytes);
    watched = (vmmi_watch_kinds(space, va, nbytes) & VMM_EXEC) != 0;
    if (request.held)
      vmmi_pager_unhold(request.region->object,
                        request.region->offset + (va - in_page -
                                                  request.region->start),
                        false, false);
    vmmi_space_unlock(space);
    if (result != 0)
      result = vmmi_access_fail(space, va, VMM_EXEC);
    else if (watched)
      result = 2;
    else if (!request.cacheable)
      result = 1;
  } else if (result == 1) { /* a handler said skip: zeros */
    memset(to, 0, nbytes);
  }
  vmmi_thread_leave();
  return result;
}
