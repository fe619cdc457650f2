/*
 * SIGNAL CONTEXT.  Waiting for pagers.  A thread that waits has an edge to the
 * one that works on its page: the pager's own thread, or whoever calls an
 * inline pager's callback.  A wait that would close a ring is refused.
 *
 * A signal handler may run meanwhile and wait too, so a thread has a list of
 * waits.  Whoever completes a wait takes its edge away at once: the thread that
 * is about to wake no longer depends on anybody.
 */
#include "pager.h"

#include <errno.h>

#include "os.h"

static pthread_mutex_t graph_lock = PTHREAD_MUTEX_INITIALIZER;

enum { ASLEEP, WOKEN, CANCELLED };

static struct vmm_waiter *self_waiter(void)
{
  return &vmmi_thread_self.waiter;
}

/* ---- the graph ---- */

/* => whether from waits, by whatever way, for to.  The graph has no rings, so
 *    it ends.  => graph locked */
static bool depends(const struct vmm_waiter *from, const struct vmm_waiter *to)
{
  if (from == to)
    return true;
  for (const struct vmmi_wait *wait = from->waits; wait != NULL;
       wait = wait->outer)
    if (wait->owner != NULL && depends(wait->owner, to))
      return true;
  return false;
}

/* => 0; -EDEADLK; -EINTR the thread was cancelled before */
static int enter_graph(struct vmmi_wait *wait, struct vmm_waiter *owner)
{
  struct vmm_waiter *self = self_waiter();
  int error = 0;

  pthread_mutex_lock(&graph_lock);
  if (depends(owner, self))
    error = -EDEADLK;
  else if (atomic_exchange(&self->cancelled, false))
    error = -EINTR;
  if (error == 0) {
    wait->owner = owner;
    wait->outer = self->waits;
    self->waits = wait;
  }
  pthread_mutex_unlock(&graph_lock);
  return error;
}

static void leave_graph(struct vmmi_wait *wait)
{
  pthread_mutex_lock(&graph_lock);
  vmmi_assert(self_waiter()->waits == wait, "pager: waits end out of order");
  self_waiter()->waits = wait->outer;
  pthread_mutex_unlock(&graph_lock);
}

static void cut_edge(struct vmmi_wait *wait)
{
  pthread_mutex_lock(&graph_lock);
  wait->owner = NULL;
  pthread_mutex_unlock(&graph_lock);
}

/* ---- waits ---- */

static void unlink_wait(struct vmmi_pager *pager, struct vmmi_wait *wait)
{
  struct vmmi_wait **place = &pager->waits;

  while (*place != wait)
    place = &(*place)->next;
  *place = wait->next;
}

int vmmi_wait_begin(struct vmmi_pager *pager, struct vmmi_wait *wait,
                    struct vmm_waiter *owner)
{
  int error = enter_graph(wait, owner);

  if (error != 0)
    return error;
  atomic_store(&wait->word, ASLEEP);
  wait->next = pager->waits;
  pager->waits = wait;
  pager->nwaits++;
  return 0;
}

int vmmi_wait_sleep(struct vmmi_pager *pager, struct vmmi_wait *wait)
{
  uint32_t woken = WOKEN;
  struct vmmi_away away;

  pthread_mutex_unlock(&pager->object->lock);
  vmmi_thread_away(&away);
  while (atomic_load(&wait->word) == ASLEEP)
    vmmi_os_wait(&wait->word, ASLEEP);
  vmmi_thread_back(&away);
  pthread_mutex_lock(&pager->object->lock);
  if (atomic_load(&wait->word) == CANCELLED)
    return -EINTR;
  if (wait->stays)
    atomic_compare_exchange_strong(&wait->word, &woken, ASLEEP);
  return 0;
}

void vmmi_wait_end(struct vmmi_pager *pager, struct vmmi_wait *wait)
{
  unlink_wait(pager, wait);
  leave_graph(wait);
}

static void wake(struct vmmi_wait *wait)
{
  uint32_t asleep = ASLEEP;

  /* the thread can't go before it has the object's lock */
  if (atomic_compare_exchange_strong(&wait->word, &asleep, WOKEN))
    vmmi_os_wake(&wait->word);
}

/* => whether it is over */
static bool complete_wait(struct vmmi_pager *pager, struct vmmi_wait *wait,
                          bool filled, int error, unsigned reason)
{
  if (wait->stays && filled) /* somebody else's */
    return false;
  if (error != 0 && wait->error == 0) {
    wait->error = error;
    wait->reason = reason;
  }
  if (wait->stays)
    return false;
  if (!filled) /* its own business was another */
    wait->error = 0;
  wait->held = filled && error == 0 && wait->wants;
  if (wait->held)
    pager->page[wait->start].holds++;
  cut_edge(wait);
  return true;
}

void vmmi_wait_complete(struct vmmi_pager *pager, uint32_t start, uint32_t end,
                        bool filled, int error, unsigned reason)
{
  struct vmmi_wait *wait;

  /* one that is over stays on the list until its thread takes it out: a copy of
   * the process made before that must know of it */
  for (wait = pager->waits; wait != NULL; wait = wait->next) {
    if (wait->done || wait->end <= start || wait->start >= end)
      continue;
    wait->done = complete_wait(pager, wait, filled, error, reason);
    wake(wait);
  }
}

/* ---- callbacks ---- */

void vmmi_call_begin(struct vmmi_pager_call *call, struct vmmi_pager *pager,
                     uint32_t start, uint32_t end)
{
  struct vmm_waiter *self = self_waiter();

  *call = (struct vmmi_pager_call){ .pager = pager, .thread = self,
                                    .start = start, .end = end,
                                    .outer = self->calls,
                                    .next = pager->calls };
  self->calls = call;
  pager->calls = call;
}

void vmmi_call_end(struct vmmi_pager_call *call)
{
  struct vmmi_pager_call **place = &call->pager->calls;

  vmmi_assert(self_waiter()->calls == call,
              "pager: a callback was left by a longjmp");
  self_waiter()->calls = call->outer;
  while (*place != call)
    place = &(*place)->next;
  *place = call->next;
}

bool vmmi_call_is_within(const struct vmmi_pager *pager)
{
  const struct vmmi_pager_call *call = self_waiter()->calls;

  while (call != NULL && call->pager != pager)
    call = call->outer;
  return call != NULL;
}

struct vmm_waiter *vmmi_call_owner(const struct vmmi_pager *pager, uint32_t i)
{
  const struct vmmi_pager_call *call = pager->calls;

  if (pager->service != NULL)
    return pager->service;
  while (call != NULL && (i < call->start || i >= call->end))
    call = call->next;
  vmmi_assert(call != NULL, "pager: nobody works on the page");
  return call->thread;
}

/* ---- the public side ---- */

struct vmm_waiter *vmm_waiter_self(void)
{
  return self_waiter();
}

void vmm_waiter_cancel(struct vmm_waiter *waiter)
{
  uint32_t asleep = ASLEEP;

  if (waiter == NULL)
    return;
  vmmi_thread_enter();
  pthread_mutex_lock(&graph_lock);
  if (waiter->waits != NULL &&
      atomic_compare_exchange_strong(&waiter->waits->word, &asleep, CANCELLED))
    vmmi_os_wake(&waiter->waits->word);
  else
    atomic_store(&waiter->cancelled, true);
  pthread_mutex_unlock(&graph_lock);
  vmmi_thread_leave_quietly();
}
