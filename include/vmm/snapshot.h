/*
 * Snapshots: what a space's private memory held, and what was mapped, at one
 * moment; going back there; and files of them, from which another process goes
 * on.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H

#include <vmm/types.h>

struct vmm_space_options;

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Takes a snapshot of the space.  It holds the bytes of private memory, and the
 * regions with their rights, flags, cookies and handlers.  It does not hold the
 * bytes of shared objects, young, dirty and trackers' bits, what is wired, the
 * space's handler, pins, trackers and notifiers.  A page of a private mapping
 * that was not written shows what the object holds, before and after.
 *
 * The price is a few operations for each page that the space has touched.  From
 * then on the first write to a page, or a discard, unmap or move, puts what it
 * held into the snapshot; so writes are exact (VMM_EXACT) while there is one.
 * Where there is no memory for it, the write is a fault with reason
 * VMM_FAULT_NO_MEMORY.  A page that is wired and writable, or pinned for
 * writing, is copied at once.
 *
 * The frames that only snapshots hold do not count in max_frames, nor in the
 * space's counter of frames; its counters saved and restored tell how many
 * pages were copied.  A fork has none of the parent's snapshots.  Another
 * thread's writes meanwhile are in it or not, each by itself.
 *
 * A space may have many, each independent of the others.  It can't be destroyed
 * before they are dropped.  They end with the process; vmm_snapshot_save() puts
 * one into a file.
 *
 * -ENOMEM  no memory
 */
VMM_API int vmm_snapshot_take(struct vmm_snapshot **snapshot,
                              struct vmm_space *space);

/*
 * Makes the space what it was.  The snapshot stays, to be restored again; so do
 * all others, older or newer ones.  The price is in proportion to the pages
 * written since it was taken, and to the regions; for the latest snapshot, to
 * the pages written since it was restored for the last or the last but one
 * time.  A page that is written between each two restores of the latest
 * snapshot costs only the copying: its writes fault no more.
 *
 * What was mapped since is unmapped, what was unmapped or moved is where it
 * was.  Every page that gets its bytes back reads dirty to every tracker, and
 * code in it is told to the notifiers.  A page that is pinned gets its bytes in
 * place, so that pin and guest stay coherent, unless its mapping goes.  What is
 * wired stays so and nothing else becomes so.  A private page that was not
 * there at the take is given back, or reads as it did where it is wired or
 * pinned.
 *
 * -EINVAL  the snapshot is not of this space
 * -ENOMEM  no memory for what newer snapshots have to keep, or for regions
 * -ENOSPC  an object that was mapped then: its trackers find no free slot
 * -EIO     an object can't give a page that is wired or pinned
 * -EBUSY   a page that is wired or pinned held what a pager has to give
 */
VMM_API int vmm_snapshot_restore(struct vmm_space *space,
                                 struct vmm_snapshot *snapshot);

/* Ends a snapshot; what an older one needs of it goes there.  NULL is
 * allowed. */
VMM_API void vmm_snapshot_drop(struct vmm_snapshot *snapshot);

/* ---- files ---- */

enum { VMM_SNAPSHOT_NAME = 256 }; /* bytes of an object's name, with its zero */

/*
 * What the library can't know: what the program's objects and cookies are
 * called in a file.  The callbacks are called with no lock held and may call
 * the library.
 */
struct vmm_snapshot_options {
  /*
   * Saving: writes a name of the object, which open will get when the file is
   * loaded, into name[VMM_SNAPSHOT_NAME].
   * => 0; 1 the object's bytes go into the file instead; a negative errno, with
   *    which the save fails
   * NULL: 1 for each.
   */
  int (*name)(struct vmm_object *object, char *name, void *arg);

  /*
   * Loading: finds, or makes, the object of that name and stores it with a
   * hold, which becomes the loader's.  The name is as trustworthy as the file.
   * => 0, or a negative errno, with which the load fails
   * NULL: a file with names is -ENOTSUP.
   */
  int (*open)(struct vmm_object **object, const char *name, void *arg);

  /* Loading: => the cookie of a region whose cookie had that value when the
   * snapshot was taken.  NULL: regions get none. */
  void *(*cookie)(uint64_t was, void *arg);

  void *arg;
  uint64_t max_nbytes; /* loading: of memory that the file fills; 0: no limit */
  uint64_t reserved[6];
};

/*
 * Saves a snapshot to a file at path.  The file holds what the snapshot holds:
 * the bytes of private memory; the regions with their rights, VMM_PRIVATE,
 * VMM_HUGE, VMM_EXACT, VMM_SUPERVISOR, what vmm_inherit() said, and the
 * cookies, as numbers; the size of the space and of its page.  And the objects
 * that the regions show, each once, however many regions mirror it: by a name,
 * or, if it is of vmm_object_create(), with its bytes, as they are now, since a
 * snapshot has none.  What an object with a name holds is its own affair: a
 * pager is to be flushed.  The file does not hold handlers, trackers,
 * notifiers, pins, and what is wired.
 *
 * The file appears at path, or takes the place of the one that is there, in one
 * step, when all of it is on the disk: whatever happens meanwhile, a crash
 * included, path is the old file or the new.  It is written beside it, with
 * the name path.PID-N.tmp; one of these may be left by a process that was
 * killed.  Pages of zeros take no place in it.
 *
 * Any snapshot may be saved, while others are newer, and while other threads
 * use the space, which wait for a copy of 2 MiB at most.  The snapshot must not
 * be dropped meanwhile.  options may be NULL.
 *
 * -EINVAL  path is empty or something else than a file; a name has no end
 * -ENOTSUP an object without a name that is not of vmm_object_create(): a file,
 *          a pager, a device; a trampoline page
 * -EIO     bytes can't be read, or written
 * -ENAMETOOLONG  path
 * -ENOMEM  no memory
 * and those of name, and -errno of open(), pwrite(), fsync(), rename(); an
 * error of the folder's fsync(), the last step, leaves the new file at path
 */
VMM_API int vmm_snapshot_save(struct vmm_snapshot *snapshot, const char *path,
                              const struct vmm_snapshot_options *options);

/*
 * Makes the space what the file says, as if all that is mapped were unmapped
 * and the file's regions mapped in one step: pins keep what they hold, nothing
 * is wired, trackers report all that was mapped and every page that the file
 * fills, snapshots of the space stay and can be restored.  Objects that were
 * saved by their bytes are new ones, found by vmm_region_find().  Handlers of
 * regions are to be set anew.  The space's own handler, trackers, notifiers
 * stay.
 *
 * A file may come from anybody.  Whatever it holds, the call loads it or fails
 * and changes nothing; it takes no more memory than the file has bytes (but for
 * holes in the file: max_nbytes is a limit that holds for them too), and a few
 * bytes a region.  A sum tells damage; it does not tell who wrote the file.
 *
 * -EBADMSG it is no such file, or damaged
 * -ENOTSUP it is of a later version, or has names, and there is no open
 * -EINVAL  the space's page has another size; a region leaves the space; the
 *          object that open gave can't be mapped there; path leads to something
 *          else than a file
 * -EFBIG   more than max_nbytes, or than the space's max_frames
 * -EACCES -ENOTSUP -ENOSPC  a region that vmm_map() would refuse
 * -ENOMEM  no memory
 * and those of open, and -errno of open() and pread()
 */
VMM_API int vmm_snapshot_load(struct vmm_space *space, const char *path,
                              const struct vmm_snapshot_options *options);

/*
 * Makes a space from a file: as vmm_space_create(), where a size or page_size
 * of 0 is the file's, and vmm_snapshot_load().  Both options may be NULL.
 */
VMM_API int vmm_space_load(struct vmm_space **space,
                           const struct vmm_space_options *space_options,
                           const char *path,
                           const struct vmm_snapshot_options *options);

#ifdef __cplusplus
}
#endif
#endif
