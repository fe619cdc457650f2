/*
 * Tables of harts' windows, the records of windows without a hart, and what
 * each hart runs.
 */
#include "window_table.h"

#include <errno.h>

#include "metadata.h"
#include "os.h"
#include "window_record.h"

/* ---- tables ---- */

struct vmmi_window_table *vmmi_window_table_of(struct vmm_space *space)
{
  struct vmmi_window_table *table = atomic_load(&space->table);
  void *made;

  if (table != NULL)
    return table;
  if (vmmi_os_alloc(&made, sizeof(*table)) != 0)
    return NULL;
  if (atomic_compare_exchange_strong(&space->table, &table, made))
    return made;
  vmmi_os_release(made, sizeof(*table));
  return table;
}

int vmmi_window_table_next(_Atomic uint64_t *words, unsigned *place)
{
  for (; *place < VMMI_PLACES; *place = (*place | 63) + 1) {
    uint64_t bits = atomic_load(&words[*place / 64]) >> (*place % 64);

    if (bits == 0)
      continue;
    *place += (unsigned)__builtin_ctzll(bits);
    return (int)(*place)++;
  }
  return -1;
}

static void set_bit(_Atomic uint64_t *words, unsigned place)
{
  atomic_fetch_or(&words[place / 64], (uint64_t)1 << (place % 64));
}

static void clear_bit(_Atomic uint64_t *words, unsigned place)
{
  atomic_fetch_and(&words[place / 64], ~((uint64_t)1 << (place % 64)));
}

static int visit_window(struct vmm_space *space, struct vmmi_window *window,
                        int (*visit)(struct vmmi_window *window, void *arg),
                        void *arg)
{
  int result = 0;

  pthread_mutex_lock(&window->lock);
  if (atomic_load(&window->space) == space)
    result = visit(window, arg);
  pthread_mutex_unlock(&window->lock);
  return result;
}

static int visit_table(struct vmm_space *space, struct vmmi_window_table *table,
                       int (*visit)(struct vmmi_window *window, void *arg),
                       void *arg)
{
  unsigned next = 0;
  int result = 0;
  int place;

  while (result == 0 &&
         (place = vmmi_window_table_next(table->used, &next)) >= 0)
    result = visit_window(space, atomic_load(&table->window[place]), visit,
                          arg);
  return result;
}

int vmmi_window_each(struct vmm_space *space,
                     int (*visit)(struct vmmi_window *window, void *arg),
                     void *arg)
{
  struct vmmi_window_table *table;
  int result = 0;

  if (vmmi_space_has_window(space))
    result = visit_window(space, &space->window, visit, arg);
  /* after the entries were changed */
  table = atomic_load(&space->table);
  if (vmmi_unlikely(table != NULL) && result == 0)
    result = visit_table(space, table, visit, arg);
  return result;
}

/* ---- records of windows ---- */

static pthread_mutex_t window_list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmmi_window *free_windows[2]; /* without, with invalid entries */

struct vmmi_window *vmmi_window_get(bool holds)
{
  struct vmmi_window *window;

  pthread_mutex_lock(&window_list_lock);
  window = free_windows[holds];
  if (window != NULL)
    free_windows[holds] = window->next_free;
  pthread_mutex_unlock(&window_list_lock);
  if (window != NULL)
    return window;
  window = vmmi_metadata_alloc(sizeof(*window));
  if (window != NULL)
    pthread_mutex_init(&window->lock, NULL);
  return window;
}

void vmmi_window_put(struct vmmi_window *window)
{
  bool holds = window->lazy != NULL;

  pthread_mutex_lock(&window_list_lock);
  window->next_free = free_windows[holds];
  free_windows[holds] = window;
  pthread_mutex_unlock(&window_list_lock);
}

bool vmmi_window_fits(const struct vmmi_window *window,
                      const struct vmmi_window_place *place)
{
  const char *end = (const char *)window->reserved + window->reserved_nbytes;

  return vmmi_is_aligned((uintptr_t)window->base, place->align) &&
         place->guard_below <= window->guard_below &&
         place->size + place->guard_above <= (uint64_t)(end - window->base);
}

void vmmi_window_attach(struct vmmi_window *window, struct vmm_space *space,
                        const struct vmmi_radix *record)
{
  struct vmmi_window_table *table = atomic_load(&space->table);

  pthread_mutex_lock(&window->lock);
  window->chunks = *record;
  atomic_store(&window->space, space);
  pthread_mutex_unlock(&window->lock);
  atomic_store(&table->window[window->place], window);
  set_bit(table->used, window->place);
  if (window->lazy != NULL)
    set_bit(table->holds, window->place);
}

/* What stands in the table is left for those who come late; the bit goes last,
 * and with it the claim on the space.  => window locked */
static bool leave_space(struct vmmi_window *window, struct vmm_space *space)
{
  struct vmmi_window_table *table = atomic_load(&space->table);
  bool shown = atomic_load(&window->pieces) != 0;

  if (shown)
    vmmi_record_flush(window);
  vmmi_record_free(window);
  atomic_store(&table->context[window->place / VMMI_VIEWS], 0);
  clear_bit(table->holds, window->place);
  clear_bit(table->used, window->place);
  atomic_store(&window->space, NULL);
  return shown;
}

bool vmmi_window_detach(struct vmmi_window *window)
{
  struct vmm_space *space;
  bool shown = false;

  pthread_mutex_lock(&window->lock);
  space = atomic_load(&window->space);
  if (space != NULL)
    shown = leave_space(window, space);
  pthread_mutex_unlock(&window->lock);
  return shown;
}

static int lose_window(struct vmmi_window *window, void *space)
{
  leave_space(window, space);
  return 0;
}

void vmmi_window_table_end(struct vmm_space *space)
{
  struct vmmi_window_table *table = atomic_load(&space->table);
  if (table == NULL)
    return;
  visit_table(space, table, lose_window, space);
  atomic_store(&space->table, NULL);
  vmmi_os_release(table, sizeof(*table));
}

/* ---- which space each hart runs ---- */

/* Each in a cache line of its own. */
static struct {
  _Alignas(64) _Atomic(struct vmm_space *) space;
  _Atomic(struct vmm_space *) next; /* a switch to it has begun */
} running[VMMI_HARTS];

static _Atomic unsigned running_end; /* beyond the highest number so far */

void vmmi_running_new(unsigned number)
{
  unsigned end = atomic_load(&running_end);

  while (end <= number &&
         !atomic_compare_exchange_weak(&running_end, &end, number + 1))
    ;
}

int vmmi_running_begin(unsigned number, struct vmm_space *space)
{
  atomic_store(&running[number].next, space); /* and only then look */
  if (vmmi_likely(!atomic_load(&space->ending) &&
                  atomic_load(&space->magic) == VMMI_SPACE_MAGIC))
    return 0;
  vmmi_running_cancel(number);
  return vmmi_error(-EBUSY, "the space is being destroyed", 0);
}

void vmmi_running_cancel(unsigned number)
{
  atomic_store_explicit(&running[number].next, NULL, memory_order_release);
}

void vmmi_running_set(unsigned number, struct vmm_space *space)
{
  /* release: who finds next empty again finds the space */
  atomic_store_explicit(&running[number].space, space, memory_order_release);
  atomic_store_explicit(&running[number].next, NULL, memory_order_release);
}

int vmmi_running_end(struct vmm_space *space)
{
  unsigned end = atomic_load(&running_end);

  atomic_store(&space->ending, true); /* and only then look */
  for (unsigned i = 0; i < end; i++)
    if (atomic_load(&running[i].next) == space ||
        atomic_load(&running[i].space) == space) { /* in this order */
      atomic_store(&space->ending, false);
      return -EBUSY;
    }
  return 0;
}
