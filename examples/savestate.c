/*
 * A save state: a snapshot of the whole machine goes into a file while it runs
 * on, and another machine goes on from it later.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vmm/vmm.h>

#define MEMORY 0x100000
#define NBYTES 0x10000

/* The guest, as far as this example has one: it counts, and keeps a log. */
static void run(struct vmm_space *space, int steps)
{
  char *memory = vmm_space_base(space) + MEMORY;
  int count;

  while (steps-- > 0) {
    memcpy(&count, memory, sizeof(count));
    count++;
    memcpy(memory, &count, sizeof(count));
    memory[0x8000 + count] = 'x';
  }
}

static void show(struct vmm_space *space, const char *when)
{
  const char *memory = vmm_space_base(space) + MEMORY;
  int count;

  memcpy(&count, memory, sizeof(count));
  printf("%-18s count %d, log %s\n", when, count, memory + 0x8001);
}

static int save(struct vmm_space *space, const char *path)
{
  struct vmm_snapshot *snapshot;
  int error = vmm_snapshot_take(&snapshot, space);

  if (error != 0)
    return error;
  run(space, 1); /* what happens from here on is not in the file */
  error = vmm_snapshot_save(snapshot, path, NULL);
  vmm_snapshot_drop(snapshot);
  return error;
}

static int demonstrate(struct vmm_space *space, const char *path)
{
  struct vmm_space *other;

  if (vmm_map_anon(space, MEMORY, NBYTES, VMM_READ | VMM_WRITE) != 0)
    return -1;
  run(space, 3);
  show(space, "before the save:");
  if (save(space, path) != 0)
    return -1;
  run(space, 5);
  show(space, "later:");
  if (vmm_snapshot_load(space, path, NULL) != 0)
    return -1;
  show(space, "loaded:");

  /* Another process would do just this. */
  if (vmm_space_load(&other, NULL, path, NULL) != 0)
    return -1;
  run(other, 1);
  show(other, "the other, later:");
  return vmm_space_destroy(other);
}

int main(void)
{
  struct vmm_space *space = NULL;
  char path[64];
  int failed;

  snprintf(path, sizeof(path), "/tmp/savestate-%ld", (long)getpid());
  failed = vmm_space_create(&space, NULL) != 0 || demonstrate(space, path) != 0;
  if (failed)
    fprintf(stderr, "savestate: %s\n", vmm_error_text());
  unlink(path);
  return vmm_space_destroy(space) != 0 || failed;
}
