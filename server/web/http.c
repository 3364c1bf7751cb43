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
 */
#include "server/web/http_parts.h"

#include "core/io/json_memory.h"
#include "server/web/cors.h"
#include "server/web/events.h"
#include "server/web/head.h"
#include "server/web/http_head.h"
#include "server/web/http_stream.h"
#include "server/web/inflate.h"
#include "server/web/routes.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DISCARD = 8 << 20, /* a refused body up to this is read, so that the client
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

typedef struct soma_http_request http_request;

/* Ours around the request, one for each open request. */
struct soma_http_request {
    soma_request request; /* first: one is the other */
    http_state state;
    soma_peer *peer; /* or NULL */
    soma_body body;
    bool refused; /* its reply is complete; the body is thrown away */
    http_request *next;
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

static const struct sockaddr *
address_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

/* False: the answer goes out now, whatever of the body is still to come. A
 * refused body is read and thrown away only if it is short. */
static bool
begin(http_request *self, const char *method, const char *url,
      const char *version)
{
    soma_request *request = &self->request;
    soma_head head = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, take_header,
                              &head);
    request->type = head.type;
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND,
                              take_argument, request);
    soma_head_take_trace(&head, request);
    request->reply.close = head.encodings && soma_head_forgives_chunks();
    soma_head_check(&head, request);
    if (!request->reply.status &&
        !soma_head_is_well_formed(request->connection, method, url, version,
                                  self->peer ? self->peer->after_uri : NULL))
        soma_head_refuse_form(request);
    if (!request->reply.status && self->peer && self->peer->odd_target)
        soma_head_refuse_target(request);
    if (!request->reply.status)
        soma_head_check_target(request, url);
    bool sound = !request->reply.status;
    if (sound)
        soma_cors_take(&head, request, method, url);
    if (!request->reply.status)
        soma_head_check_key(&head, request);
    if (!request->reply.status)
        soma_head_check_version(&head, request);
    if (!request->reply.status)
        request->route = soma_route_find(request, method, url);
    if (!request->reply.status)
        soma_head_check_access(&head, request);
    if (sound && request->worker->web->rates && !request->reply.methods)
        soma_head_check_rate(request, address_of(request->connection));
    if (!request->reply.status && !strcmp(method, "POST"))
        soma_head_check_body(&head, request);
    self->refused = request->reply.status != 0;
    if (self->refused && head.size > DISCARD)
        request->reply.close = true;
    return !self->refused || !request->reply.close;
}

static void
add_cors_headers(struct MHD_Response *response, const soma_request *request)
{
    const char *origins = request->worker->web->options.cors_origins;
    const soma_reply *reply = &request->reply;
    if (!origins)
        return;
    if (*origins != '*')
        MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Origin");
    if (!reply->origin)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin",
                            reply->origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers",
                            "Retry-After, Soma-Version, "
                            "Inference-Header-Content-Length");
    if (!reply->methods)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Methods",
                            reply->methods);
    MHD_add_response_header(response, "Access-Control-Allow-Headers",
                            "Authorization, Content-Type, Content-Encoding, "
                            "Idempotency-Key, Inference-Header-Content-Length, "
                            "Soma-Min-Version, traceparent");
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
}

/* For browsers: what it is, is what it says (of JSON they do not guess); and
 * the page runs in no frame. */
static void
add_security_headers(struct MHD_Response *response, const soma_reply *reply)
{
    if (!strcmp(reply->type, "application/json"))
        return;
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (strncmp(reply->type, "text/html", 9) != 0)
        return;
    MHD_add_response_header(response, "X-Frame-Options", "DENY");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    if (reply->policy)
        MHD_add_response_header(response, "Content-Security-Policy",
                                reply->policy);
}

/* Where the body does not say it, or replicas share a journal; and for who
 * asked for a version. */
static void
add_version(struct MHD_Response *response, const soma_request *request)
{
    char version[24];
    const soma_reply *reply = &request->reply;
    if (!reply->versioned || (!reply->unsaid && !request->least &&
                              !request->worker->web->options.versions))
        return;
    snprintf(version, sizeof version, "%llu",
             (unsigned long long)reply->version);
    MHD_add_response_header(response, "Soma-Version", version);
}

static void
add_headers(struct MHD_Response *response, const soma_request *request)
{
    const soma_reply *reply = &request->reply;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            reply->type);
    add_security_headers(response, reply);
    add_cors_headers(response, request);
    add_version(response, request);
    if (reply->allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->challenge)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                                reply->challenge);
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
    soma_peer_enters(self->peer, SOMA_PEER_REPLIED, soma_clock_ticks());
    const soma_reply *reply = &self->request.reply;
    union {
        const void *constant;
        void *data;
    } body = {.constant = reply->constant ? reply->constant : reply->text.data};
    size_t size = reply->constant ? reply->constant_size : reply->text.used;
    struct MHD_Response *response =
        reply->streams ? soma_http_stream_response(&self->request)
                       : MHD_create_response_from_buffer(
                             size, body.data, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    add_headers(response, &self->request);
    /* A stream's answer is its beginning. */
    if (reply->streams)
        soma_request_report(&self->request);
    enum MHD_Result queued = MHD_queue_response(
        self->request.connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return queued;
}

static soma_outcome
start(soma_request *request)
{
    soma_json_memory_begin(); /* soma_reply_json asks */
    return request->route->start(request);
}

/* The whole request is there. */
static enum MHD_Result
run(http_request *self)
{
    soma_request *request = &self->request;
    size_t most = request->worker->web->options.max_body;
    self->state = RUNNING;
    soma_bodies_leave(&request->worker->http->bodies, &self->body);
    soma_peer_enters(self->peer, SOMA_PEER_SERVED, 0);
    if (!self->refused && request->refused == SOMA_E_LIMIT)
        soma_reply_error(request, 413, "body_too_large",
                         "the body: more than %zu bytes", most);
    else if (!self->refused && request->refused)
        soma_reply_busy(request);
    else if (!self->refused && soma_inflate_body(request, most))
        switch (start(request)) {
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

static soma_peer *
peer_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection,
                                   MHD_CONNECTION_INFO_SOCKET_CONTEXT)
        ->socket_context;
}

enum MHD_Result
soma_http_on_request(void *arg, struct MHD_Connection *connection,
                     const char *url, const char *method, const char *version,
                     const char *data, size_t *size, void **context)
{
    soma_worker *worker = arg;
    http_request *self = *context;
    if (!self) {
        self = *context = take_request(worker);
        if (!self)
            return MHD_NO;
        self->request.connection = connection;
        self->peer = peer_of(connection);
        self->body = (soma_body){.connection = connection, .peer = self->peer};
        soma_peer_enters(self->peer, SOMA_PEER_READING, self->request.started);
        return begin(self, method, url, version) ? MHD_YES : send_reply(self);
    }
    if (*size) {
        if (!self->refused && soma_request_is_large(&self->request, *size) &&
            !soma_bodies_take(&worker->http->bodies, &self->body))
            return MHD_YES;
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

void
soma_http_on_completed(void *arg, struct MHD_Connection *connection,
                       void **context, enum MHD_RequestTerminationCode code)
{
    http_request *self = *context;
    (void)connection, (void)code;
    if (!self)
        return;
    *context = NULL;
    soma_bodies_leave(&((soma_worker *)arg)->http->bodies, &self->body);
    soma_peer_enters(self->peer, SOMA_PEER_IDLE, soma_clock_ticks());
    self->peer = NULL; /* the connection may end before we free it */
    if (self->state == SOON) {
        self->state = GONE;
        return;
    }
    if (self->request.reply.streams)
        soma_events_leave(&self->request);
    else if (self->request.reply.status)
        soma_request_report(&self->request);
    give_back(self);
}

/* Before the target is taken apart in place. */
void *
soma_http_on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
    soma_peer *peer = peer_of(connection);
    (void)arg;
    if (peer) {
        peer->after_uri = uri + strlen(uri) + 1;
        peer->odd_target = !soma_head_is_target(uri);
    }
    return NULL;
}

void
soma_http_on_connection(void *arg, struct MHD_Connection *connection,
                        void **context,
                        enum MHD_ConnectionNotificationCode code)
{
    soma_worker *worker = arg;
    soma_peers *peers = &worker->http->peers;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
            connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        soma_peer *peer = soma_peers_add(peers, connection, info->connect_fd);
        soma_peer_enters(peer, SOMA_PEER_IDLE, soma_clock_ticks());
        *context = peer;
    } else if (*context) {
        soma_peers_remove(peers, *context);
        *context = NULL;
    }
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

void
soma_http_free_requests(struct soma_http *http)
{
    while (http->free) {
        http_request *next = http->free->next;
        soma_request_free(&http->free->request);
        http->free = next;
    }
}

const char *
soma_http_library(void)
{
    return MHD_get_version();
}
