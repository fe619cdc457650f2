/*
 * What the host maps in this process, as /proc/self/maps of Linux tells it:
 *
 *   7f0c1000-7f0c3000 rw-s 00002000 00:01 1042   /memfd:libvmm (deleted)
 *   start    end      prot offset   device inode  name
 *
 * It is read in pieces with one buffer and no malloc.  The kernel gives whole
 * lines, from the address where the last piece ended.
 */
#define _GNU_SOURCE 1
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <vmm/types.h>

struct reader {
  int fd;
  size_t filled, used;
  char buffer[8192];
};

/* => the next byte, or -1 at the end */
static int next_byte(struct reader *reader)
{
  if (reader->used == reader->filled) {
    ssize_t n = read(reader->fd, reader->buffer, sizeof(reader->buffer));

    if (n <= 0)
      return -1;
    reader->filled = (size_t)n;
    reader->used = 0;
  }
  return (unsigned char)reader->buffer[reader->used++];
}

/* Reads a number and the byte that ends it, which is given back. */
static int read_number(struct reader *reader, unsigned radix, uint64_t *number)
{
  static const char digits[] = "0123456789abcdef";
  int byte = next_byte(reader);

  *number = 0;
  while (byte > 0) {
    const char *digit = memchr(digits, byte, radix);

    if (digit == NULL)
      break;
    *number = *number * radix + (uint64_t)(digit - digits);
    byte = next_byte(reader);
  }
  return byte;
}

static unsigned read_rights(struct reader *reader)
{
  unsigned rights = 0;
  int byte;

  while ((byte = next_byte(reader)) > ' ')
    rights |= byte == 'r'   ? VMM_READ
              : byte == 'w' ? VMM_WRITE
              : byte == 'x' ? VMM_EXEC
                            : 0u;
  return rights;
}

/* => whether there was a line */
static bool read_line(struct reader *reader, struct vmmi_os_mapping *mapping)
{
  uint64_t start, end, major, minor;
  int byte;

  if (read_number(reader, 16, &start) != '-' ||
      read_number(reader, 16, &end) != ' ')
    return false;
  mapping->start = (uintptr_t)start;
  mapping->end = (uintptr_t)end;
  mapping->prot = read_rights(reader);
  read_number(reader, 16, &mapping->offset);
  read_number(reader, 16, &major);
  read_number(reader, 16, &minor);
  mapping->device = major << 32 | minor;
  byte = read_number(reader, 10, &mapping->inode);
  while (byte > 0 && byte != '\n')
    byte = next_byte(reader);
  return true;
}

int vmmi_os_maps_walk(int (*visit)(const struct vmmi_os_mapping *mapping,
                                   void *arg),
                      void *arg)
{
  struct vmmi_os_mapping mapping;
  struct reader reader;
  int saved = errno;
  int result = 0;

  reader.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  reader.filled = 0;
  reader.used = 0;
  if (reader.fd < 0) {
    errno = saved;
    return -ENOTSUP;
  }
  while (result == 0 && read_line(&reader, &mapping))
    result = visit(&mapping, arg);
  close(reader.fd);
  errno = saved;
  return result;
}
