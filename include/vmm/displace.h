/*
 * Running one instruction of the host's out of line: a JIT or a debugger has
 * put a breakpoint, or a jump, over an instruction, and the thread that meets
 * it is to execute what stood there, without taking the patch away for others.
 *
 *   static enum vmm_verdict at_breakpoint(struct vmm_fault *fault, void *arg)
 *   {
 *     if (fault->reason != VMM_FAULT_TRAP)
 *       return VMM_DECLINE;
 *     ... count, log, look at registers ...
 *     return vmm_displace(fault->context, fault->host_pc, saved, sizeof(saved))
 *                == 0 ? VMM_RESUME : VMM_DECLINE;
 *   }
 *
 * as the handler of registered code (<vmm/extable.h>).  The instruction runs
 * from a page that belongs to the guest thread which the calling thread's hart
 * runs (<vmm/guest_thread.h>) and that no guest address leads to: executable
 * through one mapping, written through another.  It ends with a jump back, so
 * no second trap is taken, and nothing has to be freed.
 *
 * Return  What it does to registers, flags and memory is what it would have
 *         done in its place: what it names relative to the pc, the return
 *         address of a call, and a branch's target are those of its place.
 *         (The pc that x87 keeps for FSTENV and its like is not; a call is
 *         unknown to a shadow stack.)
 * Fault   What its access finds missing is repaired as ever, and it runs again.
 *         Where nobody repairs it, every handler, table and guarded call, and
 *         the handler that was there before the library's, sees it in its
 *         place: fault->host_pc and the context's pc are pc, registers as
 *         before it.  VMM_RETRY meets the patch again; VMM_SKIP goes on behind
 *         it.
 * Signal  A handler of an asynchronous signal may find a pc of that page in its
 *         context.  vmm_displace_pc() tells what it stands for, and
 *         vmm_displace_rollback() makes it that.  A handler that runs patched
 *         code itself, switches the hart's thread or leaves for good calls the
 *         latter first; otherwise neither is needed: returning is always right.
 *         (Without it the 63 instructions that were displaced last are still
 *         there.)
 */
#ifndef VMM_DISPLACE_H
#define VMM_DISPLACE_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes the interrupted code (context: a ucontext_t *) go on by executing the
 * instruction whose bytes begin at insn, of nbytes that may be read there, as
 * if it stood at pc; and then what follows it there, or where it leads.  The
 * handler returns then, with VMM_RESUME if it is a fault handler.
 *
 * => signal-safe
 * -EINVAL   also: nbytes is 0
 * -ENOENT   this thread has no hart, or its hart runs no guest thread
 * -EILSEQ   no instruction begins there, or it is longer than nbytes
 * -ENOTSUP  one that can't run elsewhere (x86-64: breakpoints and interrupts,
 *           far transfers, iret, syscall and sysenter, xbegin and xabort,
 *           transfers with an operand- or address-size prefix, eip-relative
 *           operands); or a host where none can
 * -ENOMEM -EIO  the page can't be had, or written
 */
VMM_API int vmm_displace(void *context, const void *pc, const void *insn,
                         size_t nbytes);

/* => the pc that the context stands for: the instruction's place, or, where it
 *    has been executed, what follows; any other pc unchanged
 * => signal-safe */
VMM_API void *vmm_displace_pc(const void *context);

/* Makes the context what it stands for, registers too.
 * => 1 it was in the page; 0 it was not, and nothing is changed
 * => signal-safe */
VMM_API int vmm_displace_rollback(void *context);

#ifdef __cplusplus
}
#endif
#endif
