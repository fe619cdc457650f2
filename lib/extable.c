/*
 * Code that may fault: the tables of images, and ranges of generated code with
 * a table or a handler.  Signal context looks them up without a lock, while
 * other threads load and unload images.
 *
 * Each is a slot of a fixed array.  A writer (under the mutex) makes the slot's
 * sequence odd while it changes it; a reader passes by odd slots, and holds
 * what it found, if the sequence is still the same then.  Removing waits for
 * holders.
 */
#include "entry.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "hart.h"

enum { TABLES_MAX = 256, RANGES_MAX = 1024 };

struct code_slot {
  _Atomic unsigned sequence;
  _Atomic unsigned holders;
  _Atomic uintptr_t start, end; /* of the code; end 0: free */
  _Atomic(const struct vmm_extable_entry *) entries;
  _Atomic size_t count;
  _Atomic bool sorted; /* by the address of their instruction */
  _Atomic(vmm_fault_handler *) handler;
  _Atomic(void *) arg;
};

/* What a writer puts into a slot. */
struct code_range {
  uintptr_t start, end;
  const struct vmm_extable_entry *entries;
  size_t count;
  bool sorted;
  vmm_fault_handler *handler;
  void *arg;
};

struct code_group {
  struct code_slot *slots;
  size_t room;
  _Atomic size_t used; /* slots beyond were never filled */
};

static struct code_slot image_slots[TABLES_MAX];
static struct code_slot range_slots[RANGES_MAX];
static struct code_group images = { image_slots, TABLES_MAX, 0 };
static struct code_group ranges = { range_slots, RANGES_MAX, 0 };
static pthread_mutex_t code_lock = PTHREAD_MUTEX_INITIALIZER;

/* Relaxed: the sequence orders them.  Release: after the sequence became
 * odd. */
#define get_relaxed(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define set_release(field, value)                                              \
  atomic_store_explicit(&(field), value, memory_order_release)

/* ---- entries ---- */

static uintptr_t fault_address(const struct vmm_extable_entry *entry)
{
  return (uintptr_t)&entry->fault + (uintptr_t)(intptr_t)entry->fault;
}

static uintptr_t fixup_address(const struct vmm_extable_entry *entry)
{
  return (uintptr_t)&entry->fixup + (uintptr_t)(intptr_t)entry->fixup;
}

/* => the fixup of the entry for pc, or 0 */
static uintptr_t search_sorted(const struct vmm_extable_entry *entries,
                               size_t count, uintptr_t pc)
{
  while (count > 0) {
    const struct vmm_extable_entry *middle = &entries[count / 2];
    uintptr_t at = fault_address(middle);

    if (at == pc)
      return fixup_address(middle);
    if (at < pc) {
      entries = middle + 1;
      count -= count / 2 + 1;
    } else {
      count /= 2;
    }
  }
  return 0;
}

/* The same for the table of an image, whose order is the linker's. */
static uintptr_t search_unsorted(const struct vmm_extable_entry *entries,
                                 size_t count, uintptr_t pc)
{
  for (size_t i = 0; i < count; i++)
    if (fault_address(&entries[i]) == pc)
      return fixup_address(&entries[i]);
  return 0;
}

/* Sets start, end and sorted from the entries. */
static void measure(struct code_range *range)
{
  uintptr_t last = 0;

  range->start = UINTPTR_MAX;
  range->sorted = true;
  for (size_t i = 0; i < range->count; i++) {
    uintptr_t at = fault_address(&range->entries[i]);

    if (at < range->start)
      range->start = at;
    if (at >= range->end)
      range->end = at + 1;
    if (at <= last)
      range->sorted = false;
    last = at;
  }
}

/* ---- readers: lock-free, signal-safe ---- */

/* => the first slot from *i on whose code holds pc, held, with *i at it; or
 *    NULL */
static struct code_slot *hold(struct code_group *group, size_t *i, uintptr_t pc)
{
  /* acquire: the slots below are filled */
  size_t used = atomic_load_explicit(&group->used, memory_order_acquire);

  for (; *i < used; ++*i) {
    struct code_slot *slot = &group->slots[*i];
    /* acquire: the fields are those of this sequence, or newer */
    unsigned before = atomic_load_explicit(&slot->sequence,
                                           memory_order_acquire);

    if (pc < get_relaxed(slot->start) || pc >= get_relaxed(slot->end) ||
        (before & 1))
      continue;
    /* in one order with the writer's: it sees the holder, or we its change */
    atomic_fetch_add(&slot->holders, 1);
    if (atomic_load(&slot->sequence) == before)
      return slot;
    atomic_fetch_sub(&slot->holders, 1);
  }
  return NULL;
}

static void release(struct code_slot *slot)
{
  /* release: what the holder read is read */
  atomic_fetch_sub_explicit(&slot->holders, 1, memory_order_release);
}

static uintptr_t find_in(struct code_group *group, uintptr_t pc)
{
  struct code_slot *slot;
  uintptr_t fixup = 0;

  for (size_t i = 0; fixup == 0 && (slot = hold(group, &i, pc)) != NULL; i++) {
    const struct vmm_extable_entry *entries = get_relaxed(slot->entries);
    size_t count = get_relaxed(slot->count);

    fixup = get_relaxed(slot->sorted) ? search_sorted(entries, count, pc)
                                      : search_unsorted(entries, count, pc);
    release(slot);
  }
  return fixup;
}

uintptr_t vmmi_extable_find(uintptr_t pc)
{
  uintptr_t fixup = find_in(&images, pc);

  return fixup != 0 ? fixup : find_in(&ranges, pc);
}

bool vmmi_extable_holds(uintptr_t pc)
{
  size_t i = 0;
  struct code_slot *slot = hold(&ranges, &i, pc);

  if (slot == NULL)
    return false;
  release(slot);
  return true;
}

enum vmm_verdict vmmi_extable_ask(uintptr_t pc, struct vmm_fault *fault)
{
  size_t i = 0;
  struct code_slot *slot = hold(&ranges, &i, pc);
  enum vmm_verdict verdict = VMM_DECLINE;
  vmm_fault_handler *handler;
  struct vmm_view_saved view = { 0 };
  struct vmmi_away away;

  if (slot == NULL)
    return VMM_DECLINE;
  handler = get_relaxed(slot->handler);
  if (handler != NULL) {
    vmmi_thread_away(&away);
    vmmi_hart_interrupt(&view);
    verdict = handler(fault, get_relaxed(slot->arg));
    if (verdict != VMM_RESUME)
      vmmi_hart_resume(&view);
    vmmi_thread_back(&away);
  }
  release(slot);
  return verdict;
}

/* ---- writers: code_lock held ---- */

static void open_slot(struct code_slot *slot)
{
  atomic_fetch_add(&slot->sequence, 1); /* in one order with holders */
}

static void close_slot(struct code_slot *slot)
{
  /* release: after all changes */
  atomic_fetch_add_explicit(&slot->sequence, 1, memory_order_release);
}

static void fill_slot(struct code_slot *slot, const struct code_range *range)
{
  open_slot(slot);
  set_release(slot->start, range->start);
  set_release(slot->end, range->end);
  set_release(slot->entries, range->entries);
  set_release(slot->count, range->count);
  set_release(slot->sorted, range->sorted);
  set_release(slot->handler, range->handler);
  set_release(slot->arg, range->arg);
  close_slot(slot);
}

/* -ENOMEM */
static int add_to(struct code_group *group, const struct code_range *range)
{
  size_t used = get_relaxed(group->used);
  size_t i = 0;

  while (i < used && get_relaxed(group->slots[i].end) != 0)
    i++;
  if (i == group->room)
    return -ENOMEM;
  fill_slot(&group->slots[i], range);
  /* release: the slot is filled */
  if (i == used)
    atomic_store_explicit(&group->used, used + 1, memory_order_release);
  return 0;
}

static bool overlaps(const struct code_group *group,
                     const struct code_range *range)
{
  for (size_t i = 0; i < get_relaxed(group->used); i++) {
    const struct code_slot *slot = &group->slots[i];

    if (range->start < get_relaxed(slot->end) &&
        range->end > get_relaxed(slot->start))
      return true;
  }
  return false;
}

/* => the slot that was filled with these, or NULL */
static struct code_slot *slot_of(struct code_group *group, uintptr_t start,
                                 const struct vmm_extable_entry *entries)
{
  for (size_t i = 0; i < get_relaxed(group->used); i++) {
    struct code_slot *slot = &group->slots[i];

    if (get_relaxed(slot->end) == 0 || (get_relaxed(slot->sequence) & 1))
      continue;
    if (entries != NULL ? get_relaxed(slot->entries) == entries
                        : get_relaxed(slot->start) == start)
      return slot;
  }
  return NULL;
}

/* Empties the slot when nobody holds it any more.
 * => code_lock held, and let go meanwhile */
static void empty_slot(struct code_slot *slot)
{
  open_slot(slot); /* odd: nobody new, and not free either */
  pthread_mutex_unlock(&code_lock);
  while (atomic_load(&slot->holders) != 0)
    sched_yield();
  pthread_mutex_lock(&code_lock);
  set_release(slot->start, 0);
  set_release(slot->end, 0);
  close_slot(slot);
}

static void settle(struct code_group *group)
{
  for (size_t i = 0; i < get_relaxed(group->used); i++) {
    struct code_slot *slot = &group->slots[i];

    atomic_store(&slot->holders, 0);
    if (!(get_relaxed(slot->sequence) & 1))
      continue; /* else it was being filled or emptied: it is empty then */
    set_release(slot->start, 0);
    set_release(slot->end, 0);
    close_slot(slot);
  }
}

int vmmi_extable_fork_child(void)
{
  pthread_mutex_init(&code_lock, NULL);
  settle(&images);
  settle(&ranges);
  return 0;
}

/* ---- the interface ---- */

int vmm_extable_add(const struct vmm_extable_entry *start,
                    const struct vmm_extable_entry *end)
{
  struct code_range range = { .entries = start };
  int error;

  if (start == NULL || end <= start)
    return vmmi_error(-EINVAL, "exception table: empty", 0);
  range.count = (size_t)(end - start);
  measure(&range);
  pthread_mutex_lock(&code_lock);
  error = slot_of(&images, 0, start) == NULL ? add_to(&images, &range) : 0;
  pthread_mutex_unlock(&code_lock);
  return error != 0 ? vmmi_error(error, "exception table: 256 are there", 0)
                    : 0;
}

int vmm_extable_remove(const struct vmm_extable_entry *start)
{
  struct code_slot *slot;

  pthread_mutex_lock(&code_lock);
  slot = start != NULL ? slot_of(&images, 0, start) : NULL;
  if (slot != NULL)
    empty_slot(slot);
  pthread_mutex_unlock(&code_lock);
  return slot != NULL
             ? 0
             : vmmi_error(-ENOENT, "exception table: not registered", 0);
}

static int check_range(const struct code_range *range, size_t nbytes,
                       const struct vmm_code_options *options)
{
  static const struct vmm_code_options none;
  struct code_range measured = *range;

  if (range->start == 0 || nbytes == 0 || range->end < range->start)
    return vmmi_error(-EINVAL, "code: empty, or it wraps", 0);
  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "code: reserved fields not zero", 0);
  if (options->count == 0 && options->handler == NULL)
    return vmmi_error(-EINVAL, "code: neither entries nor a handler", 0);
  if (options->count == 0)
    return 0;
  if (options->entries == NULL)
    return vmmi_error(-EINVAL, "code: no entries", 0);
  measured.end = 0;
  measure(&measured);
  if (!measured.sorted)
    return vmmi_error(-EINVAL, "code: entries are not sorted", 0);
  if (measured.start < range->start || measured.end > range->end)
    return vmmi_error(-EINVAL, "code: an entry is not of the range", 0);
  return 0;
}

int vmm_code_register(const void *start, size_t nbytes,
                      const struct vmm_code_options *options)
{
  struct code_range range = { .start = (uintptr_t)start,
                              .end = (uintptr_t)start + nbytes,
                              .sorted = true };
  int error;

  if (options == NULL)
    return vmmi_error(-EINVAL, "code: no options", 0);
  range.entries = options->entries;
  range.count = options->count;
  range.handler = options->handler;
  range.arg = options->arg;
  error = check_range(&range, nbytes, options);
  if (error != 0)
    return error;
  pthread_mutex_lock(&code_lock);
  error = overlaps(&ranges, &range) ? -EEXIST : add_to(&ranges, &range);
  pthread_mutex_unlock(&code_lock);
  if (error == -EEXIST)
    return vmmi_error(error, "code: overlaps what is registered", 0);
  return error != 0 ? vmmi_error(error, "code: 1024 ranges are there", 0) : 0;
}

int vmm_code_unregister(const void *start)
{
  struct code_slot *slot;

  pthread_mutex_lock(&code_lock);
  slot = slot_of(&ranges, (uintptr_t)start, NULL);
  if (slot != NULL)
    empty_slot(slot);
  pthread_mutex_unlock(&code_lock);
  return slot != NULL ? 0
                      : vmmi_error(-ENOENT, "code: no range starts there", 0);
}
