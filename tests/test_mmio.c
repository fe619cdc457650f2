/*
 * Devices and watched pages through a window, by host code that libvmm-mmio
 * decodes: what is performed, what is a fault and with which reason, and what
 * else may happen meanwhile.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <vmm/mmio.h>

#include "uart.h"

#define AT 0x100000
#define RAM 0x200000

static struct bank bank, other;
static struct vmm_space *space;
static uint64_t page;
static char *base;

static void begin(void)
{
  space = vmm_test_space(1 << 26, VMM_EXACT);
  page = vmm_space_page_size(space);
  base = vmm_space_base(space);
  bank_make(&bank);
  ck_assert_ok(probe_map(space, AT, BANK_NBYTES, bank.device, 0, RW));
  ck_assert_ok(vmm_map_anon(space, RAM, 4 * page, RW));
  ck_assert_ok(vmm_mmio_enable());
}

static void end(void)
{
  vmm_test_end(space);
  vmm_object_release(bank.device);
}

static uint32_t load(vmm_addr_t va)
{
  uint32_t value;

  __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(base + va) : "memory");
  return value;
}

static void store(vmm_addr_t va, uint32_t value)
{
  __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(base + va) : "memory");
}

START_TEST(loads_and_stores_reach_the_device)
{
  uint32_t want;

  begin();
  memcpy(&want, bank.bytes + 12, 4);
  ck_assert_faults(space, 1, 0, ck_assert_uint_eq(load(AT + 12), want));
  ck_assert_faults(space, 0, 1, store(AT + 20, 0x12345678));
  want = 0x12345678;
  ck_assert_mem_eq(bank.bytes + 20, &want, 4);
  ck_assert_uint_eq(vmm_test_stats(space).performed, 2);
  ck_assert_uint_eq(vmm_test_stats(space).host_calls, 0);
  end();
}
END_TEST

START_TEST(a_move_over_pages_is_one_access)
{
  begin();
  store(AT + page - 2, 0xa1b2c3d4);
  ck_assert_asked(&bank, page - 2, 4);
  ck_assert_uint_eq(bank.stores, 1);
  ck_assert_uint_eq(load(AT + page - 2), 0xa1b2c3d4);
  ck_assert_uint_eq(bank.loads, 1);
  end();
}
END_TEST

/* ---- what is a fault ---- */

static void add_to(void *at)
{
  __asm__ volatile("addl $1, (%0)" : : "r"(at) : "memory", "cc");
}

static void string_store(void *at)
{
  __asm__ volatile("stosb" : "+D"(at) : "a"(0) : "memory");
}

static void push_from(void *at)
{
  __asm__ volatile("pushq (%0)\n\taddq $8, %%rsp" : : "r"(at) : "memory", "cc");
}

static void vector32(void *at)
{
  __asm__ volatile("vmovdqu (%0), %%ymm0\n\tvzeroupper"
                   :
                   : "r"(at)
                   : "memory", "xmm0");
}

static void locked(void *at)
{
  __asm__ volatile("lock xaddl %0, (%1)" : : "r"(0), "r"(at) : "memory", "cc");
}

static void (*const forms[])(void *at) = { add_to, string_store, push_from,
                                           locked, vector32 };

static int never(struct vmm_watch *watch, const struct vmm_watch_event *event,
                 void *arg)
{
  (void)watch;
  (void)event;
  (void)arg;
  ck_abort_msg("it was told");
  return 0;
}

START_TEST(other_forms_are_a_fault_that_says_so)
{
  struct vmm_fault fault = { 0 };
  struct vmm_watch *watch;

  begin();
  if (forms[_i] != vector32 || __builtin_cpu_supports("avx")) {
    ck_assert_int_eq(vmm_guard_call(forms[_i], base + AT, 0, &fault), 1);
    ck_assert_uint_eq(fault.reason, VMM_FAULT_FORM);
    ck_assert_uint_eq(fault.va, AT);
    ck_assert_ptr_eq(fault.space, space);
    ck_assert_uint_eq(bank.loads + bank.stores, 0);
    ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
    /* on a watched page too, whatever bytes it meets */
    ck_assert_ok(vmm_watch_add(&watch, space, RAM + 64, 1, RW, VMM_WATCH_AFTER,
                               never, NULL));
    ck_assert_int_eq(vmm_guard_call(forms[_i], base + RAM, 0, &fault), 1);
    ck_assert_uint_eq(fault.reason, VMM_FAULT_FORM);
    vmm_watch_remove(watch);
    ck_assert_int_eq(vmm_guard_call(forms[_i], base + RAM, 0, &fault), 0);
  }
  end();
}
END_TEST

static void load_there(void *at)
{
  (void)*(volatile uint32_t *)at;
}

static void store_there(void *at)
{
  __asm__ volatile("movl $5, (%0)" : : "r"(at) : "memory");
}

START_TEST(without_a_decoder_all_forms_are)
{
  struct vmm_fault fault;

  begin();
  vmm_mmio_disable();
  ck_assert_int_eq(vmm_guard_call(load_there, base + AT, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_FORM);
  end();
}
END_TEST

START_TEST(what_the_device_refuses_ends_a_guarded_call)
{
  struct vmm_fault fault;

  begin();
  bank.refuse = 1;
  ck_assert_int_eq(vmm_guard_call(store_there, base + AT + 8, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_DEVICE);
  ck_assert_int_eq(fault.error, -EIO);
  ck_assert_uint_eq(fault.va, AT + 8);
  ck_assert_uint_eq(fault.nbytes, 4);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 1);
  ck_assert_uint_eq(vmm_test_stats(space).performed, 0);
  end();
}
END_TEST

START_TEST(a_move_into_nothing_faults_before_any_of_it)
{
  struct vmm_fault fault;

  begin();
  ck_assert_int_eq(vmm_guard_call(store_there, base + AT + BANK_NBYTES - 2, 0,
                                  &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(fault.va, AT + BANK_NBYTES);
  ck_assert_uint_eq(bank.stores, 0);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_int_eq(vmm_guard_call(store_there, base + AT, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_RIGHTS);
  end();
}
END_TEST

START_TEST(with_faults_disabled_the_device_is_not_asked)
{
  struct vmm_fault fault;

  begin();
  vmm_nofault_begin();
  ck_assert_int_eq(vmm_guard_call(load_there, base + AT, 0, &fault), 1);
  vmm_nofault_end();
  ck_assert_uint_eq(fault.reason, VMM_FAULT_DISABLED);
  ck_assert_uint_eq(bank.loads, 0);
  end();
}
END_TEST

/* An accessor's label makes the access by a call. */
START_TEST(an_accessor_goes_to_its_label)
{
  struct vmm_fault fault;
  volatile int at_label = 0;
  uint32_t value = 0;

  begin();
  vmm_try_load_u32(value, base + AT + 4, fault);
  ck_abort_msg("it was performed");
fault:
  at_label = 1;
  ck_assert_int_eq(at_label, 1);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_FORM);
  ck_assert_uint_eq(fault.va, AT + 4);
  ck_assert_uint_eq(bank.loads, 0);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  ck_assert_ok(vmm_host_load(base + AT + 4, &value, 4));
  ck_assert_mem_eq(&value, bank.bytes + 4, 4);
  end();
}
END_TEST

static enum vmm_verdict take_over(struct vmm_fault *fault, void *arg)
{
  *(unsigned *)arg = fault->reason;
  return VMM_SKIP;
}

START_TEST(a_handler_may_take_other_forms_over)
{
  unsigned reason = 0;

  begin();
  ck_assert_ok(vmm_region_set_handler(space, AT, page, take_over, &reason));
  add_to(base + AT);
  ck_assert_uint_eq(reason, VMM_FAULT_FORM);
  ck_assert_uint_eq(vmm_test_stats(space).handled, 1);
  end();
}
END_TEST

/* ---- callbacks ---- */

static void touch_the_other(struct bank *asked)
{
  (void)asked;
  store(AT * 4 + 8, 7);
  store(RAM + 8, 9); /* a first touch, in the callback */
}

START_TEST(a_callback_may_touch_another_device_and_memory)
{
  begin();
  bank_make(&other);
  ck_assert_ok(probe_map(space, AT * 4, page, other.device, 0, RW));
  bank.during = touch_the_other;
  load(AT);
  ck_assert_uint_eq(other.stores, 1);
  ck_assert_uint_eq(load(RAM + 8), 9);
  end();
  vmm_object_release(other.device);
}
END_TEST

static unsigned caught;

static void fault_in_a_guard(struct bank *asked)
{
  struct vmm_fault fault;

  (void)asked;
  caught = vmm_guard_call(load_there, base, 0, &fault) == 1 &&
           fault.reason == VMM_FAULT_NO_REGION;
}

START_TEST(a_callback_may_fault)
{
  begin();
  bank.during = fault_in_a_guard;
  load(AT);
  ck_assert_uint_eq(caught, 1);
  ck_assert_uint_eq(bank.loads, 1);
  end();
}
END_TEST

static void unmap_it(struct bank *asked)
{
  asked->during = NULL;
  ck_assert_ok(vmm_unmap(space, AT, BANK_NBYTES));
}

START_TEST(a_callback_may_unmap_its_device)
{
  struct vmm_fault fault;

  begin();
  bank.during = unmap_it;
  store(AT + 4, 3);
  ck_assert_uint_eq(bank.bytes[4], 3);
  ck_assert_int_eq(vmm_guard_call(load_there, base + AT, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  end();
}
END_TEST

/* ---- watches ---- */

static struct vmm_watch_event seen;
static unsigned told, refuse;

static int tell(struct vmm_watch *watch, const struct vmm_watch_event *event,
                void *arg)
{
  (void)watch;
  (void)arg;
  seen = *event;
  told++;
  return (int)refuse;
}

static struct vmm_watch *watch_at(vmm_addr_t va, uint64_t nbytes,
                                  unsigned access, enum vmm_watch_when when)
{
  struct vmm_watch *watch;

  ck_assert_ok(
      vmm_watch_add(&watch, space, va, nbytes, access, when, tell, NULL));
  return watch;
}

START_TEST(neighbours_on_a_watched_page_cost_only_time)
{
  struct vmm_watch *watch;

  begin();
  store(RAM, 1);
  watch = watch_at(RAM + 64, 4, VMM_WRITE, VMM_WATCH_AFTER);
  ck_assert_faults(space, 0, 1, store(RAM + 60, 2));
  ck_assert_faults(space, 0, 1, store(RAM + 68, 3));
  ck_assert_faults(space, 0, 0, ck_assert_uint_eq(load(RAM + 60), 2));
  ck_assert_uint_eq(told, 0);
  ck_assert_faults(space, 0, 1, store(RAM + 61, 0x01020304));
  ck_assert_uint_eq(told, 1);
  ck_assert_uint_eq(seen.va, RAM + 61);
  ck_assert_uint_eq(load(RAM + 61), 0x01020304);
  ck_assert_uint_eq(vmm_test_stats(space).performed, 3);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_watch_remove(watch);
  ck_assert_faults(space, 0, 1, store(RAM + 64, 4));
  ck_assert_faults(space, 0, 0, store(RAM + 64, 5));
  ck_assert_uint_eq(told, 1);
  end();
}
END_TEST

START_TEST(a_watched_move_over_two_pages_is_told_once)
{
  struct vmm_watch *watch;

  begin();
  watch = watch_at(RAM + page - 8, 16, RW, VMM_WATCH_AFTER);
  store(RAM + page - 1, 0x55667788);
  ck_assert_uint_eq(told, 1);
  ck_assert_uint_eq(load(RAM + page - 1), 0x55667788);
  ck_assert_uint_eq(told, 2);
  ck_assert_uint_eq(seen.access, VMM_READ);
  vmm_watch_remove(watch);
  end();
}
END_TEST

START_TEST(a_refused_move_ends_a_guarded_call)
{
  struct vmm_watch *watch;
  struct vmm_fault fault;

  begin();
  store(RAM, 1);
  watch = watch_at(RAM, 4, VMM_WRITE, VMM_WATCH_BEFORE);
  refuse = 1;
  ck_assert_int_eq(vmm_guard_call(store_there, base + RAM, 0, &fault), 1);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_WATCH);
  ck_assert_uint_eq(fault.va, RAM);
  ck_assert_uint_eq(load(RAM), 1);
  refuse = 0;
  ck_assert_int_eq(vmm_guard_call(store_there, base + RAM, 0, &fault), 0);
  ck_assert_uint_eq(load(RAM), 5);
  vmm_watch_remove(watch);
  end();
}
END_TEST

START_TEST(wired_and_pinned_pages_can_be_watched)
{
  struct vmm_watch *watch;
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t niov = 1;

  begin();
  ck_assert_ok(vmm_wire(space, RAM, page));
  ck_assert_ok(vmm_pin(space, RAM, 8, VMM_WRITE, &iov, &niov, &pin));
  watch = watch_at(RAM, 4, RW, VMM_WATCH_AFTER);
  store(RAM, 11);
  ck_assert_uint_eq(told, 1);
  ck_assert_uint_eq(*(uint32_t *)iov.base, 11);
  *(uint32_t *)iov.base = 12; /* not seen */
  ck_assert_uint_eq(load(RAM), 12);
  ck_assert_uint_eq(told, 2);
  ck_assert_ok(vmm_check(space, 0, 0));
  vmm_watch_remove(watch);
  vmm_unpin(pin);
  ck_assert_faults(space, 0, 0, store(RAM, 13)); /* wired again */
  end();
}
END_TEST

/* ---- threads ---- */

static _Atomic int stop;
static _Atomic uint32_t written, noticed;

static void *write_on(void *arg)
{
  (void)arg;
  while (!atomic_load(&stop)) {
    uint32_t n = atomic_load(&written) + 1;

    store(RAM + 128, n);
    atomic_store(&written, n);
  }
  return NULL;
}

static int notice(struct vmm_watch *watch, const struct vmm_watch_event *event,
                  void *arg)
{
  uint32_t n;

  (void)watch;
  (void)arg;
  memcpy(&n, event->value, 4);
  if (n != atomic_load(&noticed) + 1 && atomic_load(&noticed) != 0)
    atomic_store(&noticed, UINT32_MAX); /* one went by */
  else
    atomic_store(&noticed, n);
  return 0;
}

/* From the moment that the call returns no write goes by untold, in order. */
START_TEST(a_watch_added_while_another_thread_writes_misses_nothing)
{
  pthread_t thread;

  begin();
  ck_assert_int_eq(pthread_create(&thread, NULL, write_on, NULL), 0);
  for (int round = 0; round < 50; round++) {
    uint32_t n = atomic_load(&written);
    struct vmm_watch *watch;

    while (atomic_load(&written) < n + 3)
      sched_yield();
    atomic_store(&noticed, 0);
    ck_assert_ok(vmm_watch_add(&watch, space, RAM + 128, 4, VMM_WRITE,
                               VMM_WATCH_AFTER, notice, NULL));
    n = atomic_load(&written);
    while (atomic_load(&written) < n + 5)
      sched_yield();
    vmm_watch_remove(watch);
    ck_assert_uint_ne(atomic_load(&noticed), UINT32_MAX);
    ck_assert_uint_ge(atomic_load(&noticed), n + 4);
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  end();
}
END_TEST

Suite *vmm_suite_mmio(void)
{
  Suite *suite = suite_create("mmio");
  TCase *tcase = tcase_create("window");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, loads_and_stores_reach_the_device);
  tcase_add_test(tcase, a_move_over_pages_is_one_access);
  tcase_add_loop_test(tcase, other_forms_are_a_fault_that_says_so, 0,
                      sizeof(forms) / sizeof(forms[0]));
  tcase_add_test(tcase, without_a_decoder_all_forms_are);
  tcase_add_test(tcase, what_the_device_refuses_ends_a_guarded_call);
  tcase_add_test(tcase, a_move_into_nothing_faults_before_any_of_it);
  tcase_add_test(tcase, with_faults_disabled_the_device_is_not_asked);
  tcase_add_test(tcase, an_accessor_goes_to_its_label);
  tcase_add_test(tcase, a_handler_may_take_other_forms_over);
  tcase_add_test(tcase, a_callback_may_touch_another_device_and_memory);
  tcase_add_test(tcase, a_callback_may_fault);
  tcase_add_test(tcase, a_callback_may_unmap_its_device);
  tcase_add_test(tcase, neighbours_on_a_watched_page_cost_only_time);
  tcase_add_test(tcase, a_watched_move_over_two_pages_is_told_once);
  tcase_add_test(tcase, a_refused_move_ends_a_guarded_call);
  tcase_add_test(tcase, wired_and_pinned_pages_can_be_watched);
  tcase_add_test(tcase,
                 a_watch_added_while_another_thread_writes_misses_nothing);
  suite_add_tcase(suite, tcase);
  return suite;
}
