/*
 * Instructions that run out of line on x86-64.  Most run as they are, and a
 * jump to what follows them comes after.  What the pc has a part in:
 *
 *   disp32(%rip)        the operand's address comes in a register that the
 *                       instruction has nothing to do with: disp32 0 of that
 *   jmp, jcc, loop      done in the context
 *   call                push of the return address from such a register, and a
 *                       jump
 *   call, jmp *memory   a load to such a register, and a trap; then the
 *                       rest is known
 *   ret, jmp *register  as they are
 *
 * That register is rsi, rdi or rbp: no instruction with a memory operand of its
 * own uses them but where its ModRM or vvvv says so (Intel SDM volume 2).
 */
#define _GNU_SOURCE 1
#include "arch.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

#include "arch_x86_64_insn.h"

enum { RBP = 5, RSI = 6, RDI = 7 }; /* as instructions number them */
enum { DWARF_RCX = 2 };
enum { INT3 = 0xcc, GROUP_5 = 0xff };
enum { CALL_INDIRECT = 2, CALL_FAR, JMP_INDIRECT, JMP_FAR }; /* in group 5 */
enum { FLAG_CF = 1 << 0, FLAG_PF = 1 << 2, FLAG_ZF = 1 << 6, FLAG_SF = 1 << 7,
       FLAG_OF = 1 << 11 };

/* The DWARF number of a register: rax rcx rdx rbx rsp rbp rsi rdi, r8 ... */
static unsigned dwarf_of(unsigned reg)
{
  static const unsigned char low[] = { 0, 2, 1, 3, 7, 6, 4, 5 };

  return reg < sizeof(low) ? low[reg] : reg;
}

static uint64_t register_of(const void *context, unsigned dwarf)
{
  uint64_t value = 0;

  vmmi_arch_get_register(context, dwarf, &value);
  return value;
}

/* ---- code ---- */

struct writer {
  struct vmmi_arch_displaced *what;
  uint8_t *code;
  uint8_t reg; /* the scratch register, as instructions number it */
};

static void put(struct writer *writer, const void *bytes, size_t nbytes)
{
  memcpy(writer->code + writer->what->nbytes, bytes, nbytes);
  writer->what->nbytes = (uint8_t)(writer->what->nbytes + nbytes);
}

static void put_byte(struct writer *writer, unsigned byte)
{
  uint8_t one = (uint8_t)byte;

  put(writer, &one, 1);
}

/* The instruction has been done here: gives the register back, and jumps. */
static void put_end(struct writer *writer)
{
  static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 }; /* jmp *0(%rip) */
  struct vmmi_arch_displaced *what = writer->what;
  uint64_t next = what->next;

  what->done = what->nbytes;
  if (what->reg >= 0) { /* movabs */
    put_byte(writer, 0x48);
    put_byte(writer, 0xb8u + writer->reg);
    put(writer, &what->scratch, sizeof(what->scratch));
  }
  what->restored = what->nbytes;
  put(writer, jump, sizeof(jump));
  put(writer, &next, sizeof(next));
}

static void take_scratch(struct writer *writer, const void *context,
                         uint8_t reg)
{
  struct vmmi_arch_displaced *what = writer->what;

  writer->reg = reg;
  what->reg = (int8_t)dwarf_of(reg);
  what->scratch = register_of(context, (unsigned)what->reg);
  what->entry = what->scratch;
}

/* ---- memory operands ---- */

static bool is_rip_relative(const struct vmmi_x86_insn *insn)
{
  return insn->modrm_at != 0 && (insn->modrm & 0xc7) == 0x05;
}

static uintptr_t operand_address(const struct vmmi_x86_insn *insn, uintptr_t pc)
{
  int32_t displacement;

  memcpy(&displacement, insn->code + insn->modrm_at + 1, sizeof(displacement));
  return pc + insn->at + (uintptr_t)(intptr_t)displacement;
}

/* => the register that a vector prefix names besides, of the lower eight */
static unsigned vvvv_of(const struct vmmi_x86_insn *insn)
{
  unsigned at = insn->vector_at + (insn->vector == VMMI_X86_VEX2 ? 1u : 2u);

  return insn->vector != 0 ? (~insn->code[at] >> 3 & 7) : 0;
}

static uint8_t choose_scratch(const struct vmmi_x86_insn *insn)
{
  unsigned named = insn->modrm >> 3 & 7, vvvv = vvvv_of(insn);
  uint8_t reg = RSI;

  while (reg == named || reg == vvvv)
    reg = reg == RSI ? RDI : RBP;
  return reg;
}

/* The copy at code gets a base register, of the lower eight, in place of
 * rip. */
static void set_base(const struct vmmi_x86_insn *insn, uint8_t *code,
                     uint8_t reg)
{
  enum { REX_B = 1 << 0, NO_VECTOR_B = 1 << 5, DISP32 = 0x80 };

  if (insn->rex != 0)
    code[insn->rex_at] &= (uint8_t)~REX_B;
  if (insn->vector != 0 && insn->vector != VMMI_X86_VEX2)
    code[insn->vector_at + 1] |= NO_VECTOR_B;
  code[insn->modrm_at] = (uint8_t)(DISP32 | (insn->modrm & 0x38) | reg);
  memset(code + insn->modrm_at + 1, 0, 4);
}

/* ---- what kinds there are ---- */

static void displace_plain(struct writer *writer, const void *context,
                           const struct vmmi_x86_insn *insn)
{
  put(writer, insn->code, insn->at);
  if (is_rip_relative(insn)) {
    take_scratch(writer, context, choose_scratch(insn));
    writer->what->entry = operand_address(insn, writer->what->pc);
    set_base(insn, writer->code, writer->reg);
  }
  put_end(writer);
}

/* => whether there can be such an address: else a transfer to it faults
 *    itself */
static bool is_canonical(uint64_t address)
{
  return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/* jmp to a target that is no address: it faults where it stands */
static void displace_wild(struct writer *writer, const void *context,
                          uintptr_t target)
{
  static const uint8_t jump[] = { 0xff, 0xe0 | RSI };

  take_scratch(writer, context, RSI);
  writer->what->entry = target;
  put(writer, jump, sizeof(jump));
  put_end(writer);
}

/* push of the address after the call, and the jump to the target */
static void displace_call(struct writer *writer, const void *context,
                          uintptr_t target)
{
  if (!is_canonical(target)) {
    displace_wild(writer, context, target);
    return;
  }
  take_scratch(writer, context, RSI);
  writer->what->entry = writer->what->pc + writer->what->length;
  writer->what->next = target;
  put_byte(writer, 0x50u + writer->reg);
  put_end(writer);
}

/* mov memory to the register, and a trap: the target comes from memory */
static void displace_load(struct writer *writer, const void *context,
                          const struct vmmi_x86_insn *insn, bool call)
{
  struct vmmi_arch_displaced *what = writer->what;
  size_t at;

  take_scratch(writer, context, RSI);
  for (at = 0; at + 1 < insn->modrm_at; at++) /* a segment's prefix */
    if (insn->rex == 0 || at != insn->rex_at)
      put_byte(writer, insn->code[at]);
  put_byte(writer, 0x48u | (insn->rex & 3u)); /* REX.W, X and B as they are */
  put_byte(writer, 0x8b);
  at = what->nbytes;
  put_byte(writer, (insn->modrm & 0xc7u) | (unsigned)RSI << 3);
  put(writer, insn->code + insn->modrm_at + 1, insn->at - insn->modrm_at - 1);
  if (is_rip_relative(insn)) {
    what->entry = operand_address(insn, what->pc);
    writer->code[at - 2] &= 0xfe;
    writer->code[at] = 0x80u | (unsigned)RSI << 3 | RSI;
    memset(writer->code + at + 1, 0, 4);
  }
  what->done = what->restored = what->nbytes;
  what->traps = true;
  what->calls = call;
  put_byte(writer, INT3);
}

static bool condition_holds(uint64_t flags, unsigned condition)
{
  bool less = !(flags & FLAG_SF) != !(flags & FLAG_OF);
  bool holds = false;

  switch (condition >> 1) {
  case 0: holds = flags & FLAG_OF; break;
  case 1: holds = flags & FLAG_CF; break;
  case 2: holds = flags & FLAG_ZF; break;
  case 3: holds = flags & (FLAG_CF | FLAG_ZF); break;
  case 4: holds = flags & FLAG_SF; break;
  case 5: holds = flags & FLAG_PF; break;
  case 6: holds = less; break;
  case 7: holds = less || (flags & FLAG_ZF); break;
  }
  return holds != ((condition & 1) != 0);
}

/* loopne, loope, loop, jrcxz */
static bool loop_goes(void *context, uint64_t flags, unsigned opcode)
{
  uint64_t count = register_of(context, DWARF_RCX);

  if (opcode == 0xe3)
    return count == 0;
  vmmi_arch_set_register(context, DWARF_RCX, --count);
  if (opcode == 0xe2)
    return count != 0;
  return count != 0 && !(flags & FLAG_ZF) == (opcode == 0xe0);
}

static uintptr_t branch_target(const struct vmmi_x86_insn *insn, uintptr_t pc,
                               size_t nbytes)
{
  int32_t distance;

  if (nbytes == 1)
    return pc + insn->at +
           (uintptr_t)(intptr_t)(int8_t)insn->code[insn->at - 1];
  memcpy(&distance, insn->code + insn->at - 4, sizeof(distance));
  return pc + insn->at + (uintptr_t)(intptr_t)distance;
}

static bool is_branch(const struct vmmi_x86_insn *insn)
{
  unsigned opcode = insn->opcode;

  if (insn->map == 1)
    return (opcode & 0xf0) == 0x80; /* jcc rel32 */
  return insn->map == 0 &&
         ((opcode & 0xf0) == 0x70 || (opcode & 0xfc) == 0xe0 ||
          opcode == 0xe9 || opcode == 0xeb);
}

static void do_branch(void *context, uintptr_t pc,
                      const struct vmmi_x86_insn *insn)
{
  uint64_t flags =
      (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
  unsigned opcode = insn->opcode;
  bool near = insn->map == 1 || opcode == 0xe9;
  bool taken = true;

  if (insn->map == 1 || (opcode & 0xf0) == 0x70)
    taken = condition_holds(flags, opcode & 0xf);
  else if ((opcode & 0xfc) == 0xe0)
    taken = loop_goes(context, flags, opcode);
  vmmi_arch_set_pc(context, taken ? branch_target(insn, pc, near ? 4 : 1)
                                  : pc + insn->at);
}

/* Traps of their own, other modes, and what keeps the pc for later. */
static bool is_refused(const struct vmmi_x86_insn *insn)
{
  unsigned opcode = insn->opcode, reg = insn->modrm >> 3 & 7;

  if (insn->vector != 0)
    return insn->address32 && is_rip_relative(insn);
  if (insn->map == 1)
    return opcode == 0x05 || opcode == 0x07 || opcode == 0x34 || opcode == 0x35;
  if (insn->map != 0)
    return false;
  switch (opcode) {
  case 0xca: case 0xcb: case 0xcc: case 0xcd: case 0xcf: case 0xf1:
    return true; /* far returns, int3, int, iret, int1 */
  case 0xc6: case 0xc7:
    return insn->modrm == 0xf8; /* xabort, xbegin */
  case GROUP_5:
    return reg == CALL_FAR || reg == JMP_FAR;
  }
  return false;
}

/* => whether it has to do with the pc beyond a memory operand */
static bool is_transfer(const struct vmmi_x86_insn *insn)
{
  unsigned opcode = insn->opcode, reg = insn->modrm >> 3 & 7;

  if (insn->vector != 0)
    return false;
  if (is_branch(insn))
    return true;
  if (insn->map != 0)
    return false;
  return opcode == 0xe8 || opcode == 0xc2 || opcode == 0xc3 ||
         (opcode == GROUP_5 && (reg == CALL_INDIRECT || reg == JMP_INDIRECT));
}

static void displace_indirect(struct writer *writer, const void *context,
                              const struct vmmi_x86_insn *insn)
{
  bool call = (insn->modrm >> 3 & 7) == CALL_INDIRECT;
  bool memory = insn->modrm >> 6 != 3;
  unsigned reg = (insn->modrm & 7u) | (insn->rex & 1u) << 3;

  if (memory && (call || is_rip_relative(insn)))
    displace_load(writer, context, insn, call);
  else if (call)
    displace_call(writer, context, register_of(context, dwarf_of(reg)));
  else
    displace_plain(writer, context, insn);
}

int vmmi_arch_displace(void *context, uintptr_t pc, const void *insn,
                       size_t nbytes, struct vmmi_arch_displaced *what,
                       uint8_t code[VMMI_ARCH_DISPLACED_MAX])
{
  struct writer writer = { .what = what, .code = code };
  struct vmmi_x86_insn read;

  if (!vmmi_x86_insn_decode(&read, insn, nbytes))
    return -EILSEQ;
  if (is_refused(&read) || (is_rip_relative(&read) && read.address32) ||
      (is_transfer(&read) && (read.operand16 || read.address32 || read.lock)))
    return -ENOTSUP;
  *what = (struct vmmi_arch_displaced){ .pc = pc, .next = pc + read.at,
                                        .reg = -1, .length = (uint8_t)read.at };
  if (is_branch(&read) && read.vector == 0) {
    do_branch(context, pc, &read);
    return 1;
  }
  if (read.vector == 0 && read.map == 0 && read.opcode == 0xe8)
    displace_call(&writer, context, branch_target(&read, pc, 4));
  else if (is_transfer(&read) && read.opcode == GROUP_5)
    displace_indirect(&writer, context, &read);
  else
    displace_plain(&writer, context, &read);
  return 0;
}

int vmmi_arch_displace_trap(void *context, struct vmmi_arch_displaced *what,
                            uint8_t code[VMMI_ARCH_DISPLACED_MAX])
{
  struct writer writer = { .what = what, .code = code };
  uintptr_t target = register_of(context, (unsigned)what->reg);

  vmmi_arch_set_register(context, (unsigned)what->reg, what->scratch);
  if (!what->calls && is_canonical(target)) {
    vmmi_arch_set_pc(context, target);
    return 1;
  }
  /* without a call, the target is none */
  *what = (struct vmmi_arch_displaced){ .pc = what->pc, .reg = -1,
                                        .length = what->length };
  displace_call(&writer, context, target);
  return 0;
}

/* iret serializes, at any privilege (Intel SDM volume 3, section 9.3). */
void vmmi_arch_sync_code(void)
{
  __asm__ volatile("movq %%rsp, %%rdx\n\t"
                   "subq $128, %%rsp\n\t" /* the red zone */
                   "movl %%ss, %%eax\n\t"
                   "pushq %%rax\n\t"
                   "pushq %%rdx\n\t"
                   "pushfq\n\t"
                   "movl %%cs, %%eax\n\t"
                   "pushq %%rax\n\t"
                   "leaq 1f(%%rip), %%rax\n\t"
                   "pushq %%rax\n\t"
                   "iretq\n"
                   "1:"
                   :
                   :
                   : "rax", "rdx", "memory", "cc");
}
