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
if timeout 120 docker pull -q "$image" >/dev/null 2>&1; then
    echo "pulled $image"
    exit 0
fi
sh tests/install.sh debootstrap
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(LABEL) $(SITE)' \
    'Created-By: Packages' | sed -n 's/^Debian //p' | head -n1)
[ -n "$mirror" ] || { echo "base.sh: apt names no Debian mirror" >&2; exit 1; }
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
work=$(mktemp -d)
trap '$sudo rm -rf "$work"' EXIT
$sudo debootstrap --variant=minbase "$suite" "$work/root" "$mirror" \
    >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    exit 1
}
# Where the mirror is a copy of some day, this machine's apt is told to bear with
# that; the image's has to be, too.
apt-config dump Acquire::Check-Valid-Until |
    $sudo tee "$work/root/etc/apt/apt.conf.d/90valid-until" >/dev/null
$sudo tar -C "$work/root" -c . | docker import - "$image" >/dev/null
echo "made $image"
