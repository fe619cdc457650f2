/*
 * Harts: beginning, end, and turning from space to space.  Locks: the list of
 * harts, a leaf.  Layer 6.
 */
#include "hart.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "guest_thread.h"
#include "lazy.h"
#include "metadata.h"
#include "os.h"
#include "view.h"
#include "window_table.h"

#define TAG_BITS_MAX 8
#define TAG_BITS_DEFAULT 4
#define DISPLACEMENT_DEFAULT ((uint64_t)2 << 30)
#define HART_FLAGS                                                             \
  (VMM_HART_WINDOWS | VMM_HART_USER | VMM_HART_VIEWS | VMM_HART_INVALID |      \
   VMM_HART_EAGER)

/* ---- the list of harts ---- */

static pthread_mutex_t hart_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmm_hart *free_harts;
static uint64_t numbers[VMMI_HARTS / 64]; /* a bit for each that is taken */
static struct vmm_hart *harts[VMMI_HARTS]; /* those */

/* => the lowest free number, or -1.  => list locked */
static int take_number(void)
{
  for (unsigned i = 0; i < VMMI_HARTS / 64; i++)
    if (~numbers[i] != 0) {
      unsigned bit = (unsigned)__builtin_ctzll(~numbers[i]);

      numbers[i] |= (uint64_t)1 << bit;
      return (int)(i * 64 + bit);
    }
  return -1;
}

static int take_hart(struct vmm_hart **hart)
{
  struct vmm_hart *taken;
  int number;

  pthread_mutex_lock(&hart_lock);
  number = take_number();
  taken = free_harts;
  if (number >= 0 && taken != NULL)
    free_harts = taken->next_free;
  pthread_mutex_unlock(&hart_lock);
  if (number < 0)
    return vmmi_error(-ENOSPC, "hart: there are 1024", 0);
  if (taken == NULL)
    taken = vmmi_metadata_alloc(sizeof(*taken));
  if (taken == NULL) {
    pthread_mutex_lock(&hart_lock);
    numbers[number / 64] &= ~((uint64_t)1 << (number % 64));
    pthread_mutex_unlock(&hart_lock);
    return vmmi_error(-ENOMEM, "hart: mmap", ENOMEM);
  }
  atomic_store(&taken->number, (unsigned)number);
  harts[number] = taken; /* whoever has the number */
  vmmi_running_new((unsigned)number);
  *hart = taken;
  return 0;
}

static void give_hart(struct vmm_hart *hart)
{
  unsigned number = atomic_load(&hart->number);

  pthread_mutex_lock(&hart_lock);
  numbers[number / 64] &= ~((uint64_t)1 << (number % 64));
  harts[number] = NULL;
  hart->next_free = free_harts;
  free_harts = hart;
  pthread_mutex_unlock(&hart_lock);
}

/* ---- beginning ---- */

static pthread_once_t hart_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t hart_key;
static int hart_key_error;

/* => inside */
static void end_hart(struct vmm_hart *hart)
{
  atomic_store(&hart->magic, 0);
  vmmi_running_set(atomic_load(&hart->number), NULL);
  for (unsigned tag = 0; tag < VMMI_HART_TAGS; tag++)
    for (unsigned view = 0; view < VMMI_VIEWS; view++) {
      struct vmmi_window *window = atomic_load(&hart->windows[tag][view]);

      atomic_store(&hart->windows[tag][view], NULL);
      if (window != NULL)
        vmmi_hart_close_window(hart, window);
    }
  vmmi_guest_thread_end(hart);
  vmmi_view_end(hart);
  give_hart(hart);
}

static void end_own_hart(struct vmm_hart *hart)
{
  vmmi_thread_enter();
  vmmi_thread_self.hart = NULL;
  end_hart(hart);
  vmmi_thread_leave();
}

static void end_with_thread(void *hart)
{
  if (vmmi_thread_self.hart == hart && !vmmi_os_in_child())
    end_own_hart(hart);
}

int vmmi_hart_fork_child(void)
{
  for (unsigned i = 0; i < VMMI_HARTS; i++)
    if (harts[i] != NULL && harts[i] != vmmi_thread_self.hart)
      end_hart(harts[i]);
  return 0;
}

static void make_hart_key(void)
{
  hart_key_error = pthread_key_create(&hart_key, end_with_thread);
}

static int check_hart_options(const struct vmm_hart_options *options)
{
  static const struct vmm_hart_options none;

  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "hart options: reserved fields not zero", 0);
  if (options->flags & ~(uint32_t)HART_FLAGS)
    return vmmi_error(-EINVAL, "hart options: unknown flags", 0);
  if ((options->flags & VMM_HART_VIEWS) && (options->flags & VMM_HART_USER))
    return vmmi_error(-EINVAL, "hart options: one view or two", 0);
  if (!(options->flags & VMM_HART_VIEWS) && options->displacement != 0)
    return vmmi_error(-EINVAL, "hart options: displacement without views", 0);
  if (!vmmi_is_aligned(options->displacement,
                       (uint64_t)1 << vmmi_os_page_shift()))
    return vmmi_error(-EINVAL, "hart options: displacement", 0);
  if (!(options->flags & VMM_HART_WINDOWS) &&
      (options->flags != 0 || options->tag_bits != 0 ||
       options->window_size != 0))
    return vmmi_error(-EINVAL, "hart options: of windows that it has not", 0);
  if ((options->flags & VMM_HART_EAGER) && !(options->flags & VMM_HART_INVALID))
    return vmmi_error(-EINVAL, "hart options: VMM_HART_EAGER by itself", 0);
  if (options->tag_bits > TAG_BITS_MAX)
    return vmmi_error(-EINVAL, "hart options: tag_bits", 0);
  if (options->displacement > vmmi_os_address_range() ||
      vmmi_hart_is_too_large(options->tag_bits != 0 ? options->tag_bits
                                                    : TAG_BITS_DEFAULT,
                             options->window_size))
    return vmmi_error(-E2BIG, "hart: 2^tag_bits such windows are too large", 0);
  return 0;
}

static void set_options(struct vmm_hart *hart,
                        const struct vmm_hart_options *options)
{
  hart->flags = options->flags;
  hart->view = options->flags & (VMM_HART_USER | VMM_HART_VIEWS)
                   ? VMMI_VIEW_USER
                   : VMMI_VIEW_SUPERVISOR;
  hart->displacement = options->displacement != 0 ? options->displacement
                                                  : DISPLACEMENT_DEFAULT;
  hart->window_size = options->window_size;
  vmmi_asid_init(&hart->asids, options->tag_bits != 0 ? options->tag_bits
                                                      : TAG_BITS_DEFAULT);
  atomic_store(&hart->context, 0);
  atomic_store(&hart->generation, 1);
  hart->space = NULL;
  hart->base = NULL;
  memset(&hart->counters, 0, sizeof(hart->counters));
}

/* => inside */
static int make_hart(struct vmm_hart **hart,
                     const struct vmm_hart_options *options)
{
  struct vmm_hart *made = NULL;
  int error = take_hart(&made);

  if (error != 0)
    return error;
  set_options(made, options);
  error = vmmi_guest_thread_begin(made);
  if (error != 0) {
    give_hart(made);
    return vmmi_error(-ENOMEM, "hart: mmap of its guest thread", ENOMEM);
  }
  error = vmmi_view_begin(made);
  if (error == 0 && pthread_setspecific(hart_key, made) != 0) {
    vmmi_view_end(made);
    error = vmmi_error(-ENOMEM, "hart: pthread_setspecific", ENOMEM);
  }
  if (error != 0) {
    vmmi_guest_thread_end(made);
    give_hart(made);
    return error;
  }
  vmmi_thread_self.hart = made;
  atomic_store(&made->magic, VMMI_HART_MAGIC);
  *hart = made;
  return 0;
}

int vmm_hart_create(struct vmm_hart **hart,
                    const struct vmm_hart_options *options)
{
  static const struct vmm_hart_options none;
  int error = vmmi_thread_check_process();

  if (error == 0 && hart == NULL)
    error = vmmi_error(-EINVAL, "hart create: no place for the handle", 0);
  if (error == 0)
    error = check_hart_options(options != NULL ? options : &none);
  if (error != 0)
    return error;
  if (vmmi_thread_self.hart != NULL)
    return vmmi_error(-EEXIST, "hart: the thread has one", 0);
  pthread_once(&hart_key_once, make_hart_key);
  if (hart_key_error != 0)
    return vmmi_error(-ENOMEM, "hart: pthread_key_create", hart_key_error);
  vmmi_thread_enter();
  error = make_hart(hart, options != NULL ? options : &none);
  vmmi_thread_leave();
  return error;
}

/* ---- the end ---- */

int vmmi_hart_check(const struct vmm_hart *hart)
{
  if (hart == NULL || atomic_load_explicit(&hart->magic, memory_order_relaxed)
                          != VMMI_HART_MAGIC)
    return vmmi_error(-EINVAL, "not a hart, or destroyed", 0);
  if (vmmi_thread_self.hart != hart)
    return vmmi_error(-EPERM, "the hart is another thread's", 0);
  return vmmi_thread_check_process();
}

int vmm_hart_destroy(struct vmm_hart *hart)
{
  int error = hart != NULL ? vmmi_hart_check(hart) : 0;

  if (hart == NULL || error != 0)
    return error;
  if (hart->space != NULL)
    return vmmi_error(-EBUSY, "hart: it runs a space", 0);
  pthread_setspecific(hart_key, NULL);
  end_own_hart(hart);
  return 0;
}

/* ---- turning to a space ---- */

/* => the hart's live context of the space, or 0 */
static uint64_t live_context(const struct vmm_hart *hart,
                             struct vmm_space *space)
{
  struct vmmi_window_table *table =
      atomic_load_explicit(&space->table, memory_order_acquire);
  uint64_t context;

  if (table == NULL)
    return 0;
  context = atomic_load_explicit(&table->context[hart->number],
                                 memory_order_relaxed); /* its own */
  return vmmi_asid_is_live(&hart->asids, context) ? context : 0;
}

static int find_context(struct vmm_hart *hart, struct vmm_space *space,
                        uint64_t *context)
{
  int error;

  *context = live_context(hart, space);
  if (*context != 0) {
    vmmi_hart_count(&hart->counters.live);
    return 0;
  }
  error = vmmi_hart_check_size(hart, space);
  if (error != 0)
    return error;
  vmmi_thread_enter();
  error = vmmi_hart_give_tag(hart, space);
  vmmi_thread_leave();
  if (error == 0)
    *context = live_context(hart, space);
  return error;
}

static void run(struct vmm_hart *hart, struct vmm_space *space,
                uint64_t context, char *base)
{
  vmmi_running_set(hart->number, space);
  hart->space = space;
  hart->base = base;
  atomic_store_explicit(&hart->context, context, memory_order_relaxed);
  if (hart->flags & VMM_HART_VIEWS)
    vmmi_view_turn(hart, context);
}

/* => as vmm_hart_set_space(), of a space */
static int turn_to(struct vmm_hart *hart, struct vmm_space *space)
{
  uint64_t context = 0;
  char *base;
  int error = vmmi_running_begin(hart->number, space);

  if (error != 0)
    return error;
  base = space->window.base; /* of a space that stays */
  if ((hart->flags & VMM_HART_WINDOWS) && vmmi_space_has_window(space)) {
    error = find_context(hart, space, &context);
    if (error != 0) {
      vmmi_running_cancel(hart->number);
      return error;
    }
    base =
        hart->windows[vmmi_asid_tag(&hart->asids, context)][hart->view]->base;
  } else {
    vmmi_hart_count(&hart->counters.live);
  }
  run(hart, space, context, base);
  vmmi_hart_count(&hart->counters.switches);
  return 0;
}

int vmm_hart_set_space(struct vmm_hart *hart, struct vmm_space *space,
                       char **base)
{
  int error = vmmi_hart_check(hart);

  if (error == 0 && space != NULL)
    error = vmmi_space_check(space);
  if (error == 0 && vmmi_view_is_user(hart))
    error = vmmi_error(-EBUSY, "hart: the user's view is active", 0);
  if (error == 0 && space != NULL)
    error = turn_to(hart, space);
  if (error != 0)
    return error;
  if (space == NULL)
    run(hart, NULL, 0, NULL);
  if (base != NULL)
    *base = hart->base;
  return 0;
}

int vmm_hart_flush(struct vmm_hart *hart)
{
  int error = vmmi_hart_check(hart);

  if (error != 0)
    return error;
  vmmi_thread_enter();
  for (unsigned tag = 0; tag < VMMI_HART_TAGS; tag++)
    for (unsigned view = 0; view < VMMI_VIEWS; view++) {
      struct vmmi_window *window = atomic_load(&hart->windows[tag][view]);

      if (window != NULL && window->lazy != NULL)
        vmmi_lazy_flush(window->lazy);
      if (window == NULL || atomic_load(&window->pieces) == 0)
        continue;
      vmmi_window_flush(window);
      vmmi_hart_count(&hart->counters.flushed);
    }
  vmmi_thread_leave();
  vmmi_hart_count(&hart->counters.flushes);
  return 0;
}
