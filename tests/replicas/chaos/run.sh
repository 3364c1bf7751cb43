#!/bin/sh
# The checker against doctored histories, then things break for so long, then
# the checker against what really happened, doctored: run.sh SECONDS [SEED].
# Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../../.." || exit 1
here=tests/replicas/chaos
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

counted() {
    python3 "$@" >"$log" 2>&1
    code=$?
    grep -v '^ok: ' "$log"
    counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n1)
    good=${counts%% passed*}
    bad=${counts#*passed, }
    bad=${bad%% failed*}
    [ "$code" -eq 0 ] || [ "${bad:-0}" -gt 0 ] || bad=1
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-1}))
}

counted $here/doctor.py
if python3 $here/chaos.py "$@"; then
    passed=$((passed + 1))
    counted $here/doctor.py build/chaos/history.jsonl
else
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
