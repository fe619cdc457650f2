/*
 * The fault label of an accessor sees every local variable as it was, at every
 * level of optimisation.  Each function here has a shape that a compiler could
 * take apart: loops, several accessors to one label, values live in registers
 * across the edge, a label that ordinary code reaches too.
 *
 * Prints one line for each shape; exits with the number that are wrong.
 */
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

#ifdef WITHOUT_THE_LABEL
/* As the accessors would be without a label of their own: for the curious. */
#undef vmmi_try_load
#define vmmi_try_load(bits, temp, insn, value, pointer, label)                 \
  do {                                                                         \
    temp vmmi_ex_value;                                                        \
    __asm__ volatile goto("1: " insn "\n\t" VMMI_EX_ENTRY("%l[" #label "]")    \
                          : "=r"(vmmi_ex_value)                                \
                          : "m"(*(const volatile vmmi_mem_u##bits *)(pointer)) \
                          :                                                    \
                          : label);                                            \
    (value) = (__typeof__(value))vmmi_ex_value;                                \
  } while (0)
#endif

#define NOINLINE __attribute__((noinline))

static int wrong;

static void expect(const char *shape, uint64_t got, uint64_t wanted)
{
  printf("%s %s\n", got == wanted ? "ok" : "WRONG", shape);
  if (got != wanted) {
    printf("  0x%llx, not 0x%llx\n", (unsigned long long)got,
           (unsigned long long)wanted);
    wrong++;
  }
}

/* One accessor in a loop; count and sum are live at the label. */
static NOINLINE uint64_t loop(const char *at, uint64_t n)
{
  uint64_t count = 0, sum = 0, value;

  for (; count < n; count++) {
    vmm_try_load_u64(value, at + count * 8, fault);
    sum += value;
  }
  return sum;
fault:
  return count << 32 | sum;
}

/* Two accessors share a label with ordinary code; what tells them apart. */
static NOINLINE uint64_t shared(const char *a, const char *b, uint64_t where)
{
  uint64_t x = 0x11, y = 0x22;

  if (where == 7)
    goto fault;
  where = 1;
  vmm_try_load_u64(x, a, fault);
  where = 2;
  vmm_try_load_u64(y, b, fault);
  return x + y;
fault:
  return where << 32 | x << 16 | y;
}

/* The value loaded is the variable that is live at the label. */
static NOINLINE uint64_t same(const char *at)
{
  uint64_t value = 0x77;

  vmm_try_load_u64(value, at, fault);
  value += 1;
fault:
  return value;
}

static NOINLINE uint64_t select_value(const char *at, int which)
{
  uint64_t value;

  vmm_try_load_u64(value, at, fault);
  if (which)
    return value;
  value = 3;
  goto fault;
fault:
  return (uint64_t)which + 5;
}

/* More values than registers, all live at the label. */
static NOINLINE uint64_t pressure(const char *at, const uint64_t *in)
{
  uint64_t a = in[0], b = in[1], c = in[2], d = in[3], e = in[4], f = in[5];
  uint64_t g = in[6], h = in[7], i = in[8], j = in[9], k = in[10], l = in[11];
  uint64_t m = in[12], n = in[13], o = in[14], p = in[15], value;

  for (;;) {
    vmm_try_load_u64(value, at, fault);
    a += value; b ^= a; c += b; d ^= c; e += d; f ^= e; g += f; h ^= g;
    i += h; j ^= i; k += j; l ^= k; m += l; n ^= m; o += n; p ^= o;
    at += 8;
  }
fault:
  return a * 3 + b * 5 + c * 7 + d * 11 + e * 13 + f * 17 + g * 19 + h * 23 +
         i * 29 + j * 31 + k * 37 + l * 41 + m * 43 + n * 47 + o * 53 + p * 59;
}

static uint64_t pressure_wanted(const uint64_t *words, const uint64_t *in,
                                unsigned count)
{
  uint64_t v[16], sum = 0;
  static const uint64_t primes[] = { 3,  5,  7,  11, 13, 17, 19, 23,
                                     29, 31, 37, 41, 43, 47, 53, 59 };
  volatile unsigned n;

  memcpy(v, in, sizeof(v));
  for (n = 0; n < count; n++) {
    v[0] += words[n];
    for (int i = 1; i < 16; i++)
      v[i] = i & 1 ? v[i] ^ v[i - 1] : v[i] + v[i - 1];
  }
  for (int i = 0; i < 16; i++)
    sum += v[i] * primes[i];
  return sum;
}

struct machine {
  uint64_t reg[32], pc, executed;
  const char *base;
};

/* An interpreter's loop: dispatch, registers in memory, state at the fault. */
static NOINLINE uint64_t dispatch(struct machine *machine, const uint8_t *code)
{
  static const void *const ops[] = { &&load, &&add, &&store, &&halt, &&load4 };
  struct machine *const m = machine;
  const uint8_t *pc = code;
  uint64_t executed = 0;
  uint32_t narrow;

#define NEXT goto *ops[pc[0]]
  NEXT;
load:
  vmm_try_load_u64(m->reg[pc[1]], m->base + m->reg[pc[2]], fault);
  executed++, pc += 3;
  NEXT;
load4:
  vmm_try_load_u32(narrow, m->base + m->reg[pc[2]], fault);
  m->reg[pc[1]] = narrow;
  executed++, pc += 3;
  NEXT;
add:
  m->reg[pc[1]] += m->reg[pc[2]];
  executed++, pc += 3;
  NEXT;
store:
  vmm_try_store_u64((char *)m->base + m->reg[pc[2]], m->reg[pc[1]], fault);
  executed++, pc += 3;
  NEXT;
halt:
  return 0;
fault:
  m->pc = (uint64_t)(pc - code);
  m->executed = executed;
  return 1;
}

static NOINLINE uint64_t stores(char *at, uint64_t n)
{
  uint64_t i = 0;

  for (; i < n; i++)
    vmm_try_store_u32(at + i * 4, i, fault);
  return i;
fault:
  return i | 1ull << 32;
}

/* The swap of expected, which is live at the label. */
static NOINLINE uint64_t swap(char *at, uint32_t expected)
{
  uint32_t was = expected;

  vmm_try_cas_u32(at, expected, 9, fault);
  return expected == was;
fault:
  return 0x100 | expected;
}

/* Values of other types than the access's. */
static NOINLINE uint64_t narrow(const char *at)
{
  uint64_t wide = ~0ull;
  int32_t word = -1;
  uint8_t byte = 1;

  vmm_try_load_u8(wide, at, fault);
  vmm_try_load_u16(word, at, fault);
  vmm_try_load_u32(byte, at, fault);
  return wide << 40 | (uint64_t)(uint32_t)word << 8 | byte;
fault:
  return 0;
}

static void run(char *page, char *beyond, char *base, uint64_t at)
{
  static const uint8_t code[] = { 0, 1, 0, 1, 2, 1, 2, 2, 3, 4, 5, 3, 1, 6, 5,
                                  0, 7, 4, 3 };
  struct machine m = { .base = base };
  uint64_t words[4] = { 5, 6, 7, 8 }, in[16];

  memcpy(beyond - sizeof(words), words, sizeof(words));
  for (unsigned i = 0; i < 16; i++)
    in[i] = i * 0x9e3779b97f4a7c15 + 1;
  expect("loop", loop(beyond - 32, 100), 4ull << 32 | 26);
  expect("loop without a fault", loop(beyond - 32, 4), 26);
  expect("shared, at the first", shared(beyond, beyond - 32, 0),
         1ull << 32 | 0x110022);
  expect("shared, at the second", shared(beyond - 32, beyond, 0),
         2ull << 32 | 0x050022);
  expect("shared, by goto", shared(beyond, beyond, 7), 7ull << 32 | 0x110022);
  expect("shared, no fault", shared(beyond - 32, beyond - 24, 0), 11);
  expect("same", same(beyond), 0x77);
  expect("same, no fault", same(beyond - 8), 9);
  expect("select, fault", select_value(beyond, 1), 6);
  expect("select, no fault", select_value(beyond - 8, 1), 8);
  expect("select, goto", select_value(beyond - 8, 0), 5);
  expect("pressure", pressure(beyond - 32, in), pressure_wanted(words, in, 4));
  m.reg[0] = at;
  m.reg[3] = at + 8;
  m.reg[4] = 1 << 20;
  memcpy(page, &(uint64_t){ 1000 }, 8);
  expect("dispatch", dispatch(&m, code), 1);
  expect("dispatch: pc", m.pc, 15);
  expect("dispatch: count", m.executed, 5);
  expect("dispatch: sum", m.reg[6], 1000);
  expect("dispatch: not loaded", m.reg[7], 0);
  expect("stores", stores(beyond - 16, 10), 4 | 1ull << 32);
  expect("swap, fault", swap(beyond, 3), 0x103);
  expect("swap, done", swap(beyond - 4, 3), 1);
  expect("swap, not done", swap(beyond - 4, 3), 0);
  memcpy(page, "\x81\x82\x83\x84", 4);
  expect("narrow", narrow(page), 0x81ull << 40 | 0x8281ull << 8 | 0x81);
}

int main(void)
{
  struct vmm_space *space;
  uint64_t page, at = 0x10000;
  char *base;

  if (vmm_space_create(&space, NULL) != 0)
    return 99;
  page = vmm_space_page_size(space);
  if (vmm_map_anon(space, at, page, VMM_READ | VMM_WRITE) != 0)
    return 99;
  base = vmm_space_base(space);
  run(base + at, base + at + page, base, at);
  if (vmm_space_destroy(space) != 0)
    return 99;
  return wrong;
}
