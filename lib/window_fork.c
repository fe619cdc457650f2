/*
 * Windows in a copy of the process, which inherits none of their mappings: they
 * are reserved again where they were, and start empty.
 */
#include "window.h"

#include "os.h"
#include "window_budget.h"
#include "window_index.h"
#include "window_record.h"

static int reserve_again(struct vmmi_window *window)
{
  size_t page = (size_t)1 << vmmi_os_page_shift();
  void *at;

  if (atomic_load(&window->space) != NULL) { /* a hart's may have none */
    vmmi_record_forget_all(window);
    vmmi_record_host_call(window);
  }
  return vmmi_os_reserve(&at, window->reserved, window->reserved_nbytes, page);
}

int vmmi_window_fork_child(void)
{
  struct vmmi_window *window;
  int error = 0;

  vmmi_budget_forget_reserve();
  for (size_t i = 0;
       error == 0 && (window = vmmi_window_index_get(i)) != NULL; i++)
    error = reserve_again(window);
  if (error == 0)
    vmmi_budget_make_reserve();
  return error;
}
