#!/usr/bin/env bash
# tools/test.sh PYTHON all|fast [arguments of pytest]
# all:  first what needs no real time, on all cores (JOBS=n: on n; JOBS=0: in one process), then the tests marked
#       `realtime`, one after the other. Fails when either half fails, or when neither has a test to run.
# fast: the first half without the tests marked `slow`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${2:-}" in all | fast) ;; *) echo "error: expected: tools/test.sh PYTHON all|fast [arguments of pytest]" >&2; exit 2 ;; esac
python=$1 what=$2
shift 2
# a process takes 20 s of imports and 1 GB: more than 8 do not pay
if [ -n "${JOBS:-}" ]; then cores=(-n "$JOBS"); else cores=(-n auto --maxprocesses 8); fi
cores+=(--dist worksteal)
NO_TESTS=5  # pytest's exit status; 2 to 4 are an interrupt and errors that the other half would only repeat

run() { printf '\n== %s\n' "$1"; shift; "$python" -m pytest "$@"; }

if [ "$what" = fast ]; then
    run "fast tests" "${cores[@]}" --part fast "$@"
    exit
fi
run "tests that need no real time, on all cores" "${cores[@]}" --part parallel "$@"
parallel=$?
case $parallel in [234]) exit $parallel ;; esac
run "tests in real time, one after the other" --part alone "$@"
alone=$?

verdict() { case $1 in 0) echo passed ;; $NO_TESTS) echo "no tests" ;; *) echo "FAILED (exit status $1)" ;; esac; }
printf '\nno real time: %s; real time: %s\n' "$(verdict $parallel)" "$(verdict $alone)"
[ $parallel != $NO_TESTS ] || [ $alone != $NO_TESTS ] || exit $NO_TESTS
[ $parallel = 0 ] || [ $parallel = $NO_TESTS ] || exit $parallel
[ $alone = 0 ] || [ $alone = $NO_TESTS ] || exit $alone
