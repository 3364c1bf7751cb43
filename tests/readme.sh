#!/bin/sh
# The README's commands, as printed: every line of it that starts with "curl"
# is run against a server that `make run` would start (and with the routes of
# Vertex AI that it names), and must answer with status 200; its table of options
# must be that of `soma serve --help`, its versions those that tests have pinned.
set -u
cd "$(dirname "$0")/.." || exit 1
soma=${1:-build/gcc}/soma
log=$(mktemp)
bad=0

data=$(mktemp -d)
routes=$(sed -n 's/^With .\(AIP_.*\). also$/\1/p' README.md)
# shellcheck disable=SC2086  # several words
env $routes "$soma" serve --listen 127.0.0.1:0 --models models --default-model mnist \
    --data "$data" 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$log" "$log".* "$data"' EXIT
port=
for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$(sed -n 's,.*address=http://127.0.0.1:\([0-9]*\).*,\1,p' "$log")
    [ -n "$port" ] && break
    sleep 0.3
done
[ -n "$port" ] || { echo "readme.sh: the server did not start"; cat "$log"; exit 1; }

# Lines may be continued by a backslash.
sed -e ':a' -e '/\\$/{N;s/\\\n *//;ba' -e '}' README.md |
    grep '^curl .*localhost:8080' >"$log".lines
count=0
while IFS= read -r line; do
    count=$((count + 1))
    here=$(printf '%s\n' "$line" | sed "s/localhost:8080/127.0.0.1:$port/g; s/^curl /curl -sS --max-time 10 -w '\\\\n%{http_code}' /; s/ | jq.*$//")
    status=$(sh -c "$here" | tail -n1)
    if [ "$status" != 200 ]; then
        echo "readme.sh: $status from: $line"
        bad=1
    fi
done <"$log".lines
if [ "$count" -lt 5 ]; then
    echo "readme.sh: found only $count curl lines in README.md"
    bad=1
fi

# The options: `--name` in the README's table and in --help.
sed -n 's/^| `--\([a-z0-9-]*\).*/\1/p' README.md | sort >"$log".readme
"$soma" serve --help | sed -n 's/^  --\([a-z0-9-]*\).*/\1/p' | sort >"$log".help
if ! cmp -s "$log".readme "$log".help; then
    echo "readme.sh: the options in README.md are not those of soma serve --help:"
    diff "$log".readme "$log".help
    bad=1
fi
# Its tables of clients, formats and tools name the versions that are tested:
# those that are pinned, all of it or the first two numbers.
while read -r package file words; do
    version=$(sed -n "s/^$package==\([0-9.]*\).*/\1/p" "tests/$file")
    short=$(echo "$version" | cut -d. -f1,2)
    if [ -z "$version" ] || ! grep '^|' README.md | grep -F "$words" |
        grep -qF " $short"; then
        echo "readme.sh: README.md does not say $words $version of tests/$file"
        bad=1
    fi
done <<EOF
tritonclient clients/requirements.txt tritonclient
kserve clients/requirements.txt kserve
tritonclient clients/perf-requirements.txt perf_analyzer
torch formats/torch.txt PyTorch
scikit-learn formats/requirements.txt scikit-learn
skl2onnx formats/requirements.txt skl2onnx
keras formats/requirements.txt Keras
tf2onnx formats/requirements.txt tf2onnx
onnxruntime formats/requirements.txt ONNX Runtime
safetensors formats/requirements.txt safetensors
numpy formats/requirements.txt NumPy
schemathesis tools/requirements.txt schemathesis
jsonschema tools/requirements.txt jsonschema
kubernetes-validate tools/requirements.txt kubernetes-validate
EOF
[ "$bad" = 0 ] && echo "README: $count curl lines answered, options as in --help, versions as pinned"
exit $bad
