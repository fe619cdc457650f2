/*
 * Pins: S2.11, S2.15, and what a pin keeps alive.  Every space is exact.
 */
#include <sys/uio.h>
#include <unistd.h>

#include "probe.h"
#include "windows.h"

#define AT 0x10000

static uint64_t page;

static struct vmm_space *space_with(unsigned npages, uint32_t rights)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);

  page = vmm_space_page_size(space);
  ck_assert_ok(vmm_map_anon(space, AT, npages * page, rights));
  return space;
}

/* Pins a range that has one vector. */
static struct vmm_pin *pin_one(struct vmm_space *space, vmm_addr_t va,
                               size_t nbytes, unsigned access, char **host)
{
  struct vmm_iovec iov[1];
  struct vmm_pin *pin;
  size_t niov = 1;

  ck_assert_ok(vmm_pin(space, va, nbytes, access, iov, &niov, &pin));
  ck_assert_uint_eq(niov, 1);
  ck_assert_uint_eq(iov[0].nbytes, nbytes);
  *host = iov[0].base;
  return pin;
}

/* S2.11 */
START_TEST(host_read_into_a_pinned_range_succeeds_and_dirties)
{
  struct vmm_space *space = space_with(3, RW);
  char *base = vmm_space_base(space);
  struct vmm_iovec iov[3];
  struct vmm_pin *pin;
  size_t niov = 3;
  int fds[2];

  ck_assert_int_eq(pipe(fds), 0);
  ck_assert_int_eq(write(fds[1], "0123456789", 10), 10);
  ck_assert_int_eq(read(fds[0], base + AT, 10), -1);
  ck_assert_int_eq(errno, EFAULT);
  ck_assert_uint_eq(probe_pte(space, AT), 0);

  ck_assert_ok(vmm_pin(space, AT + page - 5, 10, VMM_WRITE, iov, &niov, &pin));
  ck_assert_int_eq(readv(fds[0], (struct iovec *)iov, (int)niov), 10);
  vmm_unpin(pin);
  ck_assert_int_eq(memcmp(base + AT + page - 5, "0123456789", 10), 0);
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_pte(space, AT + page, YOUNG | DIRTY, YOUNG | DIRTY);
  ck_assert_uint_eq(probe_pte(space, AT + 2 * page), 0);
  vmm_test_end(space);
}
END_TEST

/* => whether the tracker says that the page at va was written; clears */
static int fetch(struct vmm_tracker *tracker, vmm_addr_t va)
{
  struct vmm_range run;
  size_t nruns = 1;

  ck_assert_ok(vmm_tracker_fetch(tracker, va, page, 1, &run, &nruns, NULL));
  return nruns == 1;
}

/* S2.15 */
START_TEST(page_pinned_for_writing_reads_dirty_until_the_unpin_and_once_more)
{
  struct vmm_space *space = space_with(2, RW);
  struct vmm_tracker_options options = { 0 };
  struct vmm_tracker *tracker;
  struct vmm_pin *pin;
  char *host;
  int i;

  options.kind = VMM_TRACK_WRITE;
  ck_assert_ok(vmm_tracker_create(&tracker, space, AT, 2 * page, &options));
  ck_assert_int_eq(fetch(tracker, AT), 0);
  pin = pin_one(space, AT, page, VMM_WRITE, &host);
  for (i = 0; i < 3; i++) {
    ck_assert_int_eq(fetch(tracker, AT), 1);
    ck_assert_int_eq(fetch(tracker, AT + page), 0);
    ck_assert_ok(vmm_check(space, 0, 0));
  }
  host[7] = 'p';
  vmm_unpin(pin);
  ck_assert_int_eq(fetch(tracker, AT), 1);
  ck_assert_int_eq(fetch(tracker, AT), 0);
  ck_assert_uint_eq(vmm_test_get(space, AT + 7), 'p');
  ck_assert_int_eq(fetch(tracker, AT), 0);
  vmm_tracker_destroy(tracker);
  vmm_test_end(space);
}
END_TEST

/* S2.15: of the entry's own dirty bit too. */
START_TEST(clearing_a_pinned_page_finds_it_dirty_again)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_pin *pin;
  uint64_t pte;
  char *host;
  int i;

  pin = pin_one(space, AT, page, VMM_WRITE, &host);
  for (i = 0; i < 3; i++) {
    ck_assert_ok(vmm_pages(space, AT, page, DIRTY, &pte));
    ck_assert_uint_eq(pte & DIRTY, DIRTY);
  }
  host[0] = 'p';
  vmm_unpin(pin);
  ck_assert_ok(vmm_pages(space, AT, page, DIRTY, &pte));
  ck_assert_uint_eq(pte & DIRTY, DIRTY);
  ck_assert_pte(space, AT, DIRTY, 0);
  step(space, 0, 1, vmm_test_set(space, AT, 1));
  vmm_test_end(space);
}
END_TEST

START_TEST(pin_for_reading_sets_young_only)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_pin *pin;
  char *host;

  vmm_test_set(space, AT, 3);
  probe_clear(space, AT, page, YOUNG | DIRTY);
  pin = pin_one(space, AT, page, VMM_READ, &host);
  ck_assert_pte(space, AT, YOUNG | DIRTY, YOUNG);
  ck_assert_int_eq(host[0], 3);
  vmm_test_set(space, AT, 4);
  ck_assert_int_eq(*(volatile char *)host, 4);
  vmm_unpin(pin);
  vmm_test_end(space);
}
END_TEST

/* A pin of a page that nobody has written stays coherent with it. */
START_TEST(pin_of_an_untouched_page_sees_later_writes)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_pin *pin;
  char *host;

  vmm_test_get(space, AT);
  pin = pin_one(space, AT, page, VMM_READ, &host);
  ck_assert_int_eq(host[9], 0);
  vmm_test_set(space, AT + 9, 9);
  ck_assert_int_eq(((volatile char *)host)[9], 9);
  vmm_unpin(pin);
  vmm_test_end(space);
}
END_TEST

/* A private page pinned and then written by the guest stays the pinned one. */
START_TEST(pin_of_a_private_page_of_an_object_stays_coherent)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = probe_object(page, 0);
  vmm_addr_t at = AT + 4 * page;
  struct vmm_pin *pin;
  char *host;

  ck_assert_ok(probe_map(space, at, page, object, 0, RW | VMM_PRIVATE));
  pin = pin_one(space, at, page, VMM_READ, &host);
  vmm_test_set(space, at, 5);
  ck_assert_int_eq(*(volatile char *)host, 5);
  vmm_unpin(pin);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(pinned_frame_lives_on_after_an_unmap)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_pin *pin;
  char *host;

  vmm_test_set(space, AT, 1);
  pin = pin_one(space, AT, page, VMM_WRITE, &host);
  ck_assert_ok(vmm_unmap(space, AT, page));
  host[1] = 2;
  ck_assert_int_eq(host[0], 1);
  ck_assert_ok(vmm_map_anon(space, AT, page, RW));
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_set(space, AT, 9);
  ck_assert_int_eq(((volatile char *)host)[0], 1);
  ck_assert_int_eq(host[1], 2);
  vmm_unpin(pin);
  ck_assert_uint_eq(vmm_test_get(space, AT), 9);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 1);
  vmm_test_end(space);
}
END_TEST

START_TEST(pinned_frame_lives_on_after_a_discard)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_pin *pin;
  char *host;

  vmm_test_set(space, AT, 1);
  pin = pin_one(space, AT, page, VMM_WRITE, &host);
  ck_assert_ok(vmm_discard(space, AT, page));
  ck_assert_int_eq(host[0], 1);
  ck_assert_uint_eq(vmm_test_get(space, AT), 0);
  vmm_test_set(space, AT, 9);
  ck_assert_int_eq(((volatile char *)host)[0], 1);
  vmm_unpin(pin);
  ck_assert_uint_eq(vmm_test_get(space, AT), 9);
  vmm_test_end(space);
}
END_TEST

START_TEST(pin_refuses_what_an_access_would)
{
  struct vmm_space *space = space_with(2, VMM_READ);
  struct vmm_iovec iov[4];
  struct vmm_pin *pin = NULL;
  size_t niov = 4;

  ck_assert_refused(space, vmm_pin(space, AT, page, VMM_WRITE, iov, &niov, &pin),
                    EFAULT);
  ck_assert_error(vmm_pin(space, AT + page, 2 * page, VMM_READ, iov, &niov,
                          &pin), EFAULT);
  ck_assert_error(vmm_pin(space, AT, 0, VMM_READ, iov, &niov, &pin), EINVAL);
  ck_assert_error(vmm_pin(space, AT, page, 8, iov, &niov, &pin), EINVAL);
  ck_assert_uint_eq(niov, 4);
  vmm_test_end(space); /* no pin is left */
}
END_TEST

/* Every second page keeps a frame of another chunk, so vectors can't be
 * shared. */
START_TEST(pin_with_too_few_vectors_is_e2big)
{
  struct vmm_space *space = space_with(4, RW);
  struct vmm_object *object = probe_object(4 * page, 0);
  vmm_addr_t at = AT + 8 * page;
  struct vmm_iovec iov[4];
  struct vmm_pin *pin = NULL;
  size_t niov = 1;
  int i;

  for (i = 0; i < 4; i++) /* the object's pages in backward order */
    ck_assert_ok(probe_map(space, at + (unsigned)i * page, page, object,
                           (3 - (unsigned)i) * page, RW));
  ck_assert_error(vmm_pin(space, at, 4 * page, VMM_WRITE, iov, &niov, &pin),
                  E2BIG);
  niov = 4;
  ck_assert_ok(vmm_pin(space, at, 4 * page, VMM_WRITE, iov, &niov, &pin));
  ck_assert_uint_eq(niov, 4);
  for (i = 0; i < 4; i++)
    *(char *)iov[i].base = (char)('a' + i);
  vmm_unpin(pin);
  for (i = 0; i < 4; i++)
    ck_assert_uint_eq(vmm_test_get(space, at + (unsigned)i * page), 'a' + i);
  vmm_test_end(space);
  vmm_object_release(object);
}
END_TEST

START_TEST(space_with_a_pin_is_busy)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_pin *pin;
  char *host;

  pin = pin_one(space, AT, page, VMM_READ, &host);
  ck_assert_refused(space, vmm_space_destroy(space), EBUSY);
  vmm_unpin(pin);
  vmm_unpin(NULL);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_pin(void)
{
  Suite *suite = suite_create("pin");
  TCase *tcase = tcase_create("pin");

  tcase_add_window_test(tcase,
                        host_read_into_a_pinned_range_succeeds_and_dirties);
  tcase_add_test(
      tcase, page_pinned_for_writing_reads_dirty_until_the_unpin_and_once_more);
  tcase_add_test(tcase, clearing_a_pinned_page_finds_it_dirty_again);
  tcase_add_test(tcase, pin_for_reading_sets_young_only);
  tcase_add_test(tcase, pin_of_an_untouched_page_sees_later_writes);
  tcase_add_test(tcase, pin_of_a_private_page_of_an_object_stays_coherent);
  tcase_add_test(tcase, pinned_frame_lives_on_after_an_unmap);
  tcase_add_test(tcase, pinned_frame_lives_on_after_a_discard);
  tcase_add_test(tcase, pin_refuses_what_an_access_would);
  tcase_add_test(tcase, pin_with_too_few_vectors_is_e2big);
  tcase_add_test(tcase, space_with_a_pin_is_busy);
  suite_add_tcase(suite, tcase);
  return suite;
}
