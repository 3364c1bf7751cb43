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

# gcc's analyzer: double frees, leaks, uses after free, NULL, files left open,
# values never set, jumps out of signal handlers... It sees one file at a time,
# and loses what is in a struct behind a pointer. So off is, file by file, what
# was looked at and is wrong: a malloc'ed pointer that was stored in the
# caller's struct is no leak; a pointer is there by what the caller has looked
# at, or by another field of its struct. LeakSanitizer and tests of failing
# allocations watch those.
stored="core/io/classes.c core/io/dataset_cifar10.c core/io/dataset_folder.c
core/io/onnx_layers.c core/io/safetensors.c server/engine/fit_team.c
server/engine/journal_memory.c server/engine/metrics_models.c
server/engine/redis_address.c"
there="core/io/checkpoint.c core/io/onnx_affine.c core/io/onnx_fold.c
core/io/onnx_graph.c core/io/onnx_input.c core/io/onnx_layers.c core/sgd.c
server/engine/journal_sqlite_records.c server/engine/trainer_learn.c
server/options.c server/web/api_models.c"
given="server/engine/redis.c server/web/api_train.c server/web/document.c"
for file in $code; do
    off=
    case " $(echo $stored) " in *" $file "*)
        off="$off -Wno-analyzer-malloc-leak" ;;
    esac
    case " $(echo $there) " in *" $file "*)
        off="$off -Wno-analyzer-null-dereference" ;;
    esac
    case " $(echo $given) " in *" $file "*)
        off="$off -Wno-analyzer-null-argument" ;;
    esac
    # That one defines what the header has macros for.
    [ "$file" = core/status.c ] || off="$off -include tests/analyzer.h"
    echo "$off $file"
done | xargs -P2 -L1 gcc -std=gnu11 ${CPPFLAGS:-} -O1 -Werror -fanalyzer \
    -c -o /dev/null || bad=1
git ls-files '*.sh' .ci/run | xargs shellcheck -S warning || bad=1
sh tests/layers.sh "${BUILD:-build/gcc}" || bad=1
exit $bad
