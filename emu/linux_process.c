/*
 * System calls on the process itself: its end, its names, its limits.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

int64_t vmmi_sys_exit(struct linux_process *p, const uint64_t *a)
{
  p->end = LINUX_EXITED;
  p->status = (int)(a[0] & 0xff);
  return 0;
}

int64_t vmmi_sys_exit_group(struct linux_process *p, const uint64_t *a)
{
  return vmmi_sys_exit(p, a);
}

/* ---- who it is ---- */

int64_t vmmi_sys_getpid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return getpid();
}

int64_t vmmi_sys_gettid(struct linux_process *p, const uint64_t *a)
{
  return vmmi_sys_getpid(p, a);
}

int64_t vmmi_sys_set_tid_address(struct linux_process *p, const uint64_t *a)
{
  return vmmi_sys_getpid(p, a); /* only a thread's end would use the address */
}

int64_t vmmi_sys_getppid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return getppid();
}

int64_t vmmi_sys_getpgid(struct linux_process *p, const uint64_t *a)
{
  pid_t group = getpgid((pid_t)a[0]);

  (void)p;
  return group < 0 ? -errno : group;
}

int64_t vmmi_sys_getsid(struct linux_process *p, const uint64_t *a)
{
  pid_t session = getsid((pid_t)a[0]);

  (void)p;
  return session < 0 ? -errno : session;
}

int64_t vmmi_sys_getuid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return getuid();
}

int64_t vmmi_sys_geteuid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return geteuid();
}

int64_t vmmi_sys_getgid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return getgid();
}

int64_t vmmi_sys_getegid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return getegid();
}

static int64_t put_ids(struct linux_process *p, const uint64_t *to,
                       const uint32_t *ids)
{
  for (int i = 0; i < 3; i++)
    if (vmmi_linux_put(p, to[i], &ids[i], sizeof ids[i]) != 0)
      return -EFAULT;
  return 0;
}

int64_t vmmi_sys_getresuid(struct linux_process *p, const uint64_t *a)
{
  uid_t ids[3];

  return getresuid(&ids[0], &ids[1], &ids[2]) != 0 ? -errno
                                                   : put_ids(p, a, ids);
}

int64_t vmmi_sys_getresgid(struct linux_process *p, const uint64_t *a)
{
  gid_t ids[3];

  return getresgid(&ids[0], &ids[1], &ids[2]) != 0 ? -errno
                                                   : put_ids(p, a, ids);
}

/* Rights are the emulator's and stay: a change to what is so is granted. */
int64_t vmmi_sys_setuid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  return (uid_t)a[0] == getuid() && (uid_t)a[0] == geteuid() ? 0 : -EPERM;
}

int64_t vmmi_sys_setgid(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  return (gid_t)a[0] == getgid() && (gid_t)a[0] == getegid() ? 0 : -EPERM;
}

int64_t vmmi_sys_getgroups(struct linux_process *p, const uint64_t *a)
{
  gid_t groups[NGROUPS_MAX];
  int n = getgroups(NGROUPS_MAX, groups);

  if (n < 0)
    return -errno;
  if ((int32_t)a[0] == 0)
    return n;
  if ((int32_t)a[0] < n)
    return -EINVAL;
  if (vmmi_linux_put(p, a[1], groups, (size_t)n * sizeof groups[0]) != 0)
    return -EFAULT;
  return n;
}

/* No capabilities are shown. */
int64_t vmmi_sys_capget(struct linux_process *p, const uint64_t *a)
{
  enum { VERSION_3 = 0x20080522 };
  uint32_t header[2];
  const uint32_t none[6] = { 0 };

  if (vmmi_linux_get(p, header, a[0], sizeof header) != 0)
    return -EFAULT;
  if (header[0] != VERSION_3) {
    header[0] = VERSION_3;
    return vmmi_linux_put(p, a[0], header, 4) != 0 ? -EFAULT : -EINVAL;
  }
  return a[1] == 0 ? 0 : vmmi_linux_put(p, a[1], none, sizeof none);
}

int64_t vmmi_sys_uname(struct linux_process *p, const uint64_t *a)
{
  struct linux_utsname guest = { 0 };
  struct utsname host;

  if (uname(&host) != 0)
    return -errno;
  snprintf(guest.sysname, sizeof guest.sysname, "Linux");
  snprintf(guest.nodename, sizeof guest.nodename, "%s", host.nodename);
  snprintf(guest.release, sizeof guest.release, "%s", host.release);
  snprintf(guest.version, sizeof guest.version, "%s", host.version);
  snprintf(guest.machine, sizeof guest.machine, "%s", p->isa->machine);
  snprintf(guest.domainname, sizeof guest.domainname, "%s", host.domainname);
  return vmmi_linux_put(p, a[0], &guest, sizeof guest);
}

/* prctl: the name is not kept; the rest of what programs ask is harmless. */
int64_t vmmi_sys_prctl(struct linux_process *p, const uint64_t *a)
{
  enum {
    SET_PDEATHSIG = 1,
    GET_DUMPABLE = 3,
    SET_DUMPABLE = 4,
    SET_NAME = 15,
    GET_NAME = 16,
    SET_NO_NEW_PRIVS = 38,
    GET_NO_NEW_PRIVS = 39
  };
  char name[16] = { 0 };
  const char *last = strrchr(p->exe, '/');

  switch ((uint32_t)a[0]) {
  case SET_PDEATHSIG:
  case SET_DUMPABLE:
  case SET_NAME:
  case SET_NO_NEW_PRIVS:
    return 0;
  case GET_DUMPABLE:
  case GET_NO_NEW_PRIVS:
    return 1;
  case GET_NAME:
    snprintf(name, sizeof name, "%.15s", last == NULL ? p->exe : last + 1);
    return vmmi_linux_put(p, a[1], name, sizeof name);
  default:
    return -EINVAL;
  }
}

/* ---- what it may use ---- */

/* Limits are recorded; only that on descriptors is enforced.  The host's own
 * limits are the emulator's. */
static int64_t change_limit(struct linux_process *p, uint64_t which,
                            vmm_addr_t new, vmm_addr_t old)
{
  struct linux_rlimit limit;
  struct linux_rlimit before;

  if (which >= LINUX_NRLIMITS)
    return -EINVAL;
  before = p->limits[which];
  if (new != 0) {
    if (vmmi_linux_get(p, &limit, new, sizeof limit) != 0)
      return -EFAULT;
    if (limit.soft > limit.hard)
      return -EINVAL;
    if (limit.hard > before.hard)
      return -EPERM;
    p->limits[which] = limit;
  }
  return old == 0 ? 0 : vmmi_linux_put(p, old, &before, sizeof before);
}

int64_t vmmi_sys_prlimit64(struct linux_process *p, const uint64_t *a)
{
  if (a[0] != 0 && (pid_t)a[0] != getpid())
    return -ESRCH;
  return change_limit(p, (uint32_t)a[1], a[2], a[3]);
}

int64_t vmmi_sys_getrlimit(struct linux_process *p, const uint64_t *a)
{
  return a[1] == 0 ? -EFAULT : change_limit(p, (uint32_t)a[0], 0, a[1]);
}

int64_t vmmi_sys_setrlimit(struct linux_process *p, const uint64_t *a)
{
  return a[1] == 0 ? -EFAULT : change_limit(p, (uint32_t)a[0], a[1], 0);
}

int64_t vmmi_sys_getrusage(struct linux_process *p, const uint64_t *a)
{
  struct linux_rusage guest = { 0 };
  struct rusage host;

  if (getrusage((int)a[0], &host) != 0)
    return -errno;
  guest.user.sec = host.ru_utime.tv_sec;
  guest.user.usec = host.ru_utime.tv_usec;
  guest.system.sec = host.ru_stime.tv_sec;
  guest.system.usec = host.ru_stime.tv_usec;
  guest.maxrss = host.ru_maxrss;
  guest.minflt = host.ru_minflt;
  guest.majflt = host.ru_majflt;
  guest.inblock = host.ru_inblock;
  guest.oublock = host.ru_oublock;
  guest.nvcsw = host.ru_nvcsw;
  guest.nivcsw = host.ru_nivcsw;
  return vmmi_linux_put(p, a[1], &guest, sizeof guest);
}

int64_t vmmi_sys_sysinfo(struct linux_process *p, const uint64_t *a)
{
  struct linux_sysinfo guest = { 0 };
  struct sysinfo host;

  if (sysinfo(&host) != 0)
    return -errno;
  guest.uptime = host.uptime;
  for (int i = 0; i < 3; i++)
    guest.loads[i] = host.loads[i];
  guest.totalram = host.totalram;
  guest.freeram = host.freeram;
  guest.sharedram = host.sharedram;
  guest.bufferram = host.bufferram;
  guest.totalswap = host.totalswap;
  guest.freeswap = host.freeswap;
  guest.procs = host.procs;
  guest.unit = host.mem_unit;
  return vmmi_linux_put(p, a[0], &guest, sizeof guest);
}

int64_t vmmi_sys_getrandom(struct linux_process *p, const uint64_t *a)
{
  char bytes[256];
  uint64_t nbytes = a[1] > LINUX_RW_MAX ? LINUX_RW_MAX : a[1];
  uint64_t done = 0;

  if (a[2] & ~(uint64_t)(GRND_NONBLOCK | GRND_RANDOM))
    return -EINVAL;
  while (done < nbytes) {
    size_t part = nbytes - done < sizeof bytes ? nbytes - done : sizeof bytes;
    ssize_t n = getrandom(bytes, part, (unsigned)a[2]);

    if (n < 0)
      return done > 0 ? (int64_t)done : -errno;
    if (vmmi_linux_put(p, a[0] + done, bytes, (size_t)n) != 0)
      return done > 0 ? (int64_t)done : -EFAULT;
    done += (uint64_t)n;
  }
  return (int64_t)done;
}

/* ---- one thread among none ---- */

int64_t vmmi_sys_set_robust_list(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  return a[1] == 24 ? 0 : -EINVAL; /* struct robust_list_head */
}

int64_t vmmi_sys_sched_yield(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return 0;
}

/* The guest has one cpu: number 0. */
int64_t vmmi_sys_sched_getaffinity(struct linux_process *p, const uint64_t *a)
{
  const uint64_t mask = 1;

  if (a[1] < sizeof mask || a[1] % sizeof mask != 0)
    return -EINVAL;
  if (vmmi_linux_put(p, a[2], &mask, sizeof mask) != 0)
    return -EFAULT;
  return sizeof mask;
}

int64_t vmmi_sys_getcpu(struct linux_process *p, const uint64_t *a)
{
  const uint32_t zero = 0;

  for (int i = 0; i < 2; i++)
    if (a[i] != 0 && vmmi_linux_put(p, a[i], &zero, sizeof zero) != 0)
      return -EFAULT;
  return 0;
}

int64_t vmmi_sys_wait4(struct linux_process *p, const uint64_t *a)
{
  (void)p;
  (void)a;
  return -ECHILD;
}

/* Nobody can wake the only thread: a wait that would be for ever waits for a
 * signal to the emulator. */
static int64_t futex_wait(struct linux_process *p, const uint64_t *a,
                          int absolute, clockid_t clock)
{
  struct timespec time;
  uint32_t value;
  int64_t n;

  if (a[0] % sizeof value != 0)
    return -EINVAL;
  if (vmm_load(p->space, a[0], &value, sizeof value) != 0)
    return -EFAULT;
  if (value != (uint32_t)a[2])
    return -EAGAIN;
  if (a[3] == 0) {
    pause();
    return -EINTR;
  }
  n = vmmi_time_get(p, a[3], &time);
  if (n != 0)
    return n;
  n = clock_nanosleep(clock, absolute ? TIMER_ABSTIME : 0, &time, NULL);
  return n == 0 ? -ETIMEDOUT : -n;
}

int64_t vmmi_sys_futex(struct linux_process *p, const uint64_t *a)
{
  enum {
    WAIT = 0,
    WAKE = 1,
    WAIT_BITSET = 9,
    WAKE_BITSET = 10,
    COMMAND = 127,
    REALTIME = 256
  };
  clockid_t clock = a[1] & REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;

  switch (a[1] & COMMAND) {
  case WAIT:
    return futex_wait(p, a, 0, CLOCK_MONOTONIC);
  case WAIT_BITSET:
    return futex_wait(p, a, 1, clock);
  case WAKE:
  case WAKE_BITSET:
    return a[0] % 4 != 0 ? -EINVAL : 0;
  default:
    return -ENOSYS;
  }
}
