/*
 * Running: stops, budgets, interrupts, single steps, and guests that mean harm.
 */
#include <pthread.h>
#include <stdlib.h>

#include "riscv_guest.h"

enum { RANDOM_PROGRAMS = 200, RANDOM_BUDGET = 2000 };

/* ---- creation and registers ---- */

START_TEST(unknown_isa_is_refused)
{
  struct vmm_space *space = vmm_test_space(GUEST_SIZE, 0);
  struct vmm_cpu_options options = { .isa = "z80" };
  struct vmm_cpu *cpu;

  ck_assert_error(vmm_cpu_create(&cpu, space, &options), ENOTSUP);
  options.isa = "rv64gc";
  options.reserved[3] = 1;
  ck_assert_error(vmm_cpu_create(&cpu, space, &options), EINVAL);
  vmm_cpu_destroy(NULL);
  vmm_test_end(space);
}
END_TEST

START_TEST(registers_keep_what_is_set)
{
  struct guest g;
  unsigned i;

  guest_begin(&g);
  for (i = 0; i < 64; i++)
    guest_set(&g, i, 0x1111 * (uint64_t)i + 1);
  ck_assert_uint_eq(guest_get(&g, 0), 0);
  for (i = 1; i < 64; i++)
    ck_assert_uint_eq(guest_get(&g, i), 0x1111 * (uint64_t)i + 1);
  guest_set(&g, VMM_RISCV_FCSR, ~0ull);
  ck_assert_uint_eq(guest_get(&g, VMM_RISCV_FCSR), 0xff);
  guest_set(&g, VMM_RISCV_PC, 0x1001);
  ck_assert_uint_eq(guest_get(&g, VMM_RISCV_PC), 0x1000);
  guest_set(&g, 1000, 1);
  ck_assert_uint_eq(guest_get(&g, 1000), 0);
  guest_end(&g);
}
END_TEST

/* ---- stops ---- */

START_TEST(stops_are_at_the_instruction)
{
  static const struct {
    uint32_t insn;
    enum vmm_cpu_stop stop;
  } cases[] = {
    { RV_ECALL, VMM_CPU_ECALL },   { RV_EBREAK, VMM_CPU_EBREAK },
    { 0, VMM_CPU_ILLEGAL },        { 0xffffffff, VMM_CPU_ILLEGAL },
    { 0x9002, VMM_CPU_EBREAK },    { 0x30200073, VMM_CPU_ILLEGAL },
    { 0xc0001073, VMM_CPU_ILLEGAL }, /* csrrw of cycle */
    { 0x30002573, VMM_CPU_ILLEGAL }, /* csrrs of mstatus */
  };
  struct guest g;
  size_t i;

  guest_begin(&g);
  for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    guest_code(&g, GUEST_CODE, RV_ADDI(A0, X0, 1), cases[i].insn);
    guest_run_at(&g, GUEST_CODE, cases[i].stop);
    ck_assert_uint_eq(g.exit.pc, GUEST_CODE + 4);
    ck_assert_uint_eq(g.exit.executed, 1);
    ck_assert_uint_eq(g.exit.insn & 0xffff, cases[i].insn & 0xffff);
    guest_run(&g, cases[i].stop);
    ck_assert_uint_eq(g.exit.executed, 0);
  }
  guest_end(&g);
}
END_TEST

START_TEST(reserved_rounding_mode_is_illegal)
{
  const uint32_t add = 0x02007053; /* fadd.d f0,f0,f0 */
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, add, RV_ECALL);
  guest_set(&g, VMM_RISCV_FCSR, 4 << 5);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  guest_set(&g, VMM_RISCV_FCSR, 5 << 5);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ILLEGAL);
  ck_assert_uint_eq(g.exit.executed, 0);
  guest_code(&g, GUEST_CODE, add & ~0x2000u); /* rm = 5 */
  guest_set(&g, VMM_RISCV_FCSR, 0);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ILLEGAL);
  guest_end(&g);
}
END_TEST

START_TEST(exit_structure_is_written_no_further_than_its_size)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_ECALL);
  memset(&g.exit, 0x5a, sizeof(g.exit));
  g.exit.struct_size = offsetof(struct vmm_cpu_exit, pc);
  ck_assert_ok(vmm_cpu_run(g.cpu, 0, &g.exit));
  ck_assert_uint_eq(g.exit.stop, VMM_CPU_ECALL);
  ck_assert_uint_eq(g.exit.pc, 0x5a5a5a5a5a5a5a5a);
  guest_end(&g);
}
END_TEST

/* ---- counting ---- */

/* for (T0 = n; T0 != 0; T0--) A0++; */
static void write_loop(struct guest *g)
{
  guest_code(g, GUEST_CODE, RV_ADDI(A0, A0, 1), RV_ADDI(T0, T0, -1),
             RV_BNE(T0, X0, -8), RV_ECALL);
}

START_TEST(executed_is_exact)
{
  struct guest g;

  guest_begin(&g);
  write_loop(&g);
  guest_set(&g, T0, 1000);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(g.exit.executed, 3000);
  ck_assert_uint_eq(guest_get(&g, A0), 1000);
  ck_assert_uint_eq(guest_stats(&g).executed, 3000);
  guest_end(&g);
}
END_TEST

START_TEST(budgets_add_up_to_the_whole)
{
  uint64_t total = 0, runs = 0;
  struct guest g;

  guest_begin(&g);
  write_loop(&g);
  guest_set(&g, T0, 1000);
  do {
    g.exit.struct_size = sizeof(g.exit);
    ck_assert_ok(vmm_cpu_run(g.cpu, 7, &g.exit));
    if (g.exit.stop == VMM_CPU_BUDGET) {
      ck_assert_uint_ge(g.exit.executed, 7);
      ck_assert_uint_le(g.exit.executed, 7 + 300);
    }
    total += g.exit.executed;
    runs++;
  } while (g.exit.stop == VMM_CPU_BUDGET);
  ck_assert_uint_eq(g.exit.stop, VMM_CPU_ECALL);
  ck_assert_uint_eq(total, 3000);
  ck_assert_uint_gt(runs, 10);
  guest_end(&g);
}
END_TEST

START_TEST(instret_counts_what_is_done)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_NOP, RV_NOP, RV_CSRRS(A0, 0xc02, X0), RV_NOP,
             RV_CSRRS(A2, 0xc02, X0), RV_ECALL);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 2);
  ck_assert_uint_eq(guest_get(&g, A2), 4);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 7);
  guest_end(&g);
}
END_TEST

START_TEST(step_runs_one_instruction)
{
  struct guest g;
  unsigned i;

  guest_begin(&g);
  write_loop(&g);
  guest_set(&g, T0, 2);
  for (i = 0; i < 6; i++) {
    g.exit.struct_size = sizeof(g.exit);
    ck_assert_uint_eq(guest_get(&g, VMM_RISCV_PC), GUEST_CODE + 4 * (i % 3));
    ck_assert_ok(vmm_cpu_step(g.cpu, &g.exit));
    ck_assert_uint_eq(g.exit.stop, VMM_CPU_BUDGET);
    ck_assert_uint_eq(g.exit.executed, 1);
  }
  ck_assert_ok(vmm_cpu_step(g.cpu, &g.exit));
  ck_assert_uint_eq(g.exit.stop, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 2);
  guest_end(&g);
}
END_TEST

/* An LR/SC pair succeeds in single steps: otherwise it would never end. */
START_TEST(reservation_outlives_a_step)
{
  struct guest g;
  int i;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_AMO(2, 3, A0, A1, X0), RV_ADDI(T0, A0, 9),
             RV_AMO(3, 3, A2, A1, T0));
  guest_set(&g, A2, 77);
  g.exit.struct_size = sizeof(g.exit);
  for (i = 0; i < 3; i++)
    ck_assert_ok(vmm_cpu_step(g.cpu, &g.exit));
  ck_assert_uint_eq(guest_get(&g, A2), 0);
  ck_assert_uint_eq(vmm_test_get(g.space, GUEST_DATA), 9);
  guest_end(&g);
}
END_TEST

struct seen {
  vmm_addr_t pcs[16];
  unsigned n;
};

static void record_pc(struct vmm_cpu *cpu, vmm_addr_t pc, void *arg)
{
  struct seen *seen = arg;

  ck_assert_uint_eq(vmm_cpu_get(cpu, VMM_RISCV_PC), pc);
  if (seen->n < 16)
    seen->pcs[seen->n] = pc;
  seen->n++;
}

START_TEST(trace_is_called_before_each_instruction)
{
  struct seen seen = { .n = 0 };
  struct vmm_cpu_options options = { .trace = record_pc, .arg = &seen };
  struct guest g;
  unsigned i;

  guest_begin_with(&g, &options);
  write_loop(&g);
  guest_set(&g, T0, 3);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(g.exit.executed, 9);
  ck_assert_uint_eq(seen.n, 10);
  for (i = 0; i < 9; i++)
    ck_assert_uint_eq(seen.pcs[i], GUEST_CODE + 4 * (i % 3));
  ck_assert_uint_eq(seen.pcs[9], GUEST_CODE + 12);
  guest_end(&g);
}
END_TEST

/* ---- interrupts ---- */

START_TEST(interrupt_before_a_run_stops_it_at_once)
{
  struct guest g;

  guest_begin(&g);
  write_loop(&g);
  guest_set(&g, T0, 5);
  vmm_cpu_interrupt(g.cpu);
  guest_run(&g, VMM_CPU_INTERRUPTED);
  ck_assert_uint_eq(g.exit.executed, 0);
  ck_assert_uint_eq(g.exit.pc, GUEST_CODE);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(g.exit.executed, 15);
  guest_end(&g);
}
END_TEST

static void *interrupt(void *cpu)
{
  vmm_cpu_interrupt(cpu);
  return NULL;
}

static void check_endless(uint32_t first, uint32_t second)
{
  pthread_t thread;
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, first, second);
  guest_set(&g, T1, GUEST_CODE);
  ck_assert_int_eq(pthread_create(&thread, NULL, interrupt, g.cpu), 0);
  guest_run(&g, VMM_CPU_INTERRUPTED);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  guest_end(&g);
}

START_TEST(endless_loops_can_be_interrupted)
{
  check_endless(rv_jal(X0, 0), RV_ECALL);
  check_endless(RV_NOP, rv_jal(X0, -4));
  check_endless(RV_BEQ(X0, X0, 0), RV_ECALL);
  check_endless(RV_NOP, RV_JALR(RA, T1, 0));
  check_endless(rv_jal(RA, 0), RV_ECALL);
  check_endless(RV_FENCE_I, rv_jal(X0, -4));
}
END_TEST

/* A call that the trace follows and that returns somewhere else. */
START_TEST(return_to_another_place_is_taken)
{
  struct guest g;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, rv_jal(RA, 12), RV_ADDI(A0, X0, 1), RV_ECALL,
             RV_BEQ(T0, X0, 8), RV_ADDI(RA, RA, 20), RV_RET,
             RV_ADDI(A0, X0, 2), RV_ECALL);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 1);
  ck_assert_uint_eq(g.exit.executed, 4);
  guest_set(&g, T0, 1);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, A0), 2);
  ck_assert_uint_eq(g.exit.executed, 5);
  guest_end(&g);
}
END_TEST

/* ---- several cpus over one space ---- */

enum { CPUS = 2, ROUNDS = 20000 };

static void *run_cpu(void *arg)
{
  struct vmm_cpu_exit exit = { .struct_size = sizeof(exit) };

  ck_assert_ok(vmm_cpu_run(arg, 0, &exit));
  ck_assert_uint_eq(exit.stop, VMM_CPU_ECALL);
  return NULL;
}

/* Each counts one word up by AMOADD, another by LR and SC. */
START_TEST(atomics_of_several_cpus_lose_nothing)
{
  struct vmm_cpu *cpus[CPUS];
  pthread_t threads[CPUS];
  uint64_t counts[2];
  struct guest g;
  int i;

  guest_begin(&g);
  guest_code(&g, GUEST_CODE, RV_AMO(0, 3, X0, A1, A2), RV_ADDI(T2, A1, 8),
             RV_AMO(2, 3, A0, T2, X0), RV_ADDI(A0, A0, 1),
             RV_AMO(3, 3, T1, T2, A0), RV_BNE(T1, X0, -12),
             RV_ADDI(T0, T0, -1), RV_BNE(T0, X0, -28), RV_ECALL);
  for (i = 0; i < CPUS; i++) {
    ck_assert_ok(vmm_cpu_create(&cpus[i], g.space, NULL));
    vmm_cpu_set(cpus[i], VMM_RISCV_PC, GUEST_CODE);
    vmm_cpu_set(cpus[i], A1, GUEST_DATA);
    vmm_cpu_set(cpus[i], A2, 1);
    vmm_cpu_set(cpus[i], T0, ROUNDS);
    ck_assert_int_eq(pthread_create(&threads[i], NULL, run_cpu, cpus[i]), 0);
  }
  for (i = 0; i < CPUS; i++) {
    ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    vmm_cpu_destroy(cpus[i]);
  }
  ck_assert_ok(vmm_copyin(g.space, counts, GUEST_DATA, 16, NULL));
  ck_assert_uint_eq(counts[0], CPUS * ROUNDS);
  ck_assert_uint_eq(counts[1], CPUS * ROUNDS);
  guest_end(&g);
}
END_TEST

/* ---- harm ---- */

static uint64_t next_random(uint64_t *state)
{
  *state = *state * 6364136223846793005 + 1442695040888963407;
  return *state >> 16;
}

/* Random bytes as code, random registers, random entries: whatever they do, it
 * ends in a stop that names a place, and counts add up. */
START_TEST(random_code_never_hurts_the_host)
{
  static uint32_t code[GUEST_PAGE / 4];
  uint64_t state = 42, total = 0;
  struct guest g;
  unsigned i, j;

  guest_begin(&g);
  for (i = 0; i < RANDOM_PROGRAMS; i++) {
    for (j = 0; j < GUEST_PAGE / 4; j++)
      code[j] = (uint32_t)next_random(&state);
    guest_write(&g, GUEST_CODE, code, GUEST_PAGE);
    for (j = 1; j < 64; j++)
      guest_set(&g, j, next_random(&state) >> next_random(&state) % 64);
    for (j = 8; j < 16; j++)
      guest_set(&g, j, GUEST_CODE + next_random(&state) % (17 * GUEST_PAGE));
    for (j = 0; j < 64; j++) {
      guest_set(&g, VMM_RISCV_PC,
                GUEST_CODE + next_random(&state) % GUEST_PAGE);
      g.exit.struct_size = sizeof(g.exit);
      ck_assert_ok(vmm_cpu_run(g.cpu, RANDOM_BUDGET, &g.exit));
      ck_assert_uint_eq(g.exit.pc, guest_get(&g, VMM_RISCV_PC));
      ck_assert_uint_le(g.exit.executed, RANDOM_BUDGET + 300);
      total += g.exit.executed;
    }
  }
  ck_assert_uint_eq(guest_stats(&g).executed, total);
  guest_end(&g);
}
END_TEST

Suite *vmm_suite_riscv_run(void)
{
  Suite *suite = suite_create("riscv_run");
  TCase *stops = tcase_create("stops"), *counts = tcase_create("counts");
  TCase *flow = tcase_create("flow");

  tcase_add_test(stops, unknown_isa_is_refused);
  tcase_add_test(stops, registers_keep_what_is_set);
  tcase_add_test(stops, stops_are_at_the_instruction);
  tcase_add_test(stops, reserved_rounding_mode_is_illegal);
  tcase_add_test(stops, exit_structure_is_written_no_further_than_its_size);
  suite_add_tcase(suite, stops);
  tcase_add_test(counts, executed_is_exact);
  tcase_add_test(counts, budgets_add_up_to_the_whole);
  tcase_add_test(counts, instret_counts_what_is_done);
  tcase_add_test(counts, step_runs_one_instruction);
  tcase_add_test(counts, reservation_outlives_a_step);
  tcase_add_test(counts, trace_is_called_before_each_instruction);
  suite_add_tcase(suite, counts);
  tcase_add_test(flow, interrupt_before_a_run_stops_it_at_once);
  tcase_add_test(flow, endless_loops_can_be_interrupted);
  tcase_add_test(flow, return_to_another_place_is_taken);
  tcase_add_test(flow, atomics_of_several_cpus_lose_nothing);
  tcase_add_test(flow, random_code_never_hurts_the_host);
  suite_add_tcase(suite, flow);
  return suite;
}
