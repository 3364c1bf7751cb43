/* A request's states, and the function that moves it on:
 *
 *     READING  on_request, for each piece of its body
 *     RUNNING  on_request at its end calls the route's start, which makes it
 *     SOON     until soma_http_answer at the end of the turn: nothing is
 *              queued, and libmicrohttpd asks again when it next runs; or
 *     PARKED   (the connection is suspended here, before anyone can resume
 *              it), until soma_http_answer in a later turn; or at once
 *     READY    on_request, called again, queues the reply
 *     GONE     the connection ended while SOON: freed by soma_http_answer;
 *              else by on_completed, when the reply was sent or the client
 *              has left
 *
 * Suspending and resuming a connection costs three system calls, more than a
 * row's share of the product: hence SOON. A connection on which nothing was
 * queued stays in the daemon's list of ready ones, so the next run comes to
 * it without a wait; that it does is what tests/http/test_stress.c is for.
 *
 * All of it happens on the worker's thread, so there are no locks; a parked
 * request cannot be completed behind our back, since libmicrohttpd neither
 * times out nor closes a suspended connection.
 *
 * The daemon uses epoll and is driven from outside: its descriptor is waited
 * for together with the worker's eventfd. Its epoll is edge-triggered, so
 * MHD_get_timeout must be asked before each wait, or data that was read ahead
 * would be left lying (libmicrohttpd pull request 11). Nor does it always say
 * that a connection was resumed (measured with 0.9.75), so after a turn that
 * answered any request the daemon runs again before anything is waited for.
 */
#include "server/web/http.h"

#include "server/engine/log.h"
#include "server/web/head.h"
#include "server/web/inflate.h"
#include "server/web/listen.h"
#include "server/web/routes.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    POOL_BYTES = 32 << 10, /* of a connection: its head, and a piece of body;
                              the library clears it for each request */
    DISCARD = 1 << 20, /* a refused body up to this is read, so that the client
                          sees the answer and keeps the connection */
    FREE_REQUESTS = 256,
};

typedef enum http_state {
    READING,
    RUNNING,
    SOON,
    PARKED,
    READY,
    GONE
} http_state;

/* Ours around the request, one for each open request. */
typedef struct http_request {
    soma_request request; /* first: one is the other */
    http_state state;
    bool refused; /* its reply is complete; the body is thrown away */
    struct http_request *next;
} http_request;

struct soma_http {
    struct MHD_Daemon *daemon;
    int listener;
    int epoll;
    int port;
    bool answered;      /* a request since the daemon last ran */
    http_request *free; /* kept for the next ones */
    int free_count;
};

/* ---- Requests ---- */

static http_request *
take_request(soma_worker *worker)
{
    struct soma_http *http = worker->http;
    http_request *taken = http->free;
    if (taken) {
        http->free = taken->next;
        http->free_count--;
    } else {
        taken = calloc(1, sizeof *taken);
        if (!taken)
            return NULL;
        taken->request.worker = worker;
    }
    taken->state = READING;
    taken->refused = false;
    taken->request.id = worker->next_id++;
    taken->request.started = soma_clock_ticks();
    worker->open_requests++;
    return taken;
}

static void
give_back(http_request *done)
{
    soma_worker *worker = done->request.worker;
    struct soma_http *http = worker->http;
    worker->open_requests--;
    if (http->free_count == FREE_REQUESTS) {
        soma_request_free(&done->request);
        return;
    }
    soma_request_reset(&done->request);
    done->next = http->free;
    http->free = done;
    http->free_count++;
}

static enum MHD_Result
take_header(void *arg, enum MHD_ValueKind kind, const char *name,
            const char *value)
{
    (void)kind;
    soma_head_take(arg, name, value);
    return MHD_YES;
}

static enum MHD_Result
take_argument(void *arg, enum MHD_ValueKind kind, const char *name,
              const char *value)
{
    (void)kind;
    soma_request_argument(arg, name, value ? value : "");
    return MHD_YES;
}

/* False: the answer goes out now, whatever of the body is still to come. A
 * refused body is read and thrown away only if it is short. */
static bool
begin(http_request *self, const char *method, const char *url)
{
    soma_request *request = &self->request;
    soma_head head = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, take_header,
                              &head);
    request->type = head.type;
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND,
                              take_argument, request);
    soma_head_take_trace(&head, request);
    soma_head_check(&head, request);
    if (!request->reply.status)
        soma_head_check_key(&head, request);
    if (!request->reply.status)
        request->route = soma_route_find(request, method, url);
    if (!request->reply.status && !strcmp(method, "POST"))
        soma_head_check_body(&head, request);
    self->refused = request->reply.status != 0;
    return !self->refused || (!request->reply.close && head.size <= DISCARD);
}

static void
add_headers(struct MHD_Response *response, const soma_request *request)
{
    const soma_reply *reply = &request->reply;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            reply->type);
    if (reply->allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->policy) {
        MHD_add_response_header(response, "Content-Security-Policy",
                                reply->policy);
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    if (reply->head_size) {
        char bytes[24];
        snprintf(bytes, sizeof bytes, "%zu", reply->head_size);
        MHD_add_response_header(response, "Inference-Header-Content-Length",
                                bytes);
    }
    if (reply->retry_after) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", reply->retry_after);
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    /* A server that is stopping takes no further request from anyone. */
    if (reply->close || atomic_load(&request->worker->web->draining))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* The reply's memory stays the request's, which outlives the response. Its
 * models are no longer needed: a client that reads slowly, or not at all, must
 * not keep one from being removed. */
static enum MHD_Result
send_reply(http_request *self)
{
    soma_request_leave(&self->request);
    const soma_reply *reply = &self->request.reply;
    union {
        const void *constant;
        void *data;
    } body = {.constant = reply->constant ? reply->constant : reply->text.data};
    size_t size = reply->constant ? reply->constant_size : reply->text.used;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        size, body.data, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    add_headers(response, &self->request);
    enum MHD_Result queued = MHD_queue_response(
        self->request.connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* The whole request is there. */
static enum MHD_Result
run(http_request *self)
{
    soma_request *request = &self->request;
    size_t most = request->worker->web->options.max_body;
    self->state = RUNNING;
    if (!self->refused && request->refused == SOMA_E_LIMIT)
        soma_reply_error(request, 413, "body_too_large",
                         "the body: more than %zu bytes", most);
    else if (!self->refused && request->refused)
        soma_reply_busy(request);
    else if (!self->refused && soma_inflate_body(request, most))
        switch (request->route->start(request)) {
        case SOMA_SOON:
            self->state = SOON;
            return MHD_YES;
        case SOMA_PARKED:
            MHD_suspend_connection(request->connection);
            self->state = PARKED;
            return MHD_YES;
        case SOMA_DONE:
            break;
        }
    self->state = READY;
    return send_reply(self);
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *connection, const char *url,
           const char *method, const char *version, const char *data,
           size_t *size, void **context)
{
    soma_worker *worker = arg;
    http_request *self = *context;
    (void)version;
    if (!self) {
        self = *context = take_request(worker);
        if (!self)
            return MHD_NO;
        self->request.connection = connection;
        return begin(self, method, url) ? MHD_YES : send_reply(self);
    }
    if (*size) {
        /* Without a length, a body that is too large goes on until its end or
         * until it is too much even to throw away. */
        size_t most = worker->web->options.max_body;
        bool kept = !self->refused &&
                    soma_request_append(&self->request, data, *size, most);
        if (!kept) {
            self->request.body_size += *size;
            if (self->request.body_size > 2 * most + DISCARD)
                return MHD_NO;
        }
        *size = 0;
        return MHD_YES;
    }
    if (self->state == READING)
        return run(self);
    return self->state == READY ? send_reply(self) : MHD_YES;
}

static void
on_completed(void *arg, struct MHD_Connection *connection, void **context,
             enum MHD_RequestTerminationCode code)
{
    http_request *self = *context;
    (void)arg, (void)connection, (void)code;
    if (!self)
        return;
    *context = NULL;
    if (self->state == SOON) {
        self->state = GONE;
        return;
    }
    if (self->request.reply.status)
        soma_request_report(&self->request);
    give_back(self);
}

void
soma_http_answer(soma_request *request)
{
    http_request *self = (http_request *)request;
    http_state before = self->state;
    self->state = READY;
    request->worker->http->answered = true;
    if (before == PARKED)
        MHD_resume_connection(request->connection);
    else if (before == GONE)
        give_back(self);
}

/* ---- The daemon ---- */

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
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, on_request, worker, MHD_OPTION_EXTERNAL_LOGGER, on_library_log,
        NULL, MHD_OPTION_LISTEN_SOCKET, http->listener,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, worker,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)per_worker(o->max_connections, o->workers),
        MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)per_worker(o->max_connections_per_address, o->workers),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->idle_timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_END);
    if (!http->daemon)
        return soma_error_set(err, SOMA_E_IO,
                              "the HTTP library did not start: %s",
                              strerror(errno));
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event event = {.events = EPOLLIN};
    struct epoll_event wake = {.events = EPOLLIN, .data = {.ptr = worker}};
    http->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (http->epoll < 0 ||
        epoll_ctl(http->epoll, EPOLL_CTL_ADD, info->epoll_fd, &event) ||
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
    http->listener = http->epoll = -1;
    /* The other workers' port is the first one's, which may have been any. */
    const soma_web_options *options = &worker->web->options;
    const char *port = options->port;
    char first[8];
    if (worker->index > 0) {
        snprintf(first, sizeof first, "%d",
                 soma_http_port(&worker->web->workers[0]));
        port = first;
    }
    soma_status status =
        soma_listen(options->host, port, &http->listener, &http->port, err);
    return status ? status : open_daemon(worker, err);
}

void
soma_http_close(soma_worker *worker)
{
    struct soma_http *http = worker->http;
    if (!http)
        return;
    if (http->daemon)
        MHD_stop_daemon(http->daemon); /* closes the listener */
    else if (http->listener >= 0)
        close(http->listener);
    if (http->epoll >= 0)
        close(http->epoll);
    while (http->free) {
        http_request *next = http->free->next;
        soma_request_free(&http->free->request);
        http->free = next;
    }
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

/* Until there is something to read or to write, or the worker is woken. */
static void
wait_for_work(struct soma_http *http, soma_worker *worker)
{
    struct epoll_event events[2];
    unsigned long long milliseconds;
    int timeout = -1;
    if (MHD_get_timeout(http->daemon, &milliseconds) == MHD_YES)
        timeout = milliseconds > 60000 ? 60000 : (int)milliseconds;
    /* While draining, look again now and then whether all is done. */
    if (atomic_load(&worker->web->draining) && (timeout < 0 || timeout > 20))
        timeout = 20;
    int count = epoll_wait(http->epoll, events, 2, timeout);
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr == worker) {
            uint64_t wakes;
            ssize_t got = read(worker->wake, &wakes, sizeof wakes);
            (void)got; /* nothing there: it does not block */
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
    for (;;) {
        if (!busy)
            wait_for_work(http, worker);
        if (atomic_load(&worker->web->draining) && !quiet) {
            /* No new connections; what is open goes on. */
            quiet = true;
            deadline = soma_clock_ticks() +
                       (uint64_t)worker->web->options.drain * 1000000;
            int fd = MHD_quiesce_daemon(http->daemon);
            if (fd >= 0)
                close(fd);
            http->listener = -1;
        }
        soma_readers_enter(readers, worker->index);
        http->answered = false;
        MHD_run(http->daemon);
        busy = soma_worker_turn(worker) || http->answered;
        soma_readers_leave(readers, worker->index);
        bool idle = worker->open_requests == 0 || soma_clock_ticks() > deadline;
        if (quiet && idle && !worker->parked && !worker->large &&
            !worker->awaited)
            break;
    }
    /* At once, not when all workers have ended: nobody would answer what
     * still came in over the connections that are open here. */
    MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
    return NULL;
}
