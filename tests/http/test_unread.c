/* Large answers that nobody takes: their memory is bounded, and others do not
 * wait until all of them are made.
 */
#include "tests/http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The weights have 1.2 MB, of which the system takes some for who does not
 * read; the server sets 4 MB aside. */
enum {
    CLIENTS = 100,
    EACH = 8,
    ANSWER_KIB = 1200,
    MEMORY_KIB = 4000,
    TRIES = 400
};

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { SHADOW = 8 }; /* sanitizers keep what was freed, and more for a byte */
#else
enum { SHADOW = 1 };
#endif

static const char wanted[] =
    "GET /models/cifar10/weights HTTP/1.1\r\nHost: a\r\n\r\n";
static server s;
static int clients[CLIENTS];

static int
set_up(void **state)
{
    static const char *const arguments[] = {
        "--default-model",  "fashion", "--workers", "1",
        "--request-memory", "4096000", NULL};
    (void)state;
    if (foreign_server("answers that nobody takes"))
        return 0;
    start_server(&s, arguments);
    wait_until_ready(&s);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    return s.pid ? stop_server(&s) : 0;
}

static void
nap(void)
{
    struct timespec pause = {0, 25 * 1000000L};
    nanosleep(&pause, NULL);
}

/* The system keeps little for those who do not read. */
static int
open_narrow(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port)};
    int room = 4096, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room),
                     0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void
ask_for_weights(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = open_narrow();
        for (int k = 0; k < EACH; k++)
            assert_int_equal(send(clients[i], wanted, sizeof wanted - 1, 0),
                             sizeof wanted - 1);
    }
}

static void
hang_up(void)
{
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

static void
expect_prediction(void)
{
    answer a = ask(&s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

/* What the weights are answered, once this has come. */
static void
expect_weights(long status)
{
    answer a = {.status = 0};
    for (int i = 0; i < TRIES && a.status != status; i++) {
        free_answer(&a);
        nap();
        a = get(&s, "/models/cifar10/weights");
    }
    assert_int_equal(a.status, status);
    if (status == 503)
        expect_error(a, 503, "busy", "--request-memory");
    else
        free_answer(&a);
}

static void
memory_is_bounded(void **state)
{
    (void)state;
    if (!s.pid)
        return;
    expect_prediction();
    expect_weights(200);
    long before = memory_peak(&s);
    ask_for_weights();
    expect_weights(503);
    expect_prediction();
    long grown = memory_peak(&s) - before;
    assert_in_range(grown, 0, SHADOW * (2 * MEMORY_KIB + 8 * ANSWER_KIB));
    hang_up();
    expect_weights(200);
}

static int
readable(void)
{
    int count = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct pollfd one = {.fd = clients[i], .events = POLLIN};
        count += poll(&one, 1, 0) == 1;
    }
    return count;
}

/* All of them have come when the server goes on: it predicts after a turn. */
static void
others_do_not_wait_for_all(void **state)
{
    static const char some[] = "GET /models/cifar10/weights?layer=0&units=5 "
                               "HTTP/1.1\r\nHost: a\r\n\r\n";
    char head[128], text[4096] = "";
    (void)state;
    if (!s.pid)
        return;
    int fd = connect_to(&s);
    int size = snprintf(head, sizeof head,
                        "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: "
                        "application/octet-stream\r\nContent-Length: %d\r\n"
                        "\r\n",
                        PIXELS);
    kill(s.pid, SIGSTOP);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = connect_to(&s);
        send(clients[i], some, sizeof some - 1, 0);
    }
    send(fd, head, (size_t)size, 0);
    send(fd, fashion_images(), PIXELS, 0);
    kill(s.pid, SIGCONT);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    int made = readable();
    assert_non_null(strstr(text, "200 OK"));
    assert_in_range(made, 0, CLIENTS / 2);
    for (int i = 0; i < TRIES && readable() < CLIENTS; i++)
        nap();
    assert_int_equal(readable(), CLIENTS);
    hang_up();
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(others_do_not_wait_for_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
