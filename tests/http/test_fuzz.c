/* The whole server, fuzzed over sockets: requests of a grammar, some of them
 * damaged, cut into pieces, pipelined, or left in the middle, by several
 * clients at once, for SOMA_FUZZ_SECONDS (4). Whatever comes, the server lives,
 * its answers are HTTP, none of them has the status of a bug, it answers good
 * requests afterwards, and ends in order.
 *
 * The draws follow from SOMA_FUZZ_SEED (1).
 */
#include "core/rng.h"
#include "tests/http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 4, ROOM = 1 << 16 };

static server s;

typedef struct client {
    soma_rng rng;
    char bytes[ROOM];
    size_t size;
    long requests, answers, bugs, garbage;
    time_t end;
} client;

static long
setting(const char *name, long fallback)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : fallback;
}

static bool
one_in(client *c, uint32_t n)
{
    return soma_rng_below(&c->rng, n) == 0;
}

static void
put_bytes(client *c, const void *bytes, size_t size)
{
    size = size < ROOM - c->size ? size : ROOM - c->size;
    memcpy(c->bytes + c->size, bytes, size);
    c->size += size;
}

static void
put(client *c, const char *text)
{
    put_bytes(c, text, strlen(text));
}

#define COUNT(list)   (sizeof(list) / sizeof *(list))
#define PICK(c, list) ((list)[soma_rng_below(&(c)->rng, (uint32_t)COUNT(list))])

/* ---- The grammar ---- */

static const char *const methods[] = {"GET",  "POST",   "POST",    "POST",
                                      "HEAD", "DELETE", "OPTIONS", "PUT",
                                      "get",  "BREW",   ""};

static const char *const paths[] = {"/predict",
                                    "/train",
                                    "/models",
                                    "/models/neuron",
                                    "/models/neuron/predict",
                                    "/models/neuron/train",
                                    "/models/neuron/rollback",
                                    "/models/neuron/examples",
                                    "/models/neuron/fork",
                                    "/models/neuron/promote",
                                    "/models/challenger",
                                    "/models/challenger/train",
                                    "/models/neuron/weights",
                                    "/healthz",
                                    "/readyz",
                                    "/metrics",
                                    "/openapi.json",
                                    "/",
                                    "/v2",
                                    "/v2/models/neuron/infer",
                                    "/v2/models/neuron",
                                    "/v2/models/neuron/stats",
                                    "/v2/repository/index",
                                    "/v2/repository/models/neuron-svm/load",
                                    "/v2/repository/models/neuron-svm/unload",
                                    "/v2/logging",
                                    "/v1/models/neuron:predict",
                                    "/v1/models/neuron/versions/1:classify",
                                    "/invocations",
                                    "/predictions/neuron",
                                    "/ping",
                                    "//",
                                    "/%2e%2e/%00",
                                    "*",
                                    "http://a/healthz",
                                    "/models/\xff\xfe/predict"};

static const char *const queries[] = {
    "",          "",       "",         "?top_k=2",           "?label=1",
    "?after=-1", "?limit", "?a=%zz&&", "?learning_rate=1e9", "?pixels=true"};

static const char *const headers[] = {
    "Host: a\r\n",
    "Content-Type: application/json\r\n",
    "Content-Type: application/octet-stream\r\n",
    "Content-Type: image/png\r\n",
    "Content-Type: image/jpeg\r\n",
    "Content-Type: application/x-npy\r\n",
    "Content-Type: text/plain\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Encoding: br\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: 5\r\n",
    "Expect: 100-continue\r\n",
    "Expect: x\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\nUpgrade: h2c\r\n",
    "Idempotency-Key: k\r\n",
    "Idempotency-Key: \x7f\r\n",
    "Inference-Header-Content-Length: 20\r\n",
    "Inference-Header-Content-Length: -1\r\n",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    "Authorization: Bearer x\r\n",
    "Accept: application/octet-stream\r\n",
    "X : y\r\n",
    " folded: yes\r\n",
    "no colon\r\n",
    "X: \0y\r\n"};

static const char *const bodies[] = {
    "{\"pixels\":[[0]]}",
    "{\"pixels\":\"x\",\"label\":1}",
    "{\"examples\":[{\"label\":0}]}",
    "{\"version\":0}",
    "{\"version\":-1}",
    "{\"name\":\"challenger\"}",
    "{\"challenger\":\"challenger\",\"force\":true}",
    "{\"instances\":[[1,2],[3]]}",
    "{\"inputs\":[{\"name\":\"input\",\"shape\":[1,784],\"datatype\":\"UINT8\","
    "\"parameters\":{\"binary_data_size\":784}}]}",
    "{\"log_verbose_level\":1}",
    "{}",
    "[[[[[[[[[[",
    "{\"pixels\":[1e999,-1e999]}",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nx",
    "\x89PNG\r\n\x1a\n",
    "\xff\xd8\xff\xc0",
    "\x93NUMPY\x01",
    "\x1f\x8b\x08",
    ""};

/* A list of 784 numbers, as the models here take. */
static void
put_pixels(client *c)
{
    char number[16];
    put(c, one_in(c, 2) ? "{\"label\":1,\"pixels\":[" : "{\"pixels\":[");
    for (int i = 0; i < 784; i++) {
        snprintf(number, sizeof number, i ? ",%u" : "%u",
                 (unsigned)soma_rng_below(&c->rng, 256));
        put(c, number);
    }
    put(c, one_in(c, 20) ? "]" : "]}");
}

static void
put_request(client *c)
{
    put(c, PICK(c, methods));
    put(c, " ");
    put(c, PICK(c, paths));
    put(c, PICK(c, queries));
    put(c, one_in(c, 20) ? " HTTP/9.9\r\n" : " HTTP/1.1\r\n");
    if (!one_in(c, 20))
        put(c, headers[0]);
    for (uint32_t i = soma_rng_below(&c->rng, 4); i > 0; i--)
        put(c, PICK(c, headers));
    size_t before = c->size;
    char length[48];
    if (one_in(c, 2))
        put_pixels(c);
    else
        put(c, PICK(c, bodies));
    /* The head ends with a length that is right, most of the time. */
    size_t size = c->size - before;
    char *kept = malloc(size + 1);
    if (!kept)
        return;
    memcpy(kept, c->bytes + before, size);
    c->size = before;
    snprintf(length, sizeof length, "Content-Length: %zu\r\n\r\n",
             one_in(c, 20) ? size + 7 : size);
    put(c, one_in(c, 20) ? "\r\n" : length);
    put_bytes(c, kept, size);
    free(kept);
}

/* Now and then bytes are changed, put in twice, or cut off. */
static void
damage(client *c)
{
    while (one_in(c, 4) && c->size > 1) {
        uint32_t at = soma_rng_below(&c->rng, (uint32_t)c->size);
        switch (soma_rng_below(&c->rng, 3)) {
        case 0:
            c->bytes[at] = (char)soma_rng_next(&c->rng);
            break;
        case 1:
            c->size = at;
            break;
        default:
            put_bytes(c, c->bytes + at, c->size - at);
        }
    }
}

/* ---- Clients ---- */

static int
connect_to_server(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* In pieces, some of them one byte. */
static void
send_all(client *c, int fd)
{
    size_t sent = 0;
    while (sent < c->size) {
        size_t piece = c->size - sent;
        if (one_in(c, 3))
            piece = 1 + soma_rng_below(&c->rng, (uint32_t)piece);
        ssize_t written = send(fd, c->bytes + sent, piece, MSG_NOSIGNAL);
        if (written <= 0)
            return;
        sent += (size_t)written;
    }
}

/* What comes until the server closes or is silent. The first bytes must be
 * those of an answer. */
static void
read_answers(client *c, int fd)
{
    char text[ROOM];
    size_t got = 0;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (got < sizeof text - 1 && poll(&wait, 1, 30) > 0) {
        ssize_t more = recv(fd, text + got, sizeof text - 1 - got, 0);
        if (more <= 0)
            break;
        got += (size_t)more;
    }
    text[got] = '\0';
    if (got == 0)
        return;
    c->answers++;
    c->garbage += got >= 9 && strncmp(text, "HTTP/1.", 7) != 0;
    c->bugs += got >= 12 && !strncmp(text + 9, "500", 3);
}

static void *
run_client(void *arg)
{
    client *c = arg;
    while (time(NULL) < c->end) {
        c->size = 0;
        put_request(c);
        while (one_in(c, 3))
            put_request(c);
        damage(c);
        int fd = connect_to_server();
        if (fd < 0)
            continue;
        c->requests++;
        send_all(c, fd);
        if (one_in(c, 5)) /* a client that leaves, with or without a reset */
            setsockopt(fd, SOL_SOCKET, SO_LINGER,
                       &(struct linger){.l_onoff = 1}, sizeof(struct linger));
        else
            read_answers(c, fd);
        close(fd);
    }
    return NULL;
}

/* ---- Tests ---- */

static void
the_server_lives(void **state)
{
    (void)state;
    if (foreign_server("the fuzzing of a whole server"))
        return;
    static client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    long requests = 0, answers = 0;
    uint64_t seed = (uint64_t)setting("SOMA_FUZZ_SEED", 1);
    time_t end = time(NULL) + setting("SOMA_FUZZ_SECONDS", 4);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].rng = soma_rng_seed(seed, (uint64_t)i);
        clients[i].end = end;
        assert_int_equal(
            pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        requests += clients[i].requests;
        answers += clients[i].answers;
        assert_int_equal(clients[i].bugs, 0);
        assert_int_equal(clients[i].garbage, 0);
    }
    printf("seed %d: %ld connections, %ld answered, peak %ld KiB\n", (int)seed,
           requests, answers, memory_peak(&s));
    assert_true(answers > 0);
    answer a = get(&s, "/healthz");
    assert_int_equal(a.status, 200);
    free_answer(&a);
    a = get(&s, "/models/neuron");
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

static void
it_ends_in_order(void **state)
{
    (void)state;
    if (foreign_server("the end of a fuzzed server"))
        return;
    assert_int_equal(waitpid(s.pid, NULL, WNOHANG), 0);
    assert_int_equal(stop_server(&s), 0);
}

int
main(void)
{
    static char folder[] = "/tmp/soma-fuzz-XXXXXX";
    const char *const arguments[] = {
        "--default-model", "neuron",  "--data", folder,
        "--max-body",      "1048576", NULL};
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_server_lives),
                                       cmocka_unit_test(it_ends_in_order)};
    if (!mkdtemp(folder))
        return 1;
    if (!getenv("SOMA_URL"))
        start_server(&s, arguments);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed;
}
