#!/usr/bin/env bash
# Sets up what `make demo` and `make test` need: Debian libraries, .venv, the versions of constraints.txt.
# `tools/bootstrap.sh newest` does the same for `make test-newest`: .venv-newest, the versions of constraints-newest.txt.
# Does nothing, in milliseconds, when that was done before; finishes what an interrupted run left half done.
# PYTHON=/path/to/python3 chooses the interpreter of a new environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'bootstrap: %s\n' "$*"; }
fail() { printf 'bootstrap: error: %s\n' "$*" >&2; exit 1; }

case "$*" in
    "") venv=.venv constraints=constraints.txt pythons="3.11 3.12" ;;  # no wheel of numpy 1.26 for 3.13
    newest) venv=.venv-newest constraints=constraints-newest.txt pythons="3.11 3.12 3.13" ;;
    *) fail "there is no set of pins called '$*'. Usage: tools/bootstrap.sh [newest]" ;;
esac
stamp=$venv/.robolearn-stamp
log=$venv/bootstrap.log

fingerprint() {  # of everything that decides what is installed; a moved .venv has wrong paths inside
    { pwd; cat $constraints setup.py pyproject.toml tools/bootstrap.sh; grep '^version' $venv/pyvenv.cfg; } | sha256sum
}
is_set_up() { [ -f $stamp ] && [ "$(cat $stamp)" = "$(fingerprint 2>/dev/null)" ]; }

is_set_up && exit 0
# one at a time; whoever waited finds the work done
if command -v flock >/dev/null; then
    exec 9<tools
    flock 9
    is_set_up && exit 0
fi

find_python() {  # both sets of pins are resolved for 3.11, which is therefore asked first
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3 python3.12 python3.13; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv)' \
            $pythons 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}
python=$(find_python) || fail "$constraints needs Python ${pythons// / or }, which was not found. Install it, or set PYTHON=/path/to/python3.11."

# --- Debian packages: library or header -> package ----------------------------------------------------------
libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true)
has_library() { grep -q "$1" <<<"$libraries"; }
can_build() {  # evdev (robosuite -> pynput -> evdev) has no wheel: it needs a compiler, kernel and Python headers
    local include
    grep -q '^evdev==' $constraints || return 0
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    # no pipe: under pipefail a compiler that ends before it has read all would count as missing
    cc -E -I"$include" - >/dev/null 2>&1 <<<$'#include <linux/input.h>\n#include <Python.h>'
}
needed=() wanted=()
"$python" -c 'import ensurepip' 2>/dev/null || needed+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
can_build || needed+=(gcc libc6-dev linux-libc-dev "libpython$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev")
while read -r library package; do
    has_library "$library" || wanted+=("$package")
done <<'LIBRARIES'
libOSMesa.so libosmesa6
libEGL.so.1 libegl1
libGL.so.1 libgl1
libusb-1.0.so.0 libusb-1.0-0
libgthread-2.0.so.0 libglib2.0-0
libXcursor.so.1 libxcursor1
libXrandr.so.2 libxrandr2
libXinerama.so.1 libxinerama1
libXi.so.6 libxi6
LIBRARIES
command -v Xvfb >/dev/null || wanted+=(xvfb)  # the viewer's test only
command -v chromium >/dev/null || wanted+=(chromium)  # the test of `robolearn dataset view` only
command -v strace >/dev/null || wanted+=(strace)  # the simulated power cut only

if [ $((${#needed[@]} + ${#wanted[@]})) -gt 0 ]; then
    packages="${needed[*]} ${wanted[*]}"
    line="apt-get update && apt-get install -y --no-install-recommends $(echo $packages)"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing Debian packages: $(echo $packages)"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages; } \
            >/tmp/robolearn-apt.log 2>&1 </dev/null || { tail -n 5 /tmp/robolearn-apt.log >&2; say "that failed; by hand: $line"; }
    else
        say "system packages are missing. As root, run: $line"
    fi
    "$python" -c 'import ensurepip' 2>/dev/null && can_build || fail "cannot go on without: ${needed[*]}"
fi

# --- the virtual environment --------------------------------------------------------------------------------
if ! $venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear $venv
fi
rm -f $stamp

install() {
    $venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off -c $constraints "$@" \
        >$log 2>&1 </dev/null || { tail -n 20 $log >&2; fail "pip install $* failed; all of its output is in $log"; }
}
pin() { grep "^$1==" $constraints; }
# what is installed stands in the line that $constraints shows for doing it by hand
project=$(sed -n "s/^# .* -c $constraints -e '\(\.\[.*\]\)'$/\1/p" $constraints)
[ -n "$project" ] || fail "$constraints has no line '#  pip install -c $constraints -e ...' that says which extras it holds"
torch=$(pin torch)  # before anything that asks for a range
say "1/3 installing $torch (about a minute)"
install "$torch" "$(pin setuptools)"
say "2/3 installing robolearn and the packages of $constraints (a few minutes)"
install -e "$project"
say "3/3 robot models (157 MB once where robosuite is not installed)"
$venv/bin/python -m robolearn.kinematics.prefetch >>$log 2>&1 </dev/null \
    || { tail -n 3 $log >&2; say "that failed; a scene that needs a model takes it when it is first made"; }
fingerprint >$stamp.new
mv $stamp.new $stamp
say "done; $venv/bin/robolearn doctor shows what is there"
