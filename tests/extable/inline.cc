/*
 * Accessors in inline functions and templates of C++, in two files: whichever copy
 * the linker keeps has its exception-table entry.
 */
#include <cstdio>
#include <cstring>

#include "inline.h"

static int check(const char *what, int64_t got, int64_t wanted)
{
  if (got == wanted)
    return 0;
  std::printf("%s: %lld, not %lld\n", what, (long long)got, (long long)wanted);
  return 1;
}

int main()
{
  struct vmm_space_options options = {};
  struct vmm_space *space;
  uint64_t at = 0x10000, page;
  int wrong = 0;
  char *base;

  options.size = 1 << 26;
  if (vmm_space_create(&space, &options) != 0)
    return 99;
  page = vmm_space_page_size(space);
  if (vmm_map_anon(space, at, page, VMM_READ | VMM_WRITE) != 0)
    return 99;
  base = vmm_space_base(space);
  std::memcpy(base + at, "\1\0\0\0", 4);
  wrong += check("load", inline_load<uint32_t>(base + at), 1);
  wrong += check("load, a fault", inline_load<uint32_t>(base + at + page), -1);
  wrong += check("other load", other_load(base + at), 1);
  wrong += check("other load, a fault", other_load(base + at + page), -1);
  wrong += check("wide load, a fault", inline_load<uint64_t>(base), -1);
  wrong += check("store, a fault", inline_store(base + at + page, 1), -1);
  wrong += check("other store, a fault", other_store(base + at + page, 1), -1);
  wrong += check("other store", other_store(base + at, 5), 0);
  wrong += check("load of it", inline_load<uint8_t>(base + at), 5);
  return vmm_space_destroy(space) != 0 ? 99 : wrong;
}
