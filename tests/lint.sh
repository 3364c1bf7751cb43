#!/bin/sh
# Layout, static analysis and layers; prints what is wrong and fails.
set -u
cd "$(dirname "$0")/.."
bad=0
sources=$(git ls-files 'core/*.c' 'core/*.h' 'server/*.c' 'server/*.h' \
    'tests/*.c' 'tests/*.h')
code=$(git ls-files 'core/*.c' 'server/*.c')

# shellcheck disable=SC2086
clang-format --dry-run -Werror $sources || bad=1
# shellcheck disable=SC2086
cppcheck -q -j2 -I. --std=c11 --error-exitcode=1 --inline-suppr \
    --enable=warning,performance,portability \
    --suppress=missingIncludeSystem --suppress=unknownMacro \
    --suppress=normalCheckLevelMaxBranches --suppress=memleak:core/io/dataset_*.c \
    $code || bad=1
checks='-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters'
checks="$checks,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result"
checks="$checks,-bugprone-suspicious-string-compare,-bugprone-reserved-identifier"
checks="$checks,-bugprone-assignment-in-if-condition,-bugprone-branch-clone"
checks="$checks,-clang-analyzer-security.insecureAPI.*"
# shellcheck disable=SC2086
printf '%s\n' $code | xargs -P2 -n4 sh -c 'clang-tidy --quiet \
    --warnings-as-errors="*" --checks="$0" "$@" -- -std=gnu11 '"${CPPFLAGS:-}"' \
    2>/dev/null' "$checks" || bad=1
git ls-files '*.sh' .ci/run | xargs shellcheck || bad=1
sh tests/layers.sh "${BUILD:-build/gcc}" || bad=1
exit $bad
