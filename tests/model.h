/*
 * The reference model: what each page of a few small spaces must hold, allow and
 * remember, as flat arrays.  It knows nothing of windows, frames of the arena,
 * chunks, copy-on-write or logs, and calls nothing of the library.
 *
 * A bit is NO, YES, or MAYBE where the interface leaves it open; whoever looks at
 * it then learns it.
 */
#ifndef VMM_TESTS_MODEL_H
#define VMM_TESTS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/vmm.h>

enum {
  MODEL_SPACES = 4,
  MODEL_PAGES = 40,
  MODEL_OBJECTS = 3,
  MODEL_OBJECT_PAGES = 24, /* of the host */
  MODEL_WORDS = 2,         /* of a page: its first and its last eight bytes */
  MODEL_TRACKERS = 6,
  MODEL_SLOTS = 8,         /* of a space, for trackers */
  MODEL_PINS = 4,
  MODEL_PIN_PAGES = 4,
  MODEL_SNAPSHOTS = 4,
  MODEL_FRAMES = 512,
  MODEL_LANES = 4,         /* threads that share spaces, each with its own pages */
};

enum model_bit { NO, YES, MAYBE };

/* Private bytes of a page, for as long as a page or a pin has them. */
struct model_frame {
  uint16_t holders; /* a page and pins */
  uint16_t pins;
  uint16_t writers; /* pins for writing */
  uint64_t word[MODEL_WORDS];
};

struct model_page {
  bool mapped, is_private;
  bool wired, barred; /* barred: a fork's child does not have it */
  bool exact;         /* mapped so, whatever the space is */
  bool hidden;        /* the supervisor's: no user view shows it */
  uint8_t rights;
  int8_t object;      /* -1: none */
  uint8_t at;         /* the first of its host pages in the object */
  int16_t frame;      /* its private bytes, -1: none (if present is MAYBE: none or
                         a copy of what it shows) */
  uint8_t present, young, dirty; /* enum model_bit */
  bool torn;          /* a write failed: whether it got its bytes is not known */
  uint32_t version;   /* changes with what a snapshot may have noted */
  bool cached;        /* fetched as code, and nothing told since */
  uint64_t code;      /* what was fetched */
};

struct model_space {
  bool live, coarse, checked;
  unsigned host_pages;   /* in a page */
  int slot[MODEL_SLOTS]; /* t + 1: its tracker t; -(t + 1): an object's; 0: free */
  struct model_page page[MODEL_PAGES];
};

struct model_object {
  bool readonly;
  uint16_t writers[MODEL_OBJECT_PAGES]; /* pins for writing */
  uint64_t word[MODEL_OBJECT_PAGES][MODEL_WORDS];
};

struct model_tracker {
  bool live;
  int space, object; /* one of them is -1 */
  unsigned first, count; /* pages, or the object's host pages */
  unsigned kind, slot;
  uint8_t bit[MODEL_PAGES]; /* enum model_bit, by page or host page */
};

/* Where the bytes of a page lie; all -1: zeros. */
struct model_place {
  int frame, object, at;
};

struct model_pin {
  bool live, write;
  unsigned space, first, count;
  struct model_place place[MODEL_PIN_PAGES];
};

struct model_saved {
  struct model_page page;
  uint64_t word[MODEL_WORDS]; /* if it had a frame */
};

struct model_snapshot {
  bool live;
  unsigned space;
  struct model_saved page[MODEL_PAGES];
};

struct model {
  struct model_space space[MODEL_SPACES];
  struct model_object object[MODEL_OBJECTS];
  struct model_tracker tracker[MODEL_TRACKERS];
  struct model_pin pin[MODEL_PINS];
  struct model_snapshot snapshot[MODEL_SNAPSHOTS];
  struct model_frame frame[MODEL_FRAMES];
  uint32_t version;
  bool torn; /* some page is */
};

/* What a mapping is to be. */
struct model_mapping {
  uint8_t rights;
  int8_t object;
  uint8_t at;
  bool is_private, exact, hidden;
};

static inline bool model_is_shared(const struct model_page *page)
{
  return page->mapped && !page->is_private;
}

static inline bool model_allows(const struct model_page *page, unsigned access)
{
  return page->mapped && (page->rights & access);
}

/* => whether its young and dirty bits are upper bounds */
static inline bool model_is_coarse(const struct model_space *space,
                                   const struct model_page *page)
{
  return space->coarse && !page->exact;
}

/* A bit that is set, for certain or perhaps. */
static inline void model_raise(uint8_t *bit, enum model_bit to)
{
  if (*bit != YES && to != NO)
    *bit = (uint8_t)to;
}

/* Makes the pages of a space as unmapped as they begin. */
void model_begin_space(struct model *model, unsigned s);

/* ---- bytes ---- */

struct model_place model_place_of(const struct model_page *page);
bool model_same_place(struct model_place a, struct model_place b);
uint64_t model_word(const struct model *model, unsigned s, unsigned p,
                    unsigned word);
/* Writes the word and nothing else: the page has its frame, or is shared. */
void model_put_word(struct model *model, unsigned s, unsigned p, unsigned word,
                    uint64_t value);
/* => whether a pin for writing holds the place; n host pages of it */
bool model_is_written(const struct model *model, struct model_place place,
                      unsigned n);

/* ---- accesses ---- */

/* An access that is allowed: all that it leaves behind but the bytes. */
void model_touch(struct model *model, unsigned s, unsigned p, unsigned access);
/* An access that failed for want of the host's memory: it may have left some. */
void model_blur(struct model *model, unsigned s, unsigned p, unsigned access);
/* => whether the access can't pass silently: it sets a bit that is not set */
bool model_must_fault(const struct model *model, unsigned s, unsigned p,
                      unsigned access);
/* A private page gets bytes of its own, those that it shows. */
void model_own(struct model *model, unsigned s, unsigned p);

/* ---- mappings ---- */

/* Other bytes are there now, or none: the space's trackers are told. */
void model_note(struct model *model, unsigned s, unsigned p, enum model_bit to);
void model_unmap(struct model *model, unsigned s, unsigned p);
void model_map(struct model *model, unsigned s, unsigned p,
               struct model_mapping mapping);
void model_move(struct model *model, unsigned s, unsigned from, unsigned to);
void model_discard(struct model *model, unsigned s, unsigned p);
void model_wire(struct model *model, unsigned s, unsigned p);
void model_fork(struct model *model, unsigned from, unsigned to);

/* ---- trackers ---- */

/* => 0, or -ENOSPC: what making it gives; it has its slot then */
int model_track(struct model *model, unsigned t);
void model_untrack(struct model *model, unsigned t);
/* => whether the object's trackers have slots in the space, which they keep */
bool model_claim(struct model *model, unsigned s, int object);
/* Gives up the slots of objects that the space does not map. */
void model_unclaim(struct model *model, unsigned s);
/* => what a look at bit i must see */
enum model_bit model_tracked(const struct model *model, unsigned t, unsigned i);
/* => whether the tracker watches the page; whether some tracker does */
bool model_watches(const struct model *model, unsigned t, unsigned s, unsigned p);
bool model_is_watched(const struct model *model, unsigned s, unsigned p);

/* ---- pins and snapshots ---- */

void model_pin(struct model *model, unsigned k, unsigned s, unsigned first,
               unsigned count, bool write);
void model_unpin(struct model *model, unsigned k);
/* What a pin leaves behind that failed at a later page. */
void model_pin_failed(struct model *model, unsigned s, unsigned p, bool write);
void model_take(struct model *model, unsigned k, unsigned s);
/* => whether the page shows then and now the same place of the same thing */
bool model_shows_same(const struct model_page *a, const struct model_page *b);
void model_restore(struct model *model, unsigned k);

#endif
