/*
 * Operations of the model: bits, trackers, pins, snapshots, and looks that change
 * nothing.
 */
#include <errno.h>
#include <string.h>

#include "model_run.h"

static void compare_bit(struct model_world *w, const char *name, unsigned p, bool is,
                        uint8_t *bit, bool upper)
{
  agree(w, *bit == MAYBE || is == (*bit == YES) || (upper && is),
        "%s of page %u is %d", name, p, is);
  if (*bit == MAYBE)
    *bit = is ? YES : NO;
}

/* ---- bits ---- */

static void compare_entry(struct model_world *w, unsigned s, unsigned p,
                          uint64_t pte)
{
  struct model_space *space = &w->model.space[s];
  struct model_page *page = &space->page[p];
  bool upper = model_is_coarse(space, page);

  compare_bit(w, "young", p, (pte & VMM_PTE_ACCESSED) != 0, &page->young, upper);
  compare_bit(w, "dirty", p, (pte & VMM_PTE_MODIFIED) != 0, &page->dirty, upper);
  agree(w, page->present == MAYBE || upper ||
               (page->present == YES) == ((pte & VMM_PTE_PRESENT) != 0),
        "page %u: entry %llx", p, (unsigned long long)pte);
  if (pte & VMM_PTE_PRESENT)
    agree(w, page->mapped && (pte & VMM_PTE_RIGHTS) / VMM_PTE_READ == page->rights,
          "page %u: entry %llx", p, (unsigned long long)pte);
}

static void clear_bits(struct model_world *w, unsigned s, unsigned p,
                       uint64_t clear)
{
  struct model_space *space = &w->model.space[s];
  struct model_page *page = &space->page[p];
  bool held = model_is_written(&w->model, model_place_of(page), space->host_pages);

  if (page->wired)
    return;
  if (clear & VMM_PTE_ACCESSED)
    page->young = NO;
  if (!(clear & VMM_PTE_MODIFIED) || page->dirty == NO)
    return;
  if (!held || page->present == NO)
    page->dirty = NO;
  else if (page->present == MAYBE || model_is_coarse(space, page))
    page->dirty = MAYBE;
}

void model_do_bits(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), i;
  uint64_t clear = (op->choice & 1 ? VMM_PTE_ACCESSED : 0) |
                   (op->choice & 2 ? VMM_PTE_MODIFIED : 0);
  uint64_t pte[MODEL_PAGES];
  int error = vmm_pages(w->space[s], model_address(w, s, op->page),
                        n * model_page_size(w, s), clear, pte);

  agree(w, error == 0, "result %d", error);
  for (i = 0; i < n; i++) {
    compare_entry(w, s, op->page + i, pte[i]);
    clear_bits(w, s, op->page + i, clear);
  }
}

struct walk {
  struct model_world *w;
  unsigned s;
  uint64_t pte[MODEL_PAGES];
};

static int visit(vmm_addr_t va, uint64_t pte, void *arg)
{
  struct walk *walk = arg;
  uint64_t p = (va - model_address(walk->w, walk->s, 0)) /
               model_page_size(walk->w, walk->s);

  if (pte == 0 || p >= MODEL_PAGES || walk->pte[p] != 0)
    return 1;
  walk->pte[p] = pte;
  return 0;
}

void model_do_walk(struct model_world *w, const struct model_op *op, unsigned s)
{
  struct walk walk = { .w = w, .s = s };
  unsigned n = model_count(op), i;
  int result = vmm_pages_walk(w->space[s], model_address(w, s, op->page),
                              n * model_page_size(w, s), visit, &walk);

  agree(w, result == 0, "result %d", result);
  for (i = op->page; i < op->page + n; i++)
    compare_entry(w, s, i, walk.pte[i]);
}

/* ---- trackers ---- */

/* Makes a tracker of a space or of an object. */
void model_do_track(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned t = op->slot % MODEL_TRACKERS, n = model_count(op), p, i;
  struct model_tracker *tracker = &w->model.tracker[t];
  struct vmm_tracker_options options = { .kind = op->choice & 1 };
  bool object = (op->choice & 6) == 0, wired = false;
  int error, want;

  if (tracker->live)
    return;
  *tracker = (struct model_tracker){ false, object ? -1 : (int)s,
                                     object ? op->object % MODEL_OBJECTS : -1,
                                     op->page, n, options.kind, 0, { 0 } };
  if (object) {
    tracker->first = op->at % MODEL_OBJECT_PAGES;
    if (n > MODEL_OBJECT_PAGES - tracker->first)
      tracker->count = MODEL_OBJECT_PAGES - tracker->first;
    error = vmm_tracker_create_object(
        &w->tracker[t], w->object[tracker->object],
        model_offset(w, tracker->first), tracker->count * model_unit(), &options);
  } else {
    error = vmm_tracker_create(&w->tracker[t], w->space[s],
                               model_address(w, s, op->page),
                               n * model_page_size(w, s), &options);
  }
  if (model_refused(w, error) || (!w->alone && error == -ENOSPC))
    return;
  tracker->live = true; /* for a look at what it would watch */
  for (i = 0; i < MODEL_SPACES; i++)
    for (p = 0; p < MODEL_PAGES; p++)
      if (w->model.space[i].live && w->model.space[i].page[p].wired &&
          model_watches(&w->model, t, i, p))
        wired = true;
  tracker->live = false;
  want = wired ? -EBUSY : model_track(&w->model, t);
  agree(w, error == want, "result %d, not %d", error, want);
}

void model_do_untrack(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned t = op->slot % MODEL_TRACKERS;

  (void)s;
  if (!w->model.tracker[t].live)
    return;
  vmm_tracker_destroy(w->tracker[t]);
  model_untrack(&w->model, t);
}

static void compare_runs(struct model_world *w, unsigned t, bool clear,
                         uint64_t start, uint64_t unit,
                         const struct vmm_range *runs, size_t nruns,
                         unsigned first, unsigned seen)
{
  struct model_tracker *tracker = &w->model.tracker[t];
  enum model_bit was[MODEL_PAGES];
  size_t used = 0;
  unsigned i;

  for (i = 0; i < seen; i++)
    was[i] = model_tracked(&w->model, t, first + i);
  for (i = 0; i < seen; i++) {
    uint64_t at = start + i * unit;
    uint8_t *bit = &tracker->bit[first + i];
    bool is;

    while (used < nruns && runs[used].start + runs[used].nbytes <= at)
      used++;
    is = used < nruns && runs[used].start <= at;
    agree(w, was[i] == MAYBE || is == (was[i] == YES), "unit %u is %d",
          first + i, is);
    if (clear && is)
      *bit = NO;
    else if (!is)
      *bit = NO; /* as it was found */
  }
}

/* A look, which may clear what it reports. */
void model_do_tracked(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned t = op->slot % MODEL_TRACKERS, first, n, seen;
  struct model_tracker *tracker = &w->model.tracker[t];
  size_t nruns = 1 + op->choice / 2 % 4;
  bool clear = op->choice & 1;
  struct vmm_range runs[4];
  uint64_t start, unit;
  vmm_addr_t next;
  int error;

  (void)s;
  if (!tracker->live)
    return;
  first = tracker->first + op->page % tracker->count;
  n = tracker->first + tracker->count - first;
  n = op->count < n ? op->count : n;
  if (tracker->space >= 0) {
    start = model_address(w, (unsigned)tracker->space, first);
    unit = model_page_size(w, (unsigned)tracker->space);
  } else {
    start = model_offset(w, first);
    unit = model_unit();
  }
  error = vmm_tracker_fetch(w->tracker[t], start, n * unit, clear, runs, &nruns,
                            &next);
  agree(w, error == 0 || model_refused(w, error), "result %d", error);
  if (error != 0)
    return;
  agree(w, next >= start && next <= start + n * unit && (next - start) % unit == 0,
        "next is %llx", (unsigned long long)next);
  seen = (unsigned)((next - start) / unit);
  agree(w, seen == n || model_tracked(&w->model, t, first + seen) != NO,
        "it stopped at a clear unit");
  compare_runs(w, t, clear, start, unit, runs, nruns, first, seen);
  for (seen = 0; w->failing && seen < MODEL_PAGES; seen++)
    model_raise(&tracker->bit[seen], MAYBE); /* without memory it keeps too many */
}

/* ---- pins ---- */

void model_do_pin(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_PINS, n = model_count(op), done = 0, i;
  bool write = op->choice & 1;
  unsigned access = write ? VMM_WRITE : VMM_READ;
  struct model_page *page = &w->model.space[s].page[op->page];
  int error;

  if (w->model.pin[k].live)
    return;
  n = n > MODEL_PIN_PAGES ? MODEL_PIN_PAGES : n;
  w->niov[k] = MODEL_PIN_PAGES;
  error = vmm_pin(w->space[s], model_address(w, s, op->page),
                  n * model_page_size(w, s), access, w->iov[k], &w->niov[k],
                  &w->pin[k]);
  while (done < n && model_allows(&page[done], access))
    done++;
  if (error != 0) {
    agree(w, (error == -EFAULT && done < n) || model_refused(w, error),
          "result %d", error);
    for (i = 0; i < done; i++) /* those before the failure were brought in */
      if (error == -EFAULT)
        model_pin_failed(&w->model, s, op->page + i, write);
      else
        model_blur(&w->model, s, op->page + i, VMM_WRITE);
    return;
  }
  agree(w, done == n, "page %u is pinned", op->page + done);
  model_pin(&w->model, k, s, op->page, n, write);
}

void model_do_unpin(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_PINS;

  (void)s;
  if (!w->model.pin[k].live)
    return;
  vmm_unpin(w->pin[k]);
  model_unpin(&w->model, k);
}

/* => the host's address of a word of page i of a pin */
static uint64_t *pinned_word(struct model_world *w, unsigned k, unsigned i,
                             unsigned word)
{
  uint64_t page = model_page_size(w, w->model.pin[k].space);
  uint64_t at = i * page + (word == 0 ? 0 : page - 8);
  size_t v = 0;

  while (at >= w->iov[k][v].nbytes)
    at -= w->iov[k][v++].nbytes;
  return (uint64_t *)((char *)w->iov[k][v].base + at);
}

/* => the model's word of page i of a pin */
static uint64_t *model_pinned_word(struct model_world *w, unsigned k, unsigned i,
                                   unsigned word)
{
  const struct model_pin *pin = &w->model.pin[k];
  unsigned n = w->model.space[pin->space].host_pages;

  if (pin->place[i].frame >= 0)
    return &w->model.frame[pin->place[i].frame].word[word];
  return &w->model.object[pin->place[i].object]
              .word[pin->place[i].at + (word == 0 ? 0 : (int)n - 1)][word];
}

void model_do_pin_read(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_PINS, i, word;

  (void)s;
  for (i = 0; w->model.pin[k].live && i < w->model.pin[k].count; i++)
    for (word = 0; word < MODEL_WORDS; word++)
      agree(w, *pinned_word(w, k, i, word) == *model_pinned_word(w, k, i, word),
            "pinned page %u holds %llx", i,
            (unsigned long long)*pinned_word(w, k, i, word));
}

void model_do_pin_write(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_PINS, i, word = op->choice & 1;

  (void)s;
  if (!w->model.pin[k].live || !w->model.pin[k].write)
    return;
  i = op->page % w->model.pin[k].count;
  *pinned_word(w, k, i, word) = op->stamp;
  *model_pinned_word(w, k, i, word) = op->stamp;
}

/* ---- snapshots ---- */

void model_do_take(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_SNAPSHOTS;
  int error;

  if (w->model.snapshot[k].live)
    return;
  error = vmm_snapshot_take(&w->snapshot[k], w->space[s]);
  if (model_refused(w, error))
    return;
  agree(w, error == 0, "result %d", error);
  model_take(&w->model, k, s);
}

/* => whether an object that has to be mapped again finds its trackers' slots */
static bool finds_slots(struct model_world *w, unsigned k)
{
  const struct model_snapshot *snapshot = &w->model.snapshot[k];
  unsigned p;

  for (p = 0; p < MODEL_PAGES; p++) {
    const struct model_page *then = &snapshot->page[p].page;

    if (model_is_shared(then) &&
        !model_shows_same(&w->model.space[snapshot->space].page[p], then) &&
        !model_claim(&w->model, snapshot->space, then->object))
      return false;
  }
  return true;
}

static bool finds_page_size(struct model_world *w, unsigned k)
{
  const struct model_snapshot *snapshot = &w->model.snapshot[k];
  const struct model_space *space = &w->model.space[snapshot->space];
  unsigned p, i, q;

  for (p = 0; p < MODEL_PAGES; p++) {
    const struct model_page *then = &snapshot->page[p].page;

    if (!then->mapped || then->object < 0 ||
        model_shows_same(&space->page[p], then))
      continue;
    for (i = 0; i < MODEL_SPACES; i++)
      for (q = 0; q < MODEL_PAGES; q++)
        if (w->model.space[i].live && w->model.space[i].page[q].mapped &&
            w->model.space[i].page[q].object == then->object &&
            w->model.space[i].host_pages != space->host_pages)
          return false;
  }
  return true;
}

void model_do_restore(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_SNAPSHOTS;
  int error;

  if (!w->model.snapshot[k].live || !w->alone)
    return;
  s = w->model.snapshot[k].space;
  error = vmm_snapshot_restore(w->space[s], w->snapshot[k]);
  if (model_refused(w, error))
    return;
  if (!finds_page_size(w, k))
    agree(w, error == -EINVAL, "result %d", error);
  else
    agree(w, error == (finds_slots(w, k) ? 0 : -ENOSPC), "result %d", error);
  if (error == 0)
    model_restore(&w->model, k);
  model_unclaim(&w->model, s);
}

void model_do_drop(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned k = op->slot % MODEL_SNAPSHOTS;

  (void)s;
  if (!w->model.snapshot[k].live)
    return;
  vmm_snapshot_drop(w->snapshot[k]);
  w->model.snapshot[k].live = false;
}

/* ---- looks ---- */

void model_do_region(struct model_world *w, const struct model_op *op, unsigned s)
{
  struct vmm_region_info info = { .struct_size = sizeof(info) };
  vmm_addr_t va = model_address(w, s, op->page), end = va, at;
  const struct model_page *page = &w->model.space[s].page[op->page];
  unsigned p = op->page;
  int error = vmm_region_find(w->space[s], va, &info);

  if (!page->mapped) {
    agree(w, error == -ENOENT || info.start > va, "page %u: a region", p);
    return;
  }
  agree(w, error == 0 && info.start <= va, "page %u: no region", p);
  at = va - info.start;
  agree(w, info.rights == page->rights, "rights %u", info.rights);
  agree(w, info.object == (page->object < 0 ? NULL : w->object[page->object]),
        "another object");
  agree(w, page->object < 0 || info.offset + at == model_offset(w, page->at),
        "offset %llx", (unsigned long long)info.offset);
  agree(w, ((info.flags & VMM_WIRED) != 0) == page->wired, "flags %x", info.flags);
  agree(w, ((info.flags & VMM_EXACT) != 0) == page->exact, "flags %x", info.flags);
  agree(w, ((info.flags & VMM_SUPERVISOR) != 0) == page->hidden, "flags %x",
        info.flags);
  for (; p < MODEL_PAGES && end < info.start + info.nbytes; p++) {
    const struct model_page *other = &w->model.space[s].page[p];

    end = model_address(w, s, p) + model_page_size(w, s);
    agree(w, other->mapped && other->rights == page->rights &&
                 other->object == page->object && other->wired == page->wired &&
                 other->hidden == page->hidden,
          "page %u is in the region of page %u", p, op->page);
  }
}

void model_do_look(struct model_world *w, const struct model_op *op, unsigned s)
{
  const struct model_page *page = &w->model.space[s].page[op->page];
  const char *at = vmm_debug_ptr(w->space[s], model_address(w, s, op->page));
  unsigned word = op->choice & 1;
  uint64_t value = 0;

  agree(w, at != NULL || page->present != YES, "page %u: no bytes", op->page);
  agree(w, at == NULL || page->mapped, "page %u: bytes", op->page);
  if (at == NULL)
    return;
  memcpy(&value, at + (word == 0 ? 0 : model_page_size(w, s) - 8), 8);
  agree(w, value == model_word(&w->model, s, op->page, word),
        "page %u of space %u: %llx, not %llx", op->page, s,
        (unsigned long long)value,
        (unsigned long long)model_word(&w->model, s, op->page, word));
}

void model_do_budget(struct model_world *w, const struct model_op *op, unsigned s)
{
  (void)s;
  if (w->alone) /* wired memory may be refused by a small one */
    vmm_mapping_budget(op->choice & 1 ? 0 : 256);
}
