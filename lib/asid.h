/*
 * Address-space identifiers of a hart.  One number counts all that it ever
 * gave:
 *
 *    63                    bits bits-1      0
 *   +---------------------------+------------+
 *   |        generation         |    tag     |
 *   +---------------------------+------------+
 *
 * 0 means none; the first is 1 << bits.  When the tag wraps, the next
 * generation begins: what was given before is no longer live.
 *
 * They are what Linux calls contexts (arch/mips mmu_context.h).  Layer 0.
 */
#ifndef VMMI_ASID_H
#define VMMI_ASID_H

#include "base.h"

struct vmmi_asids {
  uint64_t next; /* that is given next */
  unsigned bits; /* of a tag, 1 to 8 */
};

static inline void vmmi_asid_init(struct vmmi_asids *asids, unsigned bits)
{
  asids->bits = bits;
  asids->next = (uint64_t)1 << bits;
}

static inline unsigned vmmi_asid_tag(const struct vmmi_asids *asids,
                                     uint64_t context)
{
  return (unsigned)context & ((1u << asids->bits) - 1);
}

/* => whether giving the next begins a generation: all that was given is to
 *    go */
static inline bool vmmi_asid_rolls_over(const struct vmmi_asids *asids)
{
  return vmmi_asid_tag(asids, asids->next) == 0 &&
         asids->next != (uint64_t)1 << asids->bits;
}

/* => the generation that the last was given in, or, before that, the first */
static inline uint64_t vmmi_asid_generation(const struct vmmi_asids *asids)
{
  uint64_t first = (uint64_t)1 << asids->bits;

  /* what is before the first of all is the last of all */
  return asids->next == first ? 1 : (asids->next - 1) >> asids->bits;
}

/* => whether it was given in this generation */
static inline bool vmmi_asid_is_live(const struct vmmi_asids *asids,
                                     uint64_t context)
{
  return context != 0 &&
         context >> asids->bits == (asids->next - 1) >> asids->bits &&
         context <= asids->next - 1; /* after the last of all comes 0 */
}

/* => the next, never 0; after the last number there is, the first again */
static inline uint64_t vmmi_asid_take(struct vmmi_asids *asids)
{
  uint64_t context = asids->next++;

  if (context == 0) { /* the generation of number 0 is left out */
    context = (uint64_t)1 << asids->bits;
    asids->next = context + 1;
  }
  return context;
}

#endif
