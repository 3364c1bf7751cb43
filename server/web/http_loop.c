/* A worker's turns: waits, runs the daemon, has the worker answer.
 *
 * Connections come in by the door (http_door.h). The daemon uses epoll and is
 * driven from outside: its descriptor is waited for together with the door and
 * the worker's eventfd. Its epoll is edge-triggered, so
 * MHD_get_timeout must be asked before each wait, or data that was read ahead
 * would be left lying (libmicrohttpd pull request 11). Nor does it always say
 * that a connection was resumed (measured with 0.9.75), so after a turn that
 * answered any request the daemon runs again before anything is waited for.
 */
#include "server/web/http_parts.h"

#include "server/engine/log.h"
#include "server/web/events.h"
#include "server/web/listen.h"
#include "server/web/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    POOL_BYTES = 32 << 10, /* of a connection: its head, and a piece of body;
                              the library clears it for each request */
    LOOK = 8,    /* turns of a busy worker until it looks who else has come */
    EVENTS = 64, /* taken at a time: peers' ends, the daemon's, and ours */
};

__attribute__((format(printf, 2, 0))) static void
on_library_log(void *arg, const char *format, va_list arguments)
{
    char text[512];
    (void)arg;
    if (!soma_log_wants(SOMA_LOG_DEBUG))
        return;
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\r\n")] = '\0';
    soma_log(SOMA_LOG_DEBUG, "http", "text", text, NULL);
}

static int
per_worker(int total, int workers)
{
    return (total + workers - 1) / workers;
}

static soma_status
open_daemon(soma_worker *worker, soma_error *err)
{
    struct soma_http *http = worker->http;
    const soma_web_options *o = &worker->web->options;
    void *certificate = soma_tls_callback();
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, certificate},
        {MHD_OPTION_END, 0, NULL}};
    http->daemon = MHD_start_daemon(
        (certificate ? MHD_USE_TLS : 0) | MHD_USE_EPOLL |
            MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
            MHD_USE_NO_LISTEN_SOCKET,
        0, NULL, NULL, soma_http_on_request, worker, MHD_OPTION_EXTERNAL_LOGGER,
        on_library_log, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        soma_http_on_completed, worker, MHD_OPTION_URI_LOG_CALLBACK,
        soma_http_on_uri, worker, MHD_OPTION_NOTIFY_CONNECTION,
        soma_http_on_connection, worker, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_CONNECTION_LIMIT, http->door.most,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)per_worker(o->max_connections_per_address, o->workers),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->idle_timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
        MHD_OPTION_ARRAY, certificate ? tls : tls + 1, MHD_OPTION_END);
    if (!http->daemon)
        return soma_error_set(err, SOMA_E_IO,
                              "the HTTP library did not start: %s",
                              strerror(errno));
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}};
    struct epoll_event wake = {.events = EPOLLIN, .data = {.ptr = worker}};
    if (epoll_ctl(http->epoll, EPOLL_CTL_ADD, info->epoll_fd, &event) ||
        epoll_ctl(http->epoll, EPOLL_CTL_ADD, worker->wake, &wake))
        return soma_error_errno(err, "creating", "an epoll");
    return SOMA_OK;
}

soma_status
soma_http_open(soma_worker *worker, soma_error *err)
{
    struct soma_http *http = worker->http = calloc(1, sizeof *http);
    if (!http)
        return soma_error_memory(err, "a worker");
    http->door.listener = -1;
    http->bodies.end = &http->bodies.waiting;
    http->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (http->epoll < 0)
        return soma_error_errno(err, "creating", "an epoll");
    /* The other workers' port is the first one's, which may have been any. */
    const soma_web_options *options = &worker->web->options;
    const char *port = options->port;
    char first[8];
    http->peers = (soma_peers){.epoll = http->epoll,
                               .idle = options->idle_timeout,
                               .request = options->request_timeout,
                               .told = !soma_tls_callback()};
    http->door.epoll = http->epoll;
    http->door.most =
        (unsigned)per_worker(options->max_connections, options->workers);
    if (worker->index > 0) {
        snprintf(first, sizeof first, "%d",
                 soma_http_port(&worker->web->workers[0]));
        port = first;
    }
    soma_status status = soma_listen(options->host, port, &http->door.listener,
                                     &http->port, err);
    return status ? status : open_daemon(worker, err);
}

void
soma_http_close(soma_worker *worker)
{
    struct soma_http *http = worker->http;
    if (!http)
        return;
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    soma_door_close(&http->door);
    if (http->epoll >= 0)
        close(http->epoll);
    soma_http_free_requests(http);
    free(http);
    worker->http = NULL;
}

int
soma_http_port(const soma_worker *worker)
{
    return worker->http->port;
}

void
soma_http_wake(soma_worker *worker)
{
    static const uint64_t one = 1;
    ssize_t written = write(worker->wake, &one, sizeof one);
    (void)written; /* it fails only when the counter is high already */
}

/* In milliseconds, -1: none is needed. */
static int
shortest_wait(const struct soma_http *http, const soma_worker *worker)
{
    unsigned long long milliseconds;
    int timeout = soma_peers_timeout(&http->peers);
    int door = soma_door_timeout(&http->door);
    if (door >= 0 && (timeout < 0 || door < timeout))
        timeout = door;
    if (MHD_get_timeout(http->daemon, &milliseconds) == MHD_YES &&
        (timeout < 0 || milliseconds < (unsigned)timeout))
        timeout = milliseconds > 60000 ? 60000 : (int)milliseconds;
    int events = soma_events_timeout(worker);
    if (events >= 0 && (timeout < 0 || events < timeout))
        timeout = events;
    int waiting = soma_worker_timeout(worker);
    if (waiting >= 0 && (timeout < 0 || waiting < timeout))
        timeout = waiting;
    /* While stopping, look again now and then whether all is done. */
    if (atomic_load(&worker->web->stopping) && (timeout < 0 || timeout > 20))
        timeout = 20;
    return timeout;
}

/* Until there is something to read or to write, or the worker is woken; where
 * it is busy, only a look. */
static void
wait_for_work(struct soma_http *http, soma_worker *worker, bool busy)
{
    struct epoll_event events[EVENTS];
    uint64_t now = soma_clock_ticks();
    soma_door_look(&http->door, http->daemon, now);
    int count = epoll_wait(http->epoll, events, EVENTS,
                           busy ? 0 : shortest_wait(http, worker));
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr == worker) {
            uint64_t wakes;
            ssize_t got = read(worker->wake, &wakes, sizeof wakes);
            (void)got; /* nothing there: it does not block */
        } else if (events[i].data.ptr == &http->door) {
            soma_door_admit(&http->door, http->daemon, now);
        } else if (events[i].data.ptr) {
            soma_peers_end(&http->peers, events[i].data.ptr);
        }
}

void *
soma_http_run(void *arg)
{
    soma_worker *worker = arg;
    struct soma_http *http = worker->http;
    soma_readers *readers = &worker->web->registry->readers;
    bool busy = false, quiet = false;
    uint64_t deadline = 0;
    unsigned turns = 0;
    for (;;) {
        if (!busy || ++turns % LOOK == 0)
            wait_for_work(http, worker, busy);
        soma_peers_look(&http->peers, soma_clock_ticks());
        if (atomic_load(&worker->web->stopping) && !quiet) {
            /* No new connections; what is open goes on. */
            quiet = true;
            deadline = soma_clock_ticks() +
                       (uint64_t)worker->web->options.stop_seconds * 1000000;
            soma_door_close(&http->door);
        }
        soma_readers_enter(readers, worker->index);
        http->answered = false;
        MHD_run(http->daemon);
        busy = soma_worker_turn(worker);
        busy = soma_bodies_turn(&http->bodies) || http->answered || busy;
        soma_readers_leave(readers, worker->index);
        bool idle = worker->open_requests == 0 || soma_clock_ticks() > deadline;
        if (quiet && idle && !worker->parked && !worker->large &&
            !worker->awaited && !worker->waiting && !worker->later &&
            !http->bodies.waiting)
            break;
    }
    /* At once, not when all workers have ended: nobody would answer what
     * still came in over the connections that are open here. */
    MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
    return NULL;
}
