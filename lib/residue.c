/*
 * The list of ranges behind a tracker's bits.
 */
#include "residue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "thread.h"

static uint64_t end_of(const struct vmm_range *range)
{
  return range->start + range->nbytes;
}

/* => the index of the first range that ends at or above at */
static size_t index_of(const struct vmmi_residue *residue, uint64_t at)
{
  size_t low = 0, high = residue->count;

  while (low < high) {
    size_t middle = low + (high - low) / 2;

    if (end_of(&residue->ranges[middle]) < at)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

int vmmi_residue_reserve(struct vmmi_residue *residue, size_t n)
{
  size_t room = 2 * residue->room + n;
  struct vmm_range *ranges;

  if (residue->room - residue->count >= n)
    return 0;
  if (vmmi_thread_self.signals > 0)
    return -ENOMEM; /* no malloc there: a tracker may report too much */
  ranges = vmmi_os_realloc(residue->ranges, room * sizeof(ranges[0]));
  if (ranges == NULL)
    return -ENOMEM;
  residue->ranges = ranges;
  residue->room = room;
  return 0;
}

void vmmi_residue_end(struct vmmi_residue *residue)
{
  free(residue->ranges);
  *residue = (struct vmmi_residue){ 0 };
}

/* Puts count ranges in the place of the old ones from i on. => there is room */
static void replace_ranges(struct vmmi_residue *residue, size_t i, size_t old,
                           const struct vmm_range *with, size_t count)
{
  struct vmm_range *at = residue->ranges + i;

  if (old != count)
    memmove(at + count, at + old,
            (residue->count - i - old) * sizeof(residue->ranges[0]));
  if (count != 0)
    memcpy(at, with, count * sizeof(with[0]));
  residue->count += count - old;
}

/* => the index of the range that is nearest to [start, end), which lies in a
 *    gap before range i */
static size_t nearest_of(const struct vmmi_residue *residue, size_t i,
                         uint64_t start, uint64_t end)
{
  if (i == 0)
    return 0;
  if (i == residue->count || start - end_of(&residue->ranges[i - 1]) <
                                 residue->ranges[i].start - end)
    return i - 1;
  return i;
}

void vmmi_residue_add(struct vmmi_residue *residue, uint64_t start,
                      uint64_t nbytes)
{
  uint64_t end = start + nbytes;
  size_t i = index_of(residue, start);
  size_t last = i;
  struct vmm_range range;

  while (last < residue->count && residue->ranges[last].start <= end)
    last++;
  if (i == last && vmmi_residue_reserve(residue, 1) != 0) {
    vmmi_assert(residue->room != 0, "residue_add: nothing was reserved");
    i = nearest_of(residue, i, start, end);
    last = i + 1;
  }
  if (i != last) {
    start = vmmi_min(start, residue->ranges[i].start);
    end = vmmi_max(end, end_of(&residue->ranges[last - 1]));
  }
  range = (struct vmm_range){ start, end - start };
  replace_ranges(residue, i, last - i, &range, 1);
  vmmi_assert_full(vmmi_residue_valid(residue), "residue_add: not sorted");
}

void vmmi_residue_remove(struct vmmi_residue *residue, uint64_t start,
                         uint64_t nbytes)
{
  uint64_t end = start + nbytes;
  size_t i = index_of(residue, start + 1);
  size_t last = i, count = 0;
  struct vmm_range rest[2];

  while (last < residue->count && residue->ranges[last].start < end)
    last++;
  if (i == last)
    return;
  if (residue->ranges[i].start < start) {
    uint64_t from = residue->ranges[i].start;

    rest[count++] = (struct vmm_range){ from, start - from };
  }
  if (end_of(&residue->ranges[last - 1]) > end) {
    uint64_t to = end_of(&residue->ranges[last - 1]);

    rest[count++] = (struct vmm_range){ end, to - end };
  }
  if (count > last - i && vmmi_residue_reserve(residue, 1) != 0)
    return;
  replace_ranges(residue, i, last - i, rest, count);
}

const struct vmm_range *vmmi_residue_from(const struct vmmi_residue *residue,
                                          uint64_t at)
{
  size_t i = index_of(residue, at + 1);

  return i < residue->count ? &residue->ranges[i] : NULL;
}

bool vmmi_residue_valid(const struct vmmi_residue *residue)
{
  uint64_t end = 0;

  if (residue->count > residue->room)
    return false;
  for (size_t i = 0; i < residue->count; i++) {
    const struct vmm_range *range = &residue->ranges[i];

    if (range->nbytes == 0 || end_of(range) < range->start ||
        (i != 0 && range->start <= end))
      return false;
    end = end_of(range);
  }
  return true;
}
