/*
 * Guest memory by calls: what is copied and what is left, strings, single
 * accesses of every size, and what handlers and broken host buffers do to them.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"
#include "windows.h"

#define AT 0x100000
#define ROOM (4 * 65536) /* of four pages of any host */

static uint64_t page;
static char bytes[ROOM], other[ROOM];

static struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

/* ---- copies ---- */

START_TEST(copies_cross_pages)
{
  struct vmm_space *space = space_with(4, RW);
  size_t left = 1, n = 3 * page, i;

  for (i = 0; i < n; i++)
    bytes[i] = (char)(i * 7);
  ck_assert_ok(vmm_copyout(space, AT + 100, bytes, n, &left));
  ck_assert_uint_eq(left, 0);
  ck_assert_int_eq(memcmp(vmm_space_base(space) + AT + 100, bytes, n), 0);
  left = 1;
  ck_assert_ok(vmm_copyin(space, other, AT + 100, n, &left));
  ck_assert_uint_eq(left, 0);
  ck_assert_int_eq(memcmp(other, bytes, n), 0);
  ck_assert_ok(vmm_fill(space, AT + page - 1, 'f', page + 2, &left));
  ck_assert_ok(vmm_copyin(space, other, AT + page - 2, page + 4, NULL));
  for (i = 1; i < page + 3; i++)
    ck_assert_int_eq(other[i], 'f');
  ck_assert_int_ne(other[0], 'f');
  ck_assert_int_ne(other[page + 3], 'f');
  vmm_test_end(space);
}
END_TEST

START_TEST(left_is_exact_where_a_copy_stops)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_fault fault;
  size_t left = 0;

  ck_assert_ok(vmm_unmap(space, AT + 2 * page, page));
  ck_assert_ok(vmm_protect(space, AT + page, page, VMM_READ));
  ck_assert_error(vmm_copyin(space, bytes, AT + 5, 4 * page - 5, &left),
                  EFAULT);
  ck_assert_uint_eq(left, 2 * page);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.va, AT + 2 * page);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_REGION);
  ck_assert_uint_eq(fault.access, VMM_READ);
  ck_assert_ptr_null(fault.context);

  memset(bytes, 'x', sizeof(bytes));
  ck_assert_error(vmm_copyout(space, AT + 5, bytes, page, &left), EFAULT);
  ck_assert_uint_eq(left, 5);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.va, AT + page);
  ck_assert_uint_eq(fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(vmm_test_get(space, AT + page - 1), 'x');
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 0);

  ck_assert_error(vmm_fill(space, AT + page - 3, 1, 10, &left), EFAULT);
  ck_assert_uint_eq(left, 7);
  ck_assert_error(vmm_fill(space, AT - 1, 1, 10, &left), EFAULT);
  ck_assert_uint_eq(left, 10);
  vmm_test_end(space);
}
END_TEST

START_TEST(copy_beyond_the_space_never_wraps)
{
  struct vmm_space *space = space_with(1, RW);
  uint64_t size = vmm_space_size(space);
  size_t left;

  ck_assert_ok(vmm_map_anon(space, 0, page, RW));
  ck_assert_ok(vmm_map_anon(space, size - page, page, RW));
  ck_assert_error(vmm_copyout(space, size - 8, bytes, 64, &left), EFAULT);
  ck_assert_uint_eq(left, 56);
  ck_assert_error(vmm_copyin(space, bytes, UINT64_MAX - 7, 64, &left), EFAULT);
  ck_assert_uint_eq(left, 64);
  ck_assert_error(vmm_store(space, UINT64_MAX - 3, bytes, 8), EFAULT);
  ck_assert_uint_eq(probe_pte(space, 0), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(empty_copy_does_nothing)
{
  struct vmm_space *space = space_with(1, RW);
  size_t left = 1;

  ck_assert_ok(vmm_copyin(space, NULL, 1, 0, &left));
  ck_assert_uint_eq(left, 0);
  ck_assert_ok(vmm_copyout(space, AT, NULL, 0, NULL));
  ck_assert_uint_eq(probe_pte(space, AT), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(copies_set_the_bits_of_an_access)
{
  struct vmm_space *space = space_with(2, RW);
  char byte = 1;

  ck_assert_ok(vmm_copyin(space, &byte, AT, 1, NULL));
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  ck_assert_ok(vmm_copyout(space, AT + page, &byte, 1, NULL));
  ck_assert_pte(space, AT + page, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(copies_take_guest_pages_larger_than_the_hosts)
{
  struct vmm_space_options options = { 0 };
  struct vmm_space *space;
  uint64_t large = 65536, value = 0;
  size_t left;

  options.size = 64 * large;
  options.page_size = (uint32_t)large;
  options.flags = VMM_EXACT;
  ck_assert_ok(vmm_space_create(&space, &options));
  ck_assert_ok(vmm_map_anon(space, large, 2 * large, RW));
  ck_assert_error(vmm_fill(space, large + 5000, 'z', 2 * large, &left), EFAULT);
  ck_assert_uint_eq(left, 5000);
  ck_assert_ok(vmm_load(space, 2 * large - 4, &value, 8));
  ck_assert_uint_eq(value, 0x7a7a7a7a7a7a7a7a);
  vmm_test_end(space);
}
END_TEST

/* ---- the host's side ---- */

START_TEST(host_buffer_may_lie_in_a_window)
{
  struct vmm_space *from = space_with(3, RW), *to = space_with(3, RW);
  size_t left;

  memset(vmm_space_base(from) + AT + 10, 'w', 2 * page);
  ck_assert_ok(vmm_copyout(to, AT + 20, vmm_space_base(from) + AT + 10,
                           2 * page, &left));
  ck_assert_ok(vmm_copyin(to, vmm_space_base(from) + AT, AT + 20, 2 * page,
                          &left));
  ck_assert_int_eq(memcmp(vmm_space_base(from) + AT, vmm_space_base(to) + AT + 20,
                          2 * page), 0);
  vmm_test_end(from);
  vmm_test_end(to);
}
END_TEST

START_TEST(copy_in_its_own_space_by_the_window)
{
  struct vmm_space *space = space_with(4, RW);

  ck_assert_ok(vmm_fill(space, AT, 's', page, NULL));
  ck_assert_ok(vmm_copyout(space, AT + 2 * page, vmm_space_base(space) + AT,
                           page, NULL));
  ck_assert_uint_eq(vmm_test_get(space, AT + 3 * page - 1), 's');
  vmm_test_end(space);
}
END_TEST

START_TEST(broken_host_buffer_is_efault_with_an_exact_left)
{
  struct vmm_space *space = space_with(4, RW);
  char *host = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  size_t left;

  ck_assert_ptr_ne(host, MAP_FAILED);
  ck_assert_int_eq(mprotect(host + page, page, PROT_NONE), 0);
  memset(host, 'h', page);
  ck_assert_error(vmm_copyout(space, AT + 100, host + 10, 2 * page - 10, &left),
                  EFAULT);
  ck_assert_uint_eq(left, page);
  ck_assert_uint_eq(vmm_test_get(space, AT + 100 + page - 11), 'h');
  ck_assert_uint_eq(vmm_test_get(space, AT + 100 + page - 10), 0);
  ck_assert_error(vmm_copyin(space, host + page - 1, AT + 100, 2, &left),
                  EFAULT);
  ck_assert_uint_eq(left, 1);
  ck_assert_error(vmm_load(space, AT, host + page, 8), EFAULT);
  ck_assert_error(vmm_store(space, AT, host + page, 8), EFAULT);
  ck_assert_error(vmm_copyin_string(space, host + page, AT, 8, NULL), EFAULT);
  munmap(host, 2 * page);
  vmm_test_end(space);
}
END_TEST

START_TEST(truncated_file_is_eio_with_an_exact_left)
{
  char path[] = "/tmp/vmm-access-XXXXXX";
  struct vmm_space *space = space_with(1, RW);
  int fd = mkstemp(path);
  struct vmm_object *object;
  struct vmm_fault fault;
  uint64_t value = 5;
  size_t left;

  ck_assert_int_ge(fd, 0);
  unlink(path);
  ck_assert_int_eq(ftruncate(fd, (off_t)(3 * page)), 0);
  ck_assert_ok(vmm_object_from_fd(&object, fd, 0, 3 * page, NULL));
  ck_assert_ok(probe_map(space, AT + 8 * page, 3 * page, object, 0, RW));
  ck_assert_ok(vmm_fill(space, AT + 8 * page, 't', 3 * page, NULL));
  ck_assert_int_eq(ftruncate(fd, (off_t)page), 0);
  ck_assert_error(vmm_copyin(space, bytes, AT + 8 * page + 9, 3 * page - 9,
                             &left), EIO);
  ck_assert_uint_eq(left, 2 * page);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_OBJECT);
  ck_assert_int_eq(fault.error, -EIO);
  ck_assert_uint_eq(fault.va, AT + 9 * page);
  ck_assert_error(vmm_fill(space, AT + 9 * page - 1, 1, 2, &left), EIO);
  ck_assert_uint_eq(left, 1);
  ck_assert_error(vmm_load(space, AT + 10 * page, &value, 8), EIO);
  ck_assert_uint_eq(value, 5);
  ck_assert_error(vmm_store(space, AT + 9 * page - 4, &value, 8), EIO);
  ck_assert_uint_eq(vmm_test_get(space, AT + 9 * page - 4), 't');
  ck_assert_error(vmm_cas(space, AT + 10 * page, &value, &value, 8), EIO);
  vmm_object_release(object);
  close(fd);
  vmm_test_end(space);
}
END_TEST

/* ---- strings ---- */

START_TEST(strings_are_copied_with_their_zero)
{
  struct vmm_space *space = space_with(2, RW);
  char text[32];
  size_t length = 99;

  ck_assert_ok(vmm_copyout(space, AT + page - 3, "across", 7, NULL));
  memset(text, '#', sizeof(text));
  ck_assert_ok(vmm_copyin_string(space, text, AT + page - 3, 32, &length));
  ck_assert_str_eq(text, "across");
  ck_assert_uint_eq(length, 6);
  ck_assert_int_eq(text[7], '#'); /* nothing beyond the zero */
  ck_assert_ok(vmm_copyin_string(space, text, AT + page + 3, 1, &length));
  ck_assert_uint_eq(length, 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(string_that_ends_with_its_page_needs_no_other)
{
  struct vmm_space *space = space_with(1, RW);
  char text[64];
  size_t length;

  ck_assert_ok(vmm_copyout(space, AT + page - 5, "last", 5, NULL));
  ck_assert_ok(vmm_copyin_string(space, text, AT + page - 5, 64, &length));
  ck_assert_str_eq(text, "last");
  ck_assert_ok(vmm_fill(space, AT + page - 1, '!', 1, NULL));
  ck_assert_error(vmm_copyin_string(space, text, AT + page - 5, 64, &length),
                  EFAULT);
  ck_assert_ok(vmm_copyin_string(space, text, AT, 64, NULL));
  vmm_test_end(space);
}
END_TEST

START_TEST(string_without_a_zero_is_too_long)
{
  struct vmm_space *space = space_with(2, RW);
  char text[600];
  size_t length = 7;

  ck_assert_ok(vmm_fill(space, AT, 'a', 2 * page, NULL));
  ck_assert_error(vmm_copyin_string(space, text, AT + 3, 600, &length),
                  ENAMETOOLONG);
  ck_assert_uint_eq(length, 7);
  ck_assert_int_eq(text[599], 'a');
  ck_assert_error(vmm_copyin_string(space, text, AT, 0, &length),
                  ENAMETOOLONG);
  ck_assert_ok(vmm_fill(space, AT + 3 + 599, 0, 1, NULL));
  ck_assert_ok(vmm_copyin_string(space, text, AT + 3, 600, &length));
  ck_assert_uint_eq(length, 599);
  vmm_test_end(space);
}
END_TEST

/* ---- single accesses ---- */

START_TEST(loads_and_stores_of_every_size_and_place)
{
  struct vmm_space *space = space_with(2, RW);
  uint8_t out[16], in[16], around[18];
  size_t size, i;
  vmm_addr_t va;

  for (i = 0; i < sizeof(out); i++)
    out[i] = (uint8_t)(0xa0 + i);
  for (size = 1; size <= 16; size *= 2)
    for (va = AT + page - 17; va <= AT + page + 1; va++) {
      ck_assert_ok(vmm_fill(space, va - 1, 0x11, size + 2, NULL));
      ck_assert_ok(vmm_store(space, va, out, size));
      memset(in, 0x22, sizeof(in));
      ck_assert_ok(vmm_load(space, va, in, size));
      ck_assert_int_eq(memcmp(in, out, size), 0);
      ck_assert(size == 16 || in[size] == 0x22);
      ck_assert_ok(vmm_copyin(space, around, va - 1, size + 2, NULL));
      ck_assert_uint_eq(around[0], 0x11);
      ck_assert_uint_eq(around[size + 1], 0x11);
    }
  for (size = 0; size <= 32; size++)
    if (size != 1 && size != 2 && size != 4 && size != 8 && size != 16) {
      ck_assert_error(vmm_load(space, AT, in, size), EINVAL);
      ck_assert_error(vmm_store(space, AT, in, size), EINVAL);
      ck_assert_error(vmm_cas(space, AT, in, in, size), EINVAL);
    }
  vmm_test_end(space);
}
END_TEST

START_TEST(store_that_crosses_into_a_bad_page_writes_nothing)
{
  struct vmm_space *space = space_with(2, RW);
  uint64_t value = 0x5555555555555555, got = 7;

  ck_assert_ok(vmm_protect(space, AT + page, page, VMM_READ));
  ck_assert_error(vmm_store(space, AT + page - 4, &value, 8), EFAULT);
  ck_assert_ok(vmm_load(space, AT + page - 4, &got, 8));
  ck_assert_uint_eq(got, 0);
  got = 7;
  ck_assert_error(vmm_load(space, AT + 2 * page - 4, &got, 8), EFAULT);
  ck_assert_uint_eq(got, 7);
  ck_assert_error(vmm_store(space, AT - 4, &value, 8), EFAULT);
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_end(space);
}
END_TEST

START_TEST(cas_of_every_size)
{
  struct vmm_space *space = space_with(1, RW);
  uint8_t old[16], want[16], fresh[16], now[17];
  size_t size;
  int result;

  for (size = 1; size <= 16; size *= 2) {
    memset(old, 0x10, sizeof(old));
    memset(fresh, 0x33, sizeof(fresh));
    ck_assert_ok(vmm_fill(space, AT, 0x10, 64, NULL));
    memcpy(want, old, sizeof(want));
    result = vmm_cas(space, AT + 16, want, fresh, size);
    if (size == 16 && result == -ENOTSUP)
      break;
    ck_assert_int_eq(result, 0);
    ck_assert_int_eq(memcmp(want, old, size), 0);
    ck_assert_ok(vmm_copyin(space, now, AT + 16, 17, NULL));
    ck_assert_int_eq(memcmp(now, fresh, size), 0);
    ck_assert_uint_eq(now[size], 0x10);
    ck_assert_int_eq(vmm_cas(space, AT + 16, want, old, size), 1);
    ck_assert_int_eq(memcmp(want, fresh, size), 0);
    ck_assert_ok(vmm_copyin(space, now, AT + 16, 17, NULL));
    ck_assert_int_eq(memcmp(now, fresh, size), 0);
    if (size > 1)
      ck_assert_error(vmm_cas(space, AT + size / 2, want, fresh, size), EINVAL);
  }
  ck_assert_ok(vmm_protect(space, AT, page, VMM_READ));
  ck_assert_error(vmm_cas(space, AT, want, fresh, 8), EFAULT);
  vmm_test_end(space);
}
END_TEST

/* ---- handlers ---- */

struct answers {
  enum vmm_verdict verdict;
  struct vmm_space *space;
  unsigned asked;
  struct vmm_fault fault;
};

static enum vmm_verdict answer(struct vmm_fault *fault, void *arg)
{
  struct answers *answers = arg;

  answers->asked++;
  answers->fault = *fault;
  if (answers->verdict == VMM_RETRY)
    ck_assert_ok(vmm_protect(answers->space, fault->va & ~(page - 1), page, RW));
  return answers->verdict;
}

START_TEST(skipped_access_reads_zeros_and_loses_writes)
{
  struct vmm_space *space = space_with(3, RW);
  struct answers answers = { .verdict = VMM_SKIP };
  uint64_t value = 0x1234, zero = 0;
  size_t left = 1, length;

  ck_assert_ok(vmm_fill(space, AT, 'k', 3 * page, NULL));
  ck_assert_ok(vmm_protect(space, AT + page, page, 0));
  ck_assert_ok(vmm_space_set_handler(space, answer, &answers));
  ck_assert_ok(vmm_copyin(space, bytes, AT, 3 * page, &left));
  ck_assert_uint_eq(left, 0);
  ck_assert_int_eq(bytes[page - 1], 'k');
  ck_assert_int_eq(bytes[page], 0);
  ck_assert_int_eq(bytes[2 * page - 1], 0);
  ck_assert_int_eq(bytes[2 * page], 'k');
  ck_assert_uint_eq(answers.asked, 1);
  ck_assert_uint_eq(answers.fault.va, AT + page);
  ck_assert_uint_eq(answers.fault.access, VMM_READ);
  ck_assert_ptr_null(answers.fault.context);

  ck_assert_ok(vmm_load(space, AT + page - 4, &value, 8));
  ck_assert_uint_eq(value, 0);
  value = 0x1234;
  ck_assert_ok(vmm_store(space, AT + page - 4, &value, 8));
  ck_assert_uint_eq(vmm_test_get(space, AT + page - 4), 'k');
  ck_assert_int_eq(vmm_cas(space, AT + page, &zero, &value, 8), 0);
  ck_assert_int_eq(vmm_cas(space, AT + page, &value, &zero, 8), 1);
  ck_assert_uint_eq(value, 0);
  ck_assert_ok(vmm_fill(space, AT + page - 1, 'j', page + 2, &left));
  ck_assert_ok(vmm_copyin_string(space, bytes, AT + page, 10, &length));
  ck_assert_uint_eq(length, 0);
  ck_assert_error(vmm_fixup(space, AT + page, VMM_READ), EFAULT);
  ck_assert_ok(vmm_protect(space, AT + page, page, RW));
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 'k');
  ck_assert_uint_eq(vmm_test_get(space, AT + 2 * page), 'j');
  vmm_test_end(space);
}
END_TEST

START_TEST(handler_that_grants_makes_the_copy_go_on)
{
  struct vmm_space *space = space_with(2, RW);
  struct answers answers = { .verdict = VMM_RETRY, .space = space };
  size_t left;

  ck_assert_ok(vmm_protect(space, AT + page, page, VMM_READ));
  ck_assert_ok(vmm_region_set_handler(space, AT + page, page, answer,
                                      &answers));
  ck_assert_ok(vmm_fill(space, AT + page - 1, 1, 2, &left));
  ck_assert_uint_eq(answers.asked, 1);
  ck_assert_uint_eq(answers.fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(vmm_test_get(space, AT + page), 1);

  answers.verdict = VMM_DECLINE;
  ck_assert_ok(vmm_protect(space, AT + page, page, 0));
  vmm_nofault_begin(); /* nobody is asked */
  ck_assert_error(vmm_fill(space, AT + page, 1, 2, &left), EFAULT);
  vmm_nofault_end();
  ck_assert_uint_eq(answers.asked, 1);
  ck_assert_error(vmm_fill(space, AT + page, 1, 2, &left), EFAULT);
  ck_assert_uint_eq(answers.asked, 2);
  vmm_test_end(space);
}
END_TEST

/* ---- with code ---- */

struct watcher {
  struct vmm_notifier notifier;
  unsigned told;
};

static void count_told(struct vmm_notifier *self, vmm_addr_t va,
                       uint64_t nbytes)
{
  (void)va;
  (void)nbytes;
  ((struct watcher *)self->arg)->told++;
}

/* S4.14 and S4.16, by calls */
START_TEST(writes_by_calls_invalidate_code)
{
  struct vmm_space *space = space_with(1, RW | VMM_EXEC);
  struct watcher watcher = {
    .notifier = { .invalidate = count_told, .arg = &watcher }
  };
  uint32_t insn = 1, expected = 2;

  ck_assert_ok(vmm_notifier_add(space, &watcher.notifier));
  ck_assert_int_eq(vmm_fetch(space, AT, &insn, 4), 0);
  ck_assert_ok(vmm_copyin(space, &insn, AT, 4, NULL));
  ck_assert_uint_eq(watcher.told, 0);
  ck_assert_ok(vmm_copyout(space, AT, &expected, 4, NULL));
  ck_assert_uint_eq(watcher.told, 1);
  ck_assert_int_eq(vmm_fetch(space, AT, &insn, 4), 0);
  ck_assert_uint_eq(insn, 2);
  ck_assert_int_eq(vmm_cas(space, AT, &expected, &watcher.told, 4), 0);
  ck_assert_uint_eq(watcher.told, 2);
  ck_assert_int_eq(vmm_fetch(space, AT, &insn, 4), 0);
  ck_assert_uint_eq(insn, 1);
  ck_assert_ok(vmm_notifier_remove(space, &watcher.notifier));
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_access(void)
{
  Suite *suite = suite_create("access");
  TCase *tcase = tcase_create("access");

  tcase_add_window_test(tcase, copies_cross_pages);
  tcase_add_test(tcase, left_is_exact_where_a_copy_stops);
  tcase_add_test(tcase, copy_beyond_the_space_never_wraps);
  tcase_add_test(tcase, empty_copy_does_nothing);
  tcase_add_test(tcase, copies_set_the_bits_of_an_access);
  tcase_add_test(tcase, copies_take_guest_pages_larger_than_the_hosts);
  tcase_add_window_test(tcase, host_buffer_may_lie_in_a_window);
  tcase_add_window_test(tcase, copy_in_its_own_space_by_the_window);
  tcase_add_window_test(tcase, broken_host_buffer_is_efault_with_an_exact_left);
  tcase_add_window_test(tcase, truncated_file_is_eio_with_an_exact_left);
  tcase_add_test(tcase, strings_are_copied_with_their_zero);
  tcase_add_test(tcase, string_that_ends_with_its_page_needs_no_other);
  tcase_add_test(tcase, string_without_a_zero_is_too_long);
  tcase_add_test(tcase, loads_and_stores_of_every_size_and_place);
  tcase_add_test(tcase, store_that_crosses_into_a_bad_page_writes_nothing);
  tcase_add_test(tcase, cas_of_every_size);
  tcase_add_test(tcase, skipped_access_reads_zeros_and_loses_writes);
  tcase_add_test(tcase, handler_that_grants_makes_the_copy_go_on);
  tcase_add_test(tcase, writes_by_calls_invalidate_code);
  suite_add_tcase(suite, tcase);
  return suite;
}
