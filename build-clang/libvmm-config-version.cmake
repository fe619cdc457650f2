set(PACKAGE_VERSION "0.1.0")
# Before 1.0 a minor version may change the interface.
string(REGEX MATCH "^[0-9]+\\.[0-9]+" _vmm_minor "${PACKAGE_VERSION}")
string(REGEX MATCH "^[0-9]+\\.[0-9]+" _vmm_wanted
  "${PACKAGE_FIND_VERSION}.0")
if(_vmm_minor STREQUAL _vmm_wanted AND
   NOT PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
else()
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
endif()
