/*
 * Pagers in a copy of the process.  Their memory was copied with that of
 * objects, but of threads only the caller has come along: what others waited
 * for, filled or kept just now has not happened here, and the pager's thread is
 * started anew.
 */
#include "pager.h"

static void forget_work(struct vmmi_pager *pager, uint32_t i)
{
  struct vmmi_pager_page *page = &pager->page[i];

  if (page->keeping == VMMI_PAGER_WRITING)
    vmmi_pager_set_dirty(pager, i, true);
  page->keeping = VMMI_PAGER_IDLE;
  page->holds = 0;
  page->queue_next = 0;
  page->queue_previous = 0;
  if (page->state == VMMI_PAGER_FILLING) {
    vmmi_pager_wipe(pager, i);
    vmmi_pager_set_state(pager, i, VMMI_PAGER_ABSENT);
  }
}

/* The access that it belonged to has ended with its thread.  A hold that is the
 * last one stays: nobody would end the object. */
static void forget_access(struct vmm_object *object, struct vmm_space *space)
{
  if (space == NULL)
    return;
  atomic_fetch_sub(&space->users, 1);
  if (atomic_load(&object->holds) > 1)
    atomic_fetch_sub(&object->holds, 1);
}

static void forget_threads(struct vmmi_pager *pager)
{
  uint32_t i = 0;

  for (struct vmmi_wait *wait = pager->waits; wait != NULL; wait = wait->next)
    forget_access(pager->object, wait->space);
  for (struct vmmi_pager_call *call = pager->calls; call != NULL;
       call = call->next)
    forget_access(pager->object, call->space);
  pager->waits = NULL;
  pager->calls = NULL;
  pager->queue_first = 0;
  pager->queue_last = 0;
  pager->frames = 0;
  while ((i = vmmi_pager_next(pager, i, pager->npages)) < pager->npages) {
    forget_work(pager, i);
    pager->frames += pager->page[i].state == VMMI_PAGER_RESIDENT;
    i++;
  }
}

int vmmi_pager_fork_child(void)
{
  struct vmm_object *object = vmmi_object_next(NULL);

  for (; object != NULL; object = vmmi_object_next(object))
    if (object->pager != NULL)
      forget_threads(object->pager);
  return 0;
}

int vmmi_pager_fork_start(void)
{
  struct vmm_object *object = vmmi_object_next(NULL);
  int error = 0;

  while (error == 0 && object != NULL) {
    struct vmmi_pager *pager = object->pager;

    object = vmmi_object_next(object);
    if (pager == NULL || pager->service == NULL)
      continue;
    if (pager->ending) /* the parent's thread ends it, there */
      vmmi_pager_bury(pager);
    else
      error = vmmi_pager_start(pager);
  }
  return error;
}
