/*
 * Loads and unloads two shared objects with accessors, each with a table and a
 * hidden constructor of the same names as the other's and the program's: more
 * often than there is room for tables, so that leaving one behind shows.
 *
 * loader PLUGIN1 PLUGIN2
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmm/vmm.h>

#define ROUNDS 300

typedef int load_function(const char *at);

static int own_load(const char *at)
{
  uint32_t value;

  vmm_try_load_u32(value, at, fault);
  return (int)value;
fault:
  return -100;
}

static void *open_plugin(const char *path, load_function **load)
{
  void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);

  if (plugin != NULL)
    *load = (load_function *)dlsym(plugin, "plugin_load");
  if (plugin == NULL || *load == NULL) {
    printf("%s\n", dlerror());
    exit(99);
  }
  return plugin;
}

static void expect(int round, const char *what, int got, int wanted)
{
  if (got == wanted)
    return;
  printf("round %d, %s: %d, not %d\n", round, what, got, wanted);
  exit(1);
}

/* One at a time, both at once, the first unloaded before the second. */
static void go_round(int round, char **paths, const char *good, const char *bad)
{
  load_function *load1, *load2;
  void *plugin1 = open_plugin(paths[0], &load1), *plugin2;

  expect(round, "first", load1(bad), -1);
  plugin2 = open_plugin(paths[1], &load2);
  expect(round, "second", load2(bad), -2);
  expect(round, "first beside it", load1(bad), -1);
  dlclose(plugin1);
  expect(round, "second alone", load2(bad), -2);
  expect(round, "second, no fault", load2(good), 7);
  expect(round, "the program", own_load(bad), -100);
  dlclose(plugin2);
}

int main(int argc, char **argv)
{
  struct vmm_space *space;
  uint64_t at = 0x10000;
  char *base;

  if (argc != 3 || vmm_space_create(&space, NULL) != 0 ||
      vmm_map_anon(space, at, 0x10000, VMM_READ | VMM_WRITE) != 0)
    return 99;
  base = vmm_space_base(space);
  *(uint32_t *)(base + at) = 7;
  for (int round = 0; round < ROUNDS; round++)
    go_round(round, argv + 1, base + at, base);
  return vmm_space_destroy(space) != 0;
}
