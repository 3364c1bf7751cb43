/* GET /models, /models/{model}, /models/{model}/weights */
#include "server/web/api.h"
#include "server/web/input.h"

#include <stdlib.h>
#include <string.h>

/* What GET /models/{model} answers; a new reference, or NULL with *err. */
static json_t *
describe(soma_served *served, soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1];
    soma_snapshot *snapshot = soma_shelf_current(&served->shelf);
    const soma_progressive *p = &snapshot->progressive;
    if (soma_snapshot_digest(snapshot, digest, err))
        return NULL;
    json_t *json = json_pack("{s:s, s:I, s:s}", "name", served->name, "version",
                             (json_int_t)snapshot->version, "digest", digest);
    json_t *spec = soma_checkpoint_describe(&served->spec, snapshot->model,
                                            &served->classes);
    json_t *rest =
        json_pack("{s:I, s:I, s:{s:i, s:f, s:f}}", "parameters",
                  (json_int_t)served->spec.trainable, "examples",
                  (json_int_t)p->examples, "progressive", "window", p->window,
                  "accuracy", p->accuracy, "loss", p->loss);
    if (!json || !spec || !rest || json_object_update(json, spec) ||
        json_object_update(json, rest)) {
        soma_error_memory(err, "a model's description");
        json_decref(json);
        json = NULL;
    }
    json_decref(spec);
    json_decref(rest);
    return json;
}

static int
put_dump(const char *buffer, size_t size, void *text)
{
    soma_text_bytes(text, buffer, size);
    return 0;
}

/* Takes over `json`. */
static soma_outcome
reply_json(soma_request *request, json_t *json)
{
    soma_text *text = &request->reply.text;
    if (json_dump_callback(json, put_dump, text,
                           JSON_COMPACT | JSON_REAL_PRECISION(9)))
        text->failed = true;
    soma_text_put(text, "\n");
    json_decref(json);
    return soma_reply_text(request, "application/json");
}

soma_outcome
soma_api_models(soma_request *request)
{
    const soma_registry *registry = request->worker->web->registry;
    json_t *list = json_array();
    for (int i = 0; i < registry->count; i++) {
        soma_error err;
        json_t *model = describe(registry->models[i], &err);
        if (!model) {
            json_decref(list);
            return soma_reply_failure(request, &err);
        }
        json_array_append_new(list, model);
    }
    return reply_json(request, json_pack("{s:o}", "models", list));
}

soma_outcome
soma_api_model(soma_request *request)
{
    soma_refusal refusal;
    soma_error err;
    if (!soma_input_model(request, NULL, &refusal))
        return soma_reply_refusal(request, &refusal);
    json_t *model = describe(request->served, &err);
    return model ? reply_json(request, model)
                 : soma_reply_failure(request, &err);
}

soma_outcome
soma_api_weights(soma_request *request)
{
    soma_refusal refusal;
    soma_error err;
    soma_bytes bytes = {NULL, 0};
    if (!soma_input_model(request, NULL, &refusal))
        return soma_reply_refusal(request, &refusal);
    soma_served *served = request->served;
    soma_snapshot *snapshot = soma_shelf_current(&served->shelf);
    soma_checkpoint checkpoint = {.model = snapshot->model,
                                  .classes = served->classes};
    checkpoint.made = json_pack("{s:s, s:I}", "by", "soma", "version",
                                (json_int_t)snapshot->version);
    soma_status status =
        soma_checkpoint_build(&checkpoint, SOMA_F32, &bytes, &err);
    json_decref(checkpoint.made);
    if (status)
        return soma_reply_failure(request, &err);
    /* The text takes over the bytes as they are. */
    soma_text_free(&request->reply.text);
    request->reply.text =
        (soma_text){(char *)bytes.data, bytes.size, bytes.size, false};
    return soma_reply_text(request, "application/octet-stream");
}
