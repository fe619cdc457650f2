# What `make install` gives is enough for a program in C or C++, linked shared or
# static, found by pkg-config or CMake.  Run by `make installcheck`, alone: an
# installation links the libraries anew in place.
. "$top_srcdir/tests/tap.sh"

root=$work/root
examples=$top_srcdir/examples
PKG_CONFIG_SYSROOT_DIR=$root
PKG_CONFIG_LIBDIR=$root$libdir/pkgconfig
PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
LD_LIBRARY_PATH=$root$libdir
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_LIBDIR PKG_CONFIG_ALLOW_SYSTEM_CFLAGS \
  PKG_CONFIG_ALLOW_SYSTEM_LIBS LD_LIBRARY_PATH

install_all() {
  "$MAKE" -C "$top_builddir" install DESTDIR="$root"
}

# prints_as EXAMPLE PROGRAM
prints_as() {
  "$2" >"$work/printed" && diff "$examples/$1.txt" "$work/printed"
}

shared_program() {
  # shellcheck disable=SC2046,SC2086 # lists of options
  $CC $CFLAGS "$examples/fastmem.c" -o "$work/shared" \
    $(pkg-config --cflags --libs libvmm) &&
    ldd "$work/shared" | grep "$root.*libvmm\.so" &&
    prints_as fastmem "$work/shared"
}

static_program() {
  # shellcheck disable=SC2046,SC2086
  $CC $CFLAGS -static "$examples/fastmem.c" -o "$work/static" \
    $(pkg-config --static --cflags --libs libvmm) &&
    ! ldd "$work/static" && prints_as fastmem "$work/static"
}

cxx_program() {
  cp "$examples/first.c" "$work/first.cc" || return 1
  # shellcheck disable=SC2046,SC2086
  $CXX $CFLAGS "$work/first.cc" -o "$work/cxx" \
    $(pkg-config --cflags --libs libvmm) && prints_as first "$work/cxx"
}

mmio_program() {
  # shellcheck disable=SC2046,SC2086
  $CC $CFLAGS "$examples/mmio.c" -o "$work/mmio" \
    $(pkg-config --cflags --libs libvmm-mmio) && prints_as mmio "$work/mmio"
}

# A program that knows nothing of libvmm loads a plugin that uses it, twice.
plugin() {
  cat >"$work/host.c" <<'END'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
  int (*run)(void), i;
  for (i = 0; i < argc; i++) {
    void *plugin = dlopen(argv[1], RTLD_NOW);
    if (plugin == NULL || !(run = (int (*)(void))dlsym(plugin, "run")) || run())
      return puts(dlerror()), 1;
    dlclose(plugin);
  }
  return 0;
}
END
  # shellcheck disable=SC2046,SC2086
  $CC $CFLAGS -Dmain=run -shared -fPIC "$examples/fastmem.c" \
    -o "$work/plugin.so" $(pkg-config --cflags --libs libvmm) &&
    $CC $CFLAGS "$work/host.c" -o "$work/host" -ldl &&
    "$work/host" "$work/plugin.so" >"$work/printed" &&
    cat "$examples/fastmem.txt" "$examples/fastmem.txt" | diff - "$work/printed"
}

emulator_source() {
  cat >"$work/emulator.c" <<'END'
#include <stdio.h>
#include <vmm/emu.h>
int main(void)
{
  static const unsigned char code[] = { 0x13, 0x05, 0xa0, 0x02, /* addi a0, 42 */
                                        0x73, 0, 0, 0 };        /* ecall */
  struct vmm_cpu_exit exit = { .struct_size = sizeof(exit) };
  struct vmm_space *space;
  struct vmm_cpu *cpu;

  if (vmm_space_create(&space, NULL) != 0 ||
      vmm_map_anon(space, 0x10000, 0x10000,
                   VMM_READ | VMM_WRITE | VMM_EXEC) != 0 ||
      vmm_copyout(space, 0x10000, code, sizeof(code), NULL) != 0 ||
      vmm_cpu_create(&cpu, space, NULL) != 0)
    return 1;
  vmm_cpu_set(cpu, VMM_RISCV_PC, 0x10000);
  if (vmm_cpu_run(cpu, 0, &exit) != 0 || exit.stop != VMM_CPU_ECALL)
    return 2;
  printf("a0 is %d\n", (int)vmm_cpu_get(cpu, 10));
  return 0;
}
END
}

emulator_program() {
  emulator_source
  # shellcheck disable=SC2046,SC2086
  $CC $CFLAGS $1 "$work/emulator.c" -o "$work/emulator" \
    $(pkg-config ${1:+--static} --cflags --libs libvmm-emu) &&
    [ "$("$work/emulator")" = "a0 is 42" ]
}

cmake_project() {
  emulator_source
  mkdir "$work/cmake"
  cat >"$work/cmake/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.10)
project(test C)
find_package(libvmm 0.1 REQUIRED)
add_executable(fastmem "${EXAMPLES}/fastmem.c")
target_link_libraries(fastmem libvmm::vmm)
add_executable(emulator "${WORK}/emulator.c")
target_link_libraries(emulator libvmm::vmm-emu)
END
  $CMAKE -S "$work/cmake" -B "$work/cmake/build" -DEXAMPLES="$examples" \
    -DWORK="$work" -DCMAKE_C_COMPILER="$CC" -DCMAKE_C_FLAGS="$CFLAGS" \
    -Dlibvmm_DIR="$root$libdir/cmake/libvmm" &&
    $CMAKE --build "$work/cmake/build" &&
    prints_as fastmem "$work/cmake/build/fastmem" &&
    [ "$("$work/cmake/build/emulator")" = "a0 is 42" ]
}

cmake_refuses_other_versions() {
  sed 's/find_package(libvmm 0.1/find_package(libvmm 0.2/' \
    "$work/cmake/CMakeLists.txt" >"$work/other.txt"
  mkdir "$work/other" && mv "$work/other.txt" "$work/other/CMakeLists.txt"
  ! $CMAKE -S "$work/other" -B "$work/other/build" -DCMAKE_C_COMPILER="$CC" \
    -Dlibvmm_DIR="$root$libdir/cmake/libvmm"
}

uninstall_all() {
  "$MAKE" -C "$top_builddir" uninstall DESTDIR="$root" &&
    [ -z "$(find "$root" ! -type d)" ]
}

test_case "make install DESTDIR" install_all
test_case "a program by pkg-config" shared_program
if [ -n "$SANITIZERS" ]; then
  echo "# sanitizers need a shared libc: no static programs"
elif [ -e "$root$libdir/libvmm.a" ]; then
  test_case "a static program by pkg-config --static" static_program
  test_case "a static program with the emulator" emulator_program -static
fi
test_case "a program with the emulator" emulator_program ''
test_case "a plugin, loaded twice" plugin
[ ! -e "$root$libdir/pkgconfig/libvmm-mmio.pc" ] ||
  test_case "a program with libvmm-mmio" mmio_program
have "a C++ program" "$CXX" && test_case "a C++ program" cxx_program
if have "a CMake project" "$CMAKE"; then
  test_case "a CMake project" cmake_project
  test_case "CMake refuses another version" cmake_refuses_other_versions
fi
test_case "make uninstall leaves nothing" uninstall_all

done_testing
