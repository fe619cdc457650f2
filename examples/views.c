/*
 * Two views of one space: code of the guest's, which runs on the user base,
 * can't reach the supervisor's memory, whatever it computes; what serves its
 * calls finds the frame that was pushed at the entry on its own stack, and
 * nothing was copied.
 */
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

#define PAGE 0x10000
#define USER 0x100000
#define SUPERVISOR 0x800000 /* a secret, and above it the stack */
#define STACK_TOP (SUPERVISOR + 4 * PAGE)

struct frame {
  vmm_addr_t pc;
  unsigned number; /* of the call */
};

/* What a guest might try.  => the byte, or -1 */
static int peek(const char *base, vmm_addr_t va)
{
  unsigned char byte;

  vmm_try_load_u8(byte, base + va, denied);
  return byte;
denied:
  return -1;
}

/* The guest makes a call: still in its view, the entry code pushes what is to
 * be kept; then the supervisor's view, and the same bytes on the same stack. */
static void call_supervisor(struct vmm_views *views, unsigned number)
{
  struct frame frame = { USER + 0x40, number };

  views->sp -= sizeof(frame);
  memcpy(views->sp, &frame, sizeof(frame));
  vmm_view_enter(views);
  memcpy(&frame, views->sp, sizeof(frame));
  printf("call %u from pc 0x%llx, the secret is '%c'\n", frame.number,
         (unsigned long long)frame.pc, peek(views->base, SUPERVISOR));
  views->sp += sizeof(frame);
  vmm_view_leave(views);
}

static int run(struct vmm_space *space, struct vmm_hart *hart)
{
  struct vmm_views *views = vmm_hart_views(hart);
  uint32_t rights = VMM_READ | VMM_WRITE;
  char *user;

  if (vmm_map_anon(space, USER, PAGE, rights) != 0 ||
      vmm_map_anon(space, SUPERVISOR, 4 * PAGE, rights | VMM_SUPERVISOR) != 0 ||
      vmm_hart_set_space(hart, space, &user) != 0 ||
      vmm_hart_set_stack(hart, STACK_TOP, 2 * PAGE) != 0)
    return -1;
  views->base[SUPERVISOR] = 's'; /* the supervisor's view is active */
  user[USER] = 'u';

  vmm_view_leave(views);
  printf("the guest reads '%c' of its own, and of the secret: %d\n",
         peek(views->base, USER), peek(views->base, SUPERVISOR));
  call_supervisor(views, 7);
  vmm_view_enter(views);
  return vmm_hart_set_space(hart, NULL, NULL);
}

int main(void)
{
  struct vmm_hart_options options = { .flags = VMM_HART_WINDOWS |
                                               VMM_HART_VIEWS };
  struct vmm_space *space = NULL;
  struct vmm_hart *hart = NULL;
  int failed = vmm_space_create(&space, NULL) != 0 ||
               vmm_hart_create(&hart, &options) != 0 || run(space, hart) != 0;

  if (failed)
    fprintf(stderr, "views: %s\n", vmm_error_text());
  vmm_hart_destroy(hart);
  vmm_space_destroy(space);
  return failed;
}
