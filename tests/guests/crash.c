/*
 * crash HOW: ends by a signal, in one of the ways below, or lives.
 */
#include "guest.h"

static char text[] = "crash";

static void fault(const char *how)
{
  u8 *page = (u8 *)call(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (same(how, "read"))
    asm volatile("ld zero, 8(zero)");
  if (same(how, "write"))
    *(volatile char *)begin = 0; /* its own code */
  if (same(how, "exec"))
    ((void (*)(void))page)();
  if (same(how, "nowhere"))
    asm volatile("li t0, -16\n\tjr t0");
  if (same(how, "stack"))
    for (volatile char *at = (volatile char *)&page;; at -= PAGE)
      *at = 0;
  if (same(how, "misaligned"))
    asm volatile("amoadd.w zero, zero, (%0)" ::"r"(page + 2) : "memory");
}

/* A file that gets shorter under its mapping. */
static void bus(void)
{
  s64 fd = call(SYS_openat, AT_FDCWD, "bus.tmp", O_RDWR | O_CREAT | O_TRUNC,
                0600);
  volatile u8 *page;

  call(SYS_ftruncate, fd, PAGE);
  page = (volatile u8 *)call(SYS_mmap, 0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
  call(SYS_ftruncate, fd, 0);
  call(SYS_unlinkat, AT_FDCWD, "bus.tmp", 0);
  put_number(*page);
}

/* Likewise after its code ran. */
static void bus_exec(void)
{
  static const u32 ret[2] = { 0x00008067, 0x00008067 };
  s64 fd = call(SYS_openat, AT_FDCWD, "bus.tmp", O_RDWR | O_CREAT | O_TRUNC,
                0700);
  u8 *page;

  call(SYS_write, fd, ret, sizeof ret);
  page = (u8 *)call(SYS_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd,
                    0);
  ((void (*)(void))page)();
  call(SYS_ftruncate, fd, 0);
  call(SYS_unlinkat, AT_FDCWD, "bus.tmp", 0);
  ((void (*)(void))(page + 4))();
}

static int guest_main(int argc, char **argv)
{
  const char *how = argc > 1 ? argv[1] : "";

  fault(how);
  if (same(how, "bus"))
    bus();
  if (same(how, "bus-exec"))
    bus_exec();
  if (same(how, "ebreak"))
    asm volatile("ebreak");
  if (same(how, "illegal"))
    asm volatile(".word 0xffffffff");
  if (same(how, "abort"))
    call(SYS_kill, call(SYS_getpid), 6);
  if (same(how, "pipe")) {
    int fds[2];

    call(SYS_pipe2, fds, 0);
    call(SYS_close, fds[0]);
    call(SYS_write, fds[1], text, 1);
  }
  if (same(how, "loop"))
    for (;;)
      asm volatile("");
  put("lives\n");
  return 3;
}
