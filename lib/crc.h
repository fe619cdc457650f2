/*
 * CRC-32C (Castagnoli): the reflected polynomial 0x82f63b78, initial value and
 * final exclusive-or all ones, as iSCSI has it (RFC 3720, appendix B.4).
 * Layer 1.
 */
#ifndef VMMI_CRC_H
#define VMMI_CRC_H

#include "base.h"

/* => the sum of what crc is the sum of (0: nothing yet) and these bytes after
 *    it */
uint32_t vmmi_crc(uint32_t crc, const void *bytes, size_t nbytes);

/* The same without the inversions, and without an instruction for it. */
uint32_t vmmi_crc_by_tables(uint32_t crc, const void *bytes, size_t nbytes);

#endif
