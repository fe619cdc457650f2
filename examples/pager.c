/*
 * Paging to a file: guest memory that is larger than what may be resident, and
 * that is still there the next time.  The pager's callbacks are plain pread()
 * and pwrite(), since they run on a thread of the pager's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vmm/vmm.h>

#define MEMORY 0x100000
#define NPAGES 1024
#define MAX_FRAMES 64

/* A page beyond the end of the file has never been written: it stays zeros. */
static int fill(uint64_t offset, void *to, size_t nbytes, void *arg)
{
  const int *fd = arg;

  return pread(*fd, to, nbytes, (off_t)offset) < 0 ? -errno : 0;
}

static int write_back(uint64_t offset, const void *from, size_t nbytes,
                      void *arg)
{
  const int *fd = arg;
  ssize_t n = pwrite(*fd, from, nbytes, (off_t)offset);

  if (n < 0)
    return -errno;
  return (size_t)n == nbytes ? 0 : -ENOSPC;
}

/* Maps the file as memory and adds one to a counter in each page.
 * => the sum of all counters, or -1 */
static int64_t run(int *fd)
{
  struct vmm_pager_options options = { 0 };
  struct vmm_map_options map = { 0 };
  struct vmm_pager_stats stats = { 0 };
  struct vmm_space *space = NULL;
  vmm_addr_t va = MEMORY;
  int64_t sum = 0;
  uint64_t page;

  if (vmm_space_create(&space, NULL) != 0)
    return -1;
  page = vmm_space_page_size(space);
  options.nbytes = NPAGES * page;
  options.max_frames = MAX_FRAMES;
  options.fill = fill;
  options.write_back = write_back;
  options.arg = fd;
  map.rights = VMM_READ | VMM_WRITE;
  if (vmm_pager_create(&map.object, &options) != 0 ||
      vmm_map(space, &va, NPAGES * page, &map) != 0)
    return -1;
  for (unsigned i = 0; i < NPAGES; i++) {
    int *counter = (int *)(void *)(vmm_space_base(space) + MEMORY + i * page);

    sum += ++*counter;
  }
  stats.struct_size = sizeof(stats);
  vmm_pager_stats(map.object, &stats);
  printf("filled %" PRIu64 ", evicted %" PRIu64 ", resident %" PRIu64 "\n",
         stats.fills, stats.evictions, stats.resident);
  /* Nothing maps it any more: what is dirty goes to the file. */
  if (vmm_space_destroy(space) != 0 || vmm_pager_destroy(map.object) != 0)
    return -1;
  return sum;
}

int main(void)
{
  FILE *file = tmpfile();
  int64_t sum = 0;
  int fd;

  if (file == NULL)
    return 1;
  fd = fileno(file);
  for (int i = 0; i < 2 && sum >= 0; i++) {
    sum = run(&fd);
    printf("sum %" PRId64 "\n", sum);
  }
  if (sum < 0)
    fprintf(stderr, "pager: %s\n", vmm_error_text());
  fclose(file);
  return sum < 0;
}
