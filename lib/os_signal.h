/*
 * The host's signals: the little that POSIX leaves out.  os_linux_signal.c
 * keeps it for Linux.  All are signal-safe and leave errno alone.  Layer 1.
 */
#ifndef VMMI_OS_SIGNAL_H
#define VMMI_OS_SIGNAL_H

#include <signal.h>

#include "base.h"

/* => the bytes that the host pushes for a signal, or more; 0: it doesn't
 *    tell */
size_t vmmi_os_signal_frame(void);

/* => whether it is not about an instruction that the host could not do:
 *    somebody sent it, or memory failed that nobody was using */
bool vmmi_os_signal_is_sent(const siginfo_t *info);

/* Sends the signal to the calling thread once more, with the same siginfo.
 * => 0, -errno */
int vmmi_os_signal_resend(int signal, siginfo_t *info);

#endif
