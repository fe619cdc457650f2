# What leaves each shared library is what its headers declare, and nothing else.
. "$top_srcdir/tests/tap.sh"

exported() {
  $NM -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    sort -u
}

# declared HEADER...: the functions marked VMM_API
declared() {
  sed 's|^ *\*.*||; s|/\*.*\*/||; /^ *#/d' "$@" | tr '\n' ' ' | tr ';{}' '\n\n\n' |
    sed -n 's/.*VMM_API[^(]*[ *]\(vmm_[a-z0-9_]*\)(.*/\1/p' | sort -u
}

equal() {
  exported "$1" >"$work/exported"
  shift
  declared "$@" >"$work/declared"
  echo "exported (-) but not declared (+):"
  [ -s "$work/declared" ] && diff -u "$work/exported" "$work/declared"
}

core=$(ls "$top_srcdir"/include/vmm/*.h | grep -Ev '/(emu|mmio)\.h$')
libs=$top_builddir/.libs
if [ -e "$libs/libvmm.so" ]; then
  # shellcheck disable=SC2086 # a list
  test_case "libvmm.so exports what its headers declare" \
    equal "$libs/libvmm.so" $core
  test_case "libvmm-emu.so exports what <vmm/emu.h> declares" \
    equal "$libs/libvmm-emu.so" "$top_srcdir/include/vmm/emu.h"
  if [ -e "$libs/libvmm-mmio.so" ]; then
    test_case "libvmm-mmio.so exports what <vmm/mmio.h> declares" \
      equal "$libs/libvmm-mmio.so" "$top_srcdir/include/vmm/mmio.h"
  fi
else
  skip "exports" "no shared libraries in this build"
fi

done_testing
