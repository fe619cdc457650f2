/*
 * IEEE 754 arithmetic in integers.  Every operation takes its operands apart
 * into (sign, exponent, significand), computes exactly or with all lost bits
 * gathered in the lowest one ("sticky"), and rounds once, in round_pack().
 */
#include "fp.h"

typedef unsigned __int128 u128;

/* A finite number is significand * 2^exponent; that of a non-zero number has
 * its leading bit at TOP, so that two of them multiply and add in 128 bits. */
enum { TOP = 61 };

struct number {
  bool negative, zero, inf, nan, signaling;
  int exponent;
  uint64_t significand;
};

static uint64_t default_nan(vmmi_fp_fmt f)
{
  return f->inf | f->quiet;
}

static uint64_t invalid(vmmi_fp_fmt f, uint32_t *flags)
{
  *flags |= FP_INVALID;
  return default_nan(f);
}

static uint64_t with_sign(vmmi_fp_fmt f, uint64_t a, bool negative)
{
  return negative ? a | f->sign : a;
}

static struct number unpack(vmmi_fp_fmt f, uint64_t a)
{
  const uint64_t hidden = f->quiet << 1;
  uint64_t magnitude = a & ~f->sign & (f->sign | (f->sign - 1));
  uint64_t fraction = magnitude & (hidden - 1);
  int biased = (int)(magnitude / hidden), shift;
  struct number n = { .negative = a & f->sign };

  if (magnitude >= f->inf) {
    n.inf = magnitude == f->inf;
    n.nan = !n.inf;
    n.signaling = n.nan && !(a & f->quiet);
    return n;
  }
  if (biased != 0)
    fraction |= hidden;
  n.zero = fraction == 0;
  if (n.zero)
    return n;
  shift = __builtin_clzll(fraction) - (63 - TOP);
  n.significand = fraction << shift;
  n.exponent =
      (biased ? biased - 1 : 0) + f->emin - (int)f->precision + 1 - shift;
  return n;
}

/* => NaN result of operands of which one is a NaN */
static uint64_t nan_of(vmmi_fp_fmt f, const struct number *a,
                       const struct number *b, uint32_t *flags)
{
  if (a->signaling || b->signaling)
    *flags |= FP_INVALID;
  return default_nan(f);
}

static int top_bit(u128 x)
{
  uint64_t high = (uint64_t)(x >> 64);

  return high ? 127 - __builtin_clzll(high) : 63 - __builtin_clzll((uint64_t)x);
}

/* x / 2^n, any 1 that is lost going into bit 0 */
static u128 shift_sticky(u128 x, unsigned n)
{
  if (n == 0)
    return x;
  if (n > 127)
    return x != 0;
  return x >> n | ((x << (128 - n)) != 0);
}

/* x / 2^n rounded to an integer; *inexact is set if it is not one */
static u128 round_shift(u128 x, unsigned n, bool negative, unsigned rm,
                        bool *inexact)
{
  bool half, rest, up = false;
  u128 q;

  if (n == 0)
    return x;
  if (n > 128)
    x = x != 0, n = 128; /* less than a half */
  q = n > 127 ? 0 : x >> n;
  half = x >> (n - 1) & 1;
  rest = n > 1 && (x << (128 - (n - 1))) != 0;
  *inexact = half || rest;
  switch (rm) {
  case FP_NEAREST_EVEN: up = half && (rest || (q & 1)); break;
  case FP_NEAREST_AWAY: up = half; break;
  case FP_DOWN: up = negative && *inexact; break;
  case FP_UP: up = !negative && *inexact; break;
  }
  return q + up;
}

static uint64_t overflow(vmmi_fp_fmt f, bool negative, unsigned rm,
                         uint32_t *flags)
{
  bool to_inf = rm == FP_NEAREST_EVEN || rm == FP_NEAREST_AWAY ||
                (rm == FP_DOWN && negative) || (rm == FP_UP && !negative);

  *flags |= FP_OVERFLOW | FP_INEXACT;
  return with_sign(f, to_inf ? f->inf : f->inf - 1, negative);
}

/* => whether x * 2^exponent, rounded as if the exponent had no bounds, is below
 *    the least normal number ("after rounding", 7.5 of the standard) */
static bool is_tiny(vmmi_fp_fmt f, u128 x, int exponent, bool negative,
                    unsigned rm)
{
  int drop = top_bit(x) - (int)f->precision + 1;
  int e = exponent + top_bit(x);
  bool inexact;

  if (e != f->emin - 1 || drop <= 0)
    return e < f->emin;
  return round_shift(x, (unsigned)drop, negative, rm, &inexact) >>
             f->precision == 0;
}

/* The one rounding: x * 2^exponent, x not 0, its bit 0 perhaps sticky. */
static uint64_t round_pack(vmmi_fp_fmt f, bool negative, int exponent, u128 x,
                           unsigned rm, uint32_t *flags)
{
  int e = exponent + top_bit(x);
  int low = (e < f->emin ? f->emin : e) - (int)f->precision + 1;
  int drop = low - exponent;
  bool inexact = false;
  uint64_t q, biased;

  if (e > f->emax)
    return overflow(f, negative, rm, flags);
  if (drop <= 0)
    q = (uint64_t)(x << -drop);
  else
    q = (uint64_t)round_shift(x, (unsigned)drop, negative, rm, &inexact);
  if (inexact) {
    *flags |= FP_INEXACT;
    if (is_tiny(f, x, exponent, negative, rm))
      *flags |= FP_UNDERFLOW;
  }
  /* the hidden bit, or a carry out of the fraction, adds 1 to the exponent */
  biased = (uint64_t)(low + (int)f->precision - 1 - f->emin);
  q += biased * (f->quiet << 1);
  if (q >= f->inf)
    return overflow(f, negative, rm, flags);
  return with_sign(f, q, negative);
}

/* Sum of two numbers x * 2^ex of signs nx, leading bits at 124 or below. */
static uint64_t add_parts(vmmi_fp_fmt f, bool nx, int ex, u128 x, bool ny,
                          int ey, u128 y, unsigned rm, uint32_t *flags)
{
  int e = ex > ey ? ex : ey;

  x = shift_sticky(x, (unsigned)(e - ex));
  y = shift_sticky(y, (unsigned)(e - ey));
  if (nx == ny)
    return round_pack(f, nx, e, x + y, rm, flags);
  if (x == y)
    return with_sign(f, 0, rm == FP_DOWN);
  return x > y ? round_pack(f, nx, e, x - y, rm, flags)
               : round_pack(f, ny, e, y - x, rm, flags);
}

uint64_t vmmi_fp_add(vmmi_fp_fmt f, uint64_t a, uint64_t b, unsigned rm,
                     uint32_t *flags)
{
  struct number x = unpack(f, a), y = unpack(f, b);

  if (x.nan || y.nan)
    return nan_of(f, &x, &y, flags);
  if (x.inf && y.inf && x.negative != y.negative)
    return invalid(f, flags);
  if (x.inf || y.inf)
    return with_sign(f, f->inf, x.inf ? x.negative : y.negative);
  if (x.zero && y.zero)
    return with_sign(f, 0, x.negative == y.negative ? x.negative
                                                    : rm == FP_DOWN);
  if (x.zero || y.zero)
    return x.zero ? b : a;
  return add_parts(f, x.negative, x.exponent - 62, (u128)x.significand << 62,
                   y.negative, y.exponent - 62, (u128)y.significand << 62, rm,
                   flags);
}

uint64_t vmmi_fp_mul(vmmi_fp_fmt f, uint64_t a, uint64_t b, unsigned rm,
                     uint32_t *flags)
{
  struct number x = unpack(f, a), y = unpack(f, b);
  bool negative = x.negative != y.negative;

  if (x.nan || y.nan)
    return nan_of(f, &x, &y, flags);
  if ((x.inf && y.zero) || (x.zero && y.inf))
    return invalid(f, flags);
  if (x.inf || y.inf)
    return with_sign(f, f->inf, negative);
  if (x.zero || y.zero)
    return with_sign(f, 0, negative);
  return round_pack(f, negative, x.exponent + y.exponent,
                    (u128)x.significand * y.significand, rm, flags);
}

uint64_t vmmi_fp_fma(vmmi_fp_fmt f, uint64_t a, uint64_t b, uint64_t c,
                     unsigned rm, uint32_t *flags)
{
  struct number x = unpack(f, a), y = unpack(f, b), z = unpack(f, c);
  bool negative = x.negative != y.negative;

  if ((x.inf && y.zero) || (x.zero && y.inf))
    return invalid(f, flags); /* even if c is a quiet NaN (11.6) */
  if (x.nan || y.nan || z.nan) {
    if (z.signaling)
      *flags |= FP_INVALID;
    return nan_of(f, &x, &y, flags);
  }
  if (x.inf || y.inf) {
    if (z.inf && z.negative != negative)
      return invalid(f, flags);
    return with_sign(f, f->inf, negative);
  }
  if (z.inf)
    return c;
  if (x.zero || y.zero)
    return vmmi_fp_add(f, with_sign(f, 0, negative), c, rm, flags);
  if (z.zero)
    return round_pack(f, negative, x.exponent + y.exponent,
                      (u128)x.significand * y.significand, rm, flags);
  return add_parts(f, negative, x.exponent + y.exponent,
                   (u128)x.significand * y.significand, z.negative,
                   z.exponent - 62, (u128)z.significand << 62, rm, flags);
}

uint64_t vmmi_fp_div(vmmi_fp_fmt f, uint64_t a, uint64_t b, unsigned rm,
                     uint32_t *flags)
{
  struct number x = unpack(f, a), y = unpack(f, b);
  bool negative = x.negative != y.negative;
  u128 dividend, q;

  if (x.nan || y.nan)
    return nan_of(f, &x, &y, flags);
  if ((x.inf && y.inf) || (x.zero && y.zero))
    return invalid(f, flags);
  if (x.inf || y.zero) {
    if (!x.inf)
      *flags |= FP_DIVIDE;
    return with_sign(f, f->inf, negative);
  }
  if (x.zero || y.inf)
    return with_sign(f, 0, negative);
  dividend = (u128)x.significand << 66;
  q = dividend / y.significand;
  q |= q * y.significand != dividend;
  return round_pack(f, negative, x.exponent - y.exponent - 66, q, rm, flags);
}

uint64_t vmmi_fp_sqrt(vmmi_fp_fmt f, uint64_t a, unsigned rm, uint32_t *flags)
{
  struct number x = unpack(f, a);
  u128 rest, root = 0, bit = (u128)1 << 126;

  if (x.nan)
    return nan_of(f, &x, &x, flags);
  if (x.zero)
    return a;
  if (x.negative)
    return invalid(f, flags);
  if (x.inf)
    return a;
  /* an even exponent, and as many bits as fit below bit 127 */
  rest = (u128)x.significand << (64 + (x.exponent & 1));
  x.exponent -= 64 + (x.exponent & 1);
  for (; bit != 0; bit >>= 2) {
    if (rest >= root + bit) {
      rest -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return round_pack(f, false, x.exponent / 2 - 1, root << 1 | (rest != 0), rm,
                    flags);
}

uint64_t vmmi_fp_convert(vmmi_fp_fmt to, vmmi_fp_fmt from, uint64_t a,
                         unsigned rm, uint32_t *flags)
{
  struct number x = unpack(from, a);

  if (x.nan)
    return nan_of(to, &x, &x, flags);
  if (x.inf || x.zero)
    return with_sign(to, x.inf ? to->inf : 0, x.negative);
  return round_pack(to, x.negative, x.exponent, x.significand, rm, flags);
}

uint64_t vmmi_fp_from_int(vmmi_fp_fmt f, uint64_t magnitude, bool negative,
                          unsigned rm, uint32_t *flags)
{
  if (magnitude == 0)
    return 0;
  return round_pack(f, negative, 0, magnitude, rm, flags);
}

/* The largest or least integer, sign-extended from nbits. */
static uint64_t clamp(unsigned nbits, bool is_signed, bool negative)
{
  uint64_t max = ~0ull >> (64 - nbits);

  if (is_signed)
    return negative ? ~(max >> 1) : max >> 1;
  return negative ? 0 : ~0ull; /* all ones, extended */
}

uint64_t vmmi_fp_to_int(vmmi_fp_fmt f, uint64_t a, unsigned nbits,
                        bool is_signed, unsigned rm, uint32_t *flags)
{
  struct number x = unpack(f, a);
  uint64_t max = clamp(nbits, is_signed, false) & (~0ull >> (64 - nbits));
  bool inexact = false;
  u128 q;

  if (x.nan || x.inf || (!x.zero && x.exponent + TOP > 64)) {
    *flags |= FP_INVALID;
    return clamp(nbits, is_signed, x.negative && !x.nan);
  }
  if (x.zero)
    return 0;
  q = x.exponent >= 0 ? (u128)x.significand << x.exponent
                      : round_shift(x.significand, (unsigned)-x.exponent,
                                    x.negative, rm, &inexact);
  if (x.negative ? q > (is_signed ? (u128)max + 1 : 0) : q > max) {
    *flags |= FP_INVALID;
    return clamp(nbits, is_signed, x.negative);
  }
  if (inexact)
    *flags |= FP_INEXACT;
  q = x.negative ? -q : q;
  return nbits == 32 ? (uint64_t)(int64_t)(int32_t)q : (uint64_t)q;
}

unsigned vmmi_fp_class(vmmi_fp_fmt f, uint64_t a)
{
  struct number x = unpack(f, a);
  bool subnormal = x.exponent + TOP < f->emin;

  if (x.nan)
    return 1u << (x.signaling ? FP_CLASS_SIGNALING : FP_CLASS_QUIET);
  if (x.inf)
    return 1u << (x.negative ? FP_CLASS_NEG_INF : FP_CLASS_INF);
  if (x.zero)
    return 1u << (x.negative ? FP_CLASS_NEG_ZERO : FP_CLASS_ZERO);
  if (subnormal)
    return 1u << (x.negative ? FP_CLASS_NEG_SUBNORMAL : FP_CLASS_SUBNORMAL);
  return 1u << (x.negative ? FP_CLASS_NEG_NORMAL : FP_CLASS_NORMAL);
}
