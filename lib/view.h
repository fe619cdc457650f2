/*
 * The two views of a hart: its trap page, the entry areas of its user windows,
 * its supervisor stack.  All but the calls that say so do nothing for a hart
 * without views.  => by the hart's thread, inside vmmi_thread_enter().
 * Layer 6.
 */
#ifndef VMMI_VIEW_H
#define VMMI_VIEW_H

#include "guest_thread.h"
#include "hart.h"

/* Gives the hart what it has whatever it runs; and takes it back.  -ENOMEM */
int vmmi_view_begin(struct vmm_hart *hart);
void vmmi_view_end(struct vmm_hart *hart);

/* A window of the hart's was reserved: its entry area shows the trap page.
 * -ENOMEM.  It is to be released. */
int vmmi_view_open(struct vmm_hart *hart, struct vmmi_window *window);
void vmmi_view_close(struct vmm_hart *hart, struct vmmi_window *window);

/* The hart has no stack any more. */
void vmmi_view_drop_stack(struct vmm_hart *hart);

/*
 * The hart is to run another guest thread, or none: its stack, if it has one,
 * becomes the hart's, and sp where it left that.
 * => as vmm_hart_set_stack(), and nothing is changed
 * => outside; the hart still runs the one of before
 */
int vmmi_view_set_thread(struct vmm_hart *hart,
                         const struct vmm_guest_thread *thread);

/* The hart runs hart->space by this context now; 0: by no window of its own.
 * => outside; only for a hart with views; without a lock unless the space is
 *    NULL */
void vmmi_view_turn(struct vmm_hart *hart, uint64_t context);

/* In a copy of the process, whose windows are reserved again: the thread's hart
 * has its entry areas again.  -ENOMEM */
int vmmi_view_fork_child(void);

/* => whether the user's view is active; outside */
bool vmmi_view_is_user(const struct vmm_hart *hart);

#endif
