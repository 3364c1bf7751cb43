#include "server/web/routes.h"

#include "server/web/api.h"

#include <stdio.h>
#include <string.h>

static const soma_route table[] = {
    {"POST", "/predict", "predict", soma_api_predict, soma_api_predicted},
    {"POST", "/train", "train", soma_api_train, soma_api_trained},
    {"POST", "/models/{model}/predict", "predict", soma_api_predict,
     soma_api_predicted},
    {"POST", "/models/{model}/train", "train", soma_api_train,
     soma_api_trained},
    {"POST", "/models/{model}/rollback", "rollback", soma_api_rollback,
     soma_api_rolled_back},
    {"GET", "/models/{model}/examples", "examples", soma_api_examples,
     soma_api_listed},
    {"POST", "/models/{model}/fork", "fork", soma_api_fork, soma_api_forked},
    {"POST", "/models/{model}/promote", "promote", soma_api_promote,
     soma_api_promoted},
    {"GET", "/models", "models", soma_api_models, NULL},
    {"GET", "/models/{model}", "model", soma_api_model, NULL},
    {"DELETE", "/models/{model}", "remove", soma_api_remove, soma_api_removed},
    {"GET", "/models/{model}/weights", "weights", soma_api_weights, NULL},
    {"GET", "/healthz", "healthz", soma_api_healthz, NULL},
    {"GET", "/readyz", "readyz", soma_api_readyz, NULL},
    {"GET", "/metrics", "metrics", soma_api_metrics, NULL},
    {"GET", "/openapi.json", "openapi", soma_api_openapi, NULL},
    {"GET", "/", "page", soma_api_page, NULL},
};

enum { COUNT = sizeof table / sizeof *table };
_Static_assert(COUNT + 1 <= SOMA_METRICS_ROUTES, "metrics has too few routes");

const soma_route *
soma_route_at(int i)
{
    return i >= 0 && i < COUNT ? &table[i] : NULL;
}

/* Rows with one label count under the first of them. */
static int
first_of_label(int i)
{
    int first = 0;
    while (strcmp(table[first].label, table[i].label))
        first++;
    return first;
}

const char *
soma_route_label(int i)
{
    if (i == COUNT)
        return "other";
    return i >= 0 && i < COUNT ? table[i].label : NULL;
}

int
soma_route_index(const soma_route *route)
{
    return route ? first_of_label((int)(route - table)) : COUNT;
}

/* Whether the path fits the pattern; {model} goes to `model`. */
static bool
match(const char *pattern, const char *path, char *model, size_t room)
{
    static const char mark[] = "{model}";
    const char *at = strstr(pattern, mark);
    if (!at)
        return !strcmp(pattern, path);
    size_t before = (size_t)(at - pattern);
    const char *after = at + sizeof mark - 1;
    if (strncmp(pattern, path, before))
        return false;
    path += before;
    size_t length = strcspn(path, "/");
    if (length == 0 || length >= room || strcmp(path + length, after))
        return false;
    memcpy(model, path, length);
    model[length] = '\0';
    return true;
}

/* What this path takes; NULL: there is no such path. */
static const char *
allow_of(const char *path)
{
    char model[sizeof((soma_request *)NULL)->model];
    bool get = false, post = false, delete = false;
    for (int i = 0; i < COUNT; i++)
        if (match(table[i].path, path, model, sizeof model)) {
            get = get || !strcmp(table[i].method, "GET");
            post = post || !strcmp(table[i].method, "POST");
            delete = delete || !strcmp(table[i].method, "DELETE");
        }
    if (get)
        return delete ? "GET, HEAD, DELETE" : "GET, HEAD";
    return post ? "POST" : NULL;
}

const soma_route *
soma_route_find(soma_request *request, const char *method, const char *path)
{
    const char *wanted = !strcmp(method, "HEAD") ? "GET" : method;
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(table[i].method, wanted) &&
            match(table[i].path, path, request->model, sizeof request->model))
            return &table[i];
    const char *allow = allow_of(path);
    if (allow) {
        soma_reply_error(request, 405, "method_not_allowed",
                         "%.16s %.128s: this path takes %s", method, path,
                         allow);
        request->reply.allow = allow;
    } else {
        soma_reply_error(request, 404, "unknown_path",
                         "there is no %.256s; GET /openapi.json lists what "
                         "there is",
                         path);
    }
    return NULL;
}
