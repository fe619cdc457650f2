/*
 * Watchpoints, for a debugger: who writes this variable of the guest?  Each
 * store to its bytes is told, with the value, while what lies beside it in the
 * page only gets slower; and a store that must not be is refused before it
 * happens.
 *
 * Accesses here are calls, as a debugger's own guest would make them; with
 * libvmm-mmio plain stores through the window are told as well.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <vmm/vmm.h>

#define STACK 0x10000
#define VARIABLE (STACK + 0x108)

struct history {
  uint32_t limit; /* more is refused */
};

static int told(struct vmm_watch *watch, const struct vmm_watch_event *event,
                void *arg)
{
  const struct history *history = arg;
  uint32_t value = 0;

  (void)watch;
  if (event->value != NULL) /* of a copy it is not known */
    memcpy(&value, event->value, event->nbytes < 4 ? event->nbytes : 4);
  printf("  %u bytes to 0x%" PRIx64 ": %" PRIu32 "%s\n",
         (unsigned)event->nbytes, event->va, value,
         value > history->limit ? ", refused" : "");
  return value > history->limit;
}

static int store(struct vmm_space *space, vmm_addr_t va, uint32_t value)
{
  return vmm_store(space, va, &value, sizeof(value));
}

int main(void)
{
  struct history history = { .limit = 100 };
  struct vmm_space *space = NULL;
  struct vmm_watch *watch;
  struct vmm_fault fault;
  uint32_t value = 0;

  if (vmm_space_create(&space, NULL) != 0 ||
      vmm_map_anon(space, STACK, 0x10000, VMM_READ | VMM_WRITE) != 0 ||
      vmm_watch_add(&watch, space, VARIABLE, sizeof(value), VMM_WRITE,
                    VMM_WATCH_BEFORE, told, &history) != 0) {
    fprintf(stderr, "watch: %s\n", vmm_error_text());
    return 1;
  }
  printf("stores around it:\n");
  store(space, VARIABLE - 4, 1);
  store(space, VARIABLE + 4, 2);
  printf("stores to it:\n");
  store(space, VARIABLE, 42);
  store(space, VARIABLE - 2, 7);
  if (store(space, VARIABLE, 1000) != 0 && vmm_fault_last(&fault) == 0)
    printf("the last one: %s\n", vmm_fault_reason_name(fault.reason));
  vmm_watch_remove(watch);
  store(space, VARIABLE, 1001);
  vmm_load(space, VARIABLE, &value, sizeof(value));
  printf("without the watch it is %" PRIu32 "\n", value);
  return vmm_space_destroy(space) != 0;
}
