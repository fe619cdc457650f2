# Every source file is in its folder's Makefile.inc: else a distribution lacks it.
. "$top_srcdir/tests/tap.sh"
cd "$top_srcdir" || exit 99

listed() {
  for path in "$1"/*.[chS] "$1"/*.def; do
    [ -e "$path" ] || continue
    grep -qF "$path" "$1/Makefile.inc" || echo "$path"
  done >"$work/unlisted"
  cat "$work/unlisted"
  [ ! -s "$work/unlisted" ]
}

for folder in lib emu mmio examples bench tests; do
  test_case "$folder/Makefile.inc lists every file" listed $folder
done

done_testing
