#!/bin/sh
# docker/compose.scale.yaml as it stands: three replicas, Redis and HAProxy,
# under load all the time. A replica is killed and comes back, Redis is stopped
# and comes back, every replica is replaced in turn. No prediction may fail, no
# example either but for what is answered 503 while Redis is away; what was
# answered must be there in the end, once. Where no registry has an image, one
# of that name is made of Debian's package. Wants the image soma:test, which
# test.sh builds. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
project=soma-scale-$$
passed=0
failed=0
export SOMA_PORT="${SOMA_PORT:-18080}"
url=http://127.0.0.1:$SOMA_PORT/models/fashion
work=$(mktemp -d)
crowd=

check() { # check NAME STATUS
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
    fi
}

compose() {
    docker-compose -p "$project" -f docker/compose.scale.yaml "$@" \
        >"$work/log" 2>&1 || {
        cat "$work/log"
        return 1
    }
}

finish() {
    trap - INT TERM
    touch "$work/stop"
    # shellcheck disable=SC2086
    [ -z "$crowd" ] || wait $crowd
    [ "$failed" = 0 ] || {
        docker-compose -p "$project" -f docker/compose.scale.yaml logs --tail=30
    }
    compose down -v -t 1
    rm -rf "$work"
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

# Makes an image of that name: image_of NAME PACKAGE DOCKERFILE'S REST
image_of() {
    image=$(sed -n "s/^ *image: \($1:.*\)\$/\1/p" docker/compose.scale.yaml)
    docker image inspect "$image" >/dev/null 2>&1 && return
    timeout 60 docker pull -q "$image" >/dev/null 2>&1 && return
    sh tests/container/base.sh
    base=$(sed -n 's/^FROM \([^ ]*\) AS build$/\1/p' docker/Dockerfile)
    echo "$image is made of Debian's $2"
    docker build -q -t "$image" - <<EOF >/dev/null 2>&1
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends $2
$3
EOF
    check "an image of $1" $?
}

ask() { # ask PATH IMAGE CURL'S REST: "STATUS RETRY-AFTER VERSION", or a body
    path=$1 image=$2
    shift 2
    got=$(curl -s --max-time 10 -H 'Content-Type: image/png' \
        -w '\n%{http_code} %header{retry-after} %header{soma-version}\n' \
        --data-binary "@models/samples/$image.png" "$@" "$url/$path")
    state=$(echo "$got" | tail -n1)
    case $state in
    200*) echo "$state" ;;
    *) echo "$state$(echo "$got" | sed '$d' | tr -d '\n' | cut -c1-200)" ;;
    esac
}

# One of those who predict, until there is a file stop.
predict_on() {
    until [ -e "$work/stop" ]; do
        echo "$(cat "$work/phase") $(ask predict sandal)"
    done >"$work/predicted.$1"
}

# One of those who teach: each example until it is answered.
teach_on() {
    n=0
    until [ -e "$work/stop" ]; do
        n=$((n + 1))
        for _ in $(seq 100); do
            phase=$(cat "$work/phase")
            got=$(ask 'train?label=Sandal' sandal \
                -H "Idempotency-Key: scale-$1-$n")
            echo "$phase $got"
            case $got in 200*) break ;; esac
            sleep 0.1
        done
    done >"$work/taught.$1"
}

phase() { # phase NAME: what comes now, among the requests too
    echo "$1" >"$work/phase.new"
    mv "$work/phase.new" "$work/phase"
}

# What was asked in a phase and not answered 200: failures FILES PHASE
failures() {
    cat "$work/$1".* | grep "^$2" | grep -v '^[a-z]* 200 ' | sort | uniq -c
}

in_time() { # in_time COMMAND...: as often as it takes, for half a minute
    for _ in $(seq 120); do
        "$@" && return
        sleep 0.25
    done
    return 1
}

address() {
    docker inspect -f \
        '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \
        "$(docker-compose -p "$project" -f docker/compose.scale.yaml ps -q "$1")"
}

ready() { # ready SERVICE
    curl -sf -o /dev/null --max-time 5 "http://$(address "$1"):8080/readyz"
}

# That all replicas say one version, digest and number of examples.
agree() {
    for service in soma1 soma2 soma3; do
        curl -s --max-time 5 "http://$(address $service):8080/models/fashion" |
            jq -r '"\(.version) \(.digest) \(.examples)"'
    done >"$work/states"
    [ "$(sort -u "$work/states" | wc -l)" = 1 ] &&
        [ "$(wc -l <"$work/states")" = 3 ]
}

# One more example, the same one until it is answered: taught [SERVICE]
taught() {
    [ $# = 0 ] || set -- --connect-to "::$(address "$1"):8080"
    ask 'train?label=Bag' bag -H "Idempotency-Key: scale-$extra" "$@" |
        grep -q '^200 ' || return 1
    extra=$((extra + 1))
}

trap 'failed=$((failed + 1)); finish' INT TERM
sh tests/install.sh docker-compose curl jq
image_of redis redis-server 'WORKDIR /data'
image_of haproxy haproxy 'USER haproxy
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
docker tag soma:test soma
extra=0
compose up -d --no-build
check "docker-compose up" $?
in_time taught
check "the cluster is taught" $?
for service in soma1 soma2 soma3; do in_time ready $service; done
in_time agree
check "three replicas agree: $(head -n1 "$work/states" | cut -c1-16)" $?

phase kill
for i in 1 2; do
    predict_on $i &
    crowd="$crowd $!"
    teach_on $i &
    crowd="$crowd $!"
done
compose kill soma2
in_time taught
check "it learns with a replica less" $?
compose start soma2
in_time ready soma2
check "the one that was killed is ready again" $?

phase away
compose stop -t 5 redis
got=$(ask 'train?label=Bag' bag)
echo "$got" | grep -q '^503 [1-9]'
check "without Redis /train says 503 and when to come again: $got" $?
got=$(ask predict bag)
echo "$got" | grep -q '^200 '
check "without Redis predictions go on: $got" $?
compose start redis
in_time taught soma1 && in_time taught soma2 && in_time taught soma3
check "with Redis all learn again" $?

sleep 1 # who was told to come again has come
phase roll
for service in soma1 soma2 soma3; do
    compose up -d --no-build --no-deps --force-recreate $service &&
        in_time ready $service
    check "$service is replaced" $?
    sleep 2 # HAProxy asks for its address each second
done

touch "$work/stop"
# shellcheck disable=SC2086
wait $crowd
crowd=
in_time agree
check "three replicas agree: $(head -n1 "$work/states" | cut -c1-16)" $?
failures predicted .
[ -z "$(failures predicted .)" ] && [ "$(cat "$work"/predicted.* | wc -l)" -gt 50 ]
check "each of $(cat "$work"/predicted.* | wc -l) predictions was answered" $?
failures taught '[kr]'
[ -z "$(failures taught '[kr]')" ]
check "each example was, but while Redis was away" $?
! failures taught away | grep -v ' away 503 [1-9]'
check "and then with when to come again" $?
answered=$(cat "$work"/taught.* | grep -c '^[a-z]* 200 ')
versions=$(cat "$work"/taught.* | sed -n 's/^[a-z]* 200 *//p' | sort -u | wc -l)
learned=$(sed -n '1s/.* //p' "$work/states")
[ "$answered" -gt 50 ] && [ "$versions" = "$answered" ] &&
    [ "$learned" = $((answered + extra)) ]
check "$answered examples answered, $versions versions, $learned learned with $extra others" $?
finish
