/*
 * Blocks by size class, cut from 1 MiB pieces of host memory; free ones wait in
 * a list of their class.  Large blocks are pieces of their own.  Lock: one
 * mutex, a leaf.
 */
#include "metadata.h"

#include <pthread.h>
#include <string.h>

#include "os.h"
#include "thread.h"

#define GRAIN 64
#define CLASSES 160 /* up to 10 KiB */
#define PIECE ((size_t)1 << 20)

struct free_block {
  struct free_block *next;
};

static pthread_mutex_t piece_lock = PTHREAD_MUTEX_INITIALIZER;
static struct free_block *classes[CLASSES + 1];
static char *piece;
static size_t piece_left;

static void *cut(size_t nbytes)
{
  void *block;

  if (piece_left < nbytes) {
    void *fresh;

    if (vmmi_os_alloc(&fresh, PIECE) != 0)
      return NULL;
    piece = fresh;
    piece_left = PIECE;
  }
  block = piece;
  piece += nbytes;
  piece_left -= nbytes;
  return block;
}

void *vmmi_metadata_alloc(size_t nbytes)
{
  size_t class = (nbytes + GRAIN - 1) / GRAIN;
  struct free_block *block;

  vmmi_assert(vmmi_thread_self.inside > 0,
              "metadata: locked with signals open");
  if (class > CLASSES) {
    void *at;

    return vmmi_os_alloc(&at, nbytes) == 0 ? at : NULL;
  }
  pthread_mutex_lock(&piece_lock);
  block = classes[class];
  if (block != NULL)
    classes[class] = block->next;
  else
    block = cut(class * GRAIN);
  pthread_mutex_unlock(&piece_lock);
  if (block != NULL)
    memset(block, 0, class * GRAIN);
  return block;
}

void vmmi_metadata_free(void *block, size_t nbytes)
{
  size_t class = (nbytes + GRAIN - 1) / GRAIN;
  struct free_block *free_block = block;

  if (block == NULL)
    return;
  if (class > CLASSES) {
    vmmi_os_release(block, nbytes);
    return;
  }
  pthread_mutex_lock(&piece_lock);
  free_block->next = classes[class];
  classes[class] = free_block;
  pthread_mutex_unlock(&piece_lock);
}
