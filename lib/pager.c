/*
 * Pagers as the program sees them: making and ending them.  pager_flush.c has
 * what it asks of one in between.
 *
 * The last hold of an object may go anywhere, with locks held, so its end is
 * put off: the pager's thread does it, or, for inline pagers, the next thread
 * that leaves the library outside of signal context.
 */
#include "pager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "os_thread.h"

/* ---- ending ---- */

static pthread_mutex_t dead_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmmi_pager *dead_pagers;

static void free_pager(struct vmmi_pager *pager)
{
  if (pager->page != NULL)
    vmmi_os_release(pager->page, pager->npages * sizeof(pager->page[0]));
  if (pager->used != NULL)
    vmmi_os_release(pager->used, (pager->npages / VMMI_PAGER_GROUP + 1) *
                                     sizeof(pager->used[0]));
  free(pager);
}

/* Nobody holds the object, and nothing is in work: what is dirty is kept.
 * => inside vmmi_thread_enter() */
static void finish(struct vmmi_pager *pager)
{
  struct vmmi_away away;
  uint32_t i = 0;

  pthread_mutex_lock(&pager->object->lock);
  while ((i = vmmi_pager_next(pager, i, pager->npages)) < pager->npages) {
    uint32_t end = pager->page[i].dirty ? pager->npages : i + 1;

    if (pager->page[i].dirty)
      vmmi_pager_write(pager, i, &end, false);
    i = end;
  }
  pthread_mutex_unlock(&pager->object->lock);
  if (pager->options.release == NULL)
    return;
  vmmi_thread_away(&away);
  pager->options.release(pager->options.arg);
  vmmi_thread_back(&away);
}

/* => inside vmmi_thread_enter() */
void vmmi_pager_bury(struct vmmi_pager *pager)
{
  vmmi_object_end(pager->object);
  free_pager(pager);
}

/* The chore of whoever leaves the library next. */
static void end_dead(void)
{
  struct vmmi_pager *pager, *next;

  vmmi_thread_enter();
  pthread_mutex_lock(&dead_lock);
  pager = dead_pagers;
  dead_pagers = NULL;
  pthread_mutex_unlock(&dead_lock);
  for (; pager != NULL; pager = next) {
    next = pager->next_dead;
    finish(pager);
    vmmi_pager_bury(pager);
  }
  vmmi_thread_leave();
}

static void let_thread_end(struct vmmi_pager *pager, bool joined)
{
  pthread_mutex_lock(&pager->object->lock);
  pager->ending = true;
  pager->joined = joined;
  vmmi_pager_ring(pager);
  pthread_mutex_unlock(&pager->object->lock);
}

/* The last hold has gone.  => any locks may be held but the object's;
 * signal-safe */
static void end_pager(struct vmm_object *object)
{
  struct vmmi_pager *pager = object->pager;

  vmmi_thread_enter();
  if (pager->service != NULL) {
    let_thread_end(pager, false);
  } else {
    pthread_mutex_lock(&dead_lock);
    pager->next_dead = dead_pagers;
    dead_pagers = pager;
    pthread_mutex_unlock(&dead_lock);
    atomic_store(&vmmi_thread_chore, end_dead);
  }
  vmmi_thread_leave();
}

static void *run_service(void *arg)
{
  struct vmmi_pager *pager = arg;
  bool joined;

  vmmi_thread_enter();
  pager->service = &vmmi_thread_self.waiter;
  vmmi_pager_ring(pager); /* who made us waits for it */
  pthread_mutex_lock(&pager->object->lock);
  vmmi_pager_serve(pager);
  joined = pager->joined;
  pthread_mutex_unlock(&pager->object->lock);
  finish(pager);
  if (!joined) {
    pthread_detach(pthread_self());
    vmmi_pager_bury(pager);
  }
  vmmi_thread_leave();
  return NULL;
}

/* ---- making ---- */

static int check_pager_options(const struct vmm_pager_options *options)
{
  static const struct vmm_pager_options none;
  uint64_t host = (uint64_t)1 << vmmi_os_page_shift();
  uint64_t page = options->page_size != 0 ? options->page_size : host;

  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "pager options: reserved fields not zero", 0);
  if (options->flags & ~VMM_PAGER_INLINE)
    return vmmi_error(-EINVAL, "pager options: unknown flags", 0);
  if (options->fill == NULL)
    return vmmi_error(-EINVAL, "pager options: no fill", 0);
  if (!vmmi_is_power_of_2(page) || page < VMMI_FRAME_SIZE ||
      page > VMMI_CHUNK_SIZE)
    return vmmi_error(-EINVAL, "pager options: page_size", 0);
  if (options->nbytes == 0 || !vmmi_is_aligned(options->nbytes, page) ||
      options->nbytes > INT64_MAX || options->nbytes / page >= UINT32_MAX)
    return vmmi_error(-EINVAL, "pager options: nbytes", 0);
  return 0;
}

static int fill_in(struct vmmi_pager *pager,
                   const struct vmm_pager_options *options)
{
  unsigned host = vmmi_os_page_shift();
  void *page, *used;
  int error;

  pager->options = *options;
  pager->page_shift = options->page_size != 0
                          ? (unsigned)__builtin_ctz(options->page_size)
                          : host;
  pager->npages = (uint32_t)(options->nbytes >> pager->page_shift);
  error = vmmi_os_alloc(&page, pager->npages * sizeof(pager->page[0]));
  if (error != 0)
    return vmmi_error(error, "pager: mmap of its table", -error);
  pager->page = page;
  error = vmmi_os_alloc(&used, (pager->npages / VMMI_PAGER_GROUP + 1) *
                                   sizeof(pager->used[0]));
  if (error != 0)
    return vmmi_error(error, "pager: mmap of its table", -error);
  pager->used = used;
  return vmmi_object_make(&pager->object, options->nbytes,
                          options->write_back == NULL);
}

/* => inside vmmi_thread_enter() */
int vmmi_pager_start(struct vmmi_pager *pager)
{
  struct vmmi_away away;
  int error;

  if (pager->options.flags & VMM_PAGER_INLINE)
    return 0;
  atomic_store(&pager->bell, 0);
  error = vmmi_os_thread_start(&pager->thread, run_service, pager);
  if (error != 0)
    return vmmi_error(error, "pager: pthread_create", -error);
  vmmi_thread_away(&away);
  while (atomic_load(&pager->bell) == 0)
    vmmi_os_wait(&pager->bell, 0);
  vmmi_thread_back(&away);
  return 0;
}

int vmm_pager_create(struct vmm_object **object,
                     const struct vmm_pager_options *options)
{
  struct vmmi_pager *pager;
  int error = vmmi_thread_check_process();

  if (error == 0 && (object == NULL || options == NULL))
    error = vmmi_error(-EINVAL, "pager: no options, or no place for it", 0);
  if (error == 0)
    error = check_pager_options(options);
  if (error != 0)
    return error;
  error = vmmi_os_watch_fork();
  if (error != 0)
    return vmmi_error(error, "pager: mmap", -error);
  pager = vmmi_os_malloc(sizeof(*pager));
  if (pager == NULL)
    return vmmi_error(-ENOMEM, "pager: malloc", ENOMEM);
  vmmi_thread_enter();
  error = fill_in(pager, options);
  if (error == 0) {
    pager->object->pager = pager;
    pager->object->end = end_pager;
    error = vmmi_pager_start(pager);
    if (error != 0)
      vmmi_object_end(pager->object);
  }
  if (error == 0)
    *object = pager->object;
  else
    free_pager(pager);
  vmmi_thread_leave();
  return error;
}

int vmmi_pager_check_handle(const struct vmm_object *object)
{
  if (!vmmi_object_valid(object) || object->pager == NULL)
    return vmmi_error(-EINVAL, "not a pager's object", 0);
  return vmmi_thread_check_process();
}

/* Of any pager: the thread of the one that is to end may come to need a page of
 * the one whose callback waits for its end. */
static bool is_in_callback(const struct vmmi_pager *pager)
{
  return vmmi_thread_self.waiter.calls != NULL ||
         pager->service == &vmmi_thread_self.waiter;
}

int vmm_pager_destroy(struct vmm_object *object)
{
  struct vmmi_pager *pager;
  struct vmmi_away away;
  unsigned one = 1;
  int error = vmmi_pager_check_handle(object);

  if (error != 0)
    return error;
  pager = object->pager;
  if (is_in_callback(pager))
    return vmmi_error(-EDEADLK, "pager destroy: in a pager's callback", 0);
  if (atomic_load(&object->holds) != 1)
    return vmmi_error(-EBUSY, "pager destroy: somebody holds the object", 0);
  error = vmm_object_flush(object, 0, pager->options.nbytes);
  if (error != 0)
    return error;
  if (!atomic_compare_exchange_strong(&object->holds, &one, 0))
    return vmmi_error(-EBUSY, "pager destroy: somebody holds the object", 0);
  vmmi_thread_enter();
  if (pager->service != NULL) {
    let_thread_end(pager, true);
    vmmi_thread_away(&away);
    pthread_join(pager->thread, NULL);
    vmmi_thread_back(&away);
  } else {
    finish(pager);
  }
  vmmi_pager_bury(pager);
  vmmi_thread_leave();
  return 0;
}
