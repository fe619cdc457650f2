# The version stands in configure.ac, in <vmm/types.h> and in the version nodes.
. "$top_srcdir/tests/tap.sh"

version=$(sed -n 's/^AC_INIT(\[libvmm\], \[\(.*\)\])$/\1/p' \
  "$top_srcdir/configure.ac")

number() {
  sed -n "s/^#define VMM_VERSION_$1 //p" "$top_srcdir/include/vmm/types.h"
}

header_agrees() {
  [ "$(number MAJOR).$(number MINOR).$(number PATCH)" = "$version" ]
}

map_agrees() {
  grep "^$2_${version%.*} {" "$top_srcdir/$1"
}

test_case "<vmm/types.h> has configure's version" header_agrees
test_case "libvmm.map has it" map_agrees lib/libvmm.map LIBVMM
test_case "libvmm-emu.map has it" map_agrees emu/libvmm-emu.map LIBVMM_EMU

done_testing
