/*
 * CRC-32C, by the processor, or eight bytes a step: table t says what a byte
 * does t bytes later.
 */
#include "crc.h"

#include <pthread.h>

#include "arch.h"

#define POLYNOMIAL 0x82f63b78u

static uint32_t tables[8][256];

static void make_tables(void)
{
  for (unsigned byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;

    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    tables[0][byte] = crc;
  }
  for (unsigned byte = 0; byte < 256; byte++)
    for (int t = 1; t < 8; t++)
      tables[t][byte] = tables[t - 1][byte] >> 8 ^
                        tables[0][tables[t - 1][byte] & 255];
}

static uint32_t word_at(const uint8_t *at)
{
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
         (uint32_t)at[3] << 24;
}

static uint32_t eight_bytes(uint32_t crc, const uint8_t *at)
{
  uint32_t low = crc ^ word_at(at), high = word_at(at + 4);

  return tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^
         tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^
         tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
         tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
}

uint32_t vmmi_crc_by_tables(uint32_t crc, const void *bytes, size_t nbytes)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  const uint8_t *at = bytes;

  pthread_once(&once, make_tables);
  for (; nbytes >= 8; nbytes -= 8, at += 8)
    crc = eight_bytes(crc, at);
  for (; nbytes > 0; nbytes--, at++)
    crc = crc >> 8 ^ tables[0][(crc ^ *at) & 255];
  return crc;
}

uint32_t vmmi_crc(uint32_t crc, const void *bytes, size_t nbytes)
{
  size_t done;

  crc = ~crc;
  done = vmmi_arch_crc(&crc, bytes, nbytes);
  return ~vmmi_crc_by_tables(crc, (const char *)bytes + done, nbytes - done);
}
