/*
 * walk: touches memory in ways that a page table tells apart.  To be run with
 * vmm-run --exact --stats or --trace=faults: of 256 pages 192 get young, 64 of
 * them dirty; 32 are given back and read zero again; 16 grow; the brk area is
 * used; code is written, run, changed, and run again.
 */
#include "guest.h"

enum { PAGES = 256 };

static u8 *map(u64 npages, u64 prot)
{
  return (u8 *)call(SYS_mmap, 0, npages * PAGE, prot,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static u64 count(const volatile u8 *memory, u64 npages)
{
  u64 sum = 0;

  for (u64 i = 0; i < npages; i++)
    sum += memory[i * PAGE];
  return sum;
}

static void tell(const char *what, u64 value)
{
  put(what);
  put_number(value);
  put("\n");
}

/* "addi a0, x0, n; ret" written where it runs. */
static u64 run_code(u8 *page, u32 n)
{
  volatile u32 *code = (volatile u32 *)page;

  code[0] = n << 20 | 10 << 7 | 0x13;
  code[1] = 0x00008067;
  asm volatile("fence.i" ::: "memory");
  return ((u64(*)(void))page)();
}

static int guest_main(int argc, char **argv)
{
  u8 *memory = map(PAGES, PROT_READ | PROT_WRITE);
  u8 *code = map(1, PROT_READ | PROT_WRITE | PROT_EXEC);
  u64 old = (u64)call(SYS_brk, 0);

  (void)argc;
  (void)argv;
  for (u64 i = 0; i < 64; i++)
    memory[i * PAGE] = 1;
  tell("sum of 192 pages: ", count(memory, 192));
  call(SYS_madvise, memory, 32 * PAGE, 4);
  tell("after giving 32 back: ", count(memory, 192));
  call(SYS_mprotect, memory, PAGES * PAGE, PROT_READ);
  tell("read-only: ", count(memory, 192));
  call(SYS_brk, old + 16 * PAGE);
  for (u64 i = 0; i < 16; i++)
    *(volatile u8 *)(old + i * PAGE) = (u8)i;
  tell("brk area: ", count((u8 *)old, 16));
  tell("code: ", run_code(code, 17));
  tell("changed: ", run_code(code, 42));
  return 0;
}
