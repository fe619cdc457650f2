/*
 * Spaces: paged guest address spaces, each seen by host code through a window,
 * so that the host address of a guest address is vmm_space_base() + address.
 */
#ifndef VMM_SPACE_H
#define VMM_SPACE_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmm_space_options {
  uint64_t size;        /* bytes, a multiple of the page; 0: 4 GiB */
  void *base;           /* the host address wanted; NULL: any */
  uint64_t base_align;  /* of the base, a power of two; 0: 2 MiB */
  uint64_t guard_below; /* bytes before the base that always fault */
  uint64_t guard_above; /* bytes beyond the size that always fault; 0: a page */
  uint64_t max_frames;  /* pages of its own that may be resident; 0: no limit */
  uint32_t page_size;   /* guest page, 2^n; 0: the host's */
  uint32_t flags;       /* VMM_EXACT: every range is exact; VMM_CHECKED */
  uint64_t reserved[8];
};

/*
 * VMM_CHECKED makes a space without a window: guest memory is reached by the
 * calls of <vmm/access.h> alone, with the same results, bits, counters and
 * faults, and no signal is ever needed; vmm_space_base() is NULL, no address
 * space is reserved, every range is exact.  For debuggers, sanitizers, hosts
 * without usable signals.  There memory may be write-only: stores work and
 * loads fault.
 *
 * A page of the guest has 2 MiB at most, and not less than one of the host; of
 * a checked space, not less than 4096 bytes, whatever the host's.
 *
 * Otherwise:
 *
 * Makes a space with one window over it.  Mapping nothing, it costs address
 * space and a few pages.  The first space installs the signal handlers, unless
 * vmm_init() said otherwise.  options may be NULL.
 *
 * -EINVAL  base_align no power of two, a base that is not aligned to it
 * -EEXIST  something is mapped at the base wanted
 * -ENOMEM  the host can't reserve that many bytes, or has no memory
 * -EMFILE -ENFILE  no descriptor for the arena
 */
VMM_API int vmm_space_create(struct vmm_space **space,
                             const struct vmm_space_options *options);

/*
 * Ends a space: its regions, its windows, harts' too, and the memory that it
 * alone held.  No other thread may be using it.  NULL is allowed.
 *
 * -EBUSY   a pin, tracker, snapshot, watch or TLB uses it, or a hart runs it
 */
VMM_API int vmm_space_destroy(struct vmm_space *space);

/* => the host address of guest address 0; it never changes; signal-safe */
VMM_API char *vmm_space_base(const struct vmm_space *space);
/* => in bytes; signal-safe */
VMM_API uint64_t vmm_space_size(const struct vmm_space *space);
/* => bytes of a guest page; signal-safe */
VMM_API uint32_t vmm_space_page_size(const struct vmm_space *space);

/*
 * How many mappings of the host all windows together may use, which is about
 * two for each stretch of pages that differs from its neighbours.  Beyond it
 * windows are flushed, at no price but time.  Less than 256 is 256; 0: three
 * quarters of the host's limit (Linux: vm.max_map_count), which leaves a
 * quarter to the program.  => signal-safe
 */
VMM_API void vmm_mapping_budget(uint64_t mappings);

#ifdef __cplusplus
}
#endif
#endif
