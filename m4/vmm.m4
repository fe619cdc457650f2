# libvmm's own configure macros: its options, and the look-ups whose results end
# in the summary that configure prints.

# VMM_SUMMARIZE(NAME, RESULT): a line of the summary.
AC_DEFUN([VMM_SUMMARIZE], [vmm_summary="$vmm_summary
  $(printf '%-26s %s' '$1' "$2")"])

# VMM_FIND_TOOL(VARIABLE, PROGRAMS, WITHOUT): substitutes the first of PROGRAMS
# that is there, or nothing.  Says in the summary what is missed without it.
AC_DEFUN([VMM_FIND_TOOL], [
  AC_CHECK_PROGS([$1], [$2])
  AC_ARG_VAR([$1], [one of: $2; used by the tests])
  AS_IF([test -n "$$1"], [vmm_found="$$1"], [vmm_found="not found: $3"])
  VMM_SUMMARIZE(m4_bpatsubst([$2], [ .*]), [$vmm_found])])

# VMM_FIND_LIBRARY(NAME, TAG, TESTS, WITHOUT): vmm_have_TAG is yes if TESTS set
# TAG_LIBS.
AC_DEFUN([VMM_FIND_LIBRARY], [
  $3
  AS_IF([test -n "$$2_LIBS"],
    [vmm_have_$2=yes vmm_found="found"],
    [vmm_have_$2=no vmm_found="not found: $4"])
  VMM_SUMMARIZE([$1], [$vmm_found])])

# --enable-werror
AC_DEFUN([VMM_ARG_WERROR], [
  AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror],
    [a warning is an error])], [], [enable_werror=no])
  AS_IF([test "x$enable_werror" = xyes],
    [AC_SUBST([WERROR_CFLAGS], [-Werror]) vmm_werror="errors"],
    [vmm_werror="shown"])])

# --enable-assert=no|cheap|full
AC_DEFUN([VMM_ARG_ASSERT], [
  AC_ARG_ENABLE([assert], [AS_HELP_STRING([--enable-assert=LEVEL],
    [no, cheap (the default) or full: scans of whole structures])],
    [vmm_assert=$enableval], [vmm_assert=cheap])
  AS_CASE([$vmm_assert],
    [no], [ASSERT_LEVEL=0],
    [cheap|yes], [ASSERT_LEVEL=1],
    [full], [ASSERT_LEVEL=2],
    [AC_MSG_ERROR([--enable-assert: no, cheap or full])])
  AC_SUBST([ASSERT_LEVEL])])

# --enable-sanitizers=address,undefined,thread
AC_DEFUN([VMM_ARG_SANITIZERS], [
  AC_ARG_ENABLE([sanitizers], [AS_HELP_STRING([--enable-sanitizers=LIST],
    [as for -fsanitize: address,undefined or thread])],
    [vmm_sanitizers=$enableval], [vmm_sanitizers=])
  AS_IF([test "x$vmm_sanitizers" = xno], [vmm_sanitizers=])
  AS_IF([test -n "$vmm_sanitizers"], [
    SANITIZE_CFLAGS="-fsanitize=$vmm_sanitizers -fno-sanitize-recover=all"
    vmm_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS $SANITIZE_CFLAGS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM()], [],
      [AC_MSG_ERROR([$CC has no -fsanitize=$vmm_sanitizers])])
    CFLAGS=$vmm_saved_CFLAGS])
  AC_SUBST([SANITIZE_CFLAGS])
  AC_SUBST([SANITIZERS], [$vmm_sanitizers])])

# Whether the linker takes a version script; without one, names alone decide.
AC_DEFUN([VMM_VERSION_SCRIPT], [
  AC_CACHE_CHECK([for -Wl,--version-script], [vmm_cv_version_script], [
    echo 'V { global: main; local: *; };' >conftest.map
    vmm_saved_LDFLAGS=$LDFLAGS
    LDFLAGS="$LDFLAGS -Wl,--version-script=conftest.map"
    AC_LINK_IFELSE([AC_LANG_PROGRAM()],
      [vmm_cv_version_script=yes], [vmm_cv_version_script=no])
    LDFLAGS=$vmm_saved_LDFLAGS
    rm -f conftest.map])
  AM_CONDITIONAL([HAVE_VERSION_SCRIPT],
    [test "x$vmm_cv_version_script" = xyes])])

# --with-zydis: sets ZYDIS_LIBS where the decoder is wanted and there, for x86-64.
AC_DEFUN([VMM_CHECK_ZYDIS], [
  AC_ARG_WITH([zydis], [AS_HELP_STRING([--with-zydis],
    [build libvmm-mmio (the default where Zydis 4 is found)])],
    [], [with_zydis=check])
  AS_CASE([$with_zydis:$host_cpu], [no:*], [], [*:x86_64],
    [AC_CHECK_HEADER([Zydis/Zydis.h],
      [AC_CHECK_LIB([Zydis], [ZydisDecoderDecodeFull],
        [AC_SUBST([ZYDIS_LIBS], [-lZydis])])])])
  AS_IF([test "x$with_zydis" = xyes && test -z "$ZYDIS_LIBS"],
    [AC_MSG_ERROR([--with-zydis: it is not there])])])
