/*
 * Trackers of an object: a write by any mapping in any space, by a pin or a
 * copy counts (S4.15), also where the mapping has gone before the look.
 */
#include "track.h"

#define MIRROR (2 * AT)

/* Writes the page of the object, which has a mapping at va. */
typedef void write_page(struct vmm_space *space, vmm_addr_t va);

static void write_by_window(struct vmm_space *space, vmm_addr_t va)
{
  vmm_test_set(space, va, 1);
}

static void write_by_copyout(struct vmm_space *space, vmm_addr_t va)
{
  ck_assert_ok(vmm_copyout(space, va, "2", 1, NULL));
}

static void write_by_pin(struct vmm_space *space, vmm_addr_t va)
{
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t one = 1;

  ck_assert_ok(vmm_pin(space, va, 1, VMM_WRITE, &iov, &one, &pin));
  *(char *)iov.base = 3;
  vmm_unpin(pin);
}

static write_page *const ways[] = { write_by_window, write_by_copyout,
                                    write_by_pin };

/* An object of 8 pages, of which 0 to 5 are at AT and 2 to 7 at MIRROR. */
static struct vmm_object *mirrored(struct vmm_space *a, struct vmm_space *b,
                                   uint32_t flags)
{
  struct vmm_object *object = probe_object(8 * page, flags);

  ck_assert_ok(vmm_unmap(a, AT, page));
  ck_assert_ok(probe_map(a, AT, 6 * page, object, 0, RW));
  ck_assert_ok(probe_map(b, MIRROR, 6 * page, object, 2 * page, RW));
  return object;
}

/* S4.15: _i % 3 the way, _i / 3 % 2 the mirror's space, _i / 6 the memory. */
START_TEST(write_by_any_way_is_reported_at_its_offset)
{
  struct vmm_space *a = space_with(1, RW);
  struct vmm_space *b = _i / 3 % 2 ? space_with(1, RW) : a;
  struct vmm_object *object = mirrored(a, b, _i / 6 ? VMM_OBJECT_EXPORT : 0);
  write_page *write = ways[_i % 3];
  struct vmm_tracker *tracker;

  write(a, AT + page);
  write(b, MIRROR);
  tracker = track_object(object, 8);
  ck_assert_cleared(tracker, 0, "........");
  write(a, AT + page);
  write(b, MIRROR + page);
  write(b, MIRROR + 5 * page);
  ck_assert_ok(vmm_check(a, 0, 0));
  ck_assert_ok(vmm_check(b, 0, 0));
  ck_assert_pages(tracker, 0, ".#.#...#");
  ck_assert_cleared(tracker, page, "#.#.");
  ck_assert_cleared(tracker, 0, ".......#");
  ck_assert_cleared(tracker, 0, "........");
  write(a, AT + 3 * page);
  ck_assert_cleared(tracker, 0, "...#....");
  write(b, MIRROR + page);
  ck_assert_cleared(tracker, 0, "...#....");
  ck_assert_ok(vmm_check(a, 0, 0));
  vmm_tracker_destroy(tracker);
  vmm_object_release(object);
  vmm_test_end(a);
  if (b != a)
    vmm_test_end(b);
}
END_TEST

START_TEST(write_to_a_private_mapping_is_not_the_objects)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = mirrored(space, space, 0);
  struct vmm_tracker *tracker = track_object(object, 8);

  ck_assert_ok(probe_map(space, 2 * MIRROR, 8 * page, object, 0,
                         RW | VMM_PRIVATE));
  vmm_test_set(space, 2 * MIRROR, 1);
  ck_assert_pages(tracker, 0, "........");
  vmm_test_set(space, AT, 1);
  ck_assert_cleared(tracker, 0, "#.......");
  vmm_tracker_destroy(tracker);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

START_TEST(tracker_outlives_mappings_and_spaces)
{
  struct vmm_space *a = space_with(1, RW), *b = space_with(1, RW);
  struct vmm_object *object = probe_object(8 * page, 0);
  struct vmm_tracker *tracker = track_object(object, 8);

  ck_assert_ok(probe_map(a, MIRROR, 8 * page, object, 0, RW));
  ck_assert_ok(probe_map(b, MIRROR, 8 * page, object, 0, RW));
  vmm_test_set(a, MIRROR + page, 1);
  vmm_test_set(a, MIRROR + 2 * page, 1);
  vmm_test_set(b, MIRROR + 4 * page, 1);
  ck_assert_ok(vmm_unmap(a, MIRROR, 2 * page));
  ck_assert_ok(vmm_map_anon(a, MIRROR + 2 * page, page, RW | VMM_REPLACE));
  ck_assert_ok(vmm_check(a, 0, 0));
  vmm_test_end(b);
  ck_assert_pages(tracker, 0, ".##.#...");
  ck_assert_cleared(tracker, 2 * page, "#.#...");
  ck_assert_cleared(tracker, 0, ".#......");
  ck_assert_cleared(tracker, 0, "........");
  vmm_test_set(a, MIRROR + 5 * page, 1);
  ck_assert_ok(vmm_discard(a, MIRROR + 3 * page, 5 * page));
  ck_assert_cleared(tracker, 0, ".....#..");
  vmm_test_set(a, MIRROR + 5 * page, 1);
  vmm_test_end(a);
  ck_assert_cleared(tracker, 0, ".....#..");
  vmm_object_release(object); /* the tracker holds it */
  ck_assert_cleared(tracker, 0, "........");
  vmm_tracker_destroy(tracker);
}
END_TEST

START_TEST(move_keeps_what_an_objects_tracker_knows)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = mirrored(space, space, 0);
  struct vmm_tracker *tracker = track_object(object, 8);
  vmm_addr_t to = 2 * MIRROR;

  vmm_test_set(space, AT + page, 1);
  vmm_test_set(space, AT + 5 * page, 1);
  ck_assert_ok(vmm_move(space, AT, 6 * page, &to, 0));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_cleared(tracker, 0, ".#...#..");
  vmm_test_set(space, to, 1);
  ck_assert_cleared(tracker, 0, "#.......");
  vmm_tracker_destroy(tracker);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

/* S2.15, by an object's tracker */
START_TEST(pinned_page_is_reported_though_it_is_mapped_no_more)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = mirrored(space, space, 0);
  struct vmm_tracker *tracker = track_object(object, 8);
  struct vmm_iovec iov;
  struct vmm_pin *pin;
  size_t one = 1;

  ck_assert_ok(vmm_pin(space, AT + page, page, VMM_WRITE, &iov, &one, &pin));
  ck_assert_cleared(tracker, 0, ".#......");
  ck_assert_cleared(tracker, 0, ".#......");
  ck_assert_ok(vmm_unmap(space, AT, 6 * page));
  ck_assert_cleared(tracker, 0, ".#......");
  ck_assert_cleared(tracker, 0, ".#......");
  vmm_unpin(pin);
  ck_assert_cleared(tracker, 0, ".#......");
  ck_assert_cleared(tracker, 0, "........");

  ck_assert_ok(vmm_pin(space, MIRROR + page, page, VMM_WRITE, &iov, &one,
                       &pin));
  ck_assert_cleared(tracker, 0, "...#....");
  vmm_unpin(pin);
  ck_assert_cleared(tracker, 0, "...#....");
  ck_assert_cleared(tracker, 0, "........");
  vmm_tracker_destroy(tracker);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

START_TEST(mapping_finds_no_slot_where_eight_trackers_are)
{
  struct vmm_object *object;
  struct vmm_space *space = space_with(1, RW);
  struct vmm_tracker *of_space[8], *of_object, *ninth;
  int i;

  object = probe_object(8 * page, 0);
  of_object = track_object(object, 8);
  for (i = 0; i < 8; i++)
    of_space[i] = track(space, AT, 1, VMM_TRACK_WRITE);
  ck_assert_refused(space, probe_map(space, MIRROR, page, object, 0, RW),
                    ENOSPC);
  ck_assert_ok(probe_map(space, MIRROR, page, object, 0, RW | VMM_PRIVATE));
  vmm_tracker_destroy(of_object);
  ck_assert_ok(probe_map(space, 2 * MIRROR, page, object, 0, RW));
  ck_assert_error(vmm_tracker_create_object(&ninth, object, 0, page, NULL),
                  ENOSPC);
  vmm_tracker_destroy(of_space[2]);
  of_object = track_object(object, 8);
  ck_assert_ok(vmm_check(space, 0, 0));
  vmm_test_set(space, 2 * MIRROR, 1);
  vmm_test_set(space, AT, 1);
  ck_assert_cleared(of_object, 0, "#.......");
  ck_assert_cleared(of_space[7], AT, "#");
  vmm_tracker_destroy(of_object);
  of_space[2] = track(space, AT, 1, VMM_TRACK_WRITE); /* the slot is free */
  vmm_tracker_destroy(of_space[2]);
  of_object = track_object(object, 8);
  ck_assert_ok(vmm_unmap(space, 2 * MIRROR, page));
  of_space[2] = track(space, AT, 1, VMM_TRACK_WRITE); /* and again */
  vmm_tracker_destroy(of_object);
  for (i = 0; i < 8; i++)
    vmm_tracker_destroy(of_space[i]);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

START_TEST(trackers_of_a_space_and_of_its_object_do_not_disturb_each_other)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = mirrored(space, space, 0);
  struct vmm_tracker *here = track(space, AT, 6, VMM_TRACK_WRITE);
  struct vmm_tracker *all = track_object(object, 8);
  struct vmm_tracker *again = track_object(object, 8);

  vmm_test_set(space, AT + 3 * page, 1);
  vmm_test_set(space, MIRROR, 1); /* of the object, not of the range at AT */
  ck_assert_cleared(here, AT, "...#..");
  vmm_test_set(space, AT + 3 * page, 2);
  ck_assert_cleared(all, 0, "..##....");
  vmm_test_set(space, AT + 4 * page, 2);
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_cleared(here, AT, "...##.");
  ck_assert_cleared(all, 0, "....#...");
  ck_assert_cleared(again, 0, "..###...");
  vmm_tracker_destroy(here);
  vmm_tracker_destroy(all);
  vmm_tracker_destroy(again);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

START_TEST(guest_page_of_many_host_pages_loses_none_to_a_partial_clear)
{
  struct vmm_space_options options = { 0 };
  struct vmm_object *object;
  struct vmm_tracker *tracker;
  struct vmm_space *space;
  uint64_t large;

  vmm_test_end(space_with(1, RW)); /* page is the host's */
  large = 4 * page;
  options.size = 1 << 28;
  options.page_size = (uint32_t)large;
  ck_assert_ok(vmm_space_create(&space, &options));
  object = probe_object(2 * large, 0);
  ck_assert_ok(probe_map(space, AT, 2 * large, object, 0, RW));
  ck_assert_ok(vmm_tracker_create_object(&tracker, object, page, 6 * page,
                                         NULL));
  vmm_test_set(space, AT, 1);
  ck_assert_pages(tracker, page, "###...");
  ck_assert_cleared(tracker, 2 * page, "#");
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_cleared(tracker, page, "#.#...");
  ck_assert_cleared(tracker, page, "......");
  ck_assert_faults(space, 0, 1, vmm_test_set(space, AT + 3 * page, 1));
  ck_assert_cleared(tracker, page, "###...");
  vmm_test_set(space, AT + large, 1);
  ck_assert_cleared(tracker, page, "...###");
  vmm_tracker_destroy(tracker);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

START_TEST(bad_ranges_of_an_object_are_refused)
{
  struct vmm_space *space = space_with(1, RW);
  struct vmm_object *object = probe_object(4 * page, 0);
  struct vmm_tracker *tracker;

  ck_assert_error(vmm_tracker_create_object(&tracker, NULL, 0, page, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_create_object(NULL, object, 0, page, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_create_object(&tracker, object, 1, page, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_create_object(&tracker, object, 0, 0, NULL),
                  EINVAL);
  ck_assert_error(vmm_tracker_create_object(&tracker, object, page, 4 * page,
                                            NULL), EINVAL);
  ck_assert_error(vmm_tracker_create_object(&tracker, object, 0 - page,
                                            2 * page, NULL), EINVAL);
  vmm_object_release(object);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_tracker_object(void)
{
  Suite *suite = suite_create("tracker_object");
  TCase *tcase = tcase_create("tracker_object");

  tcase_add_loop_test(tcase, write_by_any_way_is_reported_at_its_offset, 0, 12);
  tcase_add_test(tcase, write_to_a_private_mapping_is_not_the_objects);
  tcase_add_test(tcase, tracker_outlives_mappings_and_spaces);
  tcase_add_test(tcase, move_keeps_what_an_objects_tracker_knows);
  tcase_add_test(tcase, pinned_page_is_reported_though_it_is_mapped_no_more);
  tcase_add_test(tcase, mapping_finds_no_slot_where_eight_trackers_are);
  tcase_add_test(
      tcase, trackers_of_a_space_and_of_its_object_do_not_disturb_each_other);
  tcase_add_test(tcase,
                 guest_page_of_many_host_pages_loses_none_to_a_partial_clear);
  tcase_add_test(tcase, bad_ranges_of_an_object_are_refused);
  suite_add_tcase(suite, tcase);
  return suite;
}
