#include "server/web/cors.h"

#include "server/web/routes.h"
#include "server/web/worker.h"

#include <string.h>
#include <strings.h>

static bool
is_origin(const char *text, size_t length)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (int i = 0; i < 2; i++) {
        size_t before = strlen(schemes[i]);
        if (length > before && !strncmp(text, schemes[i], before))
            return strcspn(text + before, "/ ,*?#\t") == length - before;
    }
    return false;
}

soma_status
soma_cors_check(const char *origins, soma_error *err)
{
    if (!origins || !strcmp(origins, "*"))
        return SOMA_OK;
    for (const char *at = origins;; at++) {
        size_t length = strcspn(at, ",");
        if (!is_origin(at, length))
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "expected * or origins such as "
                                  "https://a.example:8443, parted by commas, "
                                  "got \"%.128s\"",
                                  origins);
        at += length;
        if (!*at)
            return SOMA_OK;
    }
}

bool
soma_cors_allows(const char *origins, const char *origin)
{
    if (!origins || !origin)
        return false;
    if (!strcmp(origins, "*"))
        return true;
    size_t wanted = strlen(origin);
    for (const char *at = origins; *at; at += *at == ',') {
        size_t length = strcspn(at, ",");
        if (length == wanted && !memcmp(at, origin, length))
            return true;
        at += length;
    }
    return false;
}

/* Whether a browser says that a page elsewhere sent this. Those that say so
 * by Sec-Fetch-Site know better: behind a proxy Host may be another. */
static bool
is_from_elsewhere(const soma_head *head)
{
    if (head->site)
        return !strcmp(head->site, "cross-site") ||
               !strcmp(head->site, "same-site");
    if (!head->origin)
        return false;
    const char *host = strstr(head->origin, "://");
    return !host || !head->host || strcasecmp(host + 3, head->host) != 0;
}

static bool
is_preflight(const soma_head *head, const char *method)
{
    return head->origin && head->wants_method && !strcmp(method, "OPTIONS");
}

void
soma_cors_take(const soma_head *head, soma_request *request, const char *method,
               const char *path)
{
    const char *origins = request->worker->web->options.cors_origins;
    bool preflight = origins && is_preflight(head, method);
    if (soma_cors_allows(origins, head->origin)) {
        request->reply.origin = strcmp(origins, "*") ? head->origin : "*";
        request->reply.methods =
            preflight ? soma_route_methods(request, path) : NULL;
        if (request->reply.methods)
            soma_reply_constant(request, "application/json", "", 0);
        return;
    }
    if (preflight || (strcmp(method, "GET") && strcmp(method, "HEAD") &&
                      strcmp(method, "OPTIONS") && is_from_elsewhere(head)))
        soma_reply_error(request, 403, "other_origin",
                         "a page of another origin sent this; --cors-origin "
                         "says which may");
}
