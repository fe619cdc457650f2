/*
 * What a guest's instruction can't do stops it exactly: the pc is at the
 * instruction, no register has changed, and the fault names the access.
 */
#include "riscv_guest.h"

static void write_access(struct guest *g, uint32_t insn)
{
  guest_code(g, GUEST_CODE, RV_ADDI(T0, X0, 1), insn, RV_ECALL);
}

/* The access that was written fails with A1 as its base. */
static void run_access(struct guest *g, uint64_t base, uint32_t insn,
                       uint32_t access, uint32_t reason, uint32_t nbytes)
{
  guest_set(g, A0, 0x1234);
  guest_set(g, A1, base);
  guest_run_at(g, GUEST_CODE, VMM_CPU_FAULT);
  ck_assert_uint_eq(g->exit.pc, GUEST_CODE + 4);
  ck_assert_uint_eq(g->exit.insn, insn);
  ck_assert_uint_eq(g->exit.executed, 1);
  ck_assert_uint_eq(g->exit.fault.access, access);
  ck_assert_uint_eq(g->exit.fault.reason, reason);
  ck_assert_uint_eq(g->exit.fault.nbytes, nbytes);
  ck_assert_ptr_eq(g->exit.fault.space, g->space);
  ck_assert_uint_eq(guest_get(g, A0), 0x1234);
  ck_assert_uint_eq(guest_get(g, A1), base);
}

static void check_fault(struct guest *g, uint64_t base, uint32_t insn,
                        uint32_t access, uint32_t reason, uint32_t nbytes)
{
  write_access(g, insn);
  run_access(g, base, insn, access, reason, nbytes);
}

START_TEST(load_from_nowhere_names_the_address)
{
  struct guest g;

  guest_begin(&g);
  check_fault(&g, 0x50000, RV_LD(A0, A1, 8), VMM_READ, VMM_FAULT_NO_REGION, 8);
  ck_assert_uint_eq(g.exit.fault.va, 0x50008);
  guest_end(&g);
}
END_TEST

START_TEST(load_into_its_own_base_keeps_the_base)
{
  struct guest g;

  guest_begin(&g);
  check_fault(&g, 0x50000, RV_LW(A1, A1, -4), VMM_READ, VMM_FAULT_NO_REGION, 4);
  ck_assert_uint_eq(g.exit.fault.va, 0x4fffc);
  guest_end(&g);
}
END_TEST

START_TEST(store_to_readonly_page_changes_nothing)
{
  struct guest g;

  guest_begin(&g);
  ck_assert_ok(vmm_protect(g.space, GUEST_DATA, GUEST_PAGE, VMM_READ));
  check_fault(&g, GUEST_DATA, RV_SD(T0, A1, 16), VMM_WRITE, VMM_FAULT_RIGHTS,
              8);
  ck_assert_uint_eq(g.exit.fault.va, GUEST_DATA + 16);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA + 16), 0);
  guest_end(&g);
}
END_TEST

START_TEST(amo_on_readonly_page_is_a_write)
{
  struct guest g;

  guest_begin(&g);
  ck_assert_ok(vmm_protect(g.space, GUEST_DATA, GUEST_PAGE, VMM_READ));
  check_fault(&g, GUEST_DATA, RV_AMO(0, 3, A0, A1, T0), VMM_WRITE,
              VMM_FAULT_RIGHTS, 8);
  check_fault(&g, 0x50000, RV_AMO(0, 2, A0, A1, T0), VMM_WRITE,
              VMM_FAULT_NO_REGION, 4);
  guest_end(&g);
}
END_TEST

START_TEST(address_beyond_the_space_touches_no_memory)
{
  static const uint64_t bases[] = { 1 << 24, 1ull << 40, 1ull << 63,
                                    ~0ull - 7 };
  struct guest g;
  size_t i;

  guest_begin(&g);
  write_access(&g, RV_LD(A0, A1, 0));
  for (i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
    ck_assert_faults(g.space, 0, 0,
                     run_access(&g, bases[i], RV_LD(A0, A1, 0), VMM_READ,
                                VMM_FAULT_OUTSIDE, 8));
    ck_assert_uint_eq(g.exit.fault.va, bases[i]);
  }
  write_access(&g, RV_SW(A0, A1, 0));
  for (i = 0; i < sizeof(bases) / sizeof(bases[0]); i++)
    ck_assert_faults(g.space, 0, 0,
                     run_access(&g, bases[i], RV_SW(A0, A1, 0), VMM_WRITE,
                                VMM_FAULT_OUTSIDE, 4));
  guest_end(&g);
}
END_TEST

START_TEST(access_over_the_end_of_the_space_faults)
{
  struct guest g;

  guest_begin(&g);
  ck_assert_ok(vmm_map_anon(g.space, GUEST_SIZE - GUEST_PAGE, GUEST_PAGE,
                            VMM_READ | VMM_WRITE));
  check_fault(&g, GUEST_SIZE - 4, RV_LD(A0, A1, 0), VMM_READ,
              VMM_FAULT_OUTSIDE, 8);
  check_fault(&g, GUEST_SIZE - 1, RV_SW(A0, A1, 0), VMM_WRITE,
              VMM_FAULT_OUTSIDE, 4);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_SIZE - 1), 0);
  guest_end(&g);
}
END_TEST

START_TEST(store_over_two_pages_is_written_whole_or_not)
{
  struct guest g;

  guest_begin(&g);
  ck_assert_ok(vmm_protect(g.space, GUEST_DATA + GUEST_PAGE, GUEST_PAGE,
                           VMM_READ));
  check_fault(&g, GUEST_DATA + GUEST_PAGE - 4, RV_SD(A1, A1, 0), VMM_WRITE,
              VMM_FAULT_RIGHTS, 8);
  ck_assert_uint_eq(g.exit.fault.va, GUEST_DATA + GUEST_PAGE);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA + GUEST_PAGE - 4), 0);
  ck_assert_ok(vmm_protect(g.space, GUEST_DATA + GUEST_PAGE, GUEST_PAGE,
                           VMM_READ | VMM_WRITE));
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA + GUEST_PAGE - 4), 0xfc);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA + GUEST_PAGE - 3), 0x0f);
  guest_end(&g);
}
END_TEST

START_TEST(faulting_instruction_runs_when_the_page_is_there)
{
  struct guest g;

  guest_begin(&g);
  check_fault(&g, 0x50000, RV_LD(A0, A1, 0), VMM_READ, VMM_FAULT_NO_REGION, 8);
  ck_assert_ok(vmm_map_anon(g.space, 0x50000, GUEST_PAGE, VMM_READ));
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(g.exit.executed, 1);
  ck_assert_uint_eq(guest_get(&g, A0), 0);
  guest_end(&g);
}
END_TEST

START_TEST(load_to_x0_faults_too)
{
  struct guest g;

  guest_begin(&g);
  check_fault(&g, 0x50000, RV_LD(X0, A1, 0), VMM_READ, VMM_FAULT_NO_REGION, 8);
  guest_end(&g);
}
END_TEST

START_TEST(atomic_at_odd_address_is_misaligned)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_AMO(0, 3, A0, A1, T0));
  guest_set(&g, A1, GUEST_DATA + 4);
  guest_run(&g, VMM_CPU_MISALIGNED);
  ck_assert_uint_eq(g.exit.pc, GUEST_CODE);
  ck_assert_uint_eq(g.exit.fault.va, GUEST_DATA + 4);
  ck_assert_uint_eq(g.exit.fault.access, VMM_WRITE);
  ck_assert_uint_eq(g.exit.executed, 0);
  guest_end(&g);
}
END_TEST

/* ---- fetching ---- */

/* S4.9: a page without EXEC is not run, and can be read all the same. */
START_TEST(fetch_without_exec_is_an_exec_fault)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_DATA, RV_NOP, RV_ECALL);
  guest_code(&g, GUEST_CODE, RV_LW(A0, A1, 0), RV_JALR(X0, A1, 0));
  guest_run(&g, VMM_CPU_FAULT);
  ck_assert_uint_eq(guest_get(&g, A0), RV_NOP);
  ck_assert_uint_eq(g.exit.pc, GUEST_DATA);
  ck_assert_uint_eq(g.exit.executed, 2);
  ck_assert_uint_eq(g.exit.fault.access, VMM_EXEC);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(g.exit.fault.va, GUEST_DATA);
  ck_assert_ok(vmm_protect(g.space, GUEST_DATA, GUEST_PAGE,
                           VMM_READ | VMM_EXEC));
  guest_run(&g, VMM_CPU_ECALL);
  guest_end(&g);
}
END_TEST

/* S4.9: code can be run without being readable. */
START_TEST(execute_only_code_runs)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_ADDI(A0, X0, 7), RV_ECALL);
  ck_assert_ok(vmm_protect(g.space, GUEST_CODE, GUEST_PAGE, VMM_EXEC));
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 7);
  guest_end(&g);
}
END_TEST

/* S4.9: the second half of an instruction lies in a page without EXEC. */
START_TEST(straddling_fetch_names_the_second_half)
{
  const vmm_addr_t pc = GUEST_CODE + GUEST_PAGE - 2;
  struct guest g;

  guest_begin(&g);
  ck_assert_ok(vmm_map_anon(g.space, GUEST_CODE + GUEST_PAGE, GUEST_PAGE,
                            VMM_READ | VMM_WRITE));
  guest_code(&g, pc, RV_ADDI(A0, X0, 7), RV_ECALL);
  guest_run_at(&g, pc, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.pc, pc);
  ck_assert_uint_eq(g.exit.executed, 0);
  ck_assert_uint_eq(g.exit.fault.access, VMM_EXEC);
  ck_assert_uint_eq(g.exit.fault.va, GUEST_CODE + GUEST_PAGE);
  ck_assert_ok(vmm_protect(g.space, GUEST_CODE + GUEST_PAGE, GUEST_PAGE,
                           VMM_EXEC));
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 7);
  guest_end(&g);
}
END_TEST

START_TEST(running_off_the_code_faults_behind_it)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE + GUEST_PAGE - 8, RV_ADDI(A0, X0, 1),
             RV_ADDI(A0, A0, 1));
  guest_run_at(&g, GUEST_CODE + GUEST_PAGE - 8, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.pc, GUEST_CODE + GUEST_PAGE);
  ck_assert_uint_eq(g.exit.fault.va, GUEST_CODE + GUEST_PAGE);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(g.exit.executed, 2);
  ck_assert_uint_eq(guest_get(&g, A0), 2);
  guest_end(&g);
}
END_TEST

START_TEST(jump_out_of_the_space_is_outside)
{
  static const uint64_t targets[] = { 1 << 24, 1ull << 63, ~1ull };
  struct guest g;
  size_t i;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_JALR(RA, A1, 0));
  for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
    guest_set(&g, A1, targets[i]);
    guest_run_at(&g, GUEST_CODE, VMM_CPU_FAULT);
    ck_assert_uint_eq(g.exit.pc, targets[i]);
    ck_assert_uint_eq(g.exit.fault.va, targets[i]);
    ck_assert_uint_eq(g.exit.fault.access, VMM_EXEC);
    ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_OUTSIDE);
    ck_assert_uint_eq(guest_get(&g, RA), GUEST_CODE + 4);
    ck_assert_uint_eq(g.exit.executed, 1);
  }
  guest_end(&g);
}
END_TEST

Suite *vmm_suite_riscv_fault(void)
{
  Suite *suite = suite_create("riscv_fault");
  TCase *access = tcase_create("access"), *fetch = tcase_create("fetch");

  tcase_add_test(access, load_from_nowhere_names_the_address);
  tcase_add_test(access, load_into_its_own_base_keeps_the_base);
  tcase_add_test(access, store_to_readonly_page_changes_nothing);
  tcase_add_test(access, amo_on_readonly_page_is_a_write);
  tcase_add_test(access, address_beyond_the_space_touches_no_memory);
  tcase_add_test(access, access_over_the_end_of_the_space_faults);
  tcase_add_test(access, store_over_two_pages_is_written_whole_or_not);
  tcase_add_test(access, faulting_instruction_runs_when_the_page_is_there);
  tcase_add_test(access, load_to_x0_faults_too);
  tcase_add_test(access, atomic_at_odd_address_is_misaligned);
  suite_add_tcase(suite, access);
  tcase_add_test(fetch, fetch_without_exec_is_an_exec_fault);
  tcase_add_test(fetch, execute_only_code_runs);
  tcase_add_test(fetch, straddling_fetch_names_the_second_half);
  tcase_add_test(fetch, running_off_the_code_faults_behind_it);
  tcase_add_test(fetch, jump_out_of_the_space_is_outside);
  suite_add_tcase(suite, fetch);
  return suite;
}
