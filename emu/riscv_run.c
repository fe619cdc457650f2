/*
 * The dispatch loop: one body for each op.  An op reads its operands, may fault
 * (then nothing has been written), writes its result, and jumps to the next op's
 * label.
 *
 * left counts down the budget, corrected by the place in the trace: the true
 * rest is left minus the op's info->count.  Only taken exits touch it.
 */
#include "riscv_words.h"

#include <errno.h>
#include <pthread.h>

/* ---- stops ---- */

/* Says what access the instruction makes. */
static void describe_access(uint32_t raw, struct vmm_fault *fault)
{
  struct riscv_insn insn;
  uint32_t match;
  bool loads;

  if (vmmi_riscv_decode(raw, &insn) != 0)
    return;
  match = vmmi_riscv_rows[insn.op].match;
  loads = (match & 0x7b) == 0x03 || insn.op == RISCV_LR_W ||
          insn.op == RISCV_LR_D;
  fault->access = loads ? VMM_READ : VMM_WRITE;
  fault->nbytes = 1u << (match >> 12 & 3);
}

static void stop(struct vmm_cpu *cpu, const struct vmmi_op *op,
                 enum vmm_cpu_stop why, struct vmm_cpu_exit *exit)
{
  const struct vmmi_op_info *info = vmmi_code_info(&cpu->code, op);

  cpu->pc = info->pc;
  cpu->left -= info->count;
  exit->stop = why;
  exit->pc = info->pc;
  exit->insn = info->insn;
  if (why == VMM_CPU_ECALL)
    cpu->reserved.nbytes = 0;
}

/* The access at op failed: in memory if its address is in the space. */
static void stop_at_access(struct vmm_cpu *cpu, const struct vmmi_op *op,
                           enum vmm_cpu_stop why, struct vmm_cpu_exit *exit)
{
  uint64_t address = cpu->r[op->rs1] + (uint64_t)(int64_t)op->imm;
  struct vmm_fault *fault = &exit->fault;

  stop(cpu, op, why, exit);
  if (why == VMM_CPU_FAULT && address < cpu->size) {
    vmm_fault_last(fault);
  } else {
    *fault = (struct vmm_fault){ .va = address, .error = -EFAULT };
    if (why == VMM_CPU_FAULT)
      fault->reason = VMM_FAULT_OUTSIDE;
  }
  fault->space = cpu->space;
  describe_access(exit->insn, fault);
}

/* ---- rows as functions, of which fused ops are made ---- */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* run_X: => false if it faults, and has changed nothing */
#define INSN(...)
#define SIMPLE(id, name, operands, mask, match, ...)                           \
  ALWAYS_INLINE bool run_##id(struct vmm_cpu *cpu, const struct vmmi_op *op,   \
                              char *base, uint64_t size)                       \
  {                                                                            \
    (void)base, (void)size, (void)op;                                          \
    __VA_ARGS__;                                                               \
    return true;                                                               \
  fault:                                                                       \
    __attribute__((unused));                                                   \
    return false;                                                              \
  }
/* takes_X: => whether the branch is taken */
#define BRANCH(id, name, operands, mask, match, condition)                     \
  ALWAYS_INLINE bool takes_##id(struct vmm_cpu *cpu, const struct vmmi_op *op) \
  {                                                                            \
    return condition;                                                          \
  }
#include "riscv_insns.def"

#define RUN(id)                                                                \
  if (unlikely(!run_##id(cpu, op, base, size)))                                \
  goto fault

#define RUN_BRANCH(id)                                                         \
  if (takes_##id(cpu, op))                                                     \
    TAKE_EXIT;                                                                 \
  op += 2;                                                                     \
  DISPATCH

/* ---- the loop ---- */

static const void *const *labels;

static enum vmmi_why run(struct vmm_cpu *cpu, struct vmmi_op *op,
                         struct vmm_cpu_exit *exit)
{
  static const void *const table[RISCV_LABELS] = {
#define INSN(id, name, operands, mask, match, ...) &&do_##id,
#include "riscv_insns.def"
    &&do_CONST, &&do_CONST64, &&do_GOTO, &&do_RETURN, &&do_RESOLVE,
    &&do_ILLEGAL,
#define PAIR(first, second) &&do_##first##_##second,
#define PAIR_BRANCH PAIR
#define TRIPLE(first, second, third) &&do_##first##_##second##_##third,
#include "riscv_fused.def"
  };
  enum vmm_cpu_stop why;
  uint64_t target, size;
  uint32_t host_fp;
  int64_t left;
  char *base;

  if (cpu == NULL) {
    labels = table;
    return VMMI_STOP;
  }
  base = cpu->base;
  size = cpu->size;
  left = cpu->left;
  host_fp = vmmi_fp_enter(&cpu->fp);
  DISPATCH;

#define INSN(id, name, operands, mask, match, ...)                             \
  do_##id : {                                                                  \
    __VA_ARGS__;                                                               \
  }                                                                            \
  NEXT;
#define SIMPLE(id, name, operands, mask, match, ...)                           \
  do_##id : RUN(id);                                                           \
  NEXT;
#define BRANCH(id, name, operands, mask, match, condition)                     \
  do_##id : RUN_BRANCH(id);
#include "riscv_insns.def"

#define PAIR(first, second)                                                    \
  do_##first##_##second : RUN(first);                                          \
  op++;                                                                        \
  RUN(second);                                                                 \
  NEXT;
#define PAIR_BRANCH(first, second)                                             \
  do_##first##_##second : RUN(first);                                          \
  op++;                                                                        \
  RUN_BRANCH(second);
#define TRIPLE(first, second, third)                                           \
  do_##first##_##second##_##third : RUN(first);                                \
  op++;                                                                        \
  RUN(second);                                                                 \
  op++;                                                                        \
  RUN(third);                                                                  \
  NEXT;
#include "riscv_fused.def"

do_CONST:
  RD = IMM;
  NEXT;

do_CONST64:
  RD = op[1].value;
  op += 2;
  DISPATCH;

do_GOTO:
  TAKE_EXIT;

do_RETURN:
  target = RS1 & ~1ull;
  if (target != op[1].value)
    goto jump;
  op += 2;
  DISPATCH;

jump:
  left -= op->count;
  {
    struct vmmi_jump *entry = vmmi_code_jump(&cpu->code, target);

    if (unlikely(entry->pc != target || entry->op == NULL)) {
      cpu->pc = target;
      goto find;
    }
    op = entry->op;
  }
  ENTER;

do_RESOLVE:
  cpu->link = op;
leave: /* for op, which has not begun */
  cpu->pc = PC;
  left -= vmmi_code_info(&cpu->code, op)->count;
find:
  cpu->left = left;
  vmmi_fp_leave(&cpu->fp, host_fp);
  return VMMI_FIND;

do_ILLEGAL:
  why = VMM_CPU_ILLEGAL;
stopped:
  cpu->left = left;
  vmmi_fp_leave(&cpu->fp, host_fp);
  stop(cpu, op, why, exit);
  return VMMI_STOP;

misaligned:
  why = VMM_CPU_MISALIGNED;
  goto access_failed;
fault:
  why = VMM_CPU_FAULT;
access_failed:
  cpu->left = left;
  vmmi_fp_leave(&cpu->fp, host_fp);
  stop_at_access(cpu, op, why, exit);
  return VMMI_STOP;
}

static void make_tables(void)
{
  vmmi_riscv_decode_prepare();
  vmmi_riscv_fuse_prepare();
  run(NULL, NULL, NULL);
  vmmi_riscv_labels = labels;
}

static void prepare(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once(&once, make_tables);
}

const struct vmmi_isa vmmi_riscv64 = {
  .name = "rv64gc",
  .prepare = prepare,
  .translate = vmmi_riscv_translate,
  .run = run,
  .get = vmmi_riscv_get,
  .set = vmmi_riscv_set,
  .disassemble = vmmi_riscv_disassemble,
};
