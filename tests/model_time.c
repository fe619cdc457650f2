/*
 * The model: what lasts: pins and snapshots.
 */
#include "model.h"

#include <string.h>

/* ---- pins ---- */

static void count_pin(struct model *model, struct model_place place, unsigned n,
                      bool write, int by)
{
  unsigned i;

  if (place.frame >= 0) {
    struct model_frame *frame = &model->frame[place.frame];

    frame->holders = (uint16_t)(frame->holders + by);
    frame->pins = (uint16_t)(frame->pins + by);
    if (write)
      frame->writers = (uint16_t)(frame->writers + by);
  }
  for (i = 0; write && place.object >= 0 && i < n; i++)
    model->object[place.object].writers[place.at + (int)i] =
        (uint16_t)(model->object[place.object].writers[place.at + (int)i] + by);
}

void model_pin(struct model *model, unsigned k, unsigned s, unsigned first,
               unsigned count, bool write)
{
  struct model_pin *pin = &model->pin[k];
  struct model_space *space = &model->space[s];
  unsigned i;

  *pin = (struct model_pin){ true, write, s, first, count, { { 0, 0, 0 } } };
  for (i = 0; i < count; i++) {
    struct model_page *page = &space->page[first + i];

    model_touch(model, s, first + i, write ? VMM_WRITE : VMM_READ);
    model_own(model, s, first + i);
    page->version = ++model->version;
    pin->place[i] = model_place_of(page);
    count_pin(model, pin->place[i], space->host_pages, write, 1);
  }
}

void model_pin_failed(struct model *model, unsigned s, unsigned p, bool write)
{
  model_touch(model, s, p, write ? VMM_WRITE : VMM_READ);
  model_own(model, s, p);
  model->space[s].page[p].version = ++model->version;
}

/* The entry at p reads dirty, or may, if it shows the place that was written.
 * => whether it does */
static enum model_bit mark_page(struct model *model, unsigned s, unsigned p,
                                struct model_place place, enum model_bit to)
{
  struct model_page *page = &model->space[s].page[p];
  uint8_t young = page->young, present = page->present;

  if (!page->mapped || !model_same_place(model_place_of(page), place) ||
      present == NO)
    return NO;
  if (present == MAYBE || to == MAYBE) {
    model_blur(model, s, p, VMM_WRITE);
    page->torn = false;
  } else if (page->is_private && page->frame < 0) {
    page->dirty = YES; /* it shows the object's page, and does not own it */
    model_note(model, s, p, YES);
  } else {
    model_touch(model, s, p, VMM_WRITE);
  }
  page->young = young;
  page->present = present;
  return present;
}

/* Its mapping has gone meanwhile, or may have: the object's trackers learn of it, and
 * where else the space maps it. */
static void mark_object(struct model *model, const struct model_pin *pin,
                        struct model_place place, enum model_bit to)
{
  unsigned n = model->space[pin->space].host_pages, t, i, p;

  for (t = 0; t < MODEL_TRACKERS; t++) {
    struct model_tracker *tracker = &model->tracker[t];

    if (!tracker->live || tracker->object != place.object)
      continue;
    for (i = (unsigned)place.at; i < (unsigned)place.at + n; i++)
      if (i >= tracker->first && i < tracker->first + tracker->count)
        model_raise(&tracker->bit[i], to);
  }
  for (p = 0; p < MODEL_PAGES; p++)
    if (model_is_shared(&model->space[pin->space].page[p]))
      mark_page(model, pin->space, p, place, to);
}

void model_unpin(struct model *model, unsigned k)
{
  struct model_pin *pin = &model->pin[k];
  unsigned i, p;

  for (i = 0; pin->write && i < pin->count; i++) {
    struct model_place place = pin->place[i];
    enum model_bit there = mark_page(model, pin->space, pin->first + i, place, YES);
    enum model_bit else_where = there == NO ? YES : MAYBE;

    if (there == YES)
      continue;
    if (place.object >= 0)
      mark_object(model, pin, place, else_where);
    for (p = 0; place.frame >= 0 && p < MODEL_PAGES; p++)
      mark_page(model, pin->space, p, place, else_where);
  }
  for (i = 0; i < pin->count; i++)
    count_pin(model, pin->place[i], model->space[pin->space].host_pages,
              pin->write, -1);
  pin->live = false;
}

/* ---- snapshots ---- */

void model_take(struct model *model, unsigned k, unsigned s)
{
  struct model_snapshot *snapshot = &model->snapshot[k];
  unsigned p;

  snapshot->live = true;
  snapshot->space = s;
  for (p = 0; p < MODEL_PAGES; p++) {
    struct model_page *page = &model->space[s].page[p];
    struct model_saved *saved = &snapshot->page[p];

    saved->page = *page;
    if (page->frame < 0)
      continue;
    memcpy(saved->word, model->frame[page->frame].word, sizeof(saved->word));
    if (page->wired || model->frame[page->frame].writers != 0)
      page->version = ++model->version; /* it was copied at once */
  }
}

bool model_shows_same(const struct model_page *a, const struct model_page *b)
{
  return a->mapped && b->mapped && a->object == b->object &&
         a->is_private == b->is_private && (a->object < 0 || a->at == b->at);
}

/* Something else was mapped there, or nothing. */
static void bring_back(struct model *model, unsigned s, unsigned p,
                       const struct model_saved *saved)
{
  struct model_page *page = &model->space[s].page[p];
  bool own = saved->page.frame >= 0;

  if (page->mapped)
    model_unmap(model, s, p);
  else
    model_note(model, s, p, own ? YES : MAYBE);
  model_map(model, s, p,
            (struct model_mapping){ saved->page.rights, saved->page.object,
                                    saved->page.at, saved->page.is_private,
                                    saved->page.exact, saved->page.hidden });
  page->barred = saved->page.barred;
  page->present = page->young = page->dirty = NO;
  if (!own && page->is_private) /* a pin may have given it bytes of its own since */
    page->present = page->dirty = MAYBE;
  if (!own)
    return;
  model_own(model, s, p);
  memcpy(model->frame[page->frame].word, saved->word, sizeof(saved->word));
  page->present = page->dirty = YES;
}

/* The page of a private mapping that is still there gets its bytes. */
static void give_back(struct model *model, unsigned s, unsigned p,
                      const struct model_saved *saved)
{
  struct model_page *page = &model->space[s].page[p];
  struct model_frame *frame = page->frame >= 0 ? &model->frame[page->frame] : NULL;
  bool in_place = frame != NULL && frame->pins != 0;
  enum model_bit changed = MAYBE;
  uint64_t was[MODEL_WORDS];
  unsigned i;

  for (i = 0; i < MODEL_WORDS; i++)
    was[i] = model_word(model, s, p, i);
  if (!in_place && frame != NULL) {
    frame->holders--;
    page->frame = -1;
    /* what is wired may keep its frame and get the bytes of one it has not */
    page->torn = page->wired && saved->page.frame < 0;
    model->torn |= page->torn;
  }
  if (saved->page.frame >= 0) {
    model_own(model, s, p);
    memcpy(model->frame[page->frame].word, saved->word, sizeof(saved->word));
  } else if (in_place) {
    int16_t mine = page->frame;

    page->frame = -1; /* what it shows without */
    for (i = 0; i < MODEL_WORDS; i++)
      model->frame[mine].word[i] = model_word(model, s, p, i);
    page->frame = mine;
  }
  for (i = 0; i < MODEL_WORDS; i++)
    if (was[i] != model_word(model, s, p, i))
      changed = YES;
  page->present = page->frame >= 0 ? YES : MAYBE;
  page->young = MAYBE;
  model_raise(&page->dirty, changed);
  model_note(model, s, p, changed);
  page->version = ++model->version;
}

static void restore_page(struct model *model, unsigned s, unsigned p,
                         const struct model_saved *saved)
{
  struct model_page *page = &model->space[s].page[p];

  if (!saved->page.mapped) {
    if (page->mapped)
      model_unmap(model, s, p);
    else
      model_note(model, s, p, MAYBE);
    return;
  }
  if (!model_shows_same(page, &saved->page)) {
    bring_back(model, s, p, saved);
    return;
  }
  if (model_is_coarse(&model->space[s], page)) {
    /* what were upper bounds may be exact again */
    model_raise(&page->present, MAYBE);
    model_raise(&page->young, MAYBE);
    model_raise(&page->dirty, MAYBE);
  }
  page->rights = saved->page.rights;
  page->barred = saved->page.barred;
  page->exact = saved->page.exact;
  page->hidden = saved->page.hidden;
  if (page->is_private && page->version != saved->page.version)
    give_back(model, s, p, saved);
}

void model_restore(struct model *model, unsigned k)
{
  const struct model_snapshot *snapshot = &model->snapshot[k];
  struct model_space *space = &model->space[snapshot->space];
  bool again = false;
  unsigned p;

  for (p = 0; p < MODEL_PAGES; p++) {
    uint8_t rights = space->page[p].rights;

    restore_page(model, snapshot->space, p, &snapshot->page[p]);
    again |= space->page[p].wired && space->page[p].rights != rights;
  }
  for (p = 0; again && p < MODEL_PAGES; p++)
    if (space->page[p].wired)
      model_wire(model, snapshot->space, p);
}
