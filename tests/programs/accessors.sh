# The accessors with a fault label are right however a program is built: at every
# level of optimisation, under LTO, with sections collected, static, and without
# asm goto.  Each program has 1000 repaired faults at most, and one that takes its
# label.
. "$top_srcdir/tests/tap.sh"

# builds_and_runs COMPILER OPTION...
builds_and_runs() {
  compiler=$1
  shift
  compile_with_libvmm "$compiler" "$top_srcdir/examples/fastmem.c" \
    "$work/fastmem" "$@" &&
    "$work/fastmem" >"$work/printed" &&
    diff "$top_srcdir/examples/fastmem.out" "$work/printed"
}

for compiler in "$CC" "$CLANG"; do
  name=${compiler:-clang}
  have "$name builds the accessors" "$compiler" || continue
  [ -z "$SANITIZERS" ] || [ "$compiler" = "$CC" ] || continue
  for options in -O0 -O1 -O2 -O3 -Os \
    '-O2 -ffunction-sections -fdata-sections -Wl,--gc-sections' \
    '-O2 -fPIE -pie' '-O2 -fno-pie -no-pie' '-O2 -DVMM_NO_ASM_GOTO'; do
    # shellcheck disable=SC2086 # options
    test_case "$name $options" builds_and_runs "$compiler" $options
  done
done
test_case "$CC -O2 -flto" builds_and_runs "$CC" -O2 -flto

done_testing
