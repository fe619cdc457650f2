/*
 * Files of snapshots: the format, and what reads and writes it share.  All
 * numbers are little-endian, whatever the host is.  Sums are CRC-32C (crc.h).
 *
 *      0 +---------------------+
 *        | header              | 4096 bytes, zeros beyond what is drawn below
 *   4096 +---------------------+
 *        | bytes of run 0      | whole units, one run after another; a unit
 *        | bytes of run 1 ...  | of zeros is a hole, if the disk has holes
 * tables +---------------------+
 *        | objects             | 288 bytes each
 *        | regions             |  64 bytes each, ascending, not overlapping
 *        | runs                |  32 bytes each, ascending by owner and start
 *    end +---------------------+
 *
 * header   0 magic "vmm\x89snap"      8 version           12 sum of the rest
 *         16 bytes of the space      24 bytes of a page
 *         32 end                     40 tables
 *         48 objects (4)  regions (4)                     56 runs
 *         64 sum of the tables (4)
 * object   0 bytes                    8 kind (4)  flags (4)
 *         16 zeros (16)              32 name (256), zeros behind it
 * region   0 start                    8 bytes
 *         16 offset in its object, or in the mapping
 *         24 cookie                  32 object + 1, or 0 (4)   rights (4)
 *         40 flags (4)  mapping (4)  48 zeros (16)
 * run      0 start                    8 owner: object + 1, or 0: the space (4)
 *         12 units (4)               16 sum of its bytes (4)   20 zeros (12)
 *
 * A unit is a page in the space, 4096 bytes in an object; a run stays within
 * one chunk of 2 MiB.  Memory that no run names reads as zeros, or as its
 * object.  A unit of zeros is in a run only where it hides an object's bytes.
 * Regions with the same mapping number came from one vmm_map().  Layer 7.
 */
#ifndef VMMI_SNAPSHOT_FILE_H
#define VMMI_SNAPSHOT_FILE_H

#include <string.h>
#include <vmm/snapshot.h>

#include "map.h"
#include "snapshot.h"

#define VMMI_FILE_MAGIC "vmm\x89snap"
#define VMMI_FILE_UNIT 4096u /* of an object; and of the header */

enum {
  VMMI_FILE_VERSION = 1,
  VMMI_FILE_HEADER = 68, /* bytes of it that say something, */
  VMMI_FILE_SUMMED = 16, /* and from where they are summed */
  VMMI_FILE_OBJECT = 288,
  VMMI_FILE_REGION = 64,
  VMMI_FILE_RUN = 32,
  VMMI_FILE_NAME_AT = 32, /* in an object */
};

/* Kinds of objects, and their flags. */
enum { VMMI_FILE_BYTES = 1, VMMI_FILE_NAMED = 2 };
enum { VMMI_FILE_EXPORT = 1 << 0, VMMI_FILE_READONLY = 1 << 1 };

/* Flags of regions. */
enum {
  VMMI_FILE_PRIVATE = 1 << 0,
  VMMI_FILE_HUGE = 1 << 1,
  VMMI_FILE_EXACT = 1 << 2,
  VMMI_FILE_NOT_INHERITED = 1 << 3,
  VMMI_FILE_SUPERVISOR = 1 << 4,
};

static inline void vmmi_file_put32(uint8_t *at, uint32_t n)
{
  for (int i = 0; i < 4; i++)
    at[i] = (uint8_t)(n >> 8 * i);
}

static inline void vmmi_file_put64(uint8_t *at, uint64_t n)
{
  vmmi_file_put32(at, (uint32_t)n);
  vmmi_file_put32(at + 4, (uint32_t)(n >> 32));
}

static inline uint32_t vmmi_file_get32(const uint8_t *at)
{
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
         (uint32_t)at[3] << 24;
}

static inline uint64_t vmmi_file_get64(const uint8_t *at)
{
  return vmmi_file_get32(at) | (uint64_t)vmmi_file_get32(at + 4) << 32;
}

/* => whether all bytes are zero */
static inline bool vmmi_file_is_zero(const void *bytes, size_t nbytes)
{
  const char *at = bytes;

  return nbytes == 0 || (*at == 0 && memcmp(at, at + 1, nbytes - 1) == 0);
}

/* The region's flags as a file has them.  => false if it can't have them */
bool vmmi_file_put_flags(uint32_t flags, uint32_t *stored);
bool vmmi_file_get_flags(uint32_t stored, uint32_t *flags);

/* -EINVAL for options with reserved fields that are not 0 */
int vmmi_file_check_options(const struct vmm_snapshot_options *options);

/* ---- writing: snapshot_write.c ---- */

/* A table that grows. */
struct vmmi_file_table {
  uint8_t *bytes;
  size_t nbytes, room;
};

/* => room for so many more bytes at its end, zeroed; NULL without memory */
uint8_t *vmmi_file_table_add(struct vmmi_file_table *table, size_t nbytes);

struct vmmi_file_writer {
  int fd, folder;   /* descriptors */
  char *path;       /* of the file that is written; NULL: it was renamed */
  uint64_t nbytes;  /* of the file so far */
  uint64_t nruns;
  struct vmmi_file_table runs;
};

/* Makes the file beside the one at path.  => 0, to be ended; -errno */
int vmmi_file_begin(struct vmmi_file_writer *writer, const char *path);
/* Writes a run and notes it; units of zeros become holes. */
int vmmi_file_write_run(struct vmmi_file_writer *writer, uint32_t owner,
                        uint64_t start, const char *bytes, uint32_t units,
                        size_t unit);
/* Writes the tables and the header (its first fields are the caller's), and
 * puts the file where it belongs. */
int vmmi_file_finish(struct vmmi_file_writer *writer, uint8_t *header,
                     const struct vmmi_file_table *objects,
                     const struct vmmi_file_table *regions, const char *path);
/* Closes it; removes it if it is still there. */
void vmmi_file_end(struct vmmi_file_writer *writer);

/* ---- reading: snapshot_read.c, snapshot_fill.c ---- */

struct vmmi_image_object {
  struct vmm_object *object; /* held; NULL: not yet */
  uint64_t nbytes;
  uint32_t flags;            /* VMMI_FILE_EXPORT ... */
  bool bytes;                /* made by us: runs fill it; else it has a name */
  char name[VMM_SNAPSHOT_NAME];
};

struct vmmi_image_run {
  uint64_t start;
  uint32_t owner, units, sum;
};

/* What a file says, to become a space's. */
struct vmmi_image {
  const struct vmm_snapshot_options *options; /* never NULL */
  struct vmm_space *space; /* that it is for; unlocked while reading */
  int fd;
  uint64_t file_nbytes;    /* as the host says */
  uint64_t size, page_nbytes; /* of the space that was saved */
  uint64_t tables, nruns;
  uint32_t tables_sum, nobjects, nregions;
  struct vmmi_image_object *objects;
  struct vmmi_region *regions; /* by right; their serial numbers begin at 0; the
                                * number of the object is in priority */
  struct vmmi_image_run *runs;
  struct vmmi_pagetable pt;    /* of private memory: frames of its own runs */
  bool has_pt;
  char *bytes;                 /* of one run, in between */
  uint64_t npages;             /* in it */
};

/* Opens the file and reads its header. */
int vmmi_image_open(struct vmmi_image *image, const char *path);
/* Reads and checks the tables, for the image's space. */
int vmmi_image_read(struct vmmi_image *image);
/* Finds or makes the objects, and reads the bytes into frames. */
int vmmi_image_fill(struct vmmi_image *image);
/* Frees what was not given to a space. */
void vmmi_image_end(struct vmmi_image *image);

/* => -EBADMSG, said why */
int vmmi_image_damaged(const char *why);

#endif
