#!/bin/bash
# The interpreter's speed on a bundled guest program, user time and not the wall's:
# instructions a second, and the time as a ratio to qemu-riscv64's where that is
# here, which is a JIT.  The least of five runs each, in turns.
set -eu
guests=${1:?usage: emu.sh GUESTS-FOLDER}

# => user seconds of a command
user_time() {
  { time -p "$@" >/dev/null 2>&1; } 2>&1 | awk '$1 == "user" { print $2 }'
}

least() {
  awk 'NR == 1 || $1 < least { least = $1 } END { print least }'
}

measure() {
  program=$guests/$1.elf
  instructions=$(./vmm-run --stats "$program" 2>&1 >/dev/null |
    awk '$1 == "instructions" { print $2 }')
  ours=
  checked=
  theirs=
  for _ in 1 2 3 4 5; do
    ours="$ours $(user_time ./vmm-run "$program")"
    checked="$checked $(user_time ./vmm-run --checked "$program")"
    if command -v qemu-riscv64 >/dev/null; then
      theirs="$theirs $(user_time qemu-riscv64 "$program")"
    fi
  done
  us=$(printf '%s\n' $ours | least)
  slow=$(printf '%s\n' $checked | least)
  them=$(printf '%s\n' $theirs | least)
  awk -v n="$instructions" -v us="$us" -v them="${them:-0}" -v name="$1" '
    BEGIN {
      ratio = (them > 0) ? sprintf("%.2f", us / them) : "-"
      speed = (us > 0) ? n / us / 1e6 : 0
      printf "%-44s %12.0f  %-12s %8s\n", "interpreter, " name ", to qemu-riscv64",
        speed, "M insns/s", ratio
    }'
  awk -v us="$slow" -v them="$us" -v name="$1" '
    BEGIN {
      ratio = (them > 0) ? sprintf("%.2f", us / them) : "-"
      printf "%-44s %12.2f  %-12s %8s\n", "interpreter, checked, " name ", to direct",
        us, "s", ratio
    }'
}

measure sha256
