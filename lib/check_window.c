/*
 * The checker's proof of windows: that the host grants exactly what the record
 * says, shows the page's own frame there, and that the record says no more than
 * the page table.  What a frame's bytes are is read off the alias: both
 * mappings must show the same place of the same file.
 */
#include "check.h"

#include <inttypes.h>

#include "hart.h"
#include "watch.h"
#include "window_record.h"
#include "window_table.h"

/* The proof of one window, page by page upwards. */
struct proof {
  const struct vmmi_check *check;
  struct vmmi_window *window;
  vmm_addr_t at; /* all below is proved */
};

/* => the host's first mapping that ends above the address, or NULL */
static const struct vmmi_os_mapping *
mapping_from(const struct vmmi_check *check, uintptr_t host)
{
  size_t low = 0, high = check->count;

  while (low < high) {
    size_t middle = low + (high - low) / 2;

    if (check->maps[middle].end <= host)
      low = middle + 1;
    else
      high = middle;
  }
  return low < check->count ? &check->maps[low] : NULL;
}

/* => the next mapping, if it begins below end, or NULL */
static const struct vmmi_os_mapping *
mapping_after(const struct vmmi_check *check,
              const struct vmmi_os_mapping *mapping, uintptr_t end)
{
  mapping++;
  return mapping < check->maps + check->count && mapping->start < end ? mapping
                                                                      : NULL;
}

/* The host grants nothing in [start, end), which is at va for the guest. */
static int check_dark(const struct vmmi_check *check, uintptr_t start,
                      uintptr_t end, vmm_addr_t va)
{
  const struct vmmi_os_mapping *mapping = mapping_from(check, start);

  if (start >= end)
    return 0;
  for (; mapping != NULL && mapping->start < end;
       mapping = mapping_after(check, mapping, end))
    if (mapping->prot != 0)
      return vmmi_check_fail(va + (vmmi_max(mapping->start, start) - start),
                             "the host grants %u, the window nothing",
                             mapping->prot);
  return 0;
}

/* => whether both addresses show the same byte of the same file */
static bool same_place(const struct vmmi_os_mapping *a, uintptr_t at_a,
                       const struct vmmi_os_mapping *b, uintptr_t at_b)
{
  return a->inode != 0 && a->inode == b->inode && a->device == b->device &&
         a->offset + (at_a - a->start) == b->offset + (at_b - b->start);
}

/* The host shows the frame at host, where it shows mapping. */
static int check_shown(const struct proof *proof, vmm_addr_t va, uint8_t record,
                       const struct vmmi_os_mapping *mapping, uintptr_t host)
{
  vmm_pte_t pte = vmmi_pagetable_get(&proof->window->space->pt, va);
  uintptr_t page = (uintptr_t)proof->window->base + va;
  uintptr_t alias = (uintptr_t)vmmi_arena_pointer(vmm_pte_frame(pte)) +
                    (host - page);
  const struct vmmi_os_mapping *bytes = mapping_from(proof->check, alias);
  unsigned kind = record & VMMI_RECORD_KIND;
  bool same = bytes != NULL && bytes->start <= alias &&
              same_place(mapping, host, bytes, alias);

  if (kind == VMMI_RECORD_ZERO) {
    if (vmm_pte_frame(pte) == VMMI_ZERO_FRAME && (mapping->inode == 0 || same))
      return 0;
    return vmmi_check_fail(va, "the window does not show zeros");
  }
  return same ? 0
              : vmmi_check_fail(va, "the window does not show frame 0x%" PRIx64,
                                vmm_pte_frame(pte));
}

/* What the host has at one page of the window that has a record. */
static int check_host(const struct proof *proof, vmm_addr_t va, uint8_t record)
{
  const struct vmmi_check *check = proof->check;
  unsigned rights = record & VMMI_RECORD_RIGHTS;
  uintptr_t start = (uintptr_t)proof->window->base + va;
  uintptr_t end = start + proof->window->space->page_nbytes;
  const struct vmmi_os_mapping *mapping = mapping_from(check, start);
  uintptr_t host = start;
  int error = 0;

  for (; error == 0 && mapping != NULL && mapping->start <= host && host < end;
       mapping = mapping_after(check, mapping, end)) {
    if (mapping->prot != rights)
      return vmmi_check_fail(va, "the host grants %u, the record says %u",
                             mapping->prot, rights);
    if (rights != 0)
      error = check_shown(proof, va, record, mapping, host);
    host = mapping->end;
  }
  if (error == 0 && host < end)
    return vmmi_check_fail(va, "the host maps nothing there");
  return error;
}

/* => whether that is the trampoline page, of some guest thread, which nobody
 *    writes */
static bool is_trampoline(const struct proof *proof, vmm_addr_t va,
                          uint8_t record)
{
  const struct vmmi_region *region =
      vmmi_region_at(proof->check->space->regions, va);

  return region != NULL && (region->flags & VMM_TRAMPOLINE) &&
         !(record & VMM_WRITE) && atomic_load(&proof->window->hart) != NULL &&
         atomic_load(&proof->window->trampoline) != 0 &&
         proof->window->trampoline_va == va;
}

static int check_record(vmm_addr_t va, uint8_t record, void *arg)
{
  struct proof *proof = arg;
  struct vmm_space *space = proof->window->space;
  uintptr_t base = (uintptr_t)proof->window->base;
  vmm_pte_t pte = vmmi_pagetable_get(&space->pt, va);
  unsigned silent = vmmi_record_allowed(pte, proof->window->view);
  unsigned rights = record & VMMI_RECORD_RIGHTS;
  int error = check_dark(proof->check, base + proof->at, base + va, proof->at);

  if (error == 0 && is_trampoline(proof, va, record)) {
    proof->at = va + space->page_nbytes;
    return 0; /* it has no entry */
  }
  if (error == 0 && (rights & ~silent))
    error = vmmi_check_fail(va, "the window grants %u, the entry 0x%" PRIx64
                                " only %u", rights, pte, silent);
  if (error == 0 && rights != 0 && (record & VMMI_RECORD_KIND) == 0)
    error = vmmi_check_fail(va, "the record 0x%x grants what is not mapped",
                            record);
  if (error == 0)
    error = check_host(proof, va, record);
  proof->at = va + space->page_nbytes;
  return error;
}

static uintptr_t page_of_host(void)
{
  return (uintptr_t)1 << vmmi_os_page_shift();
}

/* A page of an entry area shows the bytes at alias, or, if that is NULL,
 * nothing. */
static int check_entry_page(const struct vmmi_check *check, uintptr_t host,
                            vmm_addr_t va, const void *alias)
{
  const struct vmmi_os_mapping *mapping = mapping_from(check, host);
  const struct vmmi_os_mapping *bytes = mapping_from(check, (uintptr_t)alias);

  if (alias == NULL)
    return check_dark(check, host, host + page_of_host(), va);
  if (mapping == NULL || mapping->start > host || bytes == NULL ||
      mapping->prot != (VMM_READ | VMM_WRITE) ||
      !same_place(mapping, host, bytes, (uintptr_t)alias))
    return vmmi_check_fail(va, "the entry area does not show its page");
  return 0;
}

/* The guards, which always fault, but for an entry area. */
static int check_below(const struct vmmi_check *check,
                       const struct vmmi_window *window)
{
  uintptr_t base = (uintptr_t)window->base;
  uintptr_t at = (uintptr_t)window->reserved;
  int error = 0;

  for (unsigned i = 0; error == 0 && i < VMMI_ENTRY_PAGES; i++) {
    const void *shown = vmmi_hart_entry_shows(window, i);
    uintptr_t page;

    if (shown == NULL)
      continue;
    page = base - vmmi_hart_entry(window->hart, i);
    error = check_dark(check, at, page, at - base);
    if (error == 0)
      error = check_entry_page(check, page, page - base, shown);
    at = page + page_of_host();
  }
  return error != 0 ? error : check_dark(check, at, base, at - base);
}

static int check_guards(const struct vmmi_check *check,
                        const struct vmmi_window *window)
{
  uintptr_t base = (uintptr_t)window->base;
  uintptr_t reserved = (uintptr_t)window->reserved;
  uint64_t size = window->space->size;
  int error = check_below(check, window);

  return error != 0 ? error
                    : check_dark(check, base + size,
                                 reserved + window->reserved_nbytes, size);
}

static int check_window(struct vmmi_window *window, void *arg)
{
  const struct vmmi_check *check = arg;
  struct proof proof = { check, window, check->va };
  uintptr_t base = (uintptr_t)window->base;
  int error = check_guards(check, window);

  if (error == 0)
    error = vmmi_window_walk(window, check->va, check->end - check->va,
                             check_record, &proof);
  return error != 0 ? error
                    : check_dark(check, base + proof.at, base + check->end,
                                 proof.at);
}

/* Wired pages are in the space's window with all that their region grants, but
 * for exec, which is installed when asked for. */
static int check_wired(const struct vmmi_check *check,
                       const struct vmmi_region *region)
{
  struct vmm_space *space = check->space;
  unsigned rights = region->rights & (VMM_READ | VMM_WRITE);
  vmm_addr_t va = vmmi_max(region->start, check->va);

  for (; va < vmmi_min(region->end, check->end); va += space->page_nbytes) {
    unsigned granted = vmmi_window_granted(&space->window, va);

    if (vmmi_watch_stops(space, va, space->page_nbytes) != 0)
      continue; /* it lacks what a watch denies */
    if (rights & ~granted)
      return vmmi_check_fail(va, "wired, but the window grants %u of %u",
                             granted, rights);
  }
  return 0;
}

int vmmi_check_windows(struct vmmi_check *check)
{
  struct vmm_space *space = check->space;
  struct vmmi_region *region = vmmi_region_from(space->regions, check->va);
  int error = vmmi_window_each(space, check_window, check);

  for (; error == 0 && region != NULL && region->start < check->end;
       region = vmmi_region_from(space->regions, region->end))
    if (region->flags & VMM_WIRED)
      error = check_wired(check, region);
  return error;
}
