/*
 * Which pages were written?  A tracker over a part of a space says so, as runs,
 * and forgets them in the same step: what a snapshot, a migration or a screen
 * refresh needs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <vmm/vmm.h>

#define MEMORY 0x100000
#define NPAGES 64

/* Prints the pages written since the last call, and forgets them. */
static int report(struct vmm_tracker *tracker, uint64_t page)
{
  struct vmm_range runs[NPAGES];
  size_t nruns = NPAGES, i;

  if (vmm_tracker_fetch(tracker, MEMORY, NPAGES * page, 1, runs, &nruns,
                        NULL) != 0)
    return -1;
  printf("written:");
  for (i = 0; i < nruns; i++)
    printf(" page %" PRIu64 " (%" PRIu64 ")", (runs[i].start - MEMORY) / page,
           runs[i].nbytes / page);
  printf(nruns == 0 ? " nothing\n" : "\n");
  return 0;
}

/* Writes to some pages between looks. */
static int watch(struct vmm_space *space, struct vmm_tracker *tracker)
{
  uint64_t page = vmm_space_page_size(space);
  char *memory = vmm_space_base(space) + MEMORY;

  memory[3 * page] = 1;
  memory[4 * page + 7] = 2;
  memory[20 * page] = 3;
  if (report(tracker, page) != 0 || report(tracker, page) != 0)
    return -1;

  /* A read is no write; a copy is one, like any other. */
  if (memory[3 * page] != 1 ||
      vmm_copyout(space, MEMORY + 9 * page, "x", 1, NULL) != 0)
    return -1;
  return report(tracker, page);
}

int main(void)
{
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker = NULL;
  struct vmm_space *space = NULL;
  int failed = 1;
  uint64_t nbytes;

  if (vmm_space_create(&space, NULL) != 0)
    goto out;
  nbytes = (uint64_t)NPAGES * vmm_space_page_size(space);
  options.kind = VMM_TRACK_WRITE;
  if (vmm_map_anon(space, MEMORY, nbytes, VMM_READ | VMM_WRITE) != 0 ||
      vmm_tracker_create(&tracker, space, MEMORY, nbytes, &options) != 0)
    goto out;
  failed = watch(space, tracker) != 0;
out:
  if (failed)
    fprintf(stderr, "dirty: %s\n", vmm_error_text());
  vmm_tracker_destroy(tracker);
  vmm_space_destroy(space);
  return failed;
}
