/*
 * The windows of a hart: one for each of its tags, or two where it has views;
 * opened when a tag is first given, turned from space to space after that.
 * Layer 6.
 */
#include "hart.h"

#include <errno.h>

#include "lazy.h"
#include "view.h"
#include "window_table.h"

void vmmi_hart_close_window(struct vmm_hart *hart, struct vmmi_window *window)
{
  vmmi_window_detach(window);
  vmmi_view_close(hart, window);
  vmmi_window_release(window);
  atomic_fetch_add(&hart->counters.closed_calls, atomic_load(&window->changes));
  vmmi_window_put(window);
}

/* => a record for the hart's windows, or NULL */
static struct vmmi_window *get_record(const struct vmm_hart *hart)
{
  bool holds = (hart->flags & VMM_HART_INVALID) != 0;
  struct vmmi_window *window = vmmi_window_get(holds);

  if (window == NULL || !holds || window->lazy != NULL)
    return window;
  window->lazy = vmmi_lazy_new();
  if (window->lazy != NULL)
    return window;
  vmmi_window_put(window);
  return NULL;
}

/* Where the hart's window of that view over the space is to lie. */
static struct vmmi_window_place place_of(const struct vmm_hart *hart,
                                         const struct vmm_space *space,
                                         enum vmmi_view view)
{
  const struct vmm_space_options *want = &space->options;
  struct vmmi_window_place place = {
    .size = vmmi_max(want->size, hart->window_size),
    .align = want->base_align,
    .guard_below = want->guard_below,
    .guard_above = want->guard_above,
  };

  if ((hart->flags & VMM_HART_VIEWS) && view == VMMI_VIEW_USER) {
    place.guard_below = vmmi_hart_entry(hart, 0);
    place.guard_above = vmmi_max(want->guard_above, hart->displacement);
  }
  return place;
}

/* => a window of no space that has room for this one, or NULL */
static struct vmmi_window *open_window(struct vmm_hart *hart,
                                       const struct vmm_space *space,
                                       enum vmmi_view view)
{
  struct vmmi_window_place place = place_of(hart, space, view);
  struct vmmi_window *window = get_record(hart);

  if (window == NULL)
    return NULL;
  atomic_store(&window->hart, hart);
  window->view = view;
  window->place = atomic_load(&hart->number) * VMMI_VIEWS + view;
  atomic_store(&window->changes, 0);
  if (vmmi_window_reserve(window, &place) != 0)
    goto no_reservation;
  if (vmmi_view_open(hart, window) != 0)
    goto no_entry;
  return window;
no_entry:
  vmmi_window_release(window);
no_reservation:
  vmmi_window_put(window);
  return NULL;
}

/* All that was given goes. */
static void begin_generation(struct vmm_hart *hart)
{
  vmmi_hart_count(&hart->counters.rollovers);
  vmmi_hart_count(&hart->counters.flushes);
  vmmi_view_drop_stack(hart);
  for (unsigned tag = 0; tag < 1u << hart->asids.bits; tag++)
    for (unsigned view = 0; view < VMMI_VIEWS; view++) {
      struct vmmi_window *window = atomic_load(&hart->windows[tag][view]);

      if (window != NULL && vmmi_window_detach(window))
        vmmi_hart_count(&hart->counters.flushed);
    }
}

bool vmmi_hart_is_too_large(unsigned tag_bits, uint64_t nbytes)
{
  return nbytes > vmmi_os_address_range() >> tag_bits;
}

int vmmi_hart_check_size(const struct vmm_hart *hart,
                         const struct vmm_space *space)
{
  uint64_t nbytes = 0;

  if (hart->window_size != 0 && space->size > hart->window_size)
    return vmmi_error(-E2BIG, "hart: the space is larger than window_size", 0);
  if ((hart->flags & VMM_HART_VIEWS) &&
      space->options.guard_below > hart->displacement)
    return vmmi_error(-E2BIG, "hart: guard_below is larger than displacement",
                      0);
  for (unsigned view = 0; view < VMMI_VIEWS; view++) {
    struct vmmi_window_place place = place_of(hart, space, view);

    if (vmmi_hart_shows(hart, view))
      nbytes += place.guard_below + place.size + place.guard_above;
  }
  if (vmmi_hart_is_too_large(hart->asids.bits, nbytes))
    return vmmi_error(-E2BIG, "hart: 2^tag_bits such windows are too large", 0);
  return 0;
}

/* The windows that a tag is to have, by view, and their records: all of it that
 * can fail, before anything is changed. */
struct fresh {
  struct vmmi_window *window[VMMI_VIEWS]; /* NULL: the hart has no such view */
  struct vmmi_radix record[VMMI_VIEWS];
};

static void give_up_fresh(struct vmm_hart *hart, unsigned tag,
                          struct fresh *fresh)
{
  for (unsigned view = 0; view < VMMI_VIEWS; view++) {
    struct vmmi_window *window = fresh->window[view];

    if (window == NULL)
      continue;
    vmmi_radix_end(&fresh->record[view]);
    if (window != atomic_load(&hart->windows[tag][view]))
      vmmi_hart_close_window(hart, window);
  }
}

static int find_fresh(struct vmm_hart *hart, const struct vmm_space *space,
                      unsigned tag, struct fresh *fresh)
{
  for (unsigned view = 0; view < VMMI_VIEWS; view++) {
    struct vmmi_window_place place = place_of(hart, space, view);
    struct vmmi_window *window = atomic_load(&hart->windows[tag][view]);

    if (!vmmi_hart_shows(hart, view))
      continue;
    if (vmmi_radix_init(&fresh->record[view], space->pt.leaves.count) != 0)
      return vmmi_error(-ENOMEM, "hart: mmap of a window's record", ENOMEM);
    if (window == NULL || !vmmi_window_fits(window, &place))
      window = open_window(hart, space, view);
    if (window == NULL) {
      vmmi_radix_end(&fresh->record[view]);
      return vmmi_error(-ENOMEM, "hart: mmap of a window", ENOMEM);
    }
    fresh->window[view] = window;
  }
  return 0;
}

static void take_fresh(struct vmm_hart *hart, struct vmm_space *space,
                       unsigned tag, struct fresh *fresh)
{
  for (unsigned view = 0; view < VMMI_VIEWS; view++) {
    struct vmmi_window *window = fresh->window[view];
    struct vmmi_window *old = atomic_load(&hart->windows[tag][view]);

    if (window == NULL)
      continue;
    if (window != old && old != NULL)
      vmmi_hart_close_window(hart, old);
    atomic_store(&hart->windows[tag][view], window);
    vmmi_lazy_begin(window->lazy, hart->flags & VMM_HART_EAGER);
    vmmi_window_attach(window, space, &fresh->record[view]);
  }
}

int vmmi_hart_give_tag(struct vmm_hart *hart, struct vmm_space *space)
{
  unsigned tag = vmmi_asid_tag(&hart->asids, hart->asids.next);
  struct vmmi_window_table *table = vmmi_window_table_of(space);
  struct fresh fresh = { .window = { NULL } };
  int error;

  if (table == NULL)
    return vmmi_error(-ENOMEM, "hart: mmap of a window's record", ENOMEM);
  error = find_fresh(hart, space, tag, &fresh);
  if (error != 0) {
    give_up_fresh(hart, tag, &fresh);
    return error;
  }
  if (vmmi_asid_rolls_over(&hart->asids))
    begin_generation(hart);
  take_fresh(hart, space, tag, &fresh);
  atomic_store(&table->context[atomic_load(&hart->number)],
               vmmi_asid_take(&hart->asids));
  atomic_store(&hart->generation, vmmi_asid_generation(&hart->asids));
  vmmi_hart_count(&hart->counters.tags);
  return 0;
}
