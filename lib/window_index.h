/*
 * The index of all windows by host address; see window_index.c.  Its lock is
 * taken before a window's.  Layer 3.
 */
#ifndef VMMI_WINDOW_INDEX_H
#define VMMI_WINDOW_INDEX_H

#include "window.h"

/* -ENOMEM: 2^18 windows are there, or no memory */
int vmmi_window_index_add(struct vmmi_window *window);
void vmmi_window_index_remove(struct vmmi_window *window);
/* => the i-th window, NULL beyond the last.  => nobody else inside */
struct vmmi_window *vmmi_window_index_get(size_t i);
void vmmi_window_index_each(void (*visit)(struct vmmi_window *window));

#endif
