/*
 * Random operations on spaces with mirrors, against the model of model.h: the
 * bytes, whether each access succeeds, young, dirty, trackers' bits, and that no
 * decoded code outlives what it was decoded from.
 *
 * VMM_SEED and VMM_OPS of the environment choose the run, VMM_TRACE=1 shows it.
 */
#include "model.h"
#include "probe.h"

/* The pages lie on both sides of a chunk's edge. */
#define EDGE ((vmm_addr_t)2 << 20)

static struct {
  struct model model;
  struct vmm_space *space[MODEL_SPACES];
  vmm_addr_t page[MODEL_SPACES];                 /* bytes of one */
  struct vmm_tracker *tracker[MODEL_SPACES][2];  /* by kind */
  struct vmm_notifier notifier[MODEL_SPACES];
  struct vmm_object *object[MODEL_OBJECTS];
  struct vmm_tracker *object_tracker[MODEL_OBJECTS];
  uint64_t random, seed, step, stamp;
  bool trace, coarse, checked;
  char doing[128];
} run;

#define DOING(...) snprintf(run.doing, sizeof(run.doing), __VA_ARGS__)

#define agree(condition, ...)                                                  \
  do {                                                                         \
    if (!(condition)) {                                                        \
      char agree_text[160];                                                    \
      snprintf(agree_text, sizeof(agree_text), __VA_ARGS__);                   \
      ck_abort_msg("VMM_SEED=%" PRIu64 " step %" PRIu64 ", %s: %s (%s)",       \
                   run.seed, run.step, run.doing, agree_text,                  \
                   vmm_error_text());                                          \
    }                                                                          \
  } while (0)

/* => a number below n */
static unsigned below(unsigned n)
{
  return (unsigned)(probe_random(&run.random) >> 33) % n;
}

static struct model_page *model_page(unsigned s, unsigned p)
{
  return &run.model.page[s][p];
}

static vmm_addr_t address(unsigned s, unsigned p)
{
  return EDGE - MODEL_PAGES / 2 * run.page[s] + p * run.page[s];
}

static vmm_addr_t word_address(unsigned s, unsigned p, unsigned word)
{
  return address(s, p) + (word == 0 ? 0 : run.page[s] - 8);
}

/* A random range of pages. */
static void choose_range(unsigned *first, unsigned *count)
{
  *first = below(MODEL_PAGES);
  *count = 1 + below(MODEL_PAGES - *first < 12 ? MODEL_PAGES - *first : 12);
}

static bool all_mapped(unsigned s, unsigned first, unsigned count)
{
  while (count > 0)
    if (!model_page(s, first + --count)->mapped)
      return false;
  return true;
}

/* The library says that code of the range is no longer true. */
static void told(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes)
{
  unsigned s = (unsigned)(self - run.notifier), p;

  for (p = 0; p < MODEL_PAGES; p++)
    if (address(s, p) + run.page[s] > va && address(s, p) < va + nbytes)
      model_page(s, p)->cached = false;
}

static void check_range(unsigned s, unsigned first, unsigned count)
{
  agree(vmm_check(run.space[s], address(s, first), count * run.page[s]) == 0,
        "vmm_check");
}

/* ---- accesses ---- */

static void load(unsigned s, unsigned p)
{
  struct model_page *page = model_page(s, p);
  unsigned word = below(MODEL_WORDS);
  vmm_addr_t va = word_address(s, p, word);
  bool direct = !run.checked && below(4) != 0, done = false;
  uint64_t value = 0;

  DOING("%s page %u of space %u", direct ? "load" : "vmm_load", p, s);
  if (direct) {
    vmm_try_load_u64(value, vmm_space_base(run.space[s]) + va, fault);
    done = true;
  fault:;
  } else {
    done = vmm_load(run.space[s], va, &value, 8) == 0;
  }
  agree(done == model_allows(page, VMM_READ), "success %d", done);
  if (!done)
    return;
  agree(value == model_word(&run.model, page, word), "value %" PRIx64, value);
  model_touch(&run.model, page, false);
}

static void store(unsigned s, unsigned p)
{
  struct model_page *page = model_page(s, p);
  unsigned word = below(MODEL_WORDS);
  vmm_addr_t va = word_address(s, p, word);
  bool direct = !run.checked && below(4) != 0, done = false;
  uint64_t value = ++run.stamp;

  DOING("%s page %u of space %u", direct ? "store" : "vmm_store", p, s);
  if (direct) {
    vmm_try_store_u64(vmm_space_base(run.space[s]) + va, value, fault);
    done = true;
  fault:;
  } else {
    done = vmm_store(run.space[s], va, &value, 8) == 0;
  }
  agree(done == model_allows(page, VMM_WRITE), "success %d", done);
  if (done)
    model_store(&run.model, page, word, value);
}

static void swap(unsigned s, unsigned p)
{
  struct model_page *page = model_page(s, p);
  uint64_t expected = below(2) ? model_word(&run.model, page, 0) : 12345;
  uint64_t was = page->mapped ? model_word(&run.model, page, 0) : 0;
  uint64_t value = ++run.stamp, wanted = expected;
  int error;

  DOING("vmm_cas page %u of space %u", p, s);
  error = vmm_cas(run.space[s], address(s, p), &expected, &value, 8);
  agree((error >= 0) == model_allows(page, VMM_WRITE), "result %d", error);
  if (error < 0)
    return;
  agree(error == (was != wanted), "swapped: %d", error);
  agree(error == 0 || expected == was, "was %" PRIx64, expected);
  model_store(&run.model, page, 0, error == 0 ? value : was);
}

/* Copies the last word of a page and the first of the next. */
static void copy(unsigned s, unsigned p)
{
  unsigned access = below(2) ? VMM_READ : VMM_WRITE, i;
  uint64_t words[2] = { run.stamp + 1, run.stamp + 2 };
  size_t left, want = 16;
  int error;

  run.stamp += 2;
  if (p + 1 == MODEL_PAGES)
    return;
  DOING("copy (%u) at page %u of space %u", access, p, s);
  if (access == VMM_READ)
    error = vmm_copyin(run.space[s], words, word_address(s, p, 1), 16, &left);
  else
    error = vmm_copyout(run.space[s], word_address(s, p, 1), words, 16, &left);
  for (i = 0; i < 2; i++, want -= 8) {
    struct model_page *page = model_page(s, p + i);

    if (!model_allows(page, access))
      break;
    if (access == VMM_WRITE)
      model_store(&run.model, page, 1 - i, words[i]);
    else
      agree(words[i] == model_word(&run.model, page, 1 - i), "word %u", i);
    model_touch(&run.model, page, access == VMM_WRITE);
  }
  agree(left == want, "left %zu, not %zu", left, want);
  agree(error == (want == 0 ? 0 : -EFAULT), "result %d", error);
}

static void fixup(unsigned s, unsigned p)
{
  struct model_page *page = model_page(s, p);
  unsigned access = 1u << below(3);
  int error;

  DOING("fixup (%u) of page %u of space %u", access, p, s);
  error = vmm_fixup(run.space[s], address(s, p), access);
  agree(error == (model_allows(page, access) ? 0 : -EFAULT), "result %d", error);
  if (error == 0)
    model_touch(&run.model, page, access == VMM_WRITE);
}

static void fetch_code(unsigned s, unsigned p)
{
  struct model_page *page = model_page(s, p);
  uint64_t code = 0;
  int error;

  DOING("fetch of page %u of space %u", p, s);
  error = vmm_fetch(run.space[s], address(s, p), &code, 8);
  agree(error == (model_allows(page, VMM_EXEC) ? 0 : -EFAULT), "result %d",
        error);
  if (error != 0)
    return;
  agree(code == model_word(&run.model, page, 0), "code %" PRIx64, code);
  model_touch(&run.model, page, false);
  page->cached = true;
  page->code = code;
}

/* Pins a page, writes it by the host's pointer, unpins. */
static void pin(unsigned s, unsigned p)
{
  struct model_page *page = model_page(s, p);
  unsigned access = below(2) ? VMM_READ : VMM_WRITE;
  struct vmm_iovec iov;
  struct vmm_pin *held;
  size_t niov = 1;
  int error;

  DOING("pin (%u) of page %u of space %u", access, p, s);
  error = vmm_pin(run.space[s], address(s, p), 8, access, &iov, &niov, &held);
  agree(error == (model_allows(page, access) ? 0 : -EFAULT), "result %d", error);
  if (error != 0)
    return;
  agree(*(uint64_t *)iov.base == model_word(&run.model, page, 0), "bytes");
  model_touch(&run.model, page, access == VMM_WRITE);
  model_own(&run.model, page); /* it stays the guest's page while it is held */
  if (access == VMM_WRITE) {
    *(uint64_t *)iov.base = ++run.stamp;
    model_store(&run.model, page, 0, run.stamp);
  }
  vmm_unpin(held);
}

/* ---- changes of what is mapped ---- */

static void map(unsigned s)
{
  unsigned rights = (unsigned[]){ 0, 1, 3, 3, 5, 7, 7, 4 }[below(8)];
  unsigned first, count, at = 0, i;
  bool is_private = below(3) == 0, replace = below(4) != 0, taken = false;
  int object = s < 2 ? (int)below(MODEL_OBJECTS + 1) - 1 : -1, error;
  uint32_t flags = (is_private ? VMM_PRIVATE : 0) | (replace ? VMM_REPLACE : 0);

  choose_range(&first, &count);
  if (object >= 0)
    at = below(MODEL_OBJECT_PAGES - count + 1);
  for (i = first; i < first + count; i++)
    taken |= model_page(s, i)->mapped;
  DOING("map %u pages at %u of space %u, object %d, rights %u, flags %x", count,
        first, s, object, rights, flags);
  error = probe_map(run.space[s], address(s, first), count * run.page[s],
                    object >= 0 ? run.object[object] : NULL, at * run.page[s],
                    rights | flags);
  agree(error == (taken && !replace ? -EEXIST : 0), "result %d", error);
  for (i = 0; error == 0 && i < count; i++) {
    if (replace)
      model_unmap(model_page(s, first + i));
    model_map(model_page(s, first + i), rights, object, at + i, is_private);
  }
  check_range(s, first, count);
}

static void unmap(unsigned s)
{
  unsigned first, count, i;

  choose_range(&first, &count);
  DOING("unmap %u pages at %u of space %u", count, first, s);
  agree(vmm_unmap(run.space[s], address(s, first), count * run.page[s]) == 0,
        "failed");
  for (i = first; i < first + count; i++)
    model_unmap(model_page(s, i));
  check_range(s, first, count);
}

static void protect(unsigned s)
{
  unsigned rights = below(8), first, count, i;
  int error, want;

  choose_range(&first, &count);
  DOING("protect %u pages at %u of space %u: %u", count, first, s, rights);
  want = (rights & 3) == VMM_WRITE && !run.checked ? -ENOTSUP
         : all_mapped(s, first, count) ? 0 : -ENOMEM;
  error = vmm_protect(run.space[s], address(s, first), count * run.page[s],
                      rights);
  agree(error == want, "result %d, not %d", error, want);
  for (i = first; error == 0 && i < first + count; i++)
    model_page(s, i)->rights = rights;
  check_range(s, first, count);
}

static void discard(unsigned s)
{
  unsigned first, count, i;
  int error;

  choose_range(&first, &count);
  DOING("discard %u pages at %u of space %u", count, first, s);
  error = vmm_discard(run.space[s], address(s, first), count * run.page[s]);
  agree(error == (all_mapped(s, first, count) ? 0 : -ENOMEM), "result %d",
        error);
  for (i = first; error == 0 && i < first + count; i++)
    model_discard(model_page(s, i));
  check_range(s, first, count);
}

static void move(unsigned s)
{
  unsigned from, count, to, i;
  bool replace = below(2), taken = false;
  int error, want = 0;
  vmm_addr_t va;

  choose_range(&from, &count);
  to = below(MODEL_PAGES - count + 1);
  va = address(s, to);
  DOING("move %u pages from %u to %u of space %u%s", count, from, to, s,
        replace ? ", replace" : "");
  for (i = to; i < to + count; i++)
    taken |= model_page(s, i)->mapped;
  error = vmm_move(run.space[s], address(s, from), count * run.page[s], &va,
                   replace ? VMM_REPLACE : 0);
  if (from < to + count && to < from + count)
    want = -EINVAL;
  else if (!all_mapped(s, from, count))
    want = -ENOMEM;
  else if (taken && !replace)
    want = -EEXIST;
  agree(error == want || (error == -EEXIST && taken && !replace && want),
        "result %d, not %d", error, want);
  for (i = 0; error == 0 && i < count; i++)
    model_move(model_page(s, from + i), model_page(s, to + i));
  check_range(s, from, count);
  check_range(s, to, count);
}

/* ---- looks ---- */

/* In a coarse range the bits are upper bounds. */
static void compare_bit(unsigned p, const char *name, bool is, bool must)
{
  agree(is == must || (run.coarse && is), "%s of page %u is %d", name, p, is);
}

static void look_at_bits(unsigned s)
{
  uint64_t clear = (below(2) ? YOUNG : 0) | (below(2) ? DIRTY : 0);
  uint64_t pte[MODEL_PAGES];
  unsigned first, count, i;

  choose_range(&first, &count);
  DOING("bits of %u pages at %u of space %u, clear %" PRIx64, count, first, s,
        clear);
  agree(vmm_pages(run.space[s], address(s, first), count * run.page[s], clear,
                  pte) == 0, "failed");
  for (i = 0; i < count; i++) {
    struct model_page *page = model_page(s, first + i);

    compare_bit(first + i, "young", (pte[i] & YOUNG) != 0, page->young);
    compare_bit(first + i, "dirty", (pte[i] & DIRTY) != 0, page->dirty);
    page->young &= !(clear & YOUNG);
    page->dirty &= !(clear & DIRTY);
  }
}

/* Compares runs with bits[0 .. count), which start at start; clears. */
static void compare_runs(struct vmm_tracker *tracker, vmm_addr_t start,
                         uint64_t page, unsigned count, bool *bits[])
{
  struct vmm_range runs[3];
  size_t nruns = 1 + below(3), used = 0;
  bool clear = below(2), was[MODEL_PAGES];
  vmm_addr_t next;
  unsigned i;

  agree(vmm_tracker_fetch(tracker, start, count * page, clear, runs, &nruns,
                          &next) == 0, "fetch failed");
  agree(next >= start && next <= start + count * page, "next %" PRIx64, next);
  for (i = 0; i < count; i++)
    was[i] = *bits[i];
  for (i = 0; i < (next - start) / page; i++) {
    vmm_addr_t at = start + i * page;
    bool set;

    while (used < nruns && runs[used].start + runs[used].nbytes <= at)
      used++;
    set = used < nruns && runs[used].start <= at;
    agree(set == was[i], "unit %u is %d", i, set);
    if (clear)
      *bits[i] = false;
  }
  agree(i == count || was[i], "it stopped at a clear page");
}

static void look_at_tracker(unsigned s)
{
  unsigned first, count, i, kind = below(2);
  bool *bits[MODEL_PAGES];

  if (run.coarse)
    return;
  choose_range(&first, &count);
  DOING("fetch tracker %u, %u pages at %u of space %u", kind, count, first, s);
  for (i = 0; i < count; i++)
    bits[i] = &model_page(s, first + i)->tracked[kind];
  compare_runs(run.tracker[s][kind], address(s, first), run.page[s], count,
               bits);
}

static void look_at_object(void)
{
  unsigned o = below(MODEL_OBJECTS), first = below(MODEL_OBJECT_PAGES), i;
  unsigned count = 1 + below(MODEL_OBJECT_PAGES - first);
  bool *bits[MODEL_OBJECT_PAGES];

  if (run.coarse)
    return;
  DOING("fetch object %u, %u pages at %u", o, count, first);
  for (i = 0; i < count; i++)
    bits[i] = &run.model.object[o].tracked[first + i];
  compare_runs(run.object_tracker[o], first * run.page[0], run.page[0], count,
               bits);
}

/* No decoded code is older than its bytes. */
static void check_code(void)
{
  unsigned s, p;

  for (s = 0; s < MODEL_SPACES; s++)
    for (p = 0; p < MODEL_PAGES; p++) {
      struct model_page *page = model_page(s, p);

      if (!page->cached)
        continue;
      agree(model_allows(page, VMM_EXEC), "code of page %u.%u stays", s, p);
      agree(page->code == model_word(&run.model, page, 0),
            "code of page %u.%u is old", s, p);
    }
}

/* ---- the run ---- */

static void random_step(void)
{
  unsigned s = below(MODEL_SPACES), p = below(MODEL_PAGES);
  unsigned choice = below(100);

  if (choice < 26)
    load(s, p);
  else if (choice < 52)
    store(s, p);
  else if (choice < 56)
    copy(s, p);
  else if (choice < 58)
    swap(s, p);
  else if (choice < 61)
    fixup(s, p);
  else if (choice < 66)
    fetch_code(s, p);
  else if (choice < 69)
    pin(s, p);
  else if (choice < 74)
    map(s);
  else if (choice < 76)
    unmap(s);
  else if (choice < 80)
    protect(s);
  else if (choice < 82)
    discard(s);
  else if (choice < 84)
    move(s);
  else if (choice < 91)
    look_at_bits(s);
  else if (choice < 97)
    look_at_tracker(s);
  else
    look_at_object();
  if (choice < 69)
    check_range(s, p, 1);
  check_code();
  if (run.trace)
    fprintf(stderr, "%" PRIu64 " %s\n", run.step, run.doing);
}

static void check_all(void)
{
  unsigned s;

  for (s = 0; s < MODEL_SPACES; s++)
    agree(vmm_check(run.space[s], 0, 0) == 0, "vmm_check of space %u", s);
}

static void set_up_space(unsigned s)
{
  struct vmm_space_options options = { .size = 1 << 24 };
  struct vmm_tracker_options tracking = { .kind = 0 };
  unsigned kind;

  options.flags = run.coarse ? 0 : run.checked ? VMM_CHECKED : VMM_EXACT;
  options.page_size = s == 2 ? 1 << 14 : 0;
  ck_assert_ok(vmm_space_create(&run.space[s], &options));
  run.page[s] = vmm_space_page_size(run.space[s]);
  for (kind = 0; kind < 2 && !run.coarse; kind++) {
    tracking.kind = kind;
    ck_assert_ok(vmm_tracker_create(&run.tracker[s][kind], run.space[s],
                                    address(s, 0), MODEL_PAGES * run.page[s],
                                    &tracking));
  }
  run.notifier[s].invalidate = told;
  ck_assert_ok(vmm_notifier_add(run.space[s], &run.notifier[s]));
}

static void set_up_object(unsigned o)
{
  struct vmm_tracker_options tracking = { .kind = o };
  vmm_addr_t va = o << 16;

  /* while it is mapped everywhere, its tracker finds a slot that is free there */
  run.object[o] = probe_object(MODEL_OBJECT_PAGES * run.page[0],
                               o == 1 ? VMM_OBJECT_EXPORT : 0);
  run.model.object[o].kind = o;
  ck_assert_ok(probe_map(run.space[0], va, run.page[0], run.object[o], 0, RW));
  ck_assert_ok(probe_map(run.space[1], va, run.page[0], run.object[o], 0, RW));
  if (run.coarse) /* a tracker would make it exact */
    return;
  ck_assert_ok(vmm_tracker_create_object(&run.object_tracker[o], run.object[o],
                                         0, MODEL_OBJECT_PAGES * run.page[0],
                                         &tracking));
}

static void tear_down(void)
{
  unsigned s, o;

  for (s = 0; s < MODEL_SPACES; s++) {
    ck_assert_ok(vmm_notifier_remove(run.space[s], &run.notifier[s]));
    vmm_tracker_destroy(run.tracker[s][0]);
    vmm_tracker_destroy(run.tracker[s][1]);
    vmm_test_end(run.space[s]);
  }
  for (o = 0; o < MODEL_OBJECTS; o++) {
    vmm_tracker_destroy(run.object_tracker[o]);
    vmm_object_release(run.object[o]);
  }
}

/* _i: 0 in exact ranges, 1 in coarse ones, 2 in spaces without a window */
START_TEST(random_operations_equal_the_model)
{
  uint64_t steps = probe_setting("VMM_OPS", 200000);
  unsigned i;

  run.coarse = _i == 1;
  run.checked = _i == 2;
  run.trace = probe_setting("VMM_TRACE", 0) != 0;
  run.random = run.seed = probe_seed("random");
  for (i = 0; i < MODEL_SPACES; i++)
    set_up_space(i);
  for (i = 0; i < MODEL_OBJECTS; i++)
    set_up_object(i);
  for (run.step = 0; run.step < steps; run.step++) {
    random_step();
    if (run.step % 1000 == 999)
      check_all();
  }
  tear_down();
}
END_TEST

Suite *vmm_suite_random(void)
{
  Suite *suite = suite_create("random");
  TCase *tcase = tcase_create("random");

  tcase_add_loop_test(tcase, random_operations_equal_the_model, 0, 3);
  suite_add_tcase(suite, tcase);
  return suite;
}
