/* Sockets that take and give bytes one by one, or nothing at every second
 * call, and readers for whom the kernel holds little: every answer is, byte for
 * byte, the one without. */
#include "tests/faults/shimmed.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HANG = 60000, /* milliseconds without a byte; none takes one */
    IMAGES = 64,
    PIECE = 4093, /* of answers too large to come byte by byte */
    LITTLE = 1,   /* bytes of SO_SNDBUF: the kernel makes it its least */
    NARROW = 16 << 10,
};

typedef struct stream {
    char *bytes;
    size_t size, room;
} stream;

static void
add(stream *to, const void *bytes, size_t size)
{
    if (to->size + size > to->room) {
        to->room = (to->size + size) * 2;
        to->bytes = realloc(to->bytes, to->room);
        assert_non_null(to->bytes);
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void
add_request(stream *to, const char *method, const attempt *a)
{
    char head[512];
    int size =
        snprintf(head, sizeof head,
                 "%s %s HTTP/1.1\r\nHost: soma\r\n%s%s"
                 "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                 method, a->path, a->header ? a->header : "",
                 a->header ? "\r\n" : "", a->type ? a->type : "", a->size);
    assert_true(size < (int)sizeof head);
    add(to, head, (size_t)size);
    if (a->size)
        add(to, a->body, a->size);
}

static void
add_named(stream *to, const char *name)
{
    const attempt *a = shimmed_attempt(name);
    add_request(to, a->body ? "POST" : "GET", a);
}

static void
add_get(stream *to, const char *method, const char *path, const char *header)
{
    add_request(to, method, &(attempt){.path = path, .header = header});
}

/* Of all kinds, one behind the other: bodies and none, small and large, those
 * that are learned from, one learned only once, refused ones. None tells of
 * what is done meanwhile, as /models/fashion does of checkpoints. */
static stream
mixed_requests(void)
{
    static const char *const names[] = {"json", "bytes", "npy", "png",  "jpeg",
                                        "gzip", "oip",   "tfs", "train"};
    attempt once = *shimmed_attempt("train");
    attempt many = *shimmed_attempt("bytes");
    stream s = {0};
    once.header = "Idempotency-Key: once";
    many.size = (size_t)IMAGES * PIXELS;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add_named(&s, names[i]);
    add_request(&s, "POST", &once);
    add_request(&s, "POST", &once);
    add_request(&s, "POST", &many);
    add_named(&s, "rollback");
    add_request(&s, "POST", &many);
    add_get(&s, "GET", "/nowhere", NULL);
    add_request(&s, "PUT", shimmed_attempt("json"));
    add_get(&s, "HEAD", "/openapi.json", NULL);
    add_get(&s, "GET", "/v2/models/fashion", NULL);
    add_get(&s, "GET", "/healthz", "Connection: close");
    return s;
}

static stream
large_requests(void)
{
    stream s = {0};
    add_get(&s, "GET", "/openapi.json", NULL);
    add_named(&s, "weights");
    add_named(&s, "bytes");
    add_get(&s, "GET", "/models/fashion/weights", "Connection: close");
    return s;
}

static int
connect_narrow(bool narrow)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)shimmed.port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int size = NARROW, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (narrow) /* before the window is told */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static bool
is_trouble(ssize_t n)
{
    return n < 0 && errno != EAGAIN;
}

/* Sends them all, as fast as they are taken, and reads until the end. */
static stream
exchange(const char *name, const stream *requests, bool narrow)
{
    char piece[1 << 16];
    stream got = {0};
    size_t sent = 0;
    int fd = connect_narrow(narrow);
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        p.events |= sent < requests->size ? POLLOUT : 0;
        if (poll(&p, 1, HANG) <= 0)
            fail_msg("%s: it hung; %zu of %zu bytes sent, %zu came", name, sent,
                     requests->size, got.size);
        ssize_t n = 0;
        if (p.revents & POLLOUT)
            n = send(fd, requests->bytes + sent, requests->size - sent,
                     MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        if (is_trouble(n))
            fail_msg("%s: sending: %s", name, strerror(errno));
        if (!(p.revents & (POLLIN | POLLHUP)))
            continue;
        n = recv(fd, piece, narrow ? 1000 : sizeof piece, 0);
        if (n == 0)
            break;
        if (is_trouble(n))
            fail_msg("%s: receiving: %s", name, strerror(errno));
        if (n > 0)
            add(&got, piece, (size_t)n);
    }
    close(fd);
    assert_int_equal(sent, requests->size);
    return got;
}

/* The only thing in an answer that is of its time. */
static void
blank_dates(stream *s)
{
    static const char name[] = "\r\nDate: ";
    char *end = s->bytes + s->size, *at = s->bytes;
    while ((at = memmem(at, (size_t)(end - at), name, sizeof name - 1))) {
        at += sizeof name - 1;
        while (at < end && *at != '\r')
            *at++ = '-';
    }
}

typedef struct mode {
    const char *name;
    int kinds, error, buffer;
} mode;

static stream
answers_in(const mode *m, const stream *requests, int most)
{
    *shim = (struct shim){.live = shim->live,
                          .fail_at = 1,
                          .run = INT_MAX / 2,
                          .error = m->error,
                          .most = most,
                          .buffer = m->buffer};
    __atomic_store_n(&shim->kinds, m->kinds, __ATOMIC_SEQ_CST);
    stream got = exchange(m->name, requests, m->buffer);
    __atomic_store_n(&shim->kinds, 0, __ATOMIC_SEQ_CST);
    blank_dates(&got);
    if (getenv("SOMA_FAULTS_SHOW"))
        print_message("%s: %zu bytes, %d calls failed, %d were short\n",
                      m->name, got.size, shim->failed, shim->full);
    return got;
}

static void
expect_same(const char *name, const stream *got, const stream *expected)
{
    size_t at = 0;
    while (at < got->size && at < expected->size &&
           got->bytes[at] == expected->bytes[at])
        at++;
    if (at < got->size || at < expected->size)
        fail_msg("%s: %zu bytes, expected %zu; the first that differs is %zu: "
                 "%.*s\nexpected %.*s",
                 name, got->size, expected->size, at,
                 (int)(got->size - at > 300 ? 300 : got->size - at),
                 got->bytes + at,
                 (int)(expected->size - at > 300 ? 300 : expected->size - at),
                 expected->bytes + at);
}

/* A server that has learned nothing yet, each time. */
static void
answers_are_the_same(void **state)
{
    static const mode modes[] = {
        {.name = "no fault"},
        {"one byte", SHIM_RECV | SHIM_SEND, SHIM_SHORT, 0},
        {"nothing, one byte", SHIM_RECV | SHIM_SEND, SHIM_DRIP, 0},
        {.name = "little room", .buffer = LITTLE},
    };
    stream mixed = mixed_requests(), large = large_requests();
    stream expected[2] = {0};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(shimmed_set_up(state), 0);
        stream got[2] = {answers_in(&modes[i], &mixed, 1)};
        assert_true(!modes[i].kinds || shim->failed > 10000);
        got[1] = answers_in(&modes[i], &large, PIECE);
        assert_true(!modes[i].buffer || shim->full > 10);
        for (int k = 0; k < 2; k++)
            if (i == 0) {
                expected[k] = got[k];
            } else {
                expect_same(modes[i].name, &got[k], &expected[k]);
                free(got[k].bytes);
            }
        assert_int_equal(shimmed_tear_down(state), 0);
    }
    for (int k = 0; k < 2; k++)
        free(expected[k].bytes);
    free(mixed.bytes);
    free(large.bytes);
}

int
main(void)
{
    if (foreign_server("short sends and receives"))
        return 0;
    curl_global_init(CURL_GLOBAL_ALL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(answers_are_the_same, shimmed_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
