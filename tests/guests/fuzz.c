/*
 * fuzz SEED COUNT: makes COUNT system calls with made-up arguments: bad and
 * good pointers, descriptors, sizes at the edges.  Left out is what ends, stops
 * or waits.  To be run below --root; the emulator must live, whatever the guest
 * does.
 */
#include "guest.h"

enum { ARENA = 64 };

static u64 state;
static char *area;

static u64 next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state * 0x2545f4914f6cdd1dul >> 11;
}

static u64 parse(const char *s)
{
  u64 n = 0;

  for (; *s >= '0' && *s <= '9'; s++)
    n = 10 * n + (u64)(*s - '0');
  return n;
}

static u64 edge(void)
{
  static const u64 edges[] = {
      0,
      1,
      2,
      7,
      8,
      63,
      64,
      4095,
      4096,
      4097,
      65536,
      1ul << 20,
      1ul << 31,
      (1ul << 32) - 1,
      1ul << 37,
      (1ul << 38) - 4096,
      1ul << 38,
      1ul << 63,
      -1ul,
      -2ul,
      -100ul,
      -4096ul,
      (1ul << 63) - 1,
      0x7ffff000,
      1024,
      1025,
  };

  return edges[next() % (sizeof edges / sizeof edges[0])];
}

static u64 pointer(void)
{
  static const char *const paths[] = {
      "",           ".",     "..",       "/",  "a",
      "a/b",        "../..", "/a/../..", "b/", "/proc/self/fd/3",
      "/dev/stdin", "//",    "c"};
  u64 at = next() % (ARENA * PAGE);

  switch (next() % 6) {
  case 0:
    return edge();
  case 1:
    return (u64)paths[next() % (sizeof paths / sizeof paths[0])];
  case 2: /* where the area ends */
    return (u64)area + ARENA * PAGE - next() % 64;
  case 3:
    return ((u64)area + at) & ~(u64)(PAGE - 1);
  case 4:
    *(u64 *)(area + (at & ~7ul)) = edge();
    return (u64)area + (at & ~7ul);
  default:
    return (u64)area + at;
  }
}

static u64 argument(void)
{
  switch (next() % 5) {
  case 0:
    return edge();
  case 1:
    return next() % 12; /* a descriptor, a small number */
  case 2:
    return next() % 8192;
  default:
    return pointer();
  }
}

static int left_out(u64 number)
{
  static const u64 numbers[] = {
      25, 32, 33,  47,  59,  72,  73,  81,  93,
      94, 98, 101, 115, 129, 130, 131, 166, 267,
  };

  for (u64 i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (numbers[i] == number)
      return 1;
  return 0;
}

static void map_area(void)
{
  call(SYS_mmap, area, ARENA * PAGE, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static int guest_main(int argc, char **argv)
{
  u64 count = argc > 2 ? parse(argv[2]) : 1000;
  u64 a[6];

  state = 88172645463325252ul + (argc > 1 ? parse(argv[1]) : 1);
  area = (char *)(1ul << 36);
  map_area();
  for (u64 i = 0; i < count; i++) {
    u64 number = next() % 8 == 0 ? next() % 460 : next() % 100 + 17;

    for (int j = 0; j < 6; j++)
      a[j] = argument();
    if (next() % 3 == 0)
      number = 214 + next() % 20; /* memory: not its own */
    if (number >= 214 && number <= 233 && a[0] < (u64)area)
      a[0] += (u64)area;
    if (number == 216 && a[4] < (u64)area)
      a[4] += (u64)area;
    if (!left_out(number))
      call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    map_area();
  }
  put("done\n");
  return 0;
}
