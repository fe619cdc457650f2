#!/bin/sh
# Debian's busybox for riscv64 under vmm-run and under qemu-riscv64: each line of
# busybox-cases runs in two equal folders at the same path, and must give the same
# output, errors, exit status and files (names, kinds, modes, links, bytes).
#
# Run by `make check-online`.  By hand: top_srcdir=. top_builddir=build
# tests/online/busybox.sh [WORD] runs the cases that contain WORD.  BUSYBOX names
# a program that was fetched before.
: "${top_srcdir:=.}" "${top_builddir:=build}"
top_srcdir=$(cd "$top_srcdir" && pwd) top_builddir=$(cd "$top_builddir" && pwd)
. "$top_srcdir/tests/tap.sh"

here=$top_srcdir/tests/online
run=$top_builddir/vmm-run
if [ -x "$top_builddir/.libs/vmm-run" ]; then # not libtool's script: it sets
  run=$top_builddir/.libs/vmm-run              # variables that the guest would see
  export LD_LIBRARY_PATH="$top_builddir/.libs"
fi
qemu=${QEMU_RISCV64:-qemu-riscv64}
wanted=${1:-}
failed=0
passed=0

# What the cases work on: text, numbers, bytes of all values, folders, links.
make_fixture() {
  mkdir -p "$1/folder/deep"
  cd "$1" || return 1
  awk 'BEGIN { for (i = 1; i <= 500; i++)
    printf "%d line %d of some text, %d\n", i * 7919 % 1009, i, i % 10 }' >lines
  printf 'pear 3\napple 10\nfig 2\napple 9\nPear 1\nfig 2\n' >fruit
  printf 'a:b:c\n1:2:3\nx:y:z\n' >fields
  awk 'BEGIN { for (i = 0; i < 256; i++) printf "%c", i }' >bytes
  awk 'BEGIN { for (i = 0; i < 40000; i++) print i * i % 65537, i % 251 }' >big
  printf 'one\ttwo\n\tthree\n' >tabs
  printf 'no newline at the end' >cut
  sed 's/some/other/' lines >other
  printf 'first\n' >folder/one
  printf 'second\n' >folder/deep/two
  ln -s ../lines folder/link
  ln -s nowhere folder/dangling
  chmod 640 fruit
  find . -exec touch -h -d '2021-03-04 05:06:07 UTC' {} +
}

describe() {
  (cd "$1" && find . | LC_ALL=C sort | while read -r path; do
    if [ -L "$path" ]; then
      echo "$path -> $(readlink "$path")"
    elif [ -f "$path" ]; then
      echo "$(stat -c '%n %a %h %s' "$path") $(sha256sum <"$path")"
    else
      stat -c '%n %a %F' "$path"
    fi
  done)
}

# run_case NAME EMULATOR COMMAND: leaves NAME.out, .err, .status, .files, .tree
run_case() {
  rm -rf "$work/scratch"
  cp -a "$work/fixture" "$work/scratch"
  (cd "$work/scratch" && B="$2 $work/busybox" P="$work/busybox" TZ=UTC LC_ALL=C \
    timeout 60 sh -c "$3") >"$work/$1.out" 2>"$work/$1.err" </dev/null
  echo $? >"$work/$1.status"
  describe "$work/scratch" >"$work/$1.files"
}

same_case() {
  run_case vmm "$run" "$1"
  run_case qemu "$qemu" "$1"
  for part in out err status files; do
    cmp "$work/vmm.$part" "$work/qemu.$part" || {
      diff "$work/qemu.$part" "$work/vmm.$part" | head -n 20
      return 1
    }
  done
}

if [ -n "${BUSYBOX:-}" ]; then
  cp "$BUSYBOX" "$work/busybox"
else
  "$here/fetch-busybox" "$work/fetched" >"$work/fetch.log" 2>&1 ||
    { sed 's/^/# /' "$work/fetch.log"; }
  cp "$work/fetched/busybox" "$work/busybox"
fi
test_case "busybox-static for riscv64 is here" test -x "$work/busybox"
(make_fixture "$work/fixture")

while IFS= read -r line; do
  case $line in
  '#'* | '') continue ;;
  *"$wanted"*) ;;
  *) continue ;;
  esac
  # not test_case: its shell would hide the count
  tap_count=$((tap_count + 1))
  name=$(printf '%s' "$line" | sed 's/#/\\#/g')
  if same_case "$line" >"$work/.output" 2>&1; then
    passed=$((passed + 1))
    echo "ok $tap_count - $name"
  else
    failed=$((failed + 1))
    sed 's/^/# /' "$work/.output"
    echo "not ok $tap_count - $name"
  fi
done <"$here/busybox-cases"

done_testing
echo "# $passed passed, $failed failed"
[ -x "$work/busybox" ] && [ "$failed" = 0 ]
