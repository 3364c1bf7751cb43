#!/bin/sh
# The command line as a person uses it: train, evaluate, inspect, health,
# version, right and wrong. Usage: cli.sh BUILD_FOLDER
set -u
cd "$(dirname "$0")/.." || exit 1
soma=${1:-build/gcc}/soma
fashion=/usr/share/datasets/fashion-mnist
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

ok() { # ok NAME: by the status of the command before
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "cli.sh: $1: failed"
        cat "$dir/out" "$dir/err" 2>/dev/null
    fi
}

# says NAME CODE TEXT command...: exits with CODE and prints TEXT
says() {
    name=$1
    code=$2
    text=$3
    shift 3
    timeout 120 "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" = "$code" ] && cat "$dir/out" "$dir/err" | grep -qF -- "$text"
    ok "$name (exit code $got, expected $code and \"$text\")" $?
}

accuracy() { # accuracy MODEL DATASET
    "$soma" evaluate "$1" --dataset "$2" --json | jq .accuracy
}

digest() {
    "$soma" inspect "$1" | sed -n 's/^digest *//p'
}

above() { # above VALUE BOUND
    awk "BEGIN { exit !($1 > $2) }"
}

# ---- Training on real images
says "train" 0 "validation accuracy" "$soma" train --dataset $fashion \
    --hidden 32 --epochs 1 --out "$dir/a.safetensors"
above "$(accuracy "$dir/a.safetensors" $fashion)" 0.78
ok "one epoch of Fashion-MNIST reaches 78 %" $?
says "the same seed again" 0 "loss" "$soma" train --dataset $fashion \
    --hidden 32 --epochs 1 --out "$dir/b.safetensors"
[ "$(digest "$dir/a.safetensors")" = "$(digest "$dir/b.safetensors")" ]
ok "same seed and threads, same weights" $?
says "another seed" 0 "loss" "$soma" train --dataset $fashion --hidden 32 \
    --epochs 1 --seed 2 --out "$dir/c.safetensors"
[ "$(digest "$dir/a.safetensors")" != "$(digest "$dir/c.safetensors")" ]
ok "another seed, other weights" $?
says "going on" 0 "loss" "$soma" train --dataset $fashion --epochs 2 \
    --from "$dir/a.safetensors" --out "$dir/d.safetensors"
above "$(accuracy "$dir/d.safetensors" $fashion)" \
    "$(accuracy "$dir/a.safetensors" $fashion)"
ok "--from goes on from what was learned" $?

# ---- Ctrl-C keeps the best so far
"$soma" train --dataset $fashion --hidden 64 --epochs 1000 \
    --out "$dir/stopped.safetensors" >"$dir/out" 2>"$dir/err" &
pid=$!
for _ in $(seq 100); do
    grep -q 'epoch 2/' "$dir/err" && break
    sleep 0.2
done
kill -INT $pid
wait $pid
code=$?
[ $code = 0 ] && grep -q 'stopped early: keeping the weights of epoch' "$dir/out"
ok "Ctrl-C exits 0 and says what it kept (exit code $code)" $?
above "$(accuracy "$dir/stopped.safetensors" $fashion)" 0.8
ok "what Ctrl-C kept can be used" $?

# ---- A single neuron, and the other kinds, on a small table
awk 'BEGIN { srand(7); print "kind,x,y,z"
    for (i = 0; i < 600; i++) { k = i % 2; x = rand() + k; y = rand() - k
        printf "%s,%.4f,%.4f,%.4f\n", k ? "high" : "low", x, y, rand() } }' \
    >"$dir/table.csv"
says "logistic" 0 "loss" "$soma" train --dataset "$dir/table.csv" --hidden none \
    --loss logistic --out "$dir/neuron.safetensors"
above "$(accuracy "$dir/neuron.safetensors" "$dir/table.csv")" 0.97
ok "a single neuron tells two classes apart" $?
says "hinge" 0 "loss" "$soma" train --dataset "$dir/table.csv" --hidden none \
    --loss hinge --learning-rate 0.01 --out "$dir/svm.safetensors"
above "$(accuracy "$dir/svm.safetensors" "$dir/table.csv")" 0.97
ok "a linear SVM does too" $?
for kind in sigmoid tanh relu leaky_relu maxout identity; do
    says "$kind" 0 "loss" "$soma" train --dataset "$dir/table.csv" --hidden 8,8 \
        --activation $kind --loss multiclass_hinge --learning-rate 0.02 \
        --epochs 40 --out "$dir/kind.safetensors"
    above "$(accuracy "$dir/kind.safetensors" "$dir/table.csv")" 0.95
    ok "$kind layers learn" $?
done
says "inspect" 0 "maxout" "$soma" inspect "$(
    "$soma" train --dataset "$dir/table.csv" --hidden 4 --activation maxout \
        --out "$dir/maxout.safetensors" >/dev/null 2>&1
    echo "$dir/maxout.safetensors"
)"
says "health of units" 0 "dead on average" "$soma" inspect models/mnist.safetensors \
    --dataset $fashion

# ---- Files of other tools
says "export to ONNX" 0 "bytes" "$soma" export models/fashion.safetensors \
    "$dir/f.onnx"
says "import of ONNX" 0 "784-256-128-10" "$soma" import "$dir/f.onnx" \
    "$dir/f.safetensors"
[ "$(digest models/fashion.safetensors)" = "$(digest "$dir/f.safetensors")" ]
ok "the same weights through ONNX" $?
[ "$(digest models/fashion.safetensors)" = "$(digest "$dir/f.onnx")" ]
ok "an ONNX file is a model file" $?
says "export of a state_dict" 0 "bytes" "$soma" export \
    models/fashion.safetensors "$dir/net.safetensors"
says "import of a state_dict" 0 "784-256-128-10" "$soma" import \
    "$dir/net.safetensors" "$dir/back.safetensors" --activation relu
says "the same accuracy" 0 "accuracy 89.6" "$soma" evaluate \
    "$dir/back.safetensors" --dataset $fashion
says "export to what" 2 "ends in .onnx or" "$soma" export \
    models/mnist.safetensors "$dir/x.pt"
into() { # into NAME CODE TEXT [option...]: the state_dict is imported
    name=$1
    code=$2
    text=$3
    shift 3
    says "import: $name" "$code" "$text" "$soma" import \
        "$dir/net.safetensors" "$dir/x.safetensors" "$@"
}
into "names, 16 bits" 0 "range 0 to 1" --activation relu --f16 \
    --classes a,b,c,d,e,f,g,h,i,"a b"
says "names come out" 0 "a b" "$soma" inspect "$dir/x.safetensors"
into "shape, slope and scale" 0 "range 0 to 255" --activation leaky_relu \
    --slope 0.3 --shape 28x28 --scale 255
says "a shape comes out" 0 "input   28x28, range 0 to 255" "$soma" inspect \
    "$dir/x.safetensors"
into "too few names" 2 "2 names, the model has 10 classes" --activation relu \
    --classes a,b
into "a name twice" 2 "name 2 is empty or stands there twice" \
    --activation relu --classes a,a
into "no shape" 2 '--shape: expected HxW for grey' --activation relu --shape 28
into "another shape" 1 "expected shape [256, 756], got [256, 784]" \
    --activation relu --shape 28x27
into "planes" 2 "--planes and --output are for ONNX" --activation relu --planes
into "no loss" 1 'loss: unknown loss "mse"' --activation relu --loss mse
into "no activation" 1 'unknown activation "elu"' --activation elu
into "nothing known" 1 "no sidecar FILE.json"
says "import of nothing" 1 "none.onnx: No such file" "$soma" import \
    "$dir/none.onnx" "$dir/x.safetensors"
says "export of nothing" 1 "none.safetensors: No such file" "$soma" export \
    "$dir/none.safetensors" "$dir/x.onnx"
says "export to nowhere" 1 "no/such" "$soma" export models/mnist.safetensors \
    "$dir/no/such/x.onnx"
says "a format that is none" 2 "--format: expected onnx or pytorch, got" \
    "$soma" export models/mnist.safetensors "$dir/x.onnx" --format h5
says "a format by its name" 0 "bytes" "$soma" export models/neuron.safetensors \
    "$dir/x.bin" --format onnx
says "output of no ONNX" 2 "are for ONNX files" "$soma" import \
    "$dir/f.safetensors" "$dir/x.safetensors" --output y

# ---- Folders of pictures
for name in bag dress sneaker; do
    mkdir -p "$dir/pictures/$name"
    for i in 1 2 3 4; do
        cp "models/samples/$name.png" "$dir/pictures/$name/$i.png"
    done
done
says "pictures" 0 "loss" "$soma" train --dataset "$dir/pictures" --hidden 16 \
    --validation 0 --epochs 60 --batch 4 --out "$dir/pictures.safetensors"
says "pictures again" 0 "accuracy 100.00 %" "$soma" evaluate \
    "$dir/pictures.safetensors" --dataset "$dir/pictures"

# ---- Wrong usage exits 2, failure 1; both say what is wrong
says "no command" 2 "usage: soma COMMAND" "$soma"
says "unknown command" 2 'no command "fly"' "$soma" fly
says "unknown option" 2 "no option --speed" "$soma" train --speed 3
says "no dataset" 2 "--dataset is missing" "$soma" train --out x
says "no out" 2 "--out is missing" "$soma" train --dataset x
says "not a number" 2 "--epochs: expected a whole number, 0 to 100000, got" \
    "$soma" train --epochs many
says "environment" 2 "SOMA_EPOCHS: expected a whole number" \
    env SOMA_EPOCHS=-1 "$soma" train
says "activation" 2 '--activation: unknown "elu"' "$soma" train \
    --dataset "$dir/table.csv" --out x --activation elu
says "loss" 2 'there are: softmax_cross_entropy' "$soma" train \
    --dataset "$dir/table.csv" --out x --loss mse
says "two classes" 2 "tells two classes apart" "$soma" train \
    --dataset $fashion --out x --hidden none --loss logistic
says "hidden" 2 "--hidden: expected" "$soma" train --dataset "$dir/table.csv" \
    --out x --hidden 10,
printf 'caf\351,1,2\ntea,3,4\n' >"$dir/latin1.csv"
says "names that are not UTF-8" 2 "classes[0]: the name is not UTF-8" \
    "$soma" train --dataset "$dir/latin1.csv" --out "$dir/x.safetensors"
says "no such dataset" 1 "nowhere" "$soma" train --dataset "$dir/nowhere" --out x
says "no such model" 1 "nothing.safetensors" "$soma" inspect "$dir/nothing.safetensors"
says "not a model" 1 "table.csv" "$soma" inspect "$dir/table.csv"
says "another shape" 1 "values" "$soma" evaluate models/cifar10.safetensors \
    --dataset $fashion
says "cannot write" 1 "no/such/folder" "$soma" train --dataset "$dir/table.csv" \
    --epochs 1 --out "$dir/no/such/folder/m.safetensors"
says "divergence" 1 "try a lower learning rate" "$soma" train \
    --dataset "$dir/table.csv" --hidden 8 --activation identity \
    --learning-rate 1000 --l2 100 --out "$dir/x.safetensors"
says "no epochs without a model" 2 "--epochs 0 needs --from" "$soma" train \
    --dataset $fashion --epochs 0 --out "$dir/x.safetensors"

says "a value is missing" 2 "--epochs needs a value: N" "$soma" train --epochs
says "an argument is missing" 2 "an argument is missing; usage: soma import" \
    "$soma" import "$dir/x"
says "an argument more" 2 'unexpected argument "c"; usage: soma import FILE' \
    "$soma" import a b c
says "behind --" 1 "opening --rows=1: No such file" "$soma" inspect -- --rows=1
says "help by a letter" 0 "usage: soma inspect MODEL" "$soma" inspect -h
says "rows" 2 "--rows: expected a whole number, 1 to 100000, got" "$soma" \
    inspect models/mnist.safetensors --rows=0
says "a switch in the environment" 2 "SOMA_F16: expected true or false" \
    env SOMA_F16=perhaps "$soma" import a b
says "a split that is none" 2 '--split: expected train or test, got "half"' \
    "$soma" evaluate models/fashion.safetensors --dataset $fashion --split half
says "evaluate without a dataset" 2 "--dataset is missing" "$soma" evaluate \
    models/fashion.safetensors
says "evaluate no model" 1 "none.safetensors: No such file" "$soma" evaluate \
    "$dir/none.safetensors" --dataset $fashion
says "a key's name" 2 'letters, digits, '"'.', '_' or '-', got \"a b\"" \
    "$soma" key 'a b'
says "a key's scopes" 2 '--scopes: expected predict, train, admin' "$soma" \
    key a --scopes predict,all
says "a certificate alone" 2 "--tls-cert and --tls-key, both or none" "$soma" \
    serve --models models --tls-cert x
says "keys from nowhere" 1 "--keys: opening $dir/none" "$soma" serve \
    --listen 127.0.0.1:0 --models models --keys "$dir/none"
says "data in a file" 1 "Not a directory" "$soma" serve --listen 127.0.0.1:0 \
    --models models --data "$dir/table.csv"
says "Vertex's port" 2 'AIP_HTTP_PORT: expected a port, got "x"' \
    env AIP_HTTP_PORT=x "$soma" serve --models models
says "Vertex's route" 2 "AIP_HEALTH_ROUTE: expected a path that begins" \
    env AIP_HEALTH_ROUTE=x "$soma" serve --models models
says "replay nothing" 1 "none.db: No such file" "$soma" replay "$dir/none.db"
says "export to nothing" 2 "--out is missing" "$soma" journal export \
    "$dir/none.db"

# A memory for a trained model: the weights stay.
says "memory" 0 "the weights are as they were" "$soma" train --from "$dir/a.safetensors" --epochs 0 \
    --dataset $fashion --memory 50 --guard 20 --out "$dir/m.safetensors"
says "memory is there" 0 "memory  50 examples" "$soma" inspect "$dir/m.safetensors"
[ "$(digest "$dir/a.safetensors")" = "$(digest "$dir/m.safetensors")" ]
ok "the same weights" $?
says "too large a memory" 2 "at most half of the" "$soma" train \
    --from "$dir/a.safetensors" --epochs 0 --dataset $fashion \
    --memory 100000 --out "$dir/x.safetensors"

# What a server has learned, offline.
"$soma" serve --listen 127.0.0.1:0 --models "$dir/m.safetensors" \
    --data "$dir/data" --checkpoint-examples 5 2>"$dir/log" &
server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$(sed -n 's,.*address=http://127.0.0.1:\([0-9]*\).*,\1,p' "$dir/log")
    [ -n "$port" ] && break
    sleep 0.3
done
for i in 0 1 2 3 4 5 6 7 8 9 10 11; do
    curl -sf -m 10 -o /dev/null --data-binary @models/samples/ankle-boot.raw \
        -H 'Content-Type: application/octet-stream' \
        "http://127.0.0.1:$port/train?label=$((i % 3))"
    ok "teach $i" $?
done
now=$(curl -s -m 10 "http://127.0.0.1:$port/models/m" | jq -r .digest)
journal=$dir/data/m.db
says "replay beside a server" 0 "$now" "$soma" replay "$journal"
says "trim beside a server" 1 "a server is using this folder" "$soma" journal \
    trim "$journal"
says "health" 0 "ready" "$soma" health "http://127.0.0.1:$port"
says "health of a path" 0 "ready" "$soma" health \
    "http://127.0.0.1:$port/healthz"
says "health of no path" 1 "not ready: status 404" "$soma" health \
    "http://127.0.0.1:$port/nowhere"
says "health by TLS of what has none" 1 "no answer within 0.5 s" "$soma" health \
    "https://127.0.0.1:$port" --timeout 0.5
kill "$server"
wait "$server"
says "health of whom is gone" 1 "port $port: Connection refused" "$soma" \
    health "http://127.0.0.1:$port"
says "replay" 0 "$now" "$soma" replay "$journal"
says "replay compares" 0 "same" "$soma" replay "$journal"
says "replay a version" 0 "version    4" "$soma" replay "$journal" --version 4 \
    --out "$dir/v4.safetensors"
says "replay no such version" 1 "there is no version 13; the newest is 12" \
    "$soma" replay "$journal" --version 13
says "version 4 can be read" 0 "digest" "$soma" inspect "$dir/v4.safetensors"
says "list" 0 "label 2, predicted" "$soma" journal list "$journal"
says "check" 0 "good: 12 examples" "$soma" journal check "$journal"
says "export" 0 "12 examples" "$soma" journal export "$journal" \
    --out "$dir/taught.csv"
[ "$(wc -l <"$dir/taught.csv")" = 13 ]
ok "lines of the export" $?
says "export tensors" 0 "12 examples" "$soma" journal export "$journal" \
    --out "$dir/taught.safetensors"
says "export to what" 2 "expected a name that ends in .csv" "$soma" journal \
    export "$journal" --out "$dir/taught.xls"
# What was written by the first version of the journal (tests/golden).
cp tests/golden/journal-1.db "$dir/old.db"
says "an old journal is good" 0 "good: 13 examples, version 15" "$soma" journal \
    check "$dir/old.db"
if grep -qw fma /proc/cpuinfo; then
    says "an old journal gives the same bits" 0 \
        cba39f34f0136f2d4134f82aaa2f1fcdb377523a14f0ba293d633083aae11a05 \
        "$soma" replay "$dir/old.db"
    says "as its checkpoints say" 0 "checkpoint 11  same" "$soma" replay \
        "$dir/old.db"
else
    echo "NOT TESTED: the bits of an old journal: this CPU fuses nothing"
fi

says "trim" 0 "examples dropped" "$soma" journal trim "$journal" \
    --keep-examples 3 --keep-checkpoints 2
says "replay what is left" 0 "$now" "$soma" replay "$journal"
says "journal of nothing" 1 "No such file" "$soma" journal check "$dir/no.db"
says "journal does what" 2 "expected list, export, check or trim" "$soma" \
    journal eat "$journal"
sqlite3 "$journal" "UPDATE records SET label = label + 1 WHERE seq = 12"
says "check finds a changed label" 1 "record 12 is damaged" "$soma" journal \
    check "$journal"

# Options from a file: below the environment and flags, above the defaults.
config() { # config NAME JSON CODE TEXT [argument...]
    name=$1
    printf '%s\n' "$2" >"$dir/config.json"
    code=$3
    text=$4
    shift 4
    says "config: $name" "$code" "$text" "$soma" serve \
        --config "$dir/config.json" "$@"
}
row() { # row OPTION: its line of --print-config
    sed -n "s/^$1  *//p" "$dir/out" | tr -s ' '
}
# Whoever runs the tests says where the models are, which would count here.
folder=${SOMA_MODELS-}
unset SOMA_MODELS
SOMA_MAX_ROWS=5
export SOMA_MAX_ROWS
config "print" '{"workers": 3, "max-rows": 4, "stop-seconds": 7, "models": "m"}' 0 \
    "listen" --print-config --stop-seconds 8
[ "$(row workers)" = "3 $dir/config.json: workers" ] &&
    [ "$(row max-rows)" = "5 SOMA_MAX_ROWS" ] &&
    [ "$(row stop-seconds)" = "8 --stop-seconds" ] &&
    [ "$(row models)" = "m $dir/config.json: models" ] &&
    [ "$(row log-level)" = "info the default" ]
ok "each value and where it came from" $?
[ -z "$folder" ] || export SOMA_MODELS="$folder"
unset SOMA_MAX_ROWS
config "an unknown name" '{"max_body": 9000}' 2 \
    '"max_body" is no option that a file can have; the nearest is "max-body"'
config "a wrong kind" '{"workers": "2"}' 2 \
    'config.json: workers: expected a number, got "2"'
config "no whole number" '{"workers": 2.5}' 2 \
    'config.json: workers: expected a whole number, 0 to 128, got "2.5"'
config "a wrong word" '{"log-format": "xml"}' 2 \
    'config.json: log-format: expected text or json, got "xml"'
config "checked although a flag counts" '{"workers": 999}' 2 \
    'config.json: workers: expected a whole number' --workers 1
config "no object" '[1]' 2 "expected an object of options"
config "no JSON" '{"workers": }' 2 "config.json, line 1:"
config "twice" '{"stop-seconds": 1, "stop-seconds": 2}' 2 "duplicate"
config "a further file" '{"config": "x"}' 2 '"config" is no option'
config "where a bad address is from" '{"listen": "nope"}' 2 \
    'config.json: listen: expected HOST:PORT, got "nope"'
says "no such config" 2 "nowhere.json: No such file" "$soma" serve \
    --config "$dir/nowhere.json"

# getaddrinfo would take the rest of 16 bits: 4464 for 70000.
for port in 70000 -1 +1 80a; do
    says "no port: $port" 2 "--listen: expected a port from 0 to 65535" \
        "$soma" serve --listen "127.0.0.1:$port" --models models
done
says "no port of the environment" 2 "SOMA_LISTEN: expected a port from 0" \
    env AIP_HTTP_PORT=99999 "$soma" serve --models models
says "health of no port" 2 "expected a port from 0 to 65535" "$soma" health \
    http://127.0.0.1:70000
says "health without a server" 1 "" "$soma" health http://127.0.0.1:1
for url in ftp://x localhost:8080 http:// http://:80 http://h: \
    http://h:12345678 "http://h/$(printf '%0300d' 0)"; do
    says "health of $url" 2 "expected http://host:port" "$soma" health "$url"
done
says "health of no host" 1 "no.such.host.invalid: " "$soma" health \
    http://no.such.host.invalid:1
says "health of brackets" 1 "::1 port 1: " "$soma" health 'http://[::1]:1'
says "version" 0 "soma 0." "$soma" version
says "help" 0 "--max-rows" "$soma" serve --help

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
