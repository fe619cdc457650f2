/*
 * Stopping generated code: its loops read a page of guest memory that is there
 * for that alone, one load a round.  Whoever wants the guest to stop takes the
 * rights of this page, from any thread, and the next round ends the guarded
 * call.
 *
 * The guest here is C for the sake of an example: a loop that never ends.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <vmm/vmm.h>

#define POLL 0x10000 /* the poll page */
#define DATA 0x20000

struct guest {
  struct vmm_space *space;
  char *base;
  uint64_t limit; /* rounds; 0: none */
};

/* What a JIT would have made: count in guest memory, and poll. */
static void run_guest(void *arg)
{
  struct guest *guest = arg;
  volatile uint64_t *rounds = (uint64_t *)(guest->base + DATA);

  for (*rounds = 1; *rounds != guest->limit; ++*rounds)
    (void)*(volatile char *)(guest->base + POLL);
}

/* The other thread: waits until the guest runs, and stops it. */
static void *stop_guest(void *arg)
{
  struct guest *guest = arg;
  uint64_t rounds = 0;

  while (rounds < 100)
    if (vmm_load(guest->space, DATA, &rounds, sizeof(rounds)) != 0)
      return arg;
  return vmm_protect(guest->space, POLL, vmm_space_page_size(guest->space),
                     0) == 0
             ? NULL
             : arg;
}

static int call_guest(struct guest *guest)
{
  struct vmm_fault fault;
  int ended = vmm_guard_call(run_guest, guest, 0, &fault);

  if (ended == 1)
    printf("stopped: 0x%" PRIx64 ": %s\n", fault.va,
           vmm_fault_reason_name(fault.reason));
  else if (ended == 0)
    printf("returned after %" PRIu64 " rounds\n", guest->limit);
  return ended < 0;
}

static int run(struct vmm_space *space)
{
  uint64_t page = vmm_space_page_size(space);
  struct guest guest = { .space = space, .base = vmm_space_base(space) };
  pthread_t thread;
  void *failed;

  if (vmm_map_anon(space, POLL, page, VMM_READ) != 0 ||
      vmm_map_anon(space, DATA, page, VMM_READ | VMM_WRITE) != 0 ||
      pthread_create(&thread, NULL, stop_guest, &guest) != 0 ||
      call_guest(&guest) != 0)
    return 1;
  pthread_join(thread, &failed);
  /* the page back, and the guest may run on */
  if (failed != NULL || vmm_protect(space, POLL, page, VMM_READ) != 0)
    return 1;
  guest.limit = 1000;
  return call_guest(&guest);
}

int main(void)
{
  struct vmm_space_options options = { 0 };
  struct vmm_space *space = NULL;
  int failed;

  options.size = 1ull << 32;
  failed = vmm_space_create(&space, &options) != 0 || run(space) != 0;
  if (failed)
    fprintf(stderr, "poll: %s\n", vmm_error_text());
  return vmm_space_destroy(space) != 0 || failed;
}
