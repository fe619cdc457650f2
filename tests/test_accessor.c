/*
 * The accessors of <vmm/extable.h>: each takes its label where nobody repairs
 * its fault, and moves the bytes it names; the same by calls.
 */
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

/* ---- with a label ---- */

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

/* ---- as calls ---- */

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

Suite *vmm_suite_accessor(void)
{
  Suite *suite = suite_create("accessor");
  TCase *tcase = tcase_create("accessor");

  tcase_add_test(tcase, every_accessor_takes_its_label);
  tcase_add_test(tcase, accessors_move_the_bytes_they_name);
  tcase_add_test(tcase, accessor_outside_every_window_takes_its_label);
  tcase_add_test(tcase, accessor_in_a_guard_is_outside);
  tcase_add_test(tcase, host_calls_reach_windows_and_other_memory);
  tcase_add_test(tcase, host_calls_fail_with_efault_alone);
  suite_add_tcase(suite, tcase);
  return suite;
}
