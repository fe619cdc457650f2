# Hosts of larger pages: the suites that take a page as the host has it, where the
# library takes this host for one with pages of 16 and of 64 KiB.  Every mapping,
# protection and offset that it asks the host for is asserted to be at such a page.
. "$top_srcdir/tests/tap.sh"

suites="access access_race accessor checked extable guard guard_code guard_restore
  handler map object pin pte race refusal scenario_s2 scenario_s4 signal thread tlb
  tracker tracker_object tracker_race"

runs() {
  unset VMM_TAP
  VMM_PRETEND_PAGE_SHIFT=$1 CK_EXCLUDE_TAGS=true_page \
    "$top_builddir/tests/check-pages" "$2"
}

for shift in 14 16; do
  for suite in $suites; do
    if [ -x "$top_builddir/tests/check-pages" ]; then
      test_case "$suite, pages of 2^$shift" runs $shift "$suite"
    else
      skip "$suite, pages of 2^$shift" "no Check, or no static libraries"
    fi
  done
done

done_testing
