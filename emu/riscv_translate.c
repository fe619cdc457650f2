/*
 * Makes a trace of ops from the instructions at a pc: on through fall-through,
 * direct jumps and calls, and back out of the calls it went into, until an
 * indirect jump, a stop, code that is decoded already, or the limits.
 * Writes to x0 go to a dummy register, or the whole op is left out.
 */
#include "cpu.h"
#include "riscv.h"

#include <errno.h>

enum {
  FETCH = 64,  /* bytes fetched at once */
  JUMPS = 16,  /* direct jumps that a trace follows */
  CALLS = 4,   /* of which calls, one in the other */
};

const void *const *vmmi_riscv_labels[VMMI_WAYS];

struct builder {
  struct vmm_cpu *cpu;
  struct vmmi_code *code;
  vmm_addr_t pc;          /* of the next instruction */
  uint32_t first, slot;   /* slots taken: [first, slot) */
  uint32_t count, max;    /* instructions so far, and at most */
  bool keep;
  bool watched;           /* an exec watch lies in the next instruction */
  bool ended;             /* no instruction follows the last op */

  uint64_t pages[TRACE_PAGES];
  unsigned npages;
  uint32_t exits[TRACE_INSNS + 1]; /* extensions to link */
  unsigned nexits;
  vmm_addr_t starts[JUMPS + 1]; /* where the trace began or jumped to */
  unsigned nstarts;
  vmm_addr_t returns[CALLS];
  unsigned nreturns;

  uint8_t codes[TRACE_SLOTS]; /* what each slot's op does: enum riscv_op */

  vmm_addr_t window; /* bytes[0]'s address */
  unsigned nbytes;
  uint8_t bytes[FETCH];
};

/* ---- fetching ---- */

/* => 0; 1 the bytes may not be kept; -errno */
static int fill_window(struct builder *b, vmm_addr_t va)
{
  uint64_t page_size = 1ull << b->code->page_shift;
  uint64_t rest = page_size - (va & (page_size - 1));
  unsigned nbytes = b->max == 1 ? 2 : rest < FETCH ? (unsigned)rest : FETCH;
  int error = vmm_fetch(b->cpu->space, va, b->bytes, nbytes);

  if (error == 2 && nbytes > 2) { /* which of them is watched? */
    nbytes = 2;
    error = vmm_fetch(b->cpu->space, va, b->bytes, nbytes);
  }
  if (error < 0)
    return error;
  b->window = va;
  b->nbytes = nbytes;
  b->watched |= error == 2;
  return error != 0;
}

static int fetch_parcel(struct builder *b, vmm_addr_t va, uint16_t *parcel)
{
  int error = 0;
  vmm_addr_t at = va - b->window;

  if (at >= b->nbytes) {
    if (va >= b->cpu->size)
      return -EFAULT;
    error = fill_window(b, va);
    if (error < 0 || (error == 1 && b->keep) || (b->watched && b->count > 0))
      return error;
    at = 0;
  }
  *parcel = (uint16_t)(b->bytes[at] | b->bytes[at + 1] << 8);
  return 0;
}

/* Fetches the encoding at pc.  *va: the parcel that failed */
static int fetch_encoding(struct builder *b, uint32_t *raw, vmm_addr_t *va)
{
  uint16_t low, high;
  int error;

  *va = b->pc;
  error = fetch_parcel(b, *va, &low);
  *raw = low;
  if (error != 0 || vmmi_riscv_length(low) != 4)
    return error;
  *va = b->pc + 2;
  error = fetch_parcel(b, *va, &high);
  if (error == 0)
    *raw |= (uint32_t)high << 16;
  return error;
}

static void tell_fault(struct builder *b, vmm_addr_t va, int error,
                       struct vmm_cpu_exit *exit)
{
  exit->fault = (struct vmm_fault){ 0 };
  if (va < b->cpu->size)
    vmm_fault_last(&exit->fault);
  else
    exit->fault.reason = VMM_FAULT_OUTSIDE;
  exit->fault.access = VMM_EXEC;
  exit->fault.va = va;
  exit->fault.nbytes = 2;
  exit->fault.error = error;
  exit->fault.space = b->cpu->space;
}

/* ---- emitting ---- */

static struct vmmi_op *emit(struct builder *b, uint8_t code, uint32_t raw)
{
  struct vmmi_op *op = &b->code->ops[b->slot];

  *op = (struct vmmi_op){ .handler = vmmi_riscv_labels[b->cpu->way][code] };
  b->codes[b->slot - b->first] = code;
  b->code->info[b->slot++] = (struct vmmi_op_info){
    .pc = b->pc, .count = b->count, .insn = raw
  };
  return op;
}

/* An extension that goes to pc after done instructions. */
static void emit_exit(struct builder *b, vmm_addr_t pc, uint32_t done)
{
  struct vmmi_op *extension = emit(b, RISCV_RESOLVE, 0);
  struct vmmi_op_info *info = vmmi_code_info(b->code, extension);

  extension->target = extension;
  info->pc = pc;
  info->count = done;
  b->exits[b->nexits++] = (uint32_t)(extension - b->code->ops);
}

static void emit_goto(struct builder *b, uint32_t raw, vmm_addr_t pc,
                      uint32_t done)
{
  emit(b, RISCV_GOTO, raw);
  emit_exit(b, pc, done);
  b->ended = true;
}

static void emit_const(struct builder *b, const struct riscv_insn *insn,
                       uint64_t value)
{
  struct vmmi_op *op;

  if (insn->rd == 0)
    return;
  if ((int64_t)value == (int32_t)value) {
    op = emit(b, RISCV_CONST, insn->raw);
    op->imm = (int32_t)value;
  } else {
    op = emit(b, RISCV_CONST64, insn->raw);
    emit(b, RISCV_ILLEGAL, 0)->value = value;
  }
  op->rd = insn->rd;
}

/* => whether the op belongs to an instruction, and is no mere way to it */
static bool is_insn(const struct builder *b, uint32_t slot)
{
  uint8_t code = b->codes[slot - b->first];

  if (code == RISCV_GOTO)
    return b->code->info[slot].insn != 0;
  return code != RISCV_RESOLVE;
}

/* => the op of this trace that begins the instruction at pc, or NULL */
static struct vmmi_op *find_inside(struct builder *b, vmm_addr_t pc)
{
  uint32_t i;

  for (i = b->first; i < b->slot; i++)
    if (b->code->info[i].pc == pc && is_insn(b, i))
      return &b->code->ops[i];
  return NULL;
}

/* ---- control flow ---- */

/* => whether pc is one of the first n places where the trace began */
static bool is_start(const struct builder *b, vmm_addr_t pc, unsigned n)
{
  unsigned i;

  for (i = 0; i < n; i++)
    if (b->starts[i] == pc)
      return true;
  return false;
}

/* => true if the trace may go on at pc */
static bool follow(struct builder *b, vmm_addr_t pc)
{
  if (!b->keep || b->nstarts > JUMPS || is_start(b, pc, b->nstarts) ||
      find_inside(b, pc))
    return false;
  b->starts[b->nstarts++] = pc;
  return true;
}

static void add_jal(struct builder *b, const struct riscv_insn *insn)
{
  vmm_addr_t next = b->pc + insn->nbytes;
  vmm_addr_t target = b->pc + (uint64_t)(int64_t)insn->imm;
  bool call = insn->rd != 0;

  emit_const(b, insn, next);
  if (call ? b->nreturns < CALLS : !vmmi_code_find(b->code, target))
    if (follow(b, target)) {
      if (call)
        b->returns[b->nreturns++] = next;
      b->pc = target;
      return;
    }
  emit_goto(b, insn->raw, target, b->count + 1);
}

static void add_jalr(struct builder *b, const struct riscv_insn *insn)
{
  bool returns = insn->rd == 0 && insn->rs1 == RISCV_RA && insn->imm == 0 &&
                 b->nreturns > 0;
  uint8_t code = returns ? RISCV_RETURN : RISCV_JALR;
  struct vmmi_op *op = emit(b, code, insn->raw), *extension;

  op->rd = insn->rd == 0 ? RISCV_SINK : insn->rd;
  op->rs1 = insn->rs1;
  op->count = (uint16_t)(b->count + 1);
  op->imm = insn->imm;
  extension = emit(b, RISCV_ILLEGAL, 0);
  extension->value = b->pc + insn->nbytes;
  if (!returns) {
    b->ended = true;
    return;
  }
  extension->value = b->returns[--b->nreturns];
  b->pc = extension->value;
  if (!follow(b, b->pc))
    emit_goto(b, 0, b->pc, b->count + 1);
}

static void add_branch(struct builder *b, const struct riscv_insn *insn)
{
  struct vmmi_op *op = emit(b, (uint8_t)insn->op, insn->raw);

  op->rs1 = insn->rs1;
  op->rs2 = insn->rs2;
  emit_exit(b, b->pc + (uint64_t)(int64_t)insn->imm, b->count + 1);
  b->pc += insn->nbytes;
}

/* => true if the instruction does nothing but write to x0 */
static bool does_nothing(const struct riscv_insn *insn)
{
  uint32_t opcode = vmmi_riscv_rows[insn->op].match & 0x7f;

  return insn->rd == 0 && (opcode == 0x13 || opcode == 0x1b ||
                           opcode == 0x33 || opcode == 0x3b ||
                           opcode == 0x37 || opcode == 0x17);
}

static void add_plain(struct builder *b, const struct riscv_insn *insn)
{
  struct vmmi_op *op;

  if (!does_nothing(insn)) {
    op = emit(b, (uint8_t)insn->op, insn->raw);
    op->rd = insn->rd == 0 ? RISCV_SINK : insn->rd;
    op->rs1 = insn->rs1;
    op->rs2 = insn->rs2;
    op->rs3 = insn->rs3;
    op->imm = insn->imm;
  }
  b->pc += insn->nbytes;
}

static void add(struct builder *b, const struct riscv_insn *insn)
{
  switch (insn->op) {
  case RISCV_JAL: add_jal(b, insn); break;
  case RISCV_JALR: add_jalr(b, insn); break;
  case RISCV_BEQ: case RISCV_BNE: case RISCV_BLT: case RISCV_BGE:
  case RISCV_BLTU: case RISCV_BGEU:
    add_branch(b, insn);
    break;
  case RISCV_AUIPC:
    emit_const(b, insn, b->pc + (uint64_t)(int64_t)insn->imm);
    b->pc += insn->nbytes;
    break;
  case RISCV_LUI:
    emit_const(b, insn, (uint64_t)(int64_t)insn->imm);
    b->pc += insn->nbytes;
    break;
  case RISCV_ECALL: case RISCV_EBREAK: case RISCV_FENCE_I:
    add_plain(b, insn);
    b->ended = true;
    break;
  default:
    add_plain(b, insn);
  }
  b->count++;
}

/* ---- the trace ---- */

/* => false if the trace lies in too many pages already */
static bool add_page(struct builder *b, vmm_addr_t va)
{
  uint64_t page = va >> b->code->page_shift;
  unsigned i;

  for (i = 0; i < b->npages; i++)
    if (b->pages[i] == page)
      return true;
  if (b->npages == TRACE_PAGES)
    return false;
  b->pages[b->npages++] = page;
  return true;
}

/* The instruction at pc is watched: it runs alone, if it may.  => -EFAULT */
static int tell_watch(struct builder *b, uint32_t raw,
                      struct vmm_cpu_exit *exit)
{
  unsigned nbytes = vmmi_riscv_length((uint16_t)raw);
  int error = 0;

  b->max = 1;
  if (b->cpu->way != VMMI_CALLS) /* the second try of one that was told */
    error = vmm_watch_execute(b->cpu->space, b->pc, nbytes ? nbytes : 2);
  if (error != 0)
    tell_fault(b, b->pc, error, exit);
  return error;
}

/* Adds the instruction at pc.  => 0; 1 may not be kept; -errno */
static int add_next(struct builder *b, struct vmm_cpu_exit *exit)
{
  struct riscv_insn insn;
  vmm_addr_t failed;
  uint32_t raw;
  int error = fetch_encoding(b, &raw, &failed);

  if (error != 0) {
    if (error < 0 && b->count == 0)
      tell_fault(b, failed, error, exit);
    return error;
  }
  if (b->watched)
    error = tell_watch(b, raw, exit);
  if (error != 0)
    return error;
  /* at most two pages are new: there is room for the first instruction's */
  if (!add_page(b, b->pc) || !add_page(b, failed + 1))
    return 1;
  if (vmmi_riscv_decode(raw, &insn) == 0) {
    add(b, &insn);
  } else {
    emit(b, RISCV_ILLEGAL, raw);
    b->ended = true;
  }
  return 0;
}

static bool goes_on(struct builder *b)
{
  if (b->ended || b->count >= b->max)
    return false;
  if (is_start(b, b->pc, b->nstarts - 1))
    return false;
  if (vmmi_code_find(b->code, b->pc) != NULL && b->nreturns == 0)
    return false;
  return true;
}

/* Links the exits that lead into the trace itself. */
static void link_inside(struct builder *b)
{
  unsigned i;

  for (i = 0; i < b->nexits; i++) {
    struct vmmi_op *extension = &b->code->ops[b->exits[i]];
    vmm_addr_t pc = vmmi_code_info(b->code, extension)->pc;
    struct vmmi_op *op = find_inside(b, pc);

    if (op != NULL)
      vmmi_code_link_inside(b->code, extension, op);
  }
}

int vmmi_riscv_translate(struct vmm_cpu *cpu, vmm_addr_t pc,
                         enum vmmi_extent extent, struct vmmi_op **op,
                         struct vmm_cpu_exit *exit)
{
  static const unsigned max[] = { TRACE_INSNS, ONCE_INSNS, 1 };
  struct builder b = { .cpu = cpu, .code = &cpu->code, .pc = pc,
                       .keep = extent == VMMI_KEEP, .max = max[extent] };
  int error;

  b.first = b.slot = b.keep ? cpu->code.nops : 0;
  b.starts[b.nstarts++] = pc;
  do {
    error = add_next(&b, exit);
  } while (error == 0 && goes_on(&b));
  if (error != 0 && b.count == 0)
    return error;
  if (!b.ended)
    emit_goto(&b, 0, b.pc, b.count);
  cpu->decoded += b.count;
  if (!b.keep) {
    cpu->uncached += b.count;
    *op = &cpu->code.ops[b.first];
    return 0;
  }
  link_inside(&b);
  vmmi_riscv_fuse(&cpu->code.ops[b.first], b.codes, b.slot - b.first,
                  vmmi_riscv_labels[cpu->way]);
  *op = vmmi_code_keep(&cpu->code, pc, b.slot - b.first, b.pages, b.npages);
  return 0;
}
