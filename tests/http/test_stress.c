/* No request is left waiting: thousands of connections that ask for single
 * rows, lists, large bodies, in pipelines, in pieces, and that vanish in the
 * middle; every request that was sent whole is answered, in order.
 *
 * Lost wake-ups when connections are suspended and resumed are a known hazard
 * of libmicrohttpd before 1.0.3. SOMA_STRESS_SECONDS is how long it goes on
 * (default 6). */
#include "tests/http/server.h"

#include "core/rng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 2000,
    KINDS = 6,
    MOST_PIPELINED = 4,
    PIECES = 500,  /* of a plan, at most: this program has to send them all */
    PATIENCE = 40, /* seconds without a byte taken or given, of a request that
                      has begun, on a slow machine */
};

/* A request as it goes over the wire, and the status that must come back. */
typedef struct request {
    char *bytes;
    size_t size;
    int status;
} request;

typedef struct connection {
    int fd; /* -1: closed */
    char *out;
    size_t out_size, sent, piece;
    int expected[MOST_PIPELINED];
    bool large[MOST_PIPELINED];
    int asked, answered;
    bool vanish;  /* closes when half of it is sent */
    double since; /* it last got on */
    char in[512]; /* of the head that is being read */
    size_t in_used;
    long skip; /* bytes of a body still to come */
} connection;

static server s;
static request requests[KINDS];
static soma_rng rng;
static long answers, vanished, busy;
static bool over; /* no new rounds */

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void
make(int kind, const char *path, const char *type, const void *body,
     size_t size, int status)
{
    request *r = &requests[kind];
    r->bytes = malloc(size + 512);
    r->size = (size_t)snprintf(r->bytes, 512,
                               "POST %s HTTP/1.1\r\nHost: a\r\n"
                               "Content-Type: %s\r\nContent-Length: %zu\r\n"
                               "\r\n",
                               path, type, size);
    memcpy(r->bytes + r->size, body, size);
    r->size += size;
    r->status = status;
}

static void
make_requests(void)
{
    static const char bytes[] = "application/octet-stream";
    json_t *json =
        json_pack("{s:o}", "pixels", pixels_of(fashion_images(), PIXELS));
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    make(0, "/models/fashion/predict", bytes, fashion_images(), PIXELS, 200);
    make(1, "/models/neuron/predict", "application/json", text, strlen(text),
         200);
    make(2, "/models/mnist/predict", bytes, fashion_images(), 64 * PIXELS, 200);
    make(3, "/models/fashion/train?label=9", bytes, fashion_images(), PIXELS,
         200);
    make(4, "/models/fashion/predict", "application/json", "{\"pixels\":", 10,
         400);
    make(5, "/models/fashion/predict?top_k=1", bytes, fashion_images(),
         600 * PIXELS, 200);
    free(text);
}

static int
random_kind(void)
{
    static const int shares[KINDS] = {40, 30, 10, 10, 8, 2}; /* percent */
    int roll = (int)soma_rng_below(&rng, 100), kind = 0;
    while (kind < KINDS - 1 && (roll -= shares[kind]) >= 0)
        kind++;
    return kind;
}

static void
plan(connection *c)
{
    size_t size = 0, used = 0;
    int kinds[MOST_PIPELINED];
    c->asked = 1 + (int)soma_rng_below(&rng, MOST_PIPELINED);
    for (int i = 0; i < c->asked; i++) {
        kinds[i] = random_kind();
        size += requests[kinds[i]].size;
    }
    c->out = realloc(c->out, size);
    for (int i = 0; i < c->asked; i++) {
        const request *r = &requests[kinds[i]];
        memcpy(c->out + used, r->bytes, r->size);
        used += r->size;
        c->expected[i] = r->status;
        c->large[i] = r->size > 100000;
    }
    c->out_size = size;
    c->sent = c->in_used = 0;
    c->answered = 0;
    c->skip = 0;
    size_t least = size / PIECES + 1;
    c->piece =
        soma_rng_below(&rng, 4) ? size : least + soma_rng_below(&rng, 3000);
    c->vanish = soma_rng_below(&rng, 20) == 0;
    c->since = now();
}

static bool
open_connection(connection *c, int epoll)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return false;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) &&
        errno != EINPROGRESS) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT,
                                .data = {.ptr = c}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    plan(c);
    return true;
}

static void
send_some(connection *c, int epoll)
{
    size_t left = c->out_size - c->sent;
    size_t size = left < c->piece ? left : c->piece;
    ssize_t n = size ? send(c->fd, c->out + c->sent, size, MSG_NOSIGNAL) : 0;
    if (n > 0) {
        c->sent += (size_t)n;
        c->since = now();
    }
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = c}};
    if (c->sent == c->out_size)
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

/* Takes what has come: heads until their empty line, bodies by length. */
static void
take(connection *c, const char *data, size_t size)
{
    while (size) {
        if (c->skip) {
            size_t n = (size_t)c->skip < size ? (size_t)c->skip : size;
            c->skip -= (long)n;
            data += n;
            size -= n;
            continue;
        }
        c->in[c->in_used++] = *data++;
        size--;
        assert_true(c->in_used < sizeof c->in - 1);
        c->in[c->in_used] = '\0';
        if (c->in_used < 4 ||
            memcmp(c->in + c->in_used - 4, "\r\n\r\n", 4) != 0)
            continue;
        const char *length = strcasestr(c->in, "content-length:");
        int status = atoi(c->in + 9);
        assert_non_null(length);
        c->skip = atol(length + 15);
        assert_true(c->answered < c->asked);
        /* Large bodies may find the memory for them in use. */
        if (status == 503 && c->large[c->answered])
            busy++;
        else if (status != c->expected[c->answered])
            fail_msg("answer %d of %d: status %d, expected %d", c->answered,
                     c->asked, status, c->expected[c->answered]);
        c->answered++;
        answers++;
        c->in_used = 0;
    }
}

static void
end(connection *c)
{
    close(c->fd);
    c->fd = -1;
}

/* Moves one connection on; false when it came to an end that is wrong. */
static void
serve(connection *c, unsigned events, int epoll)
{
    if (events & EPOLLOUT)
        send_some(c, epoll);
    if (c->vanish && c->sent >= c->out_size / 2) {
        vanished++;
        end(c);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    char data[65536];
    ssize_t n = recv(c->fd, data, sizeof data, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0)
        fail_msg("closed with %d of %d answered", c->answered, c->asked);
    take(c, data, (size_t)n);
    c->since = now();
    if (c->answered < c->asked || c->skip)
        return;
    if (over ||
        soma_rng_below(&rng, 3) == 0) { /* another round, or a new one */
        end(c);
        return;
    }
    plan(c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT,
                                .data = {.ptr = c}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void
every_request_is_answered(void **state)
{
    static const char *const arguments[] = {"--max-connections-per-address",
                                            "4096", "--max-waiting", "100000",
                                            NULL};
    (void)state;
    if (foreign_server("the stress of thousands of connections"))
        return;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int count = limit.rlim_cur > CONNECTIONS + 100 ? CONNECTIONS
                                                   : (int)limit.rlim_cur - 100;
    const char *wish = getenv("SOMA_STRESS_SECONDS");
    double until = now() + (wish ? atof(wish) : 6);
    rng = soma_rng_seed(11, 0);
    make_requests();
    start_server(&s, arguments);
    connection *connections = calloc((size_t)count, sizeof *connections);
    int epoll = epoll_create1(0), open = 0;
    for (int i = 0; i < count; i++)
        connections[i].fd = -1;
    for (;;) {
        over = now() >= until;
        open = 0;
        for (int i = 0; i < count; i++) {
            connection *c = &connections[i];
            if (c->fd < 0 && !over)
                open_connection(c, epoll);
            open += c->fd >= 0;
            if (c->fd >= 0 && now() - c->since > PATIENCE)
                fail_msg("left waiting: %d of %d answered, %zu of %zu bytes "
                         "sent",
                         c->answered, c->asked, c->sent, c->out_size);
        }
        if (!open)
            break;
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, 100);
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (c->fd >= 0)
                serve(c, events[i].events, epoll);
            if (c->fd >= 0 && over && c->answered == 0 && c->sent == 0)
                end(c);
        }
    }
    long peak = memory_peak(&s);
    print_message("%d connections at a time, %ld requests answered (%ld of "
                  "them 503), %ld clients vanished, server's memory at most "
                  "%ld MB\n",
                  count, answers, busy, vanished, peak / 1024);
    assert_true(answers > 1000);
    assert_true(busy < answers / 20);
    close(epoll);
    for (int i = 0; i < count; i++)
        free(connections[i].out);
    free(connections);
    for (int i = 0; i < KINDS; i++)
        free(requests[i].bytes);
    assert_int_equal(stop_server(&s), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
