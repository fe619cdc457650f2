/*
 * The trampoline page of a space and the emulations in it: what the library has
 * to do for scenarios S0.3, S0.4, S0.5, S0.7, S0.8, S0.9, S0.10 and S0.12.
 */
#include "trampolines.h"

/* ---- who sees it ---- */

START_TEST(harts_with_windows_see_their_threads_page)
{
  struct vmm_space *space = space_with_trampoline();
  char *base;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &base);
  struct vmm_guest_thread *own = vmm_hart_thread(hart);
  vmm_addr_t pc;

  step(space, 1, 0, ck_assert_uint_eq(window_word(base, TRAMPOLINE), 0));
  pc = push_code(own, 0x1122334455667788);
  ck_assert_uint_eq(pc, TRAMPOLINE);
  step(space, 0, 0,
       ck_assert_uint_eq(window_word(base, pc), 0x1122334455667788));
  ck_assert_int_eq(memcmp(base + pc + 8, trap_bytes, sizeof(trap_bytes)), 0);
  ck_assert_uint_eq(probe_pte(space, TRAMPOLINE), 0);
  ck_assert_uint_eq(vmm_test_stats(space).frames, 0);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(shared_window_never_shows_it)
{
  struct vmm_space *space = space_with_trampoline();
  char *base;
  struct vmm_hart *hart = hart_on(space, 0, &base);
  vmm_addr_t pc = push_code(vmm_hart_thread(hart), 77);
  uint64_t word = 0;

  ck_assert_ptr_eq(base, vmm_space_base(space));
  check_denied(base, TRAMPOLINE, VMM_FAULT_NO_THREAD);
  /* and so the access is done again by a call */
  ck_assert_ok(vmm_load(space, pc, &word, sizeof(word)));
  ck_assert_uint_eq(word, 77);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

/* Calls of all kinds, by a thread whose hart has this flag. */
static void check_calls(struct vmm_space *space, uint32_t flags)
{
  struct vmm_hart *hart = hart_on(space, flags, NULL);
  vmm_addr_t pc = push_code(vmm_hart_thread(hart), 4711);
  struct vmm_iovec iov;
  size_t niov = 1;
  struct vmm_pin *pin;
  uint64_t word = 0;

  ck_assert_int_eq(vmm_fetch(space, pc, &word, sizeof(word)), 1);
  ck_assert_uint_eq(word, 4711);
  word = 0;
  ck_assert_ok(vmm_copyin(space, &word, pc, sizeof(word), NULL));
  ck_assert_uint_eq(word, 4711);
  ck_assert_ok(vmm_fixup(space, pc, VMM_EXEC));
  ck_assert_ok(vmm_pin(space, pc, sizeof(word), VMM_READ, &iov, &niov, &pin));
  ck_assert_uint_eq(*(uint64_t *)iov.base, 4711);
  vmm_unpin(pin);
  ck_assert_uint_eq(probe_pte(space, TRAMPOLINE), 0);
  end_hart(hart);
}

START_TEST(calls_find_the_page_of_the_callers_hart)
{
  struct vmm_space_options options = { .size = 1 << 26, .flags = VMM_CHECKED };
  struct vmm_space *space = space_with_trampoline();
  struct vmm_space *checked;

  check_calls(space, 0);
  check_calls(space, VMM_HART_WINDOWS);
  ck_assert_ok(vmm_space_create(&checked, &options));
  ck_assert_ok(vmm_trampoline_map(checked, TRAMPOLINE));
  check_calls(checked, 0);
  vmm_test_end(checked);
  vmm_test_end(space);
}
END_TEST

START_TEST(without_a_hart_or_thread_nobody_sees_it)
{
  struct vmm_space *space = space_with_trampoline();
  struct vmm_fault fault;
  struct vmm_hart *hart;
  uint64_t word;
  char *base;

  ck_assert_error(vmm_load(space, TRAMPOLINE, &word, 8), EFAULT);
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_NO_THREAD);
  hart = hart_on(space, VMM_HART_WINDOWS, &base);
  ck_assert_ok(vmm_hart_set_thread(hart, NULL));
  ck_assert_ptr_null(vmm_hart_thread(hart));
  check_denied(base, TRAMPOLINE, VMM_FAULT_NO_THREAD);
  ck_assert_error(vmm_fetch(space, TRAMPOLINE, &word, 8), EFAULT);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(s0_12_nobody_writes_it)
{
  struct vmm_space *space = space_with_trampoline();
  char *base;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &base);
  vmm_addr_t pc = push_code(vmm_hart_thread(hart), 5);
  struct vmm_fault fault;
  struct vmm_iovec iov;
  size_t niov = 1;
  struct vmm_pin *pin;
  uint64_t word = 6;

  ck_assert_uint_eq(window_word(base, pc), 5); /* it is shown */
  vmm_try_store_u64(base + pc, 6, denied);
  ck_abort_msg("it was written");
denied:
  ck_assert_ok(vmm_fault_last(&fault));
  ck_assert_uint_eq(fault.reason, VMM_FAULT_RIGHTS);
  ck_assert_uint_eq(fault.va, pc);
  ck_assert_error(vmm_store(space, pc, &word, 8), EFAULT);
  ck_assert_error(vmm_copyout(space, pc, &word, 8, NULL), EFAULT);
  ck_assert_error(vmm_debug_write(space, pc, &word, 8, NULL), EFAULT);
  ck_assert_error(vmm_cas(space, pc, &word, &word, 8), EFAULT);
  ck_assert_error(vmm_pin(space, pc, 8, VMM_WRITE, &iov, &niov, &pin), EFAULT);
  ck_assert_error(vmm_fixup(space, pc, VMM_WRITE), EFAULT);
  ck_assert_error(vmm_protect(space, TRAMPOLINE, vmm_space_page_size(space), RW),
                  EACCES);
  ck_assert_uint_eq(window_word(base, pc), 5);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

/* ---- emulations ---- */

START_TEST(s0_4_a_frames_trap_leads_to_its_continuation)
{
  struct vmm_guest_thread *thread = guest_thread();
  vmm_addr_t pc = push_code(thread, 1);

  ck_assert_int_eq(vmm_trampoline_depth(thread), 1);
  pc += 8;
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_uint_eq(pc, TARGET);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  /* once: what is shown of it then is an ordinary trap */
  pc = TRAMPOLINE + 8;
  ck_assert_error(vmm_trampoline_complete(thread, &pc), ENOENT);
  ck_assert_uint_eq(pc, TRAMPOLINE + 8);

  pc = push_code(thread, 2) + 8;
  ck_assert_int_eq(vmm_trampoline_rollback(thread, &pc), 1);
  ck_assert_uint_eq(pc, TARGET); /* the instruction has been run */
  ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  ck_assert_ok(vmm_guest_thread_destroy(thread));
}
END_TEST

START_TEST(s0_3_rolled_back_an_instruction_is_its_branch)
{
  struct vmm_guest_thread *thread = guest_thread();
  vmm_addr_t pc = push_code(thread, 1);

  ck_assert_int_eq(vmm_trampoline_rollback(thread, &pc), 1);
  ck_assert_uint_eq(pc, BRANCH);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  /* elsewhere in the page and outside the pc stays, and the frame goes */
  for (vmm_addr_t at = 1; at < 0x100; at++) {
    vmm_addr_t frame = push_code(thread, 2);

    pc = frame + at;
    if (at == 8)
      continue;
    ck_assert_int_eq(vmm_trampoline_rollback(thread, &pc), 0);
    ck_assert_uint_eq(pc, frame + at);
    ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  }
  ck_assert_ok(vmm_guest_thread_destroy(thread));
}
END_TEST

START_TEST(s0_5_emulations_nest)
{
  struct vmm_guest_thread *thread = guest_thread();
  vmm_addr_t outer = push_code(thread, 1);
  vmm_addr_t inner = push_nested(thread, 2, outer), pc;

  ck_assert_uint_ne(inner, outer);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 2);
  ck_assert_uint_eq(vmm_trampoline_origin(thread, inner), BRANCH);
  ck_assert_uint_eq(vmm_trampoline_origin(thread, inner + 8), TARGET);
  pc = inner + 8;
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_uint_eq(pc, outer + 8); /* the outer one's trap comes next */
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_uint_eq(pc, TARGET);

  outer = push_code(thread, 1);
  pc = push_nested(thread, 2, outer);
  ck_assert_int_eq(vmm_trampoline_rollback(thread, &pc), 1);
  ck_assert_uint_eq(pc, BRANCH); /* both begin again */
  ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  ck_assert_ok(vmm_guest_thread_destroy(thread));
}
END_TEST

/* The handler's emulation comes between: the first one was rolled back
 * before. */
START_TEST(s0_5_a_handlers_emulation_disturbs_none)
{
  struct vmm_guest_thread *thread = guest_thread();
  vmm_addr_t saved = push_code(thread, 1), pc;

  ck_assert_int_eq(vmm_trampoline_rollback(thread, &saved), 1);
  pc = push_code(thread, 3) + 8;
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_uint_eq(saved, BRANCH); /* sigreturn: the branch runs again */
  pc = push_code(thread, 1) + 8;
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_uint_eq(pc, TARGET);
  ck_assert_ok(vmm_guest_thread_destroy(thread));
}
END_TEST

START_TEST(s0_7_a_full_page_is_told_and_dead_frames_are_taken_back)
{
  struct vmm_guest_thread *thread = guest_thread();
  vmm_addr_t pc = push_code(thread, 1), frame[VMM_TRAMPOLINE_FRAMES];
  struct vmm_emulation emulation = emulation_of(&(uint64_t){ 9 });

  frame[0] = pc;
  for (int i = 1; i < VMM_TRAMPOLINE_FRAMES; i++)
    frame[i] = push_nested(thread, 1, frame[i - 1]);
  emulation.pc = frame[VMM_TRAMPOLINE_FRAMES - 1];
  pc = 123;
  for (int i = 0; i < 3; i++) {
    ck_assert_error(vmm_trampoline_push(thread, &emulation, &pc), ENOSPC);
    ck_assert_uint_eq(pc, 123);
    ck_assert_int_eq(vmm_trampoline_depth(thread), VMM_TRAMPOLINE_FRAMES);
  }
  ck_assert_uint_eq(vmm_trampoline_origin(thread, emulation.pc), BRANCH);
  /* a longjmp to where the tenth was: those above are dead */
  push_nested(thread, 1, frame[9]);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 11);
  /* out of the page: all are */
  ck_assert_uint_eq(push_code(thread, 1), frame[0]);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 1);
  ck_assert_ok(vmm_guest_thread_destroy(thread));
}
END_TEST

START_TEST(s0_9_another_trap_is_the_guests_own)
{
  struct vmm_guest_thread *thread = guest_thread(), *other = guest_thread();
  vmm_addr_t frame = push_code(thread, 1), inner = push_nested(thread, 2, frame);
  vmm_addr_t traps[] = { frame, inner, frame + 4, frame + 9, inner + 56,
                         BRANCH, TARGET, TRAMPOLINE + 0xffc, 0, UINT64_MAX };
  vmm_addr_t pc;

  for (size_t i = 0; i < sizeof(traps) / sizeof(traps[0]); i++) {
    pc = traps[i];
    ck_assert_error(vmm_trampoline_complete(thread, &pc), ENOENT);
    ck_assert_uint_eq(pc, traps[i]);
    ck_assert_int_eq(vmm_trampoline_depth(thread), 2);
  }
  pc = frame + 8; /* not of this thread's */
  ck_assert_error(vmm_trampoline_complete(other, &pc), ENOENT);
  /* of the outer frame: the inner one was left */
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_uint_eq(pc, TARGET);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  ck_assert_ok(vmm_guest_thread_destroy(thread));
  ck_assert_ok(vmm_guest_thread_destroy(other));
}
END_TEST

START_TEST(s0_10_a_frame_that_cant_be_written_is_no_frame)
{
  struct vmm_guest_thread *thread = guest_thread();
  struct vmm_emulation emulation = emulation_of(&(uint64_t){ 9 });
  vmm_addr_t pc = 123;

  for (int round = 0; round < 2; round++) { /* fresh, then used before */
    vmm_test_fail(VMM_TEST_FRAME, 1, 1);
    ck_assert_error(vmm_trampoline_push(thread, &emulation, &pc), EIO);
    ck_assert_uint_eq(pc, 123);
    ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
    pc = TRAMPOLINE + 8;
    ck_assert_error(vmm_trampoline_complete(thread, &pc), ENOENT);
    ck_assert_ok(vmm_trampoline_push(thread, &emulation, &pc));
    pc += 8;
    ck_assert_ok(vmm_trampoline_complete(thread, &pc));
    pc = 123;
  }
  /* nested: the outer one stays */
  pc = push_code(thread, 1);
  emulation.pc = pc;
  vmm_test_fail(VMM_TEST_FRAME, 1, 1);
  ck_assert_error(vmm_trampoline_push(thread, &emulation, &pc), EIO);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 1);
  pc += 8;
  ck_assert_ok(vmm_trampoline_complete(thread, &pc));
  ck_assert_ok(vmm_guest_thread_destroy(thread));
}
END_TEST

START_TEST(s0_8_a_fork_owns_no_frame_and_shares_no_page)
{
  struct vmm_space *space = space_with_trampoline(), *child;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, NULL);
  struct vmm_guest_thread *own = vmm_hart_thread(hart);
  struct vmm_guest_thread *theirs = guest_thread();
  vmm_addr_t pc = push_code(own, 1);
  char *base;

  ck_assert_ok(vmm_space_fork(&child, space));
  ck_assert_ok(vmm_hart_set_thread(hart, theirs));
  ck_assert_ok(vmm_hart_set_space(hart, child, &base));
  ck_assert_int_eq(vmm_trampoline_depth(theirs), 0);
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 0);
  push_code(theirs, 2);
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 2);
  ck_assert_ok(vmm_hart_set_thread(hart, own));
  ck_assert_ok(vmm_hart_set_space(hart, space, &base));
  ck_assert_uint_eq(window_word(base, pc), 1);
  pc += 8;
  ck_assert_ok(vmm_trampoline_complete(own, &pc));
  end_hart(hart);
  ck_assert_ok(vmm_guest_thread_destroy(theirs));
  vmm_test_end(child);
  vmm_test_end(space);
}
END_TEST

/* ---- mapping ---- */

START_TEST(a_space_has_one_page)
{
  struct vmm_space *space = space_with_trampoline();
  uint64_t page = vmm_space_page_size(space);
  struct vmm_region_info info;
  vmm_addr_t to = 0x80000;

  ck_assert_error(vmm_trampoline_map(space, 0x80000), EEXIST);
  ck_assert_error(vmm_trampoline_map(space, TRAMPOLINE), EEXIST);
  ck_assert_error(vmm_move(space, TRAMPOLINE, page, &to, 0), ENOTSUP);
  ck_assert_error(vmm_wire(space, TRAMPOLINE, page), ENOTSUP);
  ck_assert_error(vmm_protect(space, TRAMPOLINE, page, 0), EACCES);
  ck_assert_ok(probe_region(space, TRAMPOLINE, &info));
  ck_assert_uint_eq(info.nbytes, page);
  ck_assert_uint_eq(info.rights, RX);
  ck_assert_uint_eq(info.flags & VMM_TRAMPOLINE, VMM_TRAMPOLINE);
  ck_assert_ok(vmm_unmap(space, TRAMPOLINE, page));
  ck_assert_ok(vmm_map_anon(space, 0x80000, page, RW));
  ck_assert_error(vmm_trampoline_map(space, 0x80000), EEXIST);
  ck_assert_error(vmm_trampoline_map(space, 0x80001), EINVAL);
  ck_assert_error(vmm_trampoline_map(space, 1 << 26), EINVAL);
  ck_assert_error(vmm_trampoline_map(NULL, 0), EINVAL);
  ck_assert_error(vmm_map_anon(space, 0, page, RW | VMM_TRAMPOLINE), EINVAL);
  ck_assert_ok(vmm_trampoline_map(space, TRAMPOLINE));
  vmm_test_end(space);
}
END_TEST

START_TEST(what_replaces_the_page_is_seen)
{
  struct vmm_space *space = space_with_trampoline();
  uint64_t page = vmm_space_page_size(space);
  char *base;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &base);
  struct vmm_guest_thread *other = guest_thread();

  push_code(vmm_hart_thread(hart), 1);
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 1);
  ck_assert_ok(vmm_map_anon(space, TRAMPOLINE, page, RW | VMM_REPLACE));
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 0);
  base[TRAMPOLINE] = 7;
  ck_assert_ok(vmm_hart_set_thread(hart, other));
  ck_assert_ok(vmm_check(space, 0, 0));
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 7);
  ck_assert_ok(vmm_unmap(space, TRAMPOLINE, page));
  ck_assert_ok(vmm_trampoline_map(space, TRAMPOLINE + 4 * page));
  push_code(other, 2);
  ck_assert_uint_eq(window_word(base, TRAMPOLINE + 4 * page), 2);
  end_hart(hart);
  ck_assert_ok(vmm_guest_thread_destroy(other));
  vmm_test_end(space);
}
END_TEST

START_TEST(snapshots_have_the_page_where_it_was)
{
  struct vmm_space *space = space_with_trampoline();
  uint64_t page = vmm_space_page_size(space);
  char *base;
  struct vmm_hart *hart = hart_on(space, VMM_HART_WINDOWS, &base);
  struct vmm_snapshot *snapshot;

  push_code(vmm_hart_thread(hart), 1);
  ck_assert_ok(vmm_snapshot_take(&snapshot, space));
  ck_assert_ok(vmm_unmap(space, TRAMPOLINE, page));
  ck_assert_ok(vmm_trampoline_map(space, 0x80000));
  ck_assert_uint_eq(window_word(base, 0x80000), 1);
  ck_assert_ok(vmm_snapshot_restore(space, snapshot));
  ck_assert_uint_eq(window_word(base, TRAMPOLINE), 1);
  check_denied(base, 0x80000, VMM_FAULT_NO_REGION);
  ck_assert_error(vmm_trampoline_map(space, 0x80000), EEXIST);
  ck_assert_ok(vmm_check(space, 0, 0));
  vmm_snapshot_drop(snapshot);
  end_hart(hart);
  vmm_test_end(space);
}
END_TEST

START_TEST(wrong_emulations_are_refused)
{
  struct vmm_guest_thread *thread = guest_thread();
  struct vmm_emulation good = emulation_of(&(uint64_t){ 9 }), bad[7];
  vmm_addr_t pc = 123;

  for (int i = 0; i < 7; i++)
    bad[i] = good;
  bad[0].code = NULL;
  bad[1].code_nbytes = 0;
  bad[2].trap = NULL;
  bad[3].trap_nbytes = 0;
  bad[4].code_nbytes = VMM_TRAMPOLINE_NBYTES - 3;
  bad[5].page++;
  bad[6].reserved[1] = 1;
  for (int i = 0; i < 7; i++)
    ck_assert_error(vmm_trampoline_push(thread, &bad[i], &pc), EINVAL);
  bad[4].code_nbytes = UINT32_MAX;
  ck_assert_error(vmm_trampoline_push(thread, &bad[4], &pc), EINVAL);
  ck_assert_error(vmm_trampoline_push(thread, &good, NULL), EINVAL);
  ck_assert_error(vmm_trampoline_push(thread, NULL, &pc), EINVAL);
  ck_assert_error(vmm_trampoline_push(NULL, &good, &pc), EINVAL);
  ck_assert_error(vmm_trampoline_complete(thread, NULL), EINVAL);
  ck_assert_error(vmm_trampoline_rollback(thread, NULL), EINVAL);
  ck_assert_error(vmm_trampoline_depth(NULL), EINVAL);
  ck_assert_uint_eq(vmm_trampoline_origin(NULL, 5), 5);
  ck_assert_int_eq(vmm_trampoline_depth(thread), 0);
  ck_assert_uint_eq(pc, 123);
  ck_assert_ok(vmm_guest_thread_destroy(thread));
  ck_assert_error(vmm_trampoline_depth(thread), EINVAL);
}
END_TEST

Suite *vmm_suite_trampoline(void)
{
  Suite *suite = suite_create("trampoline");
  TCase *page = tcase_create("page");
  TCase *stack = tcase_create("emulations");

  tcase_add_test(page, harts_with_windows_see_their_threads_page);
  tcase_add_test(page, shared_window_never_shows_it);
  tcase_add_test(page, calls_find_the_page_of_the_callers_hart);
  tcase_add_test(page, without_a_hart_or_thread_nobody_sees_it);
  tcase_add_test(page, s0_12_nobody_writes_it);
  tcase_add_test(page, a_space_has_one_page);
  tcase_add_test(page, what_replaces_the_page_is_seen);
  tcase_add_test(page, snapshots_have_the_page_where_it_was);
  suite_add_tcase(suite, page);

  tcase_add_test(stack, s0_4_a_frames_trap_leads_to_its_continuation);
  tcase_add_test(stack, s0_3_rolled_back_an_instruction_is_its_branch);
  tcase_add_test(stack, s0_5_emulations_nest);
  tcase_add_test(stack, s0_5_a_handlers_emulation_disturbs_none);
  tcase_add_test(stack, s0_7_a_full_page_is_told_and_dead_frames_are_taken_back);
  tcase_add_test(stack, s0_8_a_fork_owns_no_frame_and_shares_no_page);
  tcase_add_test(stack, s0_9_another_trap_is_the_guests_own);
  tcase_add_test(stack, s0_10_a_frame_that_cant_be_written_is_no_frame);
  tcase_add_test(stack, wrong_emulations_are_refused);
  suite_add_tcase(suite, stack);
  return suite;
}
