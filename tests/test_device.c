/*
 * Devices by calls: what reaches the callbacks, and what is refused.
 */
#include "uart.h"
#include "windows.h"

#define AT 0x100000
#define RAM 0x90000

static struct bank bank, other;
static struct vmm_space *space;
static uint64_t page;

static void begin(uint32_t flags)
{
  space = vmm_test_space(1 << 26, flags);
  page = vmm_space_page_size(space);
  bank_make(&bank);
  ck_assert_ok(probe_map(space, AT, BANK_NBYTES, bank.device, 0, RW));
}

static void end(void)
{
  vmm_test_end(space);
  vmm_object_release(bank.device);
}

/* The same with a window and without. */
static const uint32_t modes[] = { 0, VMM_CHECKED };

START_TEST(loads_and_stores_of_each_size_reach_the_callbacks)
{
  uint8_t value[16], want[16];

  begin(modes[_i]);
  for (uint32_t nbytes = 1; nbytes <= 16; nbytes *= 2) {
    for (uint64_t at = 3; at < 5; at++) {
      ck_assert_faults(space, 1, 0,
                       ck_assert_ok(vmm_load(space, AT + at, value, nbytes)));
      ck_assert_asked(&bank, at, nbytes);
      ck_assert_mem_eq(value, bank.bytes + at, nbytes);
      memset(want, (int)(nbytes + at), sizeof(want));
      ck_assert_faults(space, 0, 1,
                       ck_assert_ok(vmm_store(space, AT + at, want, nbytes)));
      ck_assert_asked(&bank, at, nbytes);
      ck_assert_mem_eq(want, bank.bytes + at, nbytes);
    }
  }
  ck_assert_uint_eq(bank.loads, 10);
  ck_assert_uint_eq(bank.stores, 10);
  ck_assert_uint_eq(vmm_test_stats(space).performed, 20);
  ck_assert_uint_eq(vmm_test_stats(space).repaired, 0);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  ck_assert_uint_eq(probe_pte(space, AT), 0);
  end();
}
END_TEST

START_TEST(copies_go_in_pieces_as_aligned_as_they_can_be)
{
  static const uint32_t sizes[] = { 1, 4, 8, 8, 2, 1 }; /* from 3 to 27 */
  char bytes[64], none[64] = { 0 };
  size_t left = 1;
  unsigned loads;

  begin(modes[_i]);
  ck_assert_ok(vmm_copyin(space, bytes, AT + 3, 24, &left));
  ck_assert_uint_eq(left, 0);
  ck_assert_uint_eq(bank.loads, sizeof(sizes) / sizeof(sizes[0]));
  ck_assert_asked(&bank, 26, 1);
  ck_assert_mem_eq(bytes, bank.bytes + 3, 24);
  ck_assert_ok(vmm_copyout(space, AT + page - 8, none, 16, NULL));
  ck_assert_uint_eq(bank.stores, 2);
  ck_assert_mem_eq(bank.bytes + page - 8, none, 16);
  ck_assert_ok(vmm_fill(space, AT + 100, 0x5a, 4, NULL));
  ck_assert_asked(&bank, 100, 4);
  ck_assert_uint_eq(bank.bytes[103], 0x5a);
  strcpy((char *)bank.bytes + 200, "text");
  loads = bank.loads;
  ck_assert_ok(vmm_copyin_string(space, bytes, AT + 200, 64, &left));
  ck_assert_str_eq(bytes, "text");
  ck_assert_uint_gt(bank.loads, loads);
  end();
}
END_TEST

START_TEST(compare_and_swap_is_a_load_and_a_store)
{
  uint32_t expected = 0, desired = 0x11223344;

  begin(modes[_i]);
  ck_assert_int_eq(vmm_cas(space, AT + 8, &expected, &desired, 4), 1);
  ck_assert_mem_eq(&expected, bank.bytes + 8, 4);
  ck_assert_uint_eq(bank.stores, 0);
  ck_assert_ok(vmm_cas(space, AT + 8, &expected, &desired, 4));
  ck_assert_mem_eq(&desired, bank.bytes + 8, 4);
  ck_assert_uint_eq(bank.loads, 2);
  ck_assert_uint_eq(bank.stores, 1);
  end();
}
END_TEST

START_TEST(an_access_over_its_ends_falls_into_pieces)
{
  uint64_t value = 0, want = 0x0807060504030201;

  begin(modes[_i]);
  ck_assert_ok(vmm_map_anon(space, AT - page, page, RW));
  ck_assert_ok(vmm_store(space, AT - 3, &want, 8));
  ck_assert_asked(&bank, 0, 5);
  ck_assert_uint_eq(bank.stores, 1);
  ck_assert_mem_eq(bank.bytes, (const char *)&want + 3, 5);
  ck_assert_ok(vmm_load(space, AT - 3, &value, 8));
  ck_assert_uint_eq(value, want);
  ck_assert_asked(&bank, 0, 5);
  /* beyond the other end nothing is mapped: no part is done */
  bank.loads = 0;
  ck_assert_error(vmm_load(space, AT + BANK_NBYTES - 2, &value, 8), EFAULT);
  ck_assert_error(vmm_store(space, AT + BANK_NBYTES - 2, &value, 8), EFAULT);
  ck_assert_uint_eq(bank.loads, 0);
  ck_assert_uint_eq(bank.stores, 1);
  end();
}
END_TEST

START_TEST(neighbouring_views_of_one_device_are_one)
{
  uint64_t value;

  begin(modes[_i]);
  ck_assert_ok(vmm_region_set_handler(space, AT, page, NULL, NULL));
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_ok(vmm_load(space, AT + page - 3, &value, 8));
  ck_assert_asked(&bank, page - 3, 8);
  ck_assert_uint_eq(bank.loads, 1);
  ck_assert_error(vmm_store(space, AT + page - 3, &value, 8), EFAULT);
  ck_assert_uint_eq(bank.stores, 0);
  end();
}
END_TEST

START_TEST(two_devices_side_by_side)
{
  uint64_t value;

  begin(modes[_i]);
  bank_make(&other);
  ck_assert_ok(probe_map(space, AT + BANK_NBYTES, page, other.device, page, RW));
  ck_assert_ok(vmm_load(space, AT + BANK_NBYTES - 1, &value, 8));
  ck_assert_asked(&bank, BANK_NBYTES - 1, 1);
  ck_assert_asked(&other, page, 7);
  end();
  vmm_object_release(other.device);
}
END_TEST

START_TEST(rights_and_mirrors_are_as_of_any_object)
{
  struct vmm_fault fault;
  uint8_t byte = 9;

  begin(modes[_i]);
  ck_assert_ok(probe_map(space, AT * 2, page, bank.device, page, VMM_READ));
  ck_assert_ok(vmm_store(space, AT + page, &byte, 1));
  byte = 0;
  ck_assert_ok(vmm_load(space, AT * 2, &byte, 1));
  ck_assert_uint_eq(byte, 9);
  ck_assert_error(vmm_store(space, AT * 2, &byte, 1), EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_RIGHTS);
  /* a device may be write-only */
  ck_assert_ok(vmm_protect(space, AT * 2, page, VMM_WRITE));
  ck_assert_ok(vmm_store(space, AT * 2, &byte, 1));
  ck_assert_error(vmm_load(space, AT * 2, &byte, 1), EFAULT);
  end();
}
END_TEST

START_TEST(what_it_refuses_is_a_fault)
{
  struct vmm_fault fault;
  uint32_t value = 0;
  size_t left;

  begin(modes[_i]);
  bank.refuse = 1;
  ck_assert_error(vmm_load(space, AT + 4, &value, 4), EIO);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_DEVICE);
  ck_assert_uint_eq(fault.va, AT + 4);
  ck_assert_uint_eq(fault.access, VMM_READ);
  ck_assert_int_eq(fault.error, -EIO);
  ck_assert_error(vmm_copyout(space, AT, &value, 4, &left), EIO);
  ck_assert_uint_eq(left, 4);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 2);
  ck_assert_uint_eq(vmm_test_stats(space).performed, 0);
  end();
}
END_TEST

static enum vmm_verdict mend(struct vmm_fault *fault, void *arg)
{
  ck_assert_uint_eq(fault->reason, VMM_FAULT_DEVICE);
  ck_assert_ptr_eq(arg, &bank);
  bank.refuse = 0;
  return VMM_RETRY;
}

static enum vmm_verdict skip(struct vmm_fault *fault, void *arg)
{
  (void)fault;
  (void)arg;
  return VMM_SKIP;
}

START_TEST(handlers_are_asked_about_what_it_refuses)
{
  uint32_t value = 7;

  begin(modes[_i]);
  ck_assert_ok(vmm_region_set_handler(space, AT, BANK_NBYTES, mend, &bank));
  bank.refuse = 1;
  ck_assert_ok(vmm_load(space, AT, &value, 4));
  ck_assert_mem_eq(&value, bank.bytes, 4);
  ck_assert_uint_eq(bank.loads, 2);
  ck_assert_ok(vmm_region_set_handler(space, AT, BANK_NBYTES, skip, &bank));
  bank.refuse = 1;
  ck_assert_ok(vmm_load(space, AT, &value, 4));
  ck_assert_uint_eq(value, 0);
  ck_assert_uint_eq(vmm_test_stats(space).handled, 2);
  end();
}
END_TEST

START_TEST(it_has_no_frames_to_pin_wire_or_fix)
{
  struct vmm_map_options options = { .object = NULL, .rights = RW };
  struct vmm_iovec iov[2];
  struct vmm_fault fault;
  struct vmm_pin *pin;
  vmm_addr_t va = AT * 2;
  size_t niov = 2;
  char text[160];

  begin(0);
  ck_assert_refused(space, vmm_pin(space, AT, 8, VMM_READ, iov, &niov, &pin),
                    EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_FORM);
  ck_assert_refused(space, vmm_fixup(space, AT, VMM_WRITE), EFAULT);
  ck_assert_refused(space, vmm_wire(space, AT, page), ENOTSUP);
  options.object = bank.device;
  options.flags = VMM_WIRED;
  ck_assert_refused(space, vmm_map(space, &va, page, &options), ENOTSUP);
  options.flags = VMM_PRIVATE;
  ck_assert_refused(space, vmm_map(space, &va, page, &options), ENOTSUP);
  options.flags = 0;
  options.rights = RW | VMM_EXEC;
  ck_assert_refused(space, vmm_map(space, &va, page, &options), ENOTSUP);
  ck_assert_refused(space, vmm_protect(space, AT, page, RX), ENOTSUP);
  ck_assert_error(vmm_fetch(space, AT, text, 4), EFAULT);
  ck_assert_error(vmm_object_fd(bank.device), ENOTSUP);
  ck_assert_int_gt(vmm_explain(space, AT, VMM_READ, text, sizeof(text)), 0);
  ck_assert_str_eq(text, "would be performed: region of a device, PTE none, "
                         "window empty");
  ck_assert_uint_eq(bank.loads + bank.stores, 0);
  end();
}
END_TEST

START_TEST(with_faults_disabled_it_is_not_asked)
{
  struct vmm_fault fault;
  uint8_t byte;

  begin(modes[_i]);
  vmm_nofault_begin();
  ck_assert_error(vmm_load(space, AT, &byte, 1), EFAULT);
  ck_assert_error(vmm_copyin(space, &byte, AT, 1, NULL), EFAULT);
  vmm_nofault_end();
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_DISABLED);
  ck_assert_uint_eq(bank.loads, 0);
  end();
}
END_TEST

static void unmap_it(struct bank *asked)
{
  asked->during = NULL;
  ck_assert_ok(vmm_unmap(space, AT, BANK_NBYTES));
  vmm_object_release(asked->device);
}

START_TEST(it_may_unmap_and_release_itself)
{
  uint32_t value = 0;

  begin(modes[_i]);
  bank.during = unmap_it;
  ck_assert_ok(vmm_load(space, AT + 4, &value, 4));
  ck_assert_mem_eq(&value, bank.bytes + 4, 4);
  ck_assert_error(vmm_load(space, AT + 4, &value, 4), EFAULT);
  vmm_test_end(space);
}
END_TEST

static void ask_the_other(struct bank *asked)
{
  uint8_t byte = 1;

  (void)asked;
  ck_assert_ok(vmm_store(space, AT * 2 + 5, &byte, 1));
  ck_assert_ok(vmm_copyout(space, RAM, "ram", 4, NULL));
}

START_TEST(a_callback_may_use_the_space_and_another_device)
{
  uint8_t byte;
  char text[4];

  begin(modes[_i]);
  bank_make(&other);
  ck_assert_ok(probe_map(space, AT * 2, page, other.device, 0, RW));
  ck_assert_ok(vmm_map_anon(space, RAM, page, RW));
  bank.during = ask_the_other;
  ck_assert_ok(vmm_load(space, AT, &byte, 1));
  ck_assert_asked(&other, 5, 1);
  ck_assert_ok(vmm_copyin(space, text, RAM, 4, NULL));
  ck_assert_str_eq(text, "ram");
  end();
  vmm_object_release(other.device);
}
END_TEST

START_TEST(forks_snapshots_moves_and_discards_leave_it_alone)
{
  struct vmm_snapshot *snapshot;
  struct vmm_space *child;
  vmm_addr_t to = AT * 3;
  uint8_t byte = 0;

  begin(modes[_i]);
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(vmm_space_fork(&child, space));
  ck_assert_ok(vmm_load(child, AT + 1, &byte, 1));
  ck_assert_uint_eq(bank.loads, 1);
  vmm_test_end(child);
  ck_assert_ok(vmm_discard(space, AT, BANK_NBYTES));
  ck_assert_ok(vmm_move(space, AT, BANK_NBYTES, &to, 0));
  ck_assert_ok(vmm_load(space, to + 2, &byte, 1));
  ck_assert_asked(&bank, 2, 1);
  byte = 77;
  ck_assert_ok(vmm_store(space, to, &byte, 1));
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  ck_assert_ok(vmm_load(space, AT, &byte, 1)); /* it is no memory */
  ck_assert_uint_eq(byte, 77);
  vmm_snapshot_drop(snapshot);
  end();
}
END_TEST

START_TEST(bad_options_are_refused)
{
  struct vmm_device_options options = { .load = bank_load };
  struct vmm_object *device = NULL;
  uint8_t byte = 0;

  begin(0);
  ck_assert_error(vmm_device_create(NULL, page, &options), EINVAL);
  ck_assert_error(vmm_device_create(&device, page, NULL), EINVAL);
  ck_assert_error(vmm_device_create(&device, 0, &options), EINVAL);
  ck_assert_error(vmm_device_create(&device, page + 1, &options), EINVAL);
  options.reserved[0] = 1;
  ck_assert_error(vmm_device_create(&device, page, &options), EINVAL);
  options.reserved[0] = 0;
  options.load = NULL;
  ck_assert_error(vmm_device_create(&device, page, &options), EINVAL);
  ck_assert_ptr_null(device);
  options.store = bank_store; /* one is enough: loads are faults then */
  options.arg = &bank;
  ck_assert_ok(vmm_device_create(&device, page, &options));
  ck_assert_ok(probe_map(space, AT * 2, page, device, 0, RW));
  ck_assert_error(vmm_load(space, AT * 2, &byte, 1), EIO);
  for (uint64_t nth = 1; nth <= 2; nth++) {
    struct vmm_object *failed = NULL;

    ck_assert_ok(vmm_test_fail(VMM_TEST_MALLOC, nth, 1));
    ck_assert_error(vmm_device_create(&failed, page, &options), ENOMEM);
    ck_assert_ok(vmm_test_fail(VMM_TEST_MALLOC, 0, 0));
  }
  end();
  vmm_object_release(device);
}
END_TEST

Suite *vmm_suite_device(void)
{
  Suite *suite = suite_create("device");
  TCase *tcase = tcase_create("calls");
  const int n = sizeof(modes) / sizeof(modes[0]);

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase, loads_and_stores_of_each_size_reach_the_callbacks,
                      0, n);
  tcase_add_loop_test(tcase, copies_go_in_pieces_as_aligned_as_they_can_be, 0,
                      n);
  tcase_add_loop_test(tcase, compare_and_swap_is_a_load_and_a_store, 0, n);
  tcase_add_loop_test(tcase, an_access_over_its_ends_falls_into_pieces, 0, n);
  tcase_add_loop_test(tcase, neighbouring_views_of_one_device_are_one, 0, n);
  tcase_add_loop_test(tcase, two_devices_side_by_side, 0, n);
  tcase_add_loop_test(tcase, rights_and_mirrors_are_as_of_any_object, 0, n);
  tcase_add_loop_test(tcase, what_it_refuses_is_a_fault, 0, n);
  tcase_add_loop_test(tcase, handlers_are_asked_about_what_it_refuses, 0, n);
  tcase_add_window_test(tcase, it_has_no_frames_to_pin_wire_or_fix);
  tcase_add_loop_test(tcase, with_faults_disabled_it_is_not_asked, 0, n);
  tcase_add_loop_test(tcase, it_may_unmap_and_release_itself, 0, n);
  tcase_add_loop_test(tcase, a_callback_may_use_the_space_and_another_device, 0,
                      n);
  tcase_add_loop_test(tcase,
                      forks_snapshots_moves_and_discards_leave_it_alone, 0, n);
  tcase_add_test(tcase, bad_options_are_refused);
  suite_add_tcase(suite, tcase);
  return suite;
}
