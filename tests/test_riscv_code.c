/*
 * Decoded code is dropped when what it was decoded from may have changed, and
 * not otherwise (S4.14, S4.16); the counters say so exactly.
 */
#include <pthread.h>

#include "riscv_guest.h"

/* Runs the code from its beginning to its ecall.  => A0 */
static uint64_t call(struct guest *g)
{
  guest_run_at(g, GUEST_CODE, VMM_CPU_ECALL);
  return guest_get(g, A0);
}

static void begin_with_code(struct guest *g)
{
  guest_begin(g);
  guest_code(g, GUEST_CODE, RV_ADDI(A0, X0, 1), RV_ECALL);
  ck_assert_uint_eq(call(g), 1);
}

START_TEST(code_is_decoded_once)
{
  struct guest g;
  int i;

  begin_with_code(&g);
  for (i = 0; i < 100; i++)
    ck_assert_uint_eq(call(&g), 1);
  ck_assert_uint_eq(guest_stats(&g).decoded, 2);
  ck_assert_uint_eq(guest_stats(&g).invalidated, 0);
  ck_assert_uint_eq(guest_stats(&g).uncached, 0);
  guest_end(&g);
}
END_TEST

/* S4.14 */
START_TEST(code_written_by_copyout_runs_anew)
{
  struct guest g;

  begin_with_code(&g);
  guest_code(&g, GUEST_CODE, RV_ADDI(A0, X0, 2));
  ck_assert_uint_eq(call(&g), 2);
  ck_assert_uint_eq(guest_stats(&g).invalidated, 1);
  ck_assert_uint_eq(guest_stats(&g).decoded, 4);
  guest_end(&g);
}
END_TEST

/* Through the window, if there is one. */
static void poke(struct guest *g, vmm_addr_t va, uint32_t insn)
{
  char *base = vmm_space_base(g->space);

  if (base != NULL)
    *(volatile uint32_t *)(base + va) = insn;
  else
    ck_assert_ok(vmm_store(g->space, va, &insn, sizeof(insn)));
}

/* S4.14 */
START_TEST(code_written_through_the_window_runs_anew)
{
  struct guest g;

  begin_with_code(&g);
  poke(&g, GUEST_CODE, RV_ADDI(A0, X0, 3));
  ck_assert_uint_eq(call(&g), 3);
  ck_assert_uint_eq(guest_stats(&g).invalidated, 1);
  guest_end(&g);
}
END_TEST

/* S4.14, by the guest itself and made visible by fence.i */
START_TEST(code_written_by_the_guest_runs_anew_after_fence_i)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_SW(A2, T1, 12), RV_FENCE_I, RV_NOP,
             RV_ADDI(A0, X0, 1), RV_ECALL);
  guest_set(&g, T1, GUEST_CODE);
  guest_set(&g, A2, RV_ADDI(A0, X0, 4));
  ck_assert_uint_eq(call(&g), 4);
  guest_set(&g, A2, RV_ADDI(A0, X0, 5));
  ck_assert_uint_eq(call(&g), 5);
  guest_end(&g);
}
END_TEST

START_TEST(loop_that_overwrites_itself_stops_looping)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_ADDI(A0, A0, 1), RV_SW(A2, T1, 12), RV_FENCE_I,
             RV_JALR(X0, T1, 0));
  guest_code(&g, GUEST_CODE + 16, RV_ECALL);
  guest_set(&g, T1, GUEST_CODE);
  guest_set(&g, A2, RV_NOP);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 1);
  guest_end(&g);
}
END_TEST

/* S4.16 */
START_TEST(code_written_through_another_mapping_runs_anew)
{
  struct vmm_map_options options = { .rights = VMM_READ | VMM_EXEC };
  vmm_addr_t code = 0x100000, mirror = 0x200000;
  struct guest g;

  guest_begin(&g);
  ck_assert_ok(vmm_object_create(&options.object, GUEST_PAGE, 0));
  ck_assert_ok(vmm_map(g.space, &code, GUEST_PAGE, &options));
  options.rights = VMM_READ | VMM_WRITE;
  ck_assert_ok(vmm_map(g.space, &mirror, GUEST_PAGE, &options));
  guest_code(&g, mirror, RV_ADDI(A0, X0, 1), RV_ECALL);
  guest_run_at(&g, code, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 1);
  poke(&g, mirror, RV_ADDI(A0, X0, 2));
  guest_run_at(&g, code, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 2);
  ck_assert_uint_eq(guest_stats(&g).invalidated, 1);
  ck_assert_ok(vmm_unmap(g.space, code, GUEST_PAGE));
  ck_assert_ok(vmm_unmap(g.space, mirror, GUEST_PAGE));
  vmm_object_release(options.object);
  guest_end(&g);
}
END_TEST

START_TEST(write_to_another_page_drops_nothing)
{
  struct guest g;

  begin_with_code(&g);
  vmm_test_set(g.space, GUEST_DATA, 1);
  ck_assert_uint_eq(call(&g), 1);
  ck_assert_uint_eq(guest_stats(&g).decoded, 2);
  ck_assert_uint_eq(guest_stats(&g).invalidated, 0);
  guest_end(&g);
}
END_TEST

START_TEST(unmapped_code_does_not_run)
{
  struct guest g;

  begin_with_code(&g);
  ck_assert_ok(vmm_unmap(g.space, GUEST_CODE, GUEST_PAGE));
  guest_run_at(&g, GUEST_CODE, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(guest_stats(&g).invalidated, 1);
  guest_end(&g);
}
END_TEST

START_TEST(code_that_loses_exec_does_not_run)
{
  struct guest g;

  begin_with_code(&g);
  ck_assert_ok(vmm_protect(g.space, GUEST_CODE, GUEST_PAGE, VMM_READ));
  guest_run_at(&g, GUEST_CODE, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_RIGHTS);
  guest_end(&g);
}
END_TEST

/* The dropped page is the middle one of a chain of linked traces. */
START_TEST(links_into_a_dropped_page_are_cut)
{
  const int page = GUEST_PAGE;
  struct guest g;
  int i;

  guest_begin(&g);
  ck_assert_ok(vmm_map_anon(g.space, GUEST_CODE + 2 * page, page,
                            VMM_READ | VMM_WRITE | VMM_EXEC));
  guest_code(&g, GUEST_CODE, RV_BEQ(X0, X0, 16), RV_NOP, RV_NOP, RV_NOP,
             RV_JALR(RA, T1, 0), RV_ADDI(A0, A0, 1), RV_ADDI(T0, T0, -1),
             RV_BNE(T0, X0, -28), RV_ECALL);
  guest_code(&g, GUEST_CODE + 2 * page, RV_ADDI(A0, A0, 100), RV_RET);
  guest_set(&g, T1, GUEST_CODE + 2 * (uint64_t)page);
  for (i = 0; i < 3; i++) {
    guest_set(&g, A0, 0);
    guest_set(&g, T0, 10);
    ck_assert_uint_eq(call(&g), 10 * (101 + (uint64_t)i));
    guest_code(&g, GUEST_CODE + 2 * page, RV_ADDI(A0, A0, 101 + i));
  }
  ck_assert_uint_eq(guest_stats(&g).invalidated, 2);
  guest_end(&g);
}
END_TEST

/* Code in a page pinned for writing may change untold: it is not kept. */
START_TEST(pinned_code_is_not_kept)
{
  struct vmm_iovec iov[1];
  size_t niov = 1;
  struct vmm_pin *pin;
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_ADDI(A0, X0, 1), RV_ECALL);
  ck_assert_ok(vmm_pin(g.space, GUEST_CODE, GUEST_PAGE, VMM_WRITE, iov, &niov,
                       &pin));
  ck_assert_uint_eq(call(&g), 1);
  *(volatile uint32_t *)iov[0].base = RV_ADDI(A0, X0, 2);
  ck_assert_uint_eq(call(&g), 2);
  ck_assert_uint_eq(guest_stats(&g).uncached, 4);
  vmm_unpin(pin);
  ck_assert_uint_eq(call(&g), 2);
  ck_assert_uint_eq(guest_stats(&g).uncached, 4);
  guest_end(&g);
}
END_TEST

static void *release_guest(void *arg)
{
  struct guest *g = arg;

  guest_code(g, GUEST_CODE + 64, RV_ADDI(A0, X0, 1));
  return NULL;
}

/* The loop ends only when the cpu drops what another thread overwrites. */
START_TEST(code_written_by_another_thread_is_seen_while_running)
{
  pthread_t thread;
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, rv_jal(RA, 64), RV_BEQ(A0, X0, -4), RV_ECALL);
  guest_code(&g, GUEST_CODE + 64, RV_ADDI(A0, X0, 0), RV_RET);
  ck_assert_int_eq(pthread_create(&thread, NULL, release_guest, &g), 0);
  ck_assert_uint_eq(call(&g), 1);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  guest_end(&g);
}
END_TEST

enum { CHURN = 300 };

static void *churn(void *arg)
{
  struct guest *g = arg;
  int i;

  for (i = 0; i < CHURN; i++) {
    guest_code(g, GUEST_CODE + 64, RV_ADDI(A0, X0, i & 1));
    ck_assert_ok(vmm_protect(g->space, GUEST_CODE, GUEST_PAGE,
                             VMM_READ | VMM_EXEC));
    ck_assert_ok(vmm_protect(g->space, GUEST_CODE, GUEST_PAGE,
                             VMM_READ | VMM_WRITE | VMM_EXEC));
  }
  vmm_cpu_interrupt(g->cpu);
  return NULL;
}

START_TEST(code_may_change_under_a_running_cpu)
{
  pthread_t thread;
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, rv_jal(RA, 64), RV_ADD(T0, T0, A0),
             rv_jal(X0, -8));
  guest_code(&g, GUEST_CODE + 64, RV_ADDI(A0, X0, 0), RV_RET);
  ck_assert_int_eq(pthread_create(&thread, NULL, churn, &g), 0);
  guest_run(&g, VMM_CPU_INTERRUPTED);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_uint_le(guest_get(&g, T0), g.exit.executed);
  guest_end(&g);
}
END_TEST

/* More different code than the cache holds, several times over. */
START_TEST(full_cache_begins_anew)
{
  const uint64_t npages = 400, base = 0x100000;
  static uint32_t page[GUEST_PAGE / 4];
  struct guest g;
  uint64_t i, run;

  guest_begin(&g);
  for (i = 0; i < GUEST_PAGE / 4; i++)
    page[i] = RV_ADDI(A0, A0, 1);
  ck_assert_ok(vmm_map_anon(g.space, base, npages * GUEST_PAGE,
                            VMM_READ | VMM_WRITE | VMM_EXEC));
  for (i = 0; i < npages; i++) {
    page[GUEST_PAGE / 4 - 1] = i + 1 < npages ? RV_NOP : RV_ECALL;
    guest_write(&g, base + i * GUEST_PAGE, page, GUEST_PAGE);
  }
  for (run = 0; run < 2; run++) {
    guest_set(&g, A0, 0);
    guest_run_at(&g, base, VMM_CPU_ECALL);
    ck_assert_uint_eq(guest_get(&g, A0), npages * (GUEST_PAGE / 4 - 1));
    ck_assert_uint_eq(g.exit.executed, npages * (GUEST_PAGE / 4) - 1);
  }
  guest_end(&g);
}
END_TEST

Suite *vmm_suite_riscv_code(void)
{
  Suite *suite = suite_create("riscv_code");
  TCase *tcase = tcase_create("decoded code");

  tcase_add_test(tcase, code_is_decoded_once);
  tcase_add_test(tcase, code_written_by_copyout_runs_anew);
  tcase_add_test(tcase, code_written_through_the_window_runs_anew);
  tcase_add_test(tcase, code_written_by_the_guest_runs_anew_after_fence_i);
  tcase_add_test(tcase, loop_that_overwrites_itself_stops_looping);
  tcase_add_test(tcase, code_written_through_another_mapping_runs_anew);
  tcase_add_test(tcase, write_to_another_page_drops_nothing);
  tcase_add_test(tcase, unmapped_code_does_not_run);
  tcase_add_test(tcase, code_that_loses_exec_does_not_run);
  tcase_add_test(tcase, links_into_a_dropped_page_are_cut);
  tcase_add_test(tcase, pinned_code_is_not_kept);
  tcase_add_test(tcase, code_written_by_another_thread_is_seen_while_running);
  tcase_add_test(tcase, code_may_change_under_a_running_cpu);
  tcase_add_test(tcase, full_cache_begins_anew);
  suite_add_tcase(suite, tcase);
  return suite;
}
