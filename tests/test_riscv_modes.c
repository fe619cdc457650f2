/*
 * Random instructions in three ways to memory: through a window, by a software
 * TLB, and by single calls.  Registers, memory, stops, faults, bits and
 * counters are the same, but for faults that only a window has, since it was
 * stale (spurious).
 *
 * Pages are steady (even: written beforehand, with all rights) and wild (odd:
 * their rights and bits change), so that of an access to two pages one at most
 * can fail: which of two the host would name is the host's affair.
 */
#include "riscv_guest.h"

#include "emu/cpu.h"
#include "emu/riscv.h"

enum {
  SEEDS = 2,
  SEQUENCES = 4000, /* of each */
  INSNS_MAX = 40,
  PAGES = 9,
  POINTER = 16, /* the first of the registers that addresses are made from */
  POINTERS = 8,
};

struct machine {
  struct vmm_space *space;
  struct vmm_cpu *cpu;
  enum vmmi_way way;
  struct vmm_stats before; /* the sequence */
};

struct world {
  struct machine machine[VMMI_WAYS];
  uint64_t state; /* of the random numbers */
  uint64_t page;
  uint32_t code[INSNS_MAX + 8];
  unsigned ninsns;
};

static uint64_t next(struct world *w)
{
  w->state ^= w->state << 13;
  w->state ^= w->state >> 7;
  w->state ^= w->state << 17;
  return w->state * 0x2545f4914f6cdd1d;
}

static unsigned below(struct world *w, unsigned n)
{
  return (unsigned)(next(w) >> 33) % n;
}

#define EACH(w, m)                                                             \
  for (struct machine *m = (w)->machine; m < (w)->machine + VMMI_WAYS; m++)

/* ---- the machines ---- */

static void begin_machine(struct machine *m, enum vmmi_way way)
{
  struct vmm_space_options options = { .size = GUEST_SIZE, .flags = VMM_EXACT };

  if (way != VMMI_DIRECT)
    options.flags |= VMM_CHECKED;
  ck_assert_ok(vmm_space_create(&m->space, &options));
  ck_assert_ok(vmm_cpu_create(&m->cpu, m->space, NULL));
  m->cpu->way = m->way = way;
}

static void begin_world(struct world *w, unsigned seed)
{
  memset(w, 0, sizeof(*w));
  w->state = 0x9e3779b97f4a7c15 + seed;
  for (unsigned i = 0; i < VMMI_WAYS; i++)
    begin_machine(&w->machine[i], i);
  w->page = vmm_space_page_size(w->machine[0].space);
  EACH(w, m) {
    ck_assert_uint_eq(vmm_space_page_size(m->space), w->page);
    ck_assert_ok(vmm_map_anon(m->space, GUEST_CODE, w->page,
                              VMM_READ | VMM_WRITE | VMM_EXEC));
    ck_assert_ok(vmm_map_anon(m->space, GUEST_DATA * 16, PAGES * w->page,
                              VMM_READ | VMM_WRITE));
  }
}

static void end_world(struct world *w)
{
  EACH(w, m) {
    vmm_cpu_destroy(m->cpu);
    vmm_test_end(m->space);
  }
}

static vmm_addr_t data_page(const struct world *w, unsigned page)
{
  return GUEST_DATA * 16 + page * w->page;
}

/* Runs on until the cpu stops. */
static void run(struct machine *m, struct vmm_cpu_exit *exit)
{
  uint64_t executed = 0;

  memset(exit, 0, sizeof(*exit));
  exit->struct_size = sizeof(*exit);
  do {
    if (m->way == VMMI_CALLS)
      ck_assert_ok(vmm_cpu_step(m->cpu, exit));
    else
      ck_assert_ok(vmm_cpu_run(m->cpu, 0, exit));
    executed += exit->executed;
  } while (exit->stop == VMM_CPU_BUDGET);
  exit->executed = executed;
  exit->fault.space = NULL;
  exit->fault.host_pc = NULL;
}

/* ---- random instructions ---- */

static bool is_pointer(unsigned reg)
{
  return reg >= POINTER && reg < POINTER + POINTERS;
}

/* By a pointer, a little beside it.  => 0: it would change a pointer */
static uint32_t make_access(struct world *w, uint32_t raw)
{
  uint32_t imm = below(w, 128) - 64, opcode = raw & 0x7f;
  bool stores = opcode == 0x23 || opcode == 0x27;

  if (!stores && opcode != 0x07 && is_pointer(raw >> 7 & 31))
    return 0;
  raw = (raw & ~(31u << 15)) | (POINTER + below(w, POINTERS)) << 15;
  if (opcode == 0x2f)
    return raw;
  if (stores)
    return (raw & 0x01fff07f) | (imm & 31) << 7 | (imm >> 5 & 127) << 25;
  return (raw & 0x000fffff) | imm << 20;
}

/* => 0: none that can be had */
static uint32_t make_insn(struct world *w)
{
  unsigned n = below(w, 3) ? below(w, RISCV_INSNS)
                           : RISCV_LB + below(w, RISCV_SD - RISCV_LB + 1);
  const struct riscv_row *row = &vmmi_riscv_rows[n];
  uint32_t raw = ((uint32_t)next(w) & ~row->mask) | row->match;
  struct riscv_insn insn;

  if (vmmi_riscv_decode(raw, &insn) != 0 || insn.row != row)
    return 0;
  switch (raw & 0x7f) {
  case 0x03: case 0x07: case 0x23: case 0x27: case 0x2f:
    return make_access(w, raw);
  case 0x63: /* over the next one */
    return (raw & 0x01fff07f) | 8 << 7;
  case 0x67: case 0x6f: case 0x73:
    return 0;
  }
  return is_pointer(raw >> 7 & 31) ? 0 : raw;
}

static void make_code(struct world *w)
{
  unsigned want = 4 + below(w, INSNS_MAX - 4), again;

  w->ninsns = 0;
  while (w->ninsns < want) {
    uint32_t insn = make_insn(w);

    if (insn == 0)
      continue;
    /* the same a few times is what is fused, if it is LD or SD */
    for (again = 1 + below(w, 3) / 2 * 2; again > 0; again--)
      w->code[w->ninsns++] = insn;
  }
  w->code[w->ninsns++] = RV_ECALL;
  w->code[w->ninsns++] = RV_ECALL;
}

static uint64_t make_pointer(struct world *w)
{
  uint64_t at = data_page(w, below(w, PAGES)) + below(w, 4096);

  switch (below(w, 16)) {
  case 0: return next(w) >> below(w, 64);
  case 1: return data_page(w, PAGES) + 128; /* a hole */
  case 2: case 3: case 4:
    return data_page(w, 1 + below(w, PAGES - 1)) - below(w, 8);
  case 5: case 6: return at;
  }
  return at & ~7ull;
}

/* ---- a sequence ---- */

/* One change of the wild pages, the same everywhere. */
static void change(struct world *w)
{
  static const unsigned rights[] = { 0, VMM_READ, VMM_READ | VMM_WRITE,
                                     VMM_READ | VMM_EXEC,
                                     VMM_READ | VMM_WRITE | VMM_EXEC };
  vmm_addr_t va = data_page(w, 1 + 2 * below(w, PAGES / 2));
  unsigned what = below(w, 8), right = rights[below(w, 5)];

  EACH(w, m) {
    if (what < 4)
      ck_assert_ok(vmm_protect(m->space, va, w->page, right));
    else if (what == 4)
      ck_assert_ok(vmm_discard(m->space, va, w->page));
    else
      ck_assert_ok(vmm_pages(m->space, va, w->page,
                             what == 5 ? VMM_PTE_ACCESSED : VMM_PTE_MODIFIED,
                             NULL));
  }
}

static void set_up(struct world *w)
{
  unsigned changes = below(w, 4), i;
  uint64_t value;

  while (changes-- > 0)
    change(w);
  make_code(w);
  for (i = 1; i < 64; i++) {
    value = i >= POINTER && i < POINTER + POINTERS ? make_pointer(w) : next(w);
    EACH(w, m)
      vmm_cpu_set(m->cpu, i, value);
  }
  value = below(w, 5) << 5;
  EACH(w, m) {
    vmm_cpu_set(m->cpu, VMM_RISCV_FCSR, value);
    vmm_cpu_set(m->cpu, VMM_RISCV_PC, GUEST_CODE);
    for (i = 0; i < PAGES; i += 2)
      ck_assert_ok(vmm_fill(m->space, data_page(w, i), (int)value, 1, NULL));
    ck_assert_ok(vmm_copyout(m->space, GUEST_CODE, w->code,
                             w->ninsns * sizeof(w->code[0]), NULL));
    m->before = vmm_test_stats(m->space);
  }
}

/* Every stop is the same; a fault's instruction is left out.
 * => whether the sequence has ended */
static bool run_on(struct world *w, int sequence)
{
  struct vmm_cpu_exit exit[VMMI_WAYS];

  for (unsigned i = 0; i < VMMI_WAYS; i++) {
    run(&w->machine[i], &exit[i]);
    ck_assert_msg(memcmp(&exit[i], &exit[0], sizeof(exit[0])) == 0,
                  "sequence %d, way %u: stop %u %u, pc %#llx %#llx, insn %#x, "
                  "va %#llx %#llx, reason %u %u, executed %llu %llu, insn %#x",
                  sequence, i, exit[i].stop, exit[0].stop,
                  (unsigned long long)exit[i].pc,
                  (unsigned long long)exit[0].pc, exit[i].insn,
                  (unsigned long long)exit[i].fault.va,
                  (unsigned long long)exit[0].fault.va, exit[i].fault.reason,
                  exit[0].fault.reason, (unsigned long long)exit[i].executed,
                  (unsigned long long)exit[0].executed, exit[0].insn);
    vmm_cpu_set(w->machine[i].cpu, VMM_RISCV_PC, exit[i].pc + 4);
  }
  return exit[0].stop == VMM_CPU_ECALL;
}

/* ---- what it left ---- */

static void compare_registers(struct world *w, int sequence)
{
  for (unsigned i = 0; i < VMMI_WAYS; i++)
    for (unsigned reg = 0; reg <= 64; reg++) {
      unsigned which = reg < 64 ? reg : VMM_RISCV_FCSR;

      ck_assert_msg(vmm_cpu_get(w->machine[i].cpu, which) ==
                        vmm_cpu_get(w->machine[0].cpu, which),
                    "sequence %d, way %u: register %u", sequence, i, reg);
    }
}

static void compare_pages(struct world *w, int sequence)
{
  const uint64_t frame = ~(((uint64_t)1 << VMM_PTE_FRAME_SHIFT) - 1);
  uint64_t bits[VMMI_WAYS][PAGES];

  for (unsigned i = 0; i < VMMI_WAYS; i++) {
    struct vmm_space *space = w->machine[i].space;

    vmm_pages(space, data_page(w, 0), PAGES * w->page, 0, bits[i]);
    for (unsigned page = 0; page < PAGES; page++) {
      void *one = vmm_debug_ptr(w->machine[0].space, data_page(w, page));
      void *two = vmm_debug_ptr(space, data_page(w, page));

      ck_assert_msg(((bits[i][page] ^ bits[0][page]) & ~frame) == 0,
                    "sequence %d, way %u, page %u: bits %#llx, %#llx", sequence,
                    i, page, (unsigned long long)bits[i][page],
                    (unsigned long long)bits[0][page]);
      ck_assert_msg((one == NULL) == (two == NULL) &&
                        (one == two || memcmp(one, two, w->page) == 0),
                    "sequence %d, way %u, page %u: bytes", sequence, i, page);
    }
  }
}

/* What was counted since the sequence began, but for fetches, which single
 * steps make more of (the table repairs all of them). */
static struct vmm_stats counted(const struct machine *m)
{
  struct vmm_stats now = vmm_test_stats(m->space), counted = { 0 };
  uint64_t fetches = now.faults_exec - m->before.faults_exec;

  counted.spurious = now.spurious - m->before.spurious;
  counted.faults_read = now.faults_read - m->before.faults_read;
  counted.faults_write = now.faults_write - m->before.faults_write;
  counted.repaired = now.repaired - m->before.repaired - fetches;
  counted.unresolved = now.unresolved - m->before.unresolved;
  counted.zero_fills = now.zero_fills - m->before.zero_fills;
  counted.zero_maps = now.zero_maps - m->before.zero_maps;
  counted.copies = now.copies - m->before.copies;
  counted.frames = now.frames;
  counted.performed = now.performed;
  /* a stale window's faults are of either kind */
  counted.faults_read += counted.faults_write - counted.spurious;
  counted.faults_write = 0;
  counted.repaired -= counted.spurious;
  counted.spurious = 0;
  return counted;
}

static void compare_counters(struct world *w, int sequence)
{
  struct vmm_stats first = counted(&w->machine[0]);

  for (unsigned i = 0; i < VMMI_WAYS; i++) {
    struct vmm_stats stats = counted(&w->machine[i]);

    ck_assert_msg(memcmp(&stats, &first, sizeof(stats)) == 0,
                  "sequence %d, way %u: faults %llu %llu, repaired %llu %llu, "
                  "unresolved %llu %llu", sequence, i,
                  (unsigned long long)stats.faults_read,
                  (unsigned long long)first.faults_read,
                  (unsigned long long)stats.repaired,
                  (unsigned long long)first.repaired,
                  (unsigned long long)stats.unresolved,
                  (unsigned long long)first.unresolved);
  }
}

START_TEST(random_instructions_do_the_same_in_every_way_to_memory)
{
  struct world world;

  begin_world(&world, (unsigned)_i);
  for (int sequence = 0; sequence < SEQUENCES; sequence++) {
    set_up(&world);
    while (!run_on(&world, sequence))
      ;
    compare_registers(&world, sequence);
    compare_pages(&world, sequence);
    compare_counters(&world, sequence);
  }
  end_world(&world);
}
END_TEST

/* ---- handlers ---- */

static unsigned asked;

static enum vmm_verdict skip_it(struct vmm_fault *fault, void *arg)
{
  (void)fault, (void)arg;
  asked++;
  return VMM_SKIP;
}

START_TEST(handler_is_asked_once_and_its_fault_counted_once)
{
  struct world w;

  begin_world(&w, 0);
  for (unsigned i = VMMI_TLB; i < VMMI_WAYS; i++) {
    struct machine *m = &w.machine[i];
    uint32_t code[] = { RV_LD(A0, A1, 0), RV_SD(A0, A1, 8), RV_ECALL };
    struct vmm_cpu_exit exit;

    ck_assert_ok(vmm_copyout(m->space, GUEST_CODE, code, sizeof(code), NULL));
    vmm_space_set_handler(m->space, skip_it, NULL);
    vmm_cpu_set(m->cpu, VMM_RISCV_PC, GUEST_CODE);
    vmm_cpu_set(m->cpu, A0, 5);
    vmm_cpu_set(m->cpu, A1, 0x1000); /* nothing there */
    asked = 0;
    ck_assert_faults(m->space, 1, 1, run(m, &exit));
    ck_assert_uint_eq(exit.stop, VMM_CPU_ECALL);
    ck_assert_uint_eq(vmm_cpu_get(m->cpu, A0), 0);
    ck_assert_uint_eq(asked, 2);
    ck_assert_uint_eq(vmm_test_stats(m->space).handled, 2);
  }
  end_world(&w);
}
END_TEST

/* S4.10 */
START_TEST(write_only_memory_counts_its_fault_once)
{
  struct world w;

  begin_world(&w, 0);
  for (unsigned i = VMMI_TLB; i < VMMI_WAYS; i++) {
    struct machine *m = &w.machine[i];
    uint32_t code[] = { RV_SD(A0, A1, 0), RV_SD(A0, A1, 8), RV_LD(A0, A1, 0) };
    struct vmm_cpu_exit exit;

    ck_assert_ok(vmm_copyout(m->space, GUEST_CODE, code, sizeof(code), NULL));
    ck_assert_ok(vmm_protect(m->space, data_page(&w, 0), w.page, VMM_WRITE));
    vmm_cpu_set(m->cpu, VMM_RISCV_PC, GUEST_CODE);
    vmm_cpu_set(m->cpu, A1, data_page(&w, 0));
    ck_assert_faults(m->space, 1, 1, run(m, &exit));
    ck_assert_uint_eq(exit.stop, VMM_CPU_FAULT);
    ck_assert_uint_eq(exit.executed, 2);
    ck_assert_uint_eq(exit.fault.reason, VMM_FAULT_RIGHTS);
    ck_assert_uint_eq(vmm_test_stats(m->space).unresolved, 1);
  }
  end_world(&w);
}
END_TEST

Suite *vmm_suite_riscv_modes(void);

Suite *vmm_suite_riscv_modes(void)
{
  Suite *suite = suite_create("riscv_modes");
  TCase *tcase = tcase_create("modes");

  tcase_set_timeout(tcase, 300);
  tcase_add_loop_test(tcase,
                      random_instructions_do_the_same_in_every_way_to_memory, 0,
                      SEEDS);
  tcase_add_test(tcase, handler_is_asked_once_and_its_fault_counted_once);
  tcase_add_test(tcase, write_only_memory_counts_its_fault_once);
  suite_add_tcase(suite, tcase);
  return suite;
}
