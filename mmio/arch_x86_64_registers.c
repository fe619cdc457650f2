/*
 * SIGNAL CONTEXT, but for vmmi_register_prepare().  Registers in the frame that
 * the kernel pushed (Linux: arch/x86/include/uapi/asm/sigcontext.h).  XMM
 * registers lie in the FXSAVE area, the rest of them behind it, in the layout
 * of XSAVE without compaction (Intel SDM volume 1, section 13.4):
 *
 *      0  FXSAVE: x87, xmm0 ... xmm15; at 464 what the kernel says of the frame
 *    512  header: which components are not in their initial state, 8 bytes
 *    576  component 2: bits 128 to 255 of ymm0 ... ymm15
 *      ?  component 6: bits 256 to 511 of zmm0 ... zmm15; CPUID says where
 */
#define _GNU_SOURCE 1
#include "registers.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <ucontext.h>

enum {
  SOFTWARE_AT = 464,
  SOFTWARE_MAGIC = 0x46505853, /* FP_XSTATE_MAGIC1 */
  HEADER_AT = 512,
  COMPONENT_SSE = 1,
  COMPONENT_YMM = 2,
  COMPONENT_ZMM = 6,
  LEAF_XSAVE = 0xd,
};

/* What the kernel says of its frame (struct _fpx_sw_bytes). */
struct software {
  uint32_t magic;
  uint32_t extended_nbytes;
  uint64_t components;
  uint32_t nbytes; /* of the FXSAVE area, header and components */
};

/* Of a component behind the header. */
static struct component {
  unsigned number;
  unsigned at, nbytes; /* of all registers; 0: the processor has none */
} uppers[] = { { .number = COMPONENT_YMM }, { .number = COMPONENT_ZMM } };

/* Registers as instructions encode them. */
static const signed char gregs[] = {
  REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

void vmmi_register_prepare(void)
{
  for (size_t i = 0; i < sizeof(uppers) / sizeof(uppers[0]); i++) {
    unsigned eax, ebx, ecx, edx;

    if (!__get_cpuid_count(LEAF_XSAVE, uppers[i].number, &eax, &ebx, &ecx,
                           &edx))
      continue;
    uppers[i].at = ebx;
    uppers[i].nbytes = eax;
  }
}

static const greg_t *greg_of(const void *context, unsigned number)
{
  const ucontext_t *all = context;

  return &all->uc_mcontext.gregs[(int)gregs[number]];
}

static unsigned char *fp_area(const void *context)
{
  return (unsigned char *)((const ucontext_t *)context)->uc_mcontext.fpregs;
}

static unsigned char *xmm_of(const void *context, unsigned number)
{
  const ucontext_t *all = context;

  return (unsigned char *)&all->uc_mcontext.fpregs->_xmm[number];
}

uint64_t vmmi_register_pc(const void *context)
{
  return (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

void vmmi_register_set_pc(void *context, uint64_t pc)
{
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}

int vmmi_register_read(const void *context, const struct vmmi_register *reg,
                       uint8_t *bytes)
{
  const unsigned char *from;

  if (reg->vector && fp_area(context) == NULL)
    return -ENOTSUP;
  from = reg->vector ? xmm_of(context, reg->number)
                     : (const unsigned char *)greg_of(context, reg->number);
  memcpy(bytes, from + reg->high, reg->nbytes);
  return 0;
}

/* ---- vectors ---- */

/* => the header's word of components that count, or NULL: the frame is
 *    FXSAVE's */
static unsigned char *header_of(void *context, struct software *software)
{
  unsigned char *area = fp_area(context);

  memcpy(software, area + SOFTWARE_AT, sizeof(*software));
  if (software->magic != SOFTWARE_MAGIC || software->nbytes <= HEADER_AT)
    return NULL;
  return area + HEADER_AT;
}

static void write_vector(void *context, const struct vmmi_register *reg,
                         const uint8_t *bytes)
{
  struct software software;
  unsigned char *header;

  if (fp_area(context) == NULL)
    return;
  memcpy(xmm_of(context, reg->number), bytes, 16);
  header = header_of(context, &software);
  if (header != NULL)
    header[0] |= 1 << COMPONENT_SSE;
}

void vmmi_register_clear_upper(void *context, const struct vmmi_register *reg)
{
  unsigned char *area = fp_area(context);
  struct software software;
  unsigned char *header = area != NULL ? header_of(context, &software) : NULL;

  if (header == NULL)
    return;
  for (size_t i = 0; i < sizeof(uppers) / sizeof(uppers[0]); i++) {
    const struct component *upper = &uppers[i];
    unsigned each = upper->nbytes / 16;

    /* in its initial state it is zero */
    if ((header[0] >> upper->number & 1) &&
        upper->at + upper->nbytes <= software.nbytes)
      memset(area + upper->at + reg->number * each, 0, each);
  }
}

/* ---- writing ---- */

void vmmi_register_write(void *context, const struct vmmi_register *reg,
                         const uint8_t *bytes)
{
  unsigned char *to;

  if (reg->vector) {
    write_vector(context, reg, bytes);
    return;
  }
  to = (unsigned char *)(uintptr_t)greg_of(context, reg->number);
  if (reg->nbytes == 4)
    memset(to, 0, sizeof(greg_t));
  memcpy(to + reg->high, bytes, reg->nbytes);
}
