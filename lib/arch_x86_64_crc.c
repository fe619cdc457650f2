/*
 * CRC-32C by the instruction for it, which processors without SSE 4.2 lack, and
 * which the compiler only gives with an option of its own.
 */
#include "arch.h"

#include <cpuid.h>
#include <string.h>

#define CPUID_1_C_SSE42 (1u << 20)

static bool has_crc32(void)
{
  static _Atomic int known; /* 0: not asked yet; 1: no; 2: yes */
  int answer = atomic_load_explicit(&known, memory_order_relaxed);
  unsigned a, b, c = 0, d;

  if (answer == 0) {
    answer = __get_cpuid(1, &a, &b, &c, &d) && (c & CPUID_1_C_SSE42) ? 2 : 1;
    /* every thread finds the same answer */
    atomic_store_explicit(&known, answer, memory_order_relaxed);
  }
  return answer == 2;
}

__attribute__((target("sse4.2"))) static uint32_t
sum_words(uint32_t crc, const char *at, size_t nwords)
{
  uint64_t sum = crc, word;

  for (; nwords > 0; nwords--, at += sizeof(word)) {
    memcpy(&word, at, sizeof(word));
    sum = __builtin_ia32_crc32di(sum, word);
  }
  return (uint32_t)sum;
}

size_t vmmi_arch_crc(uint32_t *crc, const void *bytes, size_t nbytes)
{
  if (!has_crc32())
    return 0;
  *crc = sum_words(*crc, bytes, nbytes / sizeof(uint64_t));
  return nbytes & ~(sizeof(uint64_t) - 1);
}
