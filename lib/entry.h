/*
 * The ways in: signals, exception tables, registered code.  signal_outside.c
 * installs and removes, signal_inside.c and extable.c run in signal context.
 * Layer 5.
 */
#ifndef VMMI_ENTRY_H
#define VMMI_ENTRY_H

#include <signal.h>

#include "resolve.h"

/* ---- signal_outside.c ---- */

/* The first space: installs the handlers if they are ours to install.  The last
 * one leaves them.  -errno of sigaction */
int vmmi_signal_first_space(void);

/* => whether faults come as that signal; signal-safe */
bool vmmi_signal_is_ours(int signal);

/* Sets *action to what would have met the signal without us.  It counts as
 * delivered: a handler with SA_RESETHAND is told once, then it is SIG_DFL.
 * => signal-safe */
void vmmi_signal_previous(int signal, struct sigaction *action);

/* ---- signal_inside.c: signal context only ---- */

void vmmi_signal_handler(int signal, siginfo_t *info, void *context);

/* ---- extable.c ---- */

/* => where the instruction at pc goes on, or 0; lock-free, signal-safe */
uintptr_t vmmi_extable_find(uintptr_t pc);

/* => whether pc lies in registered code; lock-free, signal-safe */
bool vmmi_extable_holds(uintptr_t pc);

/* In a copy of the process: the threads that held slots, or the lock, are
 * gone. */
int vmmi_extable_fork_child(void);

/* Asks the handler of the registered code that pc lies in; VMM_DECLINE if
 * none. */
enum vmm_verdict vmmi_extable_ask(uintptr_t pc, struct vmm_fault *fault);

#endif
