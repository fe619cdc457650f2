# tests/SCENARIOS is true: every scenario has a line, and each test that is named
# exists and carries the number.  Those that are planned are shown.
. "$top_srcdir/tests/tap.sh"
cd "$top_srcdir" || exit 99

list=tests/SCENARIOS

numbers() {
  for section in 0:15 1:13 2:16 3:12 4:18; do
    n=1
    while [ $n -le "${section#*:}" ]; do
      echo "S${section%:*}.$n"
      n=$((n + 1))
    done
  done
}

# A test's comment is what stands between the test before it and itself.
carries() {
  awk -v number="$1" -v name="$3" '
    function has(line) {
      return line ~ "(^|[^A-Z0-9])" number "([^0-9]|$)"
    }
    BEGIN { gsub(/\./, "[.]", number); head = 1 }
    has($0) { here = 1; if (head) first = 1 }
    /\*\// { head = 0 }
    index($0, "START_TEST(" name ")") { found = 1; if (here) carried = 1 }
    /^END_TEST/ { here = 0 }
    END {
      if (!found) print "no such test"
      else if (!carried && !first) print "the number is not with it"
      exit !found || !(carried || first)
    }' "tests/test_$2.c"
}

every_number_has_a_line() {
  numbers | while read -r number; do
    grep -q "^$number " $list || { echo "$number has no line"; exit 1; }
  done
}

test_case "every scenario has a line" every_number_has_a_line

while read -r number suite name; do
  case $number in
  '' | '#'*) ;;
  *)
    if [ "$suite" = planned ]; then
      grep "^$number " $list | grep -qv planned || echo "# planned: $number"
    else
      test_case "$number $name" carries "$number" "$suite" "$name"
    fi
    ;;
  esac
done <$list

done_testing
