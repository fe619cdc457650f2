/*
 * The text of instructions, as GNU objdump -M no-aliases,numeric writes it (the
 * program tests/diff/riscv-disasm.sh compares all rows with it, where it is).
 */
#include <vmm/emu.h>

#include "vmm_test.h"

static const struct {
  uint32_t insn;
  const char *text;
} cases[] = {
  { 0x00412087, "flw f1,4(x2)" },
  { 0x023110d3, "fadd.d f1,f2,f3,rtz" },
  { 0x023170d3, "fadd.d f1,f2,f3" },
  { 0xd20100d3, "fcvt.d.w f1,x2" },
  { 0xc20140d3, "fcvt.w.d x1,f2,rmm" },
  { 0x0310000f, "fence rw,w" },
  { 0x8330000f, "fence.tso" },
  { 0x0000100f, "fence.i" },
  { 0x00000073, "ecall" },
  { 0x003110f3, "csrrw x1,fcsr,x2" },
  { 0xc001e0f3, "csrrsi x1,cycle,3" },
  { 0x800020f3, "csrrs x1,0x800,x0" },
  { 0x140120af, "lr.w.aq x1,(x2)" },
  { 0x0621b0af, "amoadd.d.aqrl x1,x2,(x3)" },
  { 0x00005097, "auipc x1,0x5" },
  { 0x008000ef, "jal x1,0x10008" },
  { 0xfe208ee3, "beq x1,x2,0xfffc" },
  { 0x004100e7, "jalr x1,4(x2)" },
  { 0x4031509b, "sraiw x1,x2,0x3" },
  { 0x42115093, "srai x1,x2,0x21" },
  { 0x9002, "c.ebreak" },
  { 0x70fd, "c.lui x1,0xfffff" },
  { 0x1141, "c.addi x2,-16" },
  { 0x6105, "c.addi16sp x2,32" },
  { 0x8082, "c.jr x1" },
  { 0x9082, "c.jalr x1" },
  { 0x852e, "c.mv x10,x11" },
  { 0xa001, "c.j 0x10000" },
  { 0xe022, "c.sdsp x8,0(x2)" },
};

START_TEST(texts_are_objdumps)
{
  size_t i;
  char text[64];

  for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    int length = (cases[i].insn & 3) == 3 ? 4 : 2;

    ck_assert_int_eq(vmm_disassemble("rv64gc", 0x10000, &cases[i].insn, 4, text,
                                     sizeof(text)),
                     length);
    ck_assert_str_eq(text, cases[i].text);
  }
}
END_TEST

START_TEST(what_is_no_instruction_is_refused)
{
  static const uint32_t wrong[] = { 0, 0xffffffff, 0x0000707b, 0x021150d3,
                                    0x6101, 0x8002, 0x0000001f };
  char text[64];
  size_t i;

  for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
    ck_assert_error(vmm_disassemble(NULL, 0, &wrong[i], 4, text, sizeof(text)),
                    EILSEQ);
}
END_TEST

START_TEST(too_few_bytes_are_refused)
{
  const uint32_t addi = 0x13;
  char text[64];

  ck_assert_error(vmm_disassemble(NULL, 0, &addi, 0, text, 64), EINVAL);
  ck_assert_error(vmm_disassemble(NULL, 0, &addi, 1, text, 64), EINVAL);
  ck_assert_error(vmm_disassemble(NULL, 0, &addi, 3, text, 64), EINVAL);
  ck_assert_error(vmm_disassemble("pdp11", 0, &addi, 4, text, 64), EINVAL);
}
END_TEST

START_TEST(text_is_cut_off_at_its_buffer)
{
  const uint32_t addi = 0x00150513;
  char text[8] = "xxxxxxx";

  ck_assert_int_eq(vmm_disassemble(NULL, 0, &addi, 4, text, 6), 4);
  ck_assert_str_eq(text, "addi ");
  ck_assert_int_eq(text[6], 'x');
  ck_assert_int_eq(vmm_disassemble(NULL, 0, &addi, 4, text, 1), 4);
  ck_assert_str_eq(text, "");
  ck_assert_int_eq(vmm_disassemble(NULL, 0, &addi, 4, NULL, 0), 4);
}
END_TEST

Suite *vmm_suite_riscv_disasm(void)
{
  Suite *suite = suite_create("riscv_disasm");
  TCase *tcase = tcase_create("text");

  tcase_add_test(tcase, texts_are_objdumps);
  tcase_add_test(tcase, what_is_no_instruction_is_refused);
  tcase_add_test(tcase, too_few_bytes_are_refused);
  tcase_add_test(tcase, text_is_cut_off_at_its_buffer);
  suite_add_tcase(suite, tcase);
  return suite;
}
