/*
 * libvmm-mmio: host code reaches devices and watched pages through windows.
 *
 * A library of its own, since it needs a decoder of the host's instructions
 * (Zydis, on x86-64).  These forms are performed, with 1 to 16 bytes of memory
 * and any way of addressing but fs, gs and gathers:
 *
 *   mov, movnti       register or immediate; also by absolute address
 *   movzx, movsx, movsxd, movbe
 *   movd, movq, movss, movsd, mov(a|u)p(s|d), movdq(a|u), lddqu, movnt*,
 *   mov(l|h)p(s|d)    an XMM register; all but the last with a VEX prefix too
 *
 * All others are a fault with reason VMM_FAULT_FORM: arithmetic on memory,
 * strings, push and pop, locked instructions, MMX, x87, 32 bytes and more,
 * EVEX.  (So a memcpy() or strlen() on such a page is one.)
 */
#ifndef VMM_MMIO_H
#define VMM_MMIO_H

#include <vmm/decode.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the library's decoder the process's (vmm_set_decoder).  => 0 */
VMM_API int vmm_mmio_enable(void);
/* Leaves the process without one. */
VMM_API void vmm_mmio_disable(void);

#ifdef __cplusplus
}
#endif
#endif
