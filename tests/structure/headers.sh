# Every header compiles alone, and twice; the public ones as C++ as well.
. "$top_srcdir/tests/tap.sh"

warnings='-Wall -Wextra -Werror -fsyntax-only'

# compiles COMPILER LANGUAGE STANDARD INCLUDE
compiles() {
  printf '#include %s\n#include %s\nint main(void) { return 0; }\n' \
    "$4" "$4" >"$work/alone.$2"
  # shellcheck disable=SC2086 # options
  $1 "-std=$3" $warnings -I "$top_srcdir/include" -I "$top_srcdir" \
    "$work/alone.$2"
}

for path in "$top_srcdir"/include/vmm/*.h; do
  header="<vmm/${path##*/}>"
  test_case "$header is C" compiles "$CC" c c11 "$header"
  have "$header is C++" "$CXX" &&
    test_case "$header is C++" compiles "$CXX" cc c++11 "$header"
done

for path in "$top_srcdir"/lib/*.h "$top_srcdir"/emu/*.h; do
  [ -e "$path" ] || continue
  header="\"${path#"$top_srcdir"/}\""
  test_case "$header is C" compiles "$CC" c gnu11 "$header"
done

done_testing
