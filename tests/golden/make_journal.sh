#!/bin/sh
# Makes tests/golden/journal-N.db, what soma learned and wrote at the time:
#
#     make_journal.sh SOMA FASHION_MNIST OUT.db
#
# A net of two layers with a base memory of Fashion-MNIST's pictures (MIT,
# LICENSE.fashion-mnist), taught the shipped samples over two
# starts with different settings, with keys, checkpoints, a step back and one
# forth. tests/cli.sh replays it with every later version: a journal must still
# be read, and lead to the same bits.
set -eu
soma=$1
dataset=$2
out=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

serve() { # serve OPTION...: sets server and url
    "$soma" serve --listen 127.0.0.1:0 --models "$dir/m.safetensors" \
        --data "$dir/data" --checkpoint-examples 7 "$@" 2>"$dir/log" &
    server=$!
    port=
    while [ -z "$port" ]; do
        sleep 0.1
        port=$(sed -n 's,.*address=http://127.0.0.1:\([0-9]*\).*,\1,p' \
            "$dir/log")
    done
    url=http://127.0.0.1:$port
}

teach() { # teach PICTURE LABEL KEY
    curl -sf -o /dev/null -H 'Content-Type: image/png' \
        -H "Idempotency-Key: $3" --data-binary "@models/samples/$1.png" \
        "$url/train?label=$2"
}

"$soma" train --dataset "$dataset" --hidden 10 --epochs 1 --memory 20 \
    --out "$dir/m.safetensors" >/dev/null 2>&1
serve
for name in ankle-boot bag coat dress pullover sandal shirt sneaker trouser; do
    teach "$name" "$((${#name} % 10))" "first-$name"
done
curl -sf -o /dev/null -H 'Content-Type: application/json' \
    -d '{"version": 5}' "$url/models/m/rollback"
teach t-shirt 0 "after-rollback"
kill "$server" && wait "$server"
serve --learning-rate 0.02 --rehearse 4
for name in coat bag coat dress; do
    teach "$name" 3 "second-$name"
done
kill "$server" && wait "$server"
"$soma" journal trim "$dir/data/m.db" --keep-checkpoints 2 >/dev/null
sqlite3 "$dir/data/m.db" 'PRAGMA wal_checkpoint(TRUNCATE); VACUUM' >/dev/null
cp "$dir/data/m.db" "$out"
