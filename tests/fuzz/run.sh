#!/bin/sh
# Runs the libFuzzer targets and prints what came of it, a row each:
#
#     run.sh FOLDER SECONDS TARGET...
#
# FOLDER has the programs libfuzzer_TARGET. SECONDS are those of each; as many
# run at once as there are processors. What is new goes to build/fuzz/TARGET/,
# what fails to build/fuzz/TARGET-crash-... (-oom-, -timeout-, -leak-): mend it,
# then add that file to corpus/TARGET/. Fails if anything was found.
#
# SEED=n makes a run that can be repeated. An allocation of more than 320 MB
# (a picture of the largest size takes 280), 1 GB in all, or 20 s for one input
# is a finding, whatever the input.
set -u
self=$(realpath "$0")
cd "$(dirname "$0")/../.." || exit 1

one() {
    folder=$1 seconds=$2 name=$3
    work=build/fuzz/$name
    mkdir -p "$work"
    "$folder/libfuzzer_$name" -artifact_prefix="$work-" \
        -max_total_time="$seconds" -seed="${SEED:-0}" -max_len=8192 \
        -malloc_limit_mb=320 -rss_limit_mb=1024 -timeout=20 \
        -print_final_stats=1 "$work" "tests/fuzz/corpus/$name" \
        >"$work.log" 2>&1
    code=$?
    done=$(grep 'cov: ' "$work.log" | tail -n1)
    cov=$(echo "$done" | sed 's/.*cov: \([0-9]*\).*/\1/')
    ft=$(echo "$done" | sed 's/.*ft: \([0-9]*\).*/\1/')
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work.log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$work.log")
    found=none
    if [ "$code" -ne 0 ]; then
        found=$(sed -n 's/.*Test unit written to //p' "$work.log" | tail -n1)
        found=${found:-"exit code $code"}
    fi
    printf '%-14s %12s %7s %7s %8s   %s\n' "$name" "${runs:-?}" "${cov:-?}" \
        "${ft:-?}" "${peak:-?}" "$found"
    [ "$code" -eq 0 ] || grep -E 'SUMMARY|runtime error|^    #[0-9]+ .*(core|server|tests)/' \
        "$work.log" | head -n 12
    return "$code"
}

if [ "$1" = --one ]; then
    one "$2" "$3" "$4"
    exit
fi
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}"
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
folder=$1 seconds=$2
shift 2
echo "$seconds s for each target"
printf '%-14s %12s %7s %7s %8s   %s\n' target executions cov ft 'peak MB' finding
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 sh "$self" --one "$folder" "$seconds"
