# The RISC-V engine against others: what random sequences compute against
# qemu-riscv64, the texts of instructions against GNU objdump.
. "$top_srcdir/tests/tap.sh"

programs=$top_builddir/tests/diff

same_texts() {
  "$programs/riscv-encodings" "$work/code" >"$work/ours" || return 1
  "$RISCV64_OBJDUMP" -D -b binary -m riscv:rv64 -z -M no-aliases,numeric \
    "$work/code" | sed -n 's/^ *\([0-9a-f]*\):	[0-9a-f]* *	/\1 /p' |
    sed 's/ *#.*//; s/	/ /; s/ [.][24]byte.*/ -/; s/ c[.]unimp$/ -/; s/ *$//' \
      >"$work/theirs"
  wc -l <"$work/ours"
  diff "$work/ours" "$work/theirs"
}

if [ ! -x "$programs/riscv-diff" ]; then
  skip "RISC-V against other engines" "no static libraries in this build"
else
  have "random sequences agree with qemu-riscv64" "$QEMU_RISCV64" &&
    test_case "100000 random sequences agree with qemu-riscv64" \
      "$programs/riscv-diff" 100000
  have "all texts are objdump's" "$RISCV64_OBJDUMP" &&
    test_case "all texts are objdump's" same_texts
fi

done_testing
