#!/bin/sh
# Runs the tests of this folder, with tools from Debian and from PyPI, against
# the real program: run.sh PYTHON. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
python=$1
passed=0
failed=0
for test in tests/tools/test_*.py; do
    echo "-- $test"
    log=build/$(basename "$test").log
    timeout 240 "$python" "$test" >"$log" 2>&1
    code=$?
    grep -vE '^[0-9]+ passed, [0-9]+ failed$' "$log"
    counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n1)
    bad=${counts#*passed, }
    bad=${bad%% failed*}
    [ "$code" -eq 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    good=${counts%% passed*}
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-1}))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
