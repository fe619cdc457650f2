/*
 * The hook for a decoder of host instructions, which <vmm/mmio.h> fills: with
 * one, loads and stores of host code through a window, that lead to a device or
 * to a watched page, are performed by software.
 */
#ifndef VMM_DECODE_H
#define VMM_DECODE_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One load or store. */
struct vmm_decoded {
  uint32_t access;   /* VMM_READ or VMM_WRITE */
  uint32_t nbytes;   /* 1 to 16 */
  void *host;        /* the address */
  uint8_t value[16]; /* what is stored; or, for complete(), what was loaded */
  uint64_t state[6]; /* the decoder's */
};

struct vmm_decoder {
  /* Decodes the instruction that begins at code, of which nbytes are there,
   * with the registers of context (ucontext_t *).  => 0; -ENOTSUP not a form
   * that it knows
   * => signal context, with no lock held */
  int (*decode)(const void *code, size_t nbytes, const void *context,
                struct vmm_decoded *decoded);
  /* Makes the context what it is after the instruction. */
  void (*complete)(void *context, const struct vmm_decoded *decoded);
  uint64_t reserved[4];
};

/* Sets the process's decoder, whose memory stays the caller's; NULL: none.
 * A decoder that was there may still be running on another thread. */
VMM_API int vmm_set_decoder(const struct vmm_decoder *decoder);

#ifdef __cplusplus
}
#endif
#endif
