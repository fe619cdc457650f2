/*
 * The treap of regions, and the regions' link to their object.
 */
#include "region.h"

#include "inject.h"
#include "metadata.h"

/* A fixed hash of the start (the finaliser of splitmix64). */
static uint64_t hash(uint64_t x)
{
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

struct vmmi_region *vmmi_region_at(struct vmmi_region *root, vmm_addr_t va)
{
  while (root != NULL && (va < root->start || va >= root->end))
    root = va < root->start ? root->left : root->right;
  return root;
}

struct vmmi_region *vmmi_region_from(struct vmmi_region *root, vmm_addr_t va)
{
  struct vmmi_region *best = NULL;

  while (root != NULL) {
    if (va >= root->end) {
      root = root->right;
    } else {
      best = root;
      if (va >= root->start)
        break;
      root = root->left;
    }
  }
  return best;
}

/* What a node knows of its subtree, from its children. */
static void sum_up(struct vmmi_region *node)
{
  struct vmmi_region *low = node->left, *high = node->right;

  node->first = low != NULL ? low->first : node->start;
  node->last = high != NULL ? high->last : node->end;
  node->gap = 0;
  if (low != NULL)
    node->gap = vmmi_max(low->gap, node->start - low->last);
  if (high != NULL)
    node->gap = vmmi_max(node->gap,
                         vmmi_max(high->gap, high->first - node->end));
}

/* Splits the tree into what starts below va and the rest. */
static void split(struct vmmi_region *tree, vmm_addr_t va,
                  struct vmmi_region **below, struct vmmi_region **above)
{
  if (tree == NULL) {
    *below = NULL;
    *above = NULL;
  } else if (tree->start < va) {
    split(tree->right, va, &tree->right, above);
    *below = tree;
    sum_up(tree);
  } else {
    split(tree->left, va, below, &tree->left);
    *above = tree;
    sum_up(tree);
  }
}

static struct vmmi_region *merge(struct vmmi_region *low,
                                 struct vmmi_region *high)
{
  if (low == NULL || high == NULL)
    return low != NULL ? low : high;
  if (low->priority >= high->priority) {
    low->right = merge(low->right, high);
    sum_up(low);
    return low;
  }
  high->left = merge(low, high->left);
  sum_up(high);
  return high;
}

void vmmi_region_insert(struct vmmi_region **root, struct vmmi_region *region)
{
  struct vmmi_region *below, *above;

  region->left = NULL;
  region->right = NULL;
  region->priority = hash(region->start);
  sum_up(region);
  split(*root, region->start, &below, &above);
  *root = merge(merge(below, region), above);
}

void vmmi_region_remove(struct vmmi_region **root, struct vmmi_region *region)
{
  struct vmmi_region *below, *rest, *found, *above;

  split(*root, region->start, &below, &rest);
  split(rest, region->start + 1, &found, &above);
  vmmi_assert(found == region, "region_remove: not in the tree");
  *root = merge(below, above);
}

/* First fit in a subtree whose regions lie between low and high, the end and
 * the start of its neighbours. */
static vmm_addr_t fit(const struct vmmi_region *node, vmm_addr_t low,
                      vmm_addr_t high, vmm_addr_t from, uint64_t nbytes)
{
  vmm_addr_t start = vmmi_max(low, from);
  vmm_addr_t found;

  if (start >= high || high - start < nbytes)
    return UINT64_MAX;
  if (node == NULL)
    return start;
  if (node->gap < nbytes && node->first - low < nbytes &&
      high - node->last < nbytes)
    return UINT64_MAX;
  found = fit(node->left, low, node->start, from, nbytes);
  if (found == UINT64_MAX)
    found = fit(node->right, node->end, high, from, nbytes);
  return found;
}

vmm_addr_t vmmi_region_place(struct vmmi_region *root, vmm_addr_t from,
                             vmm_addr_t limit, uint64_t nbytes, uint64_t align)
{
  for (;;) {
    vmm_addr_t found = fit(root, 0, limit, from, nbytes);
    vmm_addr_t aligned = vmmi_align_up(found, align);
    const struct vmmi_region *next;

    if (found == UINT64_MAX || aligned < found || aligned > limit ||
        limit - aligned < nbytes)
      return UINT64_MAX;
    next = vmmi_region_from(root, found);
    if (next == NULL || (aligned <= next->start &&
                         next->start - aligned >= nbytes))
      return aligned;
    from = next->end; /* the gap is too short once aligned */
  }
}

void vmmi_region_copy(struct vmmi_region *to, const struct vmmi_region *from)
{
  *to = (struct vmmi_region){
    .start = from->start,
    .end = from->end,
    .space = from->space,
    .object = from->object,
    .offset = from->offset,
    .rights = from->rights,
    .flags = from->flags,
    .cookie = from->cookie,
    .handler = from->handler,
    .handler_arg = from->handler_arg,
    .serial = from->serial,
  };
  if (to->object != NULL)
    vmm_object_hold(to->object);
}

struct vmmi_region *vmmi_region_new(void)
{
  /* counted as malloc: that is what an embedder would make fail */
  if (vmmi_inject(VMM_TEST_MALLOC))
    return NULL;
  return vmmi_metadata_alloc(sizeof(struct vmmi_region));
}

void vmmi_region_free(struct vmmi_region *region)
{
  if (region == NULL)
    return;
  vmmi_assert(region->object_link == NULL, "region_free: still linked");
  vmm_object_release(region->object);
  vmmi_metadata_free(region, sizeof(*region));
}

void vmmi_region_link(struct vmmi_region *region)
{
  struct vmmi_region **place = &region->object->regions;

  region->object_next = *place;
  region->object_link = place;
  if (*place != NULL)
    (*place)->object_link = &region->object_next;
  *place = region;
}

void vmmi_region_unlink(struct vmmi_region *region)
{
  if (region->object_link == NULL)
    return;
  *region->object_link = region->object_next;
  if (region->object_next != NULL)
    region->object_next->object_link = region->object_link;
  region->object_next = NULL;
  region->object_link = NULL;
}
