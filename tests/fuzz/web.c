#include "tests/fuzz/web.h"

#include "server/engine/clock.h"
#include "server/engine/log.h"
#include "server/web/head.h"
#include "server/web/http.h"
#include "server/web/inflate.h"
#include "server/web/routes.h"
#include "tests/fuzz/learners.h"

#include <jansson.h>
#include <poll.h>
#include <strings.h>

static soma_web web;
static soma_registry registry;
static soma_worker worker;
static bool answered;

/* ---- In place of http.c ---- */

soma_status
soma_http_open(soma_worker *self, soma_error *err)
{
    (void)self, (void)err;
    return SOMA_OK;
}

void
soma_http_close(soma_worker *self)
{
    (void)self;
}

void
soma_http_answer(soma_request *request)
{
    (void)request;
    answered = true;
}

/* ---- The server ---- */

static void
write_model(void)
{
    char *names[] = {strdup("cat"), strdup("dog"), strdup("fish")};
    soma_checkpoint checkpoint = {.model = learners_model(),
                                  .memory = learners_memory()};
    checkpoint.classes = (soma_classes){.count = CLASSES, .names = names};
    must(!soma_checkpoint_write(files_path("tiny.safetensors"), &checkpoint,
                                SOMA_F32, NULL));
    soma_model_free(checkpoint.model);
    soma_memory_free(&checkpoint.memory);
    for (int i = 0; i < CLASSES; i++)
        free(names[i]);
}

static void
start(void)
{
    soma_error err;
    soma_log_setup(SOMA_LOG_ERROR, false);
    write_model();
    soma_registry_options options = {
        .models = files_folder,
        .recall = 16,
        .recall_seconds = 60,
        .trainer = {.learning = learners_settings(),
                    .max_waiting = 64,
                    .journal_bytes = 1 << 16}};
    must(!soma_registry_open(&registry, &options, &err));
    while (soma_registry_recovered(&registry, &err))
        must(err.status == SOMA_E_BUSY);
    web.registry = &registry;
    web.workers = &worker;
    web.options = (soma_web_options){.version = "fuzz",
                                     .workers = 1,
                                     .max_body = 1 << 20,
                                     .max_rows = 256,
                                     .request_memory = 64 << 20,
                                     .max_learning_rate = 1};
    atomic_store(&web.ready, true);
    must(!soma_worker_create(&worker, &web, 0, &err));
}

/* ---- One request ---- */

static int
digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
unescape(char *text)
{
    char *to = text;
    for (; *text; text++, to++) {
        *to = *text;
        if (*text == '%' && digit(text[1]) >= 0 && digit(text[2]) >= 0) {
            *to = (char)(digit(text[1]) * 16 + digit(text[2]));
            text += 2;
        }
    }
    *to = '\0';
}

static void
take_query(soma_request *request, char *query)
{
    for (char *next; query; query = next) {
        next = strchr(query, '&');
        if (next)
            *next++ = '\0';
        char *value = strchr(query, '=');
        if (value)
            *value++ = '\0';
        unescape(query);
        if (value)
            unescape(value);
        soma_request_argument(request, query, value ? value : "");
    }
}

static bool
has_host(const web_message *message)
{
    for (int i = 0; i < message->headers; i++)
        if (!strcasecmp(message->names[i], "Host"))
            return true;
    return false;
}

static bool
begin(soma_request *request, web_message *message)
{
    soma_head head = {0};
    if (!has_host(message))
        soma_head_take(&head, "Host", "fuzz");
    for (int i = 0; i < message->headers; i++)
        soma_head_take(&head, message->names[i], message->values[i]);
    request->type = head.type;
    char *query = strchr(message->target, '?');
    if (query)
        *query++ = '\0';
    take_query(request, query);
    unescape(message->target);
    soma_head_take_trace(&head, request);
    soma_head_check(&head, request);
    if (!request->reply.status)
        soma_head_check_target(request, message->target);
    if (!request->reply.status)
        soma_head_check_key(&head, request);
    if (!request->reply.status)
        soma_head_check_version(&head, request);
    if (!request->reply.status)
        request->route =
            soma_route_find(request, message->method, message->target);
    if (!request->reply.status)
        soma_head_check_access(&head, request);
    if (!request->reply.status && !strcmp(message->method, "POST"))
        soma_head_check_body(&head, request);
    return !request->reply.status;
}

static soma_outcome
run(soma_request *request, const web_message *message)
{
    size_t most = web.options.max_body;
    if (message->size)
        soma_request_append(request, (const char *)message->body, message->size,
                            most);
    if (request->refused == SOMA_E_LIMIT)
        return soma_reply_error(request, 413, "body_too_large", "too large");
    if (request->refused)
        return soma_reply_busy(request);
    if (!soma_inflate_body(request, most))
        return SOMA_DONE;
    return request->route->start(request);
}

static void
await(void)
{
    while (!answered) {
        struct pollfd wait = {.fd = worker.wake, .events = POLLIN};
        uint64_t wakes;
        if (!worker.large && !worker.parked && poll(&wait, 1, 10000) > 0)
            must(read(worker.wake, &wakes, sizeof wakes) > 0);
        soma_readers_enter(&registry.readers, 0);
        soma_worker_turn(&worker);
        soma_readers_leave(&registry.readers, 0);
    }
}

static void
check_error(const json_t *json)
{
    must(json_is_string(json_object_get(json, "error")));
}

/* Its status, and that what calls itself JSON is it. */
static int
check_reply(const soma_request *request)
{
    static const int statuses[] = {200, 400, 401, 403, 404, 405, 408, 409,
                                   411, 413, 414, 415, 429, 431, 503, 507};
    const soma_reply *reply = &request->reply;
    bool known = false;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        known = known || reply->status == statuses[i];
    must(known && reply->type);
    must(reply->status != 405 || reply->allow);
    const char *body = reply->constant ? reply->constant : reply->text.data;
    size_t size = reply->constant ? reply->constant_size : reply->text.used;
    must(reply->head_size <= size);
    bool json = !strncmp(reply->type, "application/json", 16);
    if (reply->head_size)
        size = reply->head_size;
    if ((json || reply->head_size) && size) {
        json_t *parsed = json_loadb(body, size, JSON_DECODE_ANY, NULL);
        must(parsed);
        if (reply->status >= 400)
            check_error(parsed);
        json_decref(parsed);
    }
    return reply->status;
}

static int
ask(web_message *message)
{
    soma_request *request = calloc(1, sizeof *request);
    must(request);
    request->worker = &worker;
    request->id = worker.next_id++;
    request->started = soma_clock_ticks();
    worker.open_requests++;
    answered = false;
    soma_readers_enter(&registry.readers, 0);
    soma_outcome outcome =
        begin(request, message) ? run(request, message) : SOMA_DONE;
    soma_readers_leave(&registry.readers, 0);
    if (outcome != SOMA_DONE)
        await();
    soma_readers_enter(&registry.readers, 0);
    soma_request_leave(request);
    soma_readers_leave(&registry.readers, 0);
    int status = check_reply(request);
    soma_request_report(request);
    worker.open_requests--;
    soma_request_free(request);
    must(worker.charged == 0 && worker.awaited == 0);
    return status;
}

int
web_ask(web_message *message)
{
    static bool ready;
    if (!ready)
        start();
    ready = true;
    int status = ask(message);
    soma_log_set_least(SOMA_LOG_ERROR);
    if (!atomic_load(&registry.fallback)) { /* it was unloaded */
        char target[] = "/v2/repository/models/tiny/load";
        web_message load = {.method = "POST", .target = target};
        must(ask(&load) == 200);
    }
    return status;
}

void
web_header(web_message *message, const char *name, const char *value)
{
    if (message->headers == WEB_HEADERS)
        return;
    message->names[message->headers] = name;
    message->values[message->headers++] = value;
}
