/*
 * Spaces: options, creation, destruction, locks.  The memory of a dead space is
 * kept for the next one and for nothing else, so that a handle used too late,
 * or a signal that came late, finds a space that is dead.
 */
#include "space.h"

#include <errno.h>
#include <string.h>

#include "metadata.h"
#include "os.h"
#include "tracker.h"
#include "window_table.h"

#define SIZE_DEFAULT ((uint64_t)4 << 30)
#define SIZE_MAX_SHIFT 56

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmm_space *dead;
static _Atomic unsigned living;

unsigned vmmi_space_count(void)
{
  return atomic_load(&living);
}

int vmmi_space_check(const struct vmm_space *space)
{
  if (space == NULL || atomic_load_explicit(&space->magic, memory_order_relaxed)
                           != VMMI_SPACE_MAGIC)
    return vmmi_error(-EINVAL, "not a space, or destroyed", 0);
  return vmmi_thread_check_process();
}

int vmmi_space_check_range(const struct vmm_space *space, vmm_addr_t va,
                           uint64_t nbytes)
{
  int error = vmmi_space_check(space);

  if (error != 0)
    return error;
  if (nbytes == 0)
    return vmmi_error(-EINVAL, "the range is empty", 0);
  if (!vmmi_is_aligned(va | nbytes, space->page_nbytes))
    return vmmi_error(-EINVAL, "the range is not aligned to the page", 0);
  if (va >= space->size || nbytes > space->size - va)
    return vmmi_error(-EINVAL, "the range leaves the space", 0);
  return 0;
}

void vmmi_space_lock_shared(struct vmm_space *space)
{
  vmmi_thread_enter();
  pthread_rwlock_rdlock(&space->lock);
}

void vmmi_space_lock(struct vmm_space *space)
{
  vmmi_thread_enter();
  pthread_rwlock_wrlock(&space->lock);
}

void vmmi_space_unlock(struct vmm_space *space)
{
  pthread_rwlock_unlock(&space->lock);
  vmmi_thread_leave();
}

pthread_mutex_t *vmmi_space_leaf_lock(struct vmm_space *space, vmm_addr_t va)
{
  return &space->leaf_locks[(va >> VMMI_CHUNK_SHIFT) % VMMI_LEAF_LOCKS];
}

/* ---- making ---- */

static int check_space_options(const struct vmm_space_options *options)
{
  static const struct vmm_space_options none;
  uint64_t page = options->page_size;
  uint64_t host = (uint64_t)1 << vmmi_os_page_shift();
  uint64_t least = options->flags & VMM_CHECKED ? VMMI_FRAME_SIZE : host;

  if (memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "space options: reserved fields not zero", 0);
  if (options->flags & ~(VMM_EXACT | VMM_CHECKED))
    return vmmi_error(-EINVAL, "space options: unknown flags", 0);
  if (!vmmi_is_power_of_2(page) || page < least || page > VMMI_CHUNK_SIZE)
    return vmmi_error(-EINVAL, "space options: page_size", 0);
  if (!vmmi_is_aligned(options->size, page) ||
      options->size > (uint64_t)1 << SIZE_MAX_SHIFT)
    return vmmi_error(-EINVAL, "space options: size", 0);
  if (!vmmi_is_power_of_2(options->base_align) ||
      options->base_align > (uint64_t)1 << SIZE_MAX_SHIFT)
    return vmmi_error(-EINVAL, "space options: base_align", 0);
  if (!vmmi_is_aligned((uintptr_t)options->base, options->base_align) ||
      (uintptr_t)options->base + options->size < (uintptr_t)options->base)
    return vmmi_error(-EINVAL, "space options: base", 0);
  if (!vmmi_is_aligned(options->guard_below | options->guard_above, host) ||
      options->guard_below > (uint64_t)1 << SIZE_MAX_SHIFT ||
      options->guard_above > (uint64_t)1 << SIZE_MAX_SHIFT ||
      (options->base != NULL &&
       (uintptr_t)options->base < options->guard_below))
    return vmmi_error(-EINVAL, "space options: guards", 0);
  return 0;
}

static struct vmm_space_options complete(const struct vmm_space_options *given)
{
  static const struct vmm_space_options none;
  struct vmm_space_options options = given != NULL ? *given : none;
  uint64_t host = (uint64_t)1 << vmmi_os_page_shift();

  if (options.size == 0)
    options.size = SIZE_DEFAULT;
  if (options.page_size == 0)
    options.page_size = (uint32_t)host;
  if (options.base_align == 0)
    options.base_align = options.base != NULL ? host : VMMI_CHUNK_SIZE;
  if (options.base_align < host)
    options.base_align = host;
  if (options.guard_above == 0)
    options.guard_above = host;
  return options;
}

static struct vmm_space *take_memory(void)
{
  struct vmm_space *space;

  pthread_mutex_lock(&list_lock);
  space = dead;
  if (space != NULL)
    dead = space->next_free;
  pthread_mutex_unlock(&list_lock);
  if (space == NULL)
    return vmmi_metadata_alloc(sizeof(*space));
  /* who has an old handle may look at these two at any time */
  atomic_store(&space->ending, false);
  memset(&space->size, 0, sizeof(*space) - offsetof(struct vmm_space, size));
  return space;
}

static void give_memory(struct vmm_space *space)
{
  pthread_mutex_lock(&list_lock);
  space->next_free = dead;
  dead = space;
  pthread_mutex_unlock(&list_lock);
}

/* Writers come first: faults are many, and a change of the regions must not
 * wait for a quiet moment. */
static void init_locks(struct vmm_space *space)
{
  pthread_rwlockattr_t attr;

  pthread_rwlockattr_init(&attr);
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
  pthread_rwlockattr_setkind_np(&attr,
                                PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(&space->lock, &attr);
  pthread_rwlockattr_destroy(&attr);
  for (int i = 0; i < VMMI_LEAF_LOCKS; i++)
    pthread_mutex_init(&space->leaf_locks[i], NULL);
  pthread_mutex_init(&space->window.lock, NULL);
  pthread_mutex_init(&space->notify_lock, NULL);
  pthread_mutex_init(&space->tlb_lock, NULL);
}

static void end_locks(struct vmm_space *space)
{
  pthread_rwlock_destroy(&space->lock);
  for (int i = 0; i < VMMI_LEAF_LOCKS; i++)
    pthread_mutex_destroy(&space->leaf_locks[i]);
  pthread_mutex_destroy(&space->window.lock);
  pthread_mutex_destroy(&space->notify_lock);
  pthread_mutex_destroy(&space->tlb_lock);
}

static int open_space(struct vmm_space *space,
                      const struct vmm_space_options *options)
{
  struct vmmi_window_place place = {
    .size = options->size,
    .base = options->base,
    .align = options->base_align,
    .guard_below = options->guard_below,
    .guard_above = options->guard_above,
  };
  int error;

  space->size = options->size;
  space->page_nbytes = options->page_size;
  space->page_shift = (unsigned)__builtin_ctz(options->page_size);
  space->page_frames = 1u << (space->page_shift - VMMI_FRAME_SHIFT);
  space->flags = options->flags;
  space->max_frames = options->max_frames;
  space->options = *options;
  space->options.base = NULL; /* a fork has another */
  error = vmmi_pagetable_init(&space->pt, space->size, space->page_shift);
  if (error != 0)
    return vmmi_error(error, "space: page table", ENOMEM);
  if (space->flags & VMM_CHECKED)
    return 0;
  error = vmmi_window_open(&space->window, space, &place);
  if (error != 0) {
    vmmi_pagetable_end(&space->pt);
    return vmmi_error(error, "space: mmap of the window", -error);
  }
  return 0;
}

static void unmake_space(struct vmm_space *space)
{
  end_locks(space);
  give_memory(space);
}

int vmmi_space_make(struct vmm_space **space,
                    const struct vmm_space_options *given)
{
  struct vmm_space_options options = complete(given);
  struct vmm_space *made;
  int error = check_space_options(&options);

  if (error != 0)
    return error;
  error = vmmi_arena_init();
  if (error != 0)
    return vmmi_error(error, "arena: memory file or address space", -error);
  made = take_memory();
  if (made == NULL)
    return vmmi_error(-ENOMEM, "space: mmap", ENOMEM);
  init_locks(made);
  error = open_space(made, &options);
  if (error != 0) {
    unmake_space(made);
    return error;
  }
  atomic_fetch_add(&living, 1);
  atomic_store(&made->magic, VMMI_SPACE_MAGIC);
  *space = made;
  return 0;
}

/* ---- ending ---- */

/* The objects forget the regions before anything of the space goes away. */
static void unlink_regions(struct vmmi_region *region)
{
  if (region == NULL)
    return;
  unlink_regions(region->left);
  unlink_regions(region->right);
  if (region->object != NULL) {
    pthread_mutex_lock(&region->object->lock);
    vmmi_tracker_save(region, region->start, region->end - region->start);
    vmmi_region_unlink(region);
    pthread_mutex_unlock(&region->object->lock);
  }
}

static void free_regions(struct vmmi_region *region)
{
  if (region == NULL)
    return;
  free_regions(region->left);
  free_regions(region->right);
  vmmi_region_free(region);
}

struct releasing {
  struct vmm_space *space;
  struct vmmi_free_batch batch;
};

static int release_frame(vmm_addr_t va, vmmi_pte_slot *slot, void *arg)
{
  struct releasing *releasing = arg;

  (void)va;
  vmmi_space_release_frame(releasing->space, atomic_load(slot),
                           &releasing->batch);
  return 0;
}

static void release_frames(struct vmm_space *space)
{
  struct releasing releasing = { .space = space };
  struct vmmi_leaf *leaf;

  vmmi_pagetable_each(&space->pt, 0, space->size, release_frame, &releasing);
  vmmi_frame_end_batch(&releasing.batch);
  for (vmm_addr_t va = 0;
       (leaf = vmmi_pagetable_next(&space->pt, &va, space->size)) != NULL;
       va = vmmi_align_down(va, VMMI_CHUNK_SIZE) + VMMI_CHUNK_SIZE)
    if (leaf->run != VMMI_NO_RUN)
      vmmi_run_drop(leaf->run);
}

void vmmi_space_release_frame(struct vmm_space *space, vmm_pte_t pte,
                              struct vmmi_free_batch *batch)
{
  uint64_t frame = vmm_pte_frame(pte);

  if (!vmmi_pte_is_private(pte))
    return;
  atomic_fetch_sub_explicit(&space->counters.frames, 1, memory_order_relaxed);
  vmmi_frame_release_batch(batch, frame, space->page_frames);
}

void vmmi_space_end(struct vmm_space *space)
{
  atomic_store(&space->magic, 0);
  unlink_regions(space->regions);
  vmmi_window_table_end(space);
  if (vmmi_space_has_window(space))
    vmmi_window_close(&space->window);
  release_frames(space);
  free_regions(space->regions);
  vmmi_pagetable_end(&space->pt);
  unmake_space(space);
  atomic_fetch_sub(&living, 1);
}

/* ---- asking ---- */

char *vmm_space_base(const struct vmm_space *space)
{
  return vmmi_space_check(space) == 0 ? space->window.base : NULL;
}

uint64_t vmm_space_size(const struct vmm_space *space)
{
  return vmmi_space_check(space) == 0 ? space->size : 0;
}

uint32_t vmm_space_page_size(const struct vmm_space *space)
{
  return vmmi_space_check(space) == 0 ? (uint32_t)space->page_nbytes : 0;
}
