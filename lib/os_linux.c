/*
 * The host's memory on Linux.  Windows and the alias are kept out of core dumps
 * and of fork by madvise; a mapping made over a part of a reservation needs
 * both again, since it is a new one.  Everything here is a system call or two.
 */
#define _GNU_SOURCE 1
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/types.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int host_prot(unsigned rights)
{
  return (rights & VMM_READ ? PROT_READ : 0) |
         (rights & VMM_WRITE ? PROT_WRITE : 0) |
         (rights & VMM_EXEC ? PROT_EXEC : 0);
}

/* ThreadSanitizer's, NULL without it: it takes a mapping for a write to all of
 * it, which it is not where a page is shown again that others use meanwhile. */
void AnnotateIgnoreWritesBegin(const char *file, int line)
    __attribute__((weak));
void AnnotateIgnoreWritesEnd(const char *file, int line) __attribute__((weak));

static void *map_unnoticed(void *want, size_t nbytes, int prot, int flags,
                           int fd, off_t offset)
{
  void *at;

  if (AnnotateIgnoreWritesBegin != NULL)
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  at = mmap(want, nbytes, prot, flags, fd, offset);
  if (AnnotateIgnoreWritesEnd != NULL)
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  return at;
}

/* mmap that gives -errno and leaves errno alone. */
static int map(void **at, void *want, size_t nbytes, int prot, int flags,
               int fd, off_t offset)
{
  int saved = errno;
  void *got;
  int error;

  if (vmmi_inject(VMM_TEST_MMAP))
    return -ENOMEM;
  got = map_unnoticed(want, nbytes, prot, flags, fd, offset);
  error = got == MAP_FAILED ? -errno : 0;

  errno = saved;
  if (error == 0)
    *at = got;
  return error;
}

static int result(int status, int saved)
{
  int error = status < 0 ? -errno : 0;

  errno = saved;
  return error;
}

static int hide(void *at, size_t nbytes)
{
  int saved = errno;
  int error;

  if (vmmi_inject(VMM_TEST_MADVISE))
    return -ENOMEM;
  error = result(madvise(at, nbytes, MADV_DONTFORK), saved);
  if (error != 0)
    return error;
  result(madvise(at, nbytes, MADV_DONTDUMP), saved);
  return 0;
}

static _Atomic unsigned page_shift; /* 0: not asked yet */

static size_t true_page(void)
{
  return (size_t)sysconf(_SC_PAGESIZE);
}

unsigned vmmi_os_page_shift(void)
{
  unsigned known = atomic_load_explicit(&page_shift, memory_order_relaxed);

  if (known == 0) {
    known = (unsigned)__builtin_ctzl(true_page());
    /* every thread finds the same number */
    atomic_store_explicit(&page_shift, known, memory_order_relaxed);
  }
  return known;
}

void vmmi_os_pretend_page_shift(unsigned shift)
{
  vmmi_assert((size_t)1 << shift >= true_page(), "os: no multiple of the page");
  atomic_store(&page_shift, shift);
}

/* What a host of larger pages would refuse is a mistake on a smaller one
 * too. */
static void assert_page(const void *at, uint64_t offset)
{
  vmmi_assert(vmmi_is_aligned((uintptr_t)at | offset,
                              (uint64_t)1 << vmmi_os_page_shift()),
              "os: not at a page of the host");
}

static const int reserve_flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

static int hide_or_release(void *at, size_t nbytes)
{
  int error = hide(at, nbytes);

  if (error != 0)
    vmmi_os_release(at, nbytes);
  return error;
}

/* As map() anywhere, at a multiple of align and of the page. */
static int map_aligned(void **at, size_t nbytes, int prot, size_t align)
{
  size_t page = vmmi_max(align, (size_t)1 << vmmi_os_page_shift());
  size_t slack = page - true_page();
  char *start;
  char *aligned;
  int error;

  if (nbytes + slack < nbytes)
    return -ENOMEM;
  error = map(at, NULL, nbytes + slack, prot, reserve_flags, -1, 0);
  if (error != 0)
    return error;
  start = *at;
  aligned = (char *)vmmi_align_up((uintptr_t)start, page);
  if (aligned > start)
    vmmi_os_release(start, (size_t)(aligned - start));
  if (start + slack > aligned)
    vmmi_os_release(aligned + nbytes, (size_t)(start + slack - aligned));
  *at = aligned;
  return 0;
}

int vmmi_os_reserve(void **at, void *want, size_t nbytes, size_t align)
{
  int error;

  vmmi_os_release_again();
  if (want == NULL) {
    error = map_aligned(at, nbytes, PROT_NONE, align);
    return error != 0 ? error : hide_or_release(*at, nbytes);
  }
  error = map(at, want, nbytes, PROT_NONE,
              reserve_flags | MAP_FIXED_NOREPLACE, -1, 0);
  if (error == 0 && *at != want) { /* a kernel that ignores the flag */
    vmmi_os_release(*at, nbytes);
    error = -EEXIST;
  }
  return error != 0 ? error : hide_or_release(*at, nbytes);
}

int vmmi_os_rereserve(void *at, size_t nbytes)
{
  void *got;
  int error;

  assert_page(at, 0);
  error = map(&got, at, nbytes, PROT_NONE, reserve_flags | MAP_FIXED, -1, 0);
  return error != 0 ? error : hide(at, nbytes);
}

int vmmi_os_alloc(void **at, size_t nbytes)
{
  return map_aligned(at, nbytes, PROT_READ | PROT_WRITE, 1);
}

int vmmi_os_map(void *at, size_t nbytes, unsigned prot, int fd, uint64_t offset)
{
  void *got;
  int error;

  assert_page(at, offset);
  error = map(&got, at, nbytes, host_prot(prot),
              MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset);
  return error != 0 ? error : hide(at, nbytes);
}

int vmmi_os_map_zero(void *at, size_t nbytes)
{
  void *got;
  int error;

  assert_page(at, 0);
  error = map(&got, at, nbytes, PROT_READ, reserve_flags | MAP_FIXED, -1, 0);
  return error != 0 ? error : hide(at, nbytes);
}

int vmmi_os_protect(void *at, size_t nbytes, unsigned prot)
{
  int saved = errno;

  assert_page(at, nbytes);
  if (vmmi_inject(VMM_TEST_MPROTECT))
    return -ENOMEM;
  return result(mprotect(at, nbytes, host_prot(prot)), saved);
}

void vmmi_os_want_huge(void *at, size_t nbytes)
{
  int saved = errno;

  result(madvise(at, nbytes, MADV_HUGEPAGE), saved);
}

void vmmi_os_want_dump(void *at, size_t nbytes)
{
  int saved = errno;

  result(madvise(at, nbytes, MADV_DODUMP), saved);
}

int vmmi_os_memory_open(const char *name, uint64_t nbytes)
{
  int saved = errno;
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int error;
  int fd;

  if (vmmi_inject(VMM_TEST_MEMFD))
    return -EMFILE;
  fd = memfd_create(name, flags | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
    fd = memfd_create(name, flags);
  if (fd < 0)
    return result(fd, saved);
  error = vmmi_os_memory_grow(fd, nbytes);
  if (error == 0)
    error = result(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), saved);
  if (error != 0) {
    close(fd);
    errno = saved;
    return error;
  }
  return fd;
}

int vmmi_os_memory_grow(int fd, uint64_t nbytes)
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_FTRUNCATE))
    return -ENOSPC;
  return result(ftruncate(fd, (off_t)nbytes), saved);
}

int vmmi_os_memory_punch(int fd, uint64_t offset, uint64_t nbytes)
{
  int saved = errno;

  if (vmmi_inject(VMM_TEST_PUNCH))
    return -ENOSPC;
  return result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          (off_t)offset, (off_t)nbytes),
                saved);
}

void *vmmi_os_malloc(size_t nbytes)
{
  return vmmi_inject(VMM_TEST_MALLOC) ? NULL : calloc(1, nbytes);
}

void *vmmi_os_realloc(void *block, size_t nbytes)
{
  return vmmi_inject(VMM_TEST_MALLOC) ? NULL : realloc(block, nbytes);
}

/* What a process gets without asking for more, on CPUs of 64 bits. */
uint64_t vmmi_os_address_range(void)
{
  return (uint64_t)1 << 47;
}

uint64_t vmmi_os_mapping_limit(void)
{
  int saved = errno;
  int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
  uint64_t limit = 0;
  char text[24];
  ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : 0;

  if (fd >= 0)
    close(fd);
  for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
    limit = limit * 10 + (uint64_t)(text[i] - '0');
  errno = saved;
  return limit != 0 ? limit : 65530; /* the kernel's default */
}

/* A page that reads 1 here and 0 in a child. */
static _Atomic(char *) canary;

int vmmi_os_watch_fork(void)
{
  size_t nbytes = (size_t)1 << vmmi_os_page_shift();
  int saved = errno;
  char *none = NULL;
  void *page;
  int error;

  if (atomic_load_explicit(&canary, memory_order_acquire) != NULL)
    return 0;
  error = vmmi_os_alloc(&page, nbytes);
  if (error != 0)
    return error;
  error = result(madvise(page, nbytes, MADV_WIPEONFORK), saved);
  *(char *)page = 1;
  if (error != 0 || !atomic_compare_exchange_strong(&canary, &none, page))
    vmmi_os_release(page, nbytes); /* refused, or another thread was first */
  return error;
}

bool vmmi_os_in_child(void)
{
  const volatile char *page =
      atomic_load_explicit(&canary, memory_order_acquire);

  return page != NULL && *page == 0;
}

void vmmi_os_end_child(void)
{
  char *page = atomic_load_explicit(&canary, memory_order_acquire);

  if (page != NULL)
    *page = 1;
  vmmi_os_forget_left(); /* windows are not there, the rest is little */
}
