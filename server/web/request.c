#include "server/web/request.h"

#include "server/engine/log.h"
#include "server/web/routes.h"
#include "server/web/worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request keeps its buffers' memory for the next one up to this size. */
static const size_t KEEP = SOMA_REQUEST_FREE;

bool
soma_request_charge(soma_request *request, size_t bytes)
{
    soma_worker *worker = request->worker;
    size_t most = worker->web->options.request_memory /
                  (size_t)worker->web->options.workers;
    if (worker->charged > 0 && (bytes > most || worker->charged > most - bytes))
        return false;
    worker->charged += bytes;
    request->charged += bytes;
    return true;
}

soma_status
soma_request_busy(soma_error *err)
{
    return soma_error_set(err, SOMA_E_BUSY,
                          "large requests fill the memory that is set aside "
                          "for them (--request-memory); try again later");
}

void
soma_request_argument(soma_request *request, const char *name,
                      const char *value)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {
        {"label", &request->label},
        {"top_k", &request->top_k},
        {"learning_rate", &request->rate},
        {"after", &request->after},
        {"limit", &request->limit},
        {"pixels", &request->pixels},
        {"layer", &request->layer},
        {"units", &request->units},
        {"remember", &request->asked_to_remember},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name) && !*known[i].value)
            *known[i].value = value;
}

static void
discharge(soma_request *request)
{
    if (request->charged)
        request->worker->charged -= request->charged;
    request->charged = 0;
}

/* Only the body can be charged for yet, when it is dropped. */
void
soma_request_drop_body(soma_request *request)
{
    if (request->body_room <= KEEP)
        return;
    free(request->body);
    request->body = NULL;
    request->body_size = request->body_room = 0;
    discharge(request);
}

void
soma_request_leave(soma_request *request)
{
    if (request->served)
        soma_served_leave(request->served, request->worker->index);
    if (request->challenger)
        soma_served_leave(request->challenger, request->worker->index);
    request->served = request->challenger = NULL;
}

void
soma_request_reset(soma_request *request)
{
    soma_request_leave(request);
    soma_floats_free(&request->floats);
    free(request->scores);
    free(request->labels);
    free(request->lessons);
    free(request->delayed);
    free(request->job.taught);
    free(request->job.values);
    soma_bytes_free(&request->job.state);
    soma_bytes_free(&request->job.base);
    soma_request_drop_body(request);
    discharge(request);
    if (request->reply.text.room > KEEP)
        soma_text_free(&request->reply.text);
    soma_text_clear(&request->reply.text);
    soma_request kept = {.worker = request->worker,
                         .body = request->body,
                         .body_room = request->body_room,
                         .reply = {.text = request->reply.text}};
    *request = kept;
}

void
soma_request_free(soma_request *request)
{
    soma_request_reset(request);
    free(request->body);
    soma_text_free(&request->reply.text);
    free(request);
}

/* What was said to come was charged for when it was said. */
static bool
charge_body(soma_request *request, size_t room, size_t charged)
{
    return room <= SOMA_REQUEST_FREE || room <= charged ||
           soma_request_charge(request, room - charged);
}

static bool
make_room(soma_request *request, size_t room)
{
    size_t expected = request->expected, had = request->body_room;
    if (!charge_body(request, room, expected > had ? expected : had))
        return false;
    char *body = realloc(request->body, room);
    if (!body)
        return false;
    request->body = body;
    request->body_room = room;
    return true;
}

bool
soma_request_expect(soma_request *request, size_t size)
{
    request->expected = size + 1;
    if (soma_request_is_large(request, 0))
        return charge_body(request, size + 1, request->body_room);
    if (size >= request->body_room && !make_room(request, size + 1))
        return false;
    request->body[0] = '\0'; /* should nothing come, it is not the last one's */
    return true;
}

bool
soma_request_is_large(const soma_request *request, size_t size)
{
    return request->expected > SOMA_REQUEST_FREE ||
           request->body_size + size > SOMA_REQUEST_FREE;
}

bool
soma_request_append(soma_request *request, const char *data, size_t size,
                    size_t most)
{
    size_t needed = request->body_size + size + 1;
    if (!request->refused && needed - 1 > most)
        request->refused = SOMA_E_LIMIT;
    if (request->refused)
        return false;
    if (needed > request->body_room) {
        size_t room = request->body_room * 2;
        room = room < needed ? needed : room;
        room = room < request->expected ? request->expected : room;
        room = room > most + 1 ? most + 1 : room;
        if (!make_room(request, room)) {
            request->refused = SOMA_E_BUSY;
            return false;
        }
    }
    memcpy(request->body + request->body_size, data, size);
    request->body_size += size;
    request->body[request->body_size] = '\0';
    return true;
}

soma_outcome
soma_reply_error(soma_request *request, int status, const char *code,
                 const char *format, ...)
{
    char message[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    soma_reply *reply = &request->reply;
    soma_text_clear(&reply->text);
    soma_text_put(&reply->text, "{\"error\":");
    soma_text_quote(&reply->text, message);
    soma_text_put(&reply->text, ",\"code\":");
    soma_text_quote(&reply->text, code);
    soma_text_put(&reply->text, "}\n");
    reply->constant = NULL;
    reply->type = "application/json";
    reply->status = status;
    if (reply->text.failed) {
        static const char last[] =
            "{\"error\":\"out of memory\",\"code\":\"out_of_memory\"}\n";
        soma_reply_constant(request, "application/json", last, sizeof last - 1);
        reply->status = 503;
    }
    return SOMA_DONE;
}

static const struct {
    int status;
    const char *code;
    int retry_after;
} translations[] = {
    [SOMA_OK] = {200, "ok", 0},
    [SOMA_E_ARGUMENT] = {400, "bad_argument", 0},
    [SOMA_E_SHAPE] = {400, "wrong_shape", 0},
    [SOMA_E_NOT_FINITE] = {400, "not_finite", 0},
    [SOMA_E_NOT_FOUND] = {404, "not_found", 0},
    [SOMA_E_FORMAT] = {400, "malformed", 0},
    [SOMA_E_UNSUPPORTED] = {415, "unsupported", 0},
    [SOMA_E_LIMIT] = {413, "too_large", 0},
    [SOMA_E_MEMORY] = {503, "out_of_memory", 1},
    [SOMA_E_IO] = {503, "storage_failed", 1},
    [SOMA_E_NO_SPACE] = {507, "disk_full", 0},
    [SOMA_E_BUSY] = {503, "busy", 1},
    [SOMA_E_STOPPED] = {503, "learning_stopped", 60},
    [SOMA_E_CONFLICT] = {409, "conflict", 0},
    [SOMA_E_INTERNAL] = {500, "internal", 0},
};

soma_outcome
soma_reply_failure(soma_request *request, const soma_error *err)
{
    request->reply.retry_after = translations[err->status].retry_after;
    return soma_reply_error(request, translations[err->status].status,
                            translations[err->status].code, "%s", err->text);
}

soma_outcome
soma_reply_busy(soma_request *request)
{
    soma_error err;
    soma_request_busy(&err);
    return soma_reply_failure(request, &err);
}

void
soma_reply_version(soma_request *request, uint64_t version)
{
    request->reply.version = version;
    request->reply.versioned = true;
}

/* A large answer counts until it is taken, though there is no room for it: what
 * it tells of may have happened. Those who come later are refused. */
static void
charge_answer(soma_request *request)
{
    size_t size = request->reply.text.used;
    if (size <= SOMA_REQUEST_FREE || size <= request->charged)
        return;
    request->worker->charged += size - request->charged;
    request->charged = size;
}

soma_outcome
soma_reply_text(soma_request *request, const char *type)
{
    if (request->reply.text.failed)
        return soma_reply_error(request, 503, "out_of_memory",
                                "no memory for the answer");
    charge_answer(request);
    request->reply.type = type;
    request->reply.status = 200;
    return SOMA_DONE;
}

soma_outcome
soma_reply_constant(soma_request *request, const char *type, const void *data,
                    size_t size)
{
    request->reply.type = type;
    request->reply.constant = data;
    request->reply.constant_size = size;
    request->reply.status = 200;
    return SOMA_DONE;
}

/* Each request for who asks for it; a bug, which is what status 500 is, for
 * all. */
static void
log_request(const soma_request *request, uint64_t microseconds)
{
    soma_log_level level =
        request->reply.status == 500 ? SOMA_LOG_ERROR : SOMA_LOG_DEBUG;
    if (!soma_log_wants(level))
        return;
    char id[32], status[16], rows[16], time[24], trace[33], span[17];
    snprintf(id, sizeof id, "%d-%llu", request->worker->index,
             (unsigned long long)request->id);
    snprintf(status, sizeof status, "%d", request->reply.status);
    snprintf(rows, sizeof rows, "%d", request->rows);
    snprintf(time, sizeof time, "%llu", (unsigned long long)microseconds);
    const char *traced = request->trace;
    snprintf(trace, sizeof trace, "%.32s", traced ? traced : "");
    snprintf(span, sizeof span, "%.16s", traced ? traced + 33 : "");
    soma_log(level, "request", "id", id, "route",
             soma_route_label(soma_route_index(request->route)), "status",
             status, "rows", rows, "microseconds", time,
             traced ? "trace_id" : NULL, trace, "span_id", span, NULL);
}

void
soma_request_report(const soma_request *request)
{
    uint64_t time = soma_clock_ticks() - request->started;
    soma_metrics_request(request->worker->metrics,
                         soma_route_index(request->route),
                         request->reply.status, time);
    log_request(request, time);
}
