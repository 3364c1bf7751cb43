#!/bin/sh
# Fills data/mnist and data/cifar10 at the top of the tree.
#
#     sh models/fetch-data.sh          downloads from the public homes
#     sh models/fetch-data.sh FOLDER   copies from FOLDER, which holds
#                                      mnist/*.gz and cifar10.tar.xz,
#                                      cifar-10-binary.tar.gz or cifar10/
#
# Every file is checked against models/data.sha256; what is there already and
# right is left alone.
set -eu
from=${1:-}
if [ -n "$from" ]; then
    [ -d "$from" ] || {
        echo "$from: no such folder" >&2
        exit 1
    }
    from=$(cd "$from" && pwd)
fi
cd "$(dirname "$0")/.."
sums=models/data.sha256

right() { # right FOLDER: are all of its files there, as listed?
    grep " $1/" "$sums" | (cd data && sha256sum -c --status 2>/dev/null)
}

fetch() { # fetch URL FILE
    echo "downloading $1"
    curl -fL --retry 3 -o "$2" "$1"
}

get_mnist() {
    for name in $(sed -n 's,.*  mnist/,,p' "$sums"); do
        if [ -n "$from" ]; then
            cp -f "$from/mnist/$name" data/mnist/
        else
            fetch "https://storage.googleapis.com/cvdf-datasets/mnist/$name" \
                "data/mnist/$name"
        fi
    done
}

get_cifar10() {
    archive=
    for name in cifar10.tar.xz cifar-10-binary.tar.gz; do
        if [ -n "$from" ] && [ -f "$from/$name" ]; then
            archive=$from/$name
        fi
    done
    if [ -n "$from" ] && [ -d "$from/cifar10" ]; then
        cp -f "$from"/cifar10/* data/cifar10/
        return
    fi
    if [ -z "$from" ]; then
        archive=data/cifar-10-binary.tar.gz
        fetch https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz "$archive"
    fi
    if [ -z "$archive" ]; then
        echo "$from has neither cifar10.tar.xz, cifar-10-binary.tar.gz nor cifar10/" >&2
        exit 1
    fi
    tar -xof "$archive" -C data/cifar10 --strip-components=1
    [ -n "$from" ] || rm -f "$archive"
}

for set in mnist cifar10; do
    mkdir -p "data/$set"
    right "$set" || "get_$set"
    if ! right "$set"; then
        echo "data/$set: not the files that $sums lists" >&2
        exit 1
    fi
    echo "data/$set: complete"
done
