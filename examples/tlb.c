/*
 * Memory without a window, as an interpreter reaches it: a TLB by software
 * finds the host's memory in a few instructions; what it does not have is
 * filled, and what it can't have is done by a call.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

#define MEMORY 0x10000

static unsigned fills;

/* => 0, or the library's error; vmm_fault_last() tells */
static int store32(struct vmm_tlb *tlb, struct vmm_space *space, vmm_addr_t va,
                   uint32_t value)
{
  for (;;) {
    int result;
    void *host;

    vmm_tlb_enter(tlb);
    host = vmm_tlb_write(tlb, va, sizeof(value));
    if (host != NULL)
      memcpy(host, &value, sizeof(value));
    vmm_tlb_leave(tlb);
    if (host != NULL)
      return 0;
    if ((va & 4095) > 4096 - sizeof(value)) /* it lies in two entries */
      return vmm_store(space, va, &value, sizeof(value));
    fills++;
    result = vmm_tlb_fill(tlb, va, VMM_WRITE);
    if (result == 1)
      return vmm_store(space, va, &value, sizeof(value));
    if (result != 0)
      return result;
  }
}

int main(void)
{
  struct vmm_space_options options = { 0 };
  struct vmm_fault fault;
  struct vmm_space *space;
  struct vmm_tlb *tlb;
  uint64_t bits;

  options.size = 1 << 20;
  options.page_size = 4096; /* whatever the host's is */
  options.flags = VMM_CHECKED;
  if (vmm_space_create(&space, &options) != 0 ||
      vmm_tlb_create(&tlb, space, NULL) != 0) {
    fprintf(stderr, "tlb: %s\n", vmm_error_text());
    return 1;
  }
  vmm_map_anon(space, MEMORY, 2 * 4096, VMM_READ | VMM_WRITE);
  for (unsigned i = 0; i < 1000; i++)
    store32(tlb, space, MEMORY + 4 * i, i);
  printf("1000 stores, %u filled\n", fills);

  /* Who cleans a page takes the entry away, so that the next store tells. */
  vmm_pages(space, MEMORY, 4096, VMM_PTE_MODIFIED, NULL);
  store32(tlb, space, MEMORY, 1);
  vmm_pages(space, MEMORY, 4096, 0, &bits);
  printf("after a clean: %u filled, dirty %d\n", fills,
         (bits & VMM_PTE_MODIFIED) != 0);

  store32(tlb, space, MEMORY + 4094, 0x01020304);
  if (store32(tlb, space, 0x80000, 1) != 0 && vmm_fault_last(&fault) == 0)
    printf("0x%" PRIx64 ": %s\n", fault.va,
           vmm_fault_reason_name(fault.reason));
  vmm_tlb_destroy(tlb);
  vmm_space_destroy(space);
  return 0;
}
