/*
 * The entry area of a user window is outside of what the window's record tells,
 * so no flush takes it: the trap page is shown as long as the window is there,
 * the stack's page until the hart has another stack.  Its frame is pinned, so
 * it is neither moved nor used again while it is shown.
 */
#include "view.h"

#include <errno.h>
#include <string.h>

#include "metadata.h"
#include "object.h"
#include "pin.h"
#include "window_budget.h"

/* The host's mappings that an entry area makes of one reservation: four
 * more. */
#define ENTRY_PIECES 4

struct vmmi_view_stack {
  struct vmmi_held held;      /* the top guest page; while window is not NULL */
  struct vmmi_window *window; /* whose entry area shows it; NULL: no stack */
  vmm_addr_t top;
};

static size_t host_nbytes(void)
{
  return (size_t)1 << vmmi_os_page_shift();
}

static char *entry_page(const struct vmm_hart *hart,
                        const struct vmmi_window *window, unsigned page)
{
  return window->base - vmmi_hart_entry(hart, page);
}

/* ---- begin, end, open, close ---- */

int vmmi_view_begin(struct vmm_hart *hart)
{
  uint64_t run;

  hart->stack = NULL;
  memset(&hart->views, 0, sizeof(hart->views));
  if (!(hart->flags & VMM_HART_VIEWS))
    return 0;
  hart->stack = vmmi_metadata_alloc(sizeof(*hart->stack));
  if (hart->stack == NULL || vmmi_arena_init() != 0 ||
      vmmi_run_take(&run) != 0) {
    vmmi_metadata_free(hart->stack, sizeof(*hart->stack));
    hart->stack = NULL;
    return vmmi_error(-ENOMEM, "hart: no memory for its trap page", ENOMEM);
  }
  vmmi_frame_take(run, (unsigned)(host_nbytes() >> VMMI_FRAME_SHIFT));
  atomic_store(&hart->trap_run, run);
  hart->views.page = host_nbytes();
  return 0;
}

void vmmi_view_end(struct vmm_hart *hart)
{
  uint64_t run = atomic_load(&hart->trap_run);

  if (hart->stack == NULL)
    return;
  vmmi_view_drop_stack(hart);
  vmmi_frame_release(run, (unsigned)(host_nbytes() >> VMMI_FRAME_SHIFT));
  vmmi_run_drop(run);
  vmmi_metadata_free(hart->stack, sizeof(*hart->stack));
  hart->stack = NULL;
}

/* Shows the trap page in the window's entry area. */
static int show_trap(struct vmm_hart *hart, struct vmmi_window *window)
{
  uint64_t run = atomic_load(&hart->trap_run);

  return vmmi_os_map(entry_page(hart, window, VMMI_ENTRY_TRAP), host_nbytes(),
                     VMM_READ | VMM_WRITE, vmmi_arena_fd(),
                     vmmi_arena_offset(run));
}

int vmmi_view_open(struct vmm_hart *hart, struct vmmi_window *window)
{
  int error;

  window->entry_stack = NULL;
  if (hart->stack == NULL || window->view != VMMI_VIEW_USER)
    return 0;
  error = vmmi_budget_claim(ENTRY_PIECES);
  if (error != 0)
    return error;
  error = show_trap(hart, window);
  if (error != 0)
    vmmi_budget_unclaim(ENTRY_PIECES);
  return error;
}

void vmmi_view_close(struct vmm_hart *hart, struct vmmi_window *window)
{
  if (hart->stack == NULL || window->view != VMMI_VIEW_USER)
    return;
  if (hart->stack->window == window)
    vmmi_view_drop_stack(hart);
  vmmi_budget_unclaim(ENTRY_PIECES);
}

/* ---- the stack ---- */

static int try_to_hide_stack(char *at)
{
  int error = vmmi_os_rereserve(at, host_nbytes());

  return error != 0 ? vmmi_os_protect(at, host_nbytes(), 0) : 0;
}

static void hide_stack(char *at)
{
  int error = try_to_hide_stack(at);

  if (vmmi_likely(error == 0))
    return;
  vmmi_budget_open_reserve();
  error = try_to_hide_stack(at);
  vmmi_budget_close_reserve();
  if (error != 0)
    vmmi_base_panic("view: the host refuses to take a page away");
}

/* The pin of a stack ends. */
static void let_stack_go(struct vmmi_held *held)
{
  atomic_fetch_sub(&held->space->users, 1);
  vmmi_unpin_page(held);
}

void vmmi_view_drop_stack(struct vmm_hart *hart)
{
  struct vmmi_view_stack *stack = hart->stack;
  struct vmmi_window *window;

  if (stack == NULL || stack->window == NULL)
    return;
  window = stack->window;
  pthread_mutex_lock(&window->lock);
  hide_stack(entry_page(hart, window, VMMI_ENTRY_STACK));
  window->entry_stack = NULL;
  pthread_mutex_unlock(&window->lock);
  stack->window = NULL;
  let_stack_go(&stack->held);
}

/* Shows the top host page of the held page.  What was shown there is shown
 * until then, and if that fails. */
static int show_stack(struct vmm_hart *hart, struct vmmi_window *window,
                      const struct vmmi_held *held)
{
  uint64_t frame = held->frame + held->space->page_frames -
                   (host_nbytes() >> VMMI_FRAME_SHIFT);
  char *at = entry_page(hart, window, VMMI_ENTRY_STACK);
  uint64_t offset = vmmi_arena_offset(frame);
  int fd = vmmi_arena_fd();
  int error;

  if (!vmmi_arena_owns(frame))
    vmmi_object_backing(held->object, frame, &fd, &offset);
  pthread_mutex_lock(&window->lock);
  error = vmmi_os_map(at, host_nbytes(), VMM_READ | VMM_WRITE, fd, offset);
  if (error == 0)
    window->entry_stack = vmmi_arena_pointer(frame);
  pthread_mutex_unlock(&window->lock);
  return error;
}

/* => the window of the user's view that the hart runs on */
static struct vmmi_window *user_window(const struct vmm_hart *hart)
{
  uint64_t context = atomic_load(&hart->context);

  if (context == 0)
    return NULL;
  return hart->windows[vmmi_asid_tag(&hart->asids, context)][VMMI_VIEW_USER];
}

static void set_views_stack(struct vmm_hart *hart)
{
  const struct vmmi_view_stack *stack = hart->stack;
  struct vmmi_window *window = user_window(hart);
  struct vmm_views *views = &hart->views;

  if (window == NULL || stack->window != window) {
    views->stack = NULL;
    views->shift = 0;
    views->sp = NULL;
    return;
  }
  views->stack = entry_page(hart, window, VMMI_ENTRY_STACK) + views->page;
  views->sp = views->supervisor + stack->top;
  views->shift = views->sp - views->stack;
}

static int set_stack(struct vmm_hart *hart, vmm_addr_t top)
{
  struct vmmi_view_stack *stack = hart->stack;
  struct vmmi_window *window = user_window(hart);
  struct vmm_space *space = hart->space;
  struct vmmi_held held;
  int error = vmmi_pin_page(space, top - space->page_nbytes, VMM_WRITE,
                            VMMI_RESOLVE_PIN, &held);

  if (error != 0)
    return error > 0 ? -EFAULT : error;
  atomic_fetch_add(&space->users, 1);
  error = show_stack(hart, window, &held);
  if (error != 0) {
    let_stack_go(&held);
    return vmmi_error(-ENOMEM, "stack: mmap of its top page", -error);
  }
  if (stack->window == window) /* it is shown no more */
    let_stack_go(&stack->held);
  else
    vmmi_view_drop_stack(hart);
  stack->held = held;
  stack->window = window;
  stack->top = top;
  return 0;
}

/* ---- ranges ---- */

/* => 0 if regions cover the range and each has these rights, and is
 *    VMM_SUPERVISOR, or, if supervisor is 0, is not.  -ENOMEM -EACCES
 * => space locked */
static int check_covered(struct vmm_space *space, vmm_addr_t va, vmm_addr_t end,
                         uint32_t supervisor, uint32_t rights)
{
  while (va < end) {
    const struct vmmi_region *region = vmmi_region_at(space->regions, va);

    if (region == NULL)
      return vmmi_error(-ENOMEM, "view: a part is not mapped", 0);
    if ((region->flags & VMM_SUPERVISOR) != supervisor)
      return vmmi_error(-EACCES, supervisor != 0
                                     ? "stack: not the supervisor's memory"
                                     : "sync: the supervisor's memory", 0);
    if (rights & ~region->rights)
      return vmmi_error(-EACCES, "stack: it can't be read and written", 0);
    va = region->end;
  }
  return 0;
}

/* => 0 if the hart is the thread's, has views, and runs a space with them */
static int check_views(const struct vmm_hart *hart)
{
  int error = vmmi_hart_check(hart);

  if (error == 0 && hart->stack == NULL)
    error = vmmi_error(-EINVAL, "the hart has no views", 0);
  return error;
}

static int check_running(const struct vmm_hart *hart)
{
  int error = check_views(hart);

  if (error == 0 && user_window(hart) == NULL)
    error = vmmi_error(-EINVAL, "the hart runs no space by its views", 0);
  return error;
}

static int check_stack(struct vmm_hart *hart, vmm_addr_t top, uint64_t nbytes)
{
  int error = check_running(hart);

  if (error == 0 && top < nbytes)
    error = vmmi_error(-EINVAL, "stack: it wraps below 0", 0);
  if (error == 0)
    error = vmmi_space_check_range(hart->space, top - nbytes, nbytes);
  if (error != 0)
    return error;
  vmmi_space_lock_shared(hart->space);
  error = check_covered(hart->space, top - nbytes, top, VMM_SUPERVISOR,
                        VMM_READ | VMM_WRITE);
  vmmi_space_unlock(hart->space);
  return error;
}

static int change_stack(struct vmm_hart *hart, vmm_addr_t top, uint64_t nbytes)
{
  int error = nbytes != 0 ? check_stack(hart, top, nbytes) : check_views(hart);

  if (error == 0 && vmmi_view_is_user(hart))
    error = vmmi_error(-EBUSY, "stack: the user's view is active", 0);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  if (nbytes == 0)
    vmmi_view_drop_stack(hart);
  else
    error = set_stack(hart, top);
  vmmi_thread_leave();
  if (error == 0)
    set_views_stack(hart);
  return error;
}

int vmm_hart_set_stack(struct vmm_hart *hart, vmm_addr_t top, uint64_t nbytes)
{
  int error = change_stack(hart, top, nbytes);
  struct vmm_guest_thread *thread;

  if (error != 0)
    return error;
  thread = atomic_load(&hart->thread);
  if (thread != NULL) {
    thread->stack = top - nbytes;
    thread->stack_nbytes = nbytes;
  }
  return 0;
}

int vmmi_view_set_thread(struct vmm_hart *hart,
                         const struct vmm_guest_thread *thread)
{
  struct vmm_guest_thread *old = atomic_load(&hart->thread);
  struct vmm_views *views = &hart->views;
  vmm_addr_t left = (vmm_addr_t)(views->sp - views->supervisor);
  bool shown = views->stack != NULL;
  int error;

  if (hart->stack == NULL || user_window(hart) == NULL)
    return 0;
  error = thread != NULL
              ? change_stack(hart, thread->stack + thread->stack_nbytes,
                             thread->stack_nbytes)
              : change_stack(hart, 0, 0);
  if (error != 0)
    return error;
  if (old != NULL && shown)
    old->sp = left;
  if (thread != NULL && thread->sp - thread->stack <= thread->stack_nbytes &&
      thread->stack_nbytes != 0)
    views->sp = views->supervisor + thread->sp;
  return 0;
}

/* ---- showing what is granted already ---- */

/* A stretch within one chunk and one region.  => pages that were changed;
 * -ENOMEM
 * => space locked */
static int sync_stretch(struct vmmi_window *window,
                        const struct vmmi_region *region, vmm_addr_t va,
                        vmm_addr_t end)
{
  struct vmm_space *space = region->space;
  struct vmmi_install what = {
    .space = space,
    .va = va,
    .npages = (unsigned)((end - va) >> space->page_shift),
    .access = VMM_READ,
    .leaf = vmmi_pagetable_walk(&space->pt, va, false),
    .object = region->object,
    .huge = (region->flags & VMM_HUGE) != 0,
  };

  return what.leaf != NULL ? vmmi_window_install(window, &what) : 0;
}

/* => pages that were changed.  -ENOMEM -EACCES.  => space locked */
static int sync_range(struct vmm_hart *hart, vmm_addr_t va, vmm_addr_t end)
{
  struct vmm_space *space = hart->space;
  int error = check_covered(space, va, end, 0, 0);
  int changed = 0;

  while (error == 0 && va < end) {
    const struct vmmi_region *region = vmmi_region_at(space->regions, va);
    vmm_addr_t chunk = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE;
    vmm_addr_t to = vmmi_min(end, vmmi_min(chunk, region->end));
    int n = sync_stretch(user_window(hart), region, va, to);

    if (n < 0)
      return vmmi_error(-ENOMEM, "sync: the host has no mappings left", ENOMEM);
    changed += n != 0;
    va = to;
  }
  return error != 0 ? error : changed;
}

int vmm_hart_sync(struct vmm_hart *hart, vmm_addr_t va, uint64_t nbytes)
{
  int error = check_running(hart);

  if (error == 0)
    error = vmmi_space_check_range(hart->space, va, nbytes);
  if (error != 0)
    return error;
  vmmi_space_lock_shared(hart->space);
  error = sync_range(hart, va, va + nbytes);
  vmmi_space_unlock(hart->space);
  if (error == 0)
    return vmmi_error(-EALREADY, "sync: the view shows all that is granted", 0);
  return error < 0 ? error : 0;
}

/* ---- turning and asking ---- */

bool vmmi_view_is_user(const struct vmm_hart *hart)
{
  return hart->views.base != NULL && hart->views.base == hart->views.user;
}

void vmmi_view_turn(struct vmm_hart *hart, uint64_t context)
{
  struct vmm_views *views = &hart->views;
  unsigned tag = vmmi_asid_tag(&hart->asids, context);
  struct vmmi_window *user, *supervisor;

  if (hart->space == NULL) {
    vmmi_thread_enter();
    vmmi_view_drop_stack(hart);
    vmmi_thread_leave();
  }
  if (context == 0) {
    *views = (struct vmm_views){ .page = views->page };
    return;
  }
  user = hart->windows[tag][VMMI_VIEW_USER];
  supervisor = hart->windows[tag][VMMI_VIEW_SUPERVISOR];
  views->user = user->base;
  views->supervisor = supervisor->base;
  views->base = supervisor->base;
  views->trap = entry_page(hart, user, VMMI_ENTRY_TRAP);
  set_views_stack(hart);
}

int vmmi_view_fork_child(void)
{
  struct vmm_hart *hart = vmmi_thread_self.hart;
  int error = 0;

  if (hart == NULL || hart->stack == NULL)
    return 0;
  for (unsigned tag = 0; error == 0 && tag < VMMI_HART_TAGS; tag++) {
    struct vmmi_window *window = hart->windows[tag][VMMI_VIEW_USER];

    if (window != NULL)
      error = show_trap(hart, window);
  }
  if (error == 0 && hart->stack->window != NULL)
    error = show_stack(hart, hart->stack->window, &hart->stack->held);
  return error;
}

struct vmm_views *vmm_hart_views(struct vmm_hart *hart)
{
  return check_views(hart) == 0 ? &hart->views : NULL;
}

void *vmm_hart_trap_page(const struct vmm_hart *hart)
{
  if (hart == NULL || atomic_load(&hart->magic) != VMMI_HART_MAGIC ||
      !(hart->flags & VMM_HART_VIEWS))
    return NULL;
  return vmmi_arena_pointer(atomic_load(&hart->trap_run));
}
