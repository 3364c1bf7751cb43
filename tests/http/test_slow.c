/* Clients that are slow, many, or gone: a good one is answered all along, and
 * what they held is given back.
 *
 * Upper bounds of waiting are far above the timeouts, for a busy machine.
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

/* Sanitizers keep what was freed, and more for each byte. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { SHADOW = 8 };
#else
enum { SHADOW = 1 };
#endif

static server s;
static const char *connections = "5000", *per_address = "5000";

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
                               per_address,
                               "--max-connections",
                               connections,
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
open_from(uint32_t address)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    from.sin_addr.s_addr = htonl(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static int
open_one(void)
{
    return open_from(INADDR_LOOPBACK);
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

/* A request over a connection of the test's. */
static void
expect_live(int fd)
{
    char text[512];
    struct pollfd one = {.fd = fd, .events = POLLIN};
    assert_true(put(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
    ssize_t got = recv(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    assert_non_null(strstr(text, "200 OK"));
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
        ("POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
         "\r\n2"),
        "GET /healthz HTTP/1.1\r\nHost: a\r\n",
    };
    (void)state;
    if (skipped("late requests"))
        return;
    start("3600", "1");
    enum { LATE = sizeof late / sizeof *late };
    int idle = open_one(), some[LATE];
    for (int i = 0; i < LATE; i++)
        some[i] = open_one();
    pause_ms(200); /* they idle before */
    for (int i = 0; i < LATE; i++)
        assert_true(put(some[i], late[i]));
    for (int i = 0; i < LATE; i++) {
        char text[512];
        struct pollfd one = {.fd = some[i], .events = POLLIN};
        assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
        ssize_t got = recv(some[i], text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        if (!strstr(text, "HTTP/1.1 408") || !strstr(text, "request_timeout"))
            fail_msg("%s... was answered: %s", late[i], text);
        assert_int_equal(recv(some[i], text, sizeof text, 0), 0);
        close(some[i]);
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

/* A third of them has sent nothing, the others half of a request. */
static void
ten_thousand_idle_ones(void **state)
{
    enum { MANY = 10000, BESIDE = 500, MOST_KB = SHADOW * 600 << 10 };
    static int some[MANY];
    int many = MANY;
    struct rlimit limit;
    (void)state;
    if (skipped("idle connections"))
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < MANY + BESIDE) {
        many = (int)limit.rlim_max - BESIDE;
        print_message("NOT TESTED: more than %d connections, which is what "
                      "ulimit -n allows\n",
                      many);
    }
    connections = per_address = "11000";
    start("3600", "3600");
    connections = per_address = "5000";
    int before = descriptors();
    for (int i = 0; i < many; i++) {
        some[i] = open_one();
        if (i % 3)
            put(some[i], unfinished[i % UNFINISHED]);
        if (i % 100 == 0)
            expect_answer();
    }
    expect_answer();
    print_message("%d connections: at most %ld KiB\n", many, memory_peak(&s));
    assert_true(memory_peak(&s) < MOST_KB);
    for (int i = 0; i < many; i++)
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
    assert_true(memory_peak(&s) < before + (SHADOW * 64 << 10));
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
    expect_live(some[0]);
    for (int i = 0; i < COME; i++)
        close(some[i]);
    expect_answer();
    expect_descriptors(before);
}

/* Clock ticks of processor time that the server has used. */
static long
processor_time(void)
{
    char path[64];
    long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)s.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file,
                            "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u "
                            "%*u %*u %ld %ld",
                            &user, &system),
                     2);
    fclose(file);
    return user + system;
}

/* With none left, and whether or not anyone is connected: it does not spin,
 * and takes who waits when there are some again, though none of its own
 * connections has ended. */
static void
nobody_waits_for_ever(void **state)
{
    (void)state;
    if (skipped("descriptors that come back"))
        return;
    start("3600", "3600");
    for (int connected = 0; connected < 2; connected++) {
        struct rlimit all, none;
        int there = connected ? open_one() : -1;
        if (connected)
            expect_live(there);
        assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, NULL, &all), 0);
        none = all;
        none.rlim_cur = 3;
        assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, &none, NULL), 0);
        int waits = open_one();
        pause_ms(100);
        long before = processor_time();
        pause_ms(600);
        long used = processor_time() - before;
        assert_int_equal(prlimit(s.pid, RLIMIT_NOFILE, &all, NULL), 0);
        if (used > sysconf(_SC_CLK_TCK) / 12)
            fail_msg("%ld ticks used for waiting", used);
        expect_live(waits);
        close(waits);
        close(there);
    }
}

/* Others come in from another address. */
static void
one_address_floods(void **state)
{
    enum { MOST = 50, COME = 300 };
    int some[COME], closed = 0;
    (void)state;
    if (skipped("floods"))
        return;
    per_address = "50";
    start("3600", "3600");
    per_address = "5000";
    int before = descriptors();
    for (int i = 0; i < COME; i++)
        some[i] = open_one();
    int other = open_from(INADDR_LOOPBACK + 1);
    expect_live(other);
    while (closed < COME - MOST && is_closed(some[MOST + closed], PATIENCE_MS))
        closed++;
    assert_int_equal(closed, COME - MOST);
    assert_true(descriptors() <= before + MOST + 1);
    expect_live(some[0]);
    for (int i = 0; i < COME; i++)
        close(some[i]);
    close(other);
    expect_descriptors(before);
    expect_answer();
}

/* `from` to `to` of a body of a hundred images, behind its head. */
static void
put_large(int fd, size_t from, size_t to)
{
    enum { SIZE = 784 * 100 };
    static const char zeros[SIZE];
    if (from == 0)
        assert_true(put(fd, "POST /models/fashion/predict HTTP/1.1\r\n"
                            "Host: x\r\nContent-Length: 78400\r\n"
                            "Content-Type: application/octet-stream\r\n\r\n"));
    to = to < SIZE ? to : SIZE;
    while (from < to) {
        ssize_t sent = send(fd, zeros, to - from, MSG_NOSIGNAL);
        assert_true(sent > 0);
        from += (size_t)sent;
    }
}

static void
expect_predictions(int fd)
{
    char got[64] = "";
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
    assert_true(recv(fd, got, sizeof got - 1, 0) > 0);
    if (strncmp(got, "HTTP/1.1 200", 12) != 0)
        fail_msg("it was answered %s", got);
}

/* Only two large bodies are read at a time: of those that come. */
static void
large_bodies_that_stop_hold_nobody(void **state)
{
    enum { STOPPED = 6, WHOLE = 6, HALF = 40000 };
    int some[STOPPED], others[WHOLE];
    (void)state;
    if (skipped("slow bodies"))
        return;
    start("3600", "3600");
    int before = descriptors();
    for (int i = 0; i < STOPPED; i++)
        put_large(some[i] = open_one(), 0, HALF);
    for (int i = 0; i < WHOLE; i++)
        put_large(others[i] = open_one(), 0, SIZE_MAX);
    for (int i = 0; i < WHOLE; i++)
        expect_predictions(others[i]);
    expect_answer();
    close(some[0]);
    for (int i = 1; i < STOPPED; i++) {
        put_large(some[i], HALF, SIZE_MAX);
        expect_predictions(some[i]);
    }
    for (int i = 1; i < STOPPED; i++)
        close(some[i]);
    for (int i = 0; i < WHOLE; i++)
        close(others[i]);
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
        cmocka_unit_test_teardown(ten_thousand_idle_ones, tear_down),
        cmocka_unit_test_teardown(pipelining_without_end, tear_down),
        cmocka_unit_test_teardown(descriptors_run_out, tear_down),
        cmocka_unit_test_teardown(nobody_waits_for_ever, tear_down),
        cmocka_unit_test_teardown(one_address_floods, tear_down),
        cmocka_unit_test_teardown(large_bodies_that_stop_hold_nobody,
                                  tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
