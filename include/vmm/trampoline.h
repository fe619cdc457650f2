/*
 * Trampoline pages: one guest address of a space where each guest thread sees a
 * page of its own, which the guest may read and run, and only the library
 * writes.  An emulator runs single instructions from there: the one in the
 * delay slot of a branch that it emulates, say, which must not be put on the
 * guest's stack.
 *
 *   vmm_trampoline_map(space, 0x7fff0000);
 *   ...                              a branch at pc must be emulated
 *   emulation.code = slot;           the instruction in its delay slot, and
 *   emulation.trap = break_word;     a trap of the guest's that tells its end
 *   emulation.branch_pc = pc;
 *   emulation.continuation_pc = target;
 *   vmm_trampoline_push(thread, &emulation, &pc);      go on there
 *   ...                              the trap at pc
 *   if (vmm_trampoline_complete(thread, &pc) != 0)     pc is the target now
 *     ...                            no: an ordinary trap of the guest's
 *
 * The page has no entry in the page table, ever: each fault on it is resolved
 * to the page of the guest thread that the hart runs (<vmm/guest_thread.h>).
 * Which accesses find it:
 *
 *  a hart's own window   all (VMM_HART_WINDOWS): native code at base + address,
 *                        loads, the accessors of <vmm/extable.h>; by whatever
 *                        host thread, of the guest thread which that window's
 *                        hart runs
 *  the space's window    none: a fault with the reason VMM_FAULT_NO_THREAD,
 *                        since all threads share it, and have one page of the
 *                        host's there.  An interpreter that loads through it
 *                        does the access again by a call, as with any access
 *                        whose fault it takes
 *  calls                 vmm_fetch(), vmm_load(), vmm_copyin(), vmm_fixup() and
 *                        vmm_pin() with VMM_READ or VMM_EXEC: of the guest
 *                        thread that the calling thread's hart runs, with
 *                        windows of its own or without, in spaces without a
 *                        window too.  vmm_fetch() gives 1: the bytes are not
 *                        to be kept
 *  no hart, or one that runs no guest thread   none: VMM_FAULT_NO_THREAD
 *  writing, by any way                         none: VMM_FAULT_RIGHTS
 *
 * Emulations may nest: an instruction in the page may itself need one.  So a
 * guest thread has a stack of frames, each the instruction and the trap behind
 * it.  A frame is live while the thread's pc is in it, or a nested emulation
 * sits above it; what is no longer (after a longjmp out of a handler, a
 * debugger's jump) is taken back by the next push.
 *
 * The calls on a guest thread's frames are for the host thread whose hart runs
 * it, and for any one while no hart does; from any other they are -EPERM.  They
 * are signal-safe: a handler may come between any two steps of them.
 */
#ifndef VMM_TRAMPOLINE_H
#define VMM_TRAMPOLINE_H

#include <vmm/guest_thread.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  VMM_TRAMPOLINE_FRAMES = 64, /* emulations of one thread that nest at most */
  VMM_TRAMPOLINE_NBYTES = 64, /* of an instruction and its trap, at most */
};

/*
 * Maps the space's trampoline page, one page of the space at va.  vmm_unmap()
 * takes it away; vmm_protect() gives -EACCES there, vmm_move() and vmm_wire()
 * -ENOTSUP.  A fork of the space has it too.  A space with one can't be saved
 * to a file.
 *
 * -EINVAL  va is outside the space
 * -EEXIST  something is mapped there, or the space has a trampoline page
 * -ENOMEM  no memory
 */
VMM_API int vmm_trampoline_map(struct vmm_space *space, vmm_addr_t va);

struct vmm_emulation {
  const void *code;   /* the instruction, or several, in the guest's code */
  uint32_t code_nbytes;
  uint32_t trap_nbytes;
  const void *trap;   /* what ends it: a BREAK with its own code, INT3 ... */
  vmm_addr_t page;    /* guest address of the trampoline page */
  vmm_addr_t pc;      /* where the thread is: what lies above is dead */
  vmm_addr_t branch_pc;       /* what the frame's instruction stands for */
  vmm_addr_t continuation_pc; /* where the thread goes on after it */
  uint64_t reserved[2];
};

/*
 * Takes a frame and writes the code and the trap to it; *pc becomes the guest
 * address of the code, where the thread is to go on.  In a nested emulation, pc
 * and branch_pc are the address of the outer frame's instruction,
 * continuation_pc that of its trap.
 *
 * It does what this processor needs to run the new bytes.  A frame that is
 * written over was dead, so no other one runs it.
 *
 * -EINVAL  code or trap is empty, both are longer than VMM_TRAMPOLINE_NBYTES;
 *          page is not aligned to 4 KiB
 * -ENOSPC  all frames are live
 * -ENOMEM  the page can't be had      -EIO  nor written: the guest's bus error
 */
VMM_API int vmm_trampoline_push(struct vmm_guest_thread *thread,
                                const struct vmm_emulation *emulation,
                                vmm_addr_t *pc);

/*
 * The guest has trapped at *pc.  If that is the trap of a live frame, frees it
 * and what lies above it, and *pc becomes its continuation.
 * -ENOENT  it is not: the trap is the guest's own, and nothing is freed
 */
VMM_API int vmm_trampoline_complete(struct vmm_guest_thread *thread,
                                    vmm_addr_t *pc);

/*
 * Before the thread's pc is shown to the guest (a signal's context, a debugger,
 * a core) or changed for good: *pc at a frame's instruction becomes its
 * branch_pc, at its trap its continuation_pc, and so on down where that is in a
 * frame again; any other pc is left.  Every frame is freed.
 * => 1 *pc was changed; 0 not
 */
VMM_API int vmm_trampoline_rollback(struct vmm_guest_thread *thread,
                                    vmm_addr_t *pc);

/* => what a fault at pc is to name: as vmm_trampoline_rollback(), but frees
 *    nothing; pc itself if it is in no frame, or the thread is another's */
VMM_API vmm_addr_t vmm_trampoline_origin(const struct vmm_guest_thread *thread,
                                         vmm_addr_t pc);

/* => frames that the thread owns, dead ones that no push has taken back
 *    included */
VMM_API int vmm_trampoline_depth(const struct vmm_guest_thread *thread);

#ifdef __cplusplus
}
#endif
#endif
