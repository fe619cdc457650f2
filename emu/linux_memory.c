/*
 * System calls on the address space.  They are thin: a mapping is a region of
 * the space, and what the guest may not do the library refuses.
 *
 * A file's region has an object of its own, of just that part of the file; the
 * region's cookie is where the object begins in the file, in pages.  Shared
 * anonymous memory is private here: there is nobody to share it with.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "linux.h"
#include "linux_table.h"

enum { LOWEST = 0x10000 }; /* where mappings may go if the mmap area is full */

static uint64_t page_up(const struct linux_process *p, uint64_t value)
{
  return (value + p->page - 1) / p->page * p->page;
}

/* => whether [va, va + nbytes) is a range of the space; nbytes may be any */
static int in_space(const struct linux_process *p, vmm_addr_t va,
                    uint64_t nbytes)
{
  uint64_t size = vmm_space_size(p->space);

  return nbytes <= size && va <= size - nbytes;
}

/* Linux gives a writable page to be read, too. */
static int rights_of(uint64_t prot, uint32_t *rights)
{
  *rights = 0;
  if (prot & ~(uint64_t)(LINUX_PROT_READ | LINUX_PROT_WRITE | LINUX_PROT_EXEC))
    return -EINVAL;
  if (prot & LINUX_PROT_READ)
    *rights |= VMM_READ;
  if (prot & LINUX_PROT_WRITE)
    *rights |= VMM_READ | VMM_WRITE;
  if (prot & LINUX_PROT_EXEC)
    *rights |= VMM_EXEC;
  return 0;
}

/* => 0; -EINVAL not aligned; -ENOMEM a part of the range is not mapped */
static int64_t check_mapped(struct linux_process *p, vmm_addr_t va,
                            uint64_t nbytes)
{
  struct vmm_region_info region = { .struct_size = sizeof region };
  vmm_addr_t end;

  if (va % p->page != 0)
    return -EINVAL;
  if (!in_space(p, va, nbytes))
    return -ENOMEM;
  end = va + nbytes;
  while (va < end) {
    if (vmm_region_find(p->space, va, &region) != 0 || region.start > va)
      return -ENOMEM;
    va = region.start + region.nbytes;
  }
  return 0;
}

static uint64_t count_regions(const struct linux_process *p)
{
  struct vmm_region_info region = { .struct_size = sizeof region };
  vmm_addr_t va = 0;
  uint64_t n = 0;

  for (; vmm_region_find(p->space, va, &region) == 0; n++)
    va = region.start + region.nbytes;
  return n;
}

/* A call that may add two regions asks here first: a guest's regions take the
 * host's memory.  They are counted when so many calls were made that there
 * could be too many.  => 0 or -ENOMEM */
static int more_regions(struct linux_process *p)
{
  if (p->regions + 2 > LINUX_MAP_COUNT)
    p->regions = count_regions(p);
  if (p->regions + 2 > LINUX_MAP_COUNT)
    return -ENOMEM;
  p->regions += 2;
  return 0;
}

int64_t vmmi_sys_brk(struct linux_process *p, const uint64_t *a)
{
  vmm_addr_t old = page_up(p, p->brk);
  vmm_addr_t new;
  int error = 0;

  if (a[0] < p->brk_start || !in_space(p, a[0], p->page))
    return (int64_t)p->brk;
  new = page_up(p, a[0]);
  if (new > old)
    error = more_regions(p);
  if (new > old && error == 0)
    error = vmm_map_anon(p->space, old, new - old, VMM_READ | VMM_WRITE);
  else if (new < old)
    error = vmm_unmap(p->space, new, old - new);
  if (error == 0)
    p->brk = a[0];
  return (int64_t)p->brk;
}

/* ---- mmap ---- */

/* Maps where the guest asked, or else where there is room. */
static int64_t place(struct linux_process *p, vmm_addr_t hint, uint64_t nbytes,
                     uint64_t flags, struct vmm_map_options *options)
{
  vmm_addr_t va = hint;
  int error = -EEXIST;

  if (flags & (LINUX_MAP_FIXED | LINUX_MAP_FIXED_NOREPLACE)) {
    if (hint % p->page != 0)
      return -EINVAL;
    if (!in_space(p, hint, nbytes))
      return -ENOMEM;
    if (!(flags & LINUX_MAP_FIXED_NOREPLACE))
      options->flags |= VMM_REPLACE;
    error = vmm_map(p->space, &va, nbytes, options);
    return error != 0 ? error : (int64_t)va;
  }
  va -= va % p->page;
  if (va >= LOWEST && in_space(p, va, nbytes))
    error = vmm_map(p->space, &va, nbytes, options);
  if (error != -EEXIST)
    return error != 0 ? error : (int64_t)va;
  options->flags |= VMM_ANY;
  va = p->mmap_base;
  error = vmm_map(p->space, &va, nbytes, options);
  if (error == -ENOMEM) {
    va = LOWEST;
    error = vmm_map(p->space, &va, nbytes, options);
  }
  return error != 0 ? error : (int64_t)va;
}

static int is_zero_device(int host)
{
  struct stat file;

  return fstat(host, &file) == 0 && S_ISCHR(file.st_mode) &&
         file.st_rdev == makedev(1, 5);
}

static int64_t map_file(struct linux_process *p, const uint64_t *a,
                        uint64_t nbytes, struct vmm_map_options *options)
{
  int host = vmmi_fd_host(p, (int64_t)a[4]);
  int shared = (a[3] & LINUX_MAP_TYPE) != LINUX_MAP_PRIVATE;
  int flags = host < 0 ? 0 : fcntl(host, F_GETFL);
  int64_t va;

  if (host < 0 || (flags & O_PATH))
    return -EBADF;
  if ((flags & O_ACCMODE) == O_WRONLY ||
      (shared && (a[2] & LINUX_PROT_WRITE) && (flags & O_ACCMODE) != O_RDWR))
    return -EACCES;
  if (is_zero_device(host))
    return place(p, a[0], nbytes, a[3], options);
  va = vmm_object_from_fd(&options->object, host, a[5], nbytes, NULL);
  if (va != 0)
    return va;
  if (!shared)
    options->flags |= VMM_PRIVATE;
  options->cookie = (void *)(uintptr_t)(a[5] / p->page);
  va = place(p, a[0], nbytes, a[3], options);
  vmm_object_release(options->object);
  return va;
}

int64_t vmmi_sys_mmap(struct linux_process *p, const uint64_t *a)
{
  struct vmm_map_options options = { 0 };
  uint64_t type = a[3] & LINUX_MAP_TYPE;
  uint64_t nbytes = page_up(p, a[1]);

  if (type < LINUX_MAP_SHARED || type > LINUX_MAP_SHARED_VALIDATE ||
      a[1] == 0 || rights_of(a[2] & 7, &options.rights) != 0)
    return -EINVAL;
  if (!in_space(p, 0, a[1]) || !in_space(p, 0, nbytes))
    return -ENOMEM;
  if (more_regions(p) != 0)
    return -ENOMEM;
  if (a[3] & LINUX_MAP_ANONYMOUS)
    return place(p, a[0], nbytes, a[3], &options);
  if (a[5] % p->page != 0)
    return -EINVAL;
  if (a[5] > INT64_MAX - nbytes)
    return -EOVERFLOW;
  return map_file(p, a, nbytes, &options);
}

int64_t vmmi_sys_munmap(struct linux_process *p, const uint64_t *a)
{
  struct vmm_region_info region = { .struct_size = sizeof region };
  uint64_t nbytes = page_up(p, a[1]);

  if (a[0] % p->page != 0 || a[1] == 0 || !in_space(p, a[0], nbytes))
    return -EINVAL;
  if (vmm_region_find(p->space, a[0], &region) == 0 && region.start < a[0] &&
      a[0] + nbytes < region.start + region.nbytes && more_regions(p) != 0)
    return -ENOMEM;
  return vmm_unmap(p->space, a[0], nbytes);
}

int64_t vmmi_sys_mprotect(struct linux_process *p, const uint64_t *a)
{
  uint32_t rights;

  if (a[0] % p->page != 0 || rights_of(a[2], &rights) != 0)
    return -EINVAL;
  if (a[1] == 0)
    return 0;
  if (!in_space(p, a[0], a[1]) || more_regions(p) != 0)
    return -ENOMEM;
  return vmm_protect(p->space, a[0], page_up(p, a[1]), rights);
}

/* ---- mremap ---- */

struct remap {
  vmm_addr_t from;
  uint64_t old; /* bytes, as the next two whole pages */
  uint64_t bytes;
  struct vmm_region_info last; /* region of the old range */
};

/* What the bytes behind the old range are to be: of the same kind, and of the
 * same file as it goes on there. */
static int tail_options(const struct linux_process *p, const struct remap *r,
                        struct vmm_map_options *options)
{
  uint64_t offset;
  int fd;

  memset(options, 0, sizeof *options);
  options->rights = r->last.rights;
  if (r->last.object == NULL)
    return 0;
  fd = vmm_object_fd(r->last.object);
  if (fd < 0)
    return -ENOMEM;
  offset = (uintptr_t)r->last.cookie * p->page + r->last.offset +
           (r->from + r->old - r->last.start);
  options->flags = r->last.flags & VMM_PRIVATE;
  options->cookie = (void *)(uintptr_t)(offset / p->page);
  return vmm_object_from_fd(&options->object, fd, offset, r->bytes - r->old,
                            NULL);
}

static int64_t grow_here(struct linux_process *p, const struct remap *r)
{
  struct vmm_map_options options;
  vmm_addr_t va = r->from + r->old;
  int error;

  if (!in_space(p, r->from, r->bytes))
    return -ENOMEM;
  error = tail_options(p, r, &options);
  if (error != 0)
    return error;
  error = vmm_map(p->space, &va, r->bytes - r->old, &options);
  vmm_object_release(options.object);
  return error != 0 ? error : (int64_t)r->from;
}

/* The new place is reserved whole first, without rights. */
static int64_t move(struct linux_process *p, const struct remap *r,
                    uint64_t flags, vmm_addr_t to)
{
  struct vmm_map_options reserve = { 0 };
  struct vmm_map_options tail = { 0 };
  uint64_t kept = r->old < r->bytes ? r->old : r->bytes;
  int64_t va;
  int error = 0;

  if (r->bytes > r->old)
    error = tail_options(p, r, &tail);
  if (error != 0)
    return error;
  va = place(p, to, r->bytes, flags & LINUX_MREMAP_FIXED ? LINUX_MAP_FIXED : 0,
             &reserve);
  if (va >= 0) {
    vmm_addr_t at = (vmm_addr_t)va;

    error = vmm_move(p->space, r->from, kept, &at, VMM_REPLACE);
    at = (vmm_addr_t)va + kept;
    tail.flags |= VMM_REPLACE;
    if (error == 0 && r->bytes > kept)
      error = vmm_map(p->space, &at, r->bytes - kept, &tail);
    if (error != 0)
      vmm_unmap(p->space, (vmm_addr_t)va, r->bytes);
    else if (r->old > kept)
      vmm_unmap(p->space, r->from + kept, r->old - kept);
  }
  vmm_object_release(tail.object);
  return error != 0 ? error : va;
}

static int overlap(vmm_addr_t a, uint64_t na, vmm_addr_t b, uint64_t nb)
{
  return a < b + nb && b < a + na;
}

int64_t vmmi_sys_mremap(struct linux_process *p, const uint64_t *a)
{
  const uint64_t known = LINUX_MREMAP_MAYMOVE | LINUX_MREMAP_FIXED;
  struct remap r = { .from = a[0] };
  int64_t va;

  if (a[0] % p->page != 0 || (a[3] & ~known) || a[2] == 0 || a[1] == 0 ||
      a[3] == LINUX_MREMAP_FIXED)
    return -EINVAL;
  if (!in_space(p, a[0], a[1]) || !in_space(p, 0, a[2]))
    return -EINVAL;
  r.old = page_up(p, a[1]);
  r.bytes = page_up(p, a[2]);
  r.last.struct_size = sizeof r.last;
  if (check_mapped(p, a[0], r.old) != 0 ||
      vmm_region_find(p->space, a[0] + r.old - 1, &r.last) != 0)
    return -EFAULT;
  if (more_regions(p) != 0)
    return -ENOMEM;
  if (a[3] & LINUX_MREMAP_FIXED) {
    if (a[4] % p->page != 0 || !in_space(p, a[4], r.bytes) ||
        overlap(a[0], r.old, a[4], r.bytes))
      return -EINVAL;
    return move(p, &r, a[3], a[4]);
  }
  if (r.bytes < r.old) {
    va = vmm_unmap(p->space, a[0] + r.bytes, r.old - r.bytes);
    return va != 0 ? va : (int64_t)a[0];
  }
  if (r.bytes == r.old)
    return (int64_t)a[0];
  va = grow_here(p, &r);
  if (va >= 0)
    return va;
  return a[3] & LINUX_MREMAP_MAYMOVE ? move(p, &r, a[3], 0) : -ENOMEM;
}

/* ---- advice, and what needs nothing ---- */

int64_t vmmi_sys_madvise(struct linux_process *p, const uint64_t *a)
{
  int64_t error = check_mapped(p, a[0], page_up(p, a[1]));

  if (a[2] > LINUX_MADV_LAST)
    return -EINVAL;
  if (error != 0 || a[1] == 0 || a[2] != LINUX_MADV_DONTNEED)
    return error;
  return vmm_discard(p->space, a[0], page_up(p, a[1]));
}

/* Shared files are written through the host's page cache. */
int64_t vmmi_sys_msync(struct linux_process *p, const uint64_t *a)
{
  return check_mapped(p, a[0], page_up(p, a[1]));
}

/* Guest memory is not locked in the host's: nobody can tell from inside. */
int64_t vmmi_sys_mlock(struct linux_process *p, const uint64_t *a)
{
  vmm_addr_t start = a[0] - a[0] % p->page;

  return check_mapped(p, start, page_up(p, a[0] - start + a[1]));
}

int64_t vmmi_sys_munlock(struct linux_process *p, const uint64_t *a)
{
  return vmmi_sys_mlock(p, a);
}
