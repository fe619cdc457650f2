/*
 * Guests whose loads and stores meet a device or a watch, and whose code is
 * watched.
 */
#include "riscv_guest.h"
#include "uart.h"

enum { DEVICE = 0x100000, STEPS = 50 };

static struct bank bank;

static void begin_with_device(struct guest *g)
{
  guest_begin(g);
  bank_make(&bank);
  ck_assert_ok(probe_map(g->space, DEVICE, BANK_NBYTES, bank.device, 0, RW));
  guest_set(g, A1, DEVICE);
}

static void end_with_device(struct guest *g)
{
  guest_end(g);
  vmm_object_release(bank.device);
}

/* A loop that reads one register of the device and writes another. */
START_TEST(a_guest_drives_a_device)
{
  struct guest g;
  uint64_t before;

  begin_with_device(&g);
  guest_set(&g, T0, STEPS);
  guest_set(&g, A2, GUEST_DATA);
  guest_code(&g, GUEST_CODE,
             RV_LD(A0, A1, 8),      /* the device */
             RV_SD(A0, A2, 0),      /* memory */
             RV_ADD(T1, T1, A0),
             RV_SW(T0, A1, 16),     /* the device */
             RV_LW(T2, A1, 16),
             RV_ADDI(T0, T0, -1),
             RV_BNE(T0, X0, -24),
             RV_ECALL);
  before = vmm_test_stats(g.space).performed;
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(bank.loads, 2 * STEPS);
  ck_assert_uint_eq(bank.stores, STEPS);
  ck_assert_uint_eq(vmm_test_stats(g.space).performed - before, 3 * STEPS);
  ck_assert_mem_eq(&(uint64_t){ guest_get(&g, A0) }, bank.bytes + 8, 8);
  ck_assert_uint_eq(guest_get(&g, T1), STEPS * guest_get(&g, A0));
  ck_assert_uint_eq(guest_get(&g, T2), 1);
  ck_assert_uint_eq(vmm_test_stats(g.space).unresolved, 0);
  end_with_device(&g);
}
END_TEST

/* The same instruction by turns on a device and in memory. */
START_TEST(one_instruction_by_turns_on_a_device_and_in_memory)
{
  struct guest g;
  uint64_t want = 0;
  unsigned i;

  begin_with_device(&g);
  guest_code(&g, GUEST_CODE, RV_LD(A0, A1, 8), RV_ADD(T1, T1, A0), RV_ECALL);
  for (i = 0; i < 12; i++) {
    uint64_t value = i * 3;
    int device = i % 4 < 2;

    memcpy(bank.bytes + 8, &value, 8);
    ck_assert_ok(vmm_store(g.space, GUEST_DATA + 8, &value, 8));
    guest_set(&g, A1, device ? DEVICE : GUEST_DATA);
    want += value;
    guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
    ck_assert_uint_eq(guest_get(&g, T1), want);
  }
  ck_assert_uint_eq(bank.loads, 6);
  end_with_device(&g);
}
END_TEST

/* Each width and extension, floating point, on the device as in memory. */
START_TEST(all_loads_and_stores_do_on_a_device_what_they_do_in_memory)
{
  static const unsigned loads[] = { 0, 1, 2, 3, 4, 5, 6 };
  struct guest g;
  uint64_t value = 0xfedcba9887a6c5e4, got[2];
  unsigned i, way;

  begin_with_device(&g);
  for (i = 0; i < 7 + 4 + 2 + 2; i++) {
    uint32_t insn = i < 7    ? rv_i(0x03, loads[i], A0, A1, 24)
                    : i < 11 ? rv_s(0x23, i - 7, A2, A1, 24)
                    : i < 13 ? rv_i(0x07, i - 9, A0, A1, 24)
                             : rv_s(0x27, i - 11, A2, A1, 24);

    guest_code(&g, GUEST_CODE, insn, RV_ECALL);
    for (way = 0; way < 2; way++) {
      vmm_addr_t at = way ? DEVICE : GUEST_DATA;
      uint8_t memory[16];

      ck_assert_ok(vmm_store(g.space, at + 24, &value, 8));
      guest_set(&g, A1, at);
      guest_set(&g, A2, ~value);
      guest_set(&g, 32 + A2, ~value);
      guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
      ck_assert_ok(vmm_load(g.space, at + 24, memory, 8));
      memcpy(&got[way], memory, 8);
      got[way] ^= guest_get(&g, A0) * 3 ^ guest_get(&g, 32 + A0) * 5;
    }
    ck_assert_uint_eq(got[0], got[1]);
  }
  end_with_device(&g);
}
END_TEST

START_TEST(atomics_on_a_device_are_a_load_and_a_store)
{
  static const unsigned f5[] = { 0, 1, 4, 8, 12, 16, 20, 24, 28 };
  uint64_t value = 0x8000000012345678, operand = 0x7fffffff87654321;
  struct guest g;
  uint64_t got[2];
  unsigned i, f3, way;

  begin_with_device(&g);
  for (i = 0; i < 9; i++) {
    for (f3 = 2; f3 <= 3; f3++) {
      guest_code(&g, GUEST_CODE, RV_AMO(f5[i], f3, A0, A1, A2), RV_ECALL);
      for (way = 0; way < 2; way++) {
        vmm_addr_t at = way ? DEVICE : GUEST_DATA;

        ck_assert_ok(vmm_store(g.space, at, &value, 8));
        guest_set(&g, A1, at);
        guest_set(&g, A2, operand);
        guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
        ck_assert_ok(vmm_load(g.space, at, &got[way], 8));
        got[way] ^= guest_get(&g, A0) * 3;
      }
      ck_assert_uint_eq(got[0], got[1]);
    }
  }
  guest_code(&g, GUEST_CODE, RV_AMO(2, 3, A0, A1, X0),
             RV_AMO(3, 3, T1, A1, A2), RV_ECALL); /* lr.d, sc.d */
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, T1), 0);
  ck_assert_mem_eq(bank.bytes, &operand, 8);
  end_with_device(&g);
}
END_TEST

START_TEST(what_the_device_refuses_stops_the_cpu_there)
{
  struct guest g;

  begin_with_device(&g);
  guest_code(&g, GUEST_CODE, RV_ADDI(T0, X0, 5), RV_SW(T0, A1, 4), RV_ECALL);
  bank.refuse = 1;
  guest_run(&g, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.pc, GUEST_CODE + 4);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_DEVICE);
  ck_assert_uint_eq(g.exit.fault.va, DEVICE + 4);
  ck_assert_uint_eq(g.exit.fault.access, VMM_WRITE);
  bank.refuse = 0;
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(bank.bytes[4], 5);
  end_with_device(&g);
}
END_TEST

/* ---- watches ---- */

struct told {
  struct guest *g;
  unsigned count;
  int refuse;
  vmm_addr_t pc; /* of the cpu at that moment */
  struct vmm_watch_event event;
};

static int tell(struct vmm_watch *watch, const struct vmm_watch_event *event,
                void *arg)
{
  struct told *told = arg;

  (void)watch;
  told->count++;
  told->event = *event;
  told->pc = vmm_cpu_get(told->g->cpu, VMM_RISCV_PC);
  return told->refuse;
}

/* Pushes on a stack of which one slot is watched. */
START_TEST(a_watch_on_the_stack_tells_of_its_slot_alone)
{
  struct told told = { 0 };
  struct vmm_watch *watch;
  struct guest g;

  guest_begin(&g);
  told.g = &g;
  guest_set(&g, T0, STEPS);
  guest_code(&g, GUEST_CODE, RV_SD(T0, A1, 0), RV_SD(T0, A1, 8),
             RV_SD(T0, A1, 16), RV_LD(A0, A1, 8), RV_ADDI(T0, T0, -1),
             RV_BNE(T0, X0, -20), RV_ECALL);
  ck_assert_ok(vmm_watch_add(&watch, g.space, GUEST_DATA + 8, 8, VMM_WRITE,
                             VMM_WATCH_AFTER, tell, &told));
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(told.count, STEPS);
  ck_assert_uint_eq(told.event.va, GUEST_DATA + 8);
  ck_assert_uint_eq(told.pc, GUEST_CODE + 4);
  ck_assert_uint_eq(guest_get(&g, A0), 1);
  vmm_watch_remove(watch);
  guest_end(&g);
}
END_TEST

START_TEST(a_refused_store_stops_the_cpu_before_it)
{
  struct told told = { .refuse = 1 };
  struct vmm_watch *watch;
  struct guest g;

  guest_begin(&g);
  told.g = &g;
  guest_code(&g, GUEST_CODE, RV_ADDI(T0, X0, 9), RV_SD(T0, A1, 0), RV_ECALL);
  ck_assert_ok(vmm_watch_add(&watch, g.space, GUEST_DATA, 8, VMM_WRITE,
                             VMM_WATCH_BEFORE, tell, &told));
  guest_run(&g, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.pc, GUEST_CODE + 4);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_WATCH);
  told.refuse = 0;
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(told.count, 2);
  vmm_watch_remove(watch);
  guest_end(&g);
}
END_TEST

/* A breakpoint in a loop that was decoded before it was set. */
START_TEST(each_execution_of_a_watched_instruction_is_told)
{
  struct told told = { 0 };
  struct vmm_watch *watch;
  struct guest g;

  guest_begin(&g);
  told.g = &g;
  guest_code(&g, GUEST_CODE, RV_ADDI(T1, T1, 1), RV_ADDI(T2, T2, 2),
             RV_ADDI(T0, T0, -1), RV_BNE(T0, X0, -12), RV_ECALL);
  guest_set(&g, T0, STEPS);
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_ok(vmm_watch_add(&watch, g.space, GUEST_CODE + 5, 1, VMM_EXEC,
                             VMM_WATCH_BEFORE, tell, &told));
  guest_set(&g, T0, STEPS);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(told.count, STEPS);
  ck_assert_uint_eq(told.pc, GUEST_CODE + 4);
  ck_assert_uint_eq(told.event.va, GUEST_CODE + 4);
  ck_assert_uint_eq(told.event.nbytes, 4);
  ck_assert_uint_eq(told.event.access, VMM_EXEC);
  ck_assert_uint_eq(guest_get(&g, T1), 2 * STEPS);
  ck_assert_uint_eq(guest_get(&g, T2), 4 * STEPS);
  vmm_watch_remove(watch);
  guest_set(&g, T0, STEPS);
  guest_run_at(&g, GUEST_CODE, VMM_CPU_ECALL);
  ck_assert_uint_eq(told.count, STEPS);
  guest_end(&g);
}
END_TEST

START_TEST(a_refused_execution_stops_the_cpu_at_it)
{
  struct told told = { .refuse = 1 };
  struct vmm_watch *watch;
  struct guest g;

  guest_begin(&g);
  told.g = &g;
  guest_code(&g, GUEST_CODE, RV_ADDI(T1, T1, 1), RV_ADDI(T1, T1, 1), RV_ECALL);
  ck_assert_ok(vmm_watch_add(&watch, g.space, GUEST_CODE + 4, 4, VMM_EXEC,
                             VMM_WATCH_BEFORE, tell, &told));
  guest_run(&g, VMM_CPU_FAULT);
  ck_assert_uint_eq(g.exit.pc, GUEST_CODE + 4);
  ck_assert_uint_eq(g.exit.fault.reason, VMM_FAULT_WATCH);
  ck_assert_uint_eq(guest_get(&g, T1), 1);
  told.refuse = 0;
  guest_run(&g, VMM_CPU_ECALL);
  ck_assert_uint_eq(guest_get(&g, T1), 2);
  ck_assert_uint_eq(told.count, 2);
  vmm_watch_remove(watch);
  guest_end(&g);
}
END_TEST

Suite *vmm_suite_riscv_device(void)
{
  Suite *suite = suite_create("riscv_device");
  TCase *tcase = tcase_create("guests");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, a_guest_drives_a_device);
  tcase_add_test(tcase, one_instruction_by_turns_on_a_device_and_in_memory);
  tcase_add_test(tcase,
                 all_loads_and_stores_do_on_a_device_what_they_do_in_memory);
  tcase_add_test(tcase, atomics_on_a_device_are_a_load_and_a_store);
  tcase_add_test(tcase, what_the_device_refuses_stops_the_cpu_there);
  tcase_add_test(tcase, a_watch_on_the_stack_tells_of_its_slot_alone);
  tcase_add_test(tcase, a_refused_store_stops_the_cpu_before_it);
  tcase_add_test(tcase, each_execution_of_a_watched_instruction_is_told);
  tcase_add_test(tcase, a_refused_execution_stops_the_cpu_at_it);
  suite_add_tcase(suite, tcase);
  return suite;
}
