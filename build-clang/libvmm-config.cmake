# find_package(libvmm) gives the targets libvmm::vmm, libvmm::vmm-emu and,
# where it was built, libvmm::vmm-mmio.
# The tree may have been moved as a whole since it was configured.

get_filename_component(_vmm_libdir "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
file(RELATIVE_PATH _vmm_up "/usr/local/lib" "/usr/local/include")
get_filename_component(_vmm_include "${_vmm_libdir}/${_vmm_up}" ABSOLUTE)

find_package(Threads REQUIRED)

function(_vmm_target name needs)
  if(TARGET libvmm::${name})
    return()
  endif()
  find_library(_vmm_${name} NAMES ${name} PATHS "${_vmm_libdir}"
    NO_DEFAULT_PATH NO_CACHE NO_CMAKE_FIND_ROOT_PATH)
  if(NOT _vmm_${name})
    return()
  endif()
  add_library(libvmm::${name} UNKNOWN IMPORTED)
  set_target_properties(libvmm::${name} PROPERTIES
    IMPORTED_LOCATION "${_vmm_${name}}"
    INTERFACE_INCLUDE_DIRECTORIES "${_vmm_include}"
    INTERFACE_LINK_LIBRARIES "${needs}")
endfunction()

_vmm_target(vmm "Threads::Threads")
_vmm_target(vmm-emu "libvmm::vmm;m")
_vmm_target(vmm-mmio "libvmm::vmm;-lZydis")
if(NOT TARGET libvmm::vmm)
  set(libvmm_FOUND FALSE)
  set(libvmm_NOT_FOUND_MESSAGE "no library in ${_vmm_libdir}")
endif()
