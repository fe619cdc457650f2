/*
 * SIGNAL CONTEXT.  A pager at work: filling, writing back, making room.  It
 * runs on the pager's own thread, or on the thread that needs the page (inline
 * pagers, several at once).  The object is unlocked around each callback.
 */
#include "pager.h"

#include <errno.h>

#include "arch.h"
#include "os.h"

#define ERROR_LAST 4095

/* => what a callback said, made an error that a call may return */
static int error_of(int result)
{
  return result <= 0 && result >= -ERROR_LAST ? result : -EIO;
}

/* ---- making room ---- */

/* Second chance, beginning at the hand.
 * => the victim, or npages if there is none */
static uint32_t choose(struct vmmi_pager *pager, bool clean)
{
  for (uint64_t n = 2 * pager->frames + 1; n > 0 && pager->hand != 0; n--) {
    uint32_t i = pager->hand - 1;

    pager->hand = pager->page[i].next;
    if (!vmmi_pager_may_go(pager, i) || (clean && pager->page[i].dirty))
      continue;
    if (!pager->page[i].young)
      return i;
    vmmi_pager_pass_over(pager, i);
  }
  return pager->npages;
}

/* => the page that the program's hook chooses, or npages */
static uint32_t ask_for_victim(struct vmmi_pager *pager)
{
  const struct vmm_pager_options *options = &pager->options;
  struct vmmi_pager_call call;
  uint64_t offset = 0;
  struct vmmi_away away;
  uint32_t i;
  int result;

  vmmi_call_begin(&call, pager, 0, 0);
  pthread_mutex_unlock(&pager->object->lock);
  vmmi_thread_away(&away);
  result = options->victim(&offset, options->arg);
  vmmi_thread_back(&away);
  pthread_mutex_lock(&pager->object->lock);
  vmmi_call_end(&call);
  if (result != 0 || offset >= options->nbytes)
    return pager->npages;
  i = vmmi_pager_index(pager, offset);
  return vmmi_pager_may_go(pager, i) ? i : pager->npages;
}

/* Waits for what another thread does to some page.
 * => 0; 1 there is nobody who could be waited for; -EINTR */
static int wait_for_others(struct vmmi_pager *pager)
{
  const struct vmmi_pager_call *call = pager->calls;
  int error = 1;

  for (; error != 0 && call != NULL; call = call->next) {
    struct vmmi_wait wait = { .start = call->start, .end = call->end };

    if (call->start == call->end)
      continue;
    error = vmmi_wait_begin(pager, &wait, call->thread);
    if (error == -EINTR)
      return error;
    if (error != 0) /* it waits for us */
      continue;
    error = vmmi_wait_sleep(pager, &wait);
    vmmi_wait_end(pager, &wait);
    return error;
  }
  return 1;
}

/* => whether some page stays only because a call is just using it */
static bool is_held_for_a_moment(const struct vmmi_pager *pager)
{
  uint32_t i = pager->hand;

  for (uint64_t n = pager->frames; n > 0 && i != 0; n--) {
    const struct vmmi_pager_page *page = &pager->page[i - 1];

    if (page->holds != 0 && page->pins == 0 &&
        !vmmi_pager_is_wired(pager, i - 1))
      return true;
    i = page->next;
  }
  return false;
}

/* Nothing can go now.  => 0 go on; 1 try again; or an error with *reason */
static int do_without(struct vmmi_pager *pager, unsigned *reason)
{
  int result = wait_for_others(pager);

  if (result <= 0) {
    *reason = VMM_FAULT_PAGER;
    return result == 0 ? 1 : result;
  }
  if (is_held_for_a_moment(pager))
    return 0;
  *reason = VMM_FAULT_LIMIT;
  return -ENOMEM;
}

/* Writes a victim back if it is dirty, and lets it go if nobody needs it
 * now. */
static int evict_victim(struct vmmi_pager *pager, uint32_t i, bool chosen)
{
  uint32_t end = i + 1;
  int error = 0;

  if (pager->page[i].dirty)
    error = vmmi_pager_write(pager, i, &end, false);
  if (error == 0 && vmmi_pager_may_go(pager, i) && !pager->page[i].dirty &&
      (chosen || !pager->page[i].young))
    vmmi_pager_drop(pager, i);
  return error;
}

static bool is_full(const struct vmmi_pager *pager)
{
  return pager->options.max_frames != 0 &&
         pager->frames >= pager->options.max_frames;
}

/* => 0 or an error with *reason */
static int make_room(struct vmmi_pager *pager, unsigned *reason)
{
  int failed = 0;

  while (is_full(pager)) {
    bool hook = pager->options.victim != NULL && failed == 0;
    uint32_t i = hook ? ask_for_victim(pager) : pager->npages;
    bool chosen = i != pager->npages;
    int result;

    if (!is_full(pager))
      break;
    if (!chosen)
      i = choose(pager, failed != 0);
    if (i != pager->npages) {
      result = evict_victim(pager, i, chosen);
      failed = result != 0 ? result : failed;
      continue;
    }
    if (failed != 0) { /* nothing is clean, and dirty pages can't be kept */
      *reason = VMM_FAULT_PAGER;
      return failed;
    }
    result = do_without(pager, reason);
    if (result <= 0)
      return result;
  }
  return 0;
}

/* ---- callbacks ---- */

static int call_fill(struct vmmi_pager *pager, uint32_t i, unsigned *reason)
{
  const struct vmm_pager_options *options = &pager->options;
  size_t nbytes = (size_t)1 << pager->page_shift;
  char *to = vmmi_pager_bytes(pager, i);
  struct vmmi_away away;
  int error = 0;

  pthread_mutex_unlock(&pager->object->lock);
  *reason = VMM_FAULT_NO_MEMORY;
  for (size_t at = 0; error == 0 && at < nbytes;
       at += (size_t)1 << VMMI_FRAME_SHIFT)
    error = vmmi_arch_probe(to + at, true) != 0 ? -ENOMEM : 0;
  if (error == 0) {
    *reason = VMM_FAULT_PAGER;
    vmmi_thread_away(&away);
    error = error_of(options->fill((uint64_t)i << pager->page_shift, to, nbytes,
                                   options->arg));
    vmmi_thread_back(&away);
  }
  pthread_mutex_lock(&pager->object->lock);
  return error;
}

int vmmi_pager_fill(struct vmmi_pager *pager, uint32_t i,
                    struct vmm_space *space, unsigned *reason)
{
  struct vmmi_pager_call call;
  int error;

  vmmi_call_begin(&call, pager, i, i + 1);
  call.space = space;
  error = make_room(pager, reason);
  if (error == 0) {
    pager->frames++;
    error = call_fill(pager, i, reason);
    if (error != 0) {
      vmmi_pager_wipe(pager, i);
      pager->frames--;
    }
  }
  vmmi_call_end(&call);
  pager->fills += error == 0;
  pager->failures += error != 0;
  vmmi_pager_set_state(pager, i, error == 0 ? VMMI_PAGER_RESIDENT
                                            : VMMI_PAGER_ABSENT);
  vmmi_wait_complete(pager, i, i + 1, true, error, *reason);
  return error;
}

/* => pages to be written back at once, beginning with i */
static uint32_t run_length(const struct vmmi_pager *pager, uint32_t i,
                           uint32_t end, bool queued)
{
  uint8_t keeping = queued ? VMMI_PAGER_QUEUED : VMMI_PAGER_IDLE;
  uint32_t n = 1;

  while (i + n < end && n < VMMI_PAGER_RUN && pager->page[i + n].dirty &&
         pager->page[i + n].keeping == keeping)
    n++;
  return n;
}

int vmmi_pager_write(struct vmmi_pager *pager, uint32_t i, uint32_t *end,
                     bool queued)
{
  const struct vmm_pager_options *options = &pager->options;
  uint32_t n = run_length(pager, i, *end, queued);
  struct vmmi_pager_call call;
  struct vmmi_away away;
  int error;

  vmmi_call_begin(&call, pager, i, i + n);
  vmmi_pager_begin_write(pager, i, n);
  pthread_mutex_unlock(&pager->object->lock);
  vmmi_thread_away(&away);
  error = error_of(options->write_back(
      (uint64_t)i << pager->page_shift, vmmi_pager_bytes(pager, i),
      (size_t)n << pager->page_shift, options->arg));
  vmmi_thread_back(&away);
  pthread_mutex_lock(&pager->object->lock);
  vmmi_call_end(&call);
  for (uint32_t k = i; k < i + n; k++) {
    pager->page[k].keeping = VMMI_PAGER_IDLE;
    if (error != 0)
      vmmi_pager_set_dirty(pager, k, true);
  }
  pager->write_backs += error == 0 ? n : 0;
  pager->failures += error != 0;
  *end = i + n;
  vmmi_wait_complete(pager, i, i + n, false, error, VMM_FAULT_PAGER);
  return error;
}

/* ---- who works ---- */

static void sleep_until_rung(struct vmmi_pager *pager, uint32_t bell)
{
  struct vmmi_away away;

  pthread_mutex_unlock(&pager->object->lock);
  vmmi_thread_away(&away);
  while (atomic_load(&pager->bell) == bell)
    vmmi_os_wait(&pager->bell, bell);
  vmmi_thread_back(&away);
  pthread_mutex_lock(&pager->object->lock);
}

void vmmi_pager_serve(struct vmmi_pager *pager)
{
  unsigned reason;
  uint32_t i, end;

  while (!pager->ending || pager->queue_first != 0) {
    uint32_t bell = atomic_load(&pager->bell);

    if (pager->queue_first == 0) {
      sleep_until_rung(pager, bell);
      continue;
    }
    i = pager->queue_first - 1;
    if (pager->page[i].state != VMMI_PAGER_FILLING) {
      end = pager->npages;
      vmmi_pager_write(pager, i, &end, true);
      continue;
    }
    vmmi_pager_dequeue(pager, i);
    vmmi_pager_fill(pager, i, NULL, &reason);
  }
}

/* => 0 and the page is there or was asked for; or an error.  The wait is
 *    begun. */
static int ask_and_wait(struct vmmi_pager *pager, uint32_t i,
                        struct vmmi_wait *wait)
{
  struct vmmi_pager_page *page = &pager->page[i];
  int error = vmmi_wait_begin(pager, wait, vmmi_call_owner(pager, i));

  if (error != 0)
    return error;
  if (page->state == VMMI_PAGER_ABSENT) {
    vmmi_pager_set_state(pager, i, VMMI_PAGER_FILLING);
    vmmi_pager_enqueue(pager, i);
    vmmi_pager_ring(pager);
  }
  error = vmmi_wait_sleep(pager, wait);
  vmmi_wait_end(pager, wait);
  if (error == 0)
    return wait->error;
  if (wait->held)
    page->holds--;
  wait->held = false;
  return error;
}

static int fill_here(struct vmmi_pager *pager, uint32_t i,
                     struct vmm_space *space, unsigned *reason)
{
  int error;

  if (vmmi_call_is_within(pager))
    return -EDEADLK;
  vmmi_pager_set_state(pager, i, VMMI_PAGER_FILLING);
  error = vmmi_pager_fill(pager, i, space, reason);
  if (error == 0)
    pager->page[i].holds++;
  return error;
}

int vmmi_pager_bring(struct vmm_object *object, uint64_t offset,
                     struct vmm_space *space, bool write, unsigned *reason,
                     bool *held)
{
  struct vmmi_pager *pager = object->pager;
  uint32_t i = vmmi_pager_index(pager, offset);
  struct vmmi_wait wait = { .start = i, .end = i + 1, .space = space,
                            .wants = true, .reason = VMM_FAULT_PAGER };
  const struct vmmi_pager_page *page = &pager->page[i];
  int error = 0;

  pthread_mutex_lock(&object->lock);
  *reason = VMM_FAULT_PAGER;
  if (page->state == VMMI_PAGER_ABSENT && pager->service == NULL) {
    error = fill_here(pager, i, space, reason);
    wait.held = error == 0;
  } else if (page->state != VMMI_PAGER_RESIDENT ||
             (write && page->keeping == VMMI_PAGER_WRITING)) {
    error = ask_and_wait(pager, i, &wait);
    *reason = wait.reason;
  }
  *held = wait.held;
  pthread_mutex_unlock(&object->lock);
  return error;
}
