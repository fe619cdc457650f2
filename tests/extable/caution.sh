# The fault label of an accessor sees every local as it was: at every level of
# optimisation, under LTO, of each compiler.  gcc 12.2 fails this at -O1 and above
# if the accessors have no label of their own (-DWITHOUT_THE_LABEL).
. "$top_srcdir/tests/tap.sh"

# keeps_locals COMPILER OPTION...
keeps_locals() {
  compiler=$1
  shift
  compile_with_libvmm "$compiler" "$top_srcdir/tests/extable/caution.c" \
    "$work/caution" -std=gnu11 "$@" && "$work/caution"
}

for options in -O0 -O1 -O2 -O3 -Os -Og '-O2 -fno-omit-frame-pointer' \
  '-O3 -funroll-loops' '-O2 -fPIE -pie' '-O2 -flto' '-O2 -DVMM_NO_ASM_GOTO'; do
  # shellcheck disable=SC2086 # options
  test_case "$CC $options" keeps_locals "$CC" $options
done
if [ -z "$SANITIZERS" ] && have "clang builds the accessors" "$CLANG"; then
  for options in -O0 -O1 -O2 -O3 -Os '-O2 -DVMM_NO_ASM_GOTO'; do
    # shellcheck disable=SC2086 # options
    test_case "$CLANG $options" keeps_locals "$CLANG" $options
  done
fi
if [ -z "$SANITIZERS" ] && [ -n "$CLANG" ] && have "clang -flto" "$LLD"; then
  test_case "$CLANG -O2 -flto" keeps_locals "$CLANG" -O2 -flto -fuse-ld=lld
fi

done_testing
