/*
 * Single accesses by calls: loads, stores, compare-and-swaps.  An access that
 * crosses into another page holds both before it reads or writes any byte.  The
 * value is copied from and to the caller's memory, which may lie in a window,
 * before and after; all between runs inside vmmi_thread_enter().
 */
#include <errno.h>
#include <string.h>

#include <vmm/access.h>

#include "access.h"
#include "perform.h"

#define SIZE_MAX_BYTES 16
#define HALF (SIZE_MAX_BYTES / 2)

/* The bytes of an access, in one page or in two. */
struct access {
  struct vmm_space *space;
  vmm_addr_t va;
  unsigned kind; /* VMM_READ, VMM_WRITE */
  size_t nbytes;
  size_t first; /* bytes in the first page */
  struct vmmi_held held[2];
};

static int check_size(struct vmm_space *space, size_t nbytes)
{
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  if (!vmmi_is_power_of_2(nbytes) || nbytes > SIZE_MAX_BYTES)
    return vmmi_error(-EINVAL, "access: not 1, 2, 4, 8 or 16 bytes", 0);
  return 0;
}

static void end_access(struct access *access)
{
  if (access->first < access->nbytes)
    vmmi_unpin_page(&access->held[1]);
  vmmi_unpin_page(&access->held[0]);
}

/* Holds what the access needs.  => as vmmi_pin_page() */
static int begin_access(struct access *access, struct vmm_space *space,
                        vmm_addr_t va, size_t nbytes, unsigned kind,
                        unsigned flags)
{
  uint64_t page = space->page_nbytes;
  int error;

  access->space = space;
  access->va = va;
  access->kind = kind;
  access->nbytes = nbytes;
  access->first = (size_t)vmmi_min(nbytes, page - (va & (page - 1)));
  error = vmmi_pin_page(space, va, kind, flags, &access->held[0]);
  if (error != 0 || access->first == nbytes)
    return error;
  error = vmmi_pin_page(space, va + access->first, kind, flags,
                        &access->held[1]);
  if (error != 0)
    vmmi_unpin_page(&access->held[0]);
  return error;
}

/* => the guest's bytes, in the first page or the second */
static char *bytes_of(const struct access *access, int i)
{
  vmm_addr_t va = access->va + (i == 0 ? 0 : access->first);

  return vmmi_pin_pointer(&access->held[i], va);
}

/* An access in one page, which is atomic where it is aligned. */
static int do_whole(const struct access *access, char *value)
{
  char *guest = bytes_of(access, 0);
  size_t n = vmmi_min(access->nbytes, HALF);
  int error = 0;

  if (!vmmi_is_power_of_2(n) || !vmmi_is_aligned(access->va, n))
    return access->kind == VMM_READ
               ? vmmi_arch_copy(value, guest, access->nbytes)
               : vmmi_arch_copy(guest, value, access->nbytes);
  for (size_t i = 0; error == 0 && i < access->nbytes; i += n)
    error = access->kind == VMM_READ ? vmmi_arch_load(guest + i, value + i, n)
                                     : vmmi_arch_store(guest + i, value + i, n);
  return error;
}

static int do_halves(const struct access *access, char *value)
{
  bool write = access->kind == VMM_WRITE;
  int error = 0;

  /* nothing is written if either page is gone */
  for (int i = 0; write && error == 0 && i < 2; i++)
    error = vmmi_arch_probe(bytes_of(access, i), true);
  for (int i = 0; error == 0 && i < 2; i++) {
    size_t n = i == 0 ? access->first : access->nbytes - access->first;
    char *at = value + (i == 0 ? 0 : access->first);

    error = write ? vmmi_arch_copy(bytes_of(access, i), at, n)
                  : vmmi_arch_copy(at, bytes_of(access, i), n);
  }
  return error;
}

int vmmi_access_memory(struct vmm_space *space, vmm_addr_t va, size_t nbytes,
                       unsigned kind, unsigned flags, void *value)
{
  struct access access;
  bool failed = false;
  int error;

  vmmi_thread_enter();
  error = begin_access(&access, space, va, nbytes, kind, flags);
  if (error == 0) {
    failed = (access.first == nbytes ? do_whole(&access, value)
                                     : do_halves(&access, value)) != 0;
    end_access(&access);
  }
  vmmi_thread_leave();
  return failed ? vmmi_access_fail(space, va, kind) : error;
}

static int copy_value(void *to, const void *from, size_t nbytes)
{
  if (vmmi_arch_copy(to, from, nbytes) == 0)
    return 0;
  return vmmi_error(-EFAULT, "access: the host's value", 0);
}

int vmm_load(struct vmm_space *space, vmm_addr_t va, void *value,
             size_t nbytes)
{
  char bytes[SIZE_MAX_BYTES];
  int error = check_size(space, nbytes);

  if (error == 0)
    error = vmmi_perform_call(space, va, nbytes, VMM_READ, bytes);
  if (error > 0)
    memset(bytes, 0, nbytes);
  return error < 0 ? error : copy_value(value, bytes, nbytes);
}

int vmm_store(struct vmm_space *space, vmm_addr_t va, const void *value,
              size_t nbytes)
{
  char bytes[SIZE_MAX_BYTES];
  int error = check_size(space, nbytes);

  if (error == 0)
    error = copy_value(bytes, value, nbytes);
  if (error == 0)
    error = vmmi_perform_call(space, va, nbytes, VMM_WRITE, bytes);
  return error > 0 ? 0 : error;
}

/* A handler leaves it out: it reads zeros, and a swap is lost. */
static int skip_cas(char *old, size_t nbytes)
{
  static const char zeros[SIZE_MAX_BYTES];
  int differs = memcmp(old, zeros, nbytes) != 0;

  memset(old, 0, nbytes);
  return differs;
}

/* A device is read and written: nothing makes that one step. */
static int cas_device(struct vmm_space *space, vmm_addr_t va, char *old,
                      char *fresh, size_t nbytes)
{
  char seen[SIZE_MAX_BYTES];
  int error = vmmi_perform_quiet(space, va, nbytes, VMM_READ, seen);

  if (error > 0)
    return skip_cas(old, nbytes);
  if (error < 0)
    return error;
  if (memcmp(seen, old, nbytes) != 0) {
    memcpy(old, seen, nbytes);
    return 1;
  }
  error = vmmi_perform_quiet(space, va, nbytes, VMM_WRITE, fresh);
  return error > 0 ? 0 : error;
}

static int do_cas(struct vmm_space *space, vmm_addr_t va, char *old,
                  char *fresh, size_t nbytes)
{
  struct access access;
  int held, result = 0;

  vmmi_thread_enter();
  held = begin_access(&access, space, va, nbytes, VMM_WRITE,
                      VMMI_RESOLVE_READ);
  if (held == 0) {
    char *guest = bytes_of(&access, 0);

    result = nbytes == SIZE_MAX_BYTES
                 ? vmmi_arch_cas16(guest, old, fresh)
                 : vmmi_arch_cas(guest, old, fresh, nbytes);
    end_access(&access);
  }
  vmmi_thread_leave();
  if (held == VMMI_RESOLVE_DEVICE)
    return cas_device(space, va, old, fresh, nbytes);
  if (held != 0)
    return held > 0 ? skip_cas(old, nbytes) : held;
  if (result == -ENOTSUP)
    return vmmi_error(result, "cas: 16 bytes, which the processor can't", 0);
  return result < 0 ? vmmi_access_fail(space, va, VMM_WRITE) : result;
}

/* A watch sees it as a read and a write of what it is to write. */
static int tell_cas(struct vmm_space *space, vmm_addr_t va, char *old,
                    char *fresh, size_t nbytes)
{
  const unsigned both = VMM_READ | VMM_WRITE;
  int result = vmmi_perform_tell(space, va, nbytes, both, VMM_WATCH_BEFORE,
                                 fresh);

  if (result != 0)
    return result > 0 ? skip_cas(old, nbytes) : result;
  result = do_cas(space, va, old, fresh, nbytes);
  if (result >= 0)
    vmmi_perform_tell(space, va, nbytes, both, VMM_WATCH_AFTER, fresh);
  return result;
}

int vmm_cas(struct vmm_space *space, vmm_addr_t va, void *expected,
            const void *desired, size_t nbytes)
{
  char old[SIZE_MAX_BYTES], fresh[SIZE_MAX_BYTES];
  int result = check_size(space, nbytes);
  int error;

  if (result == 0 && !vmmi_is_aligned(va, nbytes))
    result = vmmi_error(-EINVAL, "cas: not aligned", 0);
  if (result == 0)
    result = copy_value(old, expected, nbytes);
  if (result == 0)
    result = copy_value(fresh, desired, nbytes);
  if (result == 0)
    result = tell_cas(space, va, old, fresh, nbytes);
  if (result != 1)
    return result;
  error = copy_value(expected, old, nbytes);
  return error != 0 ? error : 1;
}
