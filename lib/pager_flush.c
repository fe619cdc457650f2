/*
 * What a program asks of a pager by itself: keeping pages, giving them up,
 * telling what was done.
 */
#include "pager.h"

#include <errno.h>
#include <string.h>


static int check_pages(const struct vmm_object *object, uint64_t offset,
                       uint64_t nbytes)
{
  uint64_t page = VMMI_FRAME_SIZE;

  if (!vmmi_object_valid(object))
    return vmmi_error(-EINVAL, "not an object, or released", 0);
  if (object->pager != NULL)
    page = (uint64_t)1 << object->pager->page_shift;
  if (nbytes == 0 || !vmmi_is_aligned(offset | nbytes, page))
    return vmmi_error(-EINVAL, "not whole pages of the object", 0);
  if (offset > vmmi_align_up(object->nbytes, page) ||
      nbytes > vmmi_align_up(object->nbytes, page) - offset)
    return vmmi_error(-EINVAL, "the range leaves the object", 0);
  return vmmi_thread_check_process();
}

/* ---- flush ---- */

/* => the first page of [i, end) that is queued or being kept, or end */
static uint32_t next_busy(const struct vmmi_pager *pager, uint32_t i,
                          uint32_t end)
{
  while ((i = vmmi_pager_next(pager, i, end)) < end &&
         pager->page[i].keeping == VMMI_PAGER_IDLE)
    i++;
  return i;
}

static void queue_dirty(struct vmmi_pager *pager, uint32_t i, uint32_t end)
{
  while ((i = vmmi_pager_next(pager, i, end)) < end) {
    struct vmmi_pager_page *page = &pager->page[i];

    if (page->dirty && page->keeping == VMMI_PAGER_IDLE) {
      page->keeping = VMMI_PAGER_QUEUED;
      vmmi_pager_enqueue(pager, i);
    }
    i++;
  }
  vmmi_pager_ring(pager);
}

/* By the pager's thread.  => object locked */
static int flush_there(struct vmmi_pager *pager, uint32_t i, uint32_t end)
{
  struct vmmi_wait wait = { .start = i, .end = end, .stays = true };
  int error = vmmi_wait_begin(pager, &wait, pager->service);

  if (error != 0)
    return error;
  queue_dirty(pager, i, end);
  while (error == 0 && (i = next_busy(pager, i, end)) < end)
    error = vmmi_wait_sleep(pager, &wait);
  vmmi_wait_end(pager, &wait);
  return error != 0 ? error : wait.error;
}

/* Another thread keeps page i just now.  => object locked */
static int wait_for_page(struct vmmi_pager *pager, uint32_t i)
{
  struct vmmi_wait wait = { .start = i, .end = i + 1 };
  int error = vmmi_wait_begin(pager, &wait, vmmi_call_owner(pager, i));

  if (error != 0)
    return error;
  error = vmmi_wait_sleep(pager, &wait);
  vmmi_wait_end(pager, &wait);
  return error;
}

/* By the calling thread.  => object locked */
static int flush_here(struct vmmi_pager *pager, uint32_t i, uint32_t end)
{
  int first = 0, error = 0;

  if (vmmi_call_is_within(pager))
    return -EDEADLK;
  while (error == 0 && (i = vmmi_pager_next(pager, i, end)) < end) {
    const struct vmmi_pager_page *page = &pager->page[i];
    uint32_t stop = i + 1;
    int failed = 0;

    if (page->keeping == VMMI_PAGER_WRITING) {
      error = wait_for_page(pager, i);
      continue;
    }
    if (page->dirty) {
      stop = end;
      failed = vmmi_pager_write(pager, i, &stop, false);
    }
    first = first != 0 ? first : failed;
    i = stop;
  }
  return error != 0 ? error : first;
}

int vmm_object_flush(struct vmm_object *object, uint64_t offset,
                     uint64_t nbytes)
{
  struct vmmi_pager *pager;
  uint32_t i, end;
  int error = check_pages(object, offset, nbytes);

  if (error != 0 || object->pager == NULL)
    return error;
  pager = object->pager;
  i = vmmi_pager_index(pager, offset);
  end = i + vmmi_pager_index(pager, nbytes);
  vmmi_thread_enter();
  pthread_mutex_lock(&object->lock);
  error = pager->service != NULL ? flush_there(pager, i, end)
                                 : flush_here(pager, i, end);
  pthread_mutex_unlock(&object->lock);
  vmmi_thread_leave();
  return error != 0 ? vmmi_error(error, "flush: pages are not written back", 0)
                    : 0;
}

/* ---- evict ---- */

int vmm_object_evict(struct vmm_object *object, uint64_t offset,
                     uint64_t nbytes)
{
  struct vmmi_pager *pager;
  uint32_t i, end;
  bool stays = false;
  int error = vmm_object_flush(object, offset, nbytes);

  if (error != 0 || object->pager == NULL)
    return error;
  pager = object->pager;
  i = vmmi_pager_index(pager, offset);
  end = i + vmmi_pager_index(pager, nbytes);
  vmmi_thread_enter();
  pthread_mutex_lock(&object->lock);
  while ((i = vmmi_pager_next(pager, i, end)) < end) {
    stays |= pager->page[i].pins != 0 || vmmi_pager_is_wired(pager, i);
    if (vmmi_pager_may_go(pager, i) && !pager->page[i].dirty)
      vmmi_pager_drop(pager, i);
    i++;
  }
  pthread_mutex_unlock(&object->lock);
  vmmi_thread_leave();
  return stays ? vmmi_error(-EBUSY, "evict: a page is wired or pinned", 0) : 0;
}

/* ---- counters ---- */

int vmm_pager_stats(struct vmm_object *object, struct vmm_pager_stats *stats)
{
  struct vmm_pager_stats now = { 0 };
  const struct vmmi_pager *pager;
  int error = vmmi_pager_check_handle(object);

  if (error != 0)
    return error;
  if (stats == NULL || stats->struct_size < sizeof(stats->struct_size))
    return vmmi_error(-EINVAL, "stats: struct_size is not set", 0);
  pager = object->pager;
  vmmi_thread_enter();
  pthread_mutex_lock(&object->lock);
  now.fills = pager->fills;
  now.write_backs = pager->write_backs;
  now.evictions = pager->evictions;
  now.failures = pager->failures;
  now.waits = pager->nwaits;
  now.resident = pager->frames;
  now.dirty = pager->dirty;
  pthread_mutex_unlock(&object->lock);
  vmmi_thread_leave();
  now.struct_size = stats->struct_size;
  memcpy(stats, &now, vmmi_min(now.struct_size, sizeof(now)));
  return 0;
}
