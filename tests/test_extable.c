/*
 * Exception tables: registration of images' tables and of generated code with a
 * table or a handler, against faults of other threads.
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

/* Entries in descending order are refused; a hundred sorted ones are each
 * found. */
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

static int load_accessor(const char *at)
{
  uint8_t byte;

  vmm_try_load_u8(byte, at, fault);
  return byte;
fault:
  return -1;
}

static void *fault_for_ever(void *arg)
{
  struct jit *jit = arg;
  char *base = vmm_space_base(shared_space);
  uintptr_t wrong = 0;

  while (!stop) {
    wrong += call_jit(jit, base) != -7;
    wrong += load_accessor(base) != -1;
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
  TCase *tcase = tcase_create("tables");
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
