#!/bin/sh
# docker/compose.yaml as it stands: soma, and a Prometheus that scrapes it.
# Where no registry has Prometheus's image, one of that name is made from
# Debian's package. Wants the image soma:test, which test.sh builds.
# Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
project=soma-compose-$$
passed=0
failed=0
export SOMA_PORT=${SOMA_PORT:-18080} PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090}

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
    docker-compose -p "$project" -f docker/compose.yaml "$@"
}

finish() {
    [ "$failed" = 0 ] || compose logs --tail=30
    compose down -v >/dev/null 2>&1
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

sh tests/install.sh docker-compose curl jq
image=$(sed -n 's/^ *image: \(prom.*\)$/\1/p' docker/compose.yaml)
if ! docker image inspect "$image" >/dev/null 2>&1 &&
    ! timeout 60 docker pull -q "$image" >/dev/null 2>&1; then
    sh tests/container/base.sh
    base=$(sed -n 's/^FROM \([^ ]*\) AS build$/\1/p' docker/Dockerfile)
    echo "$image is made of Debian's prometheus"
    docker build -q -t "$image" - <<EOF >/dev/null
FROM $base
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && \
    mkdir -p /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
VOLUME /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
EOF
    check "an image of Prometheus" $?
fi
docker tag soma:test soma
compose up -d --no-build >/dev/null 2>&1
check "docker-compose up" $?
for _ in $(seq 60); do
    curl -sf --max-time 5 "http://127.0.0.1:$SOMA_PORT/readyz" >/dev/null &&
        break
    sleep 0.5
done
curl -sf --max-time 10 -o /dev/null -H 'Content-Type: image/png' \
    --data-binary @models/samples/sandal.png \
    "http://127.0.0.1:$SOMA_PORT/models/fashion/train?label=Sandal"
check "soma is taught" $?
got=
for _ in $(seq 80); do
    got=$(curl -sf --max-time 5 -G "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" \
        --data-urlencode 'query=soma_examples_total{job="soma",model="fashion"}' |
        jq -r '.data.result[0].value[1]')
    [ "$got" = 1 ] && break
    sleep 0.5
done
[ "$got" = 1 ]
check "Prometheus has seen it: $got example" $?
finish
