/*
 * Guest memory by calls: copies, fills, strings, fixups.  A range is done page
 * by page, each held while its bytes move by the alias, with no lock held.
 *
 * The host's side may lie in a window and fault.  Inside vmmi_thread_enter()
 * such a fault is not repaired but ends the move, so a page is tried inside,
 * which saves two system calls, and done outside if that fails.
 */
#include <errno.h>
#include <string.h>

#include <vmm/access.h>
#include <vmm/debug.h>

#include "access.h"
#include "map.h"
#include "perform.h"
#include "watch.h"

/* Pages that are copied without letting signals in. */
#define BATCH 16

enum way { COPY_IN, COPY_OUT, FILL };

struct transfer {
  struct vmm_space *space;
  enum way way;
  vmm_addr_t va;
  char *host; /* COPY_OUT only reads it */
  int byte;
  size_t left;
  unsigned flags; /* VMMI_RESOLVE_* */
};

static int move_bytes(const struct transfer *t, char *guest, char *host,
                      size_t nbytes)
{
  switch (t->way) {
  case COPY_IN:
    return vmmi_arch_copy(host, guest, nbytes);
  case COPY_OUT:
    return vmmi_arch_copy(guest, host, nbytes);
  default:
    return vmmi_arch_fill(guest, t->byte, nbytes);
  }
}

static void advance(struct transfer *t, size_t nbytes)
{
  t->va += nbytes;
  t->left -= nbytes;
  if (t->way != FILL)
    t->host += nbytes;
}

/* => bytes up to the next host page of the pointer */
static size_t page_rest(const void *at)
{
  size_t page = (size_t)1 << vmmi_os_page_shift();

  return page - ((uintptr_t)at & (page - 1));
}

/* Moves the first nbytes of the transfer at guest, in a page that is held;
 * steps over them.  => 0; -EIO the guest's side fails, -EFAULT the host's */
static int move_part(struct transfer *t, char *guest, size_t nbytes)
{
  bool whole = move_bytes(t, guest, t->host, nbytes) == 0;

  while (nbytes != 0) {
    size_t step = nbytes;

    if (!whole) { /* once more, to find the page that fails */
      step = vmmi_min(step, vmmi_min(page_rest(guest), page_rest(t->host)));
      if (move_bytes(t, guest, t->host, step) != 0)
        return vmmi_arch_probe(guest, t->way != COPY_IN) != 0 ? -EIO : -EFAULT;
    }
    guest += step;
    nbytes -= step;
    advance(t, step);
  }
  return 0;
}

/* A handler wants the page left out: it reads zeros, writes to it are lost. */
static int skip_page(struct transfer *t)
{
  uint64_t page = t->space->page_nbytes;
  size_t nbytes = (size_t)vmmi_min(page - (t->va & (page - 1)), t->left);

  if (t->way == COPY_IN && vmmi_arch_fill(t->host, 0, nbytes) != 0)
    return vmmi_error(-EFAULT, "copy: the host's buffer", 0);
  advance(t, nbytes);
  return 0;
}

/* Moves a part of a page that is held.  => inside, and on return */
static int move_held(struct transfer *t, char *guest, size_t nbytes)
{
  int error;

  if (move_bytes(t, guest, t->host, nbytes) == 0) {
    advance(t, nbytes);
    return 0;
  }
  vmmi_thread_leave();
  error = move_part(t, guest, nbytes);
  vmmi_thread_enter();
  return error;
}

/* => inside, and on return */
static int transfer_page(struct transfer *t)
{
  uint64_t page = t->space->page_nbytes;
  size_t nbytes = (size_t)vmmi_min(page - (t->va & (page - 1)), t->left);
  unsigned access = t->way == COPY_IN ? VMM_READ : VMM_WRITE;
  struct vmmi_held held;
  int error = vmmi_pin_page(t->space, t->va, access, t->flags, &held);

  if (error != 0)
    return error;
  error = move_held(t, vmmi_pin_pointer(&held, t->va), nbytes);
  vmmi_unpin_page(&held);
  if (error == -EIO)
    return vmmi_access_fail(t->space, t->va, access);
  return error < 0 ? vmmi_error(error, "copy: the host's buffer", 0) : 0;
}

/* ---- a device's pages ---- */

/* What a piece of a copy has: as aligned, and as large, as both ends let it. */
static size_t natural_size(const struct transfer *t)
{
  size_t nbytes = 8;

  while (nbytes > t->left || !vmmi_is_aligned(t->va, nbytes))
    nbytes /= 2;
  return nbytes;
}

/* => 0; 1 skip; -EFAULT ... */
static int transfer_piece(struct transfer *t, size_t nbytes)
{
  unsigned access = t->way == COPY_IN ? VMM_READ : VMM_WRITE;
  char bytes[8];
  int error;

  if (t->way == FILL)
    memset(bytes, t->byte, sizeof(bytes));
  if (t->way == COPY_OUT && vmmi_arch_copy(bytes, t->host, nbytes) != 0)
    return vmmi_error(-EFAULT, "copy: the host's buffer", 0);
  error = vmmi_perform_quiet(t->space, t->va, nbytes, access, bytes);
  if (error != 0)
    return error;
  if (t->way == COPY_IN && vmmi_arch_copy(t->host, bytes, nbytes) != 0)
    return vmmi_error(-EFAULT, "copy: the host's buffer", 0);
  advance(t, nbytes);
  return 0;
}

/* The rest of a page that is a device's, piece by piece. */
static int transfer_device(struct transfer *t)
{
  uint64_t page = t->space->page_nbytes;
  size_t end = t->left - (size_t)vmmi_min(page - (t->va & (page - 1)), t->left);
  int error = 0;

  while (error == 0 && t->left > end)
    error = transfer_piece(t, natural_size(t));
  return error;
}

/* Some pages: signals of the program must not wait for all of a long copy.
 * => as vmmi_pin_page() */
static int transfer_pages(struct transfer *t)
{
  int error = 0;

  vmmi_thread_enter();
  for (int i = 0; error == 0 && t->left != 0 && i < BATCH; i++)
    error = transfer_page(t);
  vmmi_thread_leave();
  return error;
}

static int transfer(struct transfer *t)
{
  int error = 0;

  while (error == 0 && t->left != 0) {
    error = transfer_pages(t);
    if (error == VMMI_RESOLVE_DEVICE)
      error = transfer_device(t);
    if (error > 0)
      error = skip_page(t);
  }
  return error;
}

static int tell_watches(const struct transfer *t, unsigned when, size_t nbytes)
{
  return vmmi_perform_tell(t->space, t->va, nbytes,
                           t->way == COPY_IN ? VMM_READ : VMM_WRITE, when,
                           NULL);
}

/* The whole of a call: the watches learn of it as of one access. */
static int call(struct transfer *t, size_t *left)
{
  struct transfer begun = *t;
  int error = vmmi_space_check(t->space);

  if (error == 0)
    error = tell_watches(t, VMM_WATCH_BEFORE, t->left);
  while (error > 0 && t->left != 0) /* a handler says skip */
    error = skip_page(t) != 0 ? -EFAULT : 1;
  if (error == 0) {
    error = transfer(t);
    tell_watches(&begun, VMM_WATCH_AFTER, begun.left - t->left);
  }
  if (left != NULL)
    *left = t->left;
  return error > 0 ? 0 : error;
}

int vmm_copyin(struct vmm_space *space, void *to, vmm_addr_t from,
               size_t nbytes, size_t *left)
{
  struct transfer t = { space, COPY_IN, from, to, 0, nbytes, 0 };

  return call(&t, left);
}

int vmm_copyout(struct vmm_space *space, vmm_addr_t to, const void *from,
                size_t nbytes, size_t *left)
{
  struct transfer t = { space, COPY_OUT, to, (char *)(uintptr_t)from, 0,
                        nbytes, 0 };

  return call(&t, left);
}

int vmm_debug_write(struct vmm_space *space, vmm_addr_t to, const void *from,
                    size_t nbytes, size_t *left)
{
  struct transfer t = { space, COPY_OUT, to, (char *)(uintptr_t)from, 0,
                        nbytes, VMMI_RESOLVE_FORCE };
  int error = vmmi_space_check(space);

  if (error == 0)
    error = transfer(&t); /* a debugger's write is not watched */
  if (left != NULL)
    *left = t.left;
  if (t.va != to) /* pages got other frames */
    vmmi_wire_again(space, vmmi_align_down(to, space->page_nbytes),
                    vmmi_align_up(t.va, space->page_nbytes));
  return error;
}

int vmm_fill(struct vmm_space *space, vmm_addr_t to, int byte, size_t nbytes,
             size_t *left)
{
  struct transfer t = { space, FILL, to, NULL, byte, nbytes, 0 };

  return call(&t, left);
}

int vmmi_access_copyin(struct vmm_space *space, void *to, vmm_addr_t from,
                       size_t nbytes, unsigned flags)
{
  struct transfer t = { space, COPY_IN, from, to, 0, nbytes, flags };

  return transfer(&t);
}

int vmmi_access_copyout(struct vmm_space *space, vmm_addr_t to,
                        const void *from, size_t nbytes, unsigned flags)
{
  struct transfer t = { space, COPY_OUT, to, (char *)(uintptr_t)from, 0,
                        nbytes, flags };

  return transfer(&t);
}

/* Copies up to a zero, which it may read beyond.
 * => bytes copied, the zero too; -ENAMETOOLONG there is none in size; -errno */
static int64_t copy_string(struct vmm_space *space, char *to, vmm_addr_t from,
                           size_t size)
{
  size_t done = 0;

  while (done < size) {
    /* pieces that end where pages do: beyond the zero nothing is needed */
    char piece[256];
    vmm_addr_t at = from + done;
    size_t nbytes = sizeof(piece) - (size_t)(at & (sizeof(piece) - 1));
    int error;
    char *zero;

    nbytes = (size_t)vmmi_min(nbytes, size - done);
    error = vmmi_access_copyin(space, piece, at, nbytes, 0);
    if (error != 0)
      return error;
    zero = memchr(piece, 0, nbytes);
    if (zero != NULL)
      nbytes = (size_t)(zero - piece) + 1;
    if (vmmi_arch_copy(to + done, piece, nbytes) != 0)
      return vmmi_error(-EFAULT, "copy: the host's buffer", 0);
    done += nbytes;
    if (zero != NULL)
      return (int64_t)done;
  }
  return vmmi_error(-ENAMETOOLONG, "string: no zero in its size", 0);
}

/* => error; if it is 1, an empty string was read */
static int forget_string(char *to, size_t nbytes, int error, size_t *length)
{
  if (error > 0 && nbytes == 0)
    return vmmi_error(-ENAMETOOLONG, "string: no zero in its size", 0);
  if (vmmi_arch_fill(to, 0, nbytes) != 0)
    return vmmi_error(-EFAULT, "copy: the host's buffer", 0);
  if (error > 0 && length != NULL)
    *length = 0;
  return error > 0 ? 0 : error;
}

int vmm_copyin_string(struct vmm_space *space, char *to, vmm_addr_t from,
                      size_t size, size_t *length)
{
  int error = vmmi_space_check(space);
  int64_t nbytes = error == 0 ? copy_string(space, to, from, size) : error;
  uint64_t read = nbytes > 0 ? (uint64_t)nbytes : size;

  if (nbytes < 0 && nbytes != -ENAMETOOLONG)
    return (int)nbytes;
  /* how long it is, is known only now */
  error = vmmi_perform_tell(space, from, read, VMM_READ, VMM_WATCH_BEFORE,
                            NULL);
  if (error != 0) /* refused, or to be left out: nothing was read */
    return forget_string(to, (size_t)read, error, length);
  vmmi_perform_tell(space, from, read, VMM_READ, VMM_WATCH_AFTER, NULL);
  if (nbytes < 0)
    return (int)nbytes;
  if (length != NULL)
    *length = (size_t)nbytes - 1;
  return 0;
}

int vmm_fixup(struct vmm_space *space, vmm_addr_t va, unsigned access)
{
  struct vmmi_request request = { .space = space, .va = va, .access = access };
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  if (access != VMM_READ && access != VMM_WRITE && access != VMM_EXEC)
    return vmmi_error(-EINVAL, "fixup: not one access", 0);
  error = vmmi_resolve_call(&request);
  if (error == 0)
    vmmi_space_unlock(space);
  if (error == 0)
    return request.waited;
  if (error == VMMI_RESOLVE_DEVICE)
    return vmmi_access_no_frame(space, va, access);
  /* skipped: the access would not succeed after it */
  return error > 0 ? vmmi_error(-EFAULT, "fixup: the handler skips it", 0)
                   : error;
}

/* Records a fault of the library's own finding.  => error */
static int fail_access(struct vmm_space *space, vmm_addr_t va, unsigned access,
                       unsigned reason, int error)
{
  struct vmmi_request request = { .space = space, .va = va, .access = access,
                                  .reason = reason };
  struct vmm_fault fault;

  vmmi_resolve_describe(&request, error, &fault);
  vmmi_resolve_give_up(&request, &fault);
  return error;
}

int vmmi_access_fail(struct vmm_space *space, vmm_addr_t va, unsigned access)
{
  fail_access(space, va, access, VMM_FAULT_OBJECT, -EIO);
  return vmmi_error(-EIO, "the object can't give the page", 0);
}

int vmmi_access_no_frame(struct vmm_space *space, vmm_addr_t va,
                         unsigned access)
{
  fail_access(space, va, access, VMM_FAULT_FORM, -EFAULT);
  return vmmi_error(-EFAULT, "a device has no frame to fix or pin", 0);
}
