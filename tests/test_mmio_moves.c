/*
 * Every move that libvmm-mmio performs, against the processor's own: with the
 * same registers, flags and bytes it does to a device, and to a watched page,
 * what it does to memory.
 */
#define _GNU_SOURCE
#include "moves.h"

#include <sys/mman.h>
#include <vmm/mmio.h>

#include "uart.h"

/* ---- running one ---- */

/* moves_run: saves what a function keeps, loads the machine, jumps into the
 * code and comes back at moves_back, which writes everything to the machine
 * again. */
#define EACH_VECTOR(X)                                                         \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)    \
      X(14) X(15)
#define LOAD_YMM(n) "vmovdqu 160+32*" #n "(%rdi), %ymm" #n "\n\t"
#define LOAD_XMM(n) "movdqu 160+32*" #n "(%rdi), %xmm" #n "\n\t"
#define SAVE_YMM(n) "vmovdqu %ymm" #n ", 160+32*" #n "(%rax)\n\t"
#define SAVE_XMM(n) "movdqu %xmm" #n ", 160+32*" #n "(%rax)\n\t"

_Static_assert(offsetof(struct machine, flags) == 128 &&
                   offsetof(struct machine, code) == 136 &&
                   offsetof(struct machine, vector) == 160,
               "the assembler below knows these");

uint32_t moves_avx;
static uint64_t moves_code __attribute__((used));
static uint64_t moves_rax __attribute__((used));

__asm__(".text\n"
        "moves_run:\n\t"
        "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\t"
        "push %r15\n\tpush %rdi\n\t"
        "cmpl $0, moves_avx(%rip)\n\tje 1f\n\t" EACH_VECTOR(LOAD_YMM) "jmp 2f\n"
        "1:\t" EACH_VECTOR(LOAD_XMM) "\n"
        "2:\tmov 136(%rdi), %rax\n\tmov %rax, moves_code(%rip)\n\t"
        "pushq 128(%rdi)\n\tpopfq\n\t"
        "mov 0(%rdi), %rax\n\tmov 8(%rdi), %rcx\n\tmov 16(%rdi), %rdx\n\t"
        "mov 24(%rdi), %rbx\n\tmov 40(%rdi), %rbp\n\tmov 48(%rdi), %rsi\n\t"
        "mov 64(%rdi), %r8\n\tmov 72(%rdi), %r9\n\tmov 80(%rdi), %r10\n\t"
        "mov 88(%rdi), %r11\n\tmov 96(%rdi), %r12\n\tmov 104(%rdi), %r13\n\t"
        "mov 112(%rdi), %r14\n\tmov 120(%rdi), %r15\n\tmov 56(%rdi), %rdi\n\t"
        "jmp *moves_code(%rip)\n"
        ".globl moves_back\n"
        "moves_back:\n\t"
        "mov %rax, moves_rax(%rip)\n\tmov (%rsp), %rax\n\t"
        "mov %rcx, 8(%rax)\n\tmov %rdx, 16(%rax)\n\tmov %rbx, 24(%rax)\n\t"
        "mov %rbp, 40(%rax)\n\tmov %rsi, 48(%rax)\n\tmov %rdi, 56(%rax)\n\t"
        "mov %r8, 64(%rax)\n\tmov %r9, 72(%rax)\n\tmov %r10, 80(%rax)\n\t"
        "mov %r11, 88(%rax)\n\tmov %r12, 96(%rax)\n\tmov %r13, 104(%rax)\n\t"
        "mov %r14, 112(%rax)\n\tmov %r15, 120(%rax)\n\t"
        "pushfq\n\tpopq 128(%rax)\n\t"
        "mov moves_rax(%rip), %rcx\n\tmov %rcx, 0(%rax)\n\t"
        "cmpl $0, moves_avx(%rip)\n\tje 1f\n\t" EACH_VECTOR(SAVE_YMM)
        "vzeroupper\n\tjmp 2f\n"
        "1:\t" EACH_VECTOR(SAVE_XMM) "\n"
        "2:\tpop %rdi\n\tpop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\t"
        "pop %rbp\n\tpop %rbx\n\tret\n");

/* ---- assembling ---- */

enum { NONE = 16, RSP = 4, RBP = 5 };

enum encoding { LEGACY, VEX };

/* Which sizes the operand may have: of a general register. */
enum { R8 = 1, R16 = 2, R32 = 4, R64 = 8, XMM = 16 };

static const struct row {
  uint8_t encoding;
  uint8_t prefix;    /* 0x66 0xf2 0xf3, or 0 */
  uint8_t map;       /* 0: one byte; 1: 0f; 2: 0f 38 */
  uint8_t opcode;
  bool load;
  uint8_t registers; /* R8 ... */
  uint8_t nbytes;    /* of memory; 0: as the register */
  uint8_t immediate; /* 1: as large as memory, at most 4 */
  uint8_t aligned;   /* memory is */
  uint8_t wide;      /* REX.W or VEX.W */
} rows[] = {
  { LEGACY, 0, 0, 0x88, false, R8, 0, 0, 0, 0 },
  { LEGACY, 0, 0, 0x89, false, R16 | R32 | R64, 0, 0, 0, 0 },
  { LEGACY, 0, 0, 0x8a, true, R8, 0, 0, 0, 0 },
  { LEGACY, 0, 0, 0x8b, true, R16 | R32 | R64, 0, 0, 0, 0 },
  { LEGACY, 0, 0, 0xc6, false, R8, 0, 1, 0, 0 },
  { LEGACY, 0, 0, 0xc7, false, R16 | R32 | R64, 0, 1, 0, 0 },
  { LEGACY, 0, 1, 0xb6, true, R16 | R32 | R64, 1, 0, 0, 0 },
  { LEGACY, 0, 1, 0xb7, true, R32 | R64, 2, 0, 0, 0 },
  { LEGACY, 0, 1, 0xbe, true, R16 | R32 | R64, 1, 0, 0, 0 },
  { LEGACY, 0, 1, 0xbf, true, R32 | R64, 2, 0, 0, 0 },
  { LEGACY, 0, 0, 0x63, true, R64, 4, 0, 0, 0 },
  { LEGACY, 0, 2, 0xf0, true, R16 | R32 | R64, 0, 0, 0, 0 },
  { LEGACY, 0, 2, 0xf1, false, R16 | R32 | R64, 0, 0, 0, 0 },
  { LEGACY, 0, 1, 0xc3, false, R32 | R64, 0, 0, 0, 0 },
  { LEGACY, 0, 1, 0x10, true, XMM, 16, 0, 0, 0 },
  { LEGACY, 0, 1, 0x11, false, XMM, 16, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0x10, true, XMM, 16, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0x11, false, XMM, 16, 0, 0, 0 },
  { LEGACY, 0xf3, 1, 0x10, true, XMM, 4, 0, 0, 0 },
  { LEGACY, 0xf3, 1, 0x11, false, XMM, 4, 0, 0, 0 },
  { LEGACY, 0xf2, 1, 0x10, true, XMM, 8, 0, 0, 0 },
  { LEGACY, 0xf2, 1, 0x11, false, XMM, 8, 0, 0, 0 },
  { LEGACY, 0, 1, 0x12, true, XMM, 8, 0, 0, 0 },
  { LEGACY, 0, 1, 0x13, false, XMM, 8, 0, 0, 0 },
  { LEGACY, 0, 1, 0x16, true, XMM, 8, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0x17, false, XMM, 8, 0, 0, 0 },
  { LEGACY, 0, 1, 0x28, true, XMM, 16, 0, 1, 0 },
  { LEGACY, 0x66, 1, 0x29, false, XMM, 16, 0, 1, 0 },
  { LEGACY, 0, 1, 0x2b, false, XMM, 16, 0, 1, 0 },
  { LEGACY, 0x66, 1, 0x6e, true, XMM, 4, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0x7e, false, XMM, 4, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0x6e, true, XMM, 8, 0, 0, 1 },
  { LEGACY, 0x66, 1, 0x7e, false, XMM, 8, 0, 0, 1 },
  { LEGACY, 0xf3, 1, 0x7e, true, XMM, 8, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0xd6, false, XMM, 8, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0x6f, true, XMM, 16, 0, 1, 0 },
  { LEGACY, 0xf3, 1, 0x7f, false, XMM, 16, 0, 0, 0 },
  { LEGACY, 0xf2, 1, 0xf0, true, XMM, 16, 0, 0, 0 },
  { LEGACY, 0x66, 1, 0xe7, false, XMM, 16, 0, 1, 0 },
  { VEX, 0, 1, 0x10, true, XMM, 16, 0, 0, 0 },
  { VEX, 0, 1, 0x11, false, XMM, 16, 0, 0, 0 },
  { VEX, 0xf3, 1, 0x10, true, XMM, 4, 0, 0, 0 },
  { VEX, 0xf2, 1, 0x11, false, XMM, 8, 0, 0, 0 },
  { VEX, 0x66, 1, 0x6f, true, XMM, 16, 0, 1, 0 },
  { VEX, 0xf3, 1, 0x6f, true, XMM, 16, 0, 0, 0 },
  { VEX, 0x66, 1, 0x6e, true, XMM, 8, 0, 0, 1 },
  { VEX, 0x66, 1, 0x7e, false, XMM, 4, 0, 0, 0 },
  { VEX, 0x66, 2, 0x2a, true, XMM, 16, 0, 1, 0 },
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static unsigned below(uint64_t *seed, unsigned n)
{
  return (unsigned)(probe_random(seed) >> 33) % n;
}

static unsigned pick_size(const struct row *row, uint64_t *seed)
{
  unsigned nbytes = 1u << below(seed, 5);

  while (!(row->registers & nbytes))
    nbytes = 1u << below(seed, 5);
  return nbytes;
}

static void put(struct move *move, const void *bytes, unsigned nbytes)
{
  memcpy(move->code + move->length, bytes, nbytes);
  move->length += nbytes;
}

static void put_byte(struct move *move, unsigned byte)
{
  uint8_t value = (uint8_t)byte;

  put(move, &value, 1);
}

static void put_prefixes(struct move *move, const struct row *row,
                         unsigned size, bool rex)
{
  unsigned wide = row->wide || (row->registers != XMM && size == 8);
  unsigned r = move->reg >> 3 & 1, x = move->index >> 3 & 1;
  unsigned b = move->base >> 3 & 1;

  if (row->encoding == VEX) {
    static const uint8_t pp[] = { [0] = 0, [0x66] = 1, [0xf3] = 2, [0xf2] = 3 };

    put_byte(move, 0xc4);
    put_byte(move, (r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | row->map);
    put_byte(move, wide << 7 | 15 << 3 | pp[row->prefix]);
    return;
  }
  if (row->registers != XMM && size == 2)
    put_byte(move, 0x66);
  if (row->prefix != 0)
    put_byte(move, row->prefix);
  if (rex)
    put_byte(move, 0x40 | wide << 3 | r << 2 | x << 1 | b);
  if (row->map >= 1)
    put_byte(move, 0x0f);
  if (row->map == 2)
    put_byte(move, 0x38);
}

/* [base + index * 2^scale + displacement], of 32 bits or 8. */
static void put_operand(struct move *move, unsigned reg, bool near)
{
  unsigned mod = near ? 1 : 2;
  int8_t byte = (int8_t)move->displacement;

  if (move->index == NONE && (move->base & 7) != RSP) {
    put_byte(move, mod << 6 | (reg & 7) << 3 | (move->base & 7));
  } else {
    unsigned index = move->index == NONE ? RSP : move->index & 7;

    put_byte(move, mod << 6 | (reg & 7) << 3 | RSP);
    put_byte(move, move->scale << 6 | index << 3 | (move->base & 7));
  }
  if (near)
    put(move, &byte, 1);
  else
    put(move, &move->displacement, 4);
}

/* mov al, [address] and the like */
static void make_absolute(struct move *move, uint64_t at, uint64_t *seed)
{
  unsigned size = 1u << below(seed, 4);

  move->load = below(seed, 2);
  move->nbytes = size;
  move->base = move->index = NONE;
  if (size == 2)
    put_byte(move, 0x66);
  if (size == 8)
    put_byte(move, 0x48);
  put_byte(move, (move->load ? 0xa0 : 0xa2) + (size > 1));
  put(move, &at, 8);
}

static void make_address(struct move *move, bool low, uint64_t *seed)
{
  unsigned registers = low ? 8 : 16;

  do
    move->base = below(seed, registers);
  while (move->base == RSP);
  move->index = NONE;
  if (below(seed, 2))
    move->index = below(seed, registers);
  if (move->index == RSP || move->index == move->base)
    move->index = NONE;
  move->scale = move->index == NONE ? 0 : below(seed, 4);
}

static bool is_of_address(const struct move *move, unsigned reg)
{
  return reg == move->base || reg == move->index;
}

void moves_make(struct move *move, uint64_t at, uint64_t *seed)
{
  const struct row *row;
  unsigned size, reg;
  bool high, rex, near = below(seed, 2);
  uint64_t immediate = probe_random(seed);

  memset(move, 0, sizeof(*move));
  if (below(seed, 20) == 0) {
    make_absolute(move, at, seed);
    return;
  }
  do
    row = &rows[below(seed, ROWS)];
  while (row->encoding == VEX && !moves_avx);
  size = pick_size(row, seed);
  high = size == 1 && !row->immediate && below(seed, 3) == 0;
  move->load = row->load;
  move->vector = row->registers == XMM;
  move->nbytes = row->nbytes != 0 ? row->nbytes : size;
  make_address(move, high, seed);
  move->displacement = near ? (int8_t)probe_random(seed)
                            : (int32_t)below(seed, 1 << 20) - (1 << 19);
  do
    reg = below(seed, high ? 4 : 16);
  while (!move->vector && !row->immediate &&
         ((move->load && reg == RSP) ||
          (!move->load && is_of_address(move, reg))));
  move->reg = row->immediate ? 0 : reg;
  rex = !high && (below(seed, 2) || size == 8 || row->wide || size == 1 ||
                  ((move->reg | (move->base & 15) | (move->index & 15)) > 7));
  put_prefixes(move, row, size, rex);
  put_byte(move, row->opcode);
  put_operand(move, high ? move->reg + 4 : move->reg, near);
  if (row->immediate)
    put(move, &immediate, size > 4 ? 4 : size);
}

/* ---- comparing ---- */

enum { MOVES = 20000, SLOT = 64, AREA = 64, SPREAD = 1 << 14 };

static uint8_t *codes; /* room for the code of two */
static struct bank bank;
static uint8_t memory[BANK_NBYTES] __attribute__((aligned(4096)));

/* A move, and the way back behind it. */
static const void *place(const struct move *move, unsigned slot)
{
  static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
  const char *back = moves_back;
  uint8_t *code = codes + slot * SLOT;

  memcpy(code, move->code, move->length);
  memcpy(code + move->length, jump, sizeof(jump));
  memcpy(code + move->length + sizeof(jump), &back, sizeof(back));
  return code;
}

static void aim(struct machine *machine, const struct move *move, uint64_t at)
{
  uint64_t index = move->index == NONE ? 0 : machine->gpr[move->index];

  if (move->base != NONE)
    machine->gpr[move->base] = at - (index << move->scale) -
                               (uint64_t)(int64_t)move->displacement;
}

static void randomise(struct machine *machine, uint64_t *seed)
{
  uint8_t *bytes = (uint8_t *)machine->vector;

  for (unsigned i = 0; i < 16; i++)
    machine->gpr[i] = probe_random(seed);
  for (unsigned i = 0; i < sizeof(machine->vector); i++)
    bytes[i] = (uint8_t)(probe_random(seed) >> 40);
  machine->flags = 0x202 | (probe_random(seed) & 0x8d5); /* no TF, no DF */
}

/* What the second machine became is what the first did; the address differs. */
static void compare(const struct move *move, struct machine *one,
                    struct machine *two, const struct machine *before)
{
  for (unsigned i = 0; i < 16; i++) {
    if (i == RSP || (is_of_address(move, i) &&
                     !(move->load && !move->vector && i == move->reg)))
      continue;
    /* a part of the register may have been loaded, the rest is the address */
    if (is_of_address(move, i) && move->nbytes < 4)
      continue;
    ck_assert_uint_eq(one->gpr[i], two->gpr[i]);
  }
  for (unsigned i = 0; i < 16; i++)
    if (is_of_address(move, i) && !(move->load && i == move->reg))
      ck_assert_uint_eq(two->gpr[i], before->gpr[i]);
  ck_assert_uint_eq(one->flags & ~0x10000ull, two->flags & ~0x10000ull);
  ck_assert_mem_eq(one->vector, two->vector, sizeof(one->vector));
}

static void begin(void)
{
  codes = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(codes, MAP_FAILED);
  moves_avx = __builtin_cpu_supports("avx") != 0;
  ck_assert_ok(vmm_mmio_enable());
}

/* Runs moves on memory and at host + the same offset. */
static void run_moves(struct vmm_space *space, vmm_addr_t va, uint8_t *bytes,
                      void (*check)(const struct move *move, uint64_t offset))
{
  char *host = vmm_space_base(space) + va;
  uint64_t seed = probe_seed("moves"), state;
  static struct machine one, two, before;
  struct move move, other;

  for (unsigned n = 0; n < MOVES; n++) {
    uint64_t offset = 64 + below(&seed, SPREAD) / 16 * 16;

    state = seed;
    moves_make(&move, (uint64_t)(uintptr_t)(memory + offset), &seed);
    moves_make(&other, (uint64_t)(uintptr_t)(host + offset), &state);
    randomise(&one, &seed);
    two = one;
    aim(&one, &move, (uint64_t)(uintptr_t)(memory + offset));
    aim(&two, &other, (uint64_t)(uintptr_t)(host + offset));
    one.code = place(&move, 0);
    two.code = place(&other, 1);
    before = two;
    memcpy(memory + offset - AREA, bytes + offset - AREA, 2 * AREA);
    moves_run(&one);
    moves_run(&two);
    compare(&move, &one, &two, &before);
    ck_assert_mem_eq(memory + offset - AREA, bytes + offset - AREA, 2 * AREA);
    check(&move, offset);
  }
}

static void check_asked(const struct move *move, uint64_t offset)
{
  ck_assert_uint_eq(bank.loads, move->load);
  ck_assert_uint_eq(bank.stores, !move->load);
  ck_assert_asked(&bank, offset, move->nbytes);
  bank.loads = bank.stores = 0;
}

START_TEST(random_moves_on_a_device_equal_those_on_memory)
{
  struct vmm_space *space = vmm_test_space(1 << 26, 0);

  begin();
  bank_make(&bank);
  ck_assert_ok(probe_map(space, 0x100000, BANK_NBYTES, bank.device, 0, RW));
  run_moves(space, 0x100000, bank.bytes, check_asked);
  ck_assert_uint_eq(vmm_test_stats(space).performed, MOVES);
  ck_assert_uint_eq(vmm_test_stats(space).unresolved, 0);
  vmm_test_end(space);
  vmm_object_release(bank.device);
}
END_TEST

static struct vmm_watch_event seen;
static unsigned told;

static int tell(struct vmm_watch *watch, const struct vmm_watch_event *event,
                void *arg)
{
  (void)watch;
  (void)arg;
  seen = *event;
  told++;
  return 0;
}

static void check_told(const struct move *move, uint64_t offset)
{
  ck_assert_uint_eq(told, 1);
  ck_assert_uint_eq(seen.va, 0x100000 + offset);
  ck_assert_uint_eq(seen.nbytes, move->nbytes);
  ck_assert_uint_eq(seen.access, move->load ? VMM_READ : VMM_WRITE);
  ck_assert_ptr_nonnull(seen.host_pc);
  told = 0;
}

START_TEST(random_moves_on_a_watched_page_equal_those_on_memory)
{
  struct vmm_space *space = vmm_test_space(1 << 26, VMM_EXACT);
  struct vmm_watch *watch;
  uint8_t *bytes;

  begin();
  /* a pinned object's bytes can be seen at one place */
  ck_assert_ok(vmm_map_anon(space, 0x100000, BANK_NBYTES, RW | VMM_WIRED));
  ck_assert_ok(vmm_watch_add(&watch, space, 0x100000, BANK_NBYTES, RW,
                             VMM_WATCH_AFTER, tell, NULL));
  bytes = vmm_debug_ptr(space, 0x100000);
  run_moves(space, 0x100000, bytes, check_told);
  vmm_watch_remove(watch);
  vmm_test_end(space);
}
END_TEST

Suite *vmm_suite_mmio_moves(void)
{
  Suite *suite = suite_create("mmio_moves");
  TCase *tcase = tcase_create("random");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, random_moves_on_a_device_equal_those_on_memory);
  tcase_add_test(tcase, random_moves_on_a_watched_page_equal_those_on_memory);
  suite_add_tcase(suite, tcase);
  return suite;
}
