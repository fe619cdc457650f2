/*
 * The tree of a space's watches, and telling them.  watch_life.c adds and
 * removes.
 */
#include "watch.h"

#include <errno.h>

/* Where a walk in order has come to: all up to here were met. */
struct spot {
  vmm_addr_t start;
  uint64_t serial;
  bool begun;
};

static bool is_behind(const struct vmm_watch *watch, const struct spot *place)
{
  if (!place->begun || watch->start > place->start)
    return true;
  return watch->start == place->start && watch->serial > place->serial;
}

/* ---- the treap ---- */

static void sum_watches(struct vmm_watch *node)
{
  node->last = node->end;
  if (node->left != NULL)
    node->last = vmmi_max(node->last, node->left->last);
  if (node->right != NULL)
    node->last = vmmi_max(node->last, node->right->last);
}

/* Splits the tree into what is not behind the place and what is. */
static void split_watches(struct vmm_watch *tree, const struct spot *place,
                          struct vmm_watch **before, struct vmm_watch **behind)
{
  if (tree == NULL) {
    *before = NULL;
    *behind = NULL;
  } else if (is_behind(tree, place)) {
    split_watches(tree->left, place, before, &tree->left);
    *behind = tree;
    sum_watches(tree);
  } else {
    split_watches(tree->right, place, &tree->right, behind);
    *before = tree;
    sum_watches(tree);
  }
}

static struct vmm_watch *merge_watches(struct vmm_watch *low,
                                       struct vmm_watch *high)
{
  if (low == NULL || high == NULL)
    return low != NULL ? low : high;
  if (low->priority >= high->priority) {
    low->right = merge_watches(low->right, high);
    sum_watches(low);
    return low;
  }
  high->left = merge_watches(low, high->left);
  sum_watches(high);
  return high;
}

static struct vmm_watch *root_of(struct vmm_space *space)
{
  return atomic_load_explicit(&space->watches, memory_order_acquire);
}

/* release: who sees it unlocked sees it filled */
static void set_root(struct vmm_space *space, struct vmm_watch *root)
{
  atomic_store_explicit(&space->watches, root, memory_order_release);
}

void vmmi_watch_insert(struct vmm_watch *watch)
{
  struct spot place = { watch->start, watch->serial, true };
  struct vmm_watch *before, *behind;

  watch->left = NULL;
  watch->right = NULL;
  /* Knuth's multiplicative hash: serials are consecutive */
  watch->priority = watch->serial * 0x9e3779b97f4a7c15u;
  sum_watches(watch);
  split_watches(root_of(watch->space), &place, &before, &behind);
  set_root(watch->space, merge_watches(merge_watches(before, watch), behind));
}

void vmmi_watch_take(struct vmm_watch *watch)
{
  struct spot last = { watch->start, watch->serial, true };
  struct spot first = { watch->start, watch->serial - 1, true };
  struct vmm_watch *before, *found, *behind;

  split_watches(root_of(watch->space), &last, &before, &behind);
  split_watches(before, &first, &before, &found);
  vmmi_assert(found == watch, "watch_take: not in the tree");
  set_root(watch->space, merge_watches(before, behind));
}

/* ---- what meets a range ---- */

static unsigned kinds_of(const struct vmm_watch *node, vmm_addr_t va,
                         vmm_addr_t end, unsigned kinds)
{
  const unsigned all = VMM_READ | VMM_WRITE | VMM_EXEC;

  if (node == NULL || node->last <= va || kinds == all)
    return kinds;
  kinds = kinds_of(node->left, va, end, kinds);
  if (node->start >= end)
    return kinds;
  if (node->end > va)
    kinds |= node->access;
  return kinds_of(node->right, va, end, kinds);
}

unsigned vmmi_watch_kinds(struct vmm_space *space, vmm_addr_t va,
                          uint64_t nbytes)
{
  return kinds_of(root_of(space), va, va + nbytes, 0);
}

vmm_pte_t vmmi_watch_stops(struct vmm_space *space, vmm_addr_t va,
                           uint64_t nbytes)
{
  unsigned kinds = vmmi_watch_kinds(space, va, nbytes);
  vmm_pte_t stops = 0;

  if (kinds & VMM_READ)
    stops = VMM_PTE_SILENT;
  if (kinds & VMM_WRITE)
    stops |= VMM_PTE_SWRITE;
  if (kinds & VMM_EXEC)
    stops |= VMM_PTE_SEXEC;
  return stops << VMM_PTE_STOP_SHIFT;
}

/* => the first one behind the place that meets [va, end) */
static struct vmm_watch *find_watch(struct vmm_watch *node,
                                    const struct spot *place, vmm_addr_t va,
                                    vmm_addr_t end)
{
  struct vmm_watch *found;

  if (node == NULL || node->last <= va)
    return NULL;
  if (is_behind(node, place)) {
    found = find_watch(node->left, place, va, end);
    if (found != NULL || node->start >= end)
      return found;
    if (node->end > va)
      return node;
  }
  return find_watch(node->right, place, va, end);
}

const struct vmm_watch *vmmi_watch_next(struct vmm_space *space,
                                        const struct vmm_watch *watch,
                                        vmm_addr_t va, uint64_t nbytes)
{
  struct spot place = { 0 };

  if (watch != NULL)
    place = (struct spot){ watch->start, watch->serial, true };
  return find_watch(root_of(space), &place, va, va + nbytes);
}

/* ---- telling ---- */

static bool wants_event(const struct vmm_watch *watch,
                        const struct vmm_watch_event *event)
{
  unsigned when = event->access == VMM_EXEC ? event->when : watch->when;

  return (watch->access & event->access) && when == event->when;
}

/* Copies the next watch that is to be told, and steps the place there.
 * => it, perhaps not there any more when it is told; NULL: no more */
static struct vmm_watch *next_to_tell(const struct vmm_watch_event *event,
                                      struct spot *place,
                                      struct vmm_watch *copy)
{
  struct vmm_space *space = event->space;
  struct vmm_watch *watch;

  vmmi_space_lock_shared(space);
  do {
    watch = find_watch(root_of(space), place, event->va,
                       event->va + event->nbytes);
    if (watch != NULL)
      *place = (struct spot){ watch->start, watch->serial, true };
  } while (watch != NULL && !wants_event(watch, event));
  if (watch != NULL)
    *copy = *watch;
  vmmi_space_unlock(space);
  return watch;
}

int vmmi_watch_tell(const struct vmm_watch_event *event)
{
  struct spot place = { 0 };
  struct vmm_watch copy, *watch;
  int refused = 0;

  if (root_of(event->space) == NULL) /* without a lock it may be old */
    return 0;
  while (refused == 0 &&
         (watch = next_to_tell(event, &place, &copy)) != NULL) {
    struct vmmi_away away;
    int answer;

    vmmi_thread_away(&away);
    answer = copy.function(watch, event, copy.arg);
    vmmi_thread_back(&away);
    if (answer != 0 && event->when == VMM_WATCH_BEFORE)
      refused = -EFAULT;
  }
  return refused;
}

/* ---- for the checker ---- */

unsigned vmmi_watch_count(struct vmm_space *space)
{
  const struct vmm_watch *watch = NULL;
  unsigned count = 0;

  while ((watch = vmmi_watch_next(space, watch, 0, space->size)) != NULL)
    count++;
  return count;
}

static bool is_tree(const struct vmm_watch *node)
{
  const struct vmm_watch *child[2];
  vmm_addr_t last;

  if (node == NULL)
    return true;
  last = node->end;
  child[0] = node->left;
  child[1] = node->right;
  for (int i = 0; i < 2; i++) {
    if (child[i] == NULL)
      continue;
    last = vmmi_max(last, child[i]->last);
    if (child[i]->priority > node->priority)
      return false;
  }
  return last == node->last && node->start < node->end &&
         node->end <= node->space->size && is_tree(child[0]) &&
         is_tree(child[1]);
}

bool vmmi_watch_valid(struct vmm_space *space)
{
  return is_tree(root_of(space));
}
