/*
 * A space's beginning and end as the program sees them: the checks, and the
 * signals that the first space needs.
 */
#include <errno.h>

#include "entry.h"
#include "os.h"
#include "window_table.h"

int vmm_space_create(struct vmm_space **space,
                     const struct vmm_space_options *options)
{
  struct vmm_space *made = NULL;
  int error = vmmi_thread_check_process();

  if (error == 0 && space == NULL)
    error = vmmi_error(-EINVAL, "space create: no place for the handle", 0);
  if (error != 0)
    return error;
  error = vmmi_os_watch_fork();
  if (error != 0)
    return vmmi_error(error, "space: mmap", -error);
  vmmi_thread_enter();
  error = vmmi_space_make(&made, options);
  if (error == 0 && vmmi_space_has_window(made))
    error = vmmi_signal_first_space();
  if (error == 0)
    *space = made;
  else if (made != NULL)
    vmmi_space_end(made);
  vmmi_thread_leave();
  return error;
}

int vmm_space_destroy(struct vmm_space *space)
{
  int error;

  if (space == NULL)
    return 0;
  error = vmmi_space_check(space);
  if (error != 0)
    return error;
  if (atomic_load(&space->users) != 0)
    return vmmi_error(-EBUSY,
                      "space: a pin, tracker, snapshot or watch uses it", 0);
  if (atomic_load(&space->tlbs) != NULL)
    return vmmi_error(-EBUSY, "space: a TLB uses it", 0);
  if (vmmi_running_end(space) != 0)
    return vmmi_error(-EBUSY, "space: a hart runs it", 0);
  vmmi_thread_enter();
  vmmi_space_end(space);
  vmmi_thread_leave();
  return 0;
}
