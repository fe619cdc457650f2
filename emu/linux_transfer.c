/*
 * Guest memory for system calls: small structures are copied, buffers of reads
 * and writes are pinned and given to the host as vectors.
 *
 * A transfer goes in rounds of at most ROUND_VECTORS pages.  A round is pinned
 * before the host is asked.  Where a buffer runs into memory that is not there,
 * the round ends before it; if nothing is before it, that is EFAULT.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "linux.h"

enum { ROUND_VECTORS = 256, ROUND_PINS = 64 };

struct round {
  struct vmm_iovec iov[ROUND_VECTORS];
  size_t niov;
  struct vmm_pin *pins[ROUND_PINS];
  size_t npins;
  uint64_t nbytes;
};

/* Where the transfer is in the guest's vectors. */
struct cursor {
  const struct linux_iovec *vectors;
  size_t count;
  uint64_t offset; /* in the first of them */
  uint64_t left;   /* bytes to go, all together */
};

int vmmi_linux_get(struct linux_process *p, void *to, vmm_addr_t from,
                   size_t nbytes)
{
  return vmm_copyin(p->space, to, from, nbytes, NULL) == 0 ? 0 : -EFAULT;
}

int vmmi_linux_put(struct linux_process *p, vmm_addr_t to, const void *from,
                   size_t nbytes)
{
  return vmm_copyout(p->space, to, from, nbytes, NULL) == 0 ? 0 : -EFAULT;
}

/* Pins as much of [va, va + nbytes) as is there from va on, looking at half as
 * much each time.  => bytes, or -EFAULT */
static int64_t pin_some(struct linux_process *p, struct round *round,
                        vmm_addr_t va, uint64_t nbytes, unsigned access)
{
  uint64_t first = p->page - va % p->page; /* bytes in the first page */

  for (;;) {
    size_t niov = ROUND_VECTORS - round->niov;

    if (vmm_pin(p->space, va, nbytes, access, round->iov + round->niov, &niov,
                &round->pins[round->npins]) == 0) {
      round->niov += niov;
      round->npins++;
      round->nbytes += nbytes;
      return (int64_t)nbytes;
    }
    if (nbytes <= first)
      return -EFAULT;
    nbytes = (nbytes - first) / p->page / 2 * p->page + first;
  }
}

static void advance(struct cursor *c, uint64_t nbytes)
{
  c->left -= nbytes;
  c->offset += nbytes;
  while (c->count > 0 && c->offset >= c->vectors->nbytes) {
    c->offset -= c->vectors->nbytes;
    c->vectors++;
    c->count--;
  }
}

/* => 0, or -EFAULT if the next byte is not there */
static int fill_round(struct linux_process *p, struct round *round,
                      struct cursor c, unsigned access)
{
  round->niov = round->npins = round->nbytes = 0;
  advance(&c, 0);
  while (c.left > 0 && round->npins < ROUND_PINS &&
         round->niov < ROUND_VECTORS) {
    vmm_addr_t va = c.vectors->base + c.offset;
    uint64_t nbytes = c.vectors->nbytes - c.offset;
    uint64_t room = (ROUND_VECTORS - round->niov) * p->page - va % p->page;
    int64_t pinned;

    if (nbytes > c.left)
      nbytes = c.left;
    if (nbytes > room)
      nbytes = room;
    pinned = pin_some(p, round, va, nbytes, access);
    if (pinned < 0)
      return round->nbytes > 0 ? 0 : -EFAULT;
    if ((uint64_t)pinned < nbytes)
      return 0;
    advance(&c, nbytes);
  }
  return 0;
}

static int64_t ask_host(int host, const struct round *round, unsigned access,
                        int64_t offset)
{
  const struct iovec *iov = (const struct iovec *)round->iov;
  int niov = (int)round->niov;
  ssize_t n;

  do {
    if (access == VMM_WRITE)
      n = offset == LINUX_AT_POSITION ? readv(host, iov, niov)
                                      : preadv(host, iov, niov, offset);
    else
      n = offset == LINUX_AT_POSITION ? writev(host, iov, niov)
                                      : pwritev(host, iov, niov, offset);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

/* A sum that wraps is negative, and the host refuses it. */
static int64_t next_offset(int64_t offset, int64_t done)
{
  if (offset == LINUX_AT_POSITION)
    return offset;
  return (int64_t)((uint64_t)offset + (uint64_t)done);
}

/* => the bytes of all vectors, at most LINUX_RW_MAX; -EFAULT if one leaves the
 *    space */
static int64_t add_up(struct linux_process *p,
                      const struct linux_iovec *vectors, size_t count)
{
  uint64_t size = vmm_space_size(p->space);
  uint64_t total = 0;

  for (size_t i = 0; i < count; i++) {
    if (vectors[i].nbytes > size || vectors[i].base > size - vectors[i].nbytes)
      return -EFAULT;
    total += vectors[i].nbytes; /* at most LINUX_IOV_MAX spaces: no overflow */
  }
  return (int64_t)(total > LINUX_RW_MAX ? LINUX_RW_MAX : total);
}

/* A read from a pipe or terminal takes what is there, and does not wait for
 * more. */
static int takes_what_is_there(int host, unsigned access)
{
  struct stat file;

  return access == VMM_WRITE &&
         (fstat(host, &file) != 0 || !S_ISREG(file.st_mode));
}

int64_t vmmi_linux_transfer(struct linux_process *p, int host,
                            const struct linux_iovec *vectors, size_t count,
                            unsigned access, int64_t offset)
{
  struct cursor c = { .vectors = vectors, .count = count };
  int64_t total = add_up(p, vectors, count);
  int64_t done = 0;
  struct round round;

  if (total < 0)
    return total;
  c.left = (uint64_t)total;
  do {
    int64_t n = fill_round(p, &round, c, access);

    if (n == 0)
      n = ask_host(host, &round, access, next_offset(offset, done));
    while (round.npins > 0)
      vmm_unpin(round.pins[--round.npins]);
    if (n < 0)
      return done > 0 ? done : n;
    done += n;
    advance(&c, (uint64_t)n);
    if ((uint64_t)n < round.nbytes)
      break;
  } while (c.left > 0 && !takes_what_is_there(host, access));
  return done;
}
