/*
 * Guest threads: beginning, end, and which hart runs which.  A guest thread
 * says who runs it by one compare-and-swap, so that no two harts do.  Locks:
 * the list of dead ones, a leaf.  Layer 6.
 */
#include "guest_thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "displace.h"
#include "metadata.h"
#include "view.h"

static pthread_mutex_t guest_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmm_guest_thread *dead_threads;
static struct vmm_guest_thread *all_threads;

/* Who "runs" a guest thread that is being destroyed. */
static struct vmm_hart *const nobody = (struct vmm_hart *)&dead_threads;

int vmmi_guest_thread_check(const struct vmm_guest_thread *thread)
{
  if (thread == NULL ||
      atomic_load_explicit(&thread->magic, memory_order_relaxed) !=
          VMMI_GUEST_THREAD_MAGIC)
    return vmmi_error(-EINVAL, "not a guest thread, or destroyed", 0);
  return vmmi_thread_check_process();
}

/* ---- beginning and end: inside ---- */

static void give_thread(struct vmm_guest_thread *thread)
{
  pthread_mutex_lock(&guest_lock);
  thread->next_free = dead_threads;
  dead_threads = thread;
  pthread_mutex_unlock(&guest_lock);
}

static struct vmm_guest_thread *take_thread(void)
{
  struct vmm_guest_thread *thread;

  pthread_mutex_lock(&guest_lock);
  thread = dead_threads;
  if (thread != NULL)
    dead_threads = thread->next_free;
  pthread_mutex_unlock(&guest_lock);
  if (thread != NULL)
    return thread;
  thread = vmmi_metadata_alloc(sizeof(*thread));
  if (thread == NULL)
    return NULL;
  pthread_mutex_lock(&guest_lock);
  thread->next = all_threads;
  all_threads = thread;
  pthread_mutex_unlock(&guest_lock);
  return thread;
}

static struct vmm_guest_thread *make_thread(void)
{
  struct vmm_guest_thread *thread = take_thread();

  if (thread == NULL)
    return NULL;
  if (thread->displacer == NULL)
    thread->displacer = vmmi_metadata_alloc(sizeof(*thread->displacer));
  if (thread->displacer == NULL) {
    give_thread(thread);
    return NULL;
  }
  thread->owner = NULL;
  thread->stack = thread->stack_nbytes = 0;
  atomic_store(&thread->hart, NULL);
  atomic_store(&thread->depth, 0);
  atomic_store(&thread->magic, VMMI_GUEST_THREAD_MAGIC);
  return thread;
}

/* => no hart runs it, its page has been given back */
static void end_thread(struct vmm_guest_thread *thread)
{
  atomic_store(&thread->magic, 0);
  atomic_store(&thread->depth, 0);
  vmmi_displacer_end(thread->displacer);
  give_thread(thread);
}

static void release_from(struct vmm_hart *hart)
{
  struct vmm_guest_thread *thread = atomic_load(&hart->thread);

  atomic_store(&hart->thread, NULL);
  if (thread == NULL)
    return;
  if (vmmi_thread_self.displacer == thread->displacer)
    vmmi_thread_self.displacer = NULL;
  /* release: what it did is done, for the next hart */
  atomic_store_explicit(&thread->hart, NULL, memory_order_release);
}

int vmmi_guest_thread_begin(struct vmm_hart *hart)
{
  struct vmm_guest_thread *own = make_thread();

  if (own == NULL)
    return -ENOMEM;
  own->owner = hart;
  atomic_store(&own->hart, hart);
  hart->own = own;
  atomic_store(&hart->shows, false);
  atomic_store(&hart->thread, own);
  vmmi_thread_self.displacer = own->displacer;
  return 0;
}

/* A page that is still pinned stays its pinner's: the last one frees it. */
void vmmi_guest_thread_end(struct vmm_hart *hart)
{
  struct vmm_guest_thread *own = hart->own;
  uint64_t page;

  release_from(hart);
  hart->own = NULL;
  page = atomic_load(&own->page);
  if (!vmmi_trampoline_give_page(own)) {
    atomic_store(&own->page, 0);
    vmmi_frame_release(page, 1);
    vmmi_run_drop(page);
  }
  end_thread(own);
}

int vmmi_guest_thread_fork_child(void)
{
  int error = 0;

  for (struct vmm_guest_thread *thread = all_threads;
       thread != NULL && error == 0; thread = thread->next) {
    if (atomic_load(&thread->hart) != vmmi_thread_self.hart)
      atomic_store(&thread->hart, NULL);
    if (thread->displacer != NULL)
      error = vmmi_displacer_inherit(thread->displacer);
  }
  return error;
}

/* ---- the public side ---- */

static int check_thread_options(const struct vmm_guest_thread_options *options)
{
  static const struct vmm_guest_thread_options none;

  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "guest thread: reserved fields not zero", 0);
  if (!vmmi_is_aligned(options->stack | options->stack_nbytes,
                       VMMI_FRAME_SIZE) ||
      options->stack + options->stack_nbytes < options->stack)
    return vmmi_error(-EINVAL, "guest thread: stack", 0);
  return 0;
}

int vmm_guest_thread_create(struct vmm_guest_thread **thread,
                            const struct vmm_guest_thread_options *options)
{
  static const struct vmm_guest_thread_options none;
  struct vmm_guest_thread *made;
  int error = vmmi_thread_check_process();

  if (error == 0 && thread == NULL)
    error = vmmi_error(-EINVAL, "guest thread: no place for the handle", 0);
  if (options == NULL)
    options = &none;
  if (error == 0)
    error = check_thread_options(options);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  made = make_thread();
  vmmi_thread_leave();
  if (made == NULL)
    return vmmi_error(-ENOMEM, "guest thread: mmap", ENOMEM);
  made->stack = options->stack;
  made->stack_nbytes = options->stack_nbytes;
  made->sp = options->stack + options->stack_nbytes;
  *thread = made;
  return 0;
}

/* => inside */
static int destroy_thread(struct vmm_guest_thread *thread)
{
  struct vmm_hart *none = NULL;

  /* as if a hart ran it: none goes on to */
  if (thread->owner != NULL ||
      !atomic_compare_exchange_strong(&thread->hart, &none, nobody))
    return vmmi_error(-EBUSY, "guest thread: a hart runs it", 0);
  vmmi_trampoline_hide_all(thread);
  if (!vmmi_trampoline_give_page(thread)) {
    atomic_store(&thread->hart, NULL);
    return vmmi_error(-EBUSY, "guest thread: its page is pinned", 0);
  }
  end_thread(thread);
  return 0;
}

int vmm_guest_thread_destroy(struct vmm_guest_thread *thread)
{
  int error;

  if (thread == NULL)
    return 0;
  error = vmmi_guest_thread_check(thread);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  error = destroy_thread(thread);
  vmmi_thread_leave();
  return error;
}

/* ---- on a hart ---- */

static int take_over(struct vmm_hart *hart, struct vmm_guest_thread *thread)
{
  struct vmm_hart *none = NULL;

  if (thread->owner != NULL && thread->owner != hart)
    return vmmi_error(-EBUSY, "guest thread: another hart's own", 0);
  /* acquire: what it did on the hart before is done */
  if (!atomic_compare_exchange_strong_explicit(
          &thread->hart, &none, hart, memory_order_acquire,
          memory_order_relaxed))
    return vmmi_error(-EBUSY, "guest thread: another hart runs it", 0);
  return 0;
}

/* All of it that can fail. */
static int prepare_thread(struct vmm_hart *hart,
                          struct vmm_guest_thread *thread)
{
  int error = thread != NULL ? take_over(hart, thread) : 0;

  if (error != 0)
    return error;
  error = vmmi_view_set_thread(hart, thread);
  if (error != 0 && thread != NULL)
    atomic_store(&thread->hart, NULL);
  return error;
}

int vmm_hart_set_thread(struct vmm_hart *hart, struct vmm_guest_thread *thread)
{
  int error = vmmi_hart_check(hart);

  if (error == 0 && thread != NULL)
    error = vmmi_guest_thread_check(thread);
  if (error != 0)
    return error;
  if (thread == atomic_load(&hart->thread))
    return 0;
  error = prepare_thread(hart, thread);
  if (error != 0)
    return error;
  release_from(hart);
  if (thread == NULL)
    return 0;
  atomic_store(&hart->thread, thread);
  vmmi_thread_self.displacer = thread->displacer;
  vmmi_thread_enter();
  vmmi_trampoline_hide(hart, thread);
  vmmi_thread_leave();
  return 0;
}

struct vmm_guest_thread *vmm_hart_thread(const struct vmm_hart *hart)
{
  if (hart == NULL || vmmi_thread_self.hart != hart)
    return NULL;
  return atomic_load(&hart->thread);
}
