/*
 * The cache of decoded code: an arena of ops that only grows until it is
 * flushed, traces hashed by pc, and a node for each (trace, page).  Dropping a
 * page unlinks its traces: each extension linked to one points to itself again.
 */
#include "trace.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void *take_memory(size_t nbytes)
{
  void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  return p == MAP_FAILED ? NULL : p;
}

static void free_memory(void *p, size_t nbytes)
{
  if (p != NULL)
    munmap(p, nbytes);
}

int vmmi_code_init(struct vmmi_code *code, uint32_t page_size)
{
  memset(code, 0, sizeof(*code));
  code->page_shift = (unsigned)__builtin_ctz(page_size);
  code->ops = take_memory(CODE_OPS * sizeof(*code->ops));
  code->info = take_memory(CODE_OPS * sizeof(*code->info));
  code->traces = take_memory(CODE_TRACES * sizeof(*code->traces));
  code->nodes = take_memory(CODE_NODES * sizeof(*code->nodes));
  if (!code->ops || !code->info || !code->traces || !code->nodes) {
    vmmi_code_fini(code);
    return -ENOMEM;
  }
  vmmi_code_flush(code);
  return 0;
}

void vmmi_code_fini(struct vmmi_code *code)
{
  free_memory(code->ops, CODE_OPS * sizeof(*code->ops));
  free_memory(code->info, CODE_OPS * sizeof(*code->info));
  free_memory(code->traces, CODE_TRACES * sizeof(*code->traces));
  free_memory(code->nodes, CODE_NODES * sizeof(*code->nodes));
}

void vmmi_code_flush(struct vmmi_code *code)
{
  memset(code->jumps, 0, sizeof(code->jumps));
  memset(code->buckets, 0, sizeof(code->buckets));
  memset(code->pages, 0, sizeof(code->pages));
  code->nops = CODE_SCRATCH;
  code->ntraces = 1; /* 0 is none */
  code->nnodes = 1;
  code->generation++;
}

static uint32_t *bucket_of(struct vmmi_code *code, vmm_addr_t pc)
{
  uint64_t h = (pc >> 1) * 0x9e3779b97f4a7c15ull;

  return &code->buckets[h >> 40 & (CODE_BUCKETS - 1)];
}

static uint32_t *page_bucket_of(struct vmmi_code *code, uint64_t page)
{
  return &code->pages[page & (CODE_BUCKETS - 1)];
}

static uint32_t find_trace(struct vmmi_code *code, vmm_addr_t pc)
{
  uint32_t t = *bucket_of(code, pc);

  while (t != 0 && code->traces[t].pc != pc)
    t = code->traces[t].next;
  return t;
}

struct vmmi_op *vmmi_code_find(struct vmmi_code *code, vmm_addr_t pc)
{
  uint32_t t = find_trace(code, pc);

  return t == 0 ? NULL : &code->ops[code->traces[t].first];
}

bool vmmi_code_reserve(struct vmmi_code *code)
{
  if (code->nops + TRACE_SLOTS <= CODE_OPS && code->ntraces < CODE_TRACES &&
      code->nnodes + TRACE_PAGES <= CODE_NODES)
    return false;
  vmmi_code_flush(code);
  return true;
}

struct vmmi_op *vmmi_code_keep(struct vmmi_code *code, vmm_addr_t pc,
                               uint32_t nslots, const uint64_t *pages,
                               unsigned npages)
{
  uint32_t t = code->ntraces++, *bucket = bucket_of(code, pc);
  struct vmmi_trace *trace = &code->traces[t];
  unsigned i;

  trace->pc = pc;
  trace->first = code->nops;
  trace->nslots = nslots;
  trace->incoming = 0;
  trace->live = true;
  trace->next = *bucket;
  *bucket = t;
  for (i = 0; i < npages; i++) {
    uint32_t n = code->nnodes++, *chain = page_bucket_of(code, pages[i]);

    code->nodes[n] = (struct vmmi_code_page){ pages[i], t, *chain };
    *chain = n;
  }
  code->nops += nslots;
  return &code->ops[trace->first];
}

void vmmi_code_link(struct vmmi_code *code, struct vmmi_op *extension,
                    struct vmmi_op *first)
{
  struct vmmi_op_info *info = vmmi_code_info(code, extension);
  struct vmmi_trace *trace = &code->traces[find_trace(code, info->pc)];

  if (extension < code->ops + CODE_SCRATCH || extension->target != extension)
    return;
  info->next = trace->incoming;
  trace->incoming = (uint32_t)(extension - code->ops);
  vmmi_code_link_inside(code, extension, first);
}

void vmmi_code_link_inside(struct vmmi_code *code, struct vmmi_op *extension,
                           struct vmmi_op *op)
{
  extension->target = op;
  extension[-1].imm = (int32_t)(vmmi_code_info(code, extension)->count -
                                vmmi_code_info(code, op)->count);
}

/* Takes the trace out of the map and makes its links ask again. */
static void drop_trace(struct vmmi_code *code, struct vmmi_trace *trace)
{
  uint32_t *link = bucket_of(code, trace->pc), t = trace - code->traces, e;
  struct vmmi_jump *jump = vmmi_code_jump(code, trace->pc);

  while (*link != t)
    link = &code->traces[*link].next;
  *link = trace->next;
  for (e = trace->incoming; e != 0; e = code->info[e].next) {
    code->ops[e].target = &code->ops[e];
    code->ops[e - 1].imm = 0;
  }
  if (jump->op == &code->ops[trace->first])
    jump->op = NULL;
  trace->live = false;
}

/* Drops the traces of one chain that lie in [page, last]. */
static void drop_chain(struct vmmi_code *code, uint32_t *chain, uint64_t page,
                       uint64_t last)
{
  uint64_t counted = UINT64_MAX;

  while (*chain != 0) {
    struct vmmi_code_page *node = &code->nodes[*chain];
    struct vmmi_trace *trace = &code->traces[node->trace];

    if (trace->live && (node->page < page || node->page > last)) {
      chain = &node->next;
      continue;
    }
    if (trace->live) {
      drop_trace(code, trace);
      code->dropped += node->page != counted;
      counted = node->page;
    }
    *chain = node->next;
  }
}

static void drop_range(struct vmmi_code *code, vmm_addr_t va, uint64_t nbytes)
{
  uint64_t page = va >> code->page_shift, last, i;

  if (nbytes == 0)
    return;
  last = va + nbytes - 1 < va ? UINT64_MAX : va + nbytes - 1;
  last >>= code->page_shift;
  if (last - page < CODE_BUCKETS)
    for (i = page; i <= last; i++)
      drop_chain(code, page_bucket_of(code, i), i, i);
  else
    for (i = 0; i < CODE_BUCKETS; i++)
      drop_chain(code, &code->pages[i], page, last);
}

enum { EMPTY, BUSY, READY };

void vmmi_code_invalidate(struct vmmi_code *code, vmm_addr_t va,
                          uint64_t nbytes)
{
  unsigned i;

  for (i = 0; i < CODE_QUEUE; i++) {
    struct vmmi_stale *s = &code->queue[i];
    uint32_t empty = EMPTY;

    if (!atomic_compare_exchange_strong_explicit(
            &s->state, &empty, BUSY, memory_order_acquire,
            memory_order_relaxed))
      continue;
    s->va = va;
    s->nbytes = nbytes;
    /* release: the range is seen with the state */
    atomic_store_explicit(&s->state, READY, memory_order_release);
    return;
  }
  atomic_store_explicit(&code->overflow, 1, memory_order_release);
}

void vmmi_code_drop_stale(struct vmmi_code *code)
{
  unsigned i;

  for (i = 0; i < CODE_QUEUE; i++) {
    struct vmmi_stale *s = &code->queue[i];

    /* BUSY: its writer raises the cpu's flag when it is done */
    if (atomic_load_explicit(&s->state, memory_order_acquire) != READY)
      continue;
    drop_range(code, s->va, s->nbytes);
    atomic_store_explicit(&s->state, EMPTY, memory_order_release);
  }
  if (atomic_exchange_explicit(&code->overflow, 0, memory_order_acquire)) {
    drop_range(code, 0, UINT64_MAX);
    vmmi_code_flush(code);
  }
}
