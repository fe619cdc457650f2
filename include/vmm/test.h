/*
 * Failing on purpose: makes the library's calls of the host fail, so that
 * tests, yours too, see what then happens.  A failed call changes nothing
 * (types.h), and the next one is as good as ever.
 */
#ifndef VMM_TEST_H
#define VMM_TEST_H

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmm_test_call {
  VMM_TEST_MMAP,
  VMM_TEST_MUNMAP,
  VMM_TEST_MPROTECT,
  VMM_TEST_MADVISE,
  VMM_TEST_MEMFD,     /* memfd_create, or what the host has for it */
  VMM_TEST_FTRUNCATE,
  VMM_TEST_PUNCH,     /* fallocate that frees */
  VMM_TEST_MALLOC,    /* malloc, calloc, realloc, and memory for a region */
  VMM_TEST_SIGALTSTACK,
  VMM_TEST_PTHREAD_CREATE,
  VMM_TEST_FORK,
  VMM_TEST_OPEN,      /* open, and what doubles a descriptor */
  VMM_TEST_PREAD,     /* read and pread, of a snapshot's or a pager's file */
  VMM_TEST_PWRITE,    /* write and pwrite */
  VMM_TEST_FSYNC,
  VMM_TEST_RENAME,
  VMM_TEST_FRAME,     /* writing an instruction to a page of a guest thread */
  VMM_TEST_CALLS      /* how many there are */
};

/*
 * Lets the nth next call (1: the very next) of this kind fail, and the count -
 * 1 after it, with the error that the host gives when it has run out.  nth 0
 * ends it.  For all threads together.  => signal-safe
 * -EINVAL  no such kind
 */
VMM_API int vmm_test_fail(unsigned call, uint64_t nth, uint64_t count);

/* => how many calls of this kind were made so far, failed ones included; 0 for
 *    a kind that is not there.  => signal-safe */
VMM_API uint64_t vmm_test_count(unsigned call);

#ifdef __cplusplus
}
#endif
#endif
