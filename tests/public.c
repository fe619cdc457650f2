/*
 * The suites that see the public interface alone, through the shared libraries.
 */
#include "suites.h"

#define SUITES(X) \
  X(access) \
  X(access_race) \
  X(accessor) \
  X(budget) \
  X(checked) \
  X(code) \
  X(debug) \
  X(device) \
  X(displace) \
  X(displace_random) \
  X(extable) \
  X(fork) \
  X(found) \
  X(guard) \
  X(guard_code) \
  X(guard_restore) \
  X(guard_stack) \
  X(guest_thread) \
  X(handler) \
  X(hart) \
  X(hart_race) \
  X(hart_tags) \
  X(hostile) \
  X(inject) \
  X(inject_calls) \
  X(limits) \
  X(map) \
  X(model) \
  X(object) \
  X(pager) \
  X(pager_evict) \
  X(pager_fork) \
  X(pager_random) \
  X(pager_wait) \
  X(pin) \
  X(policy) \
  X(process_fork) \
  X(process_fork_race) \
  X(pte) \
  X(race) \
  X(refusal) \
  X(riscv_code) \
  X(riscv_device) \
  X(riscv_disasm) \
  X(riscv_fault) \
  X(riscv_run) \
  X(riscv_units) \
  X(scale) \
  X(scenario_s1) \
  X(scenario_s2) \
  X(scenario_s4) \
  X(signal) \
  X(snapshot) \
  X(snapshot_crash) \
  X(snapshot_file) \
  X(snapshot_hostile) \
  X(snapshot_object) \
  X(snapshot_random) \
  X(snapshot_region) \
  X(space) \
  X(storm) \
  X(thread) \
  X(tlb) \
  X(tracker) \
  X(tracker_object) \
  X(tracker_race) \
  X(trampoline) \
  X(trampoline_native) \
  X(version) \
  X(view) \
  X(view_enter) \
  X(view_race) \
  X(watch) \
  X(wire)

#define DECLARE(name) Suite *vmm_suite_##name(void);
#define LIST(name) { #name, vmm_suite_##name },

SUITES(DECLARE)

const struct vmm_test_suite vmm_test_suites[] = { SUITES(LIST) { 0 } };
