/*
 * Waiting for descriptors, and what devices are asked.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>

#include "linux.h"
#include "linux_table.h"

enum { SELECT_MAX = 1024, SELECT_WORDS = SELECT_MAX / 64 };

/* ---- waiting ---- */

/* A timeout that gets what is left of it, as Linux gives it to the guest. */
struct timeout {
  vmm_addr_t at; /* 0: wait for ever */
  struct timespec time;
  struct timespec start;
};

static int timeout_begin(struct linux_process *p, vmm_addr_t at,
                         struct timeout *timeout)
{
  timeout->at = at;
  if (at == 0)
    return 0;
  clock_gettime(CLOCK_MONOTONIC, &timeout->start);
  return vmmi_time_get(p, at, &timeout->time);
}

/* Errors are the guest's own loss here, as in Linux. */
static void timeout_end(struct linux_process *p, const struct timeout *t)
{
  struct linux_timespec left = { 0, 0 };
  struct timespec now;

  if (t->at == 0)
    return;
  clock_gettime(CLOCK_MONOTONIC, &now);
  left.sec = t->time.tv_sec - (now.tv_sec - t->start.tv_sec);
  left.nsec = t->time.tv_nsec - (now.tv_nsec - t->start.tv_nsec);
  if (left.nsec < 0) {
    left.nsec += 1000000000;
    left.sec--;
  } else if (left.nsec > 999999999) {
    left.nsec -= 1000000000;
    left.sec++;
  }
  if (left.sec < 0)
    left.sec = left.nsec = 0;
  vmmi_linux_put(p, t->at, &left, sizeof left);
}

static int64_t wait_for(struct pollfd *fds, size_t nfds,
                        const struct timeout *timeout)
{
  int n = ppoll(fds, nfds, timeout->at == 0 ? NULL : &timeout->time, NULL);

  return n < 0 ? -errno : n;
}

/* Waits on the guest's entries.  A closed descriptor reads POLLNVAL, which the
 * host says by itself for one that it can't have. */
static int64_t poll_guest(struct linux_process *p, struct linux_pollfd *guest,
                          struct pollfd *host, size_t nfds,
                          const struct timeout *timeout)
{
  struct timeout now = *timeout;
  size_t closed = 0;
  int64_t n;

  for (size_t i = 0; i < nfds; i++) {
    host[i].fd = guest[i].fd < 0 ? -1 : vmmi_fd_host(p, guest[i].fd);
    host[i].events = guest[i].events;
    closed += guest[i].fd >= 0 && host[i].fd < 0;
  }
  if (closed > 0) { /* it is an event already: do not wait */
    now.at = 1;
    now.time = (struct timespec){ 0, 0 };
  }
  n = wait_for(host, nfds, &now);
  for (size_t i = 0; i < nfds; i++)
    guest[i].revents =
      guest[i].fd >= 0 && host[i].fd < 0 ? POLLNVAL : host[i].revents;
  return n < 0 ? n : n + (int64_t)closed;
}

int64_t vmmi_sys_ppoll(struct linux_process *p, const uint64_t *a)
{
  size_t nfds = a[1];
  size_t nbytes = nfds * sizeof(struct linux_pollfd);
  struct linux_pollfd *guest;
  struct pollfd *host;
  struct timeout timeout;
  int64_t n = timeout_begin(p, a[2], &timeout);

  if (n != 0)
    return n;
  if (a[1] > p->limits[RLIMIT_NOFILE].soft)
    return -EINVAL;
  guest = calloc(nfds + 1, sizeof *guest);
  host = calloc(nfds + 1, sizeof *host);
  n = -ENOMEM;
  if (guest != NULL && host != NULL)
    n = vmmi_linux_get(p, guest, a[0], nbytes);
  if (n == 0)
    n = poll_guest(p, guest, host, nfds, &timeout);
  if (n >= 0 && vmmi_linux_put(p, a[0], guest, nbytes) != 0)
    n = -EFAULT;
  timeout_end(p, &timeout);
  free(guest);
  free(host);
  return n;
}

/* The three sets of pselect6(), in its order, as poll() knows them. */
static const struct {
  short ask;
  short answer;
} kinds[3] = {
  { POLLIN, POLLIN | POLLHUP | POLLERR },
  { POLLOUT, POLLOUT | POLLERR },
  { POLLPRI, POLLPRI },
};

struct selection {
  uint64_t sets[3][SELECT_WORDS];
  struct pollfd fds[SELECT_MAX];
  unsigned nfds;
};

static int64_t selection_read(struct linux_process *p, struct selection *s,
                              const uint64_t *sets)
{
  size_t nbytes = (s->nfds + 63) / 64 * 8;

  for (int kind = 0; kind < 3; kind++)
    if (sets[kind] != 0 &&
        vmmi_linux_get(p, s->sets[kind], sets[kind], nbytes) != 0)
      return -EFAULT;
  for (unsigned fd = 0; fd < s->nfds; fd++) {
    s->fds[fd].fd = -1;
    for (int kind = 0; kind < 3; kind++)
      if (s->sets[kind][fd / 64] >> fd % 64 & 1)
        s->fds[fd].events |= kinds[kind].ask;
    if (s->fds[fd].events == 0)
      continue;
    s->fds[fd].fd = vmmi_fd_host(p, fd);
    if (s->fds[fd].fd < 0)
      return -EBADF;
  }
  return 0;
}

static int64_t selection_write(struct linux_process *p, struct selection *s,
                               const uint64_t *sets)
{
  size_t nbytes = (s->nfds + 63) / 64 * 8;
  int64_t n = 0;

  for (int kind = 0; kind < 3; kind++) {
    for (unsigned fd = 0; fd < s->nfds; fd++) {
      uint64_t bit = (uint64_t)1 << fd % 64;
      uint64_t *word = &s->sets[kind][fd / 64];

      if (!(*word & bit))
        continue;
      if (s->fds[fd].revents & kinds[kind].answer)
        n++;
      else
        *word &= ~bit;
    }
    if (sets[kind] != 0 &&
        vmmi_linux_put(p, sets[kind], s->sets[kind], nbytes) != 0)
      return -EFAULT;
  }
  return n;
}

int64_t vmmi_sys_pselect6(struct linux_process *p, const uint64_t *a)
{
  struct selection *s;
  struct timeout timeout;
  int64_t n;

  if ((int32_t)a[0] < 0)
    return -EINVAL;
  n = timeout_begin(p, a[4], &timeout);
  if (n != 0)
    return n;
  s = calloc(1, sizeof *s);
  if (s == NULL)
    return -ENOMEM;
  s->nfds = (uint32_t)a[0] > SELECT_MAX ? SELECT_MAX : (uint32_t)a[0];
  n = selection_read(p, s, a + 1);
  if (n == 0)
    n = wait_for(s->fds, s->nfds, &timeout);
  if (n >= 0)
    n = selection_write(p, s, a + 1);
  timeout_end(p, &timeout);
  free(s);
  return n;
}

/* ---- devices ---- */

enum { GUEST_READS = 1, GUEST_WRITES = 2, IOCTL_BYTES = 64 };

/* Requests that are the same here as on the host: numbers and structures of
 * asm-generic/ioctls.h and termbits.h.  Others are ENOTTY. */
static const struct {
  uint32_t request;
  uint32_t nbytes; /* of the argument */
  unsigned way;
} requests[] = {
  { 0x5401, 36, GUEST_READS },  /* TCGETS: struct termios of the kernel */
  { 0x5402, 36, GUEST_WRITES }, /* TCSETS */
  { 0x5403, 36, GUEST_WRITES }, /* TCSETSW */
  { 0x5404, 36, GUEST_WRITES }, /* TCSETSF */
  { 0x5413, 8, GUEST_READS },   /* TIOCGWINSZ */
  { 0x540f, 4, GUEST_READS },   /* TIOCGPGRP */
  { 0x5429, 4, GUEST_READS },   /* TIOCGSID */
  { 0x541b, 4, GUEST_READS },   /* FIONREAD */
  { 0x5421, 4, GUEST_WRITES },  /* FIONBIO */
};

static int64_t ask_device(struct linux_process *p, int host, uint32_t request,
                          size_t nbytes, unsigned way, vmm_addr_t at)
{
  char argument[IOCTL_BYTES] = { 0 };

  if (way == GUEST_WRITES && vmmi_linux_get(p, argument, at, nbytes) != 0)
    return -EFAULT;
  if (ioctl(host, request, argument) != 0)
    return -errno;
  if (way == GUEST_READS && vmmi_linux_put(p, at, argument, nbytes) != 0)
    return -EFAULT;
  return 0;
}

int64_t vmmi_sys_ioctl(struct linux_process *p, const uint64_t *a)
{
  enum { FIONCLEX_REQUEST = 0x5450, FIOCLEX_REQUEST = 0x5451 };
  int host = vmmi_fd_host(p, (int64_t)a[0]);
  uint32_t request = (uint32_t)a[1];

  if (host < 0)
    return host;
  if (request == FIOCLEX_REQUEST || request == FIONCLEX_REQUEST) {
    p->fds[(uint32_t)a[0]].cloexec = request == FIOCLEX_REQUEST;
    return 0;
  }
  for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
    if (requests[i].request == request)
      return ask_device(p, host, request, requests[i].nbytes, requests[i].way,
                        a[2]);
  return -ENOTTY;
}
