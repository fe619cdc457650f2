/*
 * hello [argument ...]: greets, and shows its arguments.
 */
#include "guest.h"

static int guest_main(int argc, char **argv)
{
  put("hello from a riscv64 guest\n");
  for (int i = 1; i < argc; i++) {
    put("argument ");
    put_number((u64)i);
    put(": ");
    put(argv[i]);
    put("\n");
  }
  return argc - 1;
}
