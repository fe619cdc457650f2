/*
 * The gate: every thread passes it on its way into the library (thread.c, and
 * signal_inside.c for the handler), so that one thread can shut all others out,
 * and then nobody holds a lock or has a change half done.  vmm_process_fork()
 * does it.
 *
 * Who is inside waits for nobody who is outside: he would wait for a closed
 * gate, whose closer waits for him.  So a thread that waits for the program's
 * code, in a callback or on another thread, is away meanwhile
 * (vmmi_thread_away).
 *
 * All are signal-safe and need asynchronous signals blocked.  Layer 1.
 */
#ifndef VMMI_GATE_H
#define VMMI_GATE_H

#include "base.h"

/* The calling thread goes in, if need be when the gate opens again; and out. */
void vmmi_gate_pass(void);
void vmmi_gate_leave(void);

/* Shuts the gate and waits until all are out; the calling thread is outside,
 * and alone from then on.  Another closer waits until the gate is open. */
void vmmi_gate_close(void);
void vmmi_gate_open(void);

#endif
