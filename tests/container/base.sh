#!/bin/sh
# Makes the base image of docker/Dockerfile where no registry can be reached:
# a minimal Debian by debootstrap from the mirror that this machine's apt
# uses, under the name that the Dockerfile asks for. Nothing is done if an
# image of that name is there.
set -eu
cd "$(dirname "$0")/../.."
image=$(sed -n 's/^FROM \([^ ]*\) AS build$/\1/p' docker/Dockerfile)
suite=${image#debian:}
suite=${suite%-slim}

docker image inspect "$image" >/dev/null 2>&1 && exit 0
sh tests/install.sh debootstrap
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
    grep -m1 '/debian/\?$' || true)
[ -n "$mirror" ] || { echo "base.sh: apt names no Debian mirror" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    exit 1
}
rm -f "$root.log"
tar -C "$root" -c . | docker import - "$image" >/dev/null
echo "made $image"
