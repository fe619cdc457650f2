/*
 * From a host address to its window, for signal context: a sorted array that
 * readers search without a lock.  A writer makes the sequence odd, changes the
 * array, and makes it even again; a reader that saw another sequence searches
 * again.  Windows lie in memory that is never given back (space.c), so a reader
 * that comes late finds a window of a dead space, which resolve turns away.
 */
#include "window.h"

#include <errno.h>

#include "os.h"
#include "window_index.h"

#define CAPACITY ((size_t)1 << 18)

struct entry {
  _Atomic uintptr_t start;
  _Atomic uintptr_t end;
  _Atomic(struct vmmi_window *) window;
};

static pthread_mutex_t index_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct entry *) entries;
static _Atomic size_t count;
static _Atomic unsigned sequence;

/* release: whoever sees a part of it sees the sequence odd, or later */
static void set_entry(struct entry *entry, uintptr_t start, uintptr_t end,
                      struct vmmi_window *window)
{
  atomic_store_explicit(&entry->start, start, memory_order_release);
  atomic_store_explicit(&entry->end, end, memory_order_release);
  atomic_store_explicit(&entry->window, window, memory_order_release);
}

static void copy_entry(struct entry *to, const struct entry *from)
{
  set_entry(to, atomic_load(&from->start), atomic_load(&from->end),
            atomic_load(&from->window));
}

static void begin_change(void)
{
  atomic_fetch_add_explicit(&sequence, 1, memory_order_relaxed);
}

static void end_change(void)
{
  atomic_fetch_add_explicit(&sequence, 1, memory_order_release);
}

/* => how many of the n entries end at or below host: where it would lie */
static size_t position(struct entry *array, size_t n, uintptr_t host)
{
  size_t low = 0;

  while (low < n) {
    size_t middle = low + (n - low) / 2;

    if (atomic_load_explicit(&array[middle].end, memory_order_acquire) <= host)
      low = middle + 1;
    else
      n = middle;
  }
  return low;
}

int vmmi_window_index_add(struct vmmi_window *window)
{
  uintptr_t start = (uintptr_t)window->reserved;
  struct entry *array;
  size_t n, at;
  int error = 0;

  pthread_mutex_lock(&index_lock);
  array = atomic_load_explicit(&entries, memory_order_relaxed);
  n = atomic_load_explicit(&count, memory_order_relaxed);
  if (array == NULL) {
    void *fresh;

    error = vmmi_os_alloc(&fresh, CAPACITY * sizeof(array[0]));
    array = error == 0 ? fresh : NULL;
  }
  if (error == 0 && n == CAPACITY)
    error = -ENOMEM;
  if (error == 0) {
    at = position(array, n, start);
    begin_change();
    atomic_store_explicit(&entries, array, memory_order_release);
    for (size_t i = n; i > at; i--)
      copy_entry(&array[i], &array[i - 1]);
    set_entry(&array[at], start, start + window->reserved_nbytes, window);
    atomic_store_explicit(&count, n + 1, memory_order_release);
    end_change();
  }
  pthread_mutex_unlock(&index_lock);
  return error;
}

void vmmi_window_index_remove(struct vmmi_window *window)
{
  struct entry *array;
  size_t n, at;

  pthread_mutex_lock(&index_lock);
  array = atomic_load_explicit(&entries, memory_order_relaxed);
  n = atomic_load_explicit(&count, memory_order_relaxed);
  at = position(array, n, (uintptr_t)window->reserved);
  vmmi_assert(at < n && array[at].window == window,
              "window_index_remove: not there");
  begin_change();
  for (size_t i = at; i + 1 < n; i++)
    copy_entry(&array[i], &array[i + 1]);
  atomic_store_explicit(&count, n - 1, memory_order_release);
  end_change();
  pthread_mutex_unlock(&index_lock);
}

/* => the first window that ends above host and starts below end, or NULL */
static struct vmmi_window *search(uintptr_t host, uintptr_t end)
{
  unsigned before, after;
  struct vmmi_window *found;

  do {
    struct entry *array;
    size_t n, at;

    /* acquire: the second look at the sequence comes after all of these */
    before = atomic_load_explicit(&sequence, memory_order_acquire);
    array = atomic_load_explicit(&entries, memory_order_acquire);
    n = atomic_load_explicit(&count, memory_order_acquire);
    at = array != NULL ? position(array, n, host) : n;
    found = NULL;
    if (at < n &&
        atomic_load_explicit(&array[at].start, memory_order_acquire) < end)
      found = atomic_load_explicit(&array[at].window, memory_order_acquire);
    after = atomic_load_explicit(&sequence, memory_order_relaxed);
  } while (before != after || (before & 1));
  return found;
}

struct vmmi_window *vmmi_window_find(const void *host, vmm_addr_t *va)
{
  struct vmmi_window *window = search((uintptr_t)host, (uintptr_t)host + 1);

  if (window != NULL)
    *va = (vmm_addr_t)((uintptr_t)host - (uintptr_t)window->base);
  return window;
}

bool vmmi_window_overlaps(const void *host, size_t nbytes)
{
  uintptr_t start = (uintptr_t)host;

  return nbytes != 0 && search(start, start + nbytes) != NULL;
}

struct vmmi_window *vmmi_window_index_get(size_t i)
{
  struct entry *array = atomic_load(&entries);

  return i < atomic_load(&count) ? atomic_load(&array[i].window) : NULL;
}

void vmmi_window_index_each(void (*visit)(struct vmmi_window *window))
{
  struct entry *array;

  pthread_mutex_lock(&index_lock);
  array = atomic_load_explicit(&entries, memory_order_relaxed);
  for (size_t i = 0; i < atomic_load(&count); i++)
    visit(atomic_load_explicit(&array[i].window, memory_order_relaxed));
  pthread_mutex_unlock(&index_lock);
}
