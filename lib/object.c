/*
 * Objects: making and ending them, and finding the frame of a page.
 */
#define _GNU_SOURCE 1
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"
#include "os_file.h"
#include "thread.h"

#define MAGIC 0x766d6d6fu
#define DEAD 0xdeadu

bool vmmi_object_valid(const struct vmm_object *object)
{
  return object != NULL && object->magic == MAGIC;
}

static uint64_t chunks(const struct vmm_object *object)
{
  return (object->nbytes + VMMI_CHUNK_SIZE - 1) >> VMMI_CHUNK_SHIFT;
}

static int check_object_options(const struct vmm_object_options *options)
{
  static const struct vmm_object_options none;
  int error = vmmi_thread_check_process();

  if (error != 0 || options == NULL)
    return error;
  if (options->reserved32 != 0 ||
      memcmp(options->reserved, none.reserved, sizeof(none.reserved)) != 0)
    return vmmi_error(-EINVAL, "object options: reserved fields not zero", 0);
  if (options->flags & ~(VMM_OBJECT_EXPORT | VMM_OBJECT_READONLY))
    return vmmi_error(-EINVAL, "object options: unknown flags", 0);
  return 0;
}

struct vmm_object *vmmi_object_new(uint64_t nbytes, uint32_t flags)
{
  struct vmm_object *object = vmmi_os_malloc(sizeof(*object));

  if (object == NULL)
    return NULL;
  object->magic = MAGIC;
  atomic_init(&object->holds, 1);
  object->nbytes = nbytes;
  object->fd = -1;
  object->copy = -1;
  object->readonly = (flags & VMM_OBJECT_READONLY) != 0;
  pthread_mutex_init(&object->lock, NULL);
  return object;
}

/* => bytes of its extent, which the host maps in its own pages */
static uint64_t shown_nbytes(const struct vmm_object *object)
{
  return vmmi_align_up(object->nbytes, 1u << vmmi_os_page_shift());
}

int vmmi_object_show(const struct vmm_object *object)
{
  bool writable = !object->readonly || object->pager != NULL;
  uint64_t nbytes = shown_nbytes(object);
  char *at = vmmi_arena_pointer(object->extent);
  int error = vmmi_os_map(at, nbytes, VMM_READ | (writable ? VMM_WRITE : 0),
                          object->fd, object->fd_offset);

  if (error == 0)
    vmmi_os_want_dump(at, nbytes);
  return error;
}

/* Gives the object its descriptor (which it owns from here) and its alias. */
static int show_object(struct vmm_object *object, int fd, uint64_t offset)
{
  uint64_t nbytes = shown_nbytes(object);
  int error;

  object->fd = fd;
  object->fd_offset = offset;
  error = vmmi_extent_take(&object->extent, nbytes);
  if (error != 0)
    return vmmi_error(error, "object: no room in the alias", 0);
  error = vmmi_object_show(object);
  if (error != 0) {
    vmmi_extent_drop(object->extent, nbytes);
    return vmmi_error(error, "object: mmap of the descriptor", -error);
  }
  vmmi_object_list(object);
  return 0;
}

/* => inside vmmi_thread_enter() */
void vmmi_object_unmake(struct vmm_object *object)
{
  object->magic = DEAD;
  vmmi_object_unlist(object);
  if (object->fd >= 0)
    close(object->fd);
  if (object->runs != NULL)
    vmmi_os_release(object->runs, chunks(object) * sizeof(object->runs[0]));
  pthread_mutex_destroy(&object->lock);
  free(object->device);
  free(object);
}

static int fill_anonymous(struct vmm_object *object, bool exported)
{
  void *runs;
  int error;

  if (exported) {
    int fd = vmmi_os_memory_open("libvmm-object", shown_nbytes(object));

    if (fd < 0)
      return vmmi_error(fd, "object: memory file", -fd);
    object->exported = true;
    return show_object(object, fd, 0);
  }
  error = vmmi_os_alloc(&runs, chunks(object) * sizeof(object->runs[0]));
  if (error != 0)
    return vmmi_error(error, "object: mmap of its table", -error);
  object->runs = runs;
  return 0;
}

/* => inside vmmi_thread_enter() */
static int create(struct vmm_object **object, uint64_t nbytes,
                  const struct vmm_object_options *options)
{
  uint32_t flags = options != NULL ? options->flags : 0;
  struct vmm_object *made;
  int error = check_object_options(options);

  if (error != 0)
    return error;
  if (object == NULL || nbytes == 0 || nbytes > INT64_MAX ||
      !vmmi_is_aligned(nbytes, VMMI_FRAME_SIZE))
    return vmmi_error(-EINVAL, "object size: not a multiple of 4096", 0);
  error = vmmi_arena_init();
  if (error != 0)
    return vmmi_error(error, "arena: memory file or address space", -error);
  made = vmmi_object_new(nbytes, flags);
  if (made == NULL)
    return vmmi_error(-ENOMEM, "object: malloc", ENOMEM);
  error = fill_anonymous(made, (flags & VMM_OBJECT_EXPORT) != 0);
  if (error != 0) {
    vmmi_object_unmake(made);
    return error;
  }
  *object = made;
  return 0;
}

int vmmi_object_make(struct vmm_object **object, uint64_t nbytes, bool readonly)
{
  struct vmm_object *made;
  int error = vmmi_arena_init();

  if (error != 0)
    return vmmi_error(error, "arena: memory file or address space", -error);
  made = vmmi_object_new(nbytes, 0);
  if (made == NULL)
    return vmmi_error(-ENOMEM, "object: malloc", ENOMEM);
  error = fill_anonymous(made, true);
  if (error != 0) {
    vmmi_object_unmake(made);
    return error;
  }
  made->readonly = readonly;
  made->exported = false;
  *object = made;
  return 0;
}

int vmm_object_create(struct vmm_object **object, uint64_t nbytes,
                      const struct vmm_object_options *options)
{
  int error;

  vmmi_thread_enter();
  error = create(object, nbytes, options);
  vmmi_thread_leave();
  return error;
}

static int check_fd(int fd, uint64_t offset, uint64_t nbytes, bool *writable)
{
  int mode = fcntl(fd, F_GETFL);

  if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY || (mode & O_PATH))
    return vmmi_error(-EBADF, "object: descriptor not open for reading", 0);
  if (nbytes == 0 || nbytes > INT64_MAX || offset > INT64_MAX - nbytes ||
      !vmmi_is_aligned(offset, 1u << vmmi_os_page_shift()))
    return vmmi_error(-EINVAL, "object: offset or size", 0);
  *writable = (mode & O_ACCMODE) == O_RDWR;
  return 0;
}

/* => inside vmmi_thread_enter() */
static int open_fd(struct vmm_object **object, int fd, uint64_t offset,
                   uint64_t nbytes, const struct vmm_object_options *options)
{
  int saved = errno;
  struct vmm_object *made;
  bool writable = false;
  int own;
  int error = check_object_options(options);

  if (error == 0 && object == NULL)
    error = vmmi_error(-EINVAL, "object: no place for the handle", 0);
  if (error == 0 && options != NULL && (options->flags & VMM_OBJECT_EXPORT))
    error = vmmi_error(-EINVAL, "object options: it has a descriptor", 0);
  if (error == 0)
    error = check_fd(fd, offset, nbytes, &writable);
  if (error == 0)
    error = vmmi_arena_init();
  errno = saved;
  if (error != 0)
    return error;
  made = vmmi_object_new(nbytes, options != NULL ? options->flags : 0);
  if (made == NULL)
    return vmmi_error(-ENOMEM, "object: malloc", ENOMEM);
  made->readonly = made->readonly || !writable;
  own = vmmi_os_dup(fd);
  error = own < 0 ? vmmi_error(own, "object: dup of the descriptor", -own)
                  : show_object(made, own, offset);
  errno = saved;
  if (error != 0) {
    vmmi_object_unmake(made);
    return error;
  }
  *object = made;
  return 0;
}

int vmm_object_from_fd(struct vmm_object **object, int fd, uint64_t offset,
                       uint64_t nbytes,
                       const struct vmm_object_options *options)
{
  int error;

  vmmi_thread_enter();
  error = open_fd(object, fd, offset, nbytes, options);
  vmmi_thread_leave();
  return error;
}

static int open_file(const char *path, uint64_t *nbytes)
{
  int fd = vmmi_os_open(path, O_RDWR, 0);
  struct stat st;
  int error;

  if (fd == -EACCES || fd == -EROFS || fd == -ETXTBSY)
    fd = vmmi_os_open(path, O_RDONLY, 0);
  if (fd < 0)
    return fd;
  if (fstat(fd, &st) == 0) {
    *nbytes = (uint64_t)st.st_size;
    return fd;
  }
  error = -errno;
  close(fd);
  return error;
}

int vmm_object_from_file(struct vmm_object **object, const char *path,
                         const struct vmm_object_options *options)
{
  int saved = errno;
  uint64_t nbytes = 0;
  int fd = path != NULL ? open_file(path, &nbytes) : -EINVAL;
  int error;

  if (fd < 0) {
    errno = saved;
    return vmmi_error(fd, "object: open of the file", -fd);
  }
  error = vmm_object_from_fd(object, fd, 0, nbytes, options);
  close(fd);
  errno = saved;
  return error;
}

struct vmm_object *vmm_object_hold(struct vmm_object *object)
{
  vmmi_assert(vmmi_object_valid(object), "object_hold: not an object");
  atomic_fetch_add_explicit(&object->holds, 1, memory_order_relaxed);
  return object;
}

static void free_runs(struct vmm_object *object)
{
  uint64_t frames = VMMI_CHUNK_SIZE >> VMMI_FRAME_SHIFT;

  for (uint64_t i = 0; i < chunks(object); i++) {
    struct vmmi_free_batch batch = { 0 };
    uint64_t run = object->runs[i];

    if (run == 0)
      continue;
    for (uint64_t k = 0; k < frames; k++)
      atomic_store(&vmmi_arena_frame(run - 1 + k)->state, 0);
    /* one frame stands for the whole run: it is punched at once */
    if (vmmi_frame_take(run - 1, (unsigned)frames))
      vmmi_frame_release_batch(&batch, run - 1, (unsigned)frames);
    vmmi_frame_end_batch(&batch);
    vmmi_run_drop(run - 1);
  }
}

void vmm_object_release(struct vmm_object *object)
{
  if (object == NULL)
    return;
  vmmi_assert(vmmi_object_valid(object), "object_release: not an object");
  /* acq_rel: all that other holders did is done */
  if (atomic_fetch_sub_explicit(&object->holds, 1, memory_order_acq_rel) != 1)
    return;
  if (vmmi_os_in_child())
    return; /* its frames are the parent's */
  if (object->end != NULL)
    object->end(object);
  else
    vmmi_object_end(object);
}

void vmmi_object_end(struct vmm_object *object)
{
  vmmi_assert(object->regions == NULL, "object_release: still mapped");
  vmmi_thread_enter();
  if (object->fd >= 0)
    vmmi_extent_drop(object->extent, shown_nbytes(object));
  else if (object->device == NULL)
    free_runs(object);
  vmmi_object_unmake(object);
  vmmi_thread_leave();
}

uint64_t vmm_object_size(const struct vmm_object *object)
{
  return vmmi_object_valid(object) ? object->nbytes : 0;
}

int vmm_object_fd(const struct vmm_object *object)
{
  if (!vmmi_object_valid(object))
    return vmmi_error(-EINVAL, "not an object, or released", 0);
  if (object->fd < 0 || object->pager != NULL)
    return vmmi_error(-ENOTSUP, "the object has no descriptor", 0);
  return object->fd;
}

int vmmi_object_frame(struct vmm_object *object, uint64_t offset,
                      uint64_t *frame)
{
  uint64_t *run;
  uint64_t first;
  int error;

  vmmi_assert(offset < shown_nbytes(object), "object_frame: beyond the object");
  if (object->fd >= 0) {
    *frame = object->extent + (offset >> VMMI_FRAME_SHIFT);
    return 0;
  }
  run = &object->runs[offset >> VMMI_CHUNK_SHIFT];
  if (*run == 0) {
    error = vmmi_run_take(&first);
    if (error != 0)
      return error;
    *run = first + 1;
  }
  *frame = *run - 1 + ((offset & (VMMI_CHUNK_SIZE - 1)) >> VMMI_FRAME_SHIFT);
  return 0;
}

void vmmi_object_backing(const struct vmm_object *object, uint64_t frame,
                         int *fd, uint64_t *offset)
{
  vmmi_assert(object != NULL && object->fd >= 0,
              "object_backing: no descriptor");
  *fd = object->fd;
  *offset =
      object->fd_offset + ((frame - object->extent) << VMMI_FRAME_SHIFT);
}
