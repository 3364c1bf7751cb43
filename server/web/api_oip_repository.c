/* POST /v2/repository/...: Triton's model repository extension, over the folder
 * of model files. */
#include "server/web/api.h"
#include "server/web/oip.h"

#include <stdlib.h>
#include <string.h>

/* The body may be missing; else an object. */
static bool
take_body(soma_request *request, soma_document *document, soma_refusal *refusal)
{
    soma_input_own(request);
    return request->body_size == 0 ||
           soma_input_json(request, document, refusal);
}

/* ---- The index ---- */

static json_t *
describe(const char *name, const char *state, const char *reason)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "name", name, "version",
                     SOMA_OIP_VERSION, "state", state, "reason", reason);
}

static json_t *
describe_served(const soma_served *served)
{
    soma_trainer_report report;
    if (soma_trainer_is_ready(served->trainer))
        return describe(served->name, "READY", "");
    soma_trainer_ask(served->trainer, &report);
    return report.state == SOMA_TRAINER_FAILED
               ? describe(served->name, "UNAVAILABLE", report.err.text)
               : describe(served->name, "LOADING", "");
}

static bool
is_served(soma_served *const *models, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(models[i]->name, name))
            return true;
    return false;
}

/* Model files that are not served. */
static void
add_files(json_t *list, const soma_registry *registry,
          soma_served *const *models, int count)
{
    char **files = soma_registry_files(registry);
    for (char **name = files; name && *name; name++)
        if (!is_served(models, count, *name))
            json_array_append_new(list,
                                  describe(*name, "UNAVAILABLE", "unloaded"));
    soma_registry_free_files(files);
}

soma_outcome
soma_api_oip_index(soma_request *request)
{
    soma_refusal refusal;
    soma_document document = {0};
    soma_registry *registry = request->worker->web->registry;
    soma_served *models[SOMA_MAX_MODELS] = {NULL};
    bool good = take_body(request, &document, &refusal);
    const json_t *wanted = json_object_get(document.json, "ready");
    bool ready = json_is_true(wanted);
    if (good && wanted && !json_is_null(wanted) && !json_is_boolean(wanted))
        good = soma_refuse(&refusal, 400, "bad_ready",
                           "\"ready\": expected true or false");
    soma_document_free(&document);
    if (!good)
        return soma_reply_refusal(request, &refusal);
    int count = soma_registry_list(registry, models);
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        if (!ready || soma_trainer_is_ready(models[i]->trainer))
            json_array_append_new(list, describe_served(models[i]));
    if (!ready)
        add_files(list, registry, models, count);
    return soma_reply_json(request, list);
}

/* ---- Loading and unloading ---- */

/* Triton would take another configuration or files from the request. */
static bool
take_parameters(const json_t *json, soma_refusal *refusal)
{
    const char *name;
    json_t *value, *parameters = json_object_get(json, "parameters");
    if (parameters && !json_is_null(parameters) && !json_is_object(parameters))
        return soma_refuse(refusal, 400, "bad_parameters",
                           "\"parameters\": expected an object");
    json_object_foreach (parameters, name, value)
        if (!strcmp(name, "config") || !strncmp(name, "file:", 5))
            return soma_refuse(refusal, 400, "unsupported_parameter",
                               "\"%.64s\": a model is loaded as its file in "
                               "--models is",
                               name);
    return true;
}

static soma_outcome
ask_keeper(soma_request *request,
           void (*ask)(soma_registry *, const char *, soma_job *))
{
    soma_refusal refusal;
    soma_document document = {0};
    bool good = take_body(request, &document, &refusal) &&
                take_parameters(document.json, &refusal);
    soma_document_free(&document);
    if (!good)
        return soma_reply_refusal(request, &refusal);
    soma_worker_prepare(request);
    request->worker->awaited++;
    ask(request->worker->web->registry, request->model, &request->job);
    return SOMA_PARKED;
}

static void
reply_done(soma_request *request, const char *what)
{
    soma_reply_json(request,
                    json_pack("{s:s, s:b}", "name", request->model, what, 1));
}

soma_outcome
soma_api_oip_load(soma_request *request)
{
    return ask_keeper(request, soma_registry_load);
}

void
soma_api_oip_loaded(soma_request *request, const soma_snapshot *snapshot,
                    const float *scores)
{
    (void)snapshot, (void)scores;
    reply_done(request, "load");
}

soma_outcome
soma_api_oip_unload(soma_request *request)
{
    return ask_keeper(request, soma_registry_unload);
}

void
soma_api_oip_unloaded(soma_request *request, const soma_snapshot *snapshot,
                      const float *scores)
{
    (void)snapshot, (void)scores;
    reply_done(request, "unload");
}
