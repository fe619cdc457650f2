/*
 * Objects with a descriptor in a copy of the process.  Memory files are copied
 * by the parent before it forks, and put in their place, under the same
 * descriptor number, by the child.  A file, or a descriptor that the program
 * gave, stays shared with the parent: it is by its nature.  Objects without one
 * lie in the arena.
 */
#include "object.h"

#include <unistd.h>

#include <vmm/types.h>

#include "os.h"
#include "os_file.h"

static pthread_mutex_t shown_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmm_object *shown; /* (list) */

void vmmi_object_list(struct vmm_object *object)
{
  pthread_mutex_lock(&shown_lock);
  object->next_shown = shown;
  object->shown_link = &shown;
  if (shown != NULL)
    shown->shown_link = &object->next_shown;
  shown = object;
  pthread_mutex_unlock(&shown_lock);
}

void vmmi_object_unlist(struct vmm_object *object)
{
  pthread_mutex_lock(&shown_lock);
  if (object->shown_link != NULL) {
    *object->shown_link = object->next_shown;
    if (object->next_shown != NULL)
      object->next_shown->shown_link = object->shown_link;
    object->shown_link = NULL;
  }
  pthread_mutex_unlock(&shown_lock);
}

struct vmm_object *vmmi_object_next(const struct vmm_object *object)
{
  return object != NULL ? object->next_shown : shown;
}

/* => whether its descriptor is of memory that only we know, or have made */
static bool is_own_memory(const struct vmm_object *object)
{
  return object->exported || object->pager != NULL;
}

int vmmi_object_fork_prepare(void)
{
  for (struct vmm_object *object = shown; object != NULL;
       object = object->next_shown) {
    int copy;

    if (!is_own_memory(object))
      continue;
    copy = vmmi_os_memory_copy("libvmm-object", object->fd,
                               vmmi_arena_pointer(object->extent),
                               object->nbytes);
    if (copy < 0)
      return copy;
    object->copy = copy;
  }
  return 0;
}

void vmmi_object_fork_parent(void)
{
  for (struct vmm_object *object = shown; object != NULL;
       object = object->next_shown) {
    if (object->copy >= 0)
      close(object->copy);
    object->copy = -1;
  }
}

static int show_again(const struct vmm_object *object)
{
  int error = 0;

  if (object->copy >= 0)
    error = vmmi_os_dup_to(object->copy, object->fd);
  return error != 0 ? error : vmmi_object_show(object);
}

int vmmi_object_fork_child(void)
{
  int error = 0;

  for (struct vmm_object *object = shown; error == 0 && object != NULL;
       object = object->next_shown)
    error = show_again(object);
  vmmi_object_fork_parent();
  return error;
}
