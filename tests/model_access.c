/*
 * Operations of the model: accesses, by windows and by calls.
 */
#include <errno.h>
#include <string.h>

#include "model_run.h"

/* ---- one aligned access ---- */

/* => whether it succeeded */
static bool access_direct(struct model_world *w, vmm_addr_t va, unsigned s,
                          unsigned access, uint64_t *value)
{
  char *at = vmm_space_base(w->space[s]) + va;
  uint64_t got;

  if (access == VMM_WRITE) {
    vmm_try_store_u64(at, *value, fault);
    return true;
  }
  vmm_try_load_u64(got, at, fault);
  *value = got;
  return true;
fault:
  vmm_fault_last(&w->last);
  return false;
}

/* Whose access it is, in a run with harts. */
static unsigned hart_of(const struct model_op *op)
{
  return op->slot % MODEL_HARTS;
}

/* => whether it is an access in a user's view */
static bool is_user(const struct model_world *w, unsigned s, bool direct)
{
  return direct && w->harts && !w->model.space[s].checked &&
         model_hart_has_views(hart_of(w->op)) && (w->op->slot / MODEL_HARTS & 1);
}

/* => whether the access, by a window or by a call, is to succeed */
static bool is_allowed(const struct model_world *w, unsigned s, unsigned p,
                       unsigned access, bool direct)
{
  const struct model_page *page = &w->model.space[s].page[p];

  return model_allows(page, access) && !(page->hidden && is_user(w, s, direct));
}

static bool access_by_hart(struct model_world *w, vmm_addr_t va, unsigned s,
                           unsigned access, uint64_t *value)
{
  struct model_access job = { .space = w->space[s], .va = va, .access = access,
                              .nofault = w->nofault, .value = *value,
                              .user = is_user(w, s, true) };

  model_hart_access(hart_of(w->op), &job);
  agree(w, job.error == 0 || model_refused(w, job.error), "hart: %d", job.error);
  w->last = job.fault;
  if (job.error != 0)
    w->last.reason = VMM_FAULT_NO_MEMORY;
  *value = job.value;
  return job.error == 0 && job.done;
}

static bool access_once(struct model_world *w, vmm_addr_t va, unsigned s,
                        unsigned access, bool direct, uint64_t *value)
{
  int error;
  bool done;

  direct = direct && !w->model.space[s].checked;
  if (direct && w->harts)
    return access_by_hart(w, va, s, access, value);
  if (w->nofault)
    vmm_nofault_begin();
  if (direct) {
    done = access_direct(w, va, s, access, value);
  } else {
    error = access == VMM_WRITE ? vmm_store(w->space[s], va, value, 8)
                                : vmm_load(w->space[s], va, value, 8);
    done = error == 0;
    vmm_fault_last(&w->last);
  }
  if (w->nofault)
    vmm_nofault_end();
  return done;
}

/* => whether the host may let it be read though it is only to be run: native code
 * in a window */
static bool may_be_read(const struct model_page *page)
{
  return page->wired && page->rights == VMM_EXEC;
}

/* An access that the model allows was denied: only the host can be why. */
static void expect_refusal(struct model_world *w, unsigned s, unsigned p,
                           unsigned access)
{
  struct vmm_fault fault = w->last;

  agree(w, w->failing, "page %u: denied", p);
  agree(w, fault.reason == VMM_FAULT_NO_MEMORY || fault.reason == VMM_FAULT_OBJECT,
        "page %u: denied for %s", p, vmm_fault_reason_name(fault.reason));
  model_blur(&w->model, s, p, access);
}

static void expect_denial(struct model_world *w, unsigned s, unsigned p,
                          unsigned access)
{
  const struct model_page *page = &w->model.space[s].page[p];
  struct vmm_fault fault = w->last;
  unsigned reason = !page->mapped                 ? VMM_FAULT_NO_REGION
                    : model_allows(page, access) ? VMM_FAULT_SUPERVISOR
                                                  : VMM_FAULT_RIGHTS;

  if (w->failing)
    return;
  agree(w, fault.reason == reason, "page %u: denied for %s", p, vmm_fault_reason_name(fault.reason));
  agree(w, fault.va - model_address(w, s, p) < model_page_size(w, s),
        "page %u: a fault at %llx", p, (unsigned long long)fault.va);
}

static void access_word(struct model_world *w, const struct model_op *op,
                        unsigned s, unsigned access)
{
  struct model *model = &w->model;
  struct model_page *page = &model->space[s].page[op->page];
  unsigned word = op->choice & 1;
  vmm_addr_t va = model_word_address(w, s, op->page, word);
  bool direct = op->choice & 6, again = op->choice & 8, must, done;
  uint64_t value = op->stamp, before = model_faults();

  if (direct && may_be_read(page))
    return;
  must = model_must_fault(model, s, op->page, access);
  done = access_once(w, va, s, access, direct, &value);
  if (!is_allowed(w, s, op->page, access, direct)) {
    agree(w, !done, "page %u: not denied", op->page);
    expect_denial(w, s, op->page, access);
    model_expect_faults(w, before, true, 1);
    return;
  }
  if (!done) {
    expect_refusal(w, s, op->page, access);
    return;
  }
  if (page->wired && !w->shaken && !w->harts && w->alone && direct &&
      (access == VMM_WRITE || !(page->rights & VMM_EXEC)))
    agree(w, model_faults() == before, "page %u is wired, and faults", op->page);
  model_expect_faults(w, before, must, 1);
  model_touch(model, s, op->page, access);
  if (access == VMM_WRITE)
    model_put_word(model, s, op->page, word, value);
  else
    agree(w, value == model_word(model, s, op->page, word), "page %u: %llx",
          op->page, (unsigned long long)value);
  before = model_faults();
  if (again && !w->failing && w->alone) {
    agree(w, access_once(w, va, s, access, direct, &value), "then denied");
    agree(w, model_faults() == before, "page %u: the same faults twice",
          op->page);
  }
}

void model_do_load(struct model_world *w, const struct model_op *op, unsigned s)
{
  access_word(w, op, s, VMM_READ);
}

void model_do_store(struct model_world *w, const struct model_op *op, unsigned s)
{
  access_word(w, op, s, VMM_WRITE);
}

/* ---- accesses in two pages ---- */

/* The last four bytes of a page and the first four of the next, by one access. */
void model_do_straddle(struct model_world *w, const struct model_op *op,
                       unsigned s)
{
  unsigned access = op->choice & 1 ? VMM_READ : VMM_WRITE, p = op->page, i;
  struct model_page *page = w->model.space[s].page;
  vmm_addr_t va = model_word_address(w, s, p, 1) + 4;
  uint64_t value = op->stamp, low, high;
  bool direct = op->choice & 6, allowed, done;

  if (p + 1 >= MODEL_PAGES || may_be_read(&page[p]) || may_be_read(&page[p + 1]))
    return;
  allowed = is_allowed(w, s, p, access, direct) &&
            is_allowed(w, s, p + 1, access, direct);
  done = access_once(w, va, s, access, direct, &value);
  if (!done) {
    agree(w, !allowed || w->failing, "a straddling access is denied");
    for (i = p; i < p + 2; i++)
      if (is_allowed(w, s, i, access, direct))
        model_blur(&w->model, s, i, access);
    return;
  }
  agree(w, allowed, "a straddling access is not denied");
  model_touch(&w->model, s, p, access);
  model_touch(&w->model, s, p + 1, access);
  low = model_word(&w->model, s, p, 1);
  if (access == VMM_READ) {
    high = model_word(&w->model, s, p + 1, 0);
    agree(w, value == (low >> 32 | high << 32), "straddling: %llx",
          (unsigned long long)value);
    return;
  }
  model_put_word(&w->model, s, p, 1, (low & UINT32_MAX) | value << 32);
  high = model_word(&w->model, s, p + 1, 0); /* which may be the same page */
  model_put_word(&w->model, s, p + 1, 0, (high & ~(uint64_t)UINT32_MAX) | value >> 32);
}

/* ---- copies ---- */

/* A copy ended with left of n words not done: pages are done in order.
 * => how many words were done */
static unsigned expect_copy(struct model_world *w, unsigned s, unsigned first,
                            unsigned n, unsigned access, int error, size_t left)
{
  unsigned want = 0, done = n - (unsigned)(left / 8);

  agree(w, left % 8 == 0 && left <= 8 * n, "%zu bytes left", left);
  while (want < n && model_allows(&w->model.space[s].page[first + want], access))
    want++;
  if (done < want && model_refused(w, error)) {
    model_blur(&w->model, s, first + done, access);
    return done;
  }
  agree(w, done == want, "%zu bytes left, not %u", left, 8 * (n - want));
  agree(w, error == (want == n ? 0 : -EFAULT) || model_refused(w, error),
        "result %d", error);
  return done;
}

static void copy_words(struct model_world *w, const struct model_op *op,
                       unsigned s, unsigned access)
{
  uint64_t words[2] = { op->stamp, ~op->stamp };
  vmm_addr_t va = model_word_address(w, s, op->page, 1);
  unsigned done, i, n = op->page + 1 < MODEL_PAGES ? 2 : 1;
  size_t left = 77;
  int error;

  error = access == VMM_READ
              ? vmm_copyin(w->space[s], words, va, 8 * n, &left)
              : vmm_copyout(w->space[s], va, words, 8 * n, &left);
  done = expect_copy(w, s, op->page, n, access, error, left);
  for (i = 0; i < done; i++) {
    model_touch(&w->model, s, op->page + i, access);
    if (access == VMM_WRITE)
      model_put_word(&w->model, s, op->page + i, 1 - i, words[i]);
  }
  for (i = 0; access == VMM_READ && i < done; i++)
    agree(w, words[i] == model_word(&w->model, s, op->page + i, 1 - i),
          "word %u is %llx", i, (unsigned long long)words[i]);
}

void model_do_copyin(struct model_world *w, const struct model_op *op,
                     unsigned s)
{
  copy_words(w, op, s, VMM_READ);
}

void model_do_copyout(struct model_world *w, const struct model_op *op,
                      unsigned s)
{
  copy_words(w, op, s, VMM_WRITE);
}

/* All bytes of a page: of an object there are words that smaller pages show. */
static void fill_page(struct model_world *w, unsigned s, unsigned p, uint64_t value)
{
  const struct model_page *page = &w->model.space[s].page[p];
  unsigned n = w->model.space[s].host_pages, i, k;

  model_touch(&w->model, s, p, VMM_WRITE);
  for (k = 0; k < MODEL_WORDS; k++)
    model_put_word(&w->model, s, p, k, value);
  for (i = 0; model_is_shared(page) && i < n; i++)
    for (k = 0; k < MODEL_WORDS; k++)
      w->model.object[page->object].word[page->at + i][k] = value;
}

/* Whole pages. */
void model_do_fill(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned n = model_count(op), done = 0, i;
  uint64_t page = model_page_size(w, s);
  uint64_t value = 0x0101010101010101u * (op->stamp & 0xff);
  size_t left = 0;
  int error = vmm_fill(w->space[s], model_address(w, s, op->page),
                       (int)(op->stamp & 0xff), n * page, &left);

  agree(w, left % page == 0 && left <= n * page, "%zu bytes left", left);
  done = expect_copy(w, s, op->page, n, VMM_WRITE, error, left / page * 8);
  for (i = 0; i < done; i++)
    fill_page(w, s, op->page + i, value);
}

/* A string in the last word of a page, and perhaps the first of the next. */
void model_do_string(struct model_world *w, const struct model_op *op, unsigned s)
{
  char text[16], want[16];
  uint64_t words[2] = { 0, 0 };
  unsigned p = op->page, n = 0, i;
  size_t length = 77, known;
  int error;

  if (p + 2 > MODEL_PAGES)
    return;
  error = vmm_copyin_string(w->space[s], text, model_word_address(w, s, p, 1),
                            sizeof(text), &length);
  for (i = 0; i < 2 && memchr(words, 0, 8 * i) == NULL; i++) {
    if (!model_allows(&w->model.space[s].page[p + i], VMM_READ))
      break;
    if (model_refused(w, error)) {
      model_blur(&w->model, s, p + i, VMM_READ);
      continue;
    }
    model_touch(&w->model, s, p + i, VMM_READ);
    words[i] = model_word(&w->model, s, p + i, 1 - i);
    n++;
  }
  if (model_refused(w, error))
    return;
  memcpy(want, words, sizeof(want));
  known = strnlen(want, 8 * n);
  agree(w, error == (known < 8 * n ? 0 : n < 2 ? -EFAULT : -ENAMETOOLONG),
        "result %d", error);
  agree(w, error != 0 || (length == known && memcmp(text, want, known + 1) == 0),
        "a string of %zu, not %zu", length, known);
}

/* ---- the rest ---- */

void model_do_cas(struct model_world *w, const struct model_op *op, unsigned s)
{
  struct model_page *page = &w->model.space[s].page[op->page];
  unsigned word = op->choice & 1;
  uint64_t was = model_word(&w->model, s, op->page, word);
  uint64_t expected = op->choice & 2 ? was : op->stamp + 1, wanted = expected;
  uint64_t value = op->stamp;
  int result = vmm_cas(w->space[s], model_word_address(w, s, op->page, word),
                       &expected, &value, 8);

  if (!model_allows(page, VMM_READ) || !model_allows(page, VMM_WRITE)) {
    agree(w, result == -EFAULT || model_refused(w, result), "result %d", result);
    return;
  }
  if (model_refused(w, result)) {
    model_blur(&w->model, s, op->page, VMM_WRITE);
    return;
  }
  agree(w, result == (was != wanted), "result %d", result);
  agree(w, result == 0 || expected == was, "it was %llx",
        (unsigned long long)expected);
  model_touch(&w->model, s, op->page, VMM_WRITE);
  if (result == 0)
    model_put_word(&w->model, s, op->page, word, value);
}

void model_do_fixup(struct model_world *w, const struct model_op *op, unsigned s)
{
  unsigned access = 1u << op->choice % 3;
  bool allowed = model_allows(&w->model.space[s].page[op->page], access);
  bool must = model_must_fault(&w->model, s, op->page, access);
  uint64_t before = model_faults();
  int error = vmm_fixup(w->space[s], model_address(w, s, op->page), access);

  if (model_refused(w, error)) {
    if (allowed)
      model_blur(&w->model, s, op->page, access);
    return;
  }
  agree(w, error == (allowed ? 0 : -EFAULT), "result %d", error);
  model_expect_faults(w, before, must || !allowed, 1);
  if (error == 0)
    model_touch(&w->model, s, op->page, access);
}

/* With faults disabled an access succeeds only if it leaves nothing behind; after a
 * fixup it does, unless the host takes it away. */
void model_do_nofault(struct model_world *w, const struct model_op *op,
                      unsigned s)
{
  unsigned access = op->choice & 1 ? VMM_READ : VMM_WRITE;
  struct model_page *page = &w->model.space[s].page[op->page];
  bool direct = op->choice & 6;
  bool allowed = is_allowed(w, s, op->page, access, direct);
  bool must = model_must_fault(&w->model, s, op->page, access);
  vmm_addr_t va = model_address(w, s, op->page);
  uint64_t value = op->stamp;
  bool done;

  if (may_be_read(page))
    return;
  w->nofault = true;
  done = access_once(w, va, s, access, direct, &value);
  w->nofault = false;
  agree(w, !done || (allowed && !must), "page %u: not disabled", op->page);
  if (!done && allowed) {
    int error = vmm_fixup(w->space[s], va, access);

    agree(w, error == 0 || model_refused(w, error), "fixup: %d", error);
    if (error == 0)
      model_touch(&w->model, s, op->page, access);
    else
      model_blur(&w->model, s, op->page, access);
    w->nofault = true;
    done = access_once(w, va, s, access, direct, &value);
    w->nofault = false;
    agree(w, done || w->failing || !w->alone, "page %u: denied after a fixup",
          op->page);
  }
  if (!done)
    return;
  model_touch(&w->model, s, op->page, access);
  if (access == VMM_WRITE)
    model_put_word(&w->model, s, op->page, 0, value);
  else
    agree(w, value == model_word(&w->model, s, op->page, 0), "page %u: %llx",
          op->page, (unsigned long long)value);
}

void model_do_debug_write(struct model_world *w, const struct model_op *op,
                          unsigned s)
{
  struct model_page *page = &w->model.space[s].page[op->page];
  bool allowed = page->mapped &&
                 (page->is_private || (page->rights & VMM_WRITE));
  uint64_t value = op->stamp;
  size_t left = 77;
  int error = vmm_debug_write(w->space[s], model_address(w, s, op->page), &value,
                              8, &left);

  if (model_refused(w, error)) {
    if (allowed)
      model_blur(&w->model, s, op->page, VMM_WRITE);
    return;
  }
  agree(w, error == (allowed ? 0 : -EFAULT), "result %d", error);
  agree(w, left == (allowed ? 0 : 8), "%zu bytes left", left);
  if (!allowed)
    return;
  model_touch(&w->model, s, op->page, VMM_WRITE);
  model_put_word(&w->model, s, op->page, 0, value);
}

/* => whether some mapping of the page must stay writable without a fault */
static bool stays_writable(const struct model *model, const struct model_page *page)
{
  unsigned s, p;

  if (page->wired && (page->rights & VMM_WRITE))
    return true;
  for (s = 0; page->object >= 0 && s < MODEL_SPACES; s++)
    for (p = 0; p < MODEL_PAGES; p++) {
      const struct model_page *other = &model->space[s].page[p];

      if (other->mapped && other->wired && (other->rights & VMM_WRITE) &&
          other->object == page->object && other->at == page->at)
        return true;
    }
  return false;
}

void model_do_fetch(struct model_world *w, const struct model_op *op, unsigned s)
{
  struct model_space *space = &w->model.space[s];
  struct model_page *page = &space->page[op->page];
  bool allowed = model_allows(page, VMM_EXEC);
  uint64_t code = 0, was = model_word(&w->model, s, op->page, 0);
  int result = vmm_fetch(w->space[s], model_address(w, s, op->page), &code, 8);

  if (model_refused(w, result)) {
    if (allowed)
      model_blur(&w->model, s, op->page, VMM_EXEC);
    return;
  }
  agree(w, allowed ? result >= 0 : result == -EFAULT, "result %d", result);
  if (result < 0)
    return;
  agree(w, code == was, "code %llx", (unsigned long long)code);
  if (model_is_written(&w->model, model_place_of(page), space->host_pages) &&
      page->present != MAYBE)
    agree(w, result == 1, "code of a page that is pinned for writing is kept");
  if (w->alone && !w->shaken && page->frame >= 0 && page->wired &&
      stays_writable(&w->model, page))
    agree(w, result == 1, "code of a page that is wired is kept");
  model_touch(&w->model, s, op->page, VMM_EXEC);
  if (result != 0)
    return;
  page->cached = true;
  page->code = code;
}
