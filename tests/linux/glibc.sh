# Programs of Debian's C library for riscv64, static and dynamic, under vmm-run and
# qemu-riscv64: the same output and status.
. "$top_srcdir/tests/tap.sh"

run=$top_builddir/vmm-run
source=$top_srcdir/tests/linux/glibc_guest.c
library=/usr/riscv64-linux-gnu/lib
cd "$work" || exit 99

# same_as_qemu PROGRAM-FOR-QEMU PROGRAM-FOR-VMM-RUN OPTIONS-OF-VMM-RUN
same_as_qemu() {
  (cd one && GREETING=hello "$QEMU_RISCV64" -L "$work/root" "$1" word) >a 2>&1
  expected=$?
  # shellcheck disable=SC2086 # options
  (cd one && "$run" --env GREETING=hello $3 "$2" word) >b 2>&1
  status=$?
  diff a b && echo "status $status, qemu's $expected" && [ $status = $expected ] &&
    [ $status = 42 ]
}

mkdir one root
if have "a static program of glibc" "$RISCV64_CC" &&
  have "a static program of glibc" "$QEMU_RISCV64"; then
  # shellcheck disable=SC2086
  test_case "glibc_guest.c compiles" sh -c \
    '$0 -O1 -static "$1" -o static -lm && $0 -O1 "$1" -o dynamic -lm' \
    "$RISCV64_CC" "$source"
  test_case "a static program of glibc" \
    same_as_qemu ../static ../static ''
  mkdir -p root/lib
  cp -L "$library"/ld-linux-riscv64-lp64d.so.1 "$library"/libc.so.6 \
    "$library"/libm.so.6 root/lib/
  cp dynamic root/
  test_case "a dynamic program below --root" \
    same_as_qemu ../dynamic /dynamic '--root ../root'
  test_case "without --root its interpreter is missing" sh -c \
    '"$0" ./dynamic 2>err; [ $? = 127 ] && grep -q interpreter err' "$run"
fi

done_testing
