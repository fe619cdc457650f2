/*
 * Threads and processes of the host: those of the library's own.
 * os_linux_thread.c keeps it for Linux.  Layer 1.
 */
#ifndef VMMI_OS_THREAD_H
#define VMMI_OS_THREAD_H

#include <pthread.h>

#include "base.h"

/* Starts a thread with all but the synchronous signals blocked, so that it
 * meets no handler of the program.  => 0, -EAGAIN; not signal-safe */
int vmmi_os_thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

/* fork().  => 0 in the child, its number in the parent, or -errno */
int vmmi_os_fork(void);
/* Waits for the end of a child, if it was not waited for already. */
void vmmi_os_reap(int child);

#endif
