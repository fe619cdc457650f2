/*
 * Counting host mappings, and flushing when they are too many.  The figure is a
 * bound: neighbours that the host merges are counted apart at the ends of
 * chunks.
 */
#include "window_budget.h"

#include <errno.h>
#include <pthread.h>

#include <vmm/space.h>

#include "os.h"
#include "window_index.h"

/* An access of many pages must find all of them between two trims. */
#define LEAST 256

static _Atomic int64_t used;
static _Atomic int64_t chosen;  /* by the program; 0: by the host's limit */
static _Atomic int64_t default_limit; /* 0: not asked yet */
static _Atomic int64_t resident; /* what the last trim could not take */

static int64_t limit(void)
{
  int64_t by_program = atomic_load_explicit(&chosen, memory_order_relaxed);
  int64_t by_host = atomic_load_explicit(&default_limit, memory_order_relaxed);

  if (by_program != 0)
    return by_program;
  if (by_host == 0) {
    by_host = (int64_t)vmmi_os_mapping_limit() / 4 * 3;
    atomic_store_explicit(&default_limit, by_host, memory_order_relaxed);
  }
  return by_host;
}

void vmmi_budget_add(struct vmmi_window *window, int64_t pieces)
{
  /* relaxed: bounds, not invariants */
  atomic_fetch_add_explicit(&window->pieces, (uint64_t)pieces,
                            memory_order_relaxed);
  atomic_fetch_add_explicit(&used, pieces, memory_order_relaxed);
}

static _Atomic int64_t claimed;

int vmmi_budget_claim(unsigned pieces)
{
  if (atomic_fetch_add(&claimed, pieces) + pieces > limit() / 4) {
    atomic_fetch_sub(&claimed, pieces);
    return -ENOMEM;
  }
  atomic_fetch_add_explicit(&used, pieces, memory_order_relaxed);
  return 0;
}

void vmmi_budget_unclaim(unsigned pieces)
{
  atomic_fetch_sub(&claimed, pieces);
  atomic_fetch_sub_explicit(&used, pieces, memory_order_relaxed);
}

bool vmmi_budget_is_exceeded(void)
{
  int64_t now = atomic_load_explicit(&used, memory_order_relaxed);
  int64_t most;

  if (vmmi_likely(now <= LEAST))
    return false; /* the common case, and never too much */
  most = limit();
  return now > most &&
         now > atomic_load_explicit(&resident, memory_order_relaxed) + most / 4;
}

bool vmmi_budget_is_full(void)
{
  return atomic_load_explicit(&used, memory_order_relaxed) > limit() / 4 * 3;
}

static _Atomic uint64_t large; /* pieces that make a window large, in a trim */

static void flush_large(struct vmmi_window *window)
{
  uint64_t pieces = atomic_load_explicit(&window->pieces, memory_order_relaxed);

  if (pieces != 0 && pieces >= atomic_load(&large) &&
      atomic_load_explicit(&used, memory_order_relaxed) > limit() / 2)
    vmmi_window_flush(window);
}

void vmmi_budget_trim(void)
{
  atomic_store(&large, (uint64_t)limit() / 16);
  vmmi_window_index_each(flush_large);
  atomic_store(&large, 0);
  vmmi_window_index_each(flush_large);
  atomic_store_explicit(&resident,
                        atomic_load_explicit(&used, memory_order_relaxed),
                        memory_order_relaxed);
}

/* ---- the reserve ---- */

/* Pages of alternating rights are a mapping each. */
#define RESERVE_PAGES 16

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static char *reserve;

static size_t reserve_nbytes(void)
{
  return (size_t)RESERVE_PAGES << vmmi_os_page_shift();
}

/* => reserve locked */
static void fill_reserve(void)
{
  size_t page = (size_t)1 << vmmi_os_page_shift();
  void *at;

  if (reserve != NULL ||
      vmmi_os_reserve(&at, NULL, reserve_nbytes(), page) != 0)
    return; /* it is tried again when it was needed */
  reserve = at;
  for (size_t i = 0; i < reserve_nbytes(); i += 2 * page)
    if (vmmi_os_protect(reserve + i, page, VMM_READ) != 0)
      break;
}

void vmmi_budget_make_reserve(void)
{
  pthread_mutex_lock(&reserve_lock);
  fill_reserve();
  pthread_mutex_unlock(&reserve_lock);
}

void vmmi_budget_open_reserve(void)
{
  pthread_mutex_lock(&reserve_lock);
  if (reserve != NULL && vmmi_os_try_release(reserve, reserve_nbytes()) == 0)
    reserve = NULL;
}

void vmmi_budget_close_reserve(void)
{
  fill_reserve();
  pthread_mutex_unlock(&reserve_lock);
}

void vmmi_budget_forget_reserve(void)
{
  reserve = NULL;
}

void vmm_mapping_budget(uint64_t mappings)
{
  if (mappings != 0)
    mappings = vmmi_min(vmmi_max(mappings, LEAST), INT64_MAX);
  atomic_store(&chosen, (int64_t)mappings);
}
