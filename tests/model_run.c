/*
 * Running the model: operations out of random numbers, and the world around them.
 */
#define _GNU_SOURCE
#include "model_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The pages lie on both sides of a chunk's edge. */
#define EDGE ((vmm_addr_t)32 << 20)
#define OBJECT_NBYTES (MODEL_LANES * MODEL_OBJECT_PAGES * model_unit())

/* ---- operations ---- */

#define NAME(name, weight) #name,
#define WEIGHT(name, weight) weight,
#define DO(name, weight) model_do_##name,

const char *model_op_name(unsigned kind)
{
  static const char *const names[] = { MODEL_OPERATIONS(NAME) };

  return names[kind];
}

/* => random numbers, each from the one before it */
static uint64_t next(uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

static uint8_t choose_kind(unsigned among)
{
  static const uint8_t weights[] = { MODEL_OPERATIONS(WEIGHT) };
  unsigned sum = 0, kind = 0, i;

  for (i = 0; i < MODEL_KINDS; i++)
    sum += weights[i];
  for (among %= sum; among >= weights[kind]; kind++)
    among -= weights[kind];
  return (uint8_t)kind;
}

/* => a page; some are more popular than others, so that operations meet */
static uint8_t choose_page(uint64_t random)
{
  return (uint8_t)(random & 1 ? MODEL_PAGES / 2 - 4 + (random >> 8) % 8
                              : (random >> 8) % MODEL_PAGES);
}

struct model_op model_op_make(uint64_t seed, uint32_t number)
{
  uint64_t state = seed * 0xd1342543de82ef95 + number, a, b, c;
  struct model_op op = { .number = number };

  a = next(&state);
  b = next(&state);
  c = next(&state);
  op.kind = choose_kind((unsigned)(a >> 48));
  op.space = (uint8_t)(a % MODEL_SPACES);
  op.other = (uint8_t)(a >> 8) % MODEL_SPACES;
  op.slot = (uint8_t)(a >> 16);
  op.choice = (uint8_t)(a >> 24);
  op.rights = (uint8_t)(a >> 32);
  op.object = (uint8_t)(a >> 40) % (MODEL_OBJECTS + 2);
  op.page = choose_page(b);
  op.to = choose_page(b >> 16);
  op.at = (uint8_t)(b >> 40);
  op.count = (uint8_t)(1 + (b >> 48) % ((b >> 60) < 12 ? 3 : 12));
  if (c % 40 == 0) {
    op.fail_call = (uint8_t)((c >> 8) % VMM_TEST_CALLS);
    op.fail_nth = (uint8_t)(1 + (c >> 16) % 3);
    op.fail_count = (uint8_t)((c >> 24) % 3 == 0 ? 1 : 255);
  }
  op.stamp = (uint64_t)(number + 1) << 32 | (c >> 32);
  return op;
}

void model_op_print(const struct model_op *op, char *text, size_t size)
{
  int n = snprintf(text, size,
                   "%6u %-11s space %u (%u), page %2u + %u (%2u), slot %u, "
                   "rights %u, object %u at %u, choice %02x",
                   op->number, model_op_name(op->kind), op->space, op->other,
                   op->page, op->count, op->to, op->slot, op->rights, op->object,
                   op->at, op->choice);

  if (op->fail_nth != 0 && n > 0 && (size_t)n < size)
    snprintf(text + n, size - (size_t)n, ", host call %u fails: %u, %u times",
             op->fail_call, op->fail_nth, op->fail_count);
}

/* No decoded code is older than its bytes. */
static void check_code(struct model_world *w)
{
  unsigned s, p;

  for (s = 0; s < MODEL_SPACES; s++)
    for (p = 0; p < MODEL_PAGES; p++) {
      struct model_page *page = &w->model.space[s].page[p];

      if (!page->cached)
        continue;
      agree(w, model_allows(page, VMM_EXEC), "code of page %u.%u stays", s, p);
      agree(w, page->code == model_word(&w->model, s, p, 0),
            "code of page %u.%u is old", s, p);
    }
}

/* Where the host refused to wire again, the pages are not wired any more. */
static void ask_what_is_wired(struct model_world *w)
{
  struct vmm_region_info info = { .struct_size = sizeof(info) };
  unsigned s, p;

  for (s = 0; s < MODEL_SPACES; s++)
    for (p = 0; w->space[s] != NULL && p < MODEL_PAGES; p++) {
      struct model_page *page = &w->model.space[s].page[p];

      if (page->wired &&
          vmm_region_find(w->space[s], model_address(w, s, p), &info) == 0)
        page->wired = (info.flags & VMM_WIRED) != 0;
    }
}

/* A private page that shows its object, or a copy of it: it gets a copy. */
static void mend_page(struct model_world *w, unsigned s, unsigned p)
{
  struct model_page *page = &w->model.space[s].page[p];
  uint64_t value = model_word(&w->model, s, p, 0);

  if (!page->torn)
    return;
  page->torn = false;
  if (!page->mapped || !page->is_private || page->frame >= 0)
    return;
  agree(w, vmm_debug_write(w->space[s], model_address(w, s, p), &value, 8, NULL) == 0,
        "page %u can't be mended", p);
  model_touch(&w->model, s, p, VMM_WRITE);
}

static void mend(struct model_world *w)
{
  unsigned s, p;

  for (s = 0; w->model.torn && s < MODEL_SPACES; s++)
    for (p = 0; w->space[s] != NULL && p < MODEL_PAGES; p++)
      mend_page(w, s, p);
  w->model.torn = false;
}

static void load_by_hart(struct model_world *w, const struct model_op *op,
                         uint8_t page, unsigned s)
{
  struct model_op load = { .kind = MODEL_load, .number = op->number,
                           .slot = op->slot, .page = page, .choice = 2 };

  w->op = &load;
  if (w->space[s] != NULL)
    model_do_load(w, &load, s);
  w->op = op;
}

/* What a hart's window remembers of a page must be gone once its mapping changed: a
 * hart has a look before and after, with nothing between that makes it forget. */
static void look_by_hart(struct model_world *w, const struct model_op *op)
{
  unsigned s = op->space;

  if (op->kind == MODEL_restore)
    s = w->model.snapshot[op->slot % MODEL_SNAPSHOTS].space;
  else if (op->kind != MODEL_map && op->kind != MODEL_unmap &&
           op->kind != MODEL_protect && op->kind != MODEL_move)
    return;
  load_by_hart(w, op, op->page, s);
  load_by_hart(w, op, op->to, s);
}

void model_op_run(struct model_world *w, const struct model_op *op)
{
  static void (*const does[])(struct model_world *, const struct model_op *,
                              unsigned) = { MODEL_OPERATIONS(DO) };

  w->op = op;
  w->report->number = op->number;
  if (w->space[op->space] == NULL && op->kind != MODEL_make)
    return;
  if (w->harts)
    look_by_hart(w, op);
  w->failing = op->fail_nth != 0 && w->alone;
  if (w->failing)
    vmm_test_fail(op->fail_call, op->fail_nth, op->fail_count);
  does[op->kind](w, op, op->space);
  if (w->failing) {
    vmm_test_fail(op->fail_call, 0, 0);
    ask_what_is_wired(w);
  }
  w->shaken |= w->failing;
  w->failing = false;
  mend(w);
  if (w->harts)
    look_by_hart(w, op);
  check_code(w);
}

/* ---- what operations share ---- */

void model_differ(struct model_world *w, const char *format, ...)
{
  char *text = w->report->text;
  size_t size = sizeof(w->report->text);
  va_list args;
  int n;

  n = snprintf(text, size, "%s: ", model_op_name(w->op->kind));
  va_start(args, format);
  vsnprintf(text + n, size - (size_t)n, format, args);
  va_end(args);
  n = (int)strlen(text);
  snprintf(text + n, size - (size_t)n, " (%s)", vmm_error_text());
  _exit(1);
}

uint64_t model_unit(void)
{
  static uint64_t unit;
  struct vmm_space *space;

  if (unit == 0 && vmm_space_create(&space, NULL) == 0) {
    unit = vmm_space_page_size(space);
    vmm_space_destroy(space);
  }
  return unit;
}

uint64_t model_page_size(const struct model_world *w, unsigned s)
{
  return w->model.space[s].host_pages * model_unit();
}

vmm_addr_t model_address(const struct model_world *w, unsigned s, unsigned p)
{
  unsigned half = MODEL_LANES * MODEL_PAGES / 2;

  return EDGE + (w->lane * MODEL_PAGES + p) * model_page_size(w, s) -
         (w->alone ? MODEL_PAGES / 2 : half) * model_page_size(w, s);
}

vmm_addr_t model_word_address(const struct model_world *w, unsigned s, unsigned p,
                              unsigned word)
{
  return model_address(w, s, p) + (word == 0 ? 0 : model_page_size(w, s) - 8);
}

void model_expect_faults(struct model_world *w, uint64_t before, bool must,
                         unsigned most)
{
  uint64_t took = model_faults() - before;

  if (w->failing)
    return;
  agree(w, took >= must, "%u faults", (unsigned)took);
  agree(w, took <= most || !w->alone, "%u faults", (unsigned)took);
}

bool model_all_mapped(const struct model_world *w, unsigned s, unsigned first,
                      unsigned n)
{
  while (n > 0)
    if (!w->model.space[s].page[first + --n].mapped)
      return false;
  return true;
}

/* ---- the world ---- */

/* The third object is a file that is only read. */
static struct vmm_object *make_file(struct model_world *w)
{
  struct vmm_object_options options = { .flags = VMM_OBJECT_READONLY };
  int fd = memfd_create("model", MFD_CLOEXEC);
  struct vmm_object *object;
  unsigned i, k;

  agree(w, fd >= 0 && ftruncate(fd, (off_t)(OBJECT_NBYTES)) == 0, "memfd");
  for (i = 0; i < MODEL_LANES * MODEL_OBJECT_PAGES; i++)
    for (k = 0; k < MODEL_WORDS; k++) {
      uint64_t value = 0xf11e000000000000 + i * 16 + k;

      agree(w, pwrite(fd, &value, 8, (off_t)(i * model_unit() + k * (model_unit() - 8))) == 8, "pwrite");
    }
  agree(w, vmm_object_from_fd(&object, fd, 0, OBJECT_NBYTES, &options) == 0,
        "object");
  close(fd);
  return object;
}

static void make_objects(struct model_world *w)
{
  struct vmm_object_options options = { 0 };
  unsigned o;

  for (o = 0; o < 2; o++) {
    options.flags = o == 1 ? VMM_OBJECT_EXPORT : 0;
    agree(w, vmm_object_create(&w->object[o], OBJECT_NBYTES, &options) == 0,
          "object");
  }
  w->object[2] = make_file(w);
}

static void know_file(struct model_world *w)
{
  struct model_object *file = &w->model.object[2];
  unsigned i, k;

  file->readonly = true;
  for (i = 0; i < MODEL_OBJECT_PAGES; i++)
    for (k = 0; k < MODEL_WORDS; k++)
      file->word[i][k] = 0xf11e000000000000 +
                         (w->lane * MODEL_OBJECT_PAGES + i) * 16 + k;
}

static const struct model_op nothing = { .kind = MODEL_make };

void model_world_begin(struct model_world *w, struct model_report *report)
{
  static const uint8_t kinds[MODEL_SPACES] = { 0, 1, 5, 4 };
  static struct model_op op = { .kind = MODEL_make };
  unsigned s;

  memset(w, 0, sizeof(*w));
  w->report = report;
  w->alone = true;
  w->op = &op;
  make_objects(w);
  know_file(w);
  for (s = 0; s < MODEL_SPACES; s++) {
    op.choice = kinds[s];
    model_begin_space(&w->model, s);
    model_do_make(w, &op, s);
  }
}

void model_world_share(struct model_world *first)
{
  unsigned s;

  for (s = 2; s < MODEL_SPACES; s++) {
    agree(first, vmm_space_destroy(first->space[s]) == 0, "space %u", s);
    first->space[s] = NULL;
    first->model.space[s].live = false;
  }
  first->alone = false;
}

void model_world_join(struct model_world *w, const struct model_world *first,
                      unsigned lane)
{
  unsigned s;

  *w = *first;
  w->lane = lane;
  know_file(w);
  for (s = 0; s < 2; s++)
    model_listen(w, s);
}

void model_world_check(struct model_world *w)
{
  struct model_op op = { .kind = MODEL_walk, .count = MODEL_PAGES };
  unsigned s, k;

  w->op = &op;
  for (s = 0; s < MODEL_SPACES; s++) {
    if (w->space[s] == NULL)
      continue;
    if (w->alone)
      agree(w, vmm_check(w->space[s], 0, 0) == 0, "space %u", s);
    model_do_walk(w, &op, s);
    for (op.page = 0; op.page < MODEL_PAGES; op.page++)
      for (op.choice = 0; op.choice < MODEL_WORDS; op.choice++)
        model_do_look(w, &op, s);
    op.page = 0;
  }
  for (k = 0; k < MODEL_PINS; k++) {
    op.slot = (uint8_t)k;
    model_do_pin_read(w, &op, 0);
  }
  w->op = &nothing;
}

void model_world_end(struct model_world *w)
{
  unsigned i;

  model_world_check(w);
  for (i = 0; i < MODEL_PINS; i++)
    if (w->model.pin[i].live)
      vmm_unpin(w->pin[i]);
  for (i = 0; i < MODEL_SNAPSHOTS; i++)
    if (w->model.snapshot[i].live)
      vmm_snapshot_drop(w->snapshot[i]);
  for (i = 0; i < MODEL_TRACKERS; i++)
    if (w->model.tracker[i].live)
      vmm_tracker_destroy(w->tracker[i]);
  if (w->harts)
    model_harts_end();
  for (i = 0; i < MODEL_SPACES; i++) {
    if (w->space[i] == NULL || (!w->alone && i < 2 && w->lane != 0))
      continue;
    agree(w, vmm_check(w->space[i], 0, 0) == 0, "at the end: space %u", i);
    agree(w, vmm_space_destroy(w->space[i]) == 0, "at the end: space %u", i);
  }
  for (i = 0; w->lane == 0 && i < MODEL_OBJECTS; i++)
    vmm_object_release(w->object[i]);
}
