/*
 * "Fastmem": how an emulator or a JIT reaches guest memory.  A load is one
 * plain instruction at base + address; 32-bit addresses can't leave the 4 GiB
 * of the space.  If nobody repairs its fault it goes on at a label, with every
 * other local variable intact, and the fault is a value to report.
 *
 * The guest here is a list: each node is { next, value }, and the last node's
 * next is 0, where nothing is mapped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <vmm/vmm.h>

#define HEAP 0x1000000
#define NNODES 1000

/* Builds the list, back to front over the heap. */
static int build(struct vmm_space *space)
{
  uint32_t next = 0, node[2], i;

  for (i = 1; i <= NNODES; i++) {
    uint32_t at = HEAP + (i * 7919 % 8192) * 64;

    node[0] = next;
    node[1] = i;
    if (vmm_copyout(space, at, node, sizeof(node), NULL) != 0)
      return -1;
    next = at;
  }
  return vmm_store(space, HEAP, &next, sizeof(next));
}

/* Adds up the list whose head is at HEAP, until a load faults.
 * => the number of loads that did not */
static uint64_t walk(char *base, uint64_t *sum)
{
  uint64_t loads = 0;
  uint32_t at, value;

  *sum = 0;
  vmm_try_load_u32(at, base + HEAP, fault);
  for (;;) {
    vmm_try_load_u32(value, base + (uint32_t)(at + 4), fault);
    *sum += value;
    vmm_try_load_u32(at, base + at, fault);
    loads += 2;
  }
fault:
  return loads;
}

int main(void)
{
  struct vmm_space_options options = { 0 };
  struct vmm_fault fault = { 0 };
  struct vmm_space *space = NULL;
  uint64_t loads, sum;

  options.size = 1ull << 32;
  if (vmm_space_create(&space, &options) != 0 ||
      vmm_map_anon(space, HEAP, 1 << 20, VMM_READ | VMM_WRITE) != 0 ||
      build(space) != 0) {
    fprintf(stderr, "fastmem: %s\n", vmm_error_text());
    vmm_space_destroy(space);
    return 1;
  }
  loads = walk(vmm_space_base(space), &sum);
  vmm_fault_last(&fault);
  printf("%" PRIu64 " loads, sum %" PRIu64 "\n", loads, sum);
  printf("then a read of 0x%" PRIx64 ": %s\n", fault.va,
         vmm_fault_reason_name(fault.reason));
  return vmm_space_destroy(space) != 0;
}
