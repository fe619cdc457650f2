/*
 * Installing, removing and looking after the handlers: everything about signals
 * that does not run in signal context, but for vmmi_signal_previous().
 *
 * Once another handler was installed over ours it may hand signals on to ours:
 * then ours stays in its place, since a second one would make a ring of the
 * chain.
 */
#define _GNU_SOURCE 1
#include "entry.h"

#include <errno.h>
#include <pthread.h>

/* One of the signals. */
struct signal_way {
  int signal;
  bool installed;            /* ours was, and was not taken away by us */
  struct sigaction previous; /* what was there before */
  _Atomic bool spent;        /* SA_RESETHAND: it was delivered once */
};

/* Memory's come first: without those nothing works. */
static struct signal_way ways[] = { { .signal = SIGSEGV },
                                    { .signal = SIGBUS },
                                    { .signal = SIGILL },
                                    { .signal = SIGFPE },
                                    { .signal = SIGTRAP } };
enum { WAYS = sizeof(ways) / sizeof(ways[0]), MEMORY_WAYS = 2 };

static pthread_mutex_t signal_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned signal_mode = VMM_SIGNALS_OWNED;

bool vmmi_signal_is_ours(int signal)
{
  for (int i = 0; i < WAYS; i++)
    if (ways[i].signal == signal)
      return true;
  return false;
}

void vmmi_signal_previous(int signal, struct sigaction *action)
{
  struct signal_way *way = ways;

  while (way->signal != signal)
    way++;
  *action = way->previous;
  if (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN ||
      !((unsigned)action->sa_flags & (unsigned)SA_RESETHAND))
    return;
  /* relaxed: who is first is all that matters */
  if (atomic_exchange_explicit(&way->spent, true, memory_order_relaxed))
    action->sa_handler = SIG_DFL;
}

static int set_action(int signal, const struct sigaction *action,
                      struct sigaction *old)
{
  int saved = errno;
  int error = sigaction(signal, action, old) != 0 ? -errno : 0;

  errno = saved;
  return error;
}

static bool is_ours(const struct sigaction *action)
{
  return (action->sa_flags & SA_SIGINFO) &&
         action->sa_sigaction == vmmi_signal_handler;
}

static bool is_function(const struct sigaction *action)
{
  return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

static int install_way(struct signal_way *way)
{
  struct sigaction ours = { .sa_sigaction = vmmi_signal_handler };
  struct sigaction now;
  int error = set_action(way->signal, NULL, &now);

  if (error != 0 || is_ours(&now) || (way->installed && is_function(&now)))
    return error;
  way->previous = now; /* before the first signal can need it */
  way->spent = false;
  /* a signal that is passed on restarts calls as it would have */
  ours.sa_flags =
      SA_SIGINFO | SA_ONSTACK | SA_NODEFER | (now.sa_flags & SA_RESTART);
  vmmi_thread_async_signals(&ours.sa_mask);
  error = set_action(way->signal, &ours, NULL);
  if (error == 0)
    way->installed = true;
  return error;
}

/* => 1 it was ours and is removed; 0 it was displaced */
static int remove_way(struct signal_way *way)
{
  struct sigaction now;

  if (set_action(way->signal, NULL, &now) != 0 || !is_ours(&now))
    return 0;
  if (way->spent)
    way->previous.sa_handler = SIG_DFL;
  set_action(way->signal, &way->previous, NULL);
  way->installed = false;
  return 1;
}

static void lock_ways(void)
{
  vmmi_thread_enter();
  pthread_mutex_lock(&signal_lock);
}

static void unlock_ways(void)
{
  pthread_mutex_unlock(&signal_lock);
  vmmi_thread_leave();
}

int vmmi_signal_first_space(void)
{
  int error = 0;

  lock_ways();
  for (int i = 0; i < WAYS && error == 0; i++)
    if (signal_mode == VMM_SIGNALS_OWNED)
      error = install_way(&ways[i]);
  unlock_ways();
  return error != 0 ? vmmi_error(error, "signals: sigaction", -error) : 0;
}

int vmm_init(unsigned signals)
{
  if (signals > VMM_SIGNALS_NONE)
    return vmmi_error(-EINVAL, "init: no such way of signals", 0);
  if (vmmi_space_count() != 0)
    return vmmi_error(-EBUSY, "init: a space exists", 0);
  lock_ways();
  signal_mode = signals;
  unlock_ways();
  return 0;
}

int vmm_signals_remove(void)
{
  int installed = 0, removed = 0;

  if (vmmi_space_count() != 0)
    return vmmi_error(-EBUSY, "signals: a space exists", 0);
  lock_ways();
  for (int i = 0; i < WAYS; i++) {
    if (!ways[i].installed)
      continue;
    installed++;
    removed += remove_way(&ways[i]);
  }
  unlock_ways();
  if (installed == 0)
    return vmmi_error(-ENOENT, "signals: none are installed", 0);
  if (removed < installed)
    return vmmi_error(-EEXIST,
                      "signals: another handler was installed over ours", 0);
  return 0;
}

int vmm_signals_installed(void)
{
  const char *why = NULL;

  lock_ways();
  for (int i = 0; i < MEMORY_WAYS; i++) {
    struct sigaction now;

    if (!ways[i].installed)
      why = "signals: never installed, or removed";
    else if (set_action(ways[i].signal, NULL, &now) != 0 || !is_ours(&now))
      why = "signals: another handler was installed over ours";
  }
  unlock_ways();
  if (why == NULL)
    return 1;
  vmmi_error(0, why, 0);
  return 0;
}
