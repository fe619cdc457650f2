/*
 * A freestanding guest: its start, its system calls, a little output.  Each guest
 * program includes this once and has a guest_main().
 */
#ifndef GUEST_H
#define GUEST_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;

enum { /* asm-generic numbers */
  SYS_getcwd = 17, SYS_dup = 23, SYS_dup3 = 24, SYS_fcntl = 25,
  SYS_mkdirat = 34, SYS_unlinkat = 35, SYS_symlinkat = 36, SYS_linkat = 37,
  SYS_truncate = 45, SYS_ftruncate = 46, SYS_faccessat = 48, SYS_chdir = 49,
  SYS_fchdir = 50, SYS_fchmod = 52, SYS_fchmodat = 53, SYS_fchownat = 54,
  SYS_fchown = 55,
  SYS_openat = 56, SYS_close = 57, SYS_pipe2 = 59, SYS_getdents64 = 61,
  SYS_lseek = 62, SYS_read = 63, SYS_write = 64, SYS_readv = 65,
  SYS_writev = 66, SYS_pread64 = 67, SYS_ppoll = 73, SYS_readlinkat = 78,
  SYS_newfstatat = 79, SYS_utimensat = 88, SYS_exit = 93, SYS_exit_group = 94,
  SYS_futex = 98,
  SYS_kill = 129, SYS_rt_sigaction = 134, SYS_rt_sigprocmask = 135,
  SYS_uname = 160, SYS_getpid = 172, SYS_brk = 214, SYS_munmap = 215,
  SYS_mremap = 216, SYS_mmap = 222, SYS_mprotect = 226, SYS_madvise = 233,
  SYS_prlimit64 = 261, SYS_renameat2 = 276, SYS_getrandom = 278,
};

enum { AT_FDCWD = -100, AT_SYMLINK_FOLLOW = 0x400, AT_EMPTY_PATH = 0x1000 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_TRUNC = 01000,
       O_NONBLOCK = 04000, O_DIRECTORY = 0200000 };
enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4 };
enum { MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20 };
enum { PAGE = 4096 };

static inline s64 call6(s64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
  register u64 a7 asm("a7") = (u64)number;
  register u64 a0 asm("a0") = a;
  register u64 a1 asm("a1") = b;
  register u64 a2 asm("a2") = c;
  register u64 a3 asm("a3") = d;
  register u64 a4 asm("a4") = e;
  register u64 a5 asm("a5") = f;

  asm volatile("ecall"
               : "+r"(a0)
               : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
               : "memory");
  return (s64)a0;
}

/* call(number, up to six arguments of any kind) */
#define CALL(number, a, b, c, d, e, f, ...)                                    \
  call6(number, (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), (u64)(f))
#define call(...) CALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline u64 length(const char *s)
{
  u64 n = 0;

  while (s[n] != '\0')
    n++;
  return n;
}

static inline int same(const char *a, const char *b)
{
  for (; *a != '\0' && *a == *b; a++)
    b++;
  return *a == *b;
}

static inline void put(const char *s)
{
  call(SYS_write, 1, s, length(s));
}

static inline void put_number(u64 value)
{
  char text[24];
  char *at = text + sizeof text - 1;

  *at = '\0';
  do {
    *--at = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  put(at);
}

static inline void put_hex(u64 value, int digits)
{
  char text[20];

  for (int i = 0; i < digits; i++)
    text[i] = "0123456789abcdef"[value >> 4 * (digits - 1 - i) & 15];
  text[digits] = '\0';
  put(text);
}

/* The compiler may call these. */
void *memset(void *to, int byte, u64 n)
{
  for (u8 *at = to; n > 0; n--)
    *at++ = (u8)byte;
  return to;
}

void *memcpy(void *to, const void *from, u64 n)
{
  const u8 *at = from;

  for (u8 *out = to; n > 0; n--)
    *out++ = *at++;
  return to;
}

static int guest_main(int argc, char **argv);

__attribute__((used)) static void begin(u64 *stack)
{
  call(SYS_exit_group, guest_main((int)stack[0], (char **)(stack + 1)));
}

asm(".globl _start\n"
    "_start:\n"
    ".option push\n"
    ".option norelax\n"
    "  lla gp, __global_pointer$\n"
    ".option pop\n"
    "  mv a0, sp\n"
    "  call begin\n");

#endif
