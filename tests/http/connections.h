/* Connections of a test's own, from this address or another, and what the
 * server holds for them.
 *
 * Upper bounds of waiting are far above the timeouts, for a busy machine.
 */
#ifndef SOMA_TESTS_HTTP_CONNECTIONS_H
#define SOMA_TESTS_HTTP_CONNECTIONS_H

#include "tests/http/server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, STEP_MS = 50 };

static server s;
static const char *connections = "5000", *per_address = "5000";

static inline void
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

static inline int
tear_down(void **state)
{
    (void)state;
    if (!s.pid)
        return 0;
    int code = stop_server(&s);
    s.pid = 0;
    return code;
}

static inline bool
skipped(const char *what)
{
    if (!foreign_server(what))
        return false;
    s.pid = 0;
    return true;
}

static inline void
pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static inline int
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

static inline int
open_one(void)
{
    return open_from(INADDR_LOOPBACK);
}

static inline bool
put(int fd, const char *text)
{
    size_t size = strlen(text);
    return send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static inline int
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

static inline void
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

static inline void
expect_answer(void)
{
    answer a = ask(&s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

/* Whether the server ends the connection; what it said is thrown away. */
static inline bool
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
static inline void
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

/* Requests that end too soon. */
static const char *const unfinished[] = {
    "G",
    "GET /healthz HTTP/1.1\r\nHost: a\r\n",
    "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 784\r\n\r\n",
    "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 784\r\n\r\nabc",
    "POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2",
    "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET",
};
enum { UNFINISHED = sizeof unfinished / sizeof *unfinished };

#endif
