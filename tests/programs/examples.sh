# Every example prints what it should, and leaves nothing undone.
. "$top_srcdir/tests/tap.sh"

prints() {
  "$top_builddir/examples/$1" >"$work/printed" &&
    diff "$top_srcdir/examples/$1.txt" "$work/printed"
}

for path in "$top_srcdir"/examples/*.c; do
  name=$(basename "$path" .c)
  if [ "$name" = mmio ] && ! [ -e "$top_builddir/libvmm-mmio.la" ]; then
    skip "examples/mmio" "no libvmm-mmio"
    continue
  fi
  test_case "examples/$name" prints "$name"
done

done_testing
