/*
 * Operations of the model: what is mapped, and whole spaces.
 */
#include <errno.h>

#include "model_run.h"

static bool any_mapped(const struct model_world *w, unsigned s, unsigned first,
                       unsigned n)
{
  while (n > 0)
    if (w->model.space[s].page[first + --n].mapped)
      return true;
  return false;
}

static bool any_wired(const struct model_world *w, unsigned s, unsigned first,
                      unsigned n)
{
  while (n > 0)
    if (w->model.space[s].page[first + --n].wired)
      return true;
  return false;
}

static bool any_watched(const struct model_world *w, unsigned s, unsigned first,
                        unsigned n)
{
  while (n > 0)
    if (model_is_watched(&w->model, s, first + --n))
      return true;
  return false;
}

/* => whether a space with another page size maps the object */
static bool has_other_size(const struct model_world *w, unsigned s, int object)
{
  unsigned i, p;

  for (i = 0; i < MODEL_SPACES; i++)
    for (p = 0; p < MODEL_PAGES; p++)
      if (w->model.space[i].live && w->model.space[i].page[p].mapped &&
          w->model.space[i].page[p].object == object &&
          w->model.space[i].host_pages != w->model.space[s].host_pages)
        return true;
  return false;
}

/* Pages that were wired before the rights changed, or that have moved. */
static void wire_again(struct model_world *w, unsigned s, unsigned first,
                       unsigned n)
{
  unsigned p;

  for (p = first; p < first + n; p++)
    if (w->model.space[s].page[p].wired && w->failing)
      model_blur(&w->model, s, p, VMM_WRITE);
    else if (w->model.space[s].page[p].wired)
      model_wire(&w->model, s, p);
}

/* ---- map ---- */

struct wish {
  struct model_mapping mapping;
  uint32_t flags;
};

static struct wish make_wish(const struct model_world *w,
                             const struct model_op *op, unsigned s, unsigned n)
{
  static const uint8_t rights[] = { 0, 1, 3, 3, 5, 7, 7, 7, 4, 2 };
  unsigned host = w->model.space[s].host_pages;
  struct wish wish = { { .object = -1 }, 0 };

  wish.mapping.rights = rights[op->rights % 10];
  if (op->object < MODEL_OBJECTS && n * host <= MODEL_OBJECT_PAGES) {
    wish.mapping.object = (int8_t)op->object;
    wish.mapping.at = (uint8_t)(op->at % (MODEL_OBJECT_PAGES / host - n + 1) * host);
  }
  wish.mapping.is_private = (op->choice & 3) == 0;
  wish.mapping.exact = !w->model.space[s].coarse || (op->choice & 64) != 0;
  wish.mapping.hidden = op->rights / 10 % 4 == 0;
  wish.flags = (wish.mapping.is_private ? VMM_PRIVATE : 0) |
               (op->choice & 12 ? VMM_REPLACE : 0) |
               ((op->choice & 48) == 0 ? VMM_WIRED : 0) |
               (wish.mapping.exact ? VMM_EXACT : 0) |
               (wish.mapping.hidden ? VMM_SUPERVISOR : 0) |
               (op->choice & 128 ? VMM_HUGE : 0);
  return wish;
}

/* => what the call must give, if the host is willing, before anything changes */
static int expect_map(struct model_world *w, const struct model_op *op, unsigned s,
                      unsigned n, const struct wish *wish)
{
  const struct model_mapping *mapping = &wish->mapping;
  const struct model_space *space = &w->model.space[s];
  bool shared = mapping->object >= 0 && !mapping->is_private;

  if ((wish->flags & VMM_WIRED) && mapping->rights == 0)
    return -EINVAL;
  if ((wish->flags & VMM_WIRED) && space->checked)
    return -ENOTSUP;
  if ((mapping->rights & 3) == VMM_WRITE && !space->checked)
    return -ENOTSUP;
  if (shared && (mapping->rights & VMM_WRITE) &&
      w->model.object[mapping->object].readonly)
    return -EACCES;
  if (any_mapped(w, s, op->page, n) && !(wish->flags & VMM_REPLACE))
    return -EEXIST;
  if (mapping->object >= 0 && has_other_size(w, s, mapping->object))
    return -EINVAL;
  return 0;
}

static int call_map(struct model_world *w, const struct model_op *op, unsigned s,
                    unsigned n, const struct wish *wish)
{
  const struct model_mapping *mapping = &wish->mapping;
  struct vmm_map_options options = { 0 };
  vmm_addr_t va = model_address(w, s, op->page);

  options.rights = mapping->rights;
  options.flags = wish->flags;
  if (mapping->object >= 0) {
    options.object = w->object[mapping->object];
    options.offset = model_offset(w, mapping->at);
  }
  return vmm_map(w->space[s], &va, n * model_page_size(w, s), &options);
}

static void unmap_all(struct model_world *w, unsigned s, unsigned first, unsigned n)
{
  while (n > 0)
    model_unmap(&w->model, s, first + --n);
}

/* The mapping is there; wired memory is brought in at once. */
static void map_all(struct model_world *w, const struct model_op *op, unsigned s,
                    unsigned n, struct wish wish)
{
  unsigned host = w->model.space[s].host_pages, p;

  for (p = op->page; p < op->page + n; p++) {
    model_map(&w->model, s, p, wish.mapping);
    wish.mapping.at = (uint8_t)(wish.mapping.at + host);
    w->model.space[s].page[p].wired = (wish.flags & VMM_WIRED) != 0;
    if (wish.flags & VMM_WIRED)
      model_wire(&w->model, s, p);
  }
}

/* => whether a tracker would watch what is mapped there */
static bool would_be_watched(struct model_world *w, const struct model_op *op,
                             unsigned s, unsigned n, const struct wish *wish)
{
  const struct model_mapping *mapping = &wish->mapping;
  unsigned host = w->model.space[s].host_pages, t;

  for (t = 0; t < MODEL_TRACKERS; t++) {
    const struct model_tracker *tracker = &w->model.tracker[t];
    unsigned first = op->page, count = n;

    if (!tracker->live)
      continue;
    if (tracker->space < 0) {
      if (mapping->is_private || tracker->object != mapping->object)
        continue;
      first = mapping->at;
      count = n * host;
    } else if (tracker->space != (int)s) {
      continue;
    }
    if (first < tracker->first + tracker->count && tracker->first < first + count)
      return true;
  }
  return false;
}

void model_do_map(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op);
  struct wish wish = make_wish(w, op, s, n);
  int want = expect_map(w, op, s, n, &wish), error;
  bool wired = (wish.flags & VMM_WIRED) != 0;

  error = call_map(w, op, s, n, &wish);
  if (want == 0 && model_refused(w, error) && wired &&
      (wish.flags & VMM_REPLACE)) {
    /* the host may have refused before or after what was there went */
    struct vmm_region_info info = { .struct_size = sizeof(info) };
    vmm_addr_t va = model_address(w, s, op->page);

    if (!any_mapped(w, s, op->page, n))
      return;
    while (!w->model.space[s].page[(va - model_address(w, s, 0)) /
                                   model_page_size(w, s)].mapped)
      va += model_page_size(w, s);
    if (vmm_region_find(w->space[s], va, &info) != 0 || info.start > va)
      unmap_all(w, s, op->page, n);
    model_unclaim(&w->model, s);
    return;
  }
  if (model_refused(w, error) || (!w->alone && error == -ENOSPC))
    return;
  if (want == 0 && wish.mapping.object >= 0 && !wish.mapping.is_private &&
      w->alone && !model_claim(&w->model, s, wish.mapping.object))
    want = -ENOSPC;
  if (want == 0 && wired && would_be_watched(w, op, s, n, &wish))
    want = -EBUSY;
  agree(w, error == want, "result %d, not %d", error, want);
  if (error == 0 && (wish.flags & VMM_REPLACE))
    unmap_all(w, s, op->page, n);
  if (error == 0)
    map_all(w, op, s, n, wish);
  model_unclaim(&w->model, s);
}

void model_do_unmap(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op);
  int error = vmm_unmap(w->space[s], model_address(w, s, op->page),
                        n * model_page_size(w, s));

  if (model_refused(w, error))
    return;
  agree(w, error == 0, "result %d", error);
  unmap_all(w, s, op->page, n);
  model_unclaim(&w->model, s);
}

/* ---- changes ---- */

static int expect_protect(struct model_world *w, const struct model_op *op,
                          unsigned s, unsigned n, unsigned rights)
{
  unsigned p;

  if ((rights & 3) == VMM_WRITE && !w->model.space[s].checked)
    return -ENOTSUP;
  if (!model_all_mapped(w, s, op->page, n))
    return -ENOMEM;
  for (p = op->page; p < op->page + n; p++) {
    const struct model_page *page = &w->model.space[s].page[p];

    if ((rights & VMM_WRITE) && model_is_shared(page) &&
        w->model.object[page->object].readonly)
      return -EACCES;
  }
  return 0;
}

void model_do_protect(struct model_world *w, const struct model_op *op, unsigned s)
{
  static const uint8_t choices[] = { 0, 1, 7, 2, 3, 3, 4, 5, 7, 7 };
  unsigned n = model_count(op), p, rights = choices[op->rights % 10];
  int want = expect_protect(w, op, s, n, rights);
  int error = vmm_protect(w->space[s], model_address(w, s, op->page),
                          n * model_page_size(w, s), rights);

  if (model_refused(w, error))
    return;
  agree(w, error == want, "result %d, not %d", error, want);
  for (p = op->page; error == 0 && p < op->page + n; p++)
    w->model.space[s].page[p].rights = (uint8_t)rights;
  if (error == 0)
    wire_again(w, s, op->page, n);
}

/* => whether a tracker of the space watches the page, mapped or not */
static bool is_tracked(const struct model_world *w, unsigned s, unsigned p)
{
  unsigned t;

  for (t = 0; t < MODEL_TRACKERS; t++)
    if (w->model.tracker[t].space == (int)s &&
        model_watches(&w->model, t, s, p))
      return true;
  return false;
}

void model_do_move(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), from = op->page, to = op->to, i;
  bool replace = op->choice & 1, taken;
  vmm_addr_t va;
  int error, want = 0;

  if (to + n > MODEL_PAGES)
    to = MODEL_PAGES - n;
  va = model_address(w, s, to);
  taken = any_mapped(w, s, to, n);
  error = vmm_move(w->space[s], model_address(w, s, from),
                   n * model_page_size(w, s), &va, replace ? VMM_REPLACE : 0);
  if (from < to + n && to < from + n)
    want = -EINVAL;
  else if (!model_all_mapped(w, s, from, n))
    want = -ENOMEM;
  else if (taken && !replace)
    want = -EEXIST;
  for (i = 0; want == 0 && i < n; i++)
    if (w->model.space[s].page[from + i].wired && is_tracked(w, s, to + i))
      want = -EBUSY;
  if (model_refused(w, error))
    return;
  agree(w, error == want, "result %d, not %d", error, want);
  agree(w, va == model_address(w, s, to), "it went elsewhere");
  for (i = 0; error == 0 && i < n; i++)
    model_move(&w->model, s, from + i, to + i);
  model_unclaim(&w->model, s);
  if (error == 0)
    wire_again(w, s, to, n);
}

void model_do_discard(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), p;
  int want = !model_all_mapped(w, s, op->page, n) ? -ENOMEM
             : any_wired(w, s, op->page, n)       ? -EBUSY
                                                  : 0;
  int error = vmm_discard(w->space[s], model_address(w, s, op->page),
                          n * model_page_size(w, s));

  if (model_refused(w, error))
    return;
  agree(w, error == want, "result %d, not %d", error, want);
  for (p = op->page; error == 0 && p < op->page + n; p++)
    model_discard(&w->model, s, p);
}

static int expect_wire(struct model_world *w, const struct model_op *op, unsigned s,
                       unsigned n)
{
  unsigned p;

  if (w->model.space[s].checked)
    return -ENOTSUP;
  if (!model_all_mapped(w, s, op->page, n))
    return -ENOMEM;
  for (p = op->page; p < op->page + n; p++) {
    if (w->model.space[s].page[p].rights == 0)
      return -EACCES;
    if (any_watched(w, s, p, 1))
      return -EBUSY;
  }
  return 0;
}

void model_do_wire(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), p;
  int want = expect_wire(w, op, s, n);
  int error = vmm_wire(w->space[s], model_address(w, s, op->page),
                       n * model_page_size(w, s));

  if (want == 0 && model_refused(w, error)) {
    for (p = op->page; p < op->page + n; p++) {
      struct vmm_region_info info = { .struct_size = sizeof(info) };

      model_blur(&w->model, s, p, VMM_WRITE);
      agree(w, vmm_region_find(w->space[s], model_address(w, s, p), &info) == 0,
            "page %u is gone", p);
      w->model.space[s].page[p].wired = (info.flags & VMM_WIRED) != 0;
    }
    return;
  }
  agree(w, error == want || model_refused(w, error), "result %d, not %d", error,
        want);
  for (p = op->page; error == 0 && p < op->page + n; p++) {
    w->model.space[s].page[p].wired = true;
    model_wire(&w->model, s, p);
  }
}

void model_do_unwire(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), p;
  int want = model_all_mapped(w, s, op->page, n) ? 0 : -ENOMEM;
  int error = vmm_unwire(w->space[s], model_address(w, s, op->page),
                         n * model_page_size(w, s));

  if (model_refused(w, error))
    return;
  agree(w, error == want, "result %d, not %d", error, want);
  for (p = op->page; error == 0 && p < op->page + n; p++)
    w->model.space[s].page[p].wired = false;
}

void model_do_inherit(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), p;
  bool barred = op->choice & 1;
  int want = model_all_mapped(w, s, op->page, n) ? 0 : -ENOMEM;
  int error = vmm_inherit(w->space[s], model_address(w, s, op->page),
                          n * model_page_size(w, s),
                          barred ? VMM_INHERIT_NONE : VMM_INHERIT_COPY);

  if (model_refused(w, error))
    return;
  agree(w, error == want, "result %d, not %d", error, want);
  for (p = op->page; error == 0 && p < op->page + n; p++)
    w->model.space[s].page[p].barred = barred;
}

/* ---- whole spaces ---- */

/* Told that code of the range is no longer true. */
static void told(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes)
{
  struct model_world *w = self->arg;
  unsigned s = (unsigned)(self - w->notifier), p;

  for (p = 0; p < MODEL_PAGES; p++)
    if (model_address(w, s, p) + model_page_size(w, s) > va &&
        model_address(w, s, p) < va + nbytes)
      w->model.space[s].page[p].cached = false;
}

void model_listen(struct model_world *w, unsigned s)
{
  w->notifier[s] = (struct vmm_notifier){ .invalidate = told, .arg = w };
  agree(w, vmm_notifier_add(w->space[s], &w->notifier[s]) == 0, "notifier");
}

static bool is_used(const struct model_world *w, unsigned s)
{
  unsigned i;

  for (i = 0; i < MODEL_TRACKERS; i++)
    if (w->model.tracker[i].live && w->model.tracker[i].space == (int)s)
      return true;
  for (i = 0; i < MODEL_PINS; i++)
    if (w->model.pin[i].live && w->model.pin[i].space == s)
      return true;
  for (i = 0; i < MODEL_SNAPSHOTS; i++)
    if (w->model.snapshot[i].live && w->model.snapshot[i].space == s)
      return true;
  return false;
}

/* => whether the space is not there (any more) */
static bool end_space(struct model_world *w, unsigned s)
{
  struct model_space *space = &w->model.space[s];
  int error;

  if (!space->live)
    return true;
  if (w->harts)
    model_harts_leave();
  if (w->alone && !is_used(w, s))
    agree(w, vmm_check(w->space[s], 0, 0) == 0 || w->failing, "%s",
          vmm_error_text());
  error = vmm_space_destroy(w->space[s]);
  agree(w, error == (is_used(w, s) ? -EBUSY : 0), "destroy: %d", error);
  if (error != 0)
    return false;
  unmap_all(w, s, 0, MODEL_PAGES);
  model_begin_space(&w->model, s);
  space->live = false;
  w->space[s] = NULL;
  return true;
}

/* => whether the space is every thread's, and stays */
static bool is_common(const struct model_world *w, unsigned s)
{
  return !w->alone && s < 2;
}

void model_do_fork(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned to = op->other == s ? (s + 1) % MODEL_SPACES : op->other;
  int error;

  if (is_common(w, to) || !end_space(w, to))
    return;
  error = vmm_space_fork(&w->space[to], w->space[s]);
  if (model_refused(w, error))
    return;
  agree(w, error == 0, "result %d", error);
  model_fork(&w->model, s, to);
  model_listen(w, to);
}

/* Ends the space and makes another kind of it. */
void model_do_make(struct model_world *w, const struct model_op *op, unsigned s)
{
  struct vmm_space_options options = { .size = 1 << 26 };
  struct model_space *space = &w->model.space[s];
  unsigned kind = w->alone ? op->choice % 6 : 0;
  int error;

  if (is_common(w, s) || !end_space(w, s))
    return;
  options.flags = kind == 4 ? VMM_CHECKED : kind == 5 ? 0 : VMM_EXACT;
  options.page_size = (uint32_t)(kind == 3 ? 4 * model_unit() : model_unit());
  error = vmm_space_create(&w->space[s], &options);
  if (model_refused(w, error))
    return;
  agree(w, error == 0, "result %d", error);
  model_begin_space(&w->model, s);
  space->live = true;
  space->coarse = options.flags == 0;
  space->checked = options.flags == VMM_CHECKED;
  space->host_pages = kind == 3 ? 4 : 1;
  model_listen(w, s);
}
