# vmm-run --root DIR: no path of the guest leads out of DIR.
. "$top_srcdir/tests/tap.sh"

run=$top_builddir/vmm-run
cd "$work" || exit 99
mkdir -p jail/bin jail/sub/deep outside
cp "$top_srcdir/tests/guests/paths.elf" jail/bin/paths
echo inside >jail/file
echo secret >outside/secret
echo secret >secret
ln -s ../secret jail/up
ln -s "$work/secret" jail/absolute
ln -s ../../../secret jail/sub/deep/far
ln -s /file jail/sub/to-file
ln -s .. jail/sub/parent
ln -s "$work/outside" jail/folder
ln -s /proc/self/root/ jail/magic
mkdir jail/proc

# says LINE WORD PATH ...: the guest's output is that line, and none is "secret"
says() {
  line=$1
  shift
  timeout 60 "$run" --root jail /bin/paths "$@" >out 2>err
  cat out err
  echo "wanted: $line"
  [ "$(cat out)" = "$line" ]
}
lines() { printf '%s\n' "$@"; }

test_case "an absolute path begins in the root" says inside read /file
test_case "the guest starts in the root" says inside read file
test_case ".. stops at the root" says inside read /../../../../file
test_case "a relative .. stops at the root" says inside read ../../file
test_case "no file beside the root is reached by .." \
  says "error 2" read ../secret
test_case "a link with .. stays inside" says "error 2" read up
test_case "a deep link with .. stays inside" says "error 2" read sub/deep/far
test_case "an absolute link is the root's" says inside read sub/to-file
test_case "an absolute link to the outside is not there" \
  says "error 2" read absolute
test_case "a linked folder outside is not there" says "error 2" list folder
test_case "a file below it neither" says "error 2" read folder/secret
test_case "a new file below it neither" says "error 2" write folder/new
test_case "cd .. stays in the root" says "$(lines ok ok / inside)" \
  cd .. cd ../.. cwd . read file
test_case "cd works below" says "$(lines ok /sub/deep inside)" \
  cd sub/deep cwd . read ../../file
test_case "a link to a parent works below" says inside read sub/parent/file
test_case "a link is read as it is" says "../secret" link up
test_case "the program's own path is the root's" \
  says "/bin/paths" link /proc/self/exe
test_case "a new link to the outside leads nowhere" \
  says "$(lines ok 'error 2')" symlink new read new
rm -f jail/new
test_case "a dangling link to the outside creates nothing" \
  says "error 2" write absolute/x
no_file_outside() {
  says ok write up && [ "$(cat secret)" = secret ] && [ -f jail/secret ]
}
test_case "writing through a link with .. writes inside" no_file_outside
test_case "links of proc are not followed" says "error 2" read magic/etc/passwd
test_case "a file is made and removed" says "$(lines ok 'written' ok)" \
  write made read made remove made
test_case "a folder is made" says "$(lines ok ok)" mkdir made stat made
test_case ".. can't be removed" says "error 21" remove ..
test_case ".. can't be made" says "error 17" mkdir ..
test_case "a slash behind a link tells nothing of the outside" \
  says "$(lines 'error 2' 'error 2' 'error 2')" \
  link folder/ hard folder/ link absolute/
test_case "behind one to a folder it is that folder" \
  says "$(lines 'error 22' 'error 1' 'error 22')" \
  link sub/parent/ hard sub/parent/ link sub/

# with FILE LINE WORD PATH ...: FILE is its standard input, opened to be read
with() {
  input=$1
  shift
  says "$@" <"$input"
}
# A guest may do with a file from outside what its descriptor was opened for.
given_file() {
  timeout 60 "$run" --root jail /bin/paths fdcat 0 read /dev/stdin \
    <secret >out 2>err
  cat out err
  [ "$(cat out)" = secret ]
}
test_case "standard input is what was given" given_file
test_case "standard input is not shortened" with secret \
  "$(lines 'error 22' 'error 22' 'error 22')" \
  truncate /dev/stdin truncate /proc/self/fd/0 fdtruncate 0
shortened() {
  for word in "truncate /dev/fd/0" "fdtruncate 0"; do
    echo 123456 >outside/log
    # shellcheck disable=SC2086 # a word and its path
    says ok $word <>outside/log || return 1
    [ "$(wc -c <outside/log)" = 3 ] || return 1
  done
  rm outside/log
}
test_case "unless it was opened to be written" shortened
not_linked() {
  with secret "$(lines 'error 18' 'error 18' 'error 18')" \
    steal /dev/stdin steal /dev/fd/0 fdsteal 0 && [ ! -e jail/stolen ]
}
test_case "standard input is not linked to" not_linked
not_changed() {
  touch -d 2001-02-03 secret
  stat -c '%a %u %g %y' secret >before
  eperm='error 1'
  with secret "$(lines "$eperm" "$eperm" "$eperm" "$eperm" "$eperm" "$eperm")" \
    chmod /dev/stdin chown /dev/stdin touch /dev/stdin \
    fdchmod 0 fdchown 0 fdtouch 0 &&
    stat -c '%a %u %g %y' secret | diff before -
}
test_case "its mode, owner and times stay" not_changed
test_case "a folder from outside is not entered" with outside \
  "$(lines 'error 13' 'error 13' /)" cd /dev/stdin fdcd 0 cwd .
test_case "a folder of the root is" with jail/sub \
  "$(lines ok /sub ok)" cd /dev/stdin cwd . fdcd 0
of_the_root() {
  echo 123456 >jail/given
  says "$(lines ok ok ok ok ok ok ok ok)" \
    chmod /dev/stdin chown /dev/stdin touch /dev/stdin \
    fdchmod 0 fdchown 0 fdtouch 0 truncate /dev/stdin steal /dev/stdin \
    <>jail/given && [ "$(cat jail/stolen)" = 123 ]
}
test_case "a file of the root is the guest's to change" of_the_root
start_inside() {
  (cd jail/sub && timeout 60 "$run" --root .. /bin/paths cwd .) >out 2>err
  cat out err
  [ "$(cat out)" = /sub ]
}
test_case "the guest starts where it is called, inside" start_inside
test_case "the program is looked for in the root" \
  sh -c '"$0" --root jail "$1"; [ $? = 127 ]' "$run" "$work/jail/bin/paths"
untouched() {
  [ "$(cat secret)" = secret ] && [ "$(ls outside)" = secret ] &&
    [ "$(cat outside/secret)" = secret ]
}
test_case "nothing outside has changed" untouched

done_testing
