# Spaces without windows: the suites that make theirs by vmm_test_space(), on
# checked ones.  Results, bits, counters and faults are what the tests say of
# the others; those that need a window are left out (tests/windows.h).
. "$top_srcdir/tests/tap.sh"

suites="access checked code device fork map object pager pager_evict
  pager_fork pin policy process_fork pte refusal riscv_code riscv_device
  riscv_fault riscv_run riscv_units scenario_s2 scenario_s4 snapshot
  snapshot_file snapshot_object snapshot_region tracker tracker_object watch"

runs() {
  unset VMM_TAP
  VMM_TEST_CHECKED=1 "$top_builddir/tests/check-vmm" "$1"
}

for suite in $suites; do
  if [ -x "$top_builddir/tests/check-vmm" ]; then
    test_case "$suite, without a window" runs "$suite"
  else
    skip "$suite, without a window" "no Check"
  fi
done

done_testing
