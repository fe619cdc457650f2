# For the test scripts, to be sourced first: TAP, a private folder, and what the
# environment of `make check` gives (top_srcdir, top_builddir, CC ...).
#
#   test_case NAME COMMAND...  passes if the command does; its output is shown
#                              where it failed
#   skip NAME REASON           in CI nothing may be skipped: there it is a failure
#   have NAME PROGRAM          whether PROGRAM is not empty; if it is, skips NAME
#   compile_with_libvmm COMPILER SOURCE PROGRAM OPTION...
#   done_testing               to end with

set -u
: "${top_srcdir:?run by make check}" "${top_builddir:?run by make check}"

tap_count=0
work=$(mktemp -d "${TMPDIR:-/tmp}/vmm-test.XXXXXX") || exit 99
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 99' HUP INT TERM

test_case() {
  tap_name=$1
  shift
  tap_count=$((tap_count + 1))
  if ("$@") >"$work/.output" 2>&1 </dev/null; then
    echo "ok $tap_count - $tap_name"
  else
    tap_status=$?
    sed 's/^/# /' "$work/.output"
    echo "not ok $tap_count - $tap_name (status $tap_status)"
  fi
}

skip() {
  tap_count=$((tap_count + 1))
  if [ "${CI:-}" = true ]; then
    echo "not ok $tap_count - $1: skipped, which CI may not: $2"
  else
    echo "ok $tap_count - $1 # SKIP $2"
  fi
}

have() {
  [ -n "$2" ] && return 0
  skip "$1" "a tool for it was not found by configure"
  return 1
}

compile_with_libvmm() {
  tap_compiler=$1 tap_source=$2 tap_program=$3
  shift 3
  # shellcheck disable=SC2086 # options
  $tap_compiler $CFLAGS "$@" -I "$top_srcdir/include" "$tap_source" \
    -o "$tap_program" -L "$top_builddir/.libs" \
    -Wl,-rpath,"$top_builddir/.libs" -lvmm -pthread
}

done_testing() {
  echo "1..$tap_count"
}
