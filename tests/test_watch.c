/*
 * Watchpoints by calls: which accesses are told, in which order, with what; and
 * that what lies beside them is not.
 */
#include "uart.h"
#include "windows.h"

#define AT 0x40000
#define WATCHED (AT + 0x100)

struct told {
  struct vmm_watch *watch;
  struct vmm_watch_event event;
  uint8_t value[16];
  unsigned count;
  unsigned order; /* of the last one among all */
  int refuse;
  uint8_t seen; /* memory's first watched byte at that moment */
};

static struct vmm_space *space;
static uint64_t page;
static unsigned told_all;

static int tell(struct vmm_watch *watch, const struct vmm_watch_event *event,
                void *arg)
{
  struct told *told = arg;
  const uint8_t *bytes = vmm_debug_ptr(space, WATCHED);

  ck_assert_ptr_eq(watch, told->watch);
  told->event = *event;
  if (event->value != NULL)
    memcpy(told->value, event->value, event->nbytes);
  told->count++;
  told->order = ++told_all;
  told->seen = bytes != NULL ? *bytes : 0;
  return told->refuse;
}

static const uint32_t modes[] = { VMM_EXACT, 0, VMM_CHECKED };

static void begin(uint32_t flags)
{
  space = vmm_test_space(1 << 26, flags);
  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, 4 * page, RW | VMM_EXEC));
}

static void watch(struct told *told, vmm_addr_t va, uint64_t nbytes,
                  unsigned access, enum vmm_watch_when when)
{
  memset(told, 0, sizeof(*told));
  ck_assert_ok(
      vmm_watch_add(&told->watch, space, va, nbytes, access, when, tell, told));
  ck_assert_ok(vmm_check(space, 0, 0));
}

static void store32(vmm_addr_t va, uint32_t value)
{
  ck_assert_ok(vmm_store(space, va, &value, sizeof(value)));
}

static uint32_t load32(vmm_addr_t va)
{
  uint32_t value;

  ck_assert_ok(vmm_load(space, va, &value, sizeof(value)));
  return value;
}

START_TEST(stores_are_told_before_and_after_with_their_value)
{
  struct told before, after;

  begin(modes[_i]);
  store32(WATCHED, 1);
  watch(&before, WATCHED, 4, VMM_WRITE, VMM_WATCH_BEFORE);
  watch(&after, WATCHED, 4, VMM_WRITE, VMM_WATCH_AFTER);
  store32(WATCHED, 2);
  ck_assert_uint_eq(before.count, 1);
  ck_assert_uint_eq(after.count, 1);
  ck_assert_uint_lt(before.order, after.order);
  ck_assert_uint_eq(before.seen, 1);
  ck_assert_uint_eq(after.seen, 2);
  ck_assert_uint_eq(after.event.va, WATCHED);
  ck_assert_uint_eq(after.event.nbytes, 4);
  ck_assert_uint_eq(after.event.access, VMM_WRITE);
  ck_assert_uint_eq(after.event.when, VMM_WATCH_AFTER);
  ck_assert_ptr_eq(after.event.space, space);
  ck_assert_uint_eq(after.value[0], 2);
  ck_assert_uint_eq(before.value[0], 2);
  ck_assert_uint_eq(load32(WATCHED), 2);
  ck_assert_uint_eq(before.count + after.count, 2);
  vmm_watch_remove(before.watch);
  vmm_watch_remove(after.watch);
  store32(WATCHED, 3);
  ck_assert_uint_eq(before.count + after.count, 2);
  vmm_test_end(space);
}
END_TEST

START_TEST(loads_are_told_with_what_they_read)
{
  struct told before, after;

  begin(modes[_i]);
  store32(WATCHED, 0x55);
  watch(&before, WATCHED, 4, VMM_READ, VMM_WATCH_BEFORE);
  watch(&after, WATCHED, 4, VMM_READ, VMM_WATCH_AFTER);
  ck_assert_uint_eq(load32(WATCHED), 0x55);
  ck_assert_ptr_null(before.event.value);
  ck_assert_uint_eq(after.value[0], 0x55);
  ck_assert_uint_eq(after.event.access, VMM_READ);
  store32(WATCHED, 1);
  ck_assert_uint_eq(before.count, 1);
  ck_assert_uint_eq(after.count, 1);
  vmm_watch_remove(after.watch);
  vmm_watch_remove(before.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(neighbouring_bytes_are_not_told)
{
  struct told told;
  uint8_t byte = 1;

  begin(modes[_i]);
  watch(&told, WATCHED, 2, VMM_READ | VMM_WRITE, VMM_WATCH_AFTER);
  ck_assert_ok(vmm_store(space, WATCHED - 1, &byte, 1));
  ck_assert_ok(vmm_store(space, WATCHED + 2, &byte, 1));
  ck_assert_ok(vmm_load(space, WATCHED - 1, &byte, 1));
  store32(WATCHED - 4, 5);
  store32(WATCHED + page, 5);
  ck_assert_ok(vmm_fill(space, WATCHED + 2, 3, page, NULL));
  ck_assert_uint_eq(told.count, 0);
  store32(WATCHED - 3, 5); /* its last byte is the first watched */
  ck_assert_uint_eq(told.count, 1);
  store32(WATCHED + 1, 5);
  ck_assert_uint_eq(told.count, 2);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(an_access_over_two_pages_is_told_once)
{
  struct told told;
  uint64_t value = 0x1122334455667788;

  begin(modes[_i]);
  watch(&told, AT + page - 8, 16, VMM_WRITE, VMM_WATCH_AFTER);
  ck_assert_ok(vmm_store(space, AT + page - 3, &value, 8));
  ck_assert_uint_eq(told.count, 1);
  ck_assert_uint_eq(told.event.va, AT + page - 3);
  ck_assert_uint_eq(told.event.nbytes, 8);
  ck_assert_mem_eq(told.value, &value, 8);
  ck_assert_ok(vmm_fill(space, AT, 0, 4 * page, NULL));
  ck_assert_uint_eq(told.count, 2);
  ck_assert_uint_eq(told.event.nbytes, 4 * page);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(copies_strings_and_swaps_are_told_once)
{
  struct told told;
  uint32_t expected = 0, desired = 9;
  char bytes[64];
  size_t length;

  begin(modes[_i]);
  watch(&told, WATCHED, 4, VMM_READ | VMM_WRITE, VMM_WATCH_AFTER);
  ck_assert_ok(vmm_copyout(space, WATCHED - 8, "a string that is long", 22,
                           NULL));
  ck_assert_uint_eq(told.count, 1);
  ck_assert_uint_eq(told.event.access, VMM_WRITE);
  ck_assert_uint_eq(told.event.nbytes, 22);
  ck_assert_ptr_null(told.event.value);
  ck_assert_ok(vmm_copyin(space, bytes, WATCHED, 8, NULL));
  ck_assert_uint_eq(told.count, 2);
  ck_assert_uint_eq(told.event.access, VMM_READ);
  ck_assert_ok(vmm_copyin_string(space, bytes, WATCHED - 8, 64, &length));
  ck_assert_uint_eq(length, 21);
  ck_assert_uint_eq(told.count, 3);
  ck_assert_uint_eq(told.event.nbytes, 22);
  ck_assert_ok(vmm_copyin_string(space, bytes, WATCHED + 4, 64, &length));
  ck_assert_uint_eq(told.count, 3);
  ck_assert_ok(vmm_fill(space, WATCHED, 0, 4, NULL));
  ck_assert_uint_eq(told.count, 4);
  ck_assert_ok(vmm_cas(space, WATCHED, &expected, &desired, 4));
  ck_assert_uint_eq(told.count, 5);
  ck_assert_uint_eq(told.event.access, VMM_READ | VMM_WRITE);
  ck_assert_uint_eq(told.value[0], 9);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(what_a_watch_refuses_does_not_happen)
{
  struct told told;
  struct vmm_fault fault;
  uint32_t value = 5, expected = 1;
  char bytes[8];
  size_t left;

  begin(modes[_i]);
  store32(WATCHED, 1);
  watch(&told, WATCHED, 4, VMM_READ | VMM_WRITE, VMM_WATCH_BEFORE);
  told.refuse = 1;
  ck_assert_error(vmm_store(space, WATCHED, &value, 4), EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_WATCH);
  ck_assert_uint_eq(fault.va, WATCHED);
  ck_assert_uint_eq(fault.access, VMM_WRITE);
  ck_assert_error(vmm_load(space, WATCHED, &value, 4), EFAULT);
  ck_assert_error(vmm_cas(space, WATCHED, &expected, &value, 4), EFAULT);
  ck_assert_error(vmm_copyin(space, bytes, WATCHED - 4, 8, &left), EFAULT);
  ck_assert_uint_eq(left, 8);
  ck_assert_error(vmm_fill(space, WATCHED, 0, 4, NULL), EFAULT);
  ck_assert_uint_eq(told.count, 5);
  told.refuse = 0;
  ck_assert_uint_eq(load32(WATCHED), 1);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(young_and_dirty_bits_are_those_of_the_access)
{
  struct told told;
  char text[160];

  begin(VMM_EXACT);
  watch(&told, WATCHED, 4, VMM_WRITE, VMM_WATCH_AFTER);
  ck_assert_faults(space, 1, 0, load32(AT));
  ck_assert_pte(space, AT, YOUNG | DIRTY | VMM_PTE_SREAD, YOUNG | VMM_PTE_SREAD);
  ck_assert_faults(space, 0, 1, store32(AT, 1));
  ck_assert_pte(space, AT, DIRTY | VMM_PTE_SREAD | VMM_PTE_SWRITE,
                DIRTY | VMM_PTE_SREAD);
  ck_assert_faults(space, 0, 1, store32(AT, 2)); /* each is performed */
  ck_assert_uint_eq(vmm_test_stats(space).performed, 2);
  probe_clear(space, AT, page, DIRTY);
  ck_assert_int_gt(vmm_explain(space, AT, VMM_WRITE, text, sizeof(text)), 0);
  ck_assert_str_eq(text, "would be performed: region yes, PTE watched, "
                         "window empty");
  store32(AT, 3);
  ck_assert_pte(space, AT, DIRTY, DIRTY);
  ck_assert_uint_eq(told.count, 0);
  vmm_watch_remove(told.watch);
  ck_assert_faults(space, 0, 1, store32(AT, 4));
  ck_assert_faults(space, 0, 0, store32(AT, 5)); /* silent again */
  vmm_test_end(space);
}
END_TEST

START_TEST(a_faults_disabled_access_beside_a_watch_succeeds)
{
  struct told told;
  uint8_t byte = 0;

  begin(modes[_i]);
  watch(&told, WATCHED, 4, VMM_READ | VMM_WRITE, VMM_WATCH_AFTER);
  vmm_nofault_begin();
  ck_assert_error(vmm_store(space, AT, &byte, 1), EFAULT);
  vmm_nofault_end();
  ck_assert_ok(vmm_fixup(space, AT, VMM_WRITE));
  vmm_nofault_begin();
  ck_assert_ok(vmm_store(space, AT, &byte, 1));
  ck_assert_ok(vmm_store(space, WATCHED, &byte, 1));
  vmm_nofault_end();
  ck_assert_uint_eq(told.count, 1);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(watches_stay_whatever_is_mapped_there)
{
  struct vmm_snapshot *snapshot;
  struct vmm_space *child;
  struct told told;
  uint32_t value = 4;
  vmm_addr_t to;

  begin(modes[_i]);
  to = AT + 16 * page;
  watch(&told, WATCHED, 4, VMM_WRITE, VMM_WATCH_AFTER);
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  store32(WATCHED, 1);
  ck_assert_ok(vmm_space_fork(&child, space)); /* has none */
  ck_assert_ok(vmm_store(child, WATCHED, &value, 4));
  ck_assert_uint_eq(told.count, 1);
  vmm_test_end(child);
  ck_assert_ok(vmm_snapshot_restore(space, snapshot)); /* is no access */
  ck_assert_ok(vmm_debug_write(space, WATCHED, &value, 4, NULL));
  ck_assert_uint_eq(told.count, 1);
  vmm_snapshot_drop(snapshot);
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_error(vmm_store(space, WATCHED, &value, 4), EFAULT);
  ck_assert_uint_eq(told.count, 1);
  ck_assert_ok(vmm_protect(space, AT, page, RW));
  ck_assert_ok(vmm_move(space, AT, page, &to, 0));
  ck_assert_ok(vmm_store(space, to + (WATCHED - AT), &value, 4));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(told.count, 1);
  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  store32(WATCHED, 7);
  ck_assert_uint_eq(told.count, 2);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_device_can_be_watched)
{
  static struct bank bank;
  struct told told;

  begin(modes[_i]);
  bank_make(&bank);
  ck_assert_ok(probe_map(space, AT * 8, page, bank.device, 0, RW));
  watch(&told, AT * 8 + 8, 4, VMM_WRITE, VMM_WATCH_BEFORE);
  store32(AT * 8 + 4, 1);
  ck_assert_uint_eq(told.count, 0);
  store32(AT * 8 + 8, 2);
  ck_assert_uint_eq(told.count, 1);
  ck_assert_uint_eq(bank.stores, 2);
  vmm_watch_remove(told.watch);
  vmm_test_end(space);
  vmm_object_release(bank.device);
}
END_TEST

/* ---- many ---- */

enum { MANY = 3000 };

static unsigned counts[MANY];

static int count(struct vmm_watch *watch, const struct vmm_watch_event *event,
                 void *arg)
{
  (void)watch;
  (void)event;
  ++*(unsigned *)arg;
  return 0;
}

/* Random ranges and accesses, against a plain loop over all of them. */
START_TEST(thousands_of_watches_are_told_exactly)
{
  static struct {
    struct vmm_watch *watch;
    vmm_addr_t va;
    uint64_t nbytes;
    unsigned expected;
  } all[MANY];
  uint64_t seed = probe_seed("watches"), span;

  begin(0);
  span = 4 * page;
  for (unsigned i = 0; i < MANY; i++) {
    all[i].va = AT + probe_random(&seed) % (span - 256);
    all[i].nbytes = 1 + probe_random(&seed) % (i % 100 == 0 ? 256 : 8);
    ck_assert_ok(vmm_watch_add(&all[i].watch, space, all[i].va, all[i].nbytes,
                               VMM_WRITE, VMM_WATCH_AFTER, count, &counts[i]));
  }
  ck_assert_ok(vmm_check(space, 0, 0));
  for (unsigned n = 0; n < 2000; n++) {
    uint64_t nbytes = 1ull << probe_random(&seed) % 5;
    vmm_addr_t va = AT + probe_random(&seed) % (span - 16);
    unsigned gone = (unsigned)(probe_random(&seed) % MANY);
    char value[16] = { 0 };

    ck_assert_ok(vmm_store(space, va, value, nbytes));
    for (unsigned i = 0; i < MANY; i++)
      all[i].expected += all[i].watch != NULL && va < all[i].va + all[i].nbytes &&
                         all[i].va < va + nbytes;
    if (n % 2 == 0) {
      vmm_watch_remove(all[gone].watch);
      all[gone].watch = NULL;
    }
  }
  for (unsigned i = 0; i < MANY; i++) {
    ck_assert_uint_eq(counts[i], all[i].expected);
    vmm_watch_remove(all[i].watch);
  }
  vmm_test_end(space);
}
END_TEST

/* ---- callbacks that change what is watched ---- */

static int remove_itself(struct vmm_watch *watch,
                         const struct vmm_watch_event *event, void *arg)
{
  (void)event;
  ++*(unsigned *)arg;
  vmm_watch_remove(watch);
  return 0;
}

START_TEST(a_callback_may_remove_its_watch)
{
  struct vmm_watch *watch;
  unsigned n = 0;

  begin(modes[_i]);
  ck_assert_ok(vmm_watch_add(&watch, space, WATCHED, 1, VMM_WRITE,
                             VMM_WATCH_BEFORE, remove_itself, &n));
  store32(WATCHED, 1);
  store32(WATCHED, 2);
  ck_assert_uint_eq(n, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
  struct vmm_watch *watch = NULL;
  vmm_addr_t end;

  begin(0);
  end = vmm_space_size(space);
#define add(...) vmm_watch_add(__VA_ARGS__, count, counts)
  ck_assert_error(add(&watch, NULL, AT, 1, VMM_READ, VMM_WATCH_AFTER), EINVAL);
  ck_assert_error(add(NULL, space, AT, 1, VMM_READ, VMM_WATCH_AFTER), EINVAL);
  ck_assert_error(add(&watch, space, AT, 0, VMM_READ, VMM_WATCH_AFTER), EINVAL);
  ck_assert_error(add(&watch, space, end, 1, VMM_READ, VMM_WATCH_AFTER), EINVAL);
  ck_assert_error(add(&watch, space, end - 1, 2, VMM_READ, VMM_WATCH_AFTER),
                  EINVAL);
  ck_assert_error(add(&watch, space, AT, 1, 0, VMM_WATCH_AFTER), EINVAL);
  ck_assert_error(add(&watch, space, AT, 1, 8, VMM_WATCH_AFTER), EINVAL);
  ck_assert_error(
      add(&watch, space, AT, 1, VMM_READ, (enum vmm_watch_when)2), EINVAL);
  ck_assert_error(vmm_watch_add(&watch, space, AT, 1, VMM_READ,
                                VMM_WATCH_AFTER, NULL, NULL),
                  EINVAL);
  ck_assert_ok(vmm_test_fail(VMM_TEST_MALLOC, 1, 1));
  ck_assert_error(add(&watch, space, AT, 1, VMM_READ, VMM_WATCH_AFTER), ENOMEM);
  ck_assert_ptr_null(watch);
  ck_assert_ok(add(&watch, space, end - 1, 1, VMM_READ, VMM_WATCH_AFTER));
#undef add
  ck_assert_error(vmm_space_destroy(space), EBUSY);
  vmm_watch_remove(watch);
  vmm_watch_remove(NULL);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_watch(void)
{
  Suite *suite = suite_create("watch");
  TCase *tcase = tcase_create("calls");
  const int n = sizeof(modes) / sizeof(modes[0]);

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, stores_are_told_before_and_after_with_their_value,
                      0, n);
  tcase_add_loop_test(tcase, loads_are_told_with_what_they_read, 0, n);
  tcase_add_loop_test(tcase, neighbouring_bytes_are_not_told, 0, n);
  tcase_add_loop_test(tcase, an_access_over_two_pages_is_told_once, 0, n);
  tcase_add_loop_test(tcase, copies_strings_and_swaps_are_told_once, 0, n);
  tcase_add_loop_test(tcase, what_a_watch_refuses_does_not_happen, 0, n);
  tcase_add_window_test(tcase, young_and_dirty_bits_are_those_of_the_access);
  tcase_add_loop_test(tcase, a_faults_disabled_access_beside_a_watch_succeeds,
                      0, n);
  tcase_add_loop_test(tcase, watches_stay_whatever_is_mapped_there, 0, n);
  tcase_add_loop_test(tcase, a_device_can_be_watched, 0, n);
  tcase_add_test(tcase, thousands_of_watches_are_told_exactly);
  tcase_add_loop_test(tcase, a_callback_may_remove_its_watch, 0, n);
  tcase_add_test(tcase, bad_arguments_are_refused);
  suite_add_tcase(suite, tcase);
  return suite;
}
