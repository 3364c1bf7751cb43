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
libraries=$(ldd "$program")
case $libraries in
*"not found"*)
    echo "root.sh: libraries are missing: $libraries" >&2
    exit 1
    ;;
esac
echo "$libraries" |
    sed -n 's,.*=> \(/[^ ]*\) .*,\1,p; s,^[[:space:]]*\(/[^ ]*\) (.*,\1,p' |
    sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    strip --strip-unneeded "$root$library"
done
cp models/*.safetensors "$root/usr/share/soma/models/"
cp LICENSE models/LICENSE.opencv-digits models/samples/LICENSE.fashion-mnist \
    "$root/usr/share/soma/"
echo 'soma:x:65532:65532:soma:/data:/usr/bin/soma' >"$root/etc/passwd"
echo 'soma:x:65532:' >"$root/etc/group"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/data"
