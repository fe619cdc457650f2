/*
 * Floating point of IEEE 754-2008 in integer arithmetic: every rounding mode,
 * exact flags, tininess after rounding.  It is what the guests' arithmetic
 * means; arch_fp.h is the host's hardware for the common cases of it.
 *
 * Values are bit patterns in the low bits of a uint64_t.  NaN results are the
 * default NaN (RISC-V's canonical NaN, quiet, positive, no payload).
 */
#ifndef VMMI_FP_H
#define VMMI_FP_H

#include <stdbool.h>
#include <stdint.h>

/* Numbered as RISC-V's frm and fflags are (11.2). */
enum vmmi_fp_rounding {
  FP_NEAREST_EVEN,
  FP_TO_ZERO,
  FP_DOWN,
  FP_UP,
  FP_NEAREST_AWAY,
  FP_ROUNDINGS,
};

enum {
  FP_INEXACT = 1 << 0,
  FP_UNDERFLOW = 1 << 1,
  FP_OVERFLOW = 1 << 2,
  FP_DIVIDE = 1 << 3,
  FP_INVALID = 1 << 4,
};

/* A cpu's state; slow is not 0 if the host can't round as rm says. */
struct vmmi_fp_state {
  uint32_t rm;
  int32_t slow;
  uint32_t flags;
};

struct vmmi_fp_format {
  unsigned precision; /* bits of the significand with the hidden one */
  int emin, emax;     /* of the leading bit */
  uint64_t sign, inf, quiet;
};

static const struct vmmi_fp_format vmmi_f32 = {
  24, -126, 127, 0x80000000, 0x7f800000, 0x00400000
};
static const struct vmmi_fp_format vmmi_f64 = {
  53, -1022, 1023, 0x8000000000000000, 0x7ff0000000000000, 0x0008000000000000
};

/* Results of vmmi_fp_class(), one bit each (11.9). */
enum {
  FP_CLASS_NEG_INF, FP_CLASS_NEG_NORMAL, FP_CLASS_NEG_SUBNORMAL,
  FP_CLASS_NEG_ZERO, FP_CLASS_ZERO, FP_CLASS_SUBNORMAL, FP_CLASS_NORMAL,
  FP_CLASS_INF, FP_CLASS_SIGNALING, FP_CLASS_QUIET,
};

typedef const struct vmmi_fp_format *vmmi_fp_fmt;

uint64_t vmmi_fp_add(vmmi_fp_fmt f, uint64_t a, uint64_t b, unsigned rm,
                     uint32_t *flags);
uint64_t vmmi_fp_mul(vmmi_fp_fmt f, uint64_t a, uint64_t b, unsigned rm,
                     uint32_t *flags);
uint64_t vmmi_fp_div(vmmi_fp_fmt f, uint64_t a, uint64_t b, unsigned rm,
                     uint32_t *flags);
uint64_t vmmi_fp_sqrt(vmmi_fp_fmt f, uint64_t a, unsigned rm, uint32_t *flags);
/* a * b + c, rounded once */
uint64_t vmmi_fp_fma(vmmi_fp_fmt f, uint64_t a, uint64_t b, uint64_t c,
                     unsigned rm, uint32_t *flags);
uint64_t vmmi_fp_convert(vmmi_fp_fmt to, vmmi_fp_fmt from, uint64_t a,
                         unsigned rm, uint32_t *flags);

/* To an integer of nbits; what does not fit is invalid and gives the nearest,
 * a NaN the largest (11.7).  The result is sign-extended from nbits. */
uint64_t vmmi_fp_to_int(vmmi_fp_fmt f, uint64_t a, unsigned nbits,
                        bool is_signed, unsigned rm, uint32_t *flags);
uint64_t vmmi_fp_from_int(vmmi_fp_fmt f, uint64_t magnitude, bool negative,
                          unsigned rm, uint32_t *flags);

unsigned vmmi_fp_class(vmmi_fp_fmt f, uint64_t a);

static inline bool vmmi_fp_is_nan(vmmi_fp_fmt f, uint64_t a)
{
  return (a & ~f->sign) > f->inf;
}

static inline bool vmmi_fp_is_signaling(vmmi_fp_fmt f, uint64_t a)
{
  return vmmi_fp_is_nan(f, a) && !(a & f->quiet);
}

static inline uint64_t vmmi_fp_sub(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                                   unsigned rm, uint32_t *flags)
{
  /* a NaN's sign does not matter */
  return vmmi_fp_add(f, a, b ^ f->sign, rm, flags);
}

/* => a < b of two that are no NaNs; of two zeros -0 < +0 */
static inline bool vmmi_fp_below(vmmi_fp_fmt f, uint64_t a, uint64_t b)
{
  bool a_negative = a & f->sign, b_negative = b & f->sign;

  if (a_negative != b_negative)
    return a_negative;
  return a_negative ? a > b : a < b;
}

static inline bool vmmi_fp_eq(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                              uint32_t *flags)
{
  if (vmmi_fp_is_nan(f, a) || vmmi_fp_is_nan(f, b)) {
    if (vmmi_fp_is_signaling(f, a) || vmmi_fp_is_signaling(f, b))
      *flags |= FP_INVALID;
    return false;
  }
  return a == b || ((a | b) & ~f->sign) == 0;
}

static inline bool vmmi_fp_lt(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                              uint32_t *flags)
{
  if (vmmi_fp_is_nan(f, a) || vmmi_fp_is_nan(f, b)) {
    *flags |= FP_INVALID;
    return false;
  }
  return vmmi_fp_below(f, a, b) && ((a | b) & ~f->sign) != 0;
}

static inline bool vmmi_fp_le(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                              uint32_t *flags)
{
  if (vmmi_fp_is_nan(f, a) || vmmi_fp_is_nan(f, b)) {
    *flags |= FP_INVALID;
    return false;
  }
  return !vmmi_fp_below(f, b, a) || ((a | b) & ~f->sign) == 0;
}

/* minimumNumber and maximumNumber (11.6): a NaN loses */
static inline uint64_t vmmi_fp_pick(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                                    bool larger, uint32_t *flags)
{
  if (vmmi_fp_is_signaling(f, a) || vmmi_fp_is_signaling(f, b))
    *flags |= FP_INVALID;
  if (vmmi_fp_is_nan(f, a))
    return vmmi_fp_is_nan(f, b) ? f->inf | f->quiet : b;
  if (vmmi_fp_is_nan(f, b))
    return a;
  return vmmi_fp_below(f, a, b) == larger ? b : a;
}

static inline uint64_t vmmi_fp_min(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                                   uint32_t *flags)
{
  return vmmi_fp_pick(f, a, b, false, flags);
}

static inline uint64_t vmmi_fp_max(vmmi_fp_fmt f, uint64_t a, uint64_t b,
                                   uint32_t *flags)
{
  return vmmi_fp_pick(f, a, b, true, flags);
}

#endif
