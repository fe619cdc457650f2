/*
 * A fault through a pager that has nothing to do, inline and by its own thread,
 * against a first touch of anonymous memory in an exact space; and a pass over
 * memory that is twice what may be resident.
 */
#define _GNU_SOURCE
#include <unistd.h>
#include <vmm/vmm.h>

#include "bench.h"

#define AT ((vmm_addr_t)2 << 20)
enum { NPAGES = 256, ROUNDS = 21 };

static size_t page;
static struct vmm_space *space;

static int fill(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  (void)offset;
  (void)to;
  (void)nbytes;
  (void)arg;
  return 0;
}

static int write_back(uint64_t offset, const void *from, size_t nbytes,
                      void *arg)
{
  (void)offset;
  (void)from;
  (void)nbytes;
  (void)arg;
  return 0;
}

static struct vmm_object *make_pager(uint32_t flags, uint64_t max_frames)
{
  struct vmm_pager_options options = { 0 };
  struct vmm_object *object = NULL;

  options.nbytes = NPAGES * page;
  options.max_frames = max_frames;
  options.flags = flags;
  options.fill = fill;
  options.write_back = write_back;
  bench_need(vmm_pager_create(&object, &options), "vmm_pager_create");
  return object;
}

/* => nanoseconds a page: of this thread, or of the clock on the wall where
 *    another one does the work */
static double write_pages(double (*clock)(void))
{
  char *at = vmm_space_base(space) + AT;
  double start = clock();

  for (unsigned i = 0; i < NPAGES; i++)
    *(volatile char *)(at + i * page) = 1;
  return (clock() - start) / NPAGES;
}

struct how {
  uint32_t flags;
  uint64_t max_frames;
  double (*clock)(void);
};

static double run_pager(void *arg)
{
  const struct how *how = arg;
  struct vmm_map_options map = { 0 };
  vmm_addr_t va = AT;
  double result;

  map.object = make_pager(how->flags, how->max_frames);
  map.rights = VMM_READ | VMM_WRITE;
  bench_need(vmm_map(space, &va, NPAGES * page, &map), "vmm_map");
  if (how->max_frames != 0)
    write_pages(how->clock); /* from here on each page takes another's place */
  result = write_pages(how->clock);
  bench_need(vmm_unmap(space, AT, NPAGES * page), "vmm_unmap");
  bench_need(vmm_pager_destroy(map.object), "vmm_pager_destroy");
  return result;
}

static double run_anonymous(void *arg)
{
  const struct how *how = arg;
  double result;

  bench_need(vmm_map_anon(space, AT, NPAGES * page, VMM_READ | VMM_WRITE),
             "vmm_map_anon");
  result = write_pages(how->clock);
  bench_need(vmm_unmap(space, AT, NPAGES * page), "vmm_unmap");
  return result;
}

int main(void)
{
  struct how in_line = { VMM_PAGER_INLINE, 0, bench_cpu };
  struct how by_thread = { 0, 0, bench_now };
  struct how evicting = { VMM_PAGER_INLINE, NPAGES / 2, bench_cpu };
  struct vmm_space_options options = { .size = 1 << 26, .flags = VMM_EXACT };

  page = (size_t)sysconf(_SC_PAGESIZE);
  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  bench_compare("pager: fault, inline", run_pager,
                "pager: first touch of anonymous memory", run_anonymous,
                &in_line, ROUNDS, "ns");
  bench_compare("pager: fault, by its thread", run_pager,
                "pager: first touch again", run_anonymous, &by_thread, ROUNDS,
                "ns");
  bench_compare("pager: fault, with write-back and eviction", run_pager,
                "pager: first touch again", run_anonymous, &evicting, ROUNDS,
                "ns");
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
