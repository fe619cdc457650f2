/*
 * Harts for the model: each is a host thread with windows of its own, and does the
 * accesses that the one thread of the model hands to it.  Of each kind there is one.
 */
#include "model_run.h"

#include <pthread.h>
#include <semaphore.h>

#include "process.h"

enum { DISPLACEMENT = 1 << 20 };

struct hart {
  pthread_t thread;
  sem_t begin, end;
  struct model_access *job; /* NULL: it ends; of no space: it leaves the one it has */
};

static const uint32_t kinds[MODEL_HARTS] = {
  VMM_HART_WINDOWS,
  VMM_HART_WINDOWS | VMM_HART_INVALID,
  VMM_HART_WINDOWS | VMM_HART_INVALID | VMM_HART_EAGER,
  VMM_HART_WINDOWS | VMM_HART_VIEWS,
};

static struct hart harts[MODEL_HARTS];
static uint64_t faults; /* of all harts' accesses */

static void try_access(struct model_access *job, char *at)
{
  uint64_t got;

  job->done = true;
  if (job->access == VMM_WRITE) {
    vmm_try_store_u64(at, job->value, fault);
    return;
  }
  vmm_try_load_u64(got, at, fault);
  job->value = got;
  return;
fault:
  job->done = false;
}

static uint64_t own_faults(void)
{
  struct vmm_stats stats = { .struct_size = sizeof(stats) };

  vmm_thread_stats(&stats);
  return stats.faults_read + stats.faults_write + stats.faults_exec;
}

static void do_job(struct vmm_hart *hart, struct model_access *job)
{
  uint64_t before = own_faults();
  char *base = NULL;

  job->error = vmm_hart_set_space(hart, job->space, &base);
  if (job->error != 0 || job->space == NULL)
    return;
  if (vmm_hart_views(hart) != NULL && !job->user)
    base = vmm_hart_views(hart)->supervisor;
  if (job->nofault)
    vmm_nofault_begin();
  try_access(job, base + job->va);
  if (job->nofault)
    vmm_nofault_end();
  vmm_fault_last(&job->fault);
  faults += own_faults() - before;
}

static void *run_hart(void *arg)
{
  struct vmm_hart_options options = { .tag_bits = 2 };
  struct vmm_hart *hart = NULL;
  struct hart *self = arg;
  int error;

  options.flags = kinds[self - harts];
  if (options.flags & VMM_HART_VIEWS)
    options.displacement = DISPLACEMENT;
  error = vmm_hart_create(&hart, &options);

  for (;;) {
    while (sem_wait(&self->begin) != 0)
      ;
    if (self->job == NULL)
      break;
    self->job->error = error;
    if (error == 0)
      do_job(hart, self->job);
    sem_post(&self->end);
  }
  return NULL; /* the hart ends with its thread */
}

bool model_hart_has_views(unsigned i)
{
  return (kinds[i] & VMM_HART_VIEWS) != 0;
}

void model_harts_begin(void)
{
  for (unsigned i = 0; i < MODEL_HARTS; i++) {
    sem_init(&harts[i].begin, 0, 0);
    sem_init(&harts[i].end, 0, 0);
    need(pthread_create(&harts[i].thread, NULL, run_hart, &harts[i]) == 0);
  }
}

void model_hart_access(unsigned i, struct model_access *job)
{
  harts[i].job = job;
  sem_post(&harts[i].begin);
  while (sem_wait(&harts[i].end) != 0)
    ;
}

void model_harts_leave(void)
{
  struct model_access job = { .space = NULL };

  for (unsigned i = 0; i < MODEL_HARTS; i++)
    model_hart_access(i, &job);
}

void model_harts_end(void)
{
  for (unsigned i = 0; i < MODEL_HARTS; i++) {
    harts[i].job = NULL;
    sem_post(&harts[i].begin);
    pthread_join(harts[i].thread, NULL);
  }
}

uint64_t model_faults(void)
{
  return own_faults() + faults;
}
