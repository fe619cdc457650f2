# A file is one concept: none has more than 600 lines.
. "$top_srcdir/tests/tap.sh"
cd "$top_srcdir" || exit 99

short() {
  lines=$(wc -l <"$1")
  echo "$lines lines"
  [ "$lines" -le 600 ]
}

for folder in include lib emu mmio examples bench tests; do
  for path in $(find "$folder" -name '*.[ch]' | sort); do
    test_case "$path is at most 600 lines long" short "$path"
  done
done

done_testing
