/*
 * A copy of the process that has copies of its spaces.  The gate is shut, so
 * nobody else is inside: no lock is held, nothing is half done.  Then, in four
 * parts that each module may have a share in:
 *
 *   prepare  the parent copies what can't be shared, which may fail
 *   parent   it lets go of the copies, whether there is a child or not
 *   child    it puts them in place at the old addresses
 *   late     it does what takes the gate to be open, and reports to the parent
 *
 * A child that can't do its part ends, and the caller gets the error.  Layer 7.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <vmm/fork.h>

#include "entry.h"
#include "gate.h"
#include "guest_thread.h"
#include "hart.h"
#include "map.h"
#include "object.h"
#include "os.h"
#include "os_file.h"
#include "os_thread.h"
#include "pager.h"
#include "tlb.h"
#include "view.h"

/* In order; what a child needs first comes first. */
static const struct share {
  const char *why; /* it fails, for vmm_error_text() */
  int (*prepare)(void);
  void (*parent)(void);
  int (*child)(void);
  int (*late)(void);
} shares[] = {
  { "process fork: memory of the arena", vmmi_arena_fork_prepare,
    vmmi_arena_fork_parent, vmmi_arena_fork_child, NULL },
  { "process fork: memory of an object", vmmi_object_fork_prepare,
    vmmi_object_fork_parent, vmmi_object_fork_child, NULL },
  { "process fork: registered code", NULL, NULL, vmmi_extable_fork_child,
    NULL },
  /* before anything gets a place that the host chooses */
  { "process fork: mmap of displaced code", NULL, NULL,
    vmmi_guest_thread_fork_child, NULL },
  { "process fork: mmap of a window", NULL, NULL, vmmi_window_fork_child,
    NULL },
  { "process fork: harts", NULL, NULL, vmmi_hart_fork_child, NULL },
  { "process fork: mmap of an entry area", NULL, NULL, vmmi_view_fork_child,
    NULL },
  { "process fork: sections of TLBs", NULL, NULL, vmmi_tlb_fork_child, NULL },
  { "process fork: thread of a pager", NULL, NULL, vmmi_pager_fork_child,
    vmmi_pager_fork_start },
  { "process fork: wired memory", NULL, NULL, NULL, vmmi_wire_fork_child },
};
enum { SHARES = sizeof(shares) / sizeof(shares[0]) };

/* What the child writes into the pipe. */
struct report {
  int error;
  unsigned share; /* whose error it is */
};

/* ---- alone ---- */

static void begin_alone(void)
{
  struct vmmi_thread *self = &vmmi_thread_self;
  sigset_t async;

  vmmi_thread_async_signals(&async);
  pthread_sigmask(SIG_BLOCK, &async, &self->mask);
  vmmi_gate_close();
  self->inside = 1;
}

/* Asynchronous signals stay blocked.  => the mask that was found */
static sigset_t end_alone(void)
{
  vmmi_thread_self.inside = 0;
  vmmi_gate_open();
  return vmmi_thread_self.mask;
}

/* ---- the parts ---- */

static int prepare_all(void)
{
  int error = 0;

  for (unsigned i = 0; error == 0 && i < SHARES; i++) {
    if (shares[i].prepare == NULL)
      continue;
    error = shares[i].prepare();
    if (error != 0)
      vmmi_error(error, shares[i].why, -error);
  }
  return error;
}

static void end_all(void)
{
  for (unsigned i = 0; i < SHARES; i++)
    if (shares[i].parent != NULL)
      shares[i].parent();
}

/* The child's part, or its late part.  => what is to be told of it */
static struct report do_child(bool late)
{
  struct report report = { 0 };

  while (report.error == 0 && report.share < SHARES) {
    const struct share *share = &shares[report.share];
    int (*part)(void) = late ? share->late : share->child;

    if (part != NULL)
      report.error = part();
    report.share += report.error == 0;
  }
  return report;
}

/* The child ends here if it can't be one. */
static void report_to_parent(const struct report *report, const int ends[2])
{
  /* both ends are open, so a parent that is gone by now is no SIGPIPE */
  bool told = write(ends[1], report, sizeof(*report)) == sizeof(*report);

  if (report->error != 0 || !told)
    _exit(EXIT_FAILURE);
}

/* => 0, or what went wrong in the child, which is gone then */
static int hear_of_child(int child, int from)
{
  struct report report;
  ssize_t n;

  do
    n = read(from, &report, sizeof(report));
  while (n < 0 && errno == EINTR);
  if (n == sizeof(report) && report.error == 0)
    return 0;
  vmmi_os_reap(child);
  if (n != sizeof(report))
    return vmmi_error(-EAGAIN, "process fork: the child was killed", 0);
  return vmmi_error(report.error, shares[report.share].why, -report.error);
}

/* => 0 in the child, which has not told of *report yet; its number; or
 *    -errno */
static int fork_alone(struct report *report)
{
  int child = prepare_all();

  if (child == 0) {
    child = vmmi_os_fork();
    if (child < 0)
      vmmi_error(child, "process fork: fork", -child);
  }
  if (child != 0) {
    end_all();
    return child;
  }
  vmmi_os_end_child();
  *report = do_child(false);
  return 0;
}

static int fork_with(const int report_pipe[2])
{
  struct report report;
  int child, error;
  sigset_t mask;

  begin_alone();
  child = fork_alone(&report);
  mask = end_alone();
  if (child == 0) {
    if (report.error == 0)
      report = do_child(true);
    report_to_parent(&report, report_pipe);
  }
  close(report_pipe[1]);
  if (child > 0) {
    error = hear_of_child(child, report_pipe[0]);
    child = error != 0 ? error : child;
  }
  close(report_pipe[0]);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
  return child;
}

int vmm_process_fork(void)
{
  const struct vmmi_thread *self = &vmmi_thread_self;
  int saved = errno;
  int report_pipe[2];
  int error = vmmi_thread_check_process();

  if (error == 0 && (self->inside > 0 || self->away > 0))
    error = vmmi_error(-EBUSY, "process fork: in a callback", 0);
  if (error != 0)
    return error;
  error = vmmi_os_pipe(report_pipe);
  if (error != 0)
    return vmmi_error(error, "process fork: pipe", -error);
  error = fork_with(report_pipe);
  errno = saved;
  return error;
}
