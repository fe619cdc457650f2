/*
 * Exception tables: accessors with a label, their calls, ranges of generated code
 * with a table or a handler, registration against faults of other threads.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm_test.h"

#define AT 0x10000

static uint64_t page;

/* => a space with one page at AT */
static struct vmm_space *space_with_page(uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, page, rights));
  return space;
}

static struct vmm_fault last_fault(void)
{
  struct vmm_fault fault;

  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_ptr_null(fault.context);
  ck_assert_ptr_null(fault.info);
  return fault;
}

/* ---- accessors ---- */

/* All of them at one place: a bit of the mask for each that did not fault. */
static unsigned try_all(char *at)
{
  unsigned done = 0;
  uint64_t value = 0;

#define TRY(bit, statement, label)                                             \
  statement;                                                                   \
  done |= 1u << (bit);                                                         \
  label:

  TRY(0, vmm_try_load_u8(value, at, no0), no0)
  TRY(1, vmm_try_load_u16(value, at, no1), no1)
  TRY(2, vmm_try_load_u32(value, at, no2), no2)
  TRY(3, vmm_try_load_u64(value, at, no3), no3)
  TRY(4, vmm_try_store_u8(at, value, no4), no4)
  TRY(5, vmm_try_store_u16(at, value, no5), no5)
  TRY(6, vmm_try_store_u32(at, value, no6), no6)
  TRY(7, vmm_try_store_u64(at, value, no7), no7)
  TRY(8, vmm_try_cas_u32(at, value, 1, no8), no8)
  TRY(9, vmm_try_cas_u64(at, value, 1, no9), no9)
  return done;
}

START_TEST(every_accessor_takes_its_label)
{
  struct vmm_space *space = space_with_page(VMM_READ | VMM_WRITE);
  char *base = vmm_space_base(space);
  struct vmm_fault fault;

  ck_assert_uint_eq(try_all(base + AT), 0x3ff);
  ck_assert_faults(space, 4, 6, ck_assert_uint_eq(try_all(base), 0));
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 10);
  fault = last_fault();
  ck_assert_uint_eq(fault.access, VMM_WRITE);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(fault.va, 0);
  ck_assert_int_eq(fault.error, -EFAULT);
  ck_assert_ptr_eq(fault.space, space);
  ck_assert_ptr_nonnull(fault.host_pc);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_uint_eq(try_all(base + AT), 0x00f);
  ck_assert_uint_eq(last_fault().reason, VMM_FAULT_RIGHTS);
  vmm_test_end(space);
}
END_TEST

START_TEST(accessors_move_the_bytes_they_name)
{
  struct vmm_space *space = space_with_page(VMM_READ | VMM_WRITE);
  char *at = vmm_space_base(space) + AT;
  uint8_t u8;
  uint16_t u16;
  uint32_t u32;
  uint64_t u64;
  int64_t wide;

  vmm_try_store_u64(at, 0x8877665544332211, fault);
  vmm_try_load_u8(u8, at, fault);
  vmm_try_load_u16(u16, at + 1, fault);
  vmm_try_load_u32(u32, at + 4, fault);
  vmm_try_load_u64(u64, at, fault);
  ck_assert_uint_eq(u8, 0x11);
  ck_assert_uint_eq(u16, 0x3322);
  ck_assert_uint_eq(u32, 0x88776655);
  ck_assert_uint_eq(u64, 0x8877665544332211);
  wide = -1;
  vmm_try_load_u8(wide, at + 7, fault); /* no bit of what it was stays */
  ck_assert_int_eq(wide, 0x88);
  wide = -1;
  vmm_try_load_u32(wide, at + 4, fault);
  ck_assert_int_eq(wide, 0x88776655);
  vmm_try_store_u8(at, 0xaaaa, fault);
  vmm_try_store_u16(at + 2, 0xbbbbb, fault);
  vmm_try_store_u32(at + 4, 0xccccccccc, fault);
  vmm_try_load_u64(u64, at, fault);
  ck_assert_uint_eq(u64, 0xccccccccbbbb22aa);
  u32 = 0xbbbb22aa;
  vmm_try_cas_u32(at, u32, 5, fault);
  ck_assert_uint_eq(u32, 0xbbbb22aa);
  vmm_try_cas_u32(at, u32, 6, fault); /* it is 5 by now */
  ck_assert_uint_eq(u32, 5);
  u64 = 0xcccccccc00000005;
  vmm_try_cas_u64(at, u64, 7, fault);
  ck_assert_uint_eq(u64, 0xcccccccc00000005);
  vmm_try_load_u64(u64, at, fault);
  ck_assert_uint_eq(u64, 7);
  vmm_test_end(space);
  return;
fault:
  ck_abort_msg("a fault where there is none");
}
END_TEST

/* An accessor at an address that no window holds, and one that no host has. */
START_TEST(accessor_outside_every_window_takes_its_label)
{
  struct vmm_space *space = space_with_page(VMM_READ);
  struct vmm_fault fault;

  ck_assert_uint_eq(try_all((char *)64), 0);
  fault = last_fault();
  ck_assert_ptr_null(fault.space);
  ck_assert_uint_eq(fault.va, 64);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_OUTSIDE);
  ck_assert_int_eq(fault.error, -EFAULT);
  ck_assert_uint_eq(try_all((char *)0xdead000000000000), 0);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(accessor_in_a_guard_is_outside)
{
  struct vmm_space_options options = { .size = 1 << 22, .guard_below = 1 << 16,
                                       .guard_above = 1 << 16 };
  struct vmm_space *space;
  char *base;

  ck_assert_ok(vmm_space_create(&space, &options));
  base = vmm_space_base(space);
  ck_assert_uint_eq(try_all(base - 8), 0);
  ck_assert_uint_eq(last_fault().reason, VMM_FAULT_OUTSIDE);
  ck_assert_uint_eq(last_fault().va, (vmm_addr_t)-8);
  ck_assert_ptr_eq(last_fault().space, space);
  ck_assert_uint_eq(try_all(base + (1 << 22)), 0);
  ck_assert_uint_eq(last_fault().va, 1 << 22);
  ck_assert_uint_eq(try_all(base + (1 << 22) + (1 << 16) - 8), 0);
  ck_assert_ptr_eq(last_fault().space, space);
  vmm_test_end(space);
}
END_TEST

/* ---- the accessors as calls ---- */

START_TEST(host_calls_reach_windows_and_other_memory)
{
  struct vmm_space *space = space_with_page(VMM_READ | VMM_WRITE);
  char *at = vmm_space_base(space) + AT;
  uint64_t own = 0, value = 0x1234, expected;

  for (char *to = at;; to = (char *)&own) {
    for (size_t n = 1; n <= 8; n *= 2) {
      value = 0x1122334455667788;
      ck_assert_ok(vmm_host_store(to, &value, n));
      value = 0;
      ck_assert_ok(vmm_host_load(to, &value, n));
      ck_assert_uint_eq(value & 0xff, 0x88);
      expected = value;
      value = 1;
      ck_assert_int_eq(vmm_host_cas(to, &expected, &value, n), 0);
      ck_assert_int_eq(vmm_host_cas(to, &expected, &value, n), 1);
      ck_assert_uint_eq(expected & 0xff, 1);
    }
    if (to == (char *)&own)
      break;
  }
  vmm_test_end(space);
}
END_TEST

START_TEST(host_calls_fail_with_efault_alone)
{
  struct vmm_space *space = space_with_page(VMM_READ);
  char *base = vmm_space_base(space), *bad[] = { base, (char *)64 };
  uint64_t value = 0, expected = 0;

  for (int i = 0; i < 2; i++) {
    ck_assert_error(vmm_host_load(bad[i], &value, 4), EFAULT);
    ck_assert_error(vmm_host_store(bad[i], &value, 4), EFAULT);
    ck_assert_error(vmm_host_cas(bad[i], &expected, &value, 4), EFAULT);
  }
  ck_assert_error(vmm_host_store(base + AT, &value, 8), EFAULT);
  ck_assert_uint_eq(last_fault().reason, VMM_FAULT_RIGHTS);
  ck_assert_ok(vmm_host_load(base + AT, &value, 8));
  for (size_t n = 0; n <= 16; n += n < 3 ? 3 : 13) {
    ck_assert_error(vmm_host_load(base + AT, &value, n), EINVAL);
    ck_assert_error(vmm_host_store(base + AT, &value, n), EINVAL);
    ck_assert_error(vmm_host_cas(base + AT, &expected, &value, n), EINVAL);
  }
  ck_assert_error(vmm_host_cas(base + AT + 1, &expected, &value, 2), EINVAL);
  vmm_test_end(space);
}
END_TEST

/* ---- tables ---- */

START_TEST(table_may_be_added_again_and_is_removed_once)
{
  static const struct vmm_extable_entry table[2];

  ck_assert_ok(vmm_extable_add(table, table + 2));
  ck_assert_ok(vmm_extable_add(table, table + 2));
  ck_assert_ok(vmm_extable_remove(table));
  ck_assert_error(vmm_extable_remove(table), ENOENT);
  ck_assert_error(vmm_extable_remove(NULL), ENOENT);
  ck_assert_error(vmm_extable_add(table, table), EINVAL);
  ck_assert_error(vmm_extable_add(NULL, NULL), EINVAL);
}
END_TEST

START_TEST(tables_run_out_and_come_back)
{
  static const struct vmm_extable_entry tables[300];
  int n = 0;

  while (vmm_extable_add(&tables[n], &tables[n + 1]) == 0)
    ck_assert_int_lt(++n, 257);
  ck_assert_int_gt(n, 250); /* this program's and the library's are there too */
  ck_assert_error(vmm_extable_add(&tables[n], &tables[n + 1]), ENOMEM);
  ck_assert_ok(vmm_extable_remove(&tables[3]));
  ck_assert_ok(vmm_extable_add(&tables[n], &tables[n + 1]));
  ck_assert_ok(vmm_extable_remove(&tables[n]));
  for (int i = 0; i < n; i++)
    if (i != 3)
      ck_assert_ok(vmm_extable_remove(&tables[i]));
}
END_TEST

/* ---- generated code ---- */

/*
 * What a JIT would write; the table lies behind the code, so that it can be
 * relative to its own address.
 *
 *   +0  mov (%rdi),%eax    +2  ret
 *   +8  mov $-7,%eax       +13 ret
 */
struct jit {
  uint8_t code[16];
  struct vmm_extable_entry table[1];
};

typedef int jit_function(const void *at);

enum { FIXUP = 8, JIT_NBYTES = 16 };

static struct jit *make_jit(void)
{
  static const uint8_t code[] = { 0x8b, 0x07, 0xc3, 0, 0, 0, 0, 0,
                                  0xb8, 0xf9, 0xff, 0xff, 0xff, 0xc3 };
  struct jit *jit = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE),
                         PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(jit, MAP_FAILED);
  memcpy(jit->code, code, sizeof(code));
  jit->table[0].fault = (int32_t)(jit->code - (uint8_t *)&jit->table[0].fault);
  jit->table[0].fixup =
      (int32_t)(jit->code + FIXUP - (uint8_t *)&jit->table[0].fixup);
  return jit;
}

static int call_jit(struct jit *jit, const void *at)
{
  return ((jit_function *)(void *)jit->code)(at);
}

static int register_jit(struct jit *jit, vmm_fault_handler *handler, void *arg,
                        int with_table)
{
  struct vmm_code_options options = { .handler = handler, .arg = arg };

  if (with_table) {
    options.entries = jit->table;
    options.count = 1;
  }
  return vmm_code_register(jit->code, JIT_NBYTES, &options);
}

START_TEST(generated_code_goes_on_where_its_table_says)
{
  struct vmm_space *space = space_with_page(VMM_READ | VMM_WRITE);
  char *base = vmm_space_base(space);
  struct jit *jit = make_jit();

  vmm_test_set(space, AT, 42);
  ck_assert_ok(register_jit(jit, NULL, NULL, 1));
  ck_assert_int_eq(call_jit(jit, base + AT), 42);
  ck_assert_faults(space, 1, 0, ck_assert_int_eq(call_jit(jit, base), -7));
  ck_assert_ptr_eq(last_fault().host_pc, jit->code);
  ck_assert_int_eq(call_jit(jit, (void *)64), -7);
  ck_assert_ok(vmm_code_unregister(jit->code));
  ck_assert_error(vmm_code_unregister(jit->code), ENOENT);
  vmm_test_end(space);
}
END_TEST

struct answer {
  enum vmm_verdict verdict;
  struct vmm_space *space; /* to change before VMM_RETRY */
  volatile unsigned calls;
  struct vmm_fault fault;
  struct jit *jit;
};

static enum vmm_verdict answer(struct vmm_fault *fault, void *arg)
{
  struct answer *answer = arg;

  answer->calls++;
  answer->fault = *fault;
  if (answer->verdict == VMM_RESUME)
    vmm_fault_set_pc(fault, answer->jit->code + FIXUP);
  if (answer->verdict == VMM_RETRY)
    vmm_protect(answer->space, AT, page, VMM_READ);
  if (answer->verdict == VMM_SKIP)
    vmm_fault_set_register(fault, 0, 77);
  return answer->verdict;
}

START_TEST(handler_of_generated_code_has_its_verdict_obeyed)
{
  struct vmm_space *space = space_with_page(0);
  char *at = vmm_space_base(space) + AT;
  struct jit *jit = make_jit();
  struct answer a = { .space = space, .jit = jit };

  ck_assert_ok(register_jit(jit, answer, &a, 0));
  a.verdict = VMM_RESUME;
  ck_assert_int_eq(call_jit(jit, at), -7);
  ck_assert_uint_eq(a.calls, 1);
  ck_assert_ptr_eq(a.fault.host_pc, jit->code);
  ck_assert_ptr_eq(a.fault.space, space);
  ck_assert_uint_eq(a.fault.va, AT);
  ck_assert_uint_eq(a.fault.access, VMM_READ);
  ck_assert_uint_eq(a.fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_ptr_nonnull(a.fault.context);
  a.verdict = VMM_SKIP;
  ck_assert_int_eq(call_jit(jit, at), 77);
  ck_assert_uint_eq(a.calls, 2);
  ck_assert_int_eq(call_jit(jit, (void *)64), 77); /* of no window */
  ck_assert_uint_eq(a.calls, 3);
  ck_assert_ptr_null(a.fault.space);
  ck_assert_uint_eq(a.fault.va, 64);
  a.verdict = VMM_RETRY;
  ck_assert_faults(space, 2, 0, ck_assert_int_eq(call_jit(jit, at), 0));
  ck_assert_uint_eq(a.calls, 4);
  ck_assert_ok(vmm_code_unregister(jit->code));
  vmm_test_end(space);
}
END_TEST

START_TEST(table_of_generated_code_comes_before_its_handler)
{
  struct vmm_space *space = space_with_page(0);
  struct jit *jit = make_jit();
  struct answer a = { .verdict = VMM_SKIP };

  ck_assert_ok(register_jit(jit, answer, &a, 1));
  ck_assert_int_eq(call_jit(jit, vmm_space_base(space) + AT), -7);
  ck_assert_uint_eq(a.calls, 0);
  ck_assert_ok(vmm_code_unregister(jit->code));
  vmm_test_end(space);
}
END_TEST

static void pass_by(int signal, siginfo_t *info, void *context)
{
  (void)signal;
  (void)info;
  (void)context;
  _exit(17);
}

START_TEST(declining_handler_of_generated_code_passes_it_on)
{
  struct sigaction action = { .sa_sigaction = pass_by, .sa_flags = SA_SIGINFO };
  struct vmm_space *space;
  struct jit *jit = make_jit();
  struct answer a = { .verdict = VMM_DECLINE };

  sigaction(SIGSEGV, &action, NULL);
  space = space_with_page(0);
  ck_assert_ok(register_jit(jit, answer, &a, 0));
  call_jit(jit, vmm_space_base(space) + AT);
}
END_TEST

START_TEST(registration_refuses_what_it_must)
{
  struct jit *jit = make_jit();
  struct vmm_code_options options = { 0 };
  uint8_t *code = jit->code;

  ck_assert_error(vmm_code_register(code, 16, NULL), EINVAL);
  ck_assert_error(vmm_code_register(code, 16, &options), EINVAL);
  options.handler = answer;
  ck_assert_error(vmm_code_register(NULL, 16, &options), EINVAL);
  ck_assert_error(vmm_code_register(code, 0, &options), EINVAL);
  ck_assert_error(vmm_code_register(code, SIZE_MAX, &options), EINVAL);
  options.reserved[3] = 1;
  ck_assert_error(vmm_code_register(code, 16, &options), EINVAL);
  options.reserved[3] = 0;
  options.count = 1;
  ck_assert_error(vmm_code_register(code, 16, &options), EINVAL);
  options.entries = jit->table;
  ck_assert_error(vmm_code_register(code + 1, 15, &options), EINVAL);
  options.count = 0;
  ck_assert_ok(vmm_code_register(code + 4, 4, &options));
  ck_assert_error(vmm_code_register(code, 5, &options), EEXIST);
  ck_assert_error(vmm_code_register(code + 7, 1, &options), EEXIST);
  ck_assert_error(vmm_code_register(code + 4, 4, &options), EEXIST);
  ck_assert_error(vmm_code_register(code, 16, &options), EEXIST);
  ck_assert_ok(vmm_code_register(code + 8, 8, &options));
  ck_assert_ok(vmm_code_register(code, 4, &options));
  ck_assert_error(vmm_code_unregister(code + 5), ENOENT);
  ck_assert_ok(vmm_code_unregister(code + 4));
  ck_assert_ok(vmm_code_unregister(code + 8));
  ck_assert_ok(vmm_code_unregister(code));
}
END_TEST

START_TEST(ranges_of_code_run_out_and_come_back)
{
  struct vmm_code_options options = { .handler = answer };
  static uint8_t code[1025];

  for (int i = 0; i < 1024; i++)
    ck_assert_ok(vmm_code_register(&code[i], 1, &options));
  ck_assert_error(vmm_code_register(&code[1024], 1, &options), ENOMEM);
  ck_assert_ok(vmm_code_unregister(&code[500]));
  ck_assert_ok(vmm_code_register(&code[1024], 1, &options));
  for (int i = 0; i <= 1024; i++)
    if (i != 500)
      ck_assert_ok(vmm_code_unregister(&code[i]));
}
END_TEST

/* Entries in descending order are refused; a hundred sorted ones are each found. */
START_TEST(every_entry_of_a_table_is_found)
{
  enum { ENTRIES = 101, EACH = 16 };
  struct vmm_space *space = space_with_page(0);
  size_t nbytes = (size_t)sysconf(_SC_PAGESIZE);
  uint8_t *code = mmap(NULL, 2 * nbytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct vmm_extable_entry *table = (void *)(code + ENTRIES * EACH);
  struct vmm_code_options options = { .entries = table, .count = ENTRIES };

  ck_assert_ptr_ne(code, MAP_FAILED);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < ENTRIES; i++) {
      int which = round == 0 ? ENTRIES - 1 - i : i;
      uint8_t *at = code + which * EACH;

      at[0] = 0x8b, at[1] = 0x07, at[2] = 0xc3;
      at[8] = 0xb8, at[13] = 0xc3; /* mov $which,%eax; ret */
      memcpy(at + 9, &which, 4);
      table[i].fault = (int32_t)(at - (uint8_t *)&table[i].fault);
      table[i].fixup = (int32_t)(at + 8 - (uint8_t *)&table[i].fixup);
    }
    if (round == 0)
      ck_assert_error(vmm_code_register(code, ENTRIES * EACH, &options), EINVAL);
  }
  ck_assert_ok(vmm_code_register(code, ENTRIES * EACH, &options));
  for (int i = 0; i < ENTRIES; i++) {
    jit_function *function = (jit_function *)(void *)(code + i * EACH);

    ck_assert_int_eq(function(vmm_space_base(space)), i);
  }
  ck_assert_ok(vmm_code_unregister(code));
  vmm_test_end(space);
}
END_TEST

/* ---- against other threads ---- */

static struct vmm_space *shared_space;
static _Atomic int stop;

static void *fault_for_ever(void *arg)
{
  struct jit *jit = arg;
  char *base = vmm_space_base(shared_space);
  uintptr_t wrong = 0;

  while (!stop) {
    wrong += call_jit(jit, base) != -7;
    wrong += try_all(base) != 0;
  }
  return (void *)wrong;
}

START_TEST(tables_are_found_while_others_come_and_go)
{
  static const struct vmm_extable_entry tables[8];
  struct jit *jit = make_jit();
  struct vmm_code_options options = { .handler = answer };
  static uint8_t code[8];
  pthread_t threads[2];
  void *wrong;

  shared_space = space_with_page(0);
  for (int i = 0; i < 8; i += 2) /* before the slot that is always there */
    ck_assert_ok(vmm_code_register(&code[i], 1, &options));
  ck_assert_ok(register_jit(jit, NULL, NULL, 1));
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, fault_for_ever, jit), 0);
  for (int round = 0; round < 20000; round++) {
    int i = round % 8;

    if (i % 2 == 0) {
      ck_assert_ok(vmm_code_unregister(&code[i]));
      ck_assert_ok(vmm_code_register(&code[i], 1, &options));
    }
    ck_assert_ok(vmm_extable_add(&tables[i], &tables[i + 1]));
    ck_assert_ok(vmm_extable_remove(&tables[i]));
  }
  stop = 1;
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
    ck_assert_ptr_null(wrong);
  }
  vmm_test_end(shared_space);
}
END_TEST

static _Atomic int in_handler, unregistered, unregistered_early;

static enum vmm_verdict slow_answer(struct vmm_fault *fault, void *arg)
{
  in_handler = 1;
  for (int i = 0; i < 100; i++) {
    usleep(1000);
    unregistered_early |= unregistered;
  }
  vmm_fault_set_pc(fault, (uint8_t *)arg + FIXUP);
  return VMM_RESUME;
}

static void *call_slowly(void *arg)
{
  return (void *)(intptr_t)call_jit(arg, vmm_space_base(shared_space));
}

START_TEST(unregistering_waits_for_the_handler)
{
  struct jit *jit = make_jit();
  pthread_t thread;
  void *result;

  shared_space = space_with_page(0);
  ck_assert_ok(register_jit(jit, slow_answer, jit->code, 0));
  ck_assert_int_eq(pthread_create(&thread, NULL, call_slowly, jit), 0);
  while (!in_handler)
    usleep(100);
  ck_assert_ok(vmm_code_unregister(jit->code));
  unregistered = 1;
  ck_assert_int_eq(pthread_join(thread, &result), 0);
  ck_assert_int_eq((int)(intptr_t)result, -7);
  ck_assert_int_eq(unregistered_early, 0);
  vmm_test_end(shared_space);
}
END_TEST

Suite *vmm_suite_extable(void)
{
  Suite *suite = suite_create("extable");
  TCase *tcase = tcase_create("accessors");

  tcase_add_test(tcase, every_accessor_takes_its_label);
  tcase_add_test(tcase, accessors_move_the_bytes_they_name);
  tcase_add_test(tcase, accessor_outside_every_window_takes_its_label);
  tcase_add_test(tcase, accessor_in_a_guard_is_outside);
  tcase_add_test(tcase, host_calls_reach_windows_and_other_memory);
  tcase_add_test(tcase, host_calls_fail_with_efault_alone);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("tables");
  tcase_add_test(tcase, table_may_be_added_again_and_is_removed_once);
  tcase_add_test(tcase, tables_run_out_and_come_back);
  tcase_add_test(tcase, generated_code_goes_on_where_its_table_says);
  tcase_add_test(tcase, handler_of_generated_code_has_its_verdict_obeyed);
  tcase_add_test(tcase, table_of_generated_code_comes_before_its_handler);
  tcase_add_exit_test(tcase, declining_handler_of_generated_code_passes_it_on,
                      17);
  tcase_add_test(tcase, registration_refuses_what_it_must);
  tcase_add_test(tcase, ranges_of_code_run_out_and_come_back);
  tcase_add_test(tcase, every_entry_of_a_table_is_found);
  tcase_add_test(tcase, tables_are_found_while_others_come_and_go);
  tcase_add_test(tcase, unregistering_waits_for_the_handler);
  suite_add_tcase(suite, tcase);
  return suite;
}
