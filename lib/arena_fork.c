/*
 * The arena in a copy of the process.  The parent copies what the memory file
 * holds, from its alias, before it forks; the child puts the copy in the file's
 * place, under the same descriptor number, and makes the alias at the same
 * address.  Frames keep their numbers, so nothing else changes.  Layer 2.
 */
#include "arena.h"

#include <unistd.h>

#include <vmm/types.h>

#include "os.h"
#include "os_file.h"

static int arena_copy = -1;

int vmmi_arena_fork_prepare(void)
{
  struct vmmi_arena_memory memory;
  int copy;

  if (!vmmi_arena_memory(&memory))
    return 0;
  copy = vmmi_os_memory_copy("libvmm", memory.fd, memory.alias, memory.nbytes);
  if (copy < 0)
    return copy;
  arena_copy = copy;
  return 0;
}

void vmmi_arena_fork_parent(void)
{
  if (arena_copy >= 0)
    close(arena_copy);
  arena_copy = -1;
}

int vmmi_arena_fork_child(void)
{
  struct vmmi_arena_memory memory;
  void *at;
  int error;

  if (!vmmi_arena_memory(&memory))
    return 0;
  error = vmmi_os_dup_to(arena_copy, memory.fd);
  vmmi_arena_fork_parent();
  if (error == 0)
    error = vmmi_os_reserve(&at, memory.alias, memory.alias_nbytes,
                            VMMI_CHUNK_SIZE);
  if (error == 0)
    error = vmmi_os_map(memory.alias, memory.nbytes, VMM_READ | VMM_WRITE,
                        memory.fd, 0);
  if (error == 0) /* the zero frame's */
    error = vmmi_os_protect(memory.alias, VMMI_CHUNK_SIZE, VMM_READ);
  if (error == 0)
    vmmi_os_want_dump(memory.alias, memory.nbytes);
  return error;
}
