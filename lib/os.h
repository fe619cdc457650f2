/*
 * The host's memory, as one short contract; os_linux.c keeps it for Linux.  All
 * functions but one are signal-safe on the hosts we know (plain system calls),
 * return 0 or -errno, and leave errno alone.  Layer 1.
 */
#ifndef VMMI_OS_H
#define VMMI_OS_H

#include "base.h"
#include "inject.h"

/* Protections, as VMM_READ | VMM_WRITE | VMM_EXEC of <vmm/types.h>. */

/* => bytes of a host page, log2 */
unsigned vmmi_os_page_shift(void);
/* For tests, before all else: the host is taken for one with pages of 1 <<
 * shift bytes, a multiple of the true ones. */
void vmmi_os_pretend_page_shift(unsigned shift);

/* Reserves address space that nothing can access and that takes no memory: at
 * want if it is not NULL (-EEXIST if taken), else anywhere, aligned.  It is not
 * inherited by fork, nor dumped. */
int vmmi_os_reserve(void **at, void *want, size_t nbytes, size_t align);
/* Makes a part of a reservation inaccessible again, dropping what was there. */
int vmmi_os_rereserve(void *at, size_t nbytes);
/* Gives memory back: if the host refuses, later, and nobody can access it
 * then. */
void vmmi_os_release(void *at, size_t nbytes);
/* The same, now or not at all.  -ENOMEM */
int vmmi_os_try_release(void *at, size_t nbytes);
/* Tries again what was refused; a load where nothing was. */
void vmmi_os_release_again(void);
/* A child has other mappings. */
void vmmi_os_forget_left(void);

/* Private zero-filled memory of the library's own, inherited by fork. */
int vmmi_os_alloc(void **at, size_t nbytes);

/* Maps a part of fd, shared, over a part of a reservation. */
int vmmi_os_map(void *at, size_t nbytes, unsigned prot, int fd,
                uint64_t offset);
/* Maps read-only zeros over a part of a reservation. */
int vmmi_os_map_zero(void *at, size_t nbytes);
int vmmi_os_protect(void *at, size_t nbytes, unsigned prot);
/* Asks for huge pages; a refusal is no error. */
void vmmi_os_want_huge(void *at, size_t nbytes);
/* Lets a core dump hold the range, which vmmi_os_reserve() left out. */
void vmmi_os_want_dump(void *at, size_t nbytes);

/* => a descriptor of anonymous shared memory of nbytes, or -errno */
int vmmi_os_memory_open(const char *name, uint64_t nbytes);
int vmmi_os_memory_grow(int fd, uint64_t nbytes);
/* Makes a part of it zeros, and frees the pages of the host that lie in it
 * whole. */
int vmmi_os_memory_punch(int fd, uint64_t offset, uint64_t nbytes);

/* One mapping of this process.  What it shows is told apart by device and
 * inode; an inode of 0 is memory of its own. */
struct vmmi_os_mapping {
  uintptr_t start, end;
  unsigned prot;
  uint64_t device, inode;
  uint64_t offset; /* of start */
};

/* Calls visit for each mapping in ascending order, until it gives something
 * else than 0, which is returned.  -ENOTSUP: the host doesn't show them */
int vmmi_os_maps_walk(int (*visit)(const struct vmmi_os_mapping *mapping,
                                   void *arg),
                      void *arg);

/* malloc's memory, zeroed, and realloc's; to be given back with free().  NULL.
 * => not signal-safe */
void *vmmi_os_malloc(size_t nbytes);
void *vmmi_os_realloc(void *block, size_t nbytes);

/* Sleeps while the word has this value, or shorter; wakes all who sleep on
 * it. */
void vmmi_os_wait(_Atomic uint32_t *word, uint32_t value);
void vmmi_os_wake(_Atomic uint32_t *word);

/* => bytes of address space that a process may use */
uint64_t vmmi_os_address_range(void);

/* => how many mappings a process may have */
uint64_t vmmi_os_mapping_limit(void);

/* => where the calling thread's stack overflows to; none: it is not known, or
 *    the stack has no guard.  Not signal-safe */
struct vmmi_span vmmi_os_stack_overflow(void);

/* Lays out the page that a child of fork() finds wiped; idempotent.  -ENOMEM */
int vmmi_os_watch_fork(void);
/* => whether this is a child of plain fork(), which has neither windows nor
 *    alias; a few instructions */
bool vmmi_os_in_child(void);
/* Makes such a child a process that has all: the canary lives again. */
void vmmi_os_end_child(void);

#endif
