/*
 * The emulations that are under way in a guest thread's trampoline page.
 *
 *   page   0          64         128
 *          +----------+----------+-----
 *          | code     | code     |   emulation i is in place i; depth of them
 *          | trap     | trap     |   are owned, the last one the innermost
 *          +----------+----------+-----
 *
 * One host thread at a time uses them, but a handler of its may come between
 * any two steps: an emulation is complete before it counts, and what counts no
 * longer is left as it is.  Layer 6.
 */
#include "guest_thread.h"

#include <errno.h>
#include <string.h>

#include "arch.h"
#include "inject.h"

/* => -EPERM unless the calling host thread's hart runs it, or none does */
static int check_runner(const struct vmm_guest_thread *thread)
{
  struct vmm_hart *hart;
  int error = vmmi_guest_thread_check(thread);

  if (error != 0)
    return error;
  hart = atomic_load_explicit(&thread->hart, memory_order_acquire);
  if (hart != NULL && hart != vmmi_thread_self.hart)
    return vmmi_error(-EPERM, "guest thread: another host thread runs it", 0);
  return 0;
}

static unsigned owned(const struct vmm_guest_thread *thread)
{
  /* relaxed: one thread and its handlers */
  return atomic_load_explicit(&thread->depth, memory_order_relaxed);
}

static void set_owned(struct vmm_guest_thread *thread, unsigned depth)
{
  atomic_signal_fence(memory_order_seq_cst);
  atomic_store_explicit(&thread->depth, depth, memory_order_relaxed);
}

/* => the innermost emulation below depth that pc lies in, or -1 */
static int emulation_at(const struct vmm_guest_thread *thread, unsigned depth,
                        vmm_addr_t pc)
{
  for (int i = (int)depth - 1; i >= 0; i--)
    if (pc >= thread->emulations[i].pc && pc <= thread->emulations[i].trap_pc)
      return i;
  return -1;
}

/* ---- push ---- */

static int check_emulation(const struct vmm_emulation *emulation)
{
  static const struct vmm_emulation none;

  if (emulation == NULL ||
      memcmp(emulation->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "trampoline: reserved fields not zero", 0);
  if (emulation->code == NULL || emulation->code_nbytes == 0 ||
      emulation->trap == NULL || emulation->trap_nbytes == 0 ||
      (uint64_t)emulation->code_nbytes + emulation->trap_nbytes >
          VMM_TRAMPOLINE_NBYTES)
    return vmmi_error(-EINVAL, "trampoline: no code, no trap, or too long", 0);
  if (!vmmi_is_aligned(emulation->page, VMMI_FRAME_SIZE))
    return vmmi_error(-EINVAL, "trampoline: the page is not aligned", 0);
  return 0;
}

/* -ENOMEM -EIO */
static int write_emulation(struct vmm_guest_thread *thread, unsigned i,
                           const struct vmm_emulation *emulation)
{
  size_t nbytes = emulation->code_nbytes + emulation->trap_nbytes;
  uint64_t page = atomic_load(&thread->page);
  char *at;
  int error;

  if (page == 0) {
    vmmi_thread_enter();
    page = vmmi_trampoline_page(thread);
    vmmi_thread_leave_quietly();
  }
  if (page == 0)
    return -ENOMEM;
  at = vmmi_arena_pointer(page) + i * VMM_TRAMPOLINE_NBYTES;
  error = vmmi_inject(VMM_TEST_FRAME) ? -EIO : 0;
  if (error == 0)
    error = vmmi_alias_copy(at, emulation->code, emulation->code_nbytes);
  if (error == 0)
    error = vmmi_alias_copy(at + emulation->code_nbytes, emulation->trap,
                            emulation->trap_nbytes);
  if (error == 0)
    __builtin___clear_cache(at, at + nbytes);
  return error;
}

int vmm_trampoline_push(struct vmm_guest_thread *thread,
                        const struct vmm_emulation *emulation, vmm_addr_t *pc)
{
  int error = check_runner(thread);
  unsigned i;

  if (error == 0)
    error = check_emulation(emulation);
  if (error == 0 && pc == NULL)
    error = vmmi_error(-EINVAL, "trampoline: no place for the pc", 0);
  if (error != 0)
    return error;
  i = (unsigned)(emulation_at(thread, owned(thread), emulation->pc) + 1);
  if (i == VMM_TRAMPOLINE_FRAMES)
    return vmmi_error(-ENOSPC, "trampoline: all frames are live", 0);
  set_owned(thread, i); /* the dead ones */
  error = write_emulation(thread, i, emulation);
  if (error != 0)
    return vmmi_error(error, "trampoline: the page can't be had, or written",
                      0);
  *pc = emulation->page + (vmm_addr_t)i * VMM_TRAMPOLINE_NBYTES;
  thread->emulations[i] = (struct vmmi_emulation){
    .pc = *pc,
    .trap_pc = *pc + emulation->code_nbytes,
    .branch_pc = emulation->branch_pc,
    .continuation_pc = emulation->continuation_pc,
  };
  set_owned(thread, i + 1);
  vmmi_arch_sync_code();
  return 0;
}

/* ---- and what ends it ---- */

int vmm_trampoline_complete(struct vmm_guest_thread *thread, vmm_addr_t *pc)
{
  int error = check_runner(thread);
  int i;

  if (error == 0 && pc == NULL)
    error = vmmi_error(-EINVAL, "trampoline: no pc", 0);
  if (error != 0)
    return error;
  i = emulation_at(thread, owned(thread), *pc);
  if (i < 0 || thread->emulations[i].trap_pc != *pc)
    return vmmi_error(-ENOENT, "trampoline: the trap of no frame", 0);
  *pc = thread->emulations[i].continuation_pc;
  set_owned(thread, (unsigned)i);
  return 0;
}

/* => what pc stands for */
static vmm_addr_t origin_of(const struct vmm_guest_thread *thread,
                            vmm_addr_t pc)
{
  int i = (int)owned(thread);

  while ((i = emulation_at(thread, (unsigned)i, pc)) >= 0) {
    const struct vmmi_emulation *emulation = &thread->emulations[i];

    if (pc == emulation->pc)
      pc = emulation->branch_pc;
    else if (pc == emulation->trap_pc)
      pc = emulation->continuation_pc;
    else
      break;
  }
  return pc;
}

int vmm_trampoline_rollback(struct vmm_guest_thread *thread, vmm_addr_t *pc)
{
  int error = check_runner(thread);
  vmm_addr_t origin;

  if (error == 0 && pc == NULL)
    error = vmmi_error(-EINVAL, "trampoline: no pc", 0);
  if (error != 0)
    return error;
  origin = origin_of(thread, *pc);
  set_owned(thread, 0);
  if (origin == *pc)
    return 0;
  *pc = origin;
  return 1;
}

vmm_addr_t vmm_trampoline_origin(const struct vmm_guest_thread *thread,
                                 vmm_addr_t pc)
{
  return check_runner(thread) == 0 ? origin_of(thread, pc) : pc;
}

int vmm_trampoline_depth(const struct vmm_guest_thread *thread)
{
  int error = check_runner(thread);

  return error != 0 ? error : (int)owned(thread);
}
