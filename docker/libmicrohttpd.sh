#!/bin/sh
# Lets apt take libmicrohttpd, and nothing else, from the Debian release to come:
# the stable one's (1.0.1) takes some messages that HTTP forbids, and may leave a
# connection asleep that was resumed. soma bears with both; an image need not.
set -eu
release=forky
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(LABEL) $(SITE)' \
    'Created-By: Packages' | sed -n 's/^Debian //p' | head -n1)
[ -n "$mirror" ] || {
    echo "libmicrohttpd.sh: apt names no Debian mirror" >&2
    exit 1
}
echo "deb $mirror $release main" >/etc/apt/sources.list.d/$release.list
cat >/etc/apt/preferences.d/$release <<EOF
Package: *
Pin: release n=$release
Pin-Priority: -1

Package: libmicrohttpd*
Pin: release n=$release
Pin-Priority: 990
EOF
apt-get update
