# Who may include whom.  In lib/ each file has a layer: the "Layer N" of its file
# comment, or, in a .c file without one, that of its own header, which it includes
# first.  It includes headers of that layer or lower.  emu/, examples/ and bench/
# include <vmm/...> and their own folder's headers only.
. "$top_srcdir/tests/tap.sh"
cd "$top_srcdir" || exit 99

layer_of() {
  awk '/^#include "/ && own == "" { own = $2; gsub(/"/, "", own) }
    match($0, /Layer [0-9]/) && !own { print substr($0, RSTART + 6, 1); found = 1
      exit }
    END { if (!found && own != "") print "as", own }' "$1"
}

# => the layer of lib/NAME, by its own header if it does not say
layer() {
  found=$(layer_of "lib/$1")
  case "$found" in
  'as '*) case "$1" in *.c) found=$(layer_of "lib/${found#as }") ;; esac ;;
  esac
  echo "$found"
}

local_includes() {
  sed -n 's/^# *include *"\([^"]*\)".*/\1/p' "$1"
}

library_file() {
  own=$(layer "$1")
  case "$own" in
  [0-7]) ;;
  '') case "$1" in *.c) return 0 ;; esac # it includes nothing of the library
    echo "$1: its file comment names no layer" && return 1 ;;
  *) echo "$1: no layer: $own" && return 1 ;;
  esac
  wrong=0
  for header in $(local_includes "lib/$1"); do
    its=$(layer "$header")
    if ! [ "$its" -le "$own" ]; then
      echo "$1 (layer $own) includes $header (layer $its)"
      wrong=1
    fi
  done
  if grep '^# *include *<vmm/emu\.h>' "lib/$1"; then
    echo "$1 includes the emulator's header" && wrong=1
  fi
  return $wrong
}

# A file above the library: its own folder's headers only.
upper_file() {
  wrong=0
  for header in $(local_includes "$1"); do
    case "$header" in
    */../* | ../* | /*) echo "$1 includes $header" && wrong=1 ;;
    esac
    if ! [ -e "$(dirname "$1")/$header" ]; then
      echo "$1 includes $header, which is not in its folder" && wrong=1
    fi
  done
  return $wrong
}

for path in lib/*.[ch]; do
  test_case "$path includes its own layer or lower" library_file "${path#lib/}"
done
for path in emu/*.[ch] mmio/*.[ch] examples/*.[ch] bench/*.[ch]; do
  [ -e "$path" ] || continue
  test_case "$path includes <vmm/...> and its own folder" upper_file "$path"
done

done_testing
