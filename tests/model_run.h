/*
 * Runs of the model beside the library: operations, what carries them out, and the
 * world that both sides live in.
 *
 * An operation is made from a seed and its number alone, and means something in
 * every state, so that any subset of a sequence is a sequence too.
 */
#ifndef VMM_TESTS_MODEL_RUN_H
#define VMM_TESTS_MODEL_RUN_H

#include <errno.h>

#include "model.h"

/* The kinds, and how often each comes. */
#define MODEL_OPERATIONS(X)                                                    \
  X(load, 60) X(store, 64) X(straddle, 8) X(copyin, 12) X(copyout, 12)         \
  X(fill, 6) X(string, 4) X(cas, 8) X(fixup, 10) X(nofault, 10)                \
  X(debug_write, 4) X(fetch, 20) X(pin, 12) X(unpin, 10) X(pin_read, 6)        \
  X(pin_write, 12) X(map, 40) X(unmap, 6) X(protect, 16) X(move, 8)            \
  X(discard, 8) X(wire, 3) X(unwire, 3) X(inherit, 3) X(fork, 2)               \
  X(make, 1) X(take, 4) X(restore, 4) X(drop, 3) X(track, 6)                   \
  X(untrack, 3) X(tracked, 24) X(bits, 20) X(walk, 4) X(region, 4)             \
  X(look, 8) X(budget, 1)

#define MODEL_KIND(name, weight) MODEL_##name,
enum model_kind { MODEL_OPERATIONS(MODEL_KIND) MODEL_KINDS };
#undef MODEL_KIND

struct model_op {
  uint32_t number;
  uint8_t kind;
  uint8_t space, other; /* spaces */
  uint8_t slot;         /* of a tracker, a pin, a snapshot: taken modulo */
  uint8_t page, count, to;
  uint8_t rights;
  uint8_t choice;       /* bits that each kind reads its own way */
  uint8_t object, at;
  uint8_t fail_call, fail_nth, fail_count; /* fail_nth 0: the host is willing */
  uint64_t stamp;       /* a value that no other operation writes */
};

/* What went wrong, in memory that parent and child share. */
struct model_report {
  uint32_t number;      /* of the operation under way */
  uint32_t done;
  char text[256];
};

struct model_world {
  struct model model;
  struct vmm_space *space[MODEL_SPACES];
  struct vmm_notifier notifier[MODEL_SPACES];
  struct vmm_object *object[MODEL_OBJECTS];
  struct vmm_tracker *tracker[MODEL_TRACKERS];
  struct vmm_snapshot *snapshot[MODEL_SNAPSHOTS];
  struct vmm_pin *pin[MODEL_PINS];
  struct vmm_iovec iov[MODEL_PINS][MODEL_PIN_PAGES];
  size_t niov[MODEL_PINS];
  struct model_report *report;
  const struct model_op *op; /* under way */
  bool failing;              /* the host refuses something during it */
  bool shaken;               /* it did before: what is wired may be gone */
  bool alone;                /* no other thread uses these spaces */
  bool harts;                /* accesses by windows are those of harts */
  bool nofault;              /* the access under way has faults disabled */
  struct vmm_fault last;     /* of the last access that failed */
  unsigned lane;             /* which pages of them, and of the objects, are ours */
};

/* ---- operations ---- */

struct model_op model_op_make(uint64_t seed, uint32_t number);
const char *model_op_name(unsigned kind);
/* Writes it as a line of a listing. */
void model_op_print(const struct model_op *op, char *text, size_t size);
/* Carries it out on both sides, and compares. */
void model_op_run(struct model_world *world, const struct model_op *op);

/* ---- worlds ---- */

void model_world_begin(struct model_world *world, struct model_report *report);
/* For threads: the first's two first spaces, and its objects, are all lanes'. */
void model_world_share(struct model_world *first);
void model_world_join(struct model_world *world, const struct model_world *first,
                      unsigned lane);
/* Tells a world of changes of code in a space. */
void model_listen(struct model_world *world, unsigned s);
/* Compares all that can be seen. */
void model_world_check(struct model_world *world);
void model_world_end(struct model_world *world);

/* Ends the process: the two sides differ. */
void model_differ(struct model_world *world, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

#define agree(world, condition, ...)                                           \
  do {                                                                         \
    if (!(condition))                                                          \
      model_differ(world, __VA_ARGS__);                                        \
  } while (0)

/* ---- what operations share ---- */

/* => bytes of a host page */
uint64_t model_unit(void);
/* => the offset of a host page of an object */
static inline uint64_t model_offset(const struct model_world *world, unsigned at)
{
  return (world->lane * MODEL_OBJECT_PAGES + at) * model_unit();
}
vmm_addr_t model_address(const struct model_world *world, unsigned s, unsigned p);
vmm_addr_t model_word_address(const struct model_world *world, unsigned s,
                              unsigned p, unsigned word);
/* => of a page of the space */
uint64_t model_page_size(const struct model_world *world, unsigned s);

/* => whether the host's refusal explains the error, which is documented */
static inline bool model_refused(const struct model_world *world, int error)
{
  return world->failing && (error == -ENOMEM || error == -EIO ||
                            error == -EMFILE || error == -ENFILE);
}

/* => the calling thread's faults so far */
uint64_t model_faults(void);
/* An access took so many: exactly one if it must, at most so many. */
void model_expect_faults(struct model_world *world, uint64_t before, bool must,
                         unsigned most);

/* => the range of the operation, cut where the pages end */
static inline unsigned model_count(const struct model_op *op)
{
  return op->page + op->count > MODEL_PAGES ? MODEL_PAGES - op->page : op->count;
}

bool model_all_mapped(const struct model_world *world, unsigned s, unsigned first,
                      unsigned count);

/* The operations, one for each row of MODEL_OPERATIONS; s is their space, alive. */
#define MODEL_DECLARE(name, weight)                                            \
  void model_do_##name(struct model_world *w, const struct model_op *op,       \
                       unsigned s);
MODEL_OPERATIONS(MODEL_DECLARE)
#undef MODEL_DECLARE

/* ---- harts ---- */

enum { MODEL_HARTS = 4 };

struct model_access {
  struct vmm_space *space;
  vmm_addr_t va;
  unsigned access;
  bool nofault, user;     /* user: in that view, if the hart has one */
  uint64_t value;         /* in or out */
  bool done;
  int error;              /* of turning to the space */
  struct vmm_fault fault; /* the last of its thread */
};

/* => whether the hart's accesses in the user's view are of a view of its own */
bool model_hart_has_views(unsigned hart);
void model_harts_begin(void);
void model_hart_access(unsigned hart, struct model_access *access);
/* They run no space any more. */
void model_harts_leave(void);
void model_harts_end(void);

/* ---- running and shrinking ---- */

struct model_run {
  uint64_t seed;
  uint32_t first, count; /* operations of one life */
  const uint32_t *only;  /* their numbers, if not all; count of them */
  bool trace;
  bool harts, lanes;     /* the accesses are harts'; threads with a lane each */
};

/* Runs in a child.  => whether both sides agreed; else *report tells */
bool model_live(const struct model_run *run, struct model_report *report);
/* Finds a short sequence that still fails, and prints it. */
void model_shrink(const struct model_run *run, struct model_report *report);

#endif
