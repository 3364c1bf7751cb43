/* POST /models/{model}/fork, /models/{model}/promote, DELETE /models/{model} */
#include "server/web/api.h"
#include "server/web/input.h"

#include <string.h>

/* A string member of the body; false: refusal. */
static bool
take_name(const json_t *object, const char *member, char *name, size_t size,
          soma_refusal *refusal)
{
    const char *text = json_string_value(json_object_get(object, member));
    if (!text || strlen(text) >= size)
        return soma_refuse(refusal, 400, "bad_model",
                           "\"%s\": expected a model's name, a string", member);
    memcpy(name, text, strlen(text) + 1);
    return true;
}

/* Parses the body; the model is that of the path. */
static bool
take_body(soma_request *request, soma_document *document, soma_refusal *refusal)
{
    soma_input_own(request);
    if (soma_body_kind_of(request->type) != SOMA_BODY_JSON)
        return soma_refuse(refusal, 415, "unsupported_type",
                           "Content-Type: expected application/json");
    return soma_input_json(request, document, refusal) &&
           soma_input_model(request, NULL, refusal);
}

/* The registry has taken the job, or says why not. */
static soma_outcome
await(soma_request *request, soma_status status, const soma_error *err)
{
    if (status)
        return soma_reply_failure(request, err);
    request->worker->awaited++;
    return SOMA_PARKED;
}

/* ---- Fork ---- */

soma_outcome
soma_api_fork(soma_request *request)
{
    soma_refusal refusal;
    soma_error err;
    soma_document document = {0};
    char name[SOMA_MODEL_NAME + 1];
    bool good = take_body(request, &document, &refusal) &&
                take_name(document.json, "as", name, sizeof name, &refusal);
    soma_document_free(&document);
    if (!good)
        return soma_reply_refusal(request, &refusal);
    soma_worker_prepare(request);
    return await(request,
                 soma_registry_fork(request->worker->web->registry,
                                    request->served, name, &request->job, &err),
                 &err);
}

void
soma_api_forked(soma_request *request, const soma_snapshot *snapshot,
                const float *scores)
{
    soma_text *text = &request->reply.text;
    (void)snapshot, (void)scores;
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->job.name);
    soma_text_put(text, ",\"fork_of\":");
    soma_text_quote(text, request->served->name);
    soma_text_put(text, ",\"of_version\":");
    soma_text_whole(text, request->job.version);
    soma_text_put(text, "}\n");
    soma_reply_text(request, "application/json");
}

/* ---- Promote ---- */

static bool
take_challenger(soma_request *request, const json_t *json,
                soma_refusal *refusal)
{
    char name[SOMA_MODEL_NAME + 1];
    const json_t *force = json_object_get(json, "force");
    soma_registry *registry = request->worker->web->registry;
    if (!take_name(json, "from", name, sizeof name, refusal))
        return false;
    if (force && !json_is_boolean(force))
        return soma_refuse(refusal, 400, "bad_force",
                           "\"force\": expected true or false");
    if (soma_registry_find(registry, name, &request->challenger, &refusal->err))
        return soma_refuse(refusal, 404, "unknown_model", "\"from\": %s",
                           refusal->err.text);
    soma_served_use(request->challenger, request->worker->index);
    request->job = (soma_job){.force = json_is_true(force)};
    return true;
}

soma_outcome
soma_api_promote(soma_request *request)
{
    soma_refusal refusal;
    soma_error err;
    soma_document document = {0};
    bool good = take_body(request, &document, &refusal) &&
                take_challenger(request, document.json, &refusal);
    soma_document_free(&document);
    if (!good)
        return soma_reply_refusal(request, &refusal);
    soma_worker_prepare(request);
    return await(request,
                 soma_registry_promote(request->worker->web->registry,
                                       request->served, request->challenger,
                                       &request->job, &err),
                 &err);
}

void
soma_api_promoted(soma_request *request, const soma_snapshot *snapshot,
                  const float *scores)
{
    soma_text *text = &request->reply.text;
    const soma_job *job = &request->job;
    (void)snapshot, (void)scores;
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, job->version);
    soma_text_put(text, ",\"promoted\":{\"from\":");
    soma_text_quote(text, job->from);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, job->target);
    if (job->accuracy[0] >= 0) {
        soma_text_put(text, ",\"guard_accuracy\":");
        soma_text_float(text, (float)job->accuracy[1]);
        soma_text_put(text, ",\"guard_accuracy_before\":");
        soma_text_float(text, (float)job->accuracy[0]);
    }
    soma_text_put(text, "}}\n");
    soma_reply_text(request, "application/json");
}

/* ---- Remove ---- */

soma_outcome
soma_api_remove(soma_request *request)
{
    soma_refusal refusal;
    soma_error err;
    if (!soma_input_model(request, NULL, &refusal))
        return soma_reply_refusal(request, &refusal);
    /* It waits until nobody uses the model: no longer we, either. */
    soma_served *served = request->served;
    soma_request_leave(request);
    soma_worker_prepare(request);
    return await(request,
                 soma_registry_remove(request->worker->web->registry, served,
                                      &request->job, &err),
                 &err);
}

void
soma_api_removed(soma_request *request, const soma_snapshot *snapshot,
                 const float *scores)
{
    soma_text *text = &request->reply.text;
    (void)snapshot, (void)scores;
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->model);
    soma_text_put(text, ",\"removed\":true}\n");
    soma_reply_text(request, "application/json");
}
