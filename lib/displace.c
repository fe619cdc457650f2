/*
 * Displaced instructions.  SIGNAL CONTEXT: all of it runs there.
 *
 * A slot is used again for the same instruction of the same place where nothing
 * in it depends on registers; else the slots are taken in turn, so that what a
 * handler displaces leaves alone what it interrupted.
 */
#include "displace.h"

#include <errno.h>
#include <string.h>

#include "arena.h"
#include "metadata.h"
#include "os.h"
#include "thread.h"

enum { SLOTS = 64, SLOT_NBYTES = VMMI_ARCH_DISPLACED_MAX };
#define SLOTS_NBYTES (SLOTS * sizeof(struct vmmi_arch_displaced))

/* ---- the page ---- */

/* Maps the first page of the run a second time, to execute; at *code, unless
 * that is NULL. */
static int map_code(struct vmmi_displacer *displacer, char **code)
{
  size_t nbytes = (size_t)1 << vmmi_os_page_shift();
  void *at;
  int error = vmmi_os_reserve(&at, *code, nbytes, nbytes);

  if (error != 0)
    return error;
  error = vmmi_os_map(at, nbytes, VMM_READ | VMM_EXEC, vmmi_arena_fd(),
                      vmmi_arena_offset(displacer->run));
  if (error != 0)
    vmmi_os_release(at, nbytes);
  *code = at;
  return error;
}

/* => inside enter */
static int make_page(struct vmmi_displacer *displacer)
{
  char *code = NULL;
  int error;

  displacer->slot = vmmi_metadata_alloc(SLOTS_NBYTES);
  if (displacer->slot == NULL)
    return -ENOMEM;
  error = vmmi_arena_init();
  if (error == 0)
    error = vmmi_run_take(&displacer->run);
  if (error != 0)
    goto no_run;
  error = map_code(displacer, &code);
  if (error != 0)
    goto no_code;
  vmmi_frame_take(displacer->run, 1);
  displacer->alias = vmmi_arena_pointer(displacer->run);
  displacer->code = code;
  return 0;
no_code:
  vmmi_run_drop(displacer->run);
no_run:
  vmmi_metadata_free(displacer->slot, SLOTS_NBYTES);
  return -ENOMEM;
}

void vmmi_displacer_end(struct vmmi_displacer *displacer)
{
  if (displacer->code == NULL)
    return;
  vmmi_os_release(displacer->code, (size_t)1 << vmmi_os_page_shift());
  displacer->code = NULL;
  vmmi_frame_release(displacer->run, 1);
  vmmi_run_drop(displacer->run);
  vmmi_metadata_free(displacer->slot, SLOTS_NBYTES);
}

int vmmi_displacer_inherit(struct vmmi_displacer *displacer)
{
  char *code = displacer->code;

  return code != NULL ? map_code(displacer, &code) : 0;
}

/* ---- slots ---- */

/* => the slot that has this instruction already, for any registers, or SLOTS */
static unsigned find_slot(const struct vmmi_displacer *displacer, uintptr_t pc,
                          const void *insn, size_t nbytes)
{
  for (unsigned i = 0; i < SLOTS; i++) {
    const struct vmmi_arch_displaced *slot = &displacer->slot[i];

    if (slot->pc == pc && slot->reg < 0 && !slot->traps &&
        slot->length <= nbytes &&
        memcmp(displacer->alias + i * SLOT_NBYTES, insn, slot->length) == 0)
      return i;
  }
  return SLOTS;
}

/* Writes what is to run to a slot.  -EIO */
static int fill_place(struct vmmi_displacer *displacer, unsigned i,
                      const struct vmmi_arch_displaced *what,
                      const uint8_t *code)
{
  struct vmmi_arch_displaced *slot = &displacer->slot[i];
  char *at = displacer->code + i * SLOT_NBYTES;
  int error;

  slot->pc = 0;
  atomic_signal_fence(memory_order_seq_cst); /* a handler finds it empty, */
  error = vmmi_inject(VMM_TEST_FRAME)
              ? -EIO
              : vmmi_alias_copy(displacer->alias + i * SLOT_NBYTES, code,
                                what->nbytes);
  if (error != 0)
    return error;
  __builtin___clear_cache(at, at + what->nbytes);
  *slot = *what;
  slot->pc = 0;
  atomic_signal_fence(memory_order_seq_cst); /* ... or whole */
  slot->pc = what->pc;
  return 0;
}

static void enter_slot(const struct vmmi_displacer *displacer, unsigned i,
                       void *context)
{
  const struct vmmi_arch_displaced *slot = &displacer->slot[i];

  if (slot->reg >= 0)
    vmmi_arch_set_register(context, (unsigned)slot->reg, slot->entry);
  vmmi_arch_set_pc(context, (uintptr_t)displacer->code + i * SLOT_NBYTES);
}

static unsigned take_slot(struct vmmi_displacer *displacer)
{
  /* relaxed: one thread and its handlers */
  return atomic_fetch_add_explicit(&displacer->next, 1, memory_order_relaxed) %
         SLOTS;
}

static int run_elsewhere(struct vmmi_displacer *displacer, void *context,
                         uintptr_t pc, const void *insn, size_t nbytes)
{
  uint8_t code[VMMI_ARCH_DISPLACED_MAX];
  struct vmmi_arch_displaced what;
  unsigned i = find_slot(displacer, pc, insn, nbytes);
  int error;

  if (i == SLOTS) {
    error = vmmi_arch_displace(context, pc, insn, nbytes, &what, code);
    if (error != 0)
      return error;
    i = take_slot(displacer);
    error = fill_place(displacer, i, &what, code);
    if (error != 0)
      return error;
  }
  enter_slot(displacer, i, context);
  return 0;
}

static int check_displace(const void *context, const void *pc, const void *insn,
                          size_t nbytes)
{
  int error = vmmi_thread_check_process();

  if (error != 0)
    return error;
  if (context == NULL || pc == NULL || insn == NULL || nbytes == 0)
    return vmmi_error(-EINVAL, "displace: no context, place or instruction", 0);
  if (vmmi_thread_self.displacer == NULL)
    return vmmi_error(-ENOENT, "displace: no hart, or it runs no guest thread",
                      0);
  return 0;
}

int vmm_displace(void *context, const void *pc, const void *insn, size_t nbytes)
{
  struct vmmi_displacer *displacer = vmmi_thread_self.displacer;
  int error = check_displace(context, pc, insn, nbytes);

  if (error != 0)
    return error;
  if (displacer->code == NULL) {
    vmmi_thread_enter();
    if (displacer->code == NULL)
      error = make_page(displacer);
    vmmi_thread_leave_quietly();
    if (error != 0)
      return vmmi_error(error, "displace: no memory for the page", 0);
  }
  error = run_elsewhere(displacer, context, (uintptr_t)pc, insn, nbytes);
  switch (error) {
  case -EILSEQ:
    return vmmi_error(error, "displace: not a whole instruction", 0);
  case -ENOTSUP:
    return vmmi_error(error, "displace: it can't run elsewhere", 0);
  case -EIO:
    return vmmi_error(error, "displace: the page can't be written", 0);
  }
  return 0; /* or 1: it was done in the context */
}

/* ---- contexts that were interrupted there ---- */

enum displaced_place { ELSEWHERE, BEFORE, DONE, RESTORED };

/* => where in its slot the context stands, with *i the slot */
static enum displaced_place place_at(const void *context, unsigned *i)
{
  const struct vmmi_displacer *displacer = vmmi_thread_self.displacer;
  const struct vmmi_arch_displaced *slot;
  uintptr_t offset;

  if (displacer == NULL || displacer->code == NULL)
    return ELSEWHERE;
  offset = vmmi_arch_pc(context) - (uintptr_t)displacer->code;
  *i = (unsigned)(offset / SLOT_NBYTES);
  if (offset >= SLOTS * SLOT_NBYTES || displacer->slot[*i].pc == 0)
    return ELSEWHERE;
  slot = &displacer->slot[*i];
  offset %= SLOT_NBYTES;
  if (offset == 0)
    return BEFORE;
  if (slot->traps) /* its trap is not the end */
    return offset == slot->done || offset == slot->done + 1u ? BEFORE
                                                             : ELSEWHERE;
  if (offset == slot->restored)
    return RESTORED;
  return offset == slot->done ? DONE : ELSEWHERE;
}

bool vmmi_displace_rollback(void *context, size_t *length)
{
  unsigned i;
  enum displaced_place place = context != NULL ? place_at(context, &i)
                                               : ELSEWHERE;
  const struct vmmi_arch_displaced *slot;

  if (place == ELSEWHERE)
    return false;
  slot = &vmmi_thread_self.displacer->slot[i];
  if (place != RESTORED && slot->reg >= 0)
    vmmi_arch_set_register(context, (unsigned)slot->reg, slot->scratch);
  vmmi_arch_set_pc(context, place == BEFORE ? slot->pc : slot->next);
  *length = place == BEFORE ? slot->length : 0;
  return true;
}

bool vmmi_displace_trap(void *context)
{
  struct vmmi_displacer *displacer = vmmi_thread_self.displacer;
  uint8_t code[VMMI_ARCH_DISPLACED_MAX];
  struct vmmi_arch_displaced what;
  uintptr_t at;
  unsigned i;

  if (place_at(context, &i) != BEFORE || !displacer->slot[i].traps)
    return false;
  what = displacer->slot[i];
  at = (uintptr_t)displacer->code + i * SLOT_NBYTES + what.done;
  if (vmmi_arch_insn(context) != at || vmmi_arch_pc(context) == at)
    return false;
  if (vmmi_arch_displace_trap(context, &what, code) != 0)
    return true;
  i = take_slot(displacer);
  if (fill_place(displacer, i, &what, code) == 0)
    enter_slot(displacer, i, context);
  else /* from the start, where it is told */
    vmmi_arch_set_pc(context, what.pc);
  return true;
}

int vmm_displace_rollback(void *context)
{
  size_t length;

  return vmmi_displace_rollback(context, &length);
}

void *vmm_displace_pc(const void *context)
{
  unsigned i;
  enum displaced_place place = place_at(context, &i);
  const struct vmmi_arch_displaced *slot;

  if (context == NULL)
    return NULL;
  if (place == ELSEWHERE)
    return (void *)vmmi_arch_pc(context);
  slot = &vmmi_thread_self.displacer->slot[i];
  return (void *)(place == BEFORE ? slot->pc : slot->next);
}
