/*
 * sha256: the SHA-256 digest (FIPS 180-4) of 4 MiB of made-up bytes, and of "abc".
 * Plain integer code over memory that is mapped when it runs.
 */
#include "guest.h"

enum { BUFFER = 4 << 20, BLOCK = 64 };

static const u32 k[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
  0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
  0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
  0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static u32 turn(u32 x, int n)
{
  return x >> n | x << (32 - n);
}

static void mix(u32 state[8], const u8 *block)
{
  u32 w[64];
  u32 s[8];

  for (int i = 0; i < 16; i++)
    w[i] = (u32)block[4 * i] << 24 | (u32)block[4 * i + 1] << 16 |
           (u32)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + w[i - 7] +
           (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
           (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
  for (int i = 0; i < 8; i++)
    s[i] = state[i];
  for (int i = 0; i < 64; i++) {
    u32 a = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
            ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    u32 b = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
            ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

    for (int j = 7; j > 0; j--)
      s[j] = s[j - 1];
    s[4] += a;
    s[0] = a + b;
  }
  for (int i = 0; i < 8; i++)
    state[i] += s[i];
}

static void digest(const u8 *bytes, u64 n)
{
  u32 state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
  u8 last[2 * BLOCK] = { 0 };
  u64 rest = n % BLOCK;
  u64 tail = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;

  for (u64 i = 0; i < n - rest; i += BLOCK)
    mix(state, bytes + i);
  memcpy(last, bytes + n - rest, rest);
  last[rest] = 0x80;
  for (int i = 0; i < 8; i++)
    last[tail - 1 - (u64)i] = (u8)(8 * n >> 8 * i);
  for (u64 i = 0; i < tail; i += BLOCK)
    mix(state, last + i);
  for (int i = 0; i < 8; i++)
    put_hex(state[i], 8);
  put("\n");
}

static int guest_main(int argc, char **argv)
{
  u32 x = 1;
  u8 *buffer = (u8 *)call(SYS_mmap, 0, BUFFER, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  (void)argc;
  (void)argv;
  for (u64 i = 0; i < BUFFER; i++) {
    x = x * 1664525 + 1013904223;
    buffer[i] = (u8)(x >> 24);
  }
  digest((const u8 *)"abc", 3);
  digest(buffer, BUFFER);
  return 0;
}
