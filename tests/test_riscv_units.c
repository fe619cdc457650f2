/*
 * What single instructions compute, at the edges that C or the host would do
 * otherwise: division, shifts, NaN boxing, rounding, conversions, atomics.
 * (tests/diff compares all instructions with another engine.)
 */
#include "riscv_guest.h"

enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };
enum { RNE, RTZ, RDN, RUP, RMM, DYN = 7 };

static const uint64_t MIN64 = 1ull << 63;
static const uint64_t NAN64 = 0x7ff8000000000000, ONE = 0x3ff0000000000000;
static const uint64_t INF = 0x7ff0000000000000, SNAN = 0x7ff0000000000001;

/* ---- integers: x12 = x10 op x11 ---- */

static const struct {
  uint32_t opcode, f3, f7;
  uint64_t a, b, result;
} integers[] = {
  { 0x33, 4, 1, 7, 0, ~0ull },                      /* div */
  { 0x33, 4, 1, MIN64, ~0ull, MIN64 },
  { 0x33, 5, 1, 7, 0, ~0ull },                      /* divu */
  { 0x33, 6, 1, 7, 0, 7 },                          /* rem */
  { 0x33, 6, 1, MIN64, ~0ull, 0 },
  { 0x33, 7, 1, 7, 0, 7 },                          /* remu */
  { 0x3b, 4, 1, 0x80000000, ~0ull, ~0x7fffffffull }, /* divw */
  { 0x3b, 4, 1, 5, 1ull << 32, ~0ull },
  { 0x3b, 5, 1, 0xffffffff, 1, ~0ull },             /* divuw */
  { 0x3b, 6, 1, 0x80000000, ~0ull, 0 },             /* remw */
  { 0x3b, 7, 1, 0x80000001, 0, ~0x7ffffffeull },    /* remuw */
  { 0x33, 1, 1, MIN64, MIN64, 1ull << 62 },         /* mulh */
  { 0x33, 2, 1, ~0ull, ~0ull, ~0ull },              /* mulhsu */
  { 0x33, 3, 1, ~0ull, ~0ull, ~1ull },              /* mulhu */
  { 0x33, 1, 0, 1, 65, 2 },                         /* sll */
  { 0x33, 5, 0x20, MIN64, 63, ~0ull },              /* sra */
  { 0x3b, 1, 0, 1, 31, ~0x7fffffffull },            /* sllw */
  { 0x3b, 5, 0, 0xffffffff80000000, 32, ~0x7fffffffull }, /* srlw */
  { 0x3b, 5, 0x20, 0x80000000, 31, ~0ull },         /* sraw */
  { 0x3b, 0, 0, 0x7fffffff, 1, ~0x7fffffffull },    /* addw */
  { 0x33, 2, 0, ~0ull, 0, 1 },                      /* slt */
  { 0x33, 3, 0, ~0ull, 0, 0 },                      /* sltu */
};

START_TEST(integers_are_right_at_the_edges)
{
  struct guest g;
  size_t i;

  guest_begin(&g);
  for (i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
    guest_code(&g, GUEST_CODE,
               rv_r(integers[i].opcode, integers[i].f3, integers[i].f7, A2, A0,
                    A1),
               RV_ECALL);
    guest_set(&g, A0, integers[i].a);
    guest_set(&g, A1, integers[i].b);
    guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
    ck_assert_msg(guest_get(&g, A2) == integers[i].result,
                  "row %zu: %#llx", i, (unsigned long long)guest_get(&g, A2));
  }
  guest_end(&g);
}
END_TEST

/* ---- floating point: f0 or x12 = f1 op f2 (f3) ---- */

/* funct7, rs2 or -1 for f2, rounding mode or funct3 */
static const struct {
  unsigned f7;
  int rs2;
  unsigned rm, frm;
  uint64_t a, b, result;
  unsigned flags;
} floats[] = {
  /* fadd.d: 1 + 2^-53, a tie, in each mode */
  { 0x01, -1, RNE, 0, ONE, 0x3ca0000000000000, ONE, NX },
  { 0x01, -1, RTZ, 0, ONE, 0x3ca0000000000000, ONE, NX },
  { 0x01, -1, RDN, 0, ONE, 0x3ca0000000000000, ONE, NX },
  { 0x01, -1, RUP, 0, ONE, 0x3ca0000000000000, ONE + 1, NX },
  { 0x01, -1, RMM, 0, ONE, 0x3ca0000000000000, ONE + 1, NX },
  { 0x01, -1, DYN, RMM, ONE, 0x3ca0000000000000, ONE + 1, NX },
  { 0x01, -1, DYN, RUP, ONE, 0x3ca0000000000000, ONE + 1, NX },
  { 0x01, -1, DYN, RNE, ONE, SNAN, NAN64, NV },
  { 0x01, -1, DYN, RNE, ONE, NAN64 | 5, NAN64, 0 },
  { 0x05, -1, DYN, RNE, INF, INF, NAN64, NV }, /* fsub.d */
  { 0x05, -1, DYN, RDN, ONE, ONE, MIN64, 0 },
  { 0x09, -1, DYN, RNE, 0x0010000000000000, 0x3fe0000000000000,
    0x0008000000000000, 0 },                              /* fmul.d, exact */
  { 0x09, -1, DYN, RNE, 0x000fffffffffffff, 0x3ff0000000000001,
    0x0010000000000000, NX },             /* rounds up: no longer tiny */
  { 0x09, -1, DYN, RNE, 0x000fffffffffffff, 0x3fe0000000000000,
    0x0008000000000000, UF | NX },        /* tiny after rounding */
  { 0x09, -1, DYN, RTZ, 0x7fe0000000000000, 0x7fe0000000000000,
    INF - 1, OF | NX },
  { 0x0d, -1, DYN, RNE, ONE, MIN64, INF | MIN64, DZ },    /* fdiv.d */
  { 0x0d, -1, DYN, RNE, 0, 0, NAN64, NV },
  { 0x2d, 0, DYN, RNE, ONE | MIN64, 0, NAN64, NV },       /* fsqrt.d */
  { 0x2d, 0, DYN, RNE, MIN64, 0, MIN64, 0 },
  { 0x15, -1, 0, 0, 0, MIN64, MIN64, 0 },                 /* fmin.d */
  { 0x15, -1, 0, 0, NAN64, ONE, ONE, 0 },
  { 0x15, -1, 1, 0, SNAN, ONE, ONE, NV },                 /* fmax.d */
  { 0x15, -1, 1, 0, NAN64 | 7, NAN64 | MIN64, NAN64, 0 },
  { 0x20, 1, DYN, RNE, NAN64 | 3, 0, 0xffffffff7fc00000, 0 }, /* fcvt.s.d */
  { 0x20, 1, DYN, RNE, 0x47f0000000000000, 0, 0xffffffff7f800000, OF | NX },
  { 0x21, 0, RNE, 0, 0x3f800000, 0, NAN64, 0 },       /* fcvt.d.s, unboxed */
  { 0x21, 0, RNE, 0, 0xffffffff3f800000, 0, ONE, 0 },
  /* fadd.s of what is no single is of NaNs; of 1 and 2^-24 a tie */
  { 0x00, -1, DYN, RNE, ONE, 0xffffffff3f800000, 0xffffffff7fc00000, 0 },
  { 0x00, -1, DYN, RMM, 0xffffffff3f800000, 0xffffffff33800000,
    0xffffffff3f800001, NX },
  /* fsgnjn.s with the sign of an unboxed value, which is that of the NaN */
  { 0x10, -1, 1, 0, 0xffffffff3f800000, 0, 0xffffffffbf800000, 0 },
};

START_TEST(floats_are_right_at_the_edges)
{
  struct guest g;
  size_t i;

  guest_begin(&g);
  for (i = 0; i < sizeof(floats) / sizeof(floats[0]); i++) {
    guest_code(&g, GUEST_CODE,
               rv_r(0x53, floats[i].rm, floats[i].f7, 0, 1,
                    floats[i].rs2 < 0 ? 2 : (unsigned)floats[i].rs2),
               RV_ECALL);
    guest_set(&g, 32 + 1, floats[i].a);
    guest_set(&g, 32 + 2, floats[i].b);
    guest_set(&g, VMM_RISCV_FCSR, floats[i].frm << 5);
    guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
    ck_assert_msg(guest_get(&g, 32) == floats[i].result, "row %zu: %#llx", i,
                  (unsigned long long)guest_get(&g, 32));
    ck_assert_msg((guest_get(&g, VMM_RISCV_FCSR) & 31) == floats[i].flags,
                  "row %zu: flags %#llx", i,
                  (unsigned long long)guest_get(&g, VMM_RISCV_FCSR));
  }
  guest_end(&g);
}
END_TEST

START_TEST(fused_multiply_add_rounds_once)
{
  const uint64_t x = ONE + 1; /* 1 + 2^-52: its square has a bit at 2^-104 */
  const uint32_t fmsub = 0x47 | 0 << 7 | 7 << 12 | 1 << 15 | 1 << 20 | 1 << 25 |
                         2u << 27;
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, fmsub, RV_ECALL);
  guest_set(&g, 32 + 1, x);
  guest_set(&g, 32 + 2, ONE + 2);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, 32), 0x3970000000000000); /* 2^-104 */
  ck_assert_uint_eq(guest_get(&g, VMM_RISCV_FCSR), 0);
  guest_set(&g, 32 + 1, INF);
  guest_code(&g, GUEST_CODE, (fmsub & ~(31u << 20)) | 3 << 20);
  guest_set(&g, 32 + 2, NAN64);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, 32), NAN64);
  ck_assert_uint_eq(guest_get(&g, VMM_RISCV_FCSR), NV); /* inf * 0 */
  guest_end(&g);
}
END_TEST

/* ---- conversions: x12 = f1 ---- */

static const struct {
  int to; /* 0 w, 1 wu, 2 l, 3 lu */
  unsigned rm;
  uint64_t a, result;
  unsigned flags;
} conversions[] = {
  { 0, RTZ, 0xc1e0000000000000, ~0x7fffffffull, 0 },  /* -2^31 */
  { 0, RTZ, 0xc1e0000000200000, ~0x7fffffffull, NV }, /* -2^31 - 1 */
  { 0, RUP, 0x41dfffffffe00000, 0x7fffffff, NV },     /* 2^31 - 0.5 */
  { 0, RTZ, 0x41dfffffffe00000, 0x7fffffff, NX },
  { 0, RTZ, NAN64, 0x7fffffff, NV },
  { 0, RTZ, INF | MIN64, ~0x7fffffffull, NV },
  { 1, RTZ, 0xbfe0000000000000, 0, NX },              /* -0.5 */
  { 1, RDN, 0xbfe0000000000000, 0, NV },
  { 1, RTZ, 0x41efffffffe00000, ~0ull, 0 },           /* 2^32 - 1 */
  { 1, RTZ, 0x41f0000000000000, ~0ull, NV },
  { 1, RTZ, NAN64 | MIN64, ~0ull, NV },
  { 2, RTZ, 0x43e0000000000000, MIN64 - 1, NV },      /* 2^63 */
  { 2, RTZ, 0xc3e0000000000000, MIN64, 0 },
  { 2, RMM, 0x4004000000000000, 3, NX },              /* 2.5 */
  { 2, RNE, 0x4004000000000000, 2, NX },
  { 2, RDN, 0xc004000000000000, ~2ull, NX },
  { 3, RTZ, 0x43e0000000000000, MIN64, 0 },
  { 3, RTZ, 0x43f0000000000000, ~0ull, NV },
  { 3, RTZ, ONE | MIN64, 0, NV },
};

START_TEST(conversions_out_of_range_are_clamped)
{
  struct guest g;
  size_t i;

  guest_begin(&g);
  for (i = 0; i < sizeof(conversions) / sizeof(conversions[0]); i++) {
    guest_code(&g, GUEST_CODE,
               rv_r(0x53, conversions[i].rm, 0x61, A2, 1,
                    (unsigned)conversions[i].to),
               RV_ECALL);
    guest_set(&g, 32 + 1, conversions[i].a);
    guest_set(&g, VMM_RISCV_FCSR, 0);
    guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
    ck_assert_msg(guest_get(&g, A2) == conversions[i].result, "row %zu: %#llx",
                  i, (unsigned long long)guest_get(&g, A2));
    ck_assert_msg(guest_get(&g, VMM_RISCV_FCSR) == conversions[i].flags,
                  "row %zu: flags %#llx", i,
                  (unsigned long long)guest_get(&g, VMM_RISCV_FCSR));
  }
  guest_end(&g);
}
END_TEST

/* ---- fcsr ---- */

START_TEST(fcsr_is_seen_in_its_three_views)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_CSRRW(A0, 3, A1), RV_CSRRS(A2, 1, X0),
             RV_CSRRS(T0, 2, X0), RV_CSRRW(X0, 2, X0), RV_ECALL);
  guest_set(&g, A1, 0xfffffffffffff7b5);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 0);
  ck_assert_uint_eq(guest_get(&g, A2), 0x15);
  ck_assert_uint_eq(guest_get(&g, T0), 5);
  ck_assert_uint_eq(guest_get(&g, VMM_RISCV_FCSR), 0x15);
  guest_end(&g);
}
END_TEST

START_TEST(flags_are_sticky)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, rv_r(0x53, 7, 0x0d, 0, 1, 2), /* 1 / 0 */
             rv_r(0x53, 7, 0x01, 0, 1, 1),                 /* 1 + 1 */
             RV_CSRRS(A0, 1, X0), rv_r(0x53, 7, 0x0d, 0, 2, 2), RV_ECALL);
  guest_set(&g, 32 + 1, ONE);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), DZ);
  ck_assert_uint_eq(guest_get(&g, VMM_RISCV_FCSR), DZ | NV);
  guest_end(&g);
}
END_TEST

/* ---- atomics ---- */

/* f5, f3, memory before, x12, memory after; x10 gets the old value */
static const struct {
  unsigned f5, f3;
  uint64_t before, operand, after, result;
} amos[] = {
  { 1, 3, 5, 9, 9, 5 },                                         /* swap.d */
  { 0, 2, 0x1ffffffff, 1, 0x100000000, ~0ull },                 /* add.w */
  { 16, 2, 0x80000000, 1, 0x80000000, ~0x7fffffffull },         /* min.w */
  { 24, 2, 0x80000000, 1, 1, ~0x7fffffffull },                  /* minu.w */
  { 20, 3, MIN64, ~0ull, ~0ull, MIN64 },                        /* max.d */
  { 28, 3, 1, ~0ull, ~0ull, 1 },                                /* maxu.d */
  { 12, 3, 0xff, 0x0f, 0x0f, 0xff },                            /* and.d */
  { 8, 2, 0xf0f0f0f0f0, 0x0f, 0xf0f0f0f0ff, 0xfffffffff0f0f0f0 }, /* or.w */
};

START_TEST(amos_give_the_old_value)
{
  struct guest g;
  uint64_t after;
  size_t i;

  guest_begin(&g);
  for (i = 0; i < sizeof(amos) / sizeof(amos[0]); i++) {
    guest_code(&g, GUEST_CODE, RV_AMO(amos[i].f5, amos[i].f3, A0, A1, A2),
               RV_ECALL);
    ck_assert_ok(vmm_copyout(g.space, GUEST_DATA, &amos[i].before, 8, NULL));
    guest_set(&g, A2, amos[i].operand);
    guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
    ck_assert_ok(vmm_copyin(g.space, &after, GUEST_DATA, 8, NULL));
    ck_assert_msg(after == amos[i].after, "row %zu: memory %#llx", i,
                  (unsigned long long)after);
    ck_assert_msg(guest_get(&g, A0) == amos[i].result, "row %zu: %#llx", i,
                  (unsigned long long)guest_get(&g, A0));
  }
  guest_end(&g);
}
END_TEST

/* x10 = LR of x11; x12 = SC of x11 + offset */
static uint64_t reserve_and_store(struct guest *g, int offset, uint32_t between)
{
  guest_code(g, GUEST_CODE, RV_AMO(2, 3, A0, A1, X0), RV_ADDI(T0, A1, offset),
             between, RV_AMO(3, 3, A2, T0, T1), RV_ECALL);
  guest_set(g, T1, 7);
  guest_run_at(g, GUEST_CODE, VMM_CPU_ECALL);
  return guest_get(g, A2);
}

START_TEST(sc_fails_without_its_reservation)
{
  struct guest g;

  guest_begin(&g);
  ck_assert_uint_eq(reserve_and_store(&g, 0, RV_NOP), 0);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA), 7);
  ck_assert_uint_eq(reserve_and_store(&g, 8, RV_NOP), 1);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA + 8), 0);
  ck_assert_uint_eq(reserve_and_store(&g, 0, RV_SD(A1, A1, 0)), 1);
  /* the first SC uses it up */
  ck_assert_uint_eq(reserve_and_store(&g, 0, RV_AMO(3, 3, T2, A1, T1)), 1);
  ck_assert_uint_eq(guest_get(&g, T2), 0);
  guest_end(&g);
}
END_TEST

Suite *vmm_suite_riscv_units(void)
{
  Suite *suite = suite_create("riscv_units");
  TCase *tcase = tcase_create("units");

  tcase_add_test(tcase, integers_are_right_at_the_edges);
  tcase_add_test(tcase, floats_are_right_at_the_edges);
  tcase_add_test(tcase, fused_multiply_add_rounds_once);
  tcase_add_test(tcase, conversions_out_of_range_are_clamped);
  tcase_add_test(tcase, fcsr_is_seen_in_its_three_views);
  tcase_add_test(tcase, flags_are_sticky);
  tcase_add_test(tcase, amos_give_the_old_value);
  tcase_add_test(tcase, sc_fails_without_its_reservation);
  suite_add_tcase(suite, tcase);
  return suite;
}
