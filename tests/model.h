/*
 * The reference model of test_random.c: what each page of a few small spaces must
 * hold, allow and remember, as flat arrays.  It knows nothing of windows, frames
 * or chunks.
 */
#ifndef VMM_TESTS_MODEL_H
#define VMM_TESTS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum {
  MODEL_SPACES = 3,
  MODEL_PAGES = 48,
  MODEL_OBJECTS = 2,
  MODEL_OBJECT_PAGES = 24,
  MODEL_WORDS = 2, /* of a page: its first and its last eight bytes */
};

struct model_page {
  bool mapped;
  unsigned rights;
  int object;            /* -1: none */
  unsigned at;           /* page of the object */
  bool is_private;       /* always, without an object */
  bool own;              /* private bytes exist: word[] */
  bool present;          /* it shows some bytes: its own, an object's, zeros */
  bool young, dirty;
  bool tracked[2];       /* VMM_TRACK_WRITE, VMM_TRACK_ACCESS */
  bool cached;           /* fetched as code, and nothing told since */
  uint64_t code;         /* what was fetched */
  uint64_t word[MODEL_WORDS];
};

struct model_object {
  bool tracked[MODEL_OBJECT_PAGES];
  unsigned kind; /* of its tracker */
  uint64_t word[MODEL_OBJECT_PAGES][MODEL_WORDS];
};

struct model {
  struct model_page page[MODEL_SPACES][MODEL_PAGES];
  struct model_object object[MODEL_OBJECTS];
};

static inline bool model_allows(const struct model_page *page, unsigned access)
{
  return page->mapped && (page->rights & access);
}

/* => the word as a read gives it */
static inline uint64_t model_word(const struct model *model,
                                  const struct model_page *page, unsigned word)
{
  if (page->own)
    return page->word[word];
  return page->object < 0 ? 0 : model->object[page->object].word[page->at][word];
}

/* The page gets bytes of its own, those that it shows now. */
static inline void model_own(const struct model *model, struct model_page *page)
{
  unsigned i;

  if (page->own || !page->is_private)
    return;
  for (i = 0; i < MODEL_WORDS; i++)
    page->word[i] = model_word(model, page, i);
  page->own = true;
}

/* An access that the page allows: all that it leaves behind but the bytes. */
static inline void model_touch(struct model *model, struct model_page *page,
                               bool write)
{
  page->present = page->young = true;
  page->tracked[1] = true;
  if (!page->is_private && (write || model->object[page->object].kind == 1))
    model->object[page->object].tracked[page->at] = true;
  if (!write)
    return;
  page->dirty = true;
  page->tracked[0] = true;
  model_own(model, page);
}

static inline void model_store(struct model *model, struct model_page *page,
                               unsigned word, uint64_t value)
{
  model_touch(model, page, true);
  if (page->is_private)
    page->word[word] = value;
  else
    model->object[page->object].word[page->at][word] = value;
}

/* What is mapped there is not any more, or other bytes are: trackers are told. */
static inline void model_unmap(struct model_page *page)
{
  struct model_page none = { 0 };

  none.tracked[0] = none.tracked[1] = true;
  none.cached = page->cached; /* it is the library that must tell */
  none.code = page->code;
  *page = none;
}

static inline void model_map(struct model_page *page, unsigned rights,
                             int object, unsigned at, bool is_private)
{
  page->mapped = true;
  page->rights = rights;
  page->object = object;
  page->at = at;
  page->is_private = is_private || object < 0;
}

static inline void model_move(struct model_page *from, struct model_page *to)
{
  struct model_page moved = *from;

  moved.dirty |= moved.present; /* its place has other bytes now */
  moved.tracked[0] = moved.tracked[1] = true;
  moved.cached = to->cached;
  moved.code = to->code;
  *to = moved;
  model_unmap(from);
}

/* Private bytes are gone, which is a change; young is, with the entry. */
static inline void model_discard(struct model_page *page)
{
  if (!page->is_private)
    return;
  if (page->own)
    page->dirty = page->tracked[0] = page->tracked[1] = true;
  page->own = page->present = page->young = false;
}

#endif
