/*
 * The host's CPU: what a signal's context says about a fault, the registers in
 * it, the length of an instruction, and accesses that may fault.
 * arch_x86_64*.c keep this contract.  Every function is signal-safe.  Layer 1.
 */
#ifndef VMMI_ARCH_H
#define VMMI_ARCH_H

#include <signal.h>

#include "base.h"

/* => the pc of the instruction that faulted */
uintptr_t vmmi_arch_pc(const void *context);
void vmmi_arch_set_pc(void *context, uintptr_t pc);
uintptr_t vmmi_arch_sp(const void *context);
/* => an instruction that raised a signal: the pc, or what is before it, if it
 *    was a breakpoint */
uintptr_t vmmi_arch_insn(const void *context);
/* The signal mask of the interrupted code. */
void vmmi_arch_mask(const void *context, sigset_t *mask);

/* => VMM_READ, VMM_WRITE or VMM_EXEC; 0 where the host doesn't tell */
unsigned vmmi_arch_access(const void *context);

/* Registers by DWARF number; => 0, -EINVAL */
int vmmi_arch_get_register(const void *context, unsigned n, uint64_t *value);
int vmmi_arch_set_register(void *context, unsigned n, uint64_t value);

/* => the length of the instruction whose first nbytes are at code; 0 if it is
 *    not one, or longer than that */
size_t vmmi_arch_insn_length(const void *code, size_t nbytes);
/* The most that an instruction takes, in bytes. */
enum { VMMI_ARCH_INSN_MAX = 15 };

/*
 * Accesses that may fault, with an exception-table entry each.
 * => 0; -EFAULT, and some of a copy or fill was done
 */
int vmmi_arch_copy(void *to, const void *from, size_t nbytes);
int vmmi_arch_fill(void *to, int byte, size_t nbytes);
/* One access of 1, 2, 4 or 8 bytes. */
int vmmi_arch_load(const void *from, void *value, size_t nbytes);
int vmmi_arch_store(void *to, const void *value, size_t nbytes);
/* => also 1: not swapped, and *expected is what was there */
int vmmi_arch_cas(void *at, void *expected, const void *desired, size_t nbytes);
/* 16 bytes, aligned.  => also -ENOTSUP: this processor can't */
int vmmi_arch_cas16(void *at, void *expected, const void *desired);
/* Reads the byte, or with write not 0 writes it as it is, atomically. */
int vmmi_arch_probe(void *byte, int write);

/* Goes on with a sum of CRC-32C (crc.h; without the inversions) over as many of
 * the bytes as the processor has an instruction for.  => how many; 0: it has
 * none */
size_t vmmi_arch_crc(uint32_t *crc, const void *bytes, size_t nbytes);

/*
 * One instruction that runs out of line: what is to run in its place, and what
 * a context means that was interrupted there.
 *
 *   0 ............ done ............... restored ......... nbytes
 *   | the instruction | the scratch register | goes on at next |
 *
 * Before done it has not been executed, from there on it has; up to restored a
 * register of the interrupted code holds something else.
 */
struct vmmi_arch_displaced {
  uintptr_t pc;      /* where the instruction belongs; 0: none */
  uintptr_t next;    /* where it goes on */
  uint64_t scratch;  /* what that register is to be again */
  uint64_t entry;    /* what it is at first */
  int8_t reg;        /* by DWARF number; -1: none is used */
  uint8_t length;    /* of the instruction where it belongs */
  uint8_t done, restored;
  uint8_t nbytes;    /* of what runs in its place */
  bool traps;        /* by a trap at done, for vmmi_arch_displace_trap() */
  bool calls;        /* ... and then calls */
};
/* The most that runs in an instruction's place, in bytes. */
enum { VMMI_ARCH_DISPLACED_MAX = 64 };

/*
 * Makes *what of the instruction whose first nbytes are at insn, as if it stood
 * at pc, and writes what is to run to code.  A jump whose target is known is
 * done in the context at once.
 * => 0; 1 done; -EILSEQ not an instruction; -ENOTSUP one that can't run
 *    elsewhere
 */
int vmmi_arch_displace(void *context, uintptr_t pc, const void *insn,
                       size_t nbytes, struct vmmi_arch_displaced *what,
                       uint8_t code[VMMI_ARCH_DISPLACED_MAX]);
/* The trap at done was met: as above, for what is left.  Never fails. */
int vmmi_arch_displace_trap(void *context, struct vmmi_arch_displaced *what,
                            uint8_t code[VMMI_ARCH_DISPLACED_MAX]);
/* Makes this processor fetch again what was written by another address. */
void vmmi_arch_sync_code(void);

/*
 * Calls fn(arg), on the stack that ends at top if that is not NULL, from a
 * frame that *sp is set to: the registers that a function must keep are in it,
 * and the control words of the floating-point units.  They are restored,
 * however it ends.
 * => 0 fn returned; 1 one of the next two ended it
 */
int vmmi_arch_guard_run(void (*fn)(void *), void *arg, void **sp, void *top);
/* Makes a signal's context go on where that call ends. */
void vmmi_arch_guard_land(void *context, void *sp);
/* Goes on there at once. */
_Noreturn void vmmi_arch_guard_leave(void *sp);

#endif
