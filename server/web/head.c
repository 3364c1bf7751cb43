#include "server/web/head.h"

#include "server/web/inflate.h"
#include "server/web/input.h"
#include "server/web/rate.h"
#include "server/web/routes.h"
#include "server/web/worker.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
soma_head_take(soma_head *head, const char *name, const char *value)
{
    if (!strcasecmp(name, "Host")) {
        head->hosts++;
        head->host = value;
    } else if (!strcasecmp(name, "Origin")) {
        head->origin = value;
    } else if (!strcasecmp(name, "Sec-Fetch-Site")) {
        head->site = value;
    } else if (!strcasecmp(name, "Access-Control-Request-Method")) {
        head->wants_method = value;
    } else if (!strcasecmp(name, "Content-Type")) {
        head->type = value;
    } else if (!strcasecmp(name, "Content-Length")) {
        head->lengths++;
        head->length = value;
        head->size = strtoull(value, NULL, 10);
    } else if (!strcasecmp(name, "Transfer-Encoding")) {
        head->encodings++;
        head->encoding = value;
    } else if (!strcasecmp(name, "Content-Encoding")) {
        head->coding = value;
    } else if (!strcasecmp(name, "Accept")) {
        head->accept = value;
    } else if (!strcasecmp(name, "Inference-Header-Content-Length")) {
        head->tensors = value;
    } else if (!strcasecmp(name, "Authorization")) {
        head->bearers++;
        head->bearer = value;
    } else if (!strcasecmp(name, "traceparent")) {
        head->traces++;
        head->trace = value;
    } else if (!strcasecmp(name, "Idempotency-Key")) {
        head->keys++;
        head->key = value;
    } else if (!strcasecmp(name, "Soma-Min-Version")) {
        head->leasts++;
        head->least = value;
    }
}

/* RFC 9112, 3.2: a host's name or address, and a port, or nothing at all. */
static bool
is_host(const char *host)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789-._~!$&'()*+,;=:[]%";
    return !host[strspn(host, good)];
}

/* Headers that decide where a message ends must not be ambiguous: two
 * readings of one are how requests are smuggled (RFC 9112, 6.3). */
void
soma_head_check(const soma_head *head, soma_request *request)
{
    if (head->lengths > 1 || head->encodings > 1 || head->hosts > 1 ||
        (head->lengths && head->encodings) ||
        (head->encoding && strcasecmp(head->encoding, "chunked"))) {
        soma_reply_error(request, 400, "ambiguous_message",
                         "Host, Content-Length and Transfer-Encoding: "
                         "expected each at most once, only one of the last "
                         "two, and chunked as the only encoding");
        request->reply.close = true;
    } else if (head->host && !is_host(head->host)) {
        soma_reply_error(request, 400, "bad_host",
                         "Host: expected a name or an address, and a port");
        request->reply.close = true;
    }
}

void
soma_head_refuse_target(soma_request *request)
{
    soma_reply_error(request, 400, "bad_target",
                     "the request's target: expected no control character, "
                     "and no %%00");
    request->reply.close = true;
}

void
soma_head_refuse_form(soma_request *request)
{
    soma_reply_error(request, 400, "malformed_head",
                     "the head: expected \"METHOD target version\" and lines "
                     "\"Name: value\" that end in CRLF, without NUL, "
                     "whitespace before the colon or continuation lines");
    request->reply.close = true;
}

void
soma_head_check_target(soma_request *request, const char *target)
{
    if (target[0] == '/')
        return;
    soma_reply_error(request, 400, "bad_target",
                     "the request's target: expected a path, got %.64s",
                     target);
    request->reply.close = true;
}

static const char *
scope_text(soma_scope scope)
{
    switch (scope) {
    case SOMA_SCOPE_PREDICT:
        return "predict";
    case SOMA_SCOPE_TRAIN:
        return "train";
    case SOMA_SCOPE_ADMIN:
        return "admin";
    case SOMA_SCOPE_NONE:
    case SOMA_SCOPE_ANY:
        break;
    }
    return "any";
}

/* RFC 6750, 3: what was sent tells which challenge. */
void
soma_head_check_access(const soma_head *head, soma_request *request)
{
    char name[SOMA_KEY_NAME + 1];
    soma_keys *keys = request->worker->web->keys;
    soma_scope scope = request->route->scope;
    request->scopes = keys ? 0 : SOMA_SCOPE_ANY;
    if (!keys)
        return;
    soma_admission admission =
        soma_keys_admit(keys, head->bearers == 1 ? head->bearer : NULL, scope,
                        name, &request->scopes);
    if (name[0])
        request->caller = soma_rate_key(name);
    switch (admission) {
    case SOMA_ADMITTED:
        break;
    case SOMA_NO_KEY:
        soma_reply_error(request, 401, "no_key",
                         "expected one header \"Authorization: Bearer KEY\"");
        request->reply.challenge = "Bearer realm=\"soma\"";
        break;
    case SOMA_WRONG_KEY:
        soma_reply_error(request, 401, "unknown_key",
                         "the key is none of the server's");
        request->reply.challenge =
            "Bearer realm=\"soma\", error=\"invalid_token\"";
        break;
    case SOMA_OTHER_SCOPE:
        soma_reply_error(request, 403, "forbidden",
                         "%s: this key is not for it; it needs one with the "
                         "scope %s",
                         request->route->path, scope_text(scope));
        break;
    }
}

void
soma_head_check_rate(soma_request *request, const struct sockaddr *address)
{
    bool known = request->caller != 0;
    if (request->route && request->route->scope == SOMA_SCOPE_NONE)
        return;
    int wait = soma_rates_take(
        request->worker->web->rates,
        known ? request->caller : soma_rate_address(address), request->started);
    if (!wait)
        return;
    request->reply.allow = request->reply.challenge = NULL;
    request->reply.retry_after = wait;
    soma_reply_error(request, 429, "too_many_requests",
                     "more than %g requests a second %s",
                     request->worker->web->options.rate_limit,
                     known ? "with this key" : "from this address");
}

static bool
good_key(const char *key)
{
    size_t length = 0;
    for (; key[length]; length++)
        if (key[length] < 0x20 || key[length] > 0x7e)
            return false;
    return length > 0 && length <= SOMA_KEY_MAX;
}

void
soma_head_check_key(const soma_head *head, soma_request *request)
{
    if (head->keys > 1 || (head->key && !good_key(head->key)))
        soma_reply_error(request, 400, "bad_idempotency_key",
                         "Idempotency-Key: expected one, of 1 to %d printable "
                         "ASCII characters",
                         SOMA_KEY_MAX);
    request->idempotency_key = head->key;
    request->inference_header = head->tensors;
    request->accept = head->accept;
    request->coding = head->coding;
}

void
soma_head_check_version(const soma_head *head, soma_request *request)
{
    enum { DIGITS = 18 }; /* that surely fit */
    if (!head->least)
        return;
    size_t length = strlen(head->least);
    if (head->leasts > 1 || length == 0 || length > DIGITS ||
        strspn(head->least, "0123456789") != length)
        soma_reply_error(request, 400, "bad_min_version",
                         "Soma-Min-Version: expected one version, a whole "
                         "number of at most %d digits",
                         DIGITS);
    else
        request->least = strtoull(head->least, NULL, 10);
}

/* "-" and digits, not all of them 0 where `some`; returns what follows, or
 * NULL. */
static const char *
skip_hex(const char *text, size_t count, bool some)
{
    if (!text || strspn(text, "0123456789abcdef") != count ||
        (some && strspn(text, "0") == count))
        return NULL;
    return text + count;
}

static const char *
skip_dash(const char *text)
{
    return text && *text == '-' ? text + 1 : NULL;
}

/* version "-" trace-id "-" parent-id "-" trace-flags; versions above 00 may
 * have more, after another "-". */
void
soma_head_take_trace(const soma_head *head, soma_request *request)
{
    const char *trace = skip_dash(skip_hex(head->trace, 2, false));
    const char *span = skip_dash(skip_hex(trace, 32, true));
    const char *flags = skip_dash(skip_hex(span, 16, true));
    const char *end = skip_hex(flags, 2, false);
    request->trace = NULL;
    if (!end || head->traces != 1 || !strncmp(head->trace, "ff", 2))
        return;
    if (!*end || (*end == '-' && strncmp(head->trace, "00", 2) != 0))
        request->trace = trace;
}

void
soma_head_check_body(const soma_head *head, soma_request *request)
{
    size_t most = request->worker->web->options.max_body;
    if (head->size > most) {
        soma_reply_error(request, 413, "body_too_large",
                         "the body: %s bytes, at most %zu are taken",
                         head->length, most);
    } else if (!soma_inflate_knows(head->coding)) {
        soma_reply_error(request, 415, "unsupported_encoding",
                         "Content-Encoding: expected gzip, deflate or none, "
                         "got %.64s",
                         head->coding);
    } else if (soma_route_is_typed(request->route) &&
               soma_body_kind_of(head->type) == SOMA_BODY_OTHER) {
        soma_reply_error(request, 415, "unsupported_type",
                         "Content-Type: expected application/json, "
                         "application/octet-stream, application/x-npy, "
                         "image/png or image/jpeg, got %.64s",
                         head->type);
    } else if (!soma_request_expect(request, head->size)) {
        soma_reply_busy(request);
    }
}
