# What vmm-run does with programs that it can't run: one line on standard error,
# nothing on standard output, and the documented exit status.
. "$top_srcdir/tests/tap.sh"

guests=$top_srcdir/tests/guests
run=$top_builddir/vmm-run

# refused STATUS TEXT ARGUMENT...
refused() {
  wanted=$1 text=$2
  shift 2
  status=0
  timeout 60 "$run" "$@" >"$work/out" 2>"$work/err" || status=$?
  cat "$work/out" "$work/err"
  echo "status $status, wanted $wanted and: $text"
  [ "$status" = "$wanted" ] && [ ! -s "$work/out" ] &&
    [ "$(wc -l <"$work/err")" = 1 ] && grep -qF -e "$text" "$work/err"
}

# patched NAME OFFSET BYTES: hello.elf with bytes, in printf's octal, at an offset
patched() {
  cp "$guests/hello.elf" "$work/$1"
  chmod u+w "$work/$1"
  # shellcheck disable=SC2059
  printf "$3" | dd of="$work/$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# patch_case TEXT NAME OFFSET BYTES
patch_case() {
  patched "$2" "$3" "$4"
  test_case "refuses a file with $2" refused 126 "$1" "$work/$2"
}

cd "$work" || exit 99

test_case "refuses a program that is not there" \
  refused 127 "No such file" "$work/none"
test_case "refuses a folder" refused 126 "not a regular file" "$work"
: >empty
test_case "refuses an empty file" refused 126 "not an ELF file" empty
echo 'echo I am a script of a shell' >script
test_case "refuses a script" refused 126 "not an ELF file" script
if [ "$(id -u)" -ne 0 ]; then
  cp "$guests/hello.elf" secret
  chmod 0 secret
  test_case "refuses an unreadable file" refused 126 "Permission denied" secret
fi
mkfifo pipe
test_case "refuses a pipe without waiting" \
  refused 126 "not a regular file" pipe
test_case "refuses a program of the host" refused 126 "wrong machine" /bin/sh

for n in 10 63 64 100 500; do
  dd if="$guests/hello.elf" of=short bs=1 count=$n 2>/dev/null
  case $n in
  10) text="not an ELF file" ;;
  *) text="truncated ELF file" ;;
  esac
  test_case "refuses the first $n bytes of a program" refused 126 "$text" short
done

# Elf64_Ehdr: class 4, data 5, version 6, type 16, machine 18, entry 24,
# phoff 32, flags 48, phentsize 54, phnum 56.
patch_case "not an ELF file" "another magic" 1 'X'
patch_case "wrong ELF class" "32-bit class" 4 '\001'
patch_case "wrong byte order" "big-endian data" 5 '\002'
patch_case "unknown ELF version" "another version" 6 '\007'
patch_case "not a program" "type relocatable" 16 '\001'
patch_case "not a program" "type core" 16 '\004'
patch_case "wrong machine" "machine MIPS" 18 '\010'
patch_case "the entry is outside" "its entry outside" 24 '\000\000\000\160'
patch_case "truncated ELF file" "headers beyond its end" 32 '\000\000\000\020'
patch_case "wraps" "headers at an offset that wraps" 32 \
  '\377\377\377\377\377\377\377\377'
patch_case "an ABI" "the embedded ABI" 48 '\010'
patch_case "unknown size" "program headers of 32 bytes" 54 '\040'
patch_case "no program headers" "no program headers" 56 '\000\000'
patch_case "too many program headers" "129 program headers" 56 '\201\000'
patch_case "too many program headers" "65535 program headers" 56 '\377\377'

# Elf64_Phdr at 64 + 56 n: type 0, flags 4, offset 8, vaddr 16, filesz 32,
# memsz 40.  hello's second is its text (PT_LOAD); it has no third.
second=$((64 + 56))
patch_case "nothing to load" "no segment" $second '\006'
patch_case "not executable" "its text not executable" $((second + 4)) '\004'
patch_case "do not fit together" "an offset out of step" $((second + 8)) '\001'
patch_case "truncated ELF file: a segment" "a segment beyond its end" \
  $((second + 8)) '\000\000\001'
patch_case "wraps" "a segment that wraps" $((second + 16)) \
  '\000\000\377\377\377\377\377\377'
patch_case "does not fit" "a segment larger than the space" \
  $((second + 45)) '\001'
patch_case "larger in the file than in memory" "filesz over memsz" \
  $((second + 40)) '\001\000\000\000'
patch_case "a segment wraps" "an endless memsz" $((second + 40)) \
  '\377\377\377\377\377\377\377\377'

# The stack header made a second PT_LOAD over the text, and PT_INTERP.
third=$((64 + 2 * 56))
patched overlap $third '\001\000\000\000'
dd if=overlap of=overlap bs=1 skip=$((second + 8)) seek=$((third + 8)) \
  count=48 conv=notrunc 2>/dev/null
test_case "refuses segments that overlap" \
  refused 126 "segments overlap" overlap
size=$(wc -c <"$guests/hello.elf")
patched interp $third '\003\000\000\000'
# shellcheck disable=SC2059
printf "$(printf '\\%o\\%o' $((size % 256)) $((size / 256)))" |
  dd of=interp bs=1 seek=$((third + 8)) conv=notrunc 2>/dev/null
printf '\020\000\000\000\000\000\000\000' |
  dd of=interp bs=1 seek=$((third + 32)) conv=notrunc 2>/dev/null
cp interp unended
printf '/none/ld-1.so.1\000' >>interp
test_case "refuses a program without its interpreter" \
  refused 127 "/none/ld-1.so.1: No such file" interp
printf '/none/ld-1.so.1X' >>unended
test_case "refuses an interpreter's name without an end" \
  refused 126 "is no string" unended

# Options.
test_case "wants a program" refused 125 "no program given"
test_case "refuses an unknown option" refused 125 "--nonsense" --nonsense x
test_case "refuses --max-insns without a number" \
  refused 125 "bad number" --max-insns 12x x
test_case "refuses --max-insns 0" \
  refused 125 "bad number" --max-insns 0 x
test_case "refuses --env without =" refused 125 "no NAME=VALUE" --env x x
test_case "refuses an unknown trace" refused 125 "unknown trace" --trace=x x
test_case "refuses a root that is not there" \
  refused 125 "No such file" --root "$work/none" x
test_case "refuses a root that is a file" \
  refused 125 "Not a directory" --root "$guests/hello.elf" x

# Every byte of the headers, changed: no crash, and no other status.
damaged() {
  for at in $(seq 0 5 231); do
    patched damaged "$at" '\377'
    status=0
    timeout 10 "$run" --max-insns 100000 damaged >out 2>&1 || status=$?
    case $status in
    0 | 1 | 124 | 126 | 127 | 132 | 135 | 139) ;;
    *) echo "byte $at: status $status"; cat out; return 1 ;;
    esac
  done
}
test_case "survives damaged headers" damaged

done_testing
