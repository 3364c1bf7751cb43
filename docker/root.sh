#!/bin/sh
# Gathers the root of the image: root.sh PROGRAM ROOT
# The program, the dynamic loader, every library that ldd names (as a plain
# file, so that no alternatives' links are needed), the models, and a user
# without rights who owns /data.
set -eu
program=$1
root=$2

mkdir -p "$root/usr/bin" "$root/usr/share/soma/models" "$root/etc" \
    "$root/tmp" "$root/data"
cp "$program" "$root/usr/bin/soma"
strip "$root/usr/bin/soma"
ldd "$program" | sed -n 's,.*=> \(/[^ ]*\) .*,\1,p; s,^[[:space:]]*\(/[^ ]*\) (.*,\1,p' |
    sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    strip --strip-unneeded "$root$library" 2>/dev/null || true
done
cp models/*.safetensors LICENSE "$root/usr/share/soma/models/"
mv "$root/usr/share/soma/models/LICENSE" "$root/usr/share/soma/"
echo 'soma:x:65532:65532:soma:/data:/usr/bin/soma' >"$root/etc/passwd"
echo 'soma:x:65532:' >"$root/etc/group"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/data"
