/*
 * System calls on time.  Clocks are the host's.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "linux.h"
#include "linux_table.h"

static int64_t put_time(struct linux_process *p, vmm_addr_t to,
                        const struct timespec *time)
{
  struct linux_timespec guest = { .sec = time->tv_sec, .nsec = time->tv_nsec };

  return vmmi_linux_put(p, to, &guest, sizeof guest);
}

int vmmi_time_get(struct linux_process *p, vmm_addr_t from,
                  struct timespec *time)
{
  struct linux_timespec guest;

  if (vmmi_linux_get(p, &guest, from, sizeof guest) != 0)
    return -EFAULT;
  if (guest.sec < 0 || guest.nsec < 0 || guest.nsec > 999999999)
    return -EINVAL;
  time->tv_sec = guest.sec;
  time->tv_nsec = guest.nsec;
  return 0;
}

int64_t vmmi_sys_clock_gettime(struct linux_process *p, const uint64_t *a)
{
  struct timespec time;

  if (clock_gettime((clockid_t)a[0], &time) != 0)
    return -errno;
  return put_time(p, a[1], &time);
}

int64_t vmmi_sys_clock_getres(struct linux_process *p, const uint64_t *a)
{
  struct timespec time;

  if (clock_getres((clockid_t)a[0], &time) != 0)
    return -errno;
  return a[1] == 0 ? 0 : put_time(p, a[1], &time);
}

static int64_t sleep_for(struct linux_process *p, clockid_t clock, int flags,
                         vmm_addr_t from, vmm_addr_t rest)
{
  struct timespec time;
  struct timespec left = { 0 };
  int64_t n = vmmi_time_get(p, from, &time);

  if (n != 0)
    return n;
  n = -clock_nanosleep(clock, flags, &time, &left);
  if (n == -EINTR && rest != 0 && !(flags & TIMER_ABSTIME) &&
      put_time(p, rest, &left) != 0)
    return -EFAULT;
  return n;
}

int64_t vmmi_sys_nanosleep(struct linux_process *p, const uint64_t *a)
{
  return sleep_for(p, CLOCK_MONOTONIC, 0, a[0], a[1]);
}

int64_t vmmi_sys_clock_nanosleep(struct linux_process *p, const uint64_t *a)
{
  return sleep_for(p, (clockid_t)a[0], a[1] & 1 ? TIMER_ABSTIME : 0, a[2],
                   a[3]);
}

int64_t vmmi_sys_gettimeofday(struct linux_process *p, const uint64_t *a)
{
  struct timeval now;
  struct linux_timeval guest;
  const int32_t zone[2] = { 0, 0 };

  gettimeofday(&now, NULL);
  guest.sec = now.tv_sec;
  guest.usec = now.tv_usec;
  if (a[0] != 0 && vmmi_linux_put(p, a[0], &guest, sizeof guest) != 0)
    return -EFAULT;
  return a[1] == 0 ? 0 : vmmi_linux_put(p, a[1], zone, sizeof zone);
}

int64_t vmmi_sys_times(struct linux_process *p, const uint64_t *a)
{
  struct tms host;
  struct linux_tms guest;
  clock_t now = times(&host);

  guest.user = host.tms_utime;
  guest.system = host.tms_stime;
  guest.child_user = host.tms_cutime;
  guest.child_system = host.tms_cstime;
  if (a[0] != 0 && vmmi_linux_put(p, a[0], &guest, sizeof guest) != 0)
    return -EFAULT;
  return now;
}
