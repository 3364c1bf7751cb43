#!/bin/sh
# The clients of other servers, from PyPI, against soma. Usage:
# run.sh BUILD_FOLDER VIRTUAL_ENVIRONMENT. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")" || exit 1
root=$(cd ../.. && pwd)
export BUILD="$1"
venv=$root/$2
passed=0
failed=0

export PERF_ANALYZER="$venv/perf/bin/perf_analyzer"
LD_LIBRARY_PATH=$venv/perf/nvidia/cuda_runtime/lib
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for test in test_*.py; do
    library=
    [ "$test" != test_perf_analyzer.py ] || library=$LD_LIBRARY_PATH
    LD_LIBRARY_PATH=$library timeout 600 "$venv/bin/python" -m unittest -v \
        "${test%.py}" >"$log" 2>&1
    code=$?
    count=$(sed -n 's/^Ran \([0-9]*\) tests* in .*/\1/p' "$log")
    bad=$(sed -n 's/^FAILED (\(.*\))/\1/p' "$log" | tr -cs '0-9\n' '+' |
        sed 's/^+//;s/+$//')
    bad=$((${bad:-0}))
    [ "$code" = 0 ] || [ "$bad" != 0 ] || bad=1
    [ "${count:-0}" -gt 0 ] || bad=1
    good=$((${count:-0} - bad))
    [ "$good" -ge 0 ] || good=0
    echo "$test: $good passed, $bad failed"
    [ "$bad" = 0 ] || cat "$log"
    passed=$((passed + good))
    failed=$((failed + bad))
done
"$venv/bin/pip" list 2>/dev/null | grep -E '^(tritonclient|kserve) '
"$PERF_ANALYZER" --version 2>/dev/null || LD_LIBRARY_PATH=$LD_LIBRARY_PATH "$PERF_ANALYZER" --version
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
