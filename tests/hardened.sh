#!/bin/sh
# What the Makefile's HARDEN promises, looked up in the program: a position
# that is not fixed, relocations that are read-only once it runs, no stack that
# can be executed, stack protector, fortified libc calls, and on x86-64 marks
# for indirect branches. Prints what is missing and fails.
# Usage: hardened.sh BUILD_FOLDER
set -u
program=$1/soma
bad=0

missing() {
    echo "hardened.sh: $program: $*"
    bad=1
}

headers=$(readelf -W -hld "$program") || exit 1
symbols=$(readelf -W --dyn-syms "$program")
has() {
    echo "$1" | grep -qE "$2"
}

has "$headers" 'Type: +DYN' || missing 'not position independent'
has "$headers" 'FLAGS_1.*PIE' || missing 'no PIE'
has "$headers" 'GNU_RELRO' || missing 'no RELRO'
has "$headers" 'FLAGS.*(BIND_NOW|NOW)' || missing 'binds lazily'
has "$headers" 'GNU_STACK.* RW +0x' || missing 'its stack can be executed'
has "$headers" 'TEXTREL' && missing 'text relocations'
has "$symbols" '__stack_chk_fail' || missing 'no stack protector'
case $1 in
*-address* | *-thread*) ;;
*)
    has "$symbols" '__(mem|str|snprintf|vsnprintf|fprintf)[a-z]*_chk' ||
        missing 'no fortified call'
    if [ "$(uname -m)" = x86_64 ]; then
        # endbr64, more often than the startup files have it. (The note that
        # would say so is lost where those lack it, as Debian 12's do.)
        marks=$(LC_ALL=C grep -aoP '\xf3\x0f\x1e\xfa' "$program" | wc -l)
        [ "$marks" -gt 100 ] || missing 'no marks for indirect branches'
    fi
    # gcc notes its options beside the debugging information.
    options=$(readelf -W -p .debug_str "$program" | grep 'GNU C11')
    [ -z "$options" ] || has "$options" 'fstack-clash-protection' ||
        missing 'no protection against stack clashes'
    ;;
esac

[ "$bad" = 0 ] && echo "hardened: as it should be"
exit $bad
