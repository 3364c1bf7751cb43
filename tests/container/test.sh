#!/bin/sh
# Builds the image and tests it as a container: its size, its user, a root
# that is read-only, the health check, real pictures, the HTTP tests, and its
# end. One line a check; the last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build/gcc}
image=soma:test
name=soma-test-$$
passed=0
failed=0

check() { # check NAME STATUS
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
    fi
}

finish() {
    trap - INT TERM
    [ "$failed" = 0 ] || docker logs --tail 30 "$name" 2>&1
    docker rm -fv "$name" >/dev/null 2>&1
    docker volume rm -f "$name" >/dev/null 2>&1
    docker rmi "$name" >/dev/null 2>&1
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

docker info >/dev/null 2>&1 || {
    echo "NOT TESTED: no Docker engine runs here"
    echo "0 passed, 0 failed"
    exit 0
}
trap 'failed=$((failed + 1)); finish' INT TERM
sh tests/install.sh curl jq
sh tests/container/base.sh
check "base image" $?

# What .dockerignore lets through. A build/ among it could end in the image in
# place of what the image's own compiler makes.
printf 'FROM scratch\nCOPY . /\nCMD ["none"]\n' |
    docker build -q -f - -t "$name" . >/dev/null 2>&1 &&
    docker create --name "$name" "$name" >/dev/null
files=$(docker export "$name" | tar -t)
docker rm "$name" >/dev/null
echo "$files" | grep -q '^core/matrix\.c$' &&
    ! echo "$files" | grep -E '^(build|data|\.git)(/|$)'
check "the build sees sources only" $?

log=$(mktemp)
docker build -f docker/Dockerfile -t "$image" . >"$log" 2>&1
code=$?
[ $code = 0 ] || tail -n 30 "$log"
rm -f "$log"
check "docker build" $code
[ $code = 0 ] || finish

library=$(docker run --rm "$image" version |
    sed -n 's/^libmicrohttpd //p')
[ "$(printf '1.0.10\n%s\n' "$library" | sort -V | head -n1)" = 1.0.10 ]
check "libmicrohttpd 1.0.10 or later: $library" $?

size=$(docker image inspect -f '{{.Size}}' "$image")
[ "$size" -le 70000000 ]
check "at most 70 MB: $size bytes" $?
user=$(docker image inspect -f '{{.Config.User}}' "$image")
[ "${user%%:*}" -gt 0 ]
check "not root: user $user" $?

docker create --name "$name" "$image" >/dev/null
owner=$(docker export "$name" | tar --numeric-owner -tv |
    sed -n 's,^[^ ]* \([^ ]*\) .* data/$,\1,p')
docker rm -v "$name" >/dev/null
[ "$owner" = 65532:65532 ] || [ "$owner" = 65532/65532 ]
check "the user owns /data: $owner" $?

docker run -d --name "$name" --read-only --cap-drop ALL \
    --security-opt no-new-privileges -v "$name":/data \
    -p 127.0.0.1:0:8080 "$image" >/dev/null
check "runs with a read-only root and no capabilities" $?
port=$(docker port "$name" 8080/tcp | sed -n 's/.*:\([0-9]*\)$/\1/p' | head -n1)
url=http://127.0.0.1:$port
for _ in $(seq 60); do
    health=$(docker inspect -f '{{.State.Health.Status}}' "$name")
    [ "$health" = starting ] || break
    sleep 0.5
done
[ "$health" = healthy ]
check "HEALTHCHECK says healthy: $health" $?

predict() {
    curl -sS --max-time 10 -H 'Content-Type: image/png' \
        --data-binary "@models/samples/$1.png" "$url/models/fashion/predict"
}
got=$(predict ankle-boot | jq -r .class)
[ "$got" = "Ankle boot" ]
check "a real picture is predicted: $got" $?
got=$(curl -sS --max-time 10 -H 'Content-Type: image/png' \
    --data-binary @models/samples/sandal.png "$url/models/fashion/train?label=Sandal" |
    jq -r '"\(.version) \(.predicted.class)"')
[ "$got" = "1 Sandal" ]
check "an example is taught: $got" $?
got=$(predict sandal | jq -r '"\(.version) \(.class)"')
[ "$got" = "1 Sandal" ]
check "the next prediction is by version 1: $got" $?
got=$(curl -sS --max-time 10 "$url/models" | jq '.models | length')
[ "$got" = 7 ]
check "serves the shipped models: $got" $?

# A program all of whose tests say NOT TESTED against a server that is not
# theirs is not counted.
ran=0
for test in "$build"/tests/http/test_*; do
    case $test in *.o | *.d | *.log) continue ;; esac
    [ -x "$test" ] || continue
    SOMA_URL=$url timeout 600 "$test" >"$build/tests/container.log" 2>&1
    code=$?
    [ $code = 0 ] || cat "$build/tests/container.log"
    all=$(sed -n 's/.*\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$build/tests/container.log")
    not=$(grep -c 'NOT TESTED' "$build/tests/container.log")
    if [ $code != 0 ] || [ "${all:-0}" -gt "$not" ]; then
        check "$(basename "$test") against the container" $code
        ran=$((ran + 1))
    fi
    grep 'NOT TESTED' "$build/tests/container.log"
done
[ $ran -gt 0 ] || echo "NOT TESTED: HTTP tests, none is built in $build"

docker stop -t 10 "$name" >/dev/null
code=$(docker inspect -f '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ]
check "docker stop ends it with exit code 0: $code" $?

log=$(mktemp)
sh tests/container/compose.sh >"$log" 2>&1
code=$?
sed '$d' "$log"
check "compose: soma, and a Prometheus that scrapes it" $code
sh tests/container/scale.sh >"$log" 2>&1
code=$?
sed '$d' "$log"
check "compose: three replicas, Redis and HAProxy" $code
rm -f "$log"
finish
