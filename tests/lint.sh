#!/bin/sh
# Layout, static analysis and layers; prints what is wrong and fails.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0
sources=$(git ls-files 'core/*.c' 'core/*.h' 'server/*.c' 'server/*.h' \
    'tests/*.c' 'tests/*.h')
code=$(git ls-files 'core/*.c' 'server/*.c')

# shellcheck disable=SC2086
clang-format --dry-run -Werror $sources || bad=1
# Suppressed are findings looked at and found wrong: memory that moves into a
# struct (memleak), a sum that is at least 1 (invalidFunctionArg), a loop left
# by break (nullPointerRedundantCheck), arrays filled by the loop before, a NULL
# behind variable arguments, which POSIX makes a pointer (varFuncNullUB).
# shellcheck disable=SC2086
cppcheck -q -j2 -I. --std=c11 --error-exitcode=1 --inline-suppr \
    --enable=warning,performance,portability \
    --suppress=missingIncludeSystem --suppress=unknownMacro \
    --suppress=varFuncNullUB --suppress=memleak --suppress=nullPointerRedundantCheck \
    --suppress=invalidFunctionArg:core/loss.c \
    --suppress=uninitvar:server/web/text.c \
    --suppress=uninitvar:server/web/decimal.c \
    $code || bad=1

# Of the analyzer's checks those are off that cannot see across functions that
# a pointer was set (NullDereference and its like) or a va_list started.
checks='-*,bugprone-*,clang-analyzer-*'
for off in bugprone-easily-swappable-parameters \
    bugprone-narrowing-conversions \
    bugprone-implicit-widening-of-multiplication-result \
    bugprone-suspicious-string-compare bugprone-reserved-identifier \
    bugprone-assignment-in-if-condition bugprone-branch-clone \
    bugprone-suspicious-memory-comparison bugprone-sizeof-expression bugprone-misplaced-widening-cast \
    'clang-analyzer-security.insecureAPI.*' 'clang-analyzer-valist.*' \
    clang-analyzer-optin.performance.Padding \
    clang-analyzer-core.NullDereference \
    clang-analyzer-core.NonNullParamChecker \
    clang-analyzer-core.UndefinedBinaryOperatorResult; do
    checks="$checks,-$off"
done
# shellcheck disable=SC2086
printf '%s\n' $code | xargs -P2 -n4 sh -c 'clang-tidy --quiet \
    --warnings-as-errors="*" --checks="$0" "$@" -- -std=gnu11 '"${CPPFLAGS:-}"' \
    2>/dev/null' "$checks" || bad=1

# gcc's analyzer: double frees, uses after free, files left open, values never
# set, jumps out of signal handlers... Off is what it gets wrong in every file,
# since it sees one at a time: a malloc'ed pointer that was stored in the
# caller's struct is no leak, and what soma_error_memory returns is not 0, so
# that no NULL gets past it. LeakSanitizer and tests of failing allocations
# watch those.
# shellcheck disable=SC2086
printf '%s\n' $code | xargs -P2 -n1 sh -c 'gcc -std=gnu11 '"${CPPFLAGS:-}"' \
    -O1 -Werror -fanalyzer -Wno-analyzer-malloc-leak \
    -Wno-analyzer-null-dereference -Wno-analyzer-possible-null-dereference \
    -Wno-analyzer-null-argument -Wno-analyzer-possible-null-argument \
    -c -o /dev/null "$0"' || bad=1
git ls-files '*.sh' .ci/run | xargs shellcheck -S warning || bad=1
sh tests/layers.sh "${BUILD:-build/gcc}" || bad=1
exit $bad
