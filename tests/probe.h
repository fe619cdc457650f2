/*
 * What the black-box suites share beside vmm_test.h: accesses that may fail,
 * page-table entries, a space's whole state as text, random numbers from a
 * seed.
 */
#ifndef VMM_TESTS_PROBE_H
#define VMM_TESTS_PROBE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm_test.h"

enum { RW = VMM_READ | VMM_WRITE, RX = VMM_READ | VMM_EXEC };

#define YOUNG VMM_PTE_ACCESSED
#define DIRTY VMM_PTE_MODIFIED

/* The statement takes exactly so many faults, and the space keeps the rules. */
#define step(space, reads, writes, statement)                                  \
  do {                                                                         \
    ck_assert_faults(space, reads, writes, statement);                         \
    ck_assert_ok(vmm_check(space, 0, 0));                                      \
  } while (0)

/* The page's entry has exactly these bits of a mask. */
#define ck_assert_pte(space, va, mask, bits)                                   \
  ck_assert_msg((probe_pte(space, va) & (mask)) == (bits),                     \
                "entry of 0x%" PRIx64 " is 0x%" PRIx64, (uint64_t)(va),        \
                probe_pte(space, va))

/* => 0, or -EFAULT where the window denies it and nobody repairs it */
static inline int probe_read(struct vmm_space *space, vmm_addr_t va,
                             uint8_t *byte)
{
  uint8_t value;

  vmm_try_load_u8(value, vmm_space_base(space) + va, fault);
  *byte = value;
  return 0;
fault:
  return -EFAULT;
}

static inline int probe_write(struct vmm_space *space, vmm_addr_t va,
                              uint8_t byte)
{
  vmm_try_store_u8(vmm_space_base(space) + va, byte, fault);
  return 0;
fault:
  return -EFAULT;
}

/* => the reason why the access of the window fails; VMM_FAULT_NONE: it
 *    doesn't */
static inline unsigned probe_reason(struct vmm_space *space, vmm_addr_t va,
                                    unsigned access)
{
  struct vmm_fault fault;
  uint8_t byte;

  if ((access == VMM_WRITE ? probe_write(space, va, 1)
                           : probe_read(space, va, &byte)) == 0)
    return VMM_FAULT_NONE;
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.access, access);
  ck_assert_uint_eq(fault.va, va);
  ck_assert_ptr_eq(fault.space, space);
  return fault.reason;
}

/* => the page's entry */
static inline vmm_pte_t probe_pte(struct vmm_space *space, vmm_addr_t va)
{
  uint64_t page = vmm_space_page_size(space), pte;

  ck_assert_ok(vmm_pages(space, va & ~(page - 1), page, 0, &pte));
  return pte;
}

/* Clears these bits of the entries of the range. */
static inline void probe_clear(struct vmm_space *space, vmm_addr_t va,
                               uint64_t nbytes, uint64_t bits)
{
  ck_assert_ok(vmm_pages(space, va, nbytes, bits, NULL));
}

/* => the region at or above va, in *info */
static inline int probe_region(struct vmm_space *space, vmm_addr_t va,
                               struct vmm_region_info *info)
{
  memset(info, 0, sizeof(*info));
  info->struct_size = sizeof(*info);
  return vmm_region_find(space, va, info);
}

/* => an object of so many bytes, with these VMM_OBJECT_ flags */
static inline struct vmm_object *probe_object(uint64_t nbytes, uint32_t flags)
{
  struct vmm_object_options options = { 0 };
  struct vmm_object *object;

  options.flags = flags;
  ck_assert_ok(vmm_object_create(&object, nbytes, &options));
  return object;
}

/* Maps the object's bytes at va; flags beside the rights may be VMM_PRIVATE
 * ... */
static inline int probe_map(struct vmm_space *space, vmm_addr_t va,
                            uint64_t nbytes, struct vmm_object *object,
                            uint64_t offset, uint32_t rights_and_flags)
{
  struct vmm_map_options options = { 0 };

  options.object = object;
  options.offset = offset;
  options.rights = rights_and_flags & 7;
  options.flags = rights_and_flags & ~7u;
  return vmm_map(space, &va, nbytes, &options);
}

/* ---- the whole state ---- */

/* => a sum over the page's bytes, by the alias: no bit is set by it */
static inline uint64_t probe_sum(struct vmm_space *space, vmm_addr_t va)
{
  const uint8_t *bytes = vmm_debug_ptr(space, va);
  uint64_t sum = 0, i;

  if (bytes == NULL)
    return 0;
  for (i = 0; i < vmm_space_page_size(space); i++)
    sum = sum * 31 + bytes[i];
  return sum;
}

static inline void probe_print_pages(struct vmm_space *space, FILE *file,
                                     const struct vmm_region_info *info)
{
  uint64_t page = vmm_space_page_size(space), va;

  for (va = info->start; va < info->start + info->nbytes; va += page) {
    uint64_t pte = probe_pte(space, va);

    if (pte != 0)
      fprintf(file, "  %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", va, pte,
              probe_sum(space, va));
  }
}

/*
 * => the space as text, to be freed: regions, entries and contents, frames.
 *    Pages of regions beyond 4 MiB are left out.
 */
static inline char *probe_state(struct vmm_space *space)
{
  struct vmm_stats stats = vmm_test_stats(space);
  struct vmm_region_info info;
  char *text = NULL;
  size_t length;
  FILE *file = open_memstream(&text, &length);
  vmm_addr_t va = 0;

  ck_assert_ptr_nonnull(file);
  fprintf(file, "frames %" PRIu64 " mapped %" PRIu64 "\n", stats.frames,
          stats.mapped);
  while (va < vmm_space_size(space) && probe_region(space, va, &info) == 0) {
    fprintf(file, "%" PRIx64 " %" PRIx64 " %x %x object %p %" PRIx64 " %p\n",
            info.start, info.nbytes, info.rights, info.flags,
            (void *)info.object, info.offset, info.cookie);
    if (info.nbytes <= 4 << 20)
      probe_print_pages(space, file, &info);
    va = info.start + info.nbytes;
  }
  fclose(file);
  return text;
}

/* The call fails with this error, and nothing has changed. */
#define ck_assert_refused(space, call, error)                                  \
  do {                                                                         \
    char *probe_before = probe_state(space), *probe_after;                     \
    ck_assert_error(call, error);                                              \
    probe_after = probe_state(space);                                          \
    ck_assert_str_eq(probe_before, probe_after);                               \
    free(probe_before);                                                        \
    free(probe_after);                                                         \
    ck_assert_ok(vmm_check(space, 0, 0));                                      \
  } while (0)

/* ---- random numbers ---- */

/* => the next number; *state is not 0 */
static inline uint64_t probe_random(uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state * 0x2545f4914f6cdd1d;
}

/* => the environment's number, or a default */
static inline uint64_t probe_setting(const char *name, uint64_t otherwise)
{
  const char *text = getenv(name);

  return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

/* => the seed of the environment (VMM_SEED), or a new one; it is printed */
uint64_t probe_seed(const char *who);

#endif
