/*
 * A ring buffer without a seam: one object is mapped twice, end to end, so that
 * a record which runs over the end of the first mapping goes on at its
 * beginning.  All mappings of an object show the same bytes.
 */
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

#define RING 0x40000000
#define RING_SIZE (64 << 10)

/* Maps the object at RING and again right behind. */
static int map_twice(struct vmm_space *space, struct vmm_object *object)
{
  struct vmm_map_options options = { 0 };
  vmm_addr_t first = RING, second = RING + RING_SIZE;

  options.object = object;
  options.rights = VMM_READ | VMM_WRITE;
  if (vmm_map(space, &first, RING_SIZE, &options) != 0)
    return -1;
  return vmm_map(space, &second, RING_SIZE, &options);
}

int main(void)
{
  static const char record[] = "a record that runs over the end of the ring";
  struct vmm_object *object = NULL;
  struct vmm_space *space = NULL;
  int failed = 1;
  char *ring;

  if (vmm_space_create(&space, NULL) != 0 ||
      vmm_object_create(&object, RING_SIZE, NULL) != 0 ||
      map_twice(space, object) != 0)
    goto out;

  ring = vmm_space_base(space) + RING;
  strcpy(ring + RING_SIZE - 14, record);
  printf("whole:     %s\n", ring + RING_SIZE - 14);
  printf("beginning: %s\n", ring);
  failed = 0;
out:
  if (failed)
    fprintf(stderr, "mirror: %s\n", vmm_error_text());
  vmm_object_release(object); /* the regions hold it as long as they need it */
  vmm_space_destroy(space);
  return failed;
}
