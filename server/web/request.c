#include "server/web/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request keeps its body's memory for the next one up to this size. */
static const size_t KEEP = 1 << 18;

void
soma_request_reset(soma_request *request)
{
    soma_floats_free(&request->floats);
    free(request->scores);
    free(request->labels);
    free(request->lessons);
    if (request->body_room > KEEP) {
        free(request->body);
        request->body = NULL;
        request->body_room = 0;
    }
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

bool
soma_request_append(soma_request *request, const char *data, size_t size,
                    size_t most)
{
    size_t needed = request->body_size + size + 1;
    if (request->body_too_large || needed - 1 > most) {
        request->body_too_large = true;
        return false;
    }
    if (needed > request->body_room) {
        size_t room = request->body_room * 2;
        room = room < needed ? needed : room;
        room = room > most + 1 ? most + 1 : room;
        char *body = realloc(request->body, room);
        if (!body) {
            request->body_too_large = true;
            return false;
        }
        request->body = body;
        request->body_room = room;
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
soma_reply_text(soma_request *request, const char *type)
{
    if (request->reply.text.failed)
        return soma_reply_error(request, 503, "out_of_memory",
                                "no memory for the answer");
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
