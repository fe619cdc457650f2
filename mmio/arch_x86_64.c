/*
 * SIGNAL CONTEXT, but for the two functions at the end.  Moves of x86-64,
 * decoded by Zydis, which takes no memory.  arch_x86_64_registers.c reads and
 * writes the context.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <string.h>

#include <Zydis/Zydis.h>
#include <vmm/mmio.h>

#include "registers.h"

/* What a move does with the bytes in between. */
enum kind {
  PLAIN,  /* a general register, or an immediate */
  ZERO,   /* zero-extended */
  SIGN,   /* sign-extended */
  SWAP,   /* in the other byte order */
  VECTOR, /* an XMM register; a load clears the rest of it */
  LOW,    /* the lower half of one, the rest is kept */
  HIGH,   /* the upper half */
};

static const struct form {
  ZydisMnemonic mnemonic;
  enum kind kind;
} forms[] = {
  { ZYDIS_MNEMONIC_MOV, PLAIN },       { ZYDIS_MNEMONIC_MOVNTI, PLAIN },
  { ZYDIS_MNEMONIC_MOVZX, ZERO },      { ZYDIS_MNEMONIC_MOVSX, SIGN },
  { ZYDIS_MNEMONIC_MOVSXD, SIGN },     { ZYDIS_MNEMONIC_MOVBE, SWAP },
  { ZYDIS_MNEMONIC_MOVD, VECTOR },     { ZYDIS_MNEMONIC_VMOVD, VECTOR },
  { ZYDIS_MNEMONIC_MOVQ, VECTOR },     { ZYDIS_MNEMONIC_VMOVQ, VECTOR },
  { ZYDIS_MNEMONIC_MOVSS, VECTOR },    { ZYDIS_MNEMONIC_VMOVSS, VECTOR },
  { ZYDIS_MNEMONIC_MOVSD, VECTOR },    { ZYDIS_MNEMONIC_VMOVSD, VECTOR },
  { ZYDIS_MNEMONIC_MOVAPS, VECTOR },   { ZYDIS_MNEMONIC_VMOVAPS, VECTOR },
  { ZYDIS_MNEMONIC_MOVAPD, VECTOR },   { ZYDIS_MNEMONIC_VMOVAPD, VECTOR },
  { ZYDIS_MNEMONIC_MOVUPS, VECTOR },   { ZYDIS_MNEMONIC_VMOVUPS, VECTOR },
  { ZYDIS_MNEMONIC_MOVUPD, VECTOR },   { ZYDIS_MNEMONIC_VMOVUPD, VECTOR },
  { ZYDIS_MNEMONIC_MOVDQA, VECTOR },   { ZYDIS_MNEMONIC_VMOVDQA, VECTOR },
  { ZYDIS_MNEMONIC_MOVDQU, VECTOR },   { ZYDIS_MNEMONIC_VMOVDQU, VECTOR },
  { ZYDIS_MNEMONIC_LDDQU, VECTOR },    { ZYDIS_MNEMONIC_VLDDQU, VECTOR },
  { ZYDIS_MNEMONIC_MOVNTDQ, VECTOR },  { ZYDIS_MNEMONIC_VMOVNTDQ, VECTOR },
  { ZYDIS_MNEMONIC_MOVNTDQA, VECTOR }, { ZYDIS_MNEMONIC_VMOVNTDQA, VECTOR },
  { ZYDIS_MNEMONIC_MOVNTPS, VECTOR },  { ZYDIS_MNEMONIC_VMOVNTPS, VECTOR },
  { ZYDIS_MNEMONIC_MOVNTPD, VECTOR },  { ZYDIS_MNEMONIC_VMOVNTPD, VECTOR },
  { ZYDIS_MNEMONIC_MOVLPS, LOW },      { ZYDIS_MNEMONIC_MOVHPS, HIGH },
  { ZYDIS_MNEMONIC_MOVLPD, LOW },      { ZYDIS_MNEMONIC_MOVHPD, HIGH },
};

/* What complete() is to know; it lies in vmm_decoded.state. */
struct move {
  uint8_t kind;
  uint8_t length; /* of the instruction */
  bool vex;
  struct vmmi_register reg; /* that is loaded */
};

_Static_assert(sizeof(struct move) <=
                   sizeof(((struct vmm_decoded *)NULL)->state),
               "a move fits into the state");

struct insn {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static ZydisDecoder zydis;

/* ---- operands ---- */

/* => whether it is a register that moves know */
static bool find_register(ZydisRegister name, struct vmmi_register *reg)
{
  int id = ZydisRegisterGetId(name);

  *reg = (struct vmmi_register){ .number = (uint8_t)id };
  switch (ZydisRegisterGetClass(name)) {
  case ZYDIS_REGCLASS_GPR8:
    reg->nbytes = 1;
    /* the encodings of Zydis: al cl dl bl ah ch dh bh spl bpl ... */
    if (name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH) {
      reg->number = (uint8_t)(name - ZYDIS_REGISTER_AH);
      reg->high = true;
    } else if (name >= ZYDIS_REGISTER_SPL) {
      reg->number = (uint8_t)(name - ZYDIS_REGISTER_SPL + 4);
    } else {
      reg->number = (uint8_t)(name - ZYDIS_REGISTER_AL);
    }
    return true;
  case ZYDIS_REGCLASS_GPR16:
    reg->nbytes = 2;
    return true;
  case ZYDIS_REGCLASS_GPR32:
    reg->nbytes = 4;
    return true;
  case ZYDIS_REGCLASS_GPR64:
    reg->nbytes = 8;
    return true;
  case ZYDIS_REGCLASS_XMM:
    reg->nbytes = 16;
    reg->vector = true;
    return id >= 0 && id < 16;
  default:
    return false;
  }
}

/* => the value of a register of an address, 0 if there is none */
static uint64_t address_part(const void *context, ZydisRegister name,
                             uint64_t next_pc)
{
  struct vmmi_register reg;
  uint8_t bytes[16] = { 0 };
  uint64_t value;

  if (name == ZYDIS_REGISTER_RIP || name == ZYDIS_REGISTER_EIP)
    return next_pc;
  if (name == ZYDIS_REGISTER_NONE || !find_register(name, &reg))
    return 0;
  vmmi_register_read(context, &reg, bytes);
  memcpy(&value, bytes, sizeof(value));
  return value;
}

/* -ENOTSUP  a segment with a base, a gather */
static int find_address(const struct insn *insn, const void *context,
                        const ZydisDecodedOperand *operand, void **host)
{
  uint64_t next_pc = vmmi_register_pc(context) + insn->info.length;
  uint64_t address;

  if (operand->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
      operand->mem.segment == ZYDIS_REGISTER_FS ||
      operand->mem.segment == ZYDIS_REGISTER_GS)
    return -ENOTSUP;
  address = address_part(context, operand->mem.base, next_pc) +
            address_part(context, operand->mem.index, next_pc) *
                operand->mem.scale +
            (uint64_t)operand->mem.disp.value;
  if (insn->info.address_width == 32)
    address = (uint32_t)address;
  *host = (void *)address;
  return 0;
}

static void swap_bytes(uint8_t *bytes, size_t nbytes)
{
  for (size_t i = 0; i < nbytes / 2; i++) {
    uint8_t byte = bytes[i];

    bytes[i] = bytes[nbytes - 1 - i];
    bytes[nbytes - 1 - i] = byte;
  }
}

/* ---- decoding ---- */

static const struct form *find_form(const struct insn *insn)
{
  if (insn->info.operand_count_visible != 2 ||
      insn->info.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
    return NULL;
  for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
    if (forms[i].mnemonic == insn->info.mnemonic)
      return &forms[i];
  return NULL;
}

static bool fits_kind(enum kind kind, const struct vmmi_register *reg)
{
  return reg->vector == (kind >= VECTOR);
}

/* The bytes that go to memory. */
static int find_value(const ZydisDecodedOperand *from, const void *context,
                      enum kind kind, struct vmm_decoded *decoded)
{
  struct vmmi_register reg;
  uint8_t bytes[16];

  if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && kind == PLAIN) {
    memcpy(decoded->value, &from->imm.value.u, sizeof(from->imm.value.u));
    return 0;
  }
  if (from->type != ZYDIS_OPERAND_TYPE_REGISTER ||
      !find_register(from->reg.value, &reg) || !fits_kind(kind, &reg) ||
      vmmi_register_read(context, &reg, bytes) != 0)
    return -ENOTSUP;
  memcpy(decoded->value, kind == HIGH ? bytes + 8 : bytes, decoded->nbytes);
  if (kind == SWAP)
    swap_bytes(decoded->value, decoded->nbytes);
  return 0;
}

static int decode_move(const struct insn *insn, const struct form *form,
                       const void *context, struct vmm_decoded *decoded)
{
  const ZydisDecodedOperand *to = &insn->operands[0];
  const ZydisDecodedOperand *from = &insn->operands[1];
  bool load = from->type == ZYDIS_OPERAND_TYPE_MEMORY;
  const ZydisDecodedOperand *memory = load ? from : to;
  struct move move = {
    .kind = (uint8_t)form->kind,
    .length = insn->info.length,
    .vex = insn->info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX,
  };
  void *host = NULL;
  int error;

  if (memory->type != ZYDIS_OPERAND_TYPE_MEMORY)
    return -ENOTSUP;
  decoded->access = load ? VMM_READ : VMM_WRITE;
  decoded->nbytes = memory->size / 8u;
  if (decoded->nbytes == 0 || decoded->nbytes > sizeof(decoded->value))
    return -ENOTSUP;
  if (load && (to->type != ZYDIS_OPERAND_TYPE_REGISTER ||
               !find_register(to->reg.value, &move.reg) ||
               !fits_kind(form->kind, &move.reg)))
    return -ENOTSUP;
  error = find_address(insn, context, memory, &host);
  if (error == 0 && !load)
    error = find_value(from, context, form->kind, decoded);
  decoded->host = host;
  memcpy(decoded->state, &move, sizeof(move));
  return error;
}

static int decode(const void *code, size_t nbytes, const void *context,
                  struct vmm_decoded *decoded)
{
  const struct form *form;
  struct insn insn;

  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis, code, nbytes, &insn.info,
                                           insn.operands)))
    return -ENOTSUP;
  form = find_form(&insn);
  return form != NULL ? decode_move(&insn, form, context, decoded) : -ENOTSUP;
}

/* ---- completing ---- */

static void complete(void *context, const struct vmm_decoded *decoded)
{
  uint8_t bytes[16] = { 0 };
  struct move move;

  memcpy(&move, decoded->state, sizeof(move));
  if (decoded->access == VMM_READ) {
    size_t nbytes = decoded->nbytes;

    if (move.kind == LOW || move.kind == HIGH)
      vmmi_register_read(context, &move.reg, bytes);
    memcpy(move.kind == HIGH ? bytes + 8 : bytes, decoded->value, nbytes);
    if (move.kind == SWAP)
      swap_bytes(bytes, nbytes);
    if (move.kind == SIGN && (bytes[nbytes - 1] & 0x80))
      memset(bytes + nbytes, 0xff, sizeof(bytes) - nbytes);
    vmmi_register_write(context, &move.reg, bytes);
    if (move.vex)
      vmmi_register_clear_upper(context, &move.reg);
  }
  vmmi_register_set_pc(context, vmmi_register_pc(context) + move.length);
}

/* ---- the interface ---- */

int vmm_mmio_enable(void)
{
  static const struct vmm_decoder decoder = { .decode = decode,
                                              .complete = complete };

  ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  vmmi_register_prepare();
  return vmm_set_decoder(&decoder);
}

void vmm_mmio_disable(void)
{
  vmm_set_decoder(NULL);
}
