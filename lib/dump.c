/*
 * A space in words: its regions with counts of their entries, its windows, its
 * trackers and counters.  Nothing is locked while the file is written, so a
 * busy space may change between two lines.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "backend.h"
#include "hart.h"
#include "pager.h"
#include "tracker.h"
#include "watch.h"
#include "window_table.h"

struct entries {
  uint64_t present, young, dirty, own, read, write, exec;
};

struct records {
  uint64_t run, zero, other, read, write, exec;
};

static int count_entry(vmm_addr_t va, uint64_t pte, void *arg)
{
  struct entries *entries = arg;

  (void)va;
  entries->present += (pte & VMM_PTE_PRESENT) != 0;
  entries->young += (pte & VMM_PTE_ACCESSED) != 0;
  entries->dirty += (pte & VMM_PTE_MODIFIED) != 0;
  entries->own += vmmi_pte_is_private(pte);
  entries->read += (pte & VMM_PTE_SREAD) != 0;
  entries->write += (pte & VMM_PTE_SWRITE) != 0;
  entries->exec += (pte & VMM_PTE_SEXEC) != 0;
  return 0;
}

static int count_record(vmm_addr_t va, uint8_t record, void *arg)
{
  struct records *records = arg;
  unsigned kind = record & VMMI_RECORD_KIND;

  (void)va;
  records->run += kind == VMMI_RECORD_RUN;
  records->zero += kind == VMMI_RECORD_ZERO;
  records->other += kind == VMMI_RECORD_OTHER;
  records->read += (record & VMM_READ) != 0;
  records->write += (record & VMM_WRITE) != 0;
  records->exec += (record & VMM_EXEC) != 0;
  return 0;
}

/* => the region's object, held, if it still is what info says; or NULL */
static struct vmm_object *hold_object(struct vmm_space *space,
                                      const struct vmm_region_info *info)
{
  const struct vmmi_region *region;
  struct vmm_object *object = NULL;

  vmmi_space_lock_shared(space);
  region = vmmi_region_at(space->regions, info->start);
  if (region != NULL && region->object != NULL &&
      region->object == info->object)
    object = vmm_object_hold(region->object);
  vmmi_space_unlock(space);
  return object;
}

static void dump_region(struct vmm_space *space,
                        const struct vmm_region_info *info,
                        const struct vmm_object *object, FILE *file)
{
  struct entries n = { 0 };

  vmm_pages_walk(space, info->start, info->nbytes, count_entry, &n);
  fprintf(file, "  %012" PRIx64 "-%012" PRIx64 " %c%c%c", info->start,
          info->start + info->nbytes, info->rights & VMM_READ ? 'r' : '-',
          info->rights & VMM_WRITE ? 'w' : '-',
          info->rights & VMM_EXEC ? 'x' : '-');
  if (info->object == NULL)
    fprintf(file, " private");
  else
    fprintf(file, " %s %p+0x%" PRIx64,
            object != NULL && object->device != NULL ? "device"
            : info->flags & VMM_PRIVATE              ? "copy of"
                                                     : "object",
            (void *)info->object, info->offset);
  fprintf(file, "%s%s%s%s\n", info->flags & VMM_WIRED ? " wired" : "",
          info->flags & VMM_HUGE ? " huge" : "",
          info->flags & VMM_EXACT ? " exact" : "",
          info->flags & VMM_TRAMPOLINE ? " trampoline" : "");
  if (n.present != 0)
    fprintf(file,
            "    present %" PRIu64 " own %" PRIu64 " young %" PRIu64
            " dirty %" PRIu64 " silent r %" PRIu64 " w %" PRIu64 " x %" PRIu64
            "\n",
            n.present, n.own, n.young, n.dirty, n.read, n.write, n.exec);
}

/* What its pager has, if it has one. */
static void dump_pager(struct vmm_object *object, FILE *file)
{
  struct vmm_pager_stats n = { .struct_size = sizeof(n) };

  if (object == NULL || object->pager == NULL)
    return;
  vmm_pager_stats(object, &n);
  fprintf(file,
          "    pager: resident %" PRIu64 " dirty %" PRIu64 " filled %" PRIu64
          " written back %" PRIu64 " evicted %" PRIu64 " failed %" PRIu64 "\n",
          n.resident, n.dirty, n.fills, n.write_backs, n.evictions, n.failures);
}

static void dump_regions(struct vmm_space *space, FILE *file)
{
  struct vmm_region_info info = { .struct_size = sizeof(info) };
  vmm_addr_t va = 0;

  fprintf(file, "regions\n");
  while (va < space->size && vmm_region_find(space, va, &info) == 0) {
    struct vmm_object *object = hold_object(space, &info);

    dump_region(space, &info, object, file);
    dump_pager(object, file);
    vmm_object_release(object);
    va = info.start + info.nbytes;
  }
}

static void print_window(const struct vmmi_window *window,
                         const struct records *n, FILE *file)
{
  const struct vmm_hart *hart = window->hart;

  if (hart != NULL)
    fprintf(file, "hart %u's%s ", hart->number,
            window->view == VMMI_VIEW_USER ? " user" : "");
  fprintf(file,
          "window at %p by %s, guards 0x%" PRIx64 " and 0x%" PRIx64 "\n"
          "    shown in runs %" PRIu64 " as zeros %" PRIu64
          " elsewhere %" PRIu64 " granted r %" PRIu64 " w %" PRIu64
          " x %" PRIu64 "\n",
          (void *)window->base, window->backend->name, window->guard_below,
          window->guard_above, n->run, n->zero, n->other, n->read, n->write,
          n->exec);
}

/* The windows are locked one by one, and none while the file is written. */
struct window_count {
  unsigned skip; /* those that were printed */
  struct vmmi_window *window;
  struct records records;
};

static int count_window(struct vmmi_window *window, void *arg)
{
  struct window_count *count = arg;

  if (count->skip-- > 0)
    return 0;
  count->window = window;
  return vmmi_window_walk(window, 0, window->space->size, count_record,
                          &count->records) + 1;
}

static void dump_windows(struct vmm_space *space, FILE *file)
{
  for (unsigned i = 0;; i++) {
    struct window_count count = { .skip = i };

    vmmi_thread_enter();
    vmmi_window_each(space, count_window, &count);
    vmmi_thread_leave();
    if (count.window == NULL)
      return;
    print_window(count.window, &count.records, file);
  }
}

static void dump_trackers(struct vmm_space *space, FILE *file)
{
  fprintf(file, "trackers");
  for (unsigned i = 0; i < VMMI_TRACKERS; i++) {
    const struct vmm_tracker *tracker = atomic_load(&space->trackers[i]);

    fprintf(file, " %s", tracker == NULL                  ? "-"
                         : vmmi_tracker_is_claim(tracker) ? "object"
                                                          : "space");
  }
  fprintf(file, "\n");
}

/* One line each, up to so many: a debugger may have thousands. */
static void dump_watches(struct vmm_space *space, FILE *file)
{
  struct vmm_watch copies[16];
  const struct vmm_watch *watch = NULL;
  unsigned n = 0, all = 0;

  vmmi_space_lock_shared(space);
  while ((watch = vmmi_watch_next(space, watch, 0, space->size)) != NULL)
    if (all++ < sizeof(copies) / sizeof(copies[0]))
      copies[n++] = *watch;
  vmmi_space_unlock(space);
  if (all != 0)
    fprintf(file, "watches %u\n", all);
  for (unsigned i = 0; i < n; i++)
    fprintf(file, "  %012" PRIx64 "-%012" PRIx64 " %c%c%c %s\n",
            copies[i].start, copies[i].end,
            copies[i].access & VMM_READ ? 'r' : '-',
            copies[i].access & VMM_WRITE ? 'w' : '-',
            copies[i].access & VMM_EXEC ? 'x' : '-',
            copies[i].when == VMM_WATCH_BEFORE ? "before" : "after");
}

static void dump_counters(struct vmm_space *space, FILE *file)
{
  struct vmm_stats stats = { .struct_size = sizeof(stats) };

  vmm_space_stats(space, &stats);
  fprintf(file,
          "faults r %" PRIu64 " w %" PRIu64 " x %" PRIu64 " repaired %" PRIu64
          " spurious %" PRIu64 " performed %" PRIu64 " handled %" PRIu64
          " unresolved %" PRIu64 "\n",
          stats.faults_read, stats.faults_write, stats.faults_exec,
          stats.repaired, stats.spurious, stats.performed, stats.handled,
          stats.unresolved);
  fprintf(file,
          "pages zero-filled %" PRIu64 " shown as zeros %" PRIu64
          " copied %" PRIu64 " frames %" PRIu64 "\n",
          stats.zero_fills, stats.zero_maps, stats.copies, stats.frames);
  fprintf(file,
          "windows installed %" PRIu64 " narrowed %" PRIu64 " flushes %" PRIu64
          " host calls %" PRIu64 " invalidations %" PRIu64 "\n",
          stats.installed, stats.narrowed, stats.flushes, stats.host_calls,
          stats.invalidations);
}

int vmm_dump(struct vmm_space *space, FILE *file)
{
  int error = vmmi_space_check(space);

  if (error == 0 && file == NULL)
    error = vmmi_error(-EINVAL, "dump: no file", 0);
  if (error != 0)
    return error;
  fprintf(file,
          "space %p of 0x%" PRIx64 " bytes, page 0x%" PRIx64
          ", mapped 0x%" PRIx64 "%s\n",
          (void *)space, space->size, space->page_nbytes,
          atomic_load(&space->counters.mapped),
          space->flags & VMM_EXACT ? ", exact" : "");
  dump_regions(space, file);
  if (!vmmi_space_has_window(space))
    fprintf(file, "no window: checked access\n");
  dump_windows(space, file);
  dump_trackers(space, file);
  dump_watches(space, file);
  dump_counters(space, file);
  return 0;
}
