/*
 * CRC-32C: known sums, and the processor's instruction against the tables.
 */
#include <stdlib.h>

#include "../lib/crc.h"
#include "vmm_test.h"

START_TEST(sums_are_those_of_the_standard)
{
  uint8_t bytes[32] = { 0 };

  ck_assert_uint_eq(vmmi_crc(0, "", 0), 0);
  ck_assert_uint_eq(vmmi_crc(0, "123456789", 9), 0xe3069283);
  /* RFC 3720, B.4 */
  ck_assert_uint_eq(vmmi_crc(0, bytes, 32), 0x8a9136aa);
  for (unsigned i = 0; i < 32; i++)
    bytes[i] = (uint8_t)i;
  ck_assert_uint_eq(vmmi_crc(0, bytes, 32), 0x46dd794e);
  memset(bytes, 0xff, 32);
  ck_assert_uint_eq(vmmi_crc(0, bytes, 32), 0x62a8ab43);
}
END_TEST

START_TEST(both_ways_and_any_pieces_give_the_same_sum)
{
  uint8_t bytes[300];

  for (unsigned i = 0; i < sizeof(bytes); i++)
    bytes[i] = (uint8_t)(i * 7 + i / 5);
  for (unsigned from = 0; from < 9; from++)
    for (unsigned n = 0; n < 280; n++) {
      uint32_t sum = vmmi_crc(0, bytes + from, n);

      ck_assert_uint_eq(sum, ~vmmi_crc_by_tables(~0u, bytes + from, n));
      ck_assert_uint_eq(sum, vmmi_crc(vmmi_crc(0, bytes + from, n / 3),
                                      bytes + from + n / 3, n - n / 3));
    }
}
END_TEST

Suite *vmm_suite_crc(void);

Suite *vmm_suite_crc(void)
{
  Suite *suite = suite_create("crc");
  TCase *tcase = tcase_create("crc");

  tcase_add_test(tcase, sums_are_those_of_the_standard);
  tcase_add_test(tcase, both_ways_and_any_pieces_give_the_same_sum);
  suite_add_tcase(suite, tcase);
  return suite;
}
