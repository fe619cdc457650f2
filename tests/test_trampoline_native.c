/*
 * The host's own code run from a trampoline page through a hart's window: S0.6
 * and S0.13 as a JIT meets them.
 */
#include "trampolines.h"

#if defined __x86_64__

/* lea immediate(%rdi),%rax */
enum { LEA_NBYTES = 7, HARTS = 4 };
static const uint8_t ret[] = { 0xc3 }, int3[] = { 0xcc };
static const uint8_t load[] = { 0x48, 0x8b, 0x07 }; /* mov (%rdi),%rax */

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { ROUNDS = 50000 };
#else
enum { ROUNDS = 1000000 };
#endif

static void make_lea(uint8_t code[LEA_NBYTES], uint32_t immediate)
{
  code[0] = 0x48;
  code[1] = 0x8d;
  code[2] = 0x87;
  memcpy(code + 3, &immediate, sizeof(immediate));
}

static struct vmm_emulation native(const void *code, size_t nbytes,
                                   const uint8_t *trap)
{
  struct vmm_emulation emulation = { 0 };

  emulation.code = code;
  emulation.code_nbytes = (uint32_t)nbytes;
  emulation.trap = trap;
  emulation.trap_nbytes = 1;
  emulation.page = TRAMPOLINE;
  emulation.pc = emulation.branch_pc = BRANCH;
  emulation.continuation_pc = TARGET;
  return emulation;
}

static uint64_t run_at(char *base, vmm_addr_t pc, uint64_t argument)
{
  return ((uint64_t(*)(uint64_t))(uintptr_t)(base + pc))(argument);
}

static void *push_and_run(void *arg)
{
  struct runner *runner = arg;
  char *base;
  struct vmm_hart *hart = hart_on(runner->space, VMM_HART_WINDOWS, &base);
  struct vmm_guest_thread *own = vmm_hart_thread(hart);
  uint8_t code[LEA_NBYTES];
  struct vmm_emulation emulation = native(code, sizeof(code), ret);

  for (uint32_t i = 0; i < ROUNDS; i++) {
    uint32_t immediate = runner->id << 24 | i;
    vmm_addr_t pc = 0;

    make_lea(code, immediate);
    runner->wrong += vmm_trampoline_push(own, &emulation, &pc) != 0;
    runner->wrong += run_at(base, pc, 5) != immediate + 5;
    pc += LEA_NBYTES;
    runner->wrong += vmm_trampoline_complete(own, &pc) != 0 || pc != TARGET;
  }
  end_hart(hart);
  return NULL;
}

START_TEST(s0_13_harts_run_their_own_code_at_one_address)
{
  struct vmm_space *space = space_with_trampoline();

  run_on_harts(space, HARTS, push_and_run);
  vmm_test_end(space);
}
END_TEST

/* ---- with traps ---- */

struct calling {
  char *base;
  vmm_addr_t pc;
  uint64_t argument, result;
};

static void call_guest(void *arg)
{
  struct calling *calling = arg;

  calling->result = run_at(calling->base, calling->pc, calling->argument);
}

START_TEST(the_trap_of_native_code_is_told_by_its_guest_address)
{
  struct vmm_space *space = space_with_trampoline();
  struct calling calling = { .argument = 5 };
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &calling.base);
  struct vmm_guest_thread *own = vmm_hart_thread(hart);
  uint8_t code[LEA_NBYTES];
  struct vmm_emulation emulation = native(code, sizeof(code), int3);
  struct vmm_fault fault;

  make_lea(code, 10);
  ck_assert_ok(vmm_trampoline_push(own, &emulation, &calling.pc));
  ck_assert_int_eq(vmm_guard_call(call_guest, &calling, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_TRAP);
  ck_assert_ptr_eq(fault.space, space);
  ck_assert_uint_eq(fault.va, calling.pc + LEA_NBYTES);
  ck_assert_ok(vmm_trampoline_complete(own, &fault.va));
  ck_assert_uint_eq(fault.va, TARGET);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(s0_6_a_native_load_that_faults_is_its_branchs)
{
  struct vmm_space *space = space_with_trampoline();
  struct calling calling = { 0 };
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &calling.base);
  struct vmm_guest_thread *own = vmm_hart_thread(hart);
  struct vmm_emulation emulation = native(load, sizeof(load), ret);
  struct vmm_fault fault;

  ck_assert_ok(vmm_trampoline_push(own, &emulation, &calling.pc));
  calling.argument = (uintptr_t)calling.base + 0x100008;
  ck_assert_int_eq(vmm_guard_call(call_guest, &calling, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(fault.va, 0x100008);
  ck_assert_ptr_eq(fault.host_pc, calling.base + calling.pc);
  ck_assert_uint_eq(
      vmm_trampoline_origin(own, (vmm_addr_t)((char *)fault.host_pc -
                                              calling.base)),
      BRANCH);
  ck_assert_int_eq(vmm_trampoline_depth(own), 1);
  /* it is provided, and the same frame completes */
  ck_assert_ok(vmm_map_anon(space, 0x100000, vmm_space_page_size(space), RW));
  ck_assert_ok(vmm_store(space, 0x100008, &(uint64_t){ 99 }, 8));
  ck_assert_int_eq(vmm_guard_call(call_guest, &calling, 0, &fault), 0);
  ck_assert_uint_eq(calling.result, 99);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST
#endif

Suite *vmm_suite_trampoline_native(void)
{
  Suite *suite = suite_create("trampoline_native");
  TCase *tcase = tcase_create("native");

#if defined __x86_64__
  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, s0_13_harts_run_their_own_code_at_one_address);
  tcase_add_test(tcase, the_trap_of_native_code_is_told_by_its_guest_address);
  tcase_add_test(tcase, s0_6_a_native_load_that_faults_is_its_branchs);
#endif
  suite_add_tcase(suite, tcase);
  return suite;
}
