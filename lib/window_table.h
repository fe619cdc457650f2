/*
 * The windows of a space: its own, and those that harts have over it.  Harts'
 * ones stand in a table of the space, by the hart's number and the view, and
 * not in a list: rights are taken under an object's lock alone, or in a signal
 * handler, while harts come and go, and a reader may hold on to a place of the
 * table where he would lose his way on a list.
 *
 * Records of harts' windows are reused for nothing else.  A reader that comes
 * late locks one and finds another space in it, or none.  A hart puts its
 * window into the table before it is used; whoever takes rights changes the
 * entries before he reads the table: one of both sees what the other did (both
 * sequentially consistent).
 *
 * Which space each hart runs stands here too, so that none is destroyed under
 * it: the hart says so, then looks whether the space is ending; who ends it
 * says so, then looks whether a hart runs it.  Layer 3.
 */
#ifndef VMMI_WINDOW_TABLE_H
#define VMMI_WINDOW_TABLE_H

#include "space.h"

#define VMMI_HARTS 1024
#define VMMI_PLACES (VMMI_HARTS * VMMI_VIEWS)
#define VMMI_PLACE_WORDS (VMMI_PLACES / 64)

struct vmmi_window_table {
  _Atomic uint64_t used[VMMI_PLACE_WORDS];  /* places that have a window, */
  _Atomic uint64_t holds[VMMI_PLACE_WORDS]; /* ... with invalid entries */
  _Atomic(struct vmmi_window *) window[VMMI_PLACES];
  _Atomic uint64_t context[VMMI_HARTS]; /* harts' ASIDs of the space; or 0 */
};

/* => the space's table, made if there is none; NULL without memory
 * => inside; the hart runs the space */
struct vmmi_window_table *vmmi_window_table_of(struct vmm_space *space);

/* Every hart loses its windows over the space, and the space its table.
 * => no hart runs the space, and none will */
void vmmi_window_table_end(struct vmm_space *space);

/*
 * Calls visit for each window of the space, locked, until it gives something
 * else than 0, which is returned.
 * => no window locked; signal-safe
 */
int vmmi_window_each(struct vmm_space *space,
                     int (*visit)(struct vmmi_window *window, void *arg),
                     void *arg);

/* => the next place from *place on whose bit is set, or -1; *place goes past
 *    it */
int vmmi_window_table_next(_Atomic uint64_t *words, unsigned *place);

/* ---- windows of harts ---- */

/* => a record with nothing reserved, or NULL; and back.  holds: by preference
 *    one that has had invalid entries before, which it keeps */
struct vmmi_window *vmmi_window_get(bool holds);
void vmmi_window_put(struct vmmi_window *window);

/* => whether the reservation has room for what is to lie there */
bool vmmi_window_fits(const struct vmmi_window *window,
                      const struct vmmi_window_place *place);

/* The window, of no space, becomes one of the space: record is an empty one of
 * it.
 * => the space has a table */
void vmmi_window_attach(struct vmmi_window *window, struct vmm_space *space,
                        const struct vmmi_radix *record);

/* It becomes one of no space; nothing is shown.  Nothing if it was so.
 * => whether the host had to be called */
bool vmmi_window_detach(struct vmmi_window *window);

/* ---- which space each hart runs ---- */

/* To be called before the number is used. */
void vmmi_running_new(unsigned number);

/*
 * The hart of this number is to run the space, beside what it runs: begin, and
 * then set, or cancel.  No lock and no call of the host.
 * => 0; -EBUSY the space is being destroyed, and nothing is changed
 */
int vmmi_running_begin(unsigned number, struct vmm_space *space);
void vmmi_running_cancel(unsigned number);
/* It runs the space now; NULL: none. */
void vmmi_running_set(unsigned number, struct vmm_space *space);

/* Lets no hart run the space from here on.
 * -EBUSY  a hart does, and others may go on to */
int vmmi_running_end(struct vmm_space *space);

#endif
