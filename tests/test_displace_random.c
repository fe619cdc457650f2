#define _GNU_SOURCE 1
/*
 * Random instructions out of line against the same in place: registers, flags,
 * SSE registers, memory, and where they end.  The place lies among breakpoints,
 * so that wherever an instruction leads a trap tells; faults are outcomes too.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "displacing.h"

#if defined __x86_64__

enum {
  AREA = 1 << 17,        /* breakpoints, */
  PLACE = AREA / 2,      /* the instruction in their middle, */
  DATA = 1 << 14,        /* and memory behind them */
  REACH = 2048,          /* of pointers and displacements, from its middle */
  REGISTERS = 16,
};

/* As contexts have them: r8 to r15, rdi rsi rbp rbx rdx rax rcx rsp rip. */
static const int greg_of[REGISTERS] = {
  REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

struct state {
  uint64_t reg[REGISTERS];
  uint64_t flags, pc;
  unsigned reason; /* how it ended */
  uint8_t xmm[256];
  uint8_t data[DATA];
};

struct insn {
  uint8_t code[15];
  unsigned length;
  unsigned modrm_at; /* 0: none */
  bool pointers;     /* a target is read from memory */
};

static uint8_t *area;
static uint8_t *data;
static uint64_t seed = 0x9e3779b97f4a7c15u;
static struct insn now;
static struct state start, in_place, elsewhere;
static struct state *outcome;
static ucontext_t begun;
static struct _libc_fpstate begun_fp;
static enum { BEGIN, RUN, DISPLACE } phase;
static int displaced; /* what vmm_displace() said */

static uint64_t pick(uint64_t n)
{
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (seed >> 11) % n;
}

/* ---- one run ---- */

static void load_state(ucontext_t *context, const struct state *state)
{
  greg_t *gregs = context->uc_mcontext.gregs;

  for (int i = 0; i < REGISTERS; i++)
    gregs[greg_of[i]] = (greg_t)state->reg[i];
  gregs[REG_EFL] = (greg_t)state->flags;
  gregs[REG_RIP] = (greg_t)state->pc;
  memcpy(context->uc_mcontext.fpregs->_xmm, state->xmm, sizeof(state->xmm));
}

static void save_state(const ucontext_t *context, struct state *state)
{
  const greg_t *gregs = context->uc_mcontext.gregs;

  for (int i = 0; i < REGISTERS; i++)
    state->reg[i] = (uint64_t)gregs[greg_of[i]];
  state->flags = (uint64_t)gregs[REG_EFL] & 0xcd5;
  memcpy(state->xmm, context->uc_mcontext.fpregs->_xmm, sizeof(state->xmm));
  memcpy(state->data, data, DATA);
}

/* Back to where the area was called. */
static void end_run(ucontext_t *context, const void *pc, unsigned reason)
{
  save_state(context, outcome);
  outcome->pc = (uint64_t)(uintptr_t)pc;
  outcome->reason = reason;
  memcpy(context->uc_mcontext.gregs, begun.uc_mcontext.gregs,
         sizeof(begun.uc_mcontext.gregs));
  *context->uc_mcontext.fpregs = begun_fp;
}

/* The begin: from the call of the area.  The end: back there. */
static enum vmm_verdict at_trap(struct vmm_fault *fault, void *arg)
{
  ucontext_t *context = fault->context;
  uint8_t *pc = fault->host_pc;

  (void)arg;
  if (pc == area) {
    begun = *context;
    begun_fp = *context->uc_mcontext.fpregs;
    load_state(context, &start);
    return VMM_RESUME;
  }
  if (pc == area + PLACE && phase == DISPLACE) {
    phase = RUN; /* once */
    displaced = vmm_displace(context, pc, now.code, now.length);
    if (displaced == 0)
      return VMM_RESUME;
  }
  end_run(context, pc, fault->reason);
  return VMM_RESUME;
}

/* It led out of the area: the fault is nobody's, and goes to this earlier
 * handler. */
static void at_wild_fault(int signal, siginfo_t *info, void *context)
{
  (void)signal;
  (void)info;
  end_run(context, (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP],
          VMM_FAULT_OUTSIDE);
}

static void run(struct state *end, bool out_of_line)
{
  outcome = end;
  phase = out_of_line ? DISPLACE : RUN;
  memcpy(data, start.data, DATA);
  memcpy(area + PLACE, now.code, now.length);
  if (out_of_line)
    area[PLACE] = 0xcc;
  ((void (*)(void))(uintptr_t)area)();
  memset(area + PLACE, 0xcc, sizeof(now.code));
}

/* ---- what is run ---- */

static void put(unsigned byte)
{
  now.code[now.length++] = (uint8_t)byte;
}

static void put_immediate(unsigned nbytes)
{
  while (nbytes-- > 0)
    put((unsigned)pick(256));
}

static void put32(int32_t value)
{
  memcpy(now.code + now.length, &value, sizeof(value));
  now.length += 4;
}

/* ModRM with this register field, or -1 for any; memory alone if asked. */
static void put_modrm(int reg, bool memory)
{
  unsigned mod = (unsigned)pick(memory ? 3 : 4);
  unsigned rm = (unsigned)pick(8);
  unsigned field = reg >= 0 ? (unsigned)reg : (unsigned)pick(8);

  if (mod != 3 && pick(2) == 0) { /* rip-relative more often */
    mod = 0;
    rm = 5;
  }
  now.modrm_at = now.length;
  put(mod << 6 | field << 3 | rm);
  if (mod == 3)
    return;
  if (rm == 4) {
    rm = (unsigned)pick(256);
    put(rm);
    rm &= 7;
    if (mod == 0 && rm == 5)
      put32((int32_t)pick(REACH));
  } else if (mod == 0 && rm == 5) {
    put32(0); /* aimed when the length is known */
  }
  if (mod == 1)
    put((unsigned)pick(256));
  if (mod == 2)
    put32((int32_t)pick(2 * REACH) - REACH);
}

static unsigned put_prefixes(bool word)
{
  unsigned rex = 0;

  if (word && pick(4) == 0)
    put(0x66);
  if (pick(2) == 0) {
    rex = 0x40 | (unsigned)pick(16);
    put(rex);
  }
  return rex;
}

static unsigned word_nbytes(unsigned rex)
{
  return now.code[0] == 0x66 && !(rex & 8) ? 2 : 4;
}

static void make_alu(void)
{
  unsigned rex = put_prefixes(true);

  switch (pick(8)) {
  case 0: case 1:
    put((unsigned)pick(8) << 3 | (unsigned)pick(4));
    put_modrm(-1, false);
    break;
  case 2:
    put(0x81);
    put_modrm(-1, false);
    put_immediate(word_nbytes(rex));
    break;
  case 3:
    put(pick(2) ? 0x80 : 0x83);
    put_modrm(-1, false);
    put_immediate(1);
    break;
  case 4:
    put(0xc0u | (unsigned)pick(2));
    put_modrm(-1, false);
    put_immediate(1);
    break;
  case 5:
    put(0xd0u | (unsigned)pick(4));
    put_modrm(-1, false);
    break;
  case 6:
    put(0x69);
    put_modrm(-1, false);
    put_immediate(word_nbytes(rex));
    break;
  default:
    put(0xf6u | (unsigned)pick(2)); /* not, neg, mul, imul, div, idiv */
    put_modrm((int)(2 + pick(6)), false);
  }
}

static void make_move(void)
{
  unsigned rex = put_prefixes(true);

  switch (pick(7)) {
  case 0: case 1:
    put(0x84u + (unsigned)pick(8)); /* test, xchg, mov */
    put_modrm(-1, false);
    break;
  case 2:
    put(0x8d);
    put_modrm(-1, true);
    break;
  case 3:
    put(pick(2) ? 0xff : 0x8f); /* push, pop */
    put_modrm(now.code[now.length - 1] == 0xff ? 6 : 0, false);
    break;
  case 4:
    put(0xfe);
    put_modrm((int)pick(2), false);
    break;
  case 5:
    put(0x63);
    put_modrm(-1, false);
    break;
  default:
    put(0xc7);
    put_modrm(0, false);
    put_immediate(word_nbytes(rex));
  }
}

static void make_no_operand(void)
{
  static const uint8_t bytes[] = { 0x98, 0x99, 0x9c, 0x9e, 0x9f, 0xf5, 0xf8,
                                   0xf9, 0xc9, 0xd7, 0xa4, 0xa5, 0xaa, 0xab,
                                   0xac, 0xad, 0xa6, 0xae };

  switch (pick(4)) {
  case 0:
    put(0x50u + (unsigned)pick(16));
    break;
  case 1:
    put(0xb0u + (unsigned)pick(8));
    put_immediate(1);
    break;
  case 2:
    put(0x68);
    put_immediate(4);
    break;
  default:
    put(bytes[pick(sizeof(bytes))]);
  }
}

static void make_two_byte(void)
{
  static const uint8_t ops[] = { 0xba, 0xba, 0xa5, 0xad, 0xaf,
                                 0xb0, 0xb1, 0xb6, 0xb7, 0xbe, 0xbf, 0xbc,
                                 0xbd, 0xc0, 0xc1, 0xa4, 0xac };
  unsigned op = ops[pick(sizeof(ops))];

  put_prefixes(true);
  put(0x0f);
  if (pick(3) == 0)
    op = (pick(2) ? 0x40u : 0x90u) + (unsigned)pick(16); /* cmov, set */
  put(op);
  put_modrm(op == 0xba ? (int)(4 + pick(4)) : -1, false);
  if (op == 0xa4 || op == 0xac || op == 0xba)
    put_immediate(1);
}

static void make_sse(void)
{
  static const uint8_t ops[] = { 0x10, 0x11, 0x14, 0x54, 0x57, 0x58, 0x59,
                                 0x5c, 0x60, 0x62, 0x6f, 0x7f, 0x6e, 0x7e,
                                 0xd4, 0xdb, 0xeb, 0xef, 0xfa, 0xfe };

  put(0x66);
  if (pick(2) == 0)
    put(0x40u | (unsigned)pick(16));
  put(0x0f);
  if (pick(6) == 0) {
    put(0x38);
    put((unsigned)pick(4));
    put_modrm(-1, false);
  } else {
    put(ops[pick(sizeof(ops))]);
    put_modrm(-1, false);
  }
}

/* andn bextr pdep pext shlx mulx rorx; vpaddb and its like, of 128 bits */
static void make_vex(void)
{
  static const uint8_t general[] = { 0xf2, 0xf5, 0xf6, 0xf7 };
  unsigned map = 2, pp = (unsigned)pick(4), op = general[pick(4)];
  unsigned rxb = (unsigned)pick(8) << 5, w = (unsigned)pick(2) << 7;
  unsigned vvvv = (unsigned)pick(16) << 3;

  if (op == 0xf2)
    pp = 0;
  else if (op == 0xf5)
    pp = 2 + (unsigned)pick(2);
  else if (op == 0xf6)
    pp = 3;
  if (pick(3) == 0) {
    map = 1;
    pp = 1;
    op = 0xfc + (unsigned)pick(3);
  }
  if (map == 1 && pick(2) == 0) {
    put(0xc5);
    put((rxb & 0x80u) | vvvv | pp);
  } else {
    put(0xc4);
    put(rxb | map);
    put(w | vvvv | pp);
  }
  put(op);
  put_modrm(-1, false);
}

/* Not to itself, again and again. */
static int32_t distance(int32_t most)
{
  int32_t far = 16 + (int32_t)pick((uint64_t)most - 16);

  return pick(2) ? far : -far;
}

static void make_transfer(void)
{
  switch (pick(7)) {
  case 0:
    put(0x70u + (unsigned)pick(16));
    put((unsigned)distance(128) & 0xff);
    break;
  case 1:
    put(0xe0u + (unsigned)pick(4));
    put((unsigned)distance(128) & 0xff);
    break;
  case 2:
    put(0x0f);
    put(0x80u + (unsigned)pick(16));
    put32(distance(30000));
    break;
  case 3:
    put(0xe8u + (unsigned)pick(2));
    put32(distance(30000));
    break;
  case 4:
    put(0xc3);
    now.pointers = true;
    break;
  case 5:
    put(0xc2);
    put((unsigned)pick(256));
    put(0);
    now.pointers = true;
    break;
  default:
    if (pick(3) == 0)
      put(0x40u | (unsigned)pick(16));
    put(0xff);
    put_modrm(pick(2) ? 2 : 4, false);
    now.pointers = true;
  }
}

/* ---- with what ---- */

static uint64_t some_data(void)
{
  return (uint64_t)(uintptr_t)data + DATA / 2 + pick(2 * REACH) - REACH;
}

static uint64_t some_place(void)
{
  return (uint64_t)(uintptr_t)area + PLACE + (uint64_t)(int64_t)distance(PLACE - 64);
}

static void choose_registers(void)
{
  for (int i = 0; i < REGISTERS; i++)
    switch (pick(4)) {
    case 0: start.reg[i] = pick(64); break;
    case 1: start.reg[i] = seed; break;
    default: start.reg[i] = some_data();
    }
  start.reg[4] = some_data() & ~7ull;
  if (now.code[0] >= 0xa4 && now.code[0] <= 0xaf) {
    start.reg[6] = some_data();
    start.reg[7] = some_data();
  }
  start.flags = 0x202 | (pick(2) ? 0xd5 & seed : 0x800);
}

/* Memory holds pointers at all multiples of 8, and so do registers that may be
 * a target or a base.  They are odd: what is read between two of them is then
 * no address that there could be. */
static void choose_pointers(void)
{
  for (size_t i = 0; i < DATA; i += 8) {
    uint64_t place = some_place() | 1;

    memcpy(start.data + i, &place, sizeof(place));
  }
  for (int i = 0; i < REGISTERS; i++)
    start.reg[i] = some_data() & ~7ull;
  if (now.modrm_at != 0 && now.code[now.modrm_at] >> 6 == 3)
    for (int i = 0; i < REGISTERS; i++)
      start.reg[i] = some_place();
  start.reg[4] = some_data() & ~7ull;
  if (now.modrm_at == 0)
    return;
  if (now.code[now.modrm_at] >> 6 == 3 && (now.code[now.modrm_at] & 7) == 4)
    now.code[now.modrm_at]++; /* rsp is no place to go */
  now.code[now.modrm_at + 1] &= 0xf8; /* disp8 and disp32; an index is rare */
}

static void aim(void)
{
  uint64_t end = (uint64_t)(uintptr_t)area + PLACE + now.length;
  uint64_t to = some_data() & ~15ull; /* SSE wants it aligned */
  int32_t distance_to;

  if (now.modrm_at == 0 || (now.code[now.modrm_at] & 0xc7) != 5)
    return;
  distance_to = (int32_t)(to - end);
  memcpy(now.code + now.modrm_at + 1, &distance_to, sizeof(distance_to));
}

static void make_case(void)
{
  static void (*const makers[])(void) = {
    make_alu, make_move, make_no_operand, make_two_byte,
    make_sse, make_transfer, make_vex,
  };

  now = (struct insn){ .length = 0 };
  makers[pick(__builtin_cpu_supports("bmi2") ? 7 : 6)]();
  for (size_t i = 0; i < sizeof(start.xmm); i += 8)
    memcpy(start.xmm + i, &(uint64_t){ pick(UINT64_MAX) }, 8);
  for (size_t i = 0; i < DATA; i += 8)
    memcpy(start.data + i, &(uint64_t){ pick(UINT64_MAX) }, 8);
  choose_registers();
  if (now.pointers)
    choose_pointers();
  aim();
  start.pc = (uint64_t)(uintptr_t)area + PLACE;
}

/* ---- the comparison ---- */

static void tell(void)
{
  fprintf(stderr, "insn");
  for (unsigned i = 0; i < now.length; i++)
    fprintf(stderr, " %02x", now.code[i]);
  fprintf(stderr, ": displace %d, reasons %u %u, flags %lx %lx pc %lx %lx\n",
          displaced, in_place.reason, elsewhere.reason, (long)in_place.flags,
          (long)elsewhere.flags, (long)in_place.pc, (long)elsewhere.pc);
  for (int i = 0; i < REGISTERS; i++)
    if (in_place.reg[i] != elsewhere.reg[i])
      fprintf(stderr, "  reg %d: %lx %lx, was %lx\n", i, (long)in_place.reg[i],
              (long)elsewhere.reg[i], (long)start.reg[i]);
  for (int i = 0; i < DATA; i++)
    if (in_place.data[i] != elsewhere.data[i])
      fprintf(stderr, "  data %d: %x %x\n", i, in_place.data[i],
              elsewhere.data[i]);
}

static bool same(void)
{
  return memcmp(in_place.reg, elsewhere.reg, sizeof(in_place.reg)) == 0 &&
         in_place.flags == elsewhere.flags && in_place.pc == elsewhere.pc &&
         in_place.reason == elsewhere.reason &&
         memcmp(in_place.xmm, elsewhere.xmm, sizeof(in_place.xmm)) == 0 &&
         memcmp(in_place.data, elsewhere.data, DATA) == 0;
}

static void make_area(void)
{
  struct vmm_code_options options = { .handler = at_trap };

  /* where it lies each time, if that can be: a run is the same as the last
   * then */
  area = mmap((void *)0x123451000000, AREA + DATA,
              PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
              -1, 0);
  ck_assert_ptr_ne(area, MAP_FAILED);
  data = area + AREA;
  memset(area, 0xcc, AREA);
  area[1] = 0xc3; /* the call returns there */
  ck_assert_ok(vmm_code_register(area, AREA, &options));
}

START_TEST(random_instructions_do_elsewhere_what_they_do_in_place)
{
  struct sigaction wild = { .sa_sigaction = at_wild_fault,
                            .sa_flags = SA_SIGINFO | SA_ONSTACK };
  struct displacing displacing;
  const char *count = getenv("VMM_DISPLACE_RUNS");
  unsigned runs = count != NULL ? (unsigned)strtoul(count, NULL, 0) : 30000;
  unsigned faults = 0, refused = 0;

  ck_assert_int_eq(sigaction(SIGSEGV, &wild, NULL), 0);
  displacing = displacing_begin();
  ck_assert_ok(vmm_thread_attach());
  make_area();
  for (unsigned i = 0; i < runs; i++) {
    uint64_t from = seed;

    make_case();
    run(&in_place, false);
    displaced = 0;
    run(&elsewhere, true);
    if (displaced != 0) {
      refused++;
      continue;
    }
    faults += in_place.reason != VMM_FAULT_TRAP;
    if (!same())
      tell();
    ck_assert_msg(same(), "case %u, seed 0x%llx", i, (unsigned long long)from);
  }
  ck_assert_uint_lt(refused, runs / 50);
  ck_assert_uint_lt(faults, runs / 2);
  ck_assert_ok(vmm_code_unregister(area));
  displacing_end(&displacing);
}
END_TEST
#endif

Suite *vmm_suite_displace_random(void)
{
  Suite *suite = suite_create("displace_random");
  TCase *tcase = tcase_create("compare");

#if defined __x86_64__
  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase,
                 random_instructions_do_elsewhere_what_they_do_in_place);
#endif
  suite_add_tcase(suite, tcase);
  return suite;
}
