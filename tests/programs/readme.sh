# README's first program is examples/first.c, and it compiles and runs as it
# stands there, as C and as C++.
. "$top_srcdir/tests/tap.sh"

# The first ```c block.
sed -n '/^```c$/,/^```$/{/^```/d;p;}' "$top_srcdir/README" >"$work/readme.c"
cp "$work/readme.c" "$work/readme.cc"

same_as_example() {
  sed '1,/^ \*\/$/d' "$top_srcdir/examples/first.c" | diff - "$work/readme.c"
}

runs() {
  compile_with_libvmm "$1" "$2" "$work/readme" &&
    [ "$("$work/readme")" = hello ]
}

# Each command that README shows is one that bootstrap knows.
commands() {
  for command in demo check; do
    grep -qF "./bootstrap $command" "$top_srcdir/README" || return 1
  done
}

test_case "README's first program is examples/first.c" same_as_example
test_case "it runs as C" runs "$CC" "$work/readme.c"
have "it runs as C++" "$CXX" &&
  test_case "it runs as C++" runs "$CXX" "$work/readme.cc"
test_case "README names the two commands" commands

done_testing
