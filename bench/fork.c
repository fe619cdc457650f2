/*
 * Copies: a write to a copy-on-write page against the kernel's own, a fork of a
 * space and a copy of the process against fork(), with 64 MiB resident.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/vmm.h>

#include "bench.h"

#define NBYTES ((size_t)64 << 20)
enum { COW_PAGES = 2048 };

static struct vmm_space *space;
static uint64_t page;
static char *plain;  /* private anonymous memory of the host */
static char *buffer; /* to copy to */
static int file;

/* => nanoseconds a page */
static double write_pages(char *at)
{
  double start = bench_now();

  for (unsigned i = 0; i < COW_PAGES; i++)
    *(volatile char *)(at + i * page) = 2;
  return (bench_now() - start) / COW_PAGES;
}

static double cow_ours(void *arg)
{
  struct vmm_space *clone;
  double ns;

  (void)arg;
  bench_need(vmm_space_fork(&clone, space), "vmm_space_fork");
  ns = write_pages(vmm_space_base(clone));
  bench_need(vmm_space_destroy(clone), "vmm_space_destroy");
  return ns;
}

static double cow_of_a_file(void *arg)
{
  char *at = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  double ns;

  (void)arg;
  if (at == MAP_FAILED)
    exit(EXIT_FAILURE);
  for (unsigned i = 0; i < COW_PAGES; i++)
    (void)*(volatile char *)(at + i * page);
  ns = write_pages(at);
  munmap(at, NBYTES);
  return ns;
}

static void wait_for(int child)
{
  int status;

  if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
    exit(EXIT_FAILURE);
}

static double cow_after_fork(void *arg)
{
  int ends[2];
  double ns = 0;
  int child;

  (void)arg;
  if (pipe(ends) != 0)
    exit(EXIT_FAILURE);
  child = fork();
  if (child == 0) {
    ns = write_pages(plain);
    _exit(write(ends[1], &ns, sizeof(ns)) != sizeof(ns));
  }
  wait_for(child);
  if (read(ends[0], &ns, sizeof(ns)) != sizeof(ns))
    exit(EXIT_FAILURE);
  close(ends[0]);
  close(ends[1]);
  return ns;
}

/* ---- forks: microseconds ---- */

static double fork_space(void *arg)
{
  struct vmm_space *clone;
  double start = bench_now(), end;

  (void)arg;
  bench_need(vmm_space_fork(&clone, space), "vmm_space_fork");
  end = bench_now();
  bench_need(vmm_space_destroy(clone), "vmm_space_destroy");
  return (end - start) / 1000;
}

static double time_of(int (*fork_process)(void))
{
  double start = bench_now(), end;
  int child = fork_process();

  if (child == 0)
    _exit(0);
  end = bench_now();
  wait_for(child);
  return (end - start) / 1000;
}

static double fork_plainly(void *arg)
{
  (void)arg;
  return time_of(fork);
}

static double fork_with_spaces(void *arg)
{
  (void)arg;
  return time_of(vmm_process_fork);
}

/* To fresh memory, as a child's is. */
static double copy_bytes(void *arg)
{
  double start = bench_now(), end;

  (void)arg;
  buffer = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED)
    exit(EXIT_FAILURE);
  memcpy(buffer, plain, NBYTES);
  end = bench_now();
  munmap(buffer, NBYTES);
  return (end - start) / 1000;
}

static void set_up(void)
{
  struct vmm_space_options options = { .size = NBYTES, .flags = VMM_EXACT };

  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  bench_need(vmm_map_anon(space, 0, NBYTES, VMM_READ | VMM_WRITE), "map");
  page = vmm_space_page_size(space);
  for (size_t i = 0; i < NBYTES; i += page)
    vmm_space_base(space)[i] = 1;
  plain = mmap(NULL, NBYTES, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  file = memfd_create("bench", 0);
  if (plain == MAP_FAILED || file < 0 || ftruncate(file, (off_t)NBYTES) != 0)
    exit(EXIT_FAILURE);
  madvise(plain, NBYTES, MADV_NOHUGEPAGE);
  memset(plain, 1, NBYTES);
  for (size_t i = 0; i < NBYTES; i += page)
    if (pwrite(file, plain, 1, (off_t)i) != 1)
      exit(EXIT_FAILURE);
}

int main(void)
{
  set_up();
  bench_compare("fork: a copy-on-write fault of a space", cow_ours,
                "fork: the kernel's, MAP_PRIVATE", cow_of_a_file, NULL, 9,
                "ns");
  bench_compare("fork: a copy-on-write fault of a space", cow_ours,
                "fork: the kernel's, after fork()", cow_after_fork, NULL, 9,
                "ns");
  bench_compare("fork: vmm_space_fork(), 64 MiB", fork_space,
                "fork: fork(), 64 MiB", fork_plainly, NULL, 15, "us");
  bench_compare("fork: vmm_process_fork(), 64 MiB", fork_with_spaces,
                "fork: fork(), 64 MiB", fork_plainly, NULL, 9, "us");
  bench_compare("fork: vmm_process_fork(), 64 MiB", fork_with_spaces,
                "fork: memcpy of 64 MiB", copy_bytes, NULL, 9, "us");
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
