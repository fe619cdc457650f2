# What depends on the host stands in arch_* and os_* alone, and in the accessors'
# header, which is compiled into programs.
. "$top_srcdir/tests/tap.sh"
cd "$top_srcdir" || exit 99

hosts='__linux|__gnu_linux|__unix|BSD|__APPLE__|__sun|_WIN32|__CYGWIN__|__GLIBC'
cpus='__x86_64|__amd64|__i386|__aarch64|__arm|__riscv|__mips|__powerpc|__s390'

portable() {
  ! grep -nE "^ *# *(el)?if.*($hosts|$cpus)" "$1"
}

for path in lib/*.[ch] emu/*.[ch] mmio/*.[ch] include/vmm/*.h examples/*.[ch] bench/*.[ch]; do
  case "$path" in
  */arch_* | */os_* | include/vmm/extable.h | *'*'*) continue ;;
  esac
  test_case "$path asks for no platform" portable "$path"
done

done_testing
