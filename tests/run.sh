#!/bin/sh
# Runs every test program below $BUILD/tests and the scripts beside this one,
# and adds up what they say. Ends with "N passed, N failed".
#
# Test programs use cmocka; each test of theirs counts. Real MNIST and
# CIFAR-10 are used where SOMA_TEST_DATA, data/ or ../shared/data has them.
#
# TEST_JOBS=n runs so many programs at once; with --one PROGRAM it runs that one
# and leaves "PASSED FAILED" in PROGRAM.counts.
set -u
self=$(realpath "$0")
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build/gcc}
passed=0
failed=0
export SOMA="$build/soma"
export SOMA_MODELS=models
export SOMA_PRELOAD="$build/tests/crash/faults.so"
export SOMA_SHIM_LIBRARY="$build/tests/faults/shim.so"

# What the sanitizers find must fail the test that found it.
export ASAN_OPTIONS=abort_on_error=0:exitcode=99:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS="exitcode=99:halt_on_error=0:suppressions=$PWD/tests/tsan.supp"

# A program's tests as cmocka counts them; if it dies, one failure more. What it
# says is one write, so that programs side by side do not mix their lines.
program() {
    name=$(basename "$1")
    start=$(date +%s)
    log=$1.log
    timeout 900 "$1" >"$log" 2>&1
    code=$?
    good=$(sed -n 's/.*\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -n1)
    bad=$(sed -n 's/.*\[  FAILED  \] \([0-9]*\) test(s), .*/\1/p;s/.*\[  FAILED  \] .* \([0-9]*\) test(s).*/\1/p' "$log" | tail -n1)
    good=${good:-0}
    bad=${bad:-0}
    if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    {
        if [ "$code" -eq 0 ] && [ "$good" -eq 0 ]; then
            echo "$name: ran no test"
            bad=1
        fi
        echo "$name: $good passed, $bad failed ($(($(date +%s) - start)) s)"
        grep -E 'NOT TESTED|, 0 lost' "$log"
        [ "$bad" -eq 0 ] || cat "$log"
    } >"$1.report"
    cat "$1.report"
    echo "$good $bad" >"$1.counts"
}

if [ "${1:-}" = --one ]; then
    program "$2"
    exit 0
fi

if [ -z "${SOMA_TEST_DATA:-}" ]; then
    if [ -d data/mnist ] && [ -d data/cifar10 ]; then
        SOMA_TEST_DATA=$PWD/data
    elif [ -f ../shared/data/cifar10.tar.xz ]; then
        sh models/fetch-data.sh ../shared/data && SOMA_TEST_DATA=$PWD/data
    fi
fi
if [ -n "${SOMA_TEST_DATA:-}" ]; then
    export SOMA_TEST_DATA
    echo "MNIST and CIFAR-10: $SOMA_TEST_DATA"
else
    echo "MNIST and CIFAR-10 are not here (make data): their tests say NOT TESTED"
fi

script() {
    if sh "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$1: failed"
    fi
}

# A script that counts its own: it ends with "N passed, N failed".
counted() {
    log=$build/tests/$(basename "$1").log
    sh "$@" >"$log" 2>&1
    code=$?
    counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n1)
    good=${counts%% passed*}
    bad=${counts#*passed, }
    bad=${bad%% failed*}
    [ "$code" -eq 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-1}))
    echo "$(basename "$1"): ${good:-0} passed, ${bad:-1} failed"
    [ "$code" -eq 0 ] || cat "$log"
}

programs=
for test in "$build"/tests/unit/test_* "$build"/tests/http/test_* \
    "$build"/tests/crash/test_* "$build"/tests/replicas/test_* \
    "$build"/tests/faults/test_* "$build"/tests/simulation/test_*; do
    case $test in *.o | *.d | *.log | *.report | *.counts) continue ;; esac
    [ -x "$test" ] || continue
    rm -f "$test.counts"
    programs="$programs $test"
done
# shellcheck disable=SC2086
printf '%s\n' $programs |
    xargs -P "${TEST_JOBS:-1}" -n 1 sh "$self" --one
for test in $programs; do
    if read -r good bad 2>/dev/null <"$test.counts"; then
        passed=$((passed + good))
        failed=$((failed + bad))
    else
        failed=$((failed + 1))
        echo "$test: left no counts"
    fi
done
# The fuzz targets over their corpora.
for target in "$build"/tests/fuzz/fuzz_*; do
    case $target in *.o | *.d | *.log) continue ;; esac
    [ -x "$target" ] || continue
    name=$(basename "$target")
    if "$target" "tests/fuzz/corpus/${name#fuzz_}" >"$target.log" 2>&1; then
        passed=$((passed + 1))
        echo "$name: $(cat "$target.log")"
    else
        failed=$((failed + 1))
        echo "$name: failed"
        cat "$target.log"
    fi
done
script tests/layers.sh "$build"
script tests/hardened.sh "$build"
counted tests/cli.sh "$build"
script tests/readme.sh "$build"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
