# vmm-run with the small guests: what they print, how they end, and options.
. "$top_srcdir/tests/tap.sh"

guests=$top_srcdir/tests/guests
run=$top_builddir/vmm-run

# gives STATUS ARGUMENT...: the status is that; output stays in out and err
gives() {
  wanted=$1
  shift
  status=0
  timeout 100 $run "$@" >out 2>err </dev/null || status=$?
  cat out err
  echo "status $status, wanted $wanted"
  [ "$status" = "$wanted" ]
}

# prints STATUS LINE ARGUMENT...: likewise, and a line of the output is that
prints() {
  status=$1 line=$2
  shift 2
  gives "$status" "$@" && grep -qxF -e "$line" out
}

# ends SIGNAL HOW TEXT...: crash HOW reports the texts and has status 128 + n
ends() {
  signal=$1 how=$2
  shift 2
  gives $((128 + signal)) "$guests/crash.elf" "$how" || return 1
  for text in "$@"; do
    grep -qF -e "$text" err || { echo "not told: $text"; return 1; }
  done
}

cd "$work" || exit 99

test_case "hello prints its arguments" \
  prints 2 "argument 2: b c" "$guests/hello.elf" a "b c"
test_case "a static-pie program runs" \
  prints 1 "argument 1: x" "$guests/hello-pie.elf" x
test_case "an argument that looks like an option is the guest's" \
  prints 1 "argument 1: --help" "$guests/hello.elf" --help
test_case "sha256 of abc is right" prints 0 \
  ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad \
  "$guests/sha256.elf"
test_case "walk sees zeros where it gave memory back" \
  prints 0 "after giving 32 back: 32" "$guests/walk.elf"
test_case "walk runs the code that it changed" \
  prints 0 "changed: 42" "$guests/walk.elf"
calls_pass() {
  gives 0 "$@" "$guests/calls.elf" && grep -q ' 0 failed$' out &&
    [ -z "$(find . -name 'calls.*')" ]
}
test_case "system calls stand good and hostile arguments" calls_pass
test_case "and with exact pages" calls_pass --exact
mkdir root
calls_in_root() {
  cp "$guests/calls.elf" root/ && gives 0 --root root /calls.elf &&
    grep -q ' 0 failed$' out
}
test_case "and below --root" calls_in_root

test_case "a read from nowhere is told" \
  ends 11 read "SIGSEGV" "ld x0" "read from 0x8: no region"
test_case "a write to code is told" \
  ends 11 write "SIGSEGV" "sb x0" "rights" "r-x, program"
test_case "a jump to data is told" ends 11 exec "fetch from" "rights" "rw-"
test_case "a jump out of the space is told" \
  ends 11 nowhere "fetch from 0xfffffffffffffff0: outside"
test_case "a stack that grows into its gap is told" \
  ends 11 stack "SIGSEGV" "write to"
test_case "a file that got shorter is SIGBUS" ends 7 bus "SIGBUS" "object"
test_case "and if it is code that ran" \
  ends 7 bus-exec "SIGBUS" "no code there" "fetch from" "object"
traced_bus() {
  gives 135 --trace=insns,faults "$guests/crash.elf" bus-exec &&
    grep -q 'terminated by signal 7' err
}
test_case "which is traced as well" traced_bus
test_case "ebreak is SIGTRAP" ends 5 ebreak "SIGTRAP" "ebreak"
test_case "an illegal instruction is SIGILL" ends 4 illegal "SIGILL" "ffffffff"
test_case "a misaligned atomic is SIGBUS" \
  ends 7 misaligned "SIGBUS" "amoadd.w" "misaligned"
test_case "a signal to itself ends it" ends 6 abort "SIGABRT" "in a system call"
quiet_pipe() {
  gives 141 "$guests/crash.elf" pipe && [ ! -s err ]
}
test_case "SIGPIPE ends it quietly" quiet_pipe
test_case "a program that does nothing wrong lives" \
  prints 3 lives "$guests/crash.elf" not

stopped() {
  gives 124 --max-insns 100000 "$guests/crash.elf" loop &&
    [ "$(wc -l <err)" = 1 ] && grep -q 'max-insns 100000 is reached' err
}
test_case "--max-insns stops a loop" stopped
unlimited() {
  gives 2 --max-insns 1000000 "$guests/hello.elf" a b && [ ! -s err ]
}
test_case "--max-insns lets a short program end" unlimited
alike() {
  for guest in hello hello-pie sha256 walk calls paths crash; do
    for way in "" --checked; do
      timeout 100 $run $way "$guests/$guest.elf" a "b c" >"out$way" 2>"err$way" \
        </dev/null
      echo "status $?" >>"out$way"
    done
    diff out out--checked && diff err err--checked || return 1
  done
}
test_case "--checked does the same by software" alike
traced() {
  gives 0 --strace "$guests/calls.elf" &&
    grep -qF 'getpid() = ' err &&
    grep -qF 'syscall_1000(' err && grep -qF '(unknown system call)' err &&
    grep -qF 'openat(AT_FDCWD, "calls.d/f"' err
}
test_case "--strace names calls, unknown ones by number" traced
traced_insns() {
  gives 0 --trace=insns "$guests/hello.elf" && grep -q ': 00000073  ecall$' err
}
test_case "--trace=insns shows instructions" traced_insns
traced_faults() {
  gives 0 --trace=faults "$guests/walk.elf" && grep -q '^fault exec' err &&
    grep -q '^fault write 0x[0-9a-f]* zero-filled' err
}
test_case "--trace=faults shows faults" traced_faults
counted() {
  gives 0 --exact --stats "$guests/walk.elf" &&
    for word in '^instructions ' '^faults ' '^pages ' '^host calls '; do
      grep -q "$word" err || return 1
    done
}
test_case "--stats counts" counted
# Young: 192 of the mapping, 16 of the brk area, the code that it writes, its own,
# the stack.  Dirty: 64 of the mapping (those given back changed, too), the brk
# area's, the code that it writes, the stack, which is one page if the environment
# is small.
exact_pages() {
  run="env -i PATH=$PATH $top_builddir/vmm-run"
  gives 0 "$1" --stats "$guests/walk.elf" &&
    sed -n 's/^pages *\([0-9]*\) young, \([0-9]*\) dirty.*/\1 \2/p' err >pages &&
    cat pages && [ "$(cat pages)" = "211 82" ]
}
test_case "--exact counts every page" exact_pages --exact
no_host_calls() {
  exact_pages --checked && grep -q '^host calls *0, ' err
}
test_case "--checked counts the same, without the host's calls" no_host_calls
bounded() {
  gives 137 --max-pages 64 "$guests/walk.elf" && grep -q 'limit' err
}
# 64 pages of the mapping and one of the stack at once: then 32 are given back.
test_case "--max-pages bounds its memory" bounded
roomy() {
  run="env -i PATH=$PATH $top_builddir/vmm-run"
  gives 0 --max-pages 65 "$guests/walk.elf"
}
test_case "--max-pages lets it have as many" roomy
version() {
  gives 0 --version && grep -q '^vmm-run [0-9]*\.[0-9]*\.[0-9]*$' out
}
test_case "--version" version
helped() {
  gives 0 --help && grep -q '^Usage: vmm-run' out && [ ! -s err ]
}
test_case "--help" helped
closed_input() {
  "$run" "$guests/paths.elf" fdcat 0 <&- >out 2>&1 && grep -qx 'error 9' out
}
test_case "a closed standard input is closed in the guest" closed_input

# Made-up system calls: whatever they do to the guest, vmm-run ends it in order.
fuzzed() {
  for seed in $(seq "$1" "$2"); do
    rm -rf fuzz
    mkdir fuzz
    cp "$guests/fuzz.elf" fuzz/
    status=0
    timeout 60 "$run" --root fuzz --max-insns 100000000 --max-pages 100000 \
      /fuzz.elf "$seed" 2000 >out 2>err </dev/null || status=$?
    case $status in
    0 | 124 | 132 | 133 | 135 | 137 | 139) ;;
    *) status=bad ;;
    esac
    # the guest may have made it as long as it liked
    if [ $status = bad ] || head -c 1000000 err | grep -qa 'runtime error'; then
      echo "seed $seed: status $status"
      tail -n 20 err
      return 1
    fi
  done
}
test_case "made-up system calls, seeds 1 to 20" fuzzed 1 20

test_case "the guests are what their sources build to" \
  sh -c '"$0"; status=$?; [ $status = 0 ] || { [ $status = 77 ] && [ "${CI:-}" != true ]; }' \
  "$guests/check-rebuild"

done_testing
