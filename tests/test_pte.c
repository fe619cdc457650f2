/*
 * S4.1: the operations of <vmm/pte.h> on every combination of bits, against a
 * table of its own: what each clears, what it sets, what it may grant.
 */
#include <vmm/pte.h>

#include "vmm_test.h"

#define P VMM_PTE_PRESENT
#define R VMM_PTE_READ
#define W VMM_PTE_WRITE
#define X VMM_PTE_EXEC
#define A VMM_PTE_ACCESSED
#define M VMM_PTE_MODIFIED
#define C VMM_PTE_COW
#define SR VMM_PTE_SREAD
#define SW VMM_PTE_SWRITE
#define SX VMM_PTE_SEXEC
#define V VMM_PTE_SAVED
#define FRAME ((vmm_pte_t)0xabcdef0123 << VMM_PTE_FRAME_SHIFT)

/* Two trackers in slots at both ends of the field. */
#define T0 VMM_PTE_TRACKER(0)
#define T7 VMM_PTE_TRACKER(7)

/* Bits in the order in which a number's digits choose them. */
static const vmm_pte_t bits[] = { P, R, W, X, A, M, VMM_PTE_SUPERVISOR, C,
                                  T0, T7, SR, SW, SX, V };
enum { NBITS = sizeof(bits) / sizeof(bits[0]) };

static vmm_pte_t combine(unsigned choice)
{
  vmm_pte_t pte = FRAME;
  unsigned i;

  for (i = 0; i < NBITS; i++)
    if (choice >> i & 1)
      pte |= bits[i];
  return pte;
}

/* Each tracker: none, of kind write, of kind access; with a snapshot or
 * without. */
static struct vmm_pte_watch watching(unsigned choice)
{
  static const vmm_pte_t slots[] = { T0, T7 };
  struct vmm_pte_watch watch = { 0, 0 };
  unsigned i;

  for (i = 0; i < 2; i++, choice /= 3) {
    if (choice % 3 >= 1)
      watch.all |= slots[i];
    if (choice % 3 == 2)
      watch.access |= slots[i];
  }
  if (choice % 2 == 1)
    watch.all |= V;
  return watch;
}

/* The implications of design rule 2, one by one. */
static int lawful(vmm_pte_t pte, struct vmm_pte_watch watch)
{
#define HAS(wanted) ((pte & (wanted)) == (wanted))
#define IMPLIES(a, b) (!(a) || (b))
  return IMPLIES(HAS(SR), HAS(P)) && IMPLIES(HAS(SR), HAS(A)) &&
         IMPLIES(HAS(SR), HAS(R)) && IMPLIES(HAS(SR), HAS(watch.access)) &&
         IMPLIES(HAS(SW), HAS(SR)) && IMPLIES(HAS(SW), HAS(W)) &&
         IMPLIES(HAS(SW), HAS(M)) && IMPLIES(HAS(SW), !HAS(C)) &&
         IMPLIES(HAS(SW), HAS(watch.all)) && IMPLIES(HAS(SX), HAS(P)) &&
         IMPLIES(HAS(SX), HAS(A)) && IMPLIES(HAS(SX), HAS(X)) &&
         !(HAS(SW) && HAS(SX));
#undef HAS
#undef IMPLIES
}

enum operation {
  WRPROTECT, RDPROTECT, EXPROTECT, MKCLEAN, MKOLD, UNCODE, UNTRACK,
  SILENCE, MKREAD, MKWRITE, MKDIRTY, MKYOUNG, MKEXEC, MODIFY, NOPERATIONS
};

/* What an operation does; of trackers' bits, those of the watch. */
static const struct effect {
  vmm_pte_t clears;
  vmm_pte_t sets;
  vmm_pte_t sets_access, sets_all; /* the bits of these trackers too: -1 */
  vmm_pte_t grants;                /* where the rule lets it */
} effects[NOPERATIONS] = {
  [WRPROTECT] = { W | SW, 0, 0, 0, 0 },
  [RDPROTECT] = { R | SR | SW, 0, 0, 0, 0 },
  [EXPROTECT] = { X | SX, 0, 0, 0, 0 },
  [MKCLEAN] = { M | SW, 0, 0, 0, 0 },
  [MKOLD] = { A | SR | SW | SX, 0, 0, 0, 0 },
  [UNCODE] = { SX, 0, 0, 0, 0 },
  [UNTRACK] = { 0, 0, 0, 0, 0 }, /* depends on its argument: see expect() */
  [SILENCE] = { 0, 0, 0, 0, SR | SW },
  [MKREAD] = { 0, R, 0, 0, SR | SW },
  [MKWRITE] = { 0, W, 0, 0, SR | SW },
  [MKDIRTY] = { 0, M, 0, -1, SR | SW },
  [MKYOUNG] = { 0, A, -1, 0, SR | SW },
  [MKEXEC] = { 0, X, 0, 0, SX },
  [MODIFY] = { 0, 0, 0, 0, 0 }, /* likewise */
};

static vmm_pte_t apply(enum operation operation, vmm_pte_t pte, vmm_pte_t arg,
                       struct vmm_pte_watch watch)
{
  switch (operation) {
  case WRPROTECT: return vmm_pte_wrprotect(pte);
  case RDPROTECT: return vmm_pte_rdprotect(pte);
  case EXPROTECT: return vmm_pte_exprotect(pte);
  case MKCLEAN: return vmm_pte_mkclean(pte);
  case MKOLD: return vmm_pte_mkold(pte);
  case UNCODE: return vmm_pte_uncode(pte);
  case UNTRACK: return vmm_pte_untrack(pte, arg, watch);
  case SILENCE: return vmm_pte_silence(pte, watch);
  case MKREAD: return vmm_pte_mkread(pte, watch);
  case MKWRITE: return vmm_pte_mkwrite(pte, watch);
  case MKDIRTY: return vmm_pte_mkdirty(pte, watch);
  case MKYOUNG: return vmm_pte_mkyoung(pte, watch);
  case MKEXEC: return vmm_pte_mkexec(pte);
  case MODIFY: return vmm_pte_modify(pte, arg);
  default: ck_abort_msg("no such operation"); return 0;
  }
}

/* A silent bit that is wanted and lawful on top of what is there. */
static vmm_pte_t grant(vmm_pte_t pte, vmm_pte_t wanted,
                       struct vmm_pte_watch watch)
{
  if ((wanted & SX) && lawful((pte & ~(vmm_pte_t)(SR | SW)) | SX, watch))
    pte = (pte | SX) & ~SW;
  if ((wanted & SR) && lawful((pte & ~(vmm_pte_t)(SW | SX)) | SR, watch))
    pte |= SR;
  if ((wanted & SW) && lawful(pte | SW, watch))
    pte |= SW;
  return pte;
}

/* What the table says of an operation on a lawful entry. */
static vmm_pte_t expect(enum operation operation, vmm_pte_t pte, vmm_pte_t arg,
                        struct vmm_pte_watch watch)
{
  const struct effect *effect = &effects[operation];

  pte &= ~effect->clears;
  pte |= effect->sets;
  pte |= (effect->sets_access & watch.access) | (effect->sets_all & watch.all);
  if (operation == UNTRACK) {
    pte &= ~arg;
    pte &= arg & watch.access ? ~(SR | SW | SX) : ~(vmm_pte_t)0;
    pte &= arg & watch.all ? ~SW : ~(vmm_pte_t)0;
  }
  if (operation == MODIFY) {
    pte = (pte & ~(R | W | X)) | arg;
    pte &= arg & R ? ~(vmm_pte_t)0 : ~(SR | SW);
    pte &= arg & W ? ~(vmm_pte_t)0 : ~SW;
    pte &= arg & X ? ~(vmm_pte_t)0 : ~SX;
  }
  return grant(pte, effect->grants, watch);
}

/* Arguments of the operations that have one. */
static vmm_pte_t argument(enum operation operation, unsigned i)
{
  static const vmm_pte_t slots[] = { 0, T0, T7, T0 | T7 };

  if (operation == UNTRACK)
    return slots[i % 4];
  return (i & 1 ? R : 0) | (i & 2 ? W : 0) | (i & 4 ? X : 0);
}

static unsigned arguments(enum operation operation)
{
  return operation == UNTRACK ? 4 : operation == MODIFY ? 8 : 1;
}

static void check_one(enum operation operation, vmm_pte_t pte, vmm_pte_t arg,
                      struct vmm_pte_watch watch)
{
  vmm_pte_t result = apply(operation, pte, arg, watch);

  if (result != expect(operation, pte, arg, watch) || !lawful(result, watch))
    ck_abort_msg("operation %d of %llx (argument %llx, watch %llx %llx): %llx",
                 operation, (long long)pte, (long long)arg,
                 (long long)watch.access, (long long)watch.all,
                 (long long)result);
}

/* S4.1 */
START_TEST(every_operation_equals_the_table)
{
  struct vmm_pte_watch watch = watching((unsigned)_i);
  unsigned choice, operation, i, lawfuls = 0;

  for (choice = 0; choice < 1u << NBITS; choice++) {
    vmm_pte_t pte = combine(choice);

    ck_assert_int_eq(vmm_pte_valid(pte, watch), lawful(pte, watch));
    if (!lawful(pte, watch))
      continue;
    lawfuls++;
    for (operation = 0; operation < NOPERATIONS; operation++)
      for (i = 0; i < arguments(operation); i++)
        check_one(operation, pte, argument(operation, i), watch);
  }
  ck_assert_uint_gt(lawfuls, 1024); /* every entry without silent bits is */
}
END_TEST

/* S4.1: also of an entry that some other code got wrong. */
START_TEST(narrowing_never_leaves_more)
{
  unsigned choice, operation, i;

  for (choice = 0; choice < 1u << NBITS; choice++) {
    vmm_pte_t pte = combine(choice);

    for (operation = WRPROTECT; operation <= UNTRACK; operation++)
      for (i = 0; i < arguments(operation); i++) {
        vmm_pte_t result = apply(operation, pte, argument(operation, i),
                                 watching(8));

        ck_assert_uint_eq(result & ~pte, 0);
        ck_assert_uint_eq(result & effects[operation].clears, 0);
        ck_assert_uint_eq(vmm_pte_frame(result), vmm_pte_frame(pte));
      }
  }
}
END_TEST

START_TEST(a_made_entry_is_neither_young_nor_dirty)
{
  unsigned rights;

  for (rights = 0; rights < 8; rights++) {
    vmm_pte_t want = argument(MODIFY, rights), pte;

    pte = vmm_pte_make(0xffffffffff, want | M | A | SW | T0);
    ck_assert_uint_eq(vmm_pte_frame(pte), 0xffffffffff);
    ck_assert_uint_eq(pte & 0xffffff, P | want);
  }
}
END_TEST

/* The bits that the header draws lie where it draws them. */
START_TEST(bits_lie_where_the_drawing_says)
{
  ck_assert_uint_eq(P | R | W | X | A | M | VMM_PTE_SUPERVISOR | C, 0xff);
  ck_assert_uint_eq(VMM_PTE_TRACKERS, 0xff00);
  ck_assert_uint_eq(VMM_PTE_SILENT, 0x70000);
  ck_assert_uint_eq(V, 0x80000);
  ck_assert_uint_eq(VMM_PTE_RIGHTS, R | W | X);
  ck_assert_uint_eq(VMM_PTE_TRACKER(7), 0x8000);
}
END_TEST

/* A watchpoint keeps silent bits away whatever else is there, and no others. */
START_TEST(watchpoints_deny_silent_bits)
{
  const vmm_pte_t all = FRAME | P | R | W | X | A | M;
  unsigned choice;

  for (choice = 0; choice < 8; choice++) {
    vmm_pte_t denied = (choice & 1 ? SR : 0) | (choice & 2 ? SW : 0) |
                       (choice & 4 ? SX : 0);
    struct vmm_pte_watch watch = { 0, denied << VMM_PTE_STOP_SHIFT };
    vmm_pte_t pte = vmm_pte_mkdirty(vmm_pte_mkyoung(all, watch), watch);

    ck_assert_uint_eq(pte, all | ((SR | (choice & 1 ? 0 : SW)) & ~denied));
    ck_assert(vmm_pte_valid(pte, watch));
    ck_assert_int_eq(!vmm_pte_valid(all | SR, watch), choice & 1);
    ck_assert_int_eq(!vmm_pte_valid(all | SX, watch), choice >> 2 & 1);
  }
}
END_TEST

Suite *vmm_suite_pte(void)
{
  Suite *suite = suite_create("pte");
  TCase *tcase = tcase_create("pte");

  tcase_add_loop_test(tcase, every_operation_equals_the_table, 0, 18);
  tcase_add_test(tcase, narrowing_never_leaves_more);
  tcase_add_test(tcase, a_made_entry_is_neither_young_nor_dirty);
  tcase_add_test(tcase, bits_lie_where_the_drawing_says);
  tcase_add_test(tcase, watchpoints_deny_silent_bits);
  suite_add_tcase(suite, tcase);
  return suite;
}
