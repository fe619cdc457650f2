/*
 * Files of snapshots that somebody made to do harm, or that were damaged:
 * thousands of them, each loaded or refused with a documented error, nothing
 * changed, nothing lost.  VMM_TEST_SEED chooses the seed, which is printed.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/resource.h>

#include "probe.h"
#undef RW
#define RW (VMM_READ | VMM_WRITE)

#include "snapshot_files.h"

static struct {
  struct vmm_space *space;
  struct vmm_object *named;
  struct files files;
  struct bytes good;
  uint64_t random;
  unsigned loaded, refused;
} world;

static int name_it(struct vmm_object *object, char *name, void *arg)
{
  (void)arg;
  if (object != world.named)
    return 1;
  strcpy(name, "named");
  return 0;
}

static int open_it(struct vmm_object **object, const char *name, void *arg)
{
  (void)arg;
  if (strcmp(name, "named") != 0)
    return -ENOENT;
  *object = vmm_object_hold(world.named);
  return 0;
}

static void *cookie_of(uint64_t was, void *arg)
{
  (void)arg;
  return (void *)(uintptr_t)was;
}

/* max_nbytes: a mutation may well say that a file is full of zeros */
static const struct vmm_snapshot_options options = {
  .name = name_it, .open = open_it, .cookie = cookie_of, .max_nbytes = 64 << 20
};

static void map_at(vmm_addr_t va, struct vmm_object *object, uint32_t flags)
{
  struct vmm_map_options map = { .object = object, .rights = RW, .flags = flags,
                                 .cookie = (void *)5 };

  ck_assert_ok(vmm_map(world.space, &va, 8 * PAGE, &map));
}

/* A file with all that a file may have. */
static void begin(void)
{
  struct vmm_object *object;
  struct vmm_snapshot *snapshot;

  world.random = probe_seed("snapshot_hostile");
  world.files = make_folder();
  world.space = space_with_pages(0);
  ck_assert_ok(vmm_object_create(&object, 8 * PAGE, NULL));
  ck_assert_ok(vmm_object_create(&world.named, 8 * PAGE, NULL));
  map_at(FREE, object, 0);
  map_at(FREE + 16 * PAGE, object, VMM_PRIVATE);
  map_at(FREE + 32 * PAGE, world.named, VMM_PRIVATE);
  ck_assert_ok(vmm_protect(world.space, AT + 4 * PAGE, PAGE, VMM_READ));
  vmm_object_release(object);
  set(world.space, FREE, 1);
  set(world.space, FREE + 17 * PAGE, 2);
  set(world.space, FREE + 18 * PAGE, 0);
  set(world.space, FREE + 35 * PAGE, 3);
  snapshot = take(world.space);
  ck_assert_ok(vmm_snapshot_save(snapshot, world.files.path, &options));
  vmm_snapshot_drop(snapshot);
  world.good = read_file(world.files.path);
}

static void end(void)
{
  printf("# snapshot_hostile: %u files loaded, %u refused\n", world.loaded,
         world.refused);
  free(world.good.at);
  vmm_test_end(world.space);
  vmm_object_release(world.named);
  remove_folder(&world.files);
}

static bool is_documented(int error)
{
  static const int errors[] = { EBADMSG, ENOTSUP, EINVAL, EFBIG, EACCES,
                                ENOSPC, ENOMEM, ENOENT };

  for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
    if (error == -errors[i])
      return true;
  return false;
}

/* Loads what lies at the path into a new space.  => the error */
static int try_file(void)
{
  struct vmm_space *made;
  int error = vmm_space_load(&made, NULL, world.files.path, &options);

  if (error == 0) {
    vmm_test_end(made);
    world.loaded++;
    return 0;
  }
  ck_assert_msg(is_documented(error), "%d: %s", error, vmm_error_text());
  world.refused++;
  return error;
}

static int try_bytes(const struct bytes *file)
{
  write_file(world.files.path, file->at, file->nbytes);
  return try_file();
}

/* => the error of loading what lies at the path into the space, which is as it
 *    was if it is refused */
static int load_again(void)
{
  char *before = probe_state(world.space), *after;
  int error = vmm_snapshot_load(world.space, world.files.path, &options);

  after = probe_state(world.space);
  if (error != 0)
    ck_assert_str_eq(before, after);
  ck_assert_msg(error == 0 || is_documented(error), "%d: %s", error,
                vmm_error_text());
  ck_assert_ok(vmm_check(world.space, 0, 0));
  free(before);
  free(after);
  return error;
}

static struct bytes copy_good(void)
{
  struct bytes copy = { malloc(world.good.nbytes), world.good.nbytes };

  memcpy(copy.at, world.good.at, copy.nbytes);
  return copy;
}

static size_t tables_of(const struct bytes *file)
{
  return (size_t)number_at(file->at + TABLES_AT, 8);
}

/* => blocks of the arena's file that hold something */
static uint64_t arena_blocks(void)
{
  char link[64], target[64];
  struct stat st;

  for (int fd = 0; fd < 64; fd++) {
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof(target) - 1);
    if (n < 0)
      continue;
    target[n] = '\0';
    if (strncmp(target, "/memfd:libvmm ", 14) == 0 && fstat(fd, &st) == 0)
      return (uint64_t)st.st_blocks;
  }
  ck_abort_msg("no arena");
  return 0;
}

static unsigned descriptors(void)
{
  struct files self = { .folder = "/proc/self/fd" };

  return count_files(&self);
}

/* ---- damage ---- */

START_TEST(any_damaged_byte_is_found)
{
  size_t tables;

  begin();
  tables = tables_of(&world.good);
  for (size_t i = 0; i < world.good.nbytes;) {
    struct bytes copy = copy_good();
    int error;

    copy.at[i] ^= (uint8_t)(1u << probe_random(&world.random) % 8);
    error = try_bytes(&copy);
    ck_assert_msg(error == -EBADMSG || error == -ENOTSUP, "%d: %s", error,
                  vmm_error_text());
    if (i % 16 == 0)
      ck_assert_int_eq(load_again(), error);
    free(copy.at);
    /* each byte that says something, and some of the others */
    i += i < 72 || i >= tables ? 1 : 37 + probe_random(&world.random) % 200;
  }
  end();
}
END_TEST

START_TEST(a_file_that_ends_early_or_late_is_found)
{
  begin();
  for (unsigned round = 0; round < 600; round++) {
    struct bytes copy = copy_good();

    copy.nbytes = (size_t)(probe_random(&world.random) % copy.nbytes);
    if (round < 100)
      copy.nbytes = world.good.nbytes - 1 - round;
    if (round % 2)
      mend_sums(copy);
    ck_assert_int_eq(try_bytes(&copy), -EBADMSG);
    free(copy.at);
  }
  ck_assert_int_eq(try_bytes(&world.good), 0);
  ck_assert_int_eq(truncate(world.files.path, (off_t)world.good.nbytes + 1), 0);
  ck_assert_int_eq(try_file(), -EBADMSG);
  end();
}
END_TEST

/* ---- malice: the sums are right ---- */

static const uint64_t evil[] = {
  0, 1, 2, 4095, 4096, 8192, 1 << 21, 0x7fffffff, 0x80000000, 0xffffffff,
  1ull << 32, 1ull << 44, 1ull << 56, INT64_MAX, 1ull << 63, UINT64_MAX - 4095,
  UINT64_MAX,
};

static void put_evil(struct bytes *file, size_t at)
{
  unsigned nbytes = probe_random(&world.random) % 2 ? 8 : 4;
  uint64_t choice = probe_random(&world.random);
  uint64_t number = evil[choice % (sizeof(evil) / sizeof(evil[0]))];

  if (at + nbytes > file->nbytes)
    return;
  switch (choice >> 32 & 3) {
  case 0:
    number = number_at(file->at + at, nbytes) + 1;
    break;
  case 1:
    number = number_at(file->at + at, nbytes) - (1 << (choice >> 40) % 16);
    break;
  }
  put_number(file->at + at, nbytes, number);
}

/* Somewhere in what is looked at. */
static size_t choose_place(const struct bytes *file)
{
  size_t tables = tables_of(file), room = file->nbytes - tables;

  return probe_random(&world.random) % 4 == 0
             ? 8 + probe_random(&world.random) % 60
             : tables + (size_t)(probe_random(&world.random) % (room / 4)) * 4;
}

START_TEST(each_field_with_each_evil_number_is_survived)
{
  begin();
  for (size_t at = 8; at < world.good.nbytes; at += 4) {
    if (at == 68)
      at = tables_of(&world.good);
    for (unsigned i = 0; i < 4; i++) {
      struct bytes copy = copy_good();

      put_evil(&copy, at);
      mend_sums(copy);
      try_bytes(&copy);
      free(copy.at);
    }
  }
  ck_assert_uint_gt(world.refused, 1000);
  ck_assert_ok(vmm_check(world.space, 0, 0));
  end();
}
END_TEST

START_TEST(thousands_of_evil_files_are_survived_and_leave_nothing)
{
  unsigned before;
  uint64_t blocks;

  begin();
  try_bytes(&world.good);
  before = descriptors();
  blocks = arena_blocks();
  for (unsigned round = 0; round < 4000; round++) {
    struct bytes copy = copy_good();

    for (unsigned i = probe_random(&world.random) % 4 + 1; i > 0; i--)
      put_evil(&copy, choose_place(&world.good));
    mend_sums(copy);
    try_bytes(&copy);
    if (round % 8 == 0 && load_again() == 0) {
      write_file(world.files.path, world.good.at, world.good.nbytes);
      ck_assert_int_eq(load_again(), 0);
    }
    free(copy.at);
  }
  ck_assert_uint_gt(world.refused, 2000);
  ck_assert_uint_eq(descriptors(), before);
  ck_assert_uint_le(arena_blocks(), blocks);
  end();
}
END_TEST

START_TEST(random_bytes_are_no_snapshot)
{
  begin();
  for (unsigned round = 0; round < 500; round++) {
    struct bytes copy = copy_good();
    size_t from = round % 3 == 0 ? 0 : round % 3 == 1 ? 16 : tables_of(&copy);

    for (size_t i = from; i < copy.nbytes; i++)
      copy.at[i] = (uint8_t)probe_random(&world.random);
    if (round % 3 == 2)
      mend_sums(copy);
    ck_assert_int_ne(try_bytes(&copy), 0);
    free(copy.at);
  }
  end();
}
END_TEST

START_TEST(a_huge_file_of_holes_takes_no_memory)
{
  static const unsigned counts_at[] = { 48, 52, 56 };
  struct rusage before, after;

  begin();
  getrusage(RUSAGE_SELF, &before);
  for (unsigned i = 0; i < 3; i++) {
    struct bytes head = { calloc(1, HEADER), HEADER };
    uint64_t entry[] = { 288, 64, 32 };
    uint64_t nbytes = HEADER + (1ull << 28) * entry[i];

    memcpy(head.at, world.good.at, HEADER);
    memset(head.at + 48, 0, 20);
    put_number(head.at + 32, 8, nbytes);
    put_number(head.at + TABLES_AT, 8, HEADER);
    put_number(head.at + counts_at[i], 4, 1u << 28);
    put_number(head.at + 12, 4, crc_of(head.at + 16, HEADER - 16));
    write_file(world.files.path, head.at, HEADER);
    if (truncate(world.files.path, (off_t)nbytes) == 0)
      ck_assert_int_eq(try_file(), -EBADMSG);
    free(head.at);
  }
  getrusage(RUSAGE_SELF, &after);
  ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 16 << 10);
  end();
}
END_TEST

Suite *vmm_suite_snapshot_hostile(void);

Suite *vmm_suite_snapshot_hostile(void)
{
  Suite *suite = suite_create("snapshot_hostile");
  TCase *tcase = tcase_create("snapshot_hostile");

  tcase_set_timeout(tcase, 300);
  tcase_add_test(tcase, any_damaged_byte_is_found);
  tcase_add_test(tcase, a_file_that_ends_early_or_late_is_found);
  tcase_add_test(tcase, each_field_with_each_evil_number_is_survived);
  tcase_add_test(tcase, thousands_of_evil_files_are_survived_and_leave_nothing);
  tcase_add_test(tcase, random_bytes_are_no_snapshot);
  tcase_add_test(tcase, a_huge_file_of_holes_takes_no_memory);
  suite_add_tcase(suite, tcase);
  return suite;
}
