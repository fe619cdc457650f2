/*
 * The model: bytes, accesses, mappings and trackers.
 */
#include "model.h"

#include <errno.h>
#include <string.h>

void model_begin_space(struct model *model, unsigned s)
{
  struct model_space *space = &model->space[s];
  unsigned p;

  memset(space->slot, 0, sizeof(space->slot));
  for (p = 0; p < MODEL_PAGES; p++)
    space->page[p] = (struct model_page){ .object = -1, .frame = -1 };
}

/* ---- bytes ---- */

static void drop_frame(struct model *model, struct model_page *page)
{
  if (page->frame >= 0)
    model->frame[page->frame].holders--;
  page->frame = -1;
}

static void take_frame(struct model *model, struct model_page *page)
{
  int16_t i = 0;

  while (model->frame[i].holders != 0)
    i++; /* pages and pins are fewer than frames */
  model->frame[i] = (struct model_frame){ .holders = 1 };
  page->frame = i;
}

struct model_place model_place_of(const struct model_page *page)
{
  struct model_place place = { page->frame, -1, -1 };

  if (page->frame < 0 && page->object >= 0)
    place = (struct model_place){ -1, page->object, page->at };
  return place;
}

bool model_same_place(struct model_place a, struct model_place b)
{
  return a.frame == b.frame && a.object == b.object && a.at == b.at &&
         (a.frame >= 0 || a.object >= 0);
}

/* The word of a page of so many host pages. */
static uint64_t *word_at(struct model *model, struct model_place place,
                         unsigned n, unsigned word)
{
  if (place.frame >= 0)
    return &model->frame[place.frame].word[word];
  if (place.object < 0)
    return NULL;
  return &model->object[place.object]
              .word[place.at + (word == 0 ? 0 : (int)n - 1)][word];
}

uint64_t model_word(const struct model *model, unsigned s, unsigned p,
                    unsigned word)
{
  const struct model_space *space = &model->space[s];
  const uint64_t *at = word_at((struct model *)model,
                               model_place_of(&space->page[p]),
                               space->host_pages, word);

  return at != NULL ? *at : 0;
}

void model_put_word(struct model *model, unsigned s, unsigned p, unsigned word,
                    uint64_t value)
{
  struct model_space *space = &model->space[s];

  *word_at(model, model_place_of(&space->page[p]), space->host_pages, word) =
      value;
}

bool model_is_written(const struct model *model, struct model_place place,
                      unsigned n)
{
  unsigned i;

  if (place.frame >= 0)
    return model->frame[place.frame].writers != 0;
  for (i = 0; place.object >= 0 && i < n; i++)
    if (model->object[place.object].writers[place.at + (int)i] != 0)
      return true;
  return false;
}

void model_own(struct model *model, unsigned s, unsigned p)
{
  struct model_page *page = &model->space[s].page[p];
  uint64_t word[MODEL_WORDS];
  unsigned i;

  if (page->frame >= 0 || !page->is_private)
    return;
  for (i = 0; i < MODEL_WORDS; i++)
    word[i] = model_word(model, s, p, i);
  take_frame(model, page);
  memcpy(model->frame[page->frame].word, word, sizeof(word));
}

/* ---- accesses ---- */

/* => the bits of tracker t that stand for the page, n of them, or NULL */
static uint8_t *bits_of(struct model *model, unsigned t, unsigned s, unsigned p,
                        unsigned *n)
{
  const struct model_page *page = &model->space[s].page[p];
  struct model_tracker *tracker = &model->tracker[t];
  unsigned first = p, end = p + 1;

  if (!tracker->live)
    return NULL;
  if (tracker->space < 0) {
    if (!model_is_shared(page) || page->object != tracker->object)
      return NULL;
    first = page->at;
    end = first + model->space[s].host_pages;
  } else if (tracker->space != (int)s) {
    return NULL;
  }
  if (first < tracker->first)
    first = tracker->first;
  if (end > tracker->first + tracker->count)
    end = tracker->first + tracker->count;
  if (first >= end)
    return NULL;
  *n = end - first;
  return &tracker->bit[first];
}

static void mark_trackers(struct model *model, unsigned s, unsigned p,
                          bool write, enum model_bit to)
{
  unsigned t, n;

  for (t = 0; t < MODEL_TRACKERS; t++) {
    uint8_t *bit = bits_of(model, t, s, p, &n);

    if (bit == NULL || (!write && model->tracker[t].kind == VMM_TRACK_WRITE))
      continue;
    while (n-- > 0)
      model_raise(bit++, to);
  }
}

void model_touch(struct model *model, unsigned s, unsigned p, unsigned access)
{
  struct model_page *page = &model->space[s].page[p];
  bool write = access == VMM_WRITE;

  page->present = page->young = YES;
  mark_trackers(model, s, p, write, YES);
  if (!write)
    return;
  page->dirty = YES;
  page->version = ++model->version;
  model_own(model, s, p);
}

void model_blur(struct model *model, unsigned s, unsigned p, unsigned access)
{
  struct model_page *page = &model->space[s].page[p];
  bool write = access == VMM_WRITE;

  model_raise(&page->present, MAYBE);
  model_raise(&page->young, MAYBE);
  mark_trackers(model, s, p, write, MAYBE);
  if (!write)
    return;
  model_raise(&page->dirty, MAYBE);
  page->version = ++model->version;
  page->torn = page->is_private && page->frame < 0;
  model->torn |= page->torn;
}

bool model_must_fault(const struct model *model, unsigned s, unsigned p,
                      unsigned access)
{
  const struct model_space *space = &model->space[s];
  const struct model_page *page = &space->page[p];
  bool write = access == VMM_WRITE;
  unsigned t, n;

  if (!model_is_coarse(space, page) &&
      (page->young == NO || (write && page->dirty == NO)))
    return true;
  for (t = 0; t < MODEL_TRACKERS; t++) {
    const uint8_t *bit = bits_of((struct model *)model, t, s, p, &n);

    if (bit == NULL || (!write && model->tracker[t].kind == VMM_TRACK_WRITE))
      continue;
    while (n-- > 0)
      if (*bit++ == NO)
        return true;
  }
  return false;
}

/* ---- mappings ---- */

void model_note(struct model *model, unsigned s, unsigned p, enum model_bit to)
{
  unsigned t, n;

  for (t = 0; t < MODEL_TRACKERS; t++) {
    uint8_t *bit = model->tracker[t].space == (int)s
                       ? bits_of(model, t, s, p, &n)
                       : NULL;

    if (bit != NULL)
      model_raise(bit, to);
  }
}

void model_unmap(struct model *model, unsigned s, unsigned p)
{
  struct model_page *page = &model->space[s].page[p];
  struct model_page none = { .object = -1, .frame = -1,
                             .version = ++model->version };

  model_note(model, s, p, YES);
  none.cached = page->cached; /* it is the library that must tell */
  none.code = page->code;
  drop_frame(model, page);
  *page = none;
}

void model_map(struct model *model, unsigned s, unsigned p,
               struct model_mapping mapping)
{
  struct model_page *page = &model->space[s].page[p];

  page->mapped = true;
  page->rights = mapping.rights;
  page->object = mapping.object;
  page->at = mapping.at;
  page->is_private = mapping.is_private || mapping.object < 0;
  page->exact = mapping.exact;
  page->hidden = mapping.hidden;
  page->version = ++model->version;
}

void model_move(struct model *model, unsigned s, unsigned from, unsigned to)
{
  struct model_page *page = model->space[s].page;
  struct model_page moved = page[from];

  model_unmap(model, s, to);
  moved.cached = page[to].cached;
  moved.code = page[to].code;
  moved.version = ++model->version;
  page[from].frame = -1;
  model_unmap(model, s, from);
  page[to] = moved;
  if (moved.present != NO)
    model_raise(&page[to].dirty, moved.present);
}

/* Private bytes are gone, which is a change; young is, with the entry. */
void model_discard(struct model *model, unsigned s, unsigned p)
{
  struct model_space *space = &model->space[s];
  struct model_page *page = &space->page[p];
  enum model_bit had = page->frame >= 0 ? YES : NO;

  if (!page->is_private)
    return;
  if (had == NO && (page->present == MAYBE || model_is_coarse(space, page)))
    had = MAYBE;
  model_raise(&page->dirty, had);
  model_note(model, s, p, had);
  drop_frame(model, page);
  page->present = page->young = NO;
  page->version = ++model->version;
}

void model_wire(struct model *model, unsigned s, unsigned p)
{
  unsigned rights = model->space[s].page[p].rights;

  if (rights != 0)
    model_touch(model, s, p,
                rights & VMM_WRITE ? VMM_WRITE
                                   : rights & VMM_READ ? VMM_READ : VMM_EXEC);
}

void model_fork(struct model *model, unsigned from, unsigned to)
{
  const struct model_space *parent = &model->space[from];
  struct model_space *child = &model->space[to];
  unsigned p;

  model_begin_space(model, to);
  child->live = true;
  child->coarse = parent->coarse;
  child->checked = parent->checked;
  child->host_pages = parent->host_pages;
  for (p = 0; p < MODEL_PAGES; p++) {
    const struct model_page *theirs = &parent->page[p];
    struct model_page *page = &child->page[p];

    if (!theirs->mapped || theirs->barred)
      continue;
    *page = *theirs;
    page->wired = page->cached = false;
    page->young = NO;
    if (model_is_shared(page)) {
      page->present = page->dirty = NO;
      model_claim(model, to, page->object);
    } else if (page->present == NO || (page->present == MAYBE && page->dirty)) {
      page->dirty = page->present;
    }
    if (theirs->frame < 0)
      continue;
    take_frame(model, page);
    memcpy(model->frame[page->frame].word, model->frame[theirs->frame].word,
           sizeof(model->frame[0].word));
  }
}

/* ---- trackers ---- */

static bool shows_object(const struct model_space *space, int object)
{
  unsigned p;

  for (p = 0; space->live && p < MODEL_PAGES; p++)
    if (model_is_shared(&space->page[p]) && space->page[p].object == object)
      return true;
  return false;
}

/* => whether tracker t of an object can have the slot in the space */
static bool can_claim(const struct model_space *space, unsigned t, unsigned slot)
{
  return space->slot[slot] == 0 || space->slot[slot] == -((int)t + 1);
}

/* => whether the slot is free for it wherever the object is shown */
static bool free_everywhere(const struct model *model, unsigned t, unsigned slot)
{
  unsigned i;

  for (i = 0; i < MODEL_TRACKERS; i++)
    if (i != t && model->tracker[i].live && model->tracker[i].slot == slot &&
        model->tracker[i].object == model->tracker[t].object)
      return false;
  for (i = 0; i < MODEL_SPACES; i++)
    if (shows_object(&model->space[i], model->tracker[t].object) &&
        !can_claim(&model->space[i], t, slot))
      return false;
  return true;
}

static int choose_slot(const struct model *model, unsigned t)
{
  const struct model_tracker *tracker = &model->tracker[t];
  int slot;

  if (tracker->space >= 0) {
    for (slot = 0; slot < MODEL_SLOTS; slot++)
      if (model->space[tracker->space].slot[slot] == 0)
        return slot;
    return -1;
  }
  for (slot = MODEL_SLOTS - 1; slot >= 0; slot--)
    if (free_everywhere(model, t, (unsigned)slot))
      return slot;
  return -1;
}

int model_track(struct model *model, unsigned t)
{
  struct model_tracker *tracker = &model->tracker[t];
  int slot = choose_slot(model, t);
  unsigned i;

  if (slot < 0)
    return -ENOSPC;
  tracker->live = true;
  tracker->slot = (unsigned)slot;
  memset(tracker->bit, NO, sizeof(tracker->bit));
  if (tracker->space >= 0)
    model->space[tracker->space].slot[slot] = (int)t + 1;
  for (i = 0; tracker->space < 0 && i < MODEL_SPACES; i++)
    if (shows_object(&model->space[i], tracker->object))
      model->space[i].slot[slot] = -((int)t + 1);
  return 0;
}

void model_untrack(struct model *model, unsigned t)
{
  unsigned i, k;

  model->tracker[t].live = false;
  for (i = 0; i < MODEL_SPACES; i++)
    for (k = 0; k < MODEL_SLOTS; k++)
      if (model->space[i].slot[k] == (int)t + 1 ||
          model->space[i].slot[k] == -((int)t + 1))
        model->space[i].slot[k] = 0;
}

bool model_claim(struct model *model, unsigned s, int object)
{
  struct model_space *space = &model->space[s];
  unsigned t;

  for (t = 0; t < MODEL_TRACKERS; t++) {
    const struct model_tracker *tracker = &model->tracker[t];

    if (!tracker->live || tracker->space >= 0 || tracker->object != object)
      continue;
    if (!can_claim(space, t, tracker->slot))
      return false;
    space->slot[tracker->slot] = -((int)t + 1);
  }
  return true;
}

void model_unclaim(struct model *model, unsigned s)
{
  struct model_space *space = &model->space[s];
  unsigned k;

  for (k = 0; k < MODEL_SLOTS; k++)
    if (space->slot[k] < 0 &&
        !shows_object(space, model->tracker[-space->slot[k] - 1].object))
      space->slot[k] = 0;
}

/* => whether the page has an entry with the place that it shows, held for writing */
static enum model_bit is_held(const struct model *model, unsigned s, unsigned p)
{
  const struct model_space *space = &model->space[s];
  const struct model_page *page = &space->page[p];

  if (!page->mapped ||
      !model_is_written(model, model_place_of(page), space->host_pages))
    return NO;
  return page->present == NO && model_is_coarse(space, page) ? MAYBE
                                                             : page->present;
}

enum model_bit model_tracked(const struct model *model, unsigned t, unsigned i)
{
  const struct model_tracker *tracker = &model->tracker[t];
  uint8_t bit = tracker->bit[i];
  unsigned s, p, n;

  if (tracker->space >= 0) {
    model_raise(&bit, is_held(model, (unsigned)tracker->space, i));
    return bit;
  }
  if (model->object[tracker->object].writers[i] != 0)
    return YES;
  for (s = 0; s < MODEL_SPACES; s++) /* as part of a larger page */
    for (p = 0; model->space[s].host_pages > 1 && p < MODEL_PAGES; p++) {
      const uint8_t *its = bits_of((struct model *)model, t, s, p, &n);

      if (its != NULL && &tracker->bit[i] >= its && &tracker->bit[i] < its + n)
        model_raise(&bit, is_held(model, s, p));
    }
  return bit;
}

bool model_watches(const struct model *model, unsigned t, unsigned s, unsigned p)
{
  unsigned n;

  return bits_of((struct model *)model, t, s, p, &n) != NULL;
}

bool model_is_watched(const struct model *model, unsigned s, unsigned p)
{
  unsigned t;

  for (t = 0; t < MODEL_TRACKERS; t++)
    if (model_watches(model, t, s, p))
      return true;
  return false;
}
