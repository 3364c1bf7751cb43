#!/bin/sh
# The dependency direction, by the #include lines:
#
#     core <- core/io <- server/engine <- server/web <- server
#
# and what else CONTRIBUTING.md promises of the tree. Prints each violation.
# Usage: layers.sh [BUILD_FOLDER], whose libsoma.a's symbols are checked.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build/gcc}
bad=0

violation() {
    echo "layers.sh: $*"
    bad=1
}

# forbid FILES PATTERN WHY: no include of PATTERN in FILES
forbid() {
    # shellcheck disable=SC2086
    found=$(grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" $1 /dev/null)
    [ -z "$found" ] || violation "$3:
$found"
}

# only HEADER FILE...: HEADER is included nowhere else
only() {
    header=$1
    shift
    for file in $(grep -rlE --include='*.[ch]' "#include <$header>" core server); do
        case " $* " in
        *" $file "*) ;;
        *) violation "$file includes $header; only $* may" ;;
        esac
    done
}

core=$(find core -maxdepth 1 -name '*.[ch]')
io=$(find core/io -name '*.[ch]')
engine=$(find server/engine -name '*.[ch]')
web=$(find server/web -name '*.[ch]')
system='pthread|unistd|fcntl|sys/|netinet|jansson|microhttpd|sqlite3|time\.h|stdio_ext|dirent'

forbid "$core" 'core/io/|server/' 'core knows only core'
forbid "$core" "$system" 'core knows no files, threads, clocks or JSON'
forbid "$io" 'server/' 'core/io knows only core'
forbid "$io" 'pthread|microhttpd|sqlite3|netinet|sys/socket' 'core/io knows no threads or HTTP'
forbid "$engine" 'server/web/|server/[a-z_]*\.h' 'server/engine knows only core'
forbid "$engine" 'jansson|microhttpd|netinet' 'server/engine knows no HTTP or JSON'
forbid "$web" 'server/[a-z_]*\.h' 'server/web knows only core and engine'
forbid "$web" 'sqlite3|hiredis|cblas' 'server/web knows no SQL'

only cblas.h core/matrix.c
# shellcheck disable=SC2046
only microhttpd.h $(echo server/web/http*.[ch])
only gnutls/gnutls.h server/web/tls.c server/engine/redis_tls.c server/cmd_health.c
only gnutls/abstract.h server/web/tls.c
only sqlite3.h server/engine/sql.c
only hiredis/hiredis.h server/engine/redis.h
only png.h core/io/picture_png.c
only unzip.h core/io/npz.c
only protobuf-c/protobuf-c.h
only turbojpeg.h core/io/picture_jpeg.c

# Every file that people write; data that programs make (*.inc) is not meant.
written=$(git ls-files '*.c' '*.h' '*.js' '*.py' '*.sh' 2>/dev/null) ||
    written=$(find core server tests models -name '*.[ch]' -o -name '*.js' \
        -o -name '*.py' -o -name '*.sh')
for file in $written; do
    [ -f "$file" ] || continue # removed, and not yet committed
    lines=$(wc -l <"$file")
    [ "$lines" -le 500 ] ||
        violation "$file has $lines lines: at most 500, one subject a file"
done

if [ -f "$build/libsoma.a" ]; then
    names=$(nm -g --defined-only "$build/libsoma.a" 2>/dev/null |
        awk 'NF == 3 { print $3 }' |
        grep -vE '^(soma_|__|_GLOBAL_|\.|asan|DW\.ref)' | sort -u)
    [ -z "$names" ] || violation "external symbols without soma_:
$names"
else
    violation "$build/libsoma.a is not there: build first"
fi

[ "$bad" = 0 ] && echo "layers: as they should be"
exit $bad
