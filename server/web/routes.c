#include "server/web/routes.h"

#include "server/web/api.h"

#include <stdio.h>
#include <string.h>

static const soma_route table[] = {
    {"POST", "/predict", "predict", SOMA_SCOPE_PREDICT, soma_api_predict,
     soma_api_predicted},
    {"POST", "/train", "train", SOMA_SCOPE_TRAIN, soma_api_train,
     soma_api_trained},
    {"POST", "/models/{model}/predict", "predict", SOMA_SCOPE_PREDICT,
     soma_api_predict, soma_api_predicted},
    {"POST", "/models/{model}/train", "train", SOMA_SCOPE_TRAIN, soma_api_train,
     soma_api_trained},
    {"POST", "/v2/models/{model}/infer", "oip_infer", SOMA_SCOPE_PREDICT,
     soma_api_infer, soma_api_inferred},
    {"POST", "/v2/models/{model}/versions/{version}/infer", "oip_infer",
     SOMA_SCOPE_PREDICT, soma_api_infer, soma_api_inferred},
    {"POST", "/v1/models/{model}:predict", "tfs_predict", SOMA_SCOPE_PREDICT,
     soma_api_tfs_predict, soma_api_tfs_predicted},
    {"POST", "/v1/models/{model}/versions/{version}:predict", "tfs_predict",
     SOMA_SCOPE_PREDICT, soma_api_tfs_predict, soma_api_tfs_predicted},
    {"POST", "/models/{model}/explain", "explain", SOMA_SCOPE_PREDICT,
     soma_api_explain, NULL},
    {"POST", "/models/{model}/rollback", "rollback", SOMA_SCOPE_TRAIN,
     soma_api_rollback, soma_api_rolled_back},
    {"GET", "/models/{model}/examples", "examples", SOMA_SCOPE_TRAIN,
     soma_api_examples, soma_api_listed},
    {"GET", "/models/{model}/guard", "guard", SOMA_SCOPE_TRAIN, soma_api_guard,
     soma_api_judged},
    {"POST", "/models/{model}/fork", "fork", SOMA_SCOPE_ADMIN, soma_api_fork,
     soma_api_forked},
    {"POST", "/models/{model}/promote", "promote", SOMA_SCOPE_ADMIN,
     soma_api_promote, soma_api_promoted},
    {"GET", "/models", "models", SOMA_SCOPE_ANY, soma_api_models, NULL},
    {"GET", "/models/{model}", "model", SOMA_SCOPE_ANY, soma_api_model, NULL},
    {"DELETE", "/models/{model}", "remove", SOMA_SCOPE_ADMIN, soma_api_remove,
     soma_api_removed},
    {"GET", "/models/{model}/weights", "weights", SOMA_SCOPE_PREDICT,
     soma_api_weights, soma_api_weighed},
    {"GET", "/healthz", "healthz", SOMA_SCOPE_NONE, soma_api_healthz, NULL},
    {"GET", "/readyz", "readyz", SOMA_SCOPE_NONE, soma_api_readyz, NULL},
    {"GET", "/metrics", "metrics", SOMA_SCOPE_ANY, soma_api_metrics, NULL},
    {"GET", "/events", "events", SOMA_SCOPE_ANY, soma_api_events, NULL},
    {"GET", "/openapi.json", "openapi", SOMA_SCOPE_NONE, soma_api_openapi,
     NULL},
    {"GET", "/", "page", SOMA_SCOPE_NONE, soma_api_page, NULL},
    {"GET", "/page/{file}", "page", SOMA_SCOPE_NONE, soma_api_page_file, NULL},
    /* Open Inference Protocol; a name that is a word of the protocol comes
     * before {model}. */
    {"GET", "/v2", "oip_server", SOMA_SCOPE_ANY, soma_api_oip_server, NULL},
    {"GET", "/v2/health/live", "oip_health", SOMA_SCOPE_NONE, soma_api_healthz,
     NULL},
    {"GET", "/v2/health/ready", "oip_health", SOMA_SCOPE_NONE,
     soma_api_oip_ready, NULL},
    {"GET", "/v2/models", "oip_models", SOMA_SCOPE_ANY, soma_api_oip_models,
     NULL},
    {"GET", "/v2/models/stats", "oip_stats", SOMA_SCOPE_ANY,
     soma_api_oip_all_stats, NULL},
    {"GET", "/v2/models/{model}", "oip_metadata", SOMA_SCOPE_ANY,
     soma_api_oip_metadata, NULL},
    {"GET", "/v2/models/{model}/versions/{version}", "oip_metadata",
     SOMA_SCOPE_ANY, soma_api_oip_metadata, NULL},
    {"GET", "/v2/models/{model}/ready", "oip_health", SOMA_SCOPE_NONE,
     soma_api_oip_model_ready, NULL},
    {"GET", "/v2/models/{model}/versions/{version}/ready", "oip_health",
     SOMA_SCOPE_NONE, soma_api_oip_model_ready, NULL},
    {"GET", "/v2/models/{model}/config", "oip_config", SOMA_SCOPE_ANY,
     soma_api_oip_config, NULL},
    {"GET", "/v2/models/{model}/versions/{version}/config", "oip_config",
     SOMA_SCOPE_ANY, soma_api_oip_config, NULL},
    {"GET", "/v2/models/{model}/stats", "oip_stats", SOMA_SCOPE_ANY,
     soma_api_oip_stats, NULL},
    {"GET", "/v2/models/{model}/versions/{version}/stats", "oip_stats",
     SOMA_SCOPE_ANY, soma_api_oip_stats, NULL},
    {"POST", "/v2/repository/index", "oip_index", SOMA_SCOPE_ANY,
     soma_api_oip_index, NULL},
    {"POST", "/v2/repository/models/{model}/load", "oip_load", SOMA_SCOPE_ADMIN,
     soma_api_oip_load, soma_api_oip_loaded},
    {"POST", "/v2/repository/models/{model}/unload", "oip_unload",
     SOMA_SCOPE_ADMIN, soma_api_oip_unload, soma_api_oip_unloaded},
    {"GET", "/v2/logging", "oip_logging", SOMA_SCOPE_ADMIN,
     soma_api_oip_logging, NULL},
    {"POST", "/v2/logging", "oip_logging", SOMA_SCOPE_ADMIN,
     soma_api_oip_set_logging, NULL},
    /* TensorFlow Serving, KServe v1 */
    {"GET", "/v1/models", "tfs_models", SOMA_SCOPE_ANY, soma_api_oip_models,
     NULL},
    {"GET", "/v1/models/{model}", "tfs_status", SOMA_SCOPE_ANY,
     soma_api_tfs_status, NULL},
    {"GET", "/v1/models/{model}/versions/{version}", "tfs_status",
     SOMA_SCOPE_ANY, soma_api_tfs_status, NULL},
    {"GET", "/v1/models/{model}/metadata", "tfs_metadata", SOMA_SCOPE_ANY,
     soma_api_tfs_metadata, NULL},
    {"GET", "/v1/models/{model}/versions/{version}/metadata", "tfs_metadata",
     SOMA_SCOPE_ANY, soma_api_tfs_metadata, NULL},
    {"POST", "/v1/models/{model}:classify", "tfs_classify", SOMA_SCOPE_PREDICT,
     soma_api_tfs_classify, soma_api_tfs_predicted},
    {"POST", "/v1/models/{model}/versions/{version}:classify", "tfs_classify",
     SOMA_SCOPE_PREDICT, soma_api_tfs_classify, soma_api_tfs_predicted},
    {"POST", "/v1/models/{model}:regress", "tfs_regress", SOMA_SCOPE_PREDICT,
     soma_api_tfs_regress, NULL},
    {"POST", "/v1/models/{model}/versions/{version}:regress", "tfs_regress",
     SOMA_SCOPE_PREDICT, soma_api_tfs_regress, NULL},
    /* TorchServe, SageMaker, Vertex AI */
    {"GET", "/ping", "ping", SOMA_SCOPE_NONE, soma_api_ping, NULL},
    {"POST", "/invocations", "invocations", SOMA_SCOPE_PREDICT, soma_api_invoke,
     soma_api_invoked},
    {"POST", "/predictions/{model}", "predictions", SOMA_SCOPE_PREDICT,
     soma_api_torch, soma_api_torched},
    {"POST", "/predictions/{model}/{version}", "predictions",
     SOMA_SCOPE_PREDICT, soma_api_torch, soma_api_torched},
};

enum { COUNT = sizeof table / sizeof *table };
_Static_assert(COUNT + 1 <= SOMA_METRICS_ROUTES, "metrics has too few routes");

const soma_route *
soma_route_at(int i)
{
    return i >= 0 && i < COUNT ? &table[i] : NULL;
}

bool
soma_route_is_typed(const soma_route *route)
{
    return strncmp(route->path, "/v", 2) != 0;
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

/* What is found in a path: the segments in braces. */
typedef struct found {
    char model[sizeof((soma_request *)NULL)->model];
    char version[sizeof((soma_request *)NULL)->version];
} found;

/* Whether the path fits the pattern. A segment in braces ends before '/' or
 * ':'. */
static bool
match(const char *pattern, const char *path, found *f)
{
    f->model[0] = f->version[0] = '\0';
    for (; *pattern; pattern++) {
        if (*pattern != '{') {
            if (*pattern != *path++)
                return false;
            continue;
        }
        bool model = pattern[1] == 'm';
        char *to = model ? f->model : f->version;
        size_t room = model ? sizeof f->model : sizeof f->version;
        size_t length = strcspn(path, "/:");
        if (length == 0 || length >= room)
            return false;
        memcpy(to, path, length);
        to[length] = '\0';
        path += length;
        pattern = strchr(pattern, '}');
    }
    return !*path;
}

/* What this path takes; NULL: there is no such path. */
static const char *
allow_of(const char *path)
{
    found f;
    bool get = false, post = false, delete = false;
    for (int i = 0; i < COUNT; i++)
        if (match(table[i].path, path, &f)) {
            get = get || !strcmp(table[i].method, "GET");
            post = post || !strcmp(table[i].method, "POST");
            delete = delete || !strcmp(table[i].method, "DELETE");
        }
    if (get && post)
        return "GET, HEAD, POST";
    if (get)
        return delete ? "GET, HEAD, DELETE" : "GET, HEAD";
    return post ? "POST" : NULL;
}

const char *
soma_route_methods(const soma_request *request, const char *path)
{
    return allow_of(soma_alias_path(request, path));
}

const soma_route *
soma_route_find(soma_request *request, const char *method, const char *path)
{
    const char *wanted = !strcmp(method, "HEAD") ? "GET" : method;
    found f;
    path = soma_alias_path(request, path);
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(table[i].method, wanted) &&
            match(table[i].path, path, &f)) {
            memcpy(request->model, f.model, sizeof f.model);
            memcpy(request->version, f.version, sizeof f.version);
            return &table[i];
        }
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
