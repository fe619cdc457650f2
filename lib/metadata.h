/*
 * Memory for page tables and windows' records, which the fault path may take in
 * signal context, and for regions and spaces.  Small blocks are kept for reuse
 * by size; those over 10 KiB go back to the host.  Layer 2.
 */
#ifndef VMMI_METADATA_H
#define VMMI_METADATA_H

#include "base.h"

/* => zeroed memory aligned to 64 bytes, or NULL; signal-safe inside enter */
void *vmmi_metadata_alloc(size_t nbytes);
void vmmi_metadata_free(void *block, size_t nbytes);

#endif
