/* Clients that are slow, or gone: a good one is answered all along, and what
 * they held is given back. */
#include "tests/http/connections.h"

/* ---- Clients that are gone ---- */

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
        cmocka_unit_test_teardown(large_bodies_that_stop_hold_nobody,
                                  tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
