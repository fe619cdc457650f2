/*
 * The budget of host mappings that all windows share (rule 8): an upper bound
 * of what they use, and what is done when it is too much.  Layer 3.
 */
#ifndef VMMI_WINDOW_BUDGET_H
#define VMMI_WINDOW_BUDGET_H

#include "window.h"

/* A window shows more or fewer pieces.  => window locked, or closing */
void vmmi_budget_add(struct vmmi_window *window, int64_t pieces);

/* Mappings beside the records of windows, that no trim takes: a quarter of the
 * budget at most.  Claim: -ENOMEM, and nothing is claimed. */
int vmmi_budget_claim(unsigned pieces);
void vmmi_budget_unclaim(unsigned pieces);

/* => whether windows use more than they should; a few instructions */
bool vmmi_budget_is_exceeded(void);

/* => whether a trim has left more than it should: wired pages */
bool vmmi_budget_is_full(void);

/*
 * Flushes windows, the large ones first, until they use half of the budget or
 * less.  So between two trims at least half a budget of repairs fits, and an
 * access of many pages, a gather, comes to its end.  Wired pages stay.
 * => no window locked
 */
void vmmi_budget_trim(void);

/*
 * A few mappings of the host that nothing is done with, so that the library can
 * take rights away even when the program has used up all others.  The first
 * makes the reserve, if it can; the others give it to the host, and get it
 * again.
 */
void vmmi_budget_make_reserve(void);
void vmmi_budget_open_reserve(void);
void vmmi_budget_close_reserve(void);
/* It was not inherited: the first window makes another.  => nobody else
 * inside */
void vmmi_budget_forget_reserve(void);

#endif
