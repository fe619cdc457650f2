/* The second file of inline.cc: the same inline functions, and one for nobody. */
#include "inline.h"

int64_t other_load(const char *at)
{
  return inline_load<uint32_t>(at);
}

int other_store(char *at, uint8_t byte)
{
  return inline_store(at, byte);
}

int64_t used_by_nobody(const char *at)
{
  return inline_load<uint64_t>(at) + inline_store(nullptr, 0);
}
