#!/bin/sh
# Valgrind's memcheck over the unit tests, and over the server beneath tests of
# its HTTP: valgrind.sh BUILD_FOLDER. A program passes where its tests do and
# nothing was read uninitialised, out of bounds, or lost. AVX-512 is unknown to
# Valgrind, so the kernels are those for AVX2. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
build=$1
passed=0
failed=0
checked="valgrind -q --error-exitcode=99 --leak-check=full
    --errors-for-leak-kinds=definite --show-leak-kinds=definite
    --num-callers=24 --suppressions=tests/valgrind.supp"
log=$(mktemp)
server=$(mktemp)
trap 'rm -f "$log" "$server"' EXIT
{
    echo '#!/bin/sh'
    # shellcheck disable=SC2086
    echo exec $checked "$build/soma" '"$@"'
} >"$server"
chmod +x "$server"
export SOMA_TEST_DATA="${SOMA_TEST_DATA:-$PWD/data}" SOMA_MODELS=models

run() {
    name=$1
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        tail -n 60 "$log"
    fi
}

# Those that only count, train for long or do the same thousands of times are
# left to the sanitizers.
for test in "$build"/tests/unit/test_*; do
    case $test in
    *.o | *.d | *.log | *.report | *.counts) continue ;;
    */test_streams | */test_progressive | */test_golden) continue ;;
    */test_invariance | */test_scarce_files | */test_scarce_journal) continue ;;
    esac
    # shellcheck disable=SC2086
    SOMA=$build/soma run "$(basename "$test")" $checked "$test"
done
for test in predict train errors durable oip tfs; do
    SOMA=$server run "soma below test_$test" "$build/tests/http/test_$test"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
