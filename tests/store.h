/*
 * A pager for tests that keeps its object's bytes in an array, counts what is
 * asked of it, and can be told to misbehave.
 */
#ifndef VMM_TESTS_STORE_H
#define VMM_TESTS_STORE_H

#include <stdatomic.h>
#include <stdlib.h>

#include "vmm_test.h"

#define STORE_PAGES 64u

struct store {
  struct vmm_object *object;
  size_t page;
  uint8_t *bytes; /* what write_back kept */
  atomic_uint fills, writes, releases;
  atomic_uint filled[STORE_PAGES], written[STORE_PAGES];
  atomic_int fill_error, write_error; /* to be given from now on */
  /* called in the callbacks, where set */
  void (*in_fill)(struct store *store, uint64_t offset);
  void (*in_write)(struct store *store, uint64_t offset);
};

static int store_fill(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  struct store *store = arg;

  store->fills++;
  store->filled[offset / store->page]++;
  if (store->in_fill != NULL)
    store->in_fill(store, offset);
  memcpy(to, store->bytes + offset, nbytes);
  return store->fill_error;
}

static int store_write(uint64_t offset, const void *from, size_t nbytes,
                       void *arg)
{
  struct store *store = arg;

  store->writes++;
  if (store->in_write != NULL)
    store->in_write(store, offset);
  if (store->write_error != 0)
    return store->write_error;
  for (uint64_t at = offset; at < offset + nbytes; at += store->page)
    store->written[at / store->page]++;
  memcpy(store->bytes + offset, from, nbytes);
  return 0;
}

static void store_release(void *arg)
{
  struct store *store = arg;

  store->releases++;
}

/* The options of a store of STORE_PAGES; each byte of page n is n + 1. */
static inline struct vmm_pager_options store_options(struct store *store,
                                                     uint32_t flags,
                                                     uint64_t max_frames)
{
  struct vmm_pager_options options = { 0 };

  store->page = 4096;
  store->bytes = malloc(STORE_PAGES * store->page);
  ck_assert_ptr_nonnull(store->bytes);
  for (size_t i = 0; i < STORE_PAGES; i++)
    memset(store->bytes + i * store->page, (int)i + 1, store->page);
  options.nbytes = STORE_PAGES * store->page;
  options.page_size = (uint32_t)store->page;
  options.max_frames = max_frames;
  options.flags = flags;
  options.fill = store_fill;
  options.write_back = store_write;
  options.release = store_release;
  options.arg = store;
  return options;
}

static inline void store_open(struct store *store, uint32_t flags,
                              uint64_t max_frames)
{
  struct vmm_pager_options options = store_options(store, flags, max_frames);

  ck_assert_ok(vmm_pager_create(&store->object, &options));
}

/* Nothing holds it any more but its creator. */
static inline void store_close(struct store *store)
{
  ck_assert_ok(vmm_pager_destroy(store->object));
  ck_assert_uint_eq(store->releases, 1);
  free(store->bytes);
}

/* Maps all of the store at va. */
static inline void store_map(struct store *store, struct vmm_space *space,
                             vmm_addr_t va, uint32_t rights, uint32_t flags)
{
  struct vmm_map_options options = { 0 };

  options.object = store->object;
  options.rights = rights;
  options.flags = flags;
  ck_assert_ok(vmm_map(space, &va, STORE_PAGES * store->page, &options));
}

static inline struct vmm_pager_stats store_stats(struct store *store)
{
  struct vmm_pager_stats stats = { .struct_size = sizeof(stats) };

  ck_assert_ok(vmm_pager_stats(store->object, &stats));
  return stats;
}

#endif
