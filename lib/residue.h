/*
 * A residue: the pages that a tracker must report though no entry holds its bit
 * for them, as a sorted list of ranges.  It may report too much where memory is
 * short, never too little.  Its user locks it.  Layer 2.
 */
#ifndef VMMI_RESIDUE_H
#define VMMI_RESIDUE_H

#include <vmm/types.h>

#include "base.h"

struct vmmi_residue {
  struct vmm_range *ranges; /* ascending, neither overlapping nor touching */
  size_t count, room;
};

/* Makes room, so that the next n calls of add need none.  -ENOMEM */
int vmmi_residue_reserve(struct vmmi_residue *residue, size_t n);
void vmmi_residue_end(struct vmmi_residue *residue);

/* Adds a range; without memory the nearest range grows over the gap as well. */
void vmmi_residue_add(struct vmmi_residue *residue, uint64_t start,
                      uint64_t nbytes);
/* Takes a range out; without memory for a second piece it stays. */
void vmmi_residue_remove(struct vmmi_residue *residue, uint64_t start,
                         uint64_t nbytes);

/* => the first range that ends above at, or NULL; until the next change */
const struct vmm_range *vmmi_residue_from(const struct vmmi_residue *residue,
                                          uint64_t at);
/* => whether the list is what its comment says */
bool vmmi_residue_valid(const struct vmmi_residue *residue);

#endif
