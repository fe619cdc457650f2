/*
 * The two levels: a top array, and directories of 8192 slots made on demand.
 */
#include "radix.h"

#include <errno.h>

#include "metadata.h"

#define SHIFT 13
#define FANOUT ((uint64_t)1 << SHIFT)
#define DIRECTORY_NBYTES (FANOUT * sizeof(vmmi_radix_slot))

static uint64_t top_count(const struct vmmi_radix *radix)
{
  return (radix->count + FANOUT - 1) >> SHIFT;
}

static vmmi_radix_slot *directory(const struct vmmi_radix *radix, uint64_t i)
{
  vmmi_assert(i < radix->count, "radix: index beyond the end");
  /* acquire: what was published is complete */
  return atomic_load_explicit(&radix->top[i >> SHIFT], memory_order_acquire);
}

int vmmi_radix_init(struct vmmi_radix *radix, uint64_t count)
{
  radix->count = count;
  radix->top = vmmi_metadata_alloc(top_count(radix) * sizeof(radix->top[0]));
  return radix->top != NULL ? 0 : -ENOMEM;
}

void vmmi_radix_end(struct vmmi_radix *radix)
{
  for (uint64_t i = 0; i < top_count(radix); i++)
    vmmi_metadata_free(atomic_load(&radix->top[i]), DIRECTORY_NBYTES);
  vmmi_metadata_free(radix->top, top_count(radix) * sizeof(radix->top[0]));
  radix->top = NULL;
}

void *vmmi_radix_get(const struct vmmi_radix *radix, uint64_t i)
{
  vmmi_radix_slot *slots = directory(radix, i);

  if (slots == NULL)
    return NULL;
  return atomic_load_explicit(&slots[i & (FANOUT - 1)], memory_order_acquire);
}

static vmmi_radix_slot *make_directory(struct vmmi_radix *radix, uint64_t i)
{
  vmmi_radix_slot *none = NULL;
  vmmi_radix_slot *made = vmmi_metadata_alloc(DIRECTORY_NBYTES);

  if (made == NULL ||
      atomic_compare_exchange_strong(&radix->top[i >> SHIFT], &none, made))
    return made;
  vmmi_metadata_free(made, DIRECTORY_NBYTES);
  return none;
}

void *vmmi_radix_make(struct vmmi_radix *radix, uint64_t i,
                      void *(*make)(const void *arg),
                      void (*unmake)(void *made, const void *arg),
                      const void *arg)
{
  vmmi_radix_slot *slots = directory(radix, i);
  void *found = NULL;
  void *made;

  if (slots == NULL)
    slots = make_directory(radix, i);
  if (slots == NULL)
    return NULL;
  slots += i & (FANOUT - 1);
  found = atomic_load_explicit(slots, memory_order_acquire);
  if (found != NULL)
    return found;
  made = make(arg);
  if (made == NULL || atomic_compare_exchange_strong(slots, &found, made))
    return made;
  unmake(made, arg);
  return found;
}

void *vmmi_radix_next(const struct vmmi_radix *radix, uint64_t *i, uint64_t end)
{
  while (*i < end) {
    void *held;

    if (directory(radix, *i) == NULL) {
      *i = vmmi_align_down(*i, FANOUT) + FANOUT;
      continue;
    }
    held = vmmi_radix_get(radix, *i);
    if (held != NULL)
      return held;
    ++*i;
  }
  return NULL;
}
