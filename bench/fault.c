/*
 * A fault's cost: the first write to each page of a range that was made clean,
 * in an exact space, against handlers that do the same mprotect on memory of
 * the same kind (a shared mapping of a memfd), and against a first touch.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef HAVE_LIBSIGSEGV
#include <sigsegv.h>
#endif

#include <vmm/vmm.h>

#include "bench.h"

#define AT ((vmm_addr_t)2 << 20)
enum { NPAGES = 256, ROUNDS = 61 };

static size_t page;
static struct vmm_space *space;
static char *window, *bare;
static struct sigaction ours, theirs, libsigsegv;

static void repair(int signal, siginfo_t *info, void *context)
{
  char *at = (char *)((uintptr_t)info->si_addr & ~(page - 1));

  (void)signal;
  (void)context;
  mprotect(at, page, PROT_READ | PROT_WRITE);
}

#ifdef HAVE_LIBSIGSEGV
static int repair_for_libsigsegv(void *address, int serious)
{
  char *at = (char *)((uintptr_t)address & ~(page - 1));

  (void)serious;
  return mprotect(at, page, PROT_READ | PROT_WRITE) == 0;
}
#endif

/* => nanoseconds a page for writing to each */
static double write_pages(char *at)
{
  double start = bench_cpu();
  unsigned i;

  for (i = 0; i < NPAGES; i++)
    *(volatile char *)(at + i * page) = 1;
  return (bench_cpu() - start) / NPAGES;
}

static double run_ours(void *arg)
{
  (void)arg;
  sigaction(SIGSEGV, &ours, NULL);
  bench_need(vmm_pages(space, AT, NPAGES * page, VMM_PTE_MODIFIED, NULL),
             "vmm_pages");
  return write_pages(window);
}

static double run_theirs(void *arg)
{
  sigaction(SIGSEGV, arg, NULL);
  mprotect(bare, NPAGES * page, PROT_READ);
  return write_pages(bare);
}

static double run_bare(void *arg)
{
  (void)arg;
  return run_theirs(&theirs);
}

static double run_libsigsegv(void *arg)
{
  (void)arg;
  return run_theirs(&libsigsegv);
}

/* The handlers that there are, each as it would be installed by itself. */
static void keep_handlers(void)
{
  theirs.sa_sigaction = repair;
  theirs.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, NULL, &ours);
#ifdef HAVE_LIBSIGSEGV
  sigsegv_install_handler(repair_for_libsigsegv);
  sigaction(SIGSEGV, NULL, &libsigsegv);
#endif
  sigaction(SIGSEGV, &ours, NULL);
}

static void set_up(void)
{
  struct vmm_space_options options = { .size = 1 << 26, .flags = VMM_EXACT };
  int fd = memfd_create("bench", MFD_CLOEXEC);

  page = (size_t)sysconf(_SC_PAGESIZE);
  if (fd < 0 || ftruncate(fd, (off_t)(NPAGES * page)) != 0)
    exit(EXIT_FAILURE);
  bare = mmap(NULL, NPAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (bare == MAP_FAILED)
    exit(EXIT_FAILURE);
  bench_need(vmm_space_create(&space, &options), "vmm_space_create");
  bench_need(vmm_map_anon(space, AT, NPAGES * page, VMM_READ | VMM_WRITE),
             "vmm_map_anon");
  window = vmm_space_base(space) + AT;
  write_pages(window);
  write_pages(bare);
}

static double first_touch(void *arg)
{
  (void)arg;
  sigaction(SIGSEGV, &ours, NULL);
  bench_need(vmm_discard(space, AT, NPAGES * page), "vmm_discard");
  return write_pages(window);
}

/* The kernel's own, without a signal. */
static double first_touch_of_host(void *arg)
{
  (void)arg;
  madvise(bare, NPAGES * page, MADV_REMOVE);
  return write_pages(bare);
}

int main(void)
{
  set_up();
  keep_handlers();
  bench_compare("fault: libvmm, exact, write to a clean page", run_ours,
                "fault: bare handler, same mprotect", run_bare, NULL, ROUNDS,
                "ns");
  if (libsigsegv.sa_flags != 0 || libsigsegv.sa_handler != SIG_DFL)
    bench_compare("fault: libvmm again", run_ours, "fault: GNU libsigsegv",
                  run_libsigsegv, NULL, ROUNDS, "ns");
  mprotect(bare, NPAGES * page, PROT_READ | PROT_WRITE);
  bench_compare("fault: libvmm, exact, first touch", first_touch,
                "fault: the host's own first touch", first_touch_of_host, NULL,
                9, "ns");
  bench_need(vmm_space_destroy(space), "vmm_space_destroy");
  return 0;
}
