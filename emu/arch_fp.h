/*
 * The host's floating-point hardware under the guest's rounding mode, for the
 * cases where it gives exactly what fp.c does.  Its sticky flags stay in the
 * host's register while a dispatch loop runs; vmmi_fp_enter() and
 * vmmi_fp_leave() go round it.  Where the host is not known, or VMM_NO_HOST_FP
 * is defined (to test fp.c), VMMI_FP_HOST is 0 and fp.c does it all.
 *
 * An operation here is only for operands and modes that the host rounds as
 * asked (fp.slow is 0); a NaN result is to be computed again by fp.c, which
 * knows the default NaN and all flags.
 */
#ifndef VMMI_ARCH_FP_H
#define VMMI_ARCH_FP_H

#include <string.h>
#include "fp.h"

#if defined __x86_64__ && defined __GNUC__ && !defined VMM_NO_HOST_FP

enum { VMMI_FP_HOST = 1 };

/* MXCSR: 15 flush, 14:13 rounding, 12:7 masks (all set), 6 denormals are zero,
 * 5 inexact, 4 underflow, 3 overflow, 2 divide, 1 denormal, 0 invalid */
enum { MXCSR_MASKS = 0x1f80, MXCSR_ROUND = 13 };

static inline uint32_t vmmi_fp_get_mxcsr(void)
{
  uint32_t mxcsr;

  __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
  return mxcsr;
}

static inline void vmmi_fp_set_mxcsr(uint32_t mxcsr)
{
  __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

/* => the host's state, for vmmi_fp_leave() */
static inline uint32_t vmmi_fp_enter(struct vmmi_fp_state *fp)
{
  static const uint8_t rounding[] = { 0, 3, 1, 2 };
  uint32_t host = vmmi_fp_get_mxcsr();

  fp->slow = fp->rm > FP_UP;
  vmmi_fp_set_mxcsr(MXCSR_MASKS |
                    (uint32_t)rounding[fp->rm & 3] << MXCSR_ROUND);
  return host;
}

static inline void vmmi_fp_leave(struct vmmi_fp_state *fp, uint32_t host)
{
  uint32_t mxcsr = vmmi_fp_get_mxcsr();

  fp->flags |= (mxcsr >> 5 & 1) | (mxcsr >> 3 & 2) | (mxcsr >> 1 & 4) |
               (mxcsr << 1 & 8) | (mxcsr << 4 & 16);
  vmmi_fp_set_mxcsr(host);
}

/* Each: => false if the result is a NaN. */
#define VMMI_FP_OP2(width, type, suffix, name, insn)                           \
  static inline bool vmmi_host_##name##width(uint64_t a, uint64_t b,           \
                                             uint64_t *result)                 \
  {                                                                            \
    uint##width##_t bits = (uint##width##_t)a, second = (uint##width##_t)b;    \
    type x, y;                                                                 \
                                                                               \
    memcpy(&x, &bits, sizeof(x));                                              \
    memcpy(&y, &second, sizeof(y));                                            \
    __asm__ volatile(insn suffix " %1, %0" : "+x"(x) : "x"(y));                \
    memcpy(&bits, &x, sizeof(x));                                              \
    *result = bits;                                                            \
    return !vmmi_fp_is_nan(&vmmi_f##width, bits);                              \
  }

VMMI_FP_OP2(32, float, "ss", add, "add")
VMMI_FP_OP2(32, float, "ss", sub, "sub")
VMMI_FP_OP2(32, float, "ss", mul, "mul")
VMMI_FP_OP2(32, float, "ss", div, "div")
VMMI_FP_OP2(64, double, "sd", add, "add")
VMMI_FP_OP2(64, double, "sd", sub, "sub")
VMMI_FP_OP2(64, double, "sd", mul, "mul")
VMMI_FP_OP2(64, double, "sd", div, "div")

#define VMMI_FP_SQRT(width, type, suffix)                                      \
  static inline bool vmmi_host_sqrt##width(uint64_t a, uint64_t *result)       \
  {                                                                            \
    uint##width##_t bits = (uint##width##_t)a;                                 \
    type x, y;                                                                 \
                                                                               \
    memcpy(&x, &bits, sizeof(x));                                              \
    __asm__ volatile("sqrt" suffix " %1, %0" : "=x"(y) : "x"(x));              \
    memcpy(&bits, &y, sizeof(y));                                              \
    *result = bits;                                                            \
    return !vmmi_fp_is_nan(&vmmi_f##width, bits);                              \
  }

VMMI_FP_SQRT(32, float, "ss")
VMMI_FP_SQRT(64, double, "sd")

/* a * b + c; the caller has asked vmmi_host_has_fma() */
#define VMMI_FP_FMA(width, type, suffix)                                       \
  static inline bool vmmi_host_fma##width(uint64_t a, uint64_t b, uint64_t c,  \
                                          uint64_t *result)                    \
  {                                                                            \
    uint##width##_t u = (uint##width##_t)a, v = (uint##width##_t)b,            \
                    w = (uint##width##_t)c;                                    \
    type x, y, z;                                                              \
                                                                               \
    memcpy(&x, &u, sizeof(x));                                                 \
    memcpy(&y, &v, sizeof(y));                                                 \
    memcpy(&z, &w, sizeof(z));                                                 \
    __asm__ volatile("vfmadd231" suffix " %2, %1, %0"                          \
                     : "+x"(z)                                                 \
                     : "x"(x), "x"(y));                                        \
    memcpy(&w, &z, sizeof(z));                                                 \
    *result = w;                                                               \
    return !vmmi_fp_is_nan(&vmmi_f##width, w);                                 \
  }

VMMI_FP_FMA(32, float, "ss")
VMMI_FP_FMA(64, double, "sd")

static inline bool vmmi_host_has_fma(void)
{
  return __builtin_cpu_supports("fma");
}

static inline bool vmmi_host_narrow(uint64_t a, uint64_t *result)
{
  uint32_t bits;
  double x;
  float y;

  memcpy(&x, &a, sizeof(x));
  __asm__ volatile("cvtsd2ss %1, %0" : "=x"(y) : "x"(x));
  memcpy(&bits, &y, sizeof(y));
  *result = bits;
  return !vmmi_fp_is_nan(&vmmi_f32, bits);
}

/* To an integer, by the mode or towards zero, of what fits into int64_t. */
#define VMMI_FP_TO_INT(width, type, suffix)                                    \
  static inline int64_t vmmi_host_to_int##width(uint64_t a, bool to_zero)      \
  {                                                                            \
    uint##width##_t bits = (uint##width##_t)a;                                 \
    int64_t i;                                                                 \
    type x;                                                                    \
                                                                               \
    memcpy(&x, &bits, sizeof(x));                                              \
    if (to_zero)                                                               \
      __asm__ volatile("cvtt" suffix "2si %1, %0" : "=r"(i) : "x"(x));         \
    else                                                                       \
      __asm__ volatile("cvt" suffix "2si %1, %0" : "=r"(i) : "x"(x));          \
    return i;                                                                  \
  }

VMMI_FP_TO_INT(32, float, "ss")
VMMI_FP_TO_INT(64, double, "sd")

#define VMMI_FP_FROM_INT(width, type, suffix)                                  \
  static inline uint64_t vmmi_host_from_int##width(int64_t i)                  \
  {                                                                            \
    uint##width##_t bits;                                                      \
    type x;                                                                    \
                                                                               \
    __asm__ volatile("xorps %0, %0\n\tcvtsi2" suffix "q %1, %0"                \
                     : "=&x"(x)                                                \
                     : "r"(i));                                                \
    memcpy(&bits, &x, sizeof(x));                                              \
    return bits;                                                               \
  }

VMMI_FP_FROM_INT(32, float, "ss")
VMMI_FP_FROM_INT(64, double, "sd")

#else

enum { VMMI_FP_HOST = 0 };

static inline uint32_t vmmi_fp_enter(struct vmmi_fp_state *fp)
{
  fp->slow = 1;
  return 0;
}

static inline void vmmi_fp_leave(struct vmmi_fp_state *fp, uint32_t host)
{
  (void)fp;
  (void)host;
}

#define VMMI_NO_HOST(name)                                                     \
  static inline bool name##32(uint64_t a, uint64_t b, uint64_t *result)        \
  {                                                                            \
    (void)a, (void)b, (void)result;                                            \
    return false;                                                              \
  }                                                                            \
  static inline bool name##64(uint64_t a, uint64_t b, uint64_t *result)        \
  {                                                                            \
    return name##32(a, b, result);                                             \
  }

VMMI_NO_HOST(vmmi_host_add)
VMMI_NO_HOST(vmmi_host_sub)
VMMI_NO_HOST(vmmi_host_mul)
VMMI_NO_HOST(vmmi_host_div)

#define vmmi_host_sqrt32(a, result) vmmi_host_add32(a, a, result)
#define vmmi_host_sqrt64(a, result) vmmi_host_add32(a, a, result)
#define vmmi_host_narrow(a, result) vmmi_host_add32(a, a, result)
#define vmmi_host_fma32(a, b, c, result) vmmi_host_add32(a, b, result)
#define vmmi_host_fma64(a, b, c, result) vmmi_host_add32(a, b, result)
#define vmmi_host_has_fma() false
#define vmmi_host_to_int32(a, to_zero) ((int64_t)(a))
#define vmmi_host_to_int64(a, to_zero) ((int64_t)(a))
#define vmmi_host_from_int32(i) ((uint64_t)(i))
#define vmmi_host_from_int64(i) ((uint64_t)(i))

#endif
#endif
