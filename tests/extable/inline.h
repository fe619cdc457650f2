/*
 * An inline function with an accessor, as a header of a C++ program would have
 * it: each file that includes it has a copy, and the linker keeps one.
 */
#include <vmm/vmm.h>

template <typename T> inline int64_t inline_load(const char *at)
{
  T value = 0;

  vmm_try_load_u32(value, at, fault);
  return static_cast<int64_t>(value);
fault:
  return -1;
}

inline int inline_store(char *at, uint8_t byte)
{
  vmm_try_store_u8(at, byte, fault);
  return 0;
fault:
  return -1;
}

int64_t other_load(const char *at);
int other_store(char *at, uint8_t byte);
