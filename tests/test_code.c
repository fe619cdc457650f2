/*
 * Fetching code for a cache: who is told, when, and what is not kept.
 */
#include "vmm_test.h"
#include "windows.h"

#define PAGE 4096u
#define AT 0x40000000u
#define CHURN 64 /* lib/code.c: so often is a page kept in vain */
#define RETRY 1024

struct listener {
  struct vmm_notifier notifier; /* first, for the cast */
  unsigned calls;
  vmm_addr_t va;
  uint64_t nbytes;
};

static void listen(struct vmm_notifier *self, vmm_addr_t va, uint64_t nbytes)
{
  struct listener *listener = (struct listener *)self;

  listener->calls++;
  listener->va = va;
  listener->nbytes = nbytes;
}

static struct vmm_space *code_space(struct listener *listener)
{
  struct vmm_space *space = vmm_test_space(1ull << 32, VMM_EXACT);

  memset(listener, 0, sizeof(*listener));
  listener->notifier.invalidate = listen;
  ck_assert_ok(vmm_notifier_add(space, &listener->notifier));
  ck_assert_ok(vmm_map_anon(space, AT, 2 * PAGE,
                            VMM_READ | VMM_WRITE | VMM_EXEC));
  return space;
}

static int fetch(struct vmm_space *space, vmm_addr_t va)
{
  uint8_t byte;

  return vmm_fetch(space, va, &byte, 1);
}

START_TEST(a_write_to_fetched_code_tells_once)
{
  struct listener listener;
  struct vmm_space *space = code_space(&listener);

  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(fetch(space, AT), 0);
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT, 2));
  ck_assert_uint_eq(listener.calls, 1);
  ck_assert_uint_eq(listener.va, AT);
  ck_assert_uint_eq(listener.nbytes, PAGE);
  ck_assert_faults(space, 0, 0, vmm_test_set(space, AT, 3));
  ck_assert_uint_eq(listener.calls, 1);
  ck_assert_ok(vmm_notifier_remove(space, &listener.notifier));
  ck_assert_error(vmm_notifier_remove(space, &listener.notifier), ENOENT);
  vmm_test_end(space);
}
END_TEST

/* A page that got old has no silent right, but may still be decoded. */
START_TEST(code_that_got_old_is_still_told)
{
  struct listener listener;
  struct vmm_space *space = code_space(&listener);

  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(fetch(space, AT), 0);
  ck_assert_ok(vmm_pages(space, AT, PAGE, VMM_PTE_ACCESSED, NULL));
  vmm_test_set(space, AT, 2);
  ck_assert_uint_eq(listener.calls, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(zeros_that_were_fetched_are_told_when_they_are_written)
{
  struct listener listener;
  struct vmm_space *space = code_space(&listener);

  ck_assert_int_eq(fetch(space, AT), 0);
  vmm_test_set(space, AT, 2);
  ck_assert_uint_eq(listener.calls, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(what_unmaps_or_forbids_code_tells)
{
  struct listener listener;
  struct vmm_space *space = code_space(&listener);

  vmm_test_set(space, AT, 1);
  ck_assert_int_eq(fetch(space, AT), 0);
  ck_assert_ok(vmm_protect(space, AT, PAGE, VMM_READ | VMM_WRITE));
  ck_assert_uint_eq(listener.calls, 1);
  ck_assert_ok(vmm_protect(space, AT, PAGE, VMM_READ | VMM_EXEC));
  ck_assert_int_eq(fetch(space, AT), 0);
  ck_assert_ok(vmm_discard(space, AT, PAGE));
  ck_assert_uint_eq(listener.calls, 2);
  ck_assert_int_eq(fetch(space, AT), 0);
  ck_assert_ok(vmm_unmap(space, AT, PAGE));
  ck_assert_uint_eq(listener.calls, 3);
  vmm_test_end(space);
}
END_TEST

START_TEST(a_page_that_keeps_being_written_and_run_is_not_kept)
{
  struct listener listener;
  struct vmm_space *space = code_space(&listener);

  for (int i = 0; i < CHURN; i++) {
    vmm_test_set(space, AT, (uint8_t)i);
    ck_assert_int_eq(fetch(space, AT), 0);
  }
  vmm_test_set(space, AT, 0);
  ck_assert_uint_eq(listener.calls, CHURN);
  for (int i = 0; i < RETRY; i++) { /* no more faults, nobody is told */
    ck_assert_int_eq(fetch(space, AT), 1);
    ck_assert_faults(space, 0, 0, vmm_test_set(space, AT, (uint8_t)i));
  }
  ck_assert_uint_eq(listener.calls, CHURN);
  ck_assert_int_eq(fetch(space, AT), 0); /* once in a while it is tried again */
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT, 1));
  ck_assert_int_eq(fetch(space, AT), 1);
  ck_assert_int_eq(fetch(space, AT + PAGE), 0); /* another page is not meant */
  vmm_test_end(space);
}
END_TEST

START_TEST(a_fetch_refuses_what_it_cannot_do)
{
  struct listener listener;
  struct vmm_space *space = code_space(&listener);
  uint8_t bytes[8];

  ck_assert_error(vmm_fetch(space, AT + PAGE - 4, bytes, 8), EINVAL);
  ck_assert_error(vmm_fetch(space, AT, bytes, 0), EINVAL);
  ck_assert_error(vmm_fetch(space, AT, vmm_space_base(space) + AT, 4), EINVAL);
  ck_assert_error(vmm_fetch(space, 1ull << 32, bytes, 4), EFAULT);
  ck_assert_error(vmm_notifier_add(space, NULL), EINVAL);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_code(void);

Suite *vmm_suite_code(void)
{
  Suite *suite = suite_create("code");
  TCase *tcase = tcase_create("code");

  tcase_add_test(tcase, a_write_to_fetched_code_tells_once);
  tcase_add_test(tcase, code_that_got_old_is_still_told);
  tcase_add_test(tcase, zeros_that_were_fetched_are_told_when_they_are_written);
  tcase_add_test(tcase, what_unmaps_or_forbids_code_tells);
  tcase_add_test(tcase, a_page_that_keeps_being_written_and_run_is_not_kept);
  tcase_add_window_test(tcase, a_fetch_refuses_what_it_cannot_do);
  suite_add_tcase(suite, tcase);
  return suite;
}
