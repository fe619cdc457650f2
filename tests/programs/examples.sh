# Every example prints what it should, and leaves nothing undone.
. "$top_srcdir/tests/tap.sh"

prints() {
  "$top_builddir/examples/$1" >"$work/printed" &&
    diff "$top_srcdir/examples/$1.txt" "$work/printed"
}

for path in "$top_srcdir"/examples/*.c; do
  name=$(basename "$path" .c)
  test_case "examples/$name" prints "$name"
done

done_testing
