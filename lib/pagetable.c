/*
 * The walker, and the leaves it finds.
 */
#include "pagetable.h"

#include <errno.h>

#include "metadata.h"

static size_t leaf_nbytes(const struct vmmi_pagetable *pt)
{
  return sizeof(struct vmmi_leaf) +
         vmmi_leaf_pages(pt) * sizeof(vmmi_pte_slot);
}

static void *make_leaf(const void *pt)
{
  struct vmmi_leaf *leaf = vmmi_metadata_alloc(leaf_nbytes(pt));

  if (leaf != NULL)
    atomic_init(&leaf->run, VMMI_NO_RUN);
  return leaf;
}

static void unmake_leaf(void *leaf, const void *pt)
{
  vmmi_metadata_free(leaf, leaf_nbytes(pt));
}

int vmmi_pagetable_init(struct vmmi_pagetable *pt, uint64_t size,
                        unsigned page_shift)
{
  pt->size = size;
  pt->page_shift = page_shift;
  return vmmi_radix_init(&pt->leaves, ((size - 1) >> VMMI_CHUNK_SHIFT) + 1);
}

void vmmi_pagetable_end(struct vmmi_pagetable *pt)
{
  struct vmmi_leaf *leaf;

  for (uint64_t i = 0;
       (leaf = vmmi_radix_next(&pt->leaves, &i, pt->leaves.count)) != NULL; i++)
    unmake_leaf(leaf, pt);
  vmmi_radix_end(&pt->leaves);
}

struct vmmi_leaf *vmmi_pagetable_walk(struct vmmi_pagetable *pt, vmm_addr_t va,
                                      bool create)
{
  uint64_t i = va >> VMMI_CHUNK_SHIFT;

  vmmi_assert(va < pt->size, "pagetable_walk: address beyond the space");
  if (create)
    return vmmi_radix_make(&pt->leaves, i, make_leaf, unmake_leaf, pt);
  return vmmi_radix_get(&pt->leaves, i);
}

struct vmmi_leaf *vmmi_pagetable_next(struct vmmi_pagetable *pt, vmm_addr_t *va,
                                      vmm_addr_t end)
{
  uint64_t i = *va >> VMMI_CHUNK_SHIFT;
  struct vmmi_leaf *leaf;

  if (*va >= end)
    return NULL;
  leaf = vmmi_radix_next(&pt->leaves, &i, ((end - 1) >> VMMI_CHUNK_SHIFT) + 1);
  if (leaf != NULL)
    *va = vmmi_max(*va, i << VMMI_CHUNK_SHIFT);
  return leaf;
}

int vmmi_pagetable_each(struct vmmi_pagetable *pt, vmm_addr_t va,
                        vmm_addr_t end,
                        int (*visit)(vmm_addr_t va, vmmi_pte_slot *slot,
                                     void *arg),
                        void *arg)
{
  vmm_addr_t page = (vmm_addr_t)1 << pt->page_shift;
  struct vmmi_leaf *leaf;

  while ((leaf = vmmi_pagetable_next(pt, &va, end)) != NULL) {
    vmm_addr_t stop = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE;

    for (; va < vmmi_min(stop, end); va += page) {
      vmmi_pte_slot *slot = &leaf->pte[vmmi_leaf_index(pt, va)];
      int result = atomic_load(slot) != 0 ? visit(va, slot, arg) : 0;

      if (result != 0)
        return result;
    }
  }
  return 0;
}

vmm_pte_t vmmi_pagetable_get(struct vmmi_pagetable *pt, vmm_addr_t va)
{
  struct vmmi_leaf *leaf = vmmi_pagetable_walk(pt, va, false);

  return leaf != NULL ? atomic_load(&leaf->pte[vmmi_leaf_index(pt, va)]) : 0;
}
