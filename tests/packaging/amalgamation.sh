# vmm.c and vmm.h of `make amalgamation` are the whole library: they compile with
# both compilers without a warning, and programs run on them.  Static names of
# different files must differ for that, even those that a compiler would merge.
. "$top_srcdir/tests/tap.sh"

generate() {
  "$MAKE" -C "$top_builddir" amalgamation &&
    cp "$top_builddir/vmm.c" "$top_builddir/vmm.h" "$work"
}

compile() {
  # shellcheck disable=SC2086 # options
  $1 -std=gnu11 $2 -Wall -Wextra -Werror -c "$work/vmm.c" -o "$work/vmm.o"
}

# The example, as a program that carries the two files along.
run_example() {
  sed 's|<vmm/vmm.h>|"vmm.h"|' "$top_srcdir/examples/$2.c" >"$work/$2.c" &&
    $1 -O2 -pthread "$work/$2.c" "$work/vmm.c" -o "$work/$2" &&
    "$work/$2" | diff "$top_srcdir/examples/$2.txt" -
}

# Statics of each file alone, without the inline functions of headers, libc's too.
statics_differ() {
  mkdir "$work/alone"
  for path in "$top_srcdir"/lib/*.c; do
    object=$work/alone/$(basename "$path" .c).o
    $CC -std=gnu11 -O0 -I "$top_srcdir/include" -c "$path" -o "$object" ||
      return 1
    $NM "$object" | awk '$2 ~ /^[tbdr]$/ && $3 !~ /[.]|^vmmi?_|^__/ { print $3 }' |
      sort -u
  done | sort | uniq -d >"$work/twice"
  [ ! -s "$work/twice" ] || {
    echo "in more than one file:"
    cat "$work/twice"
    return 1
  }
}

test_case "make amalgamation gives vmm.c and vmm.h" generate
test_case "no static name is in two files" statics_differ
for compiler in "$CC" "$CLANG"; do
  name="${compiler:-clang}"
  have "$name compiles vmm.c without a warning" "$compiler" || continue
  for level in -O0 -O2; do
    test_case "$name $level compiles vmm.c without a warning" \
      compile "$compiler" $level
  done
  for example in first fastmem dirty; do
    test_case "$name: $example runs on vmm.c" run_example "$compiler" $example
  done
done

done_testing
