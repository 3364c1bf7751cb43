/* Clients that are slow, many, or gone: a good one is answered all along, and
 * what they held is given back.
 *
 * The server's timeouts are short here; upper bounds of the waiting are far
 * above them, so that a busy machine fails nothing.
 */
#include "tests/http/server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, STEP_MS = 50 };

static server s;

static void
start(const char *idle, const char *request)
{
    const char *arguments[] = {"--default-model",
                               "fashion",
                               "--workers",
                               "1",
                               "--idle-timeout",
                               idle,
                               "--request-timeout",
                               request,
                               "--max-connections-per-address",
                               "5000",
                               "--max-connections",
                               "5000",
                               NULL};
    start_server(&s, arguments);
    wait_until_ready(&s);
}

static int
tear_down(void **state)
{
    (void)state;
    if (!s.pid)
        return 0;
    int code = stop_server(&s);
    s.pid = 0;
    return code;
}

static bool
skipped(const char *what)
{
    if (!foreign_server(what))
        return false;
    s.pid = 0;
    return true;
}

static void
pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static int
open_one(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool
put(int fd, const char *text)
{
    size_t size = strlen(text);
    return send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int
descriptors(void)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)s.pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void
expect_descriptors(int most)
{
    int now = 0;
    for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
        now = descriptors();
        if (now <= most)
            return;
        pause_ms(STEP_MS);
    }
    fail_msg("%d descriptors are open, %d were expected", now, most);
}

static void
expect_answer(void)
{
    answer a = ask(&s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

/* Whether the server ends the connection; what it said is thrown away. */
static bool
is_closed(int fd, int within_ms)
{
    char bytes[4096];
    struct pollfd one = {.fd = fd, .events = POLLIN};
    while (poll(&one, 1, within_ms) > 0)
        if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) <= 0)
            return errno != EAGAIN;
    return false;
}

/* ---- Clients that are gone ---- */

static const char *const unfinished[] = {
    "G",
    "GET /healthz HTTP/1.1\r\nHost: a\r\n",
    "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 784\r\n\r\n",
    "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 784\r\n\r\nabc",
    "POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2",
    "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET",
};
enum { UNFINISHED = sizeof unfinished / sizeof *unfinished };

/* The end of the stream comes together with what is before it: nothing is to
 * lie there until it has idled for an hour. */
static void
who_has_left_is_let_go(void **state)
{
    (void)state;
    if (skipped("clients that leave"))
        return;
    start("3600", "3600");
    expect_answer();
    int before = descriptors();
    for (int i = 0; i < 300; i++) {
        int fd = open_one();
        assert_true(put(fd, unfinished[i % UNFINISHED]));
        if (i % 2) {
            const struct linger reset = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        close(fd);
    }
    expect_descriptors(before);
    expect_answer();
}

/* A client may say that it sends no more, and still wait for its answer. */
static void
half_closed_is_answered(void **state)
{
    char text[256];
    (void)state;
    if (skipped("half-closed connections"))
        return;
    start("3600", "3600");
    int before = descriptors();
    for (int i = 0; i < 50; i++) {
        int fd = open_one();
        assert_true(put(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
        shutdown(fd, SHUT_WR);
        ssize_t got = recv(fd, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        assert_non_null(strstr(text, "200 OK"));
        close(fd);
    }
    expect_descriptors(before);
}

/* ---- Clients that are slow ---- */

/* A byte now and then, for as long as the connection stands. */
static void
drip(const char *start_of_it)
{
    int fd = open_one(), waited = 0;
    assert_true(put(fd, start_of_it));
    for (; waited < PATIENCE_MS && !is_closed(fd, STEP_MS); waited += STEP_MS)
        if (!put(fd, "a"))
            break;
    close(fd);
    if (waited >= PATIENCE_MS)
        fail_msg("%s...: the connection still stands", start_of_it);
}

static void
who_drips_is_cut_off(void **state)
{
    (void)state;
    if (skipped("slow clients"))
        return;
    start("3600", "1");
    int before = descriptors();
    drip("GET /");
    drip("GET /healthz HTTP/1.1\r\nHost: a\r\nX: ");
    drip("POST /predict HTTP/1.1\r\nHost: a\r\n"
         "Content-Type: application/octet-stream\r\n"
         "Content-Length: 1000000\r\n\r\n");
    expect_answer();
    expect_descriptors(before);
}

/* One that stops within a request is told why its connection ends; one that
 * has sent nothing keeps it. */
static void
who_is_late_is_told(void **state)
{
    static const char *const late[] = {
        "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 784\r\n\r\nabc",
        "POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        "\r\n2",
        "GET /healthz HTTP/1.1\r\nHost: a\r\n",
    };
    (void)state;
    if (skipped("late requests"))
        return;
    start("3600", "1");
    int idle = open_one();
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        char text[512];
        int fd = open_one();
        pause_ms(200); /* it idles before */
        assert_true(put(fd, late[i]));
        struct pollfd one = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
        ssize_t got = recv(fd, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        if (!strstr(text, "HTTP/1.1 408") || !strstr(text, "request_timeout"))
            fail_msg("%s... was answered: %s", late[i], text);
        assert_int_equal(recv(fd, text, sizeof text, 0), 0);
        close(fd);
    }
    assert_false(is_closed(idle, 1));
    close(idle);
}

static void
who_does_not_read_is_cut_off(void **state)
{
    (void)state;
    if (skipped("readers that stop"))
        return;
    start("1", "1");
    int before = descriptors(), some[20];
    for (int i = 0; i < 20; i++) {
        int small = 4096;
        some[i] = open_one();
        setsockopt(some[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        for (int k = 0; k < 20; k++)
            put(some[i],
                "GET /models/cifar10/weights HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    expect_answer();
    expect_descriptors(before);
    for (int i = 0; i < 20; i++)
        close(some[i]);
}

/* ---- Clients that are many ---- */

static void
a_thousand_idle_ones(void **state)
{
    enum { MANY = 3000, MOST_KB = 400 << 10 };
    static int some[MANY];
    struct rlimit limit;
    (void)state;
    if (skipped("idle connections"))
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    start("3600", "3600");
    int before = descriptors();
    for (int i = 0; i < MANY; i++) {
        some[i] = open_one();
        if (i % 3)
            put(some[i], unfinished[i % UNFINISHED]);
        if (i % 100 == 0)
            expect_answer();
    }
    expect_answer();
    print_message("%d connections: at most %ld KiB\n", MANY, memory_peak(&s));
    assert_true(memory_peak(&s) < MOST_KB);
    for (int i = 0; i < MANY; i++)
        close(some[i]);
    expect_descriptors(before);
}

/* Requests without end, whose answers nobody reads: neither memory nor the
 * others' turns are theirs. */
static void
pipelining_without_end(void **state)
{
    static const char one[] = "GET /models HTTP/1.1\r\nHost: a\r\n\r\n";
    enum { COPIES = 1000 };
    static char many[COPIES * sizeof one];
    (void)state;
    if (skipped("endless pipelining"))
        return;
    start("3600", "3600");
    for (int i = 0; i < COPIES; i++)
        strcat(many + (size_t)i * (sizeof one - 1), one);
    expect_answer();
    long before = memory_peak(&s);
    int some[8];
    for (int i = 0; i < 8; i++) {
        some[i] = open_one();
        fcntl(some[i], F_SETFL, O_NONBLOCK);
    }
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 8; i++)
            send(some[i], many, strlen(many), MSG_NOSIGNAL);
        expect_answer();
    }
    assert_true(memory_peak(&s) < before + (64 << 10));
    for (int i = 0; i < 8; i++)
        close(some[i]);
}

/* The server's descriptors run out: who is there is served, and those who come
 * when there are some again. */
static void
descriptors_run_out(void **state)
{
    enum { HAS = 120, COME = 200 };
    int some[COME];
    struct rlimit few;
    (void)state;
    if (skipped("descriptors"))
        return;
    start("3600", "3600");
    assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, NULL, &few), 0);
    few.rlim_cur = HAS;
    assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, &few, NULL), 0);
    int before = descriptors();
    for (int i = 0; i < COME; i++)
        some[i] = open_one();
    for (int waited = 0; waited < PATIENCE_MS && descriptors() < HAS - 10;
         waited += STEP_MS)
        pause_ms(STEP_MS);
    /* One that it has taken. */
    assert_true(put(some[0], "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct pollfd one = {.fd = some[0], .events = POLLIN};
    assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
    for (int i = 0; i < COME; i++)
        close(some[i]);
    expect_answer();
    expect_descriptors(before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(who_has_left_is_let_go, tear_down),
        cmocka_unit_test_teardown(half_closed_is_answered, tear_down),
        cmocka_unit_test_teardown(who_drips_is_cut_off, tear_down),
        cmocka_unit_test_teardown(who_is_late_is_told, tear_down),
        cmocka_unit_test_teardown(who_does_not_read_is_cut_off, tear_down),
        cmocka_unit_test_teardown(a_thousand_idle_ones, tear_down),
        cmocka_unit_test_teardown(pipelining_without_end, tear_down),
        cmocka_unit_test_teardown(descriptors_run_out, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
