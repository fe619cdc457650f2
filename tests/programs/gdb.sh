# The debugger's script: gdb passes the library's signals on without a word, and
# vmm-x reads guest memory, without a fault and without setting bits.
. "$top_srcdir/tests/tap.sh"

cat >"$work/debugged.c" <<'END'
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

struct vmm_space *space;

int main(void)
{
  struct vmm_space_options options = { 0 };

  options.size = 1ull << 32;
  if (vmm_space_create(&space, &options) != 0 ||
      vmm_map_anon(space, 0x10000, 0x10000, VMM_READ | VMM_WRITE) != 0)
    return 1;
  strcpy(vmm_space_base(space) + 0x1fffa, "hello");
  vmm_protect(space, 0x10000, 0x10000, 0);
  puts("here");
  return 0;
}
END

session() {
  compile_with_libvmm "$CC" "$work/debugged.c" "$work/debugged" -g || return 1
  "$GDB" -nx -batch -ex "source $top_srcdir/share/gdb/libvmm.gdb" \
    -ex 'break puts' -ex run -ex 'vmm-x space 0x1fffa 6' \
    -ex 'vmm-x space 0x1fff0' -ex 'vmm-x space 0x20000' -ex continue \
    "$work/debugged" >"$work/session" 2>&1
  cat "$work/session"
}

says() {
  cat "$work/session"
  grep -q "$1" "$work/session"
}

silent() {
  cat "$work/session"
  ! grep -q 'SIGSEGV\|SIGBUS' "$work/session.run"
}

if have "gdb reads guest memory" "$GDB"; then
  test_case "gdb runs the program" session
  sed '1,/^Breakpoint 1,/d' "$work/session" >"$work/session.run"
  test_case "a touch is not a stop" silent
  test_case "vmm-x reads memory without rights" \
    says '^0x1fffa: 68 65 6c 6c 6f 00$'
  test_case "vmm-x reads 16 bytes if not told" \
    says '^0x1fff0: 00 00 00 00 00 00 00 00 00 00 68 65 6c 6c 6f 00$'
  test_case "vmm-x says where no page is" says '^0x20000: no page$'
  test_case "the program ends as without gdb" says 'exited normally'
fi

done_testing
