# Every image has its table, and registers it by itself: a program with collected
# sections, inline functions of C++, a static program, shared objects that come
# and go.
. "$top_srcdir/tests/tap.sh"
here=$top_srcdir/tests/extable

# runs_inline COMPILER OPTION...
runs_inline() {
  compiler=$1
  shift
  compile_with_libvmm "$compiler" "$here/inline.cc" "$work/inline" \
    -x c++ -Wall -Wextra -Werror "$here/inline_other.cc" "$@" && "$work/inline"
}

plugin() {
  compile_with_libvmm "$CC" "$here/plugin.c" "$work/plugin$1.so" -O2 -fPIC \
    -shared "-DWHICH=$1"
}

runs_plugins() {
  plugin 1 && plugin 2 &&
    compile_with_libvmm "$CC" "$here/loader.c" "$work/loader" -O2 "$@" -ldl &&
    "$work/loader" "$work/plugin1.so" "$work/plugin2.so"
}

# runs_by COMPILER NAME OPTION...
runs_by() {
  compiler=$1 name=$2
  shift 2
  compile_with_libvmm "$compiler" "$here/$name.c" "$work/$name" "$@" &&
    "$work/$name"
}

runs() {
  runs_by "$CC" "$@"
}

# A static program, of the archive.
runs_static() {
  # shellcheck disable=SC2086 # options
  $CC $CFLAGS -std=gnu11 -O2 -static "$@" -I "$top_srcdir/include" \
    "$here/caution.c" -o "$work/static" "$top_builddir/.libs/libvmm.a" \
    -pthread && "$work/static"
}

collect='-ffunction-sections -fdata-sections -Wl,--gc-sections'
for compiler in "$CXX" "${CLANG:+$CLANG++}"; do
  have "inline functions: ${compiler:-clang++}" "$compiler" || continue
  command -v "$compiler" >/dev/null || continue
  [ -z "$SANITIZERS" ] || [ "$compiler" = "$CXX" ] || continue
  for options in -O0 -O2 "-O2 $collect" '-O2 -DVMM_NO_ASM_GOTO'; do
    # shellcheck disable=SC2086 # options
    test_case "inline functions: $compiler $options" \
      runs_inline "$compiler" $options
  done
done
if [ -z "$SANITIZERS" ] && [ -n "$CLANG" ] && have "lld collects" "$LLD"; then
  # shellcheck disable=SC2086 # options
  test_case "sections collected by lld" runs_by "$CLANG" caution -std=gnu11 \
    -O2 -fuse-ld=lld $collect
fi
# shellcheck disable=SC2086 # options
test_case "sections collected" runs caution -std=gnu11 -O2 $collect
test_case "shared objects come and go" runs_plugins
test_case "shared objects beside a program that exports all" \
  runs_plugins -rdynamic
test_case "no accessor, no table" runs unused -O2
test_case "an accessor in a constructor" runs early -O2
if [ -z "$SANITIZERS" ] && [ -e "$top_builddir/.libs/libvmm.a" ]; then
  test_case "a static program" runs_static
  # shellcheck disable=SC2086 # options
  test_case "a static program, sections collected" runs_static $collect
fi

done_testing
