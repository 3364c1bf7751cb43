/* GET /models, /models/{model}, /models/{model}/weights */
#include "core/io/json_memory.h"
#include "core/matrix.h"
#include "server/web/api.h"
#include "server/web/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *
describe_report(const soma_progress_report *report)
{
    json_t *json =
        json_pack("{s:i, s:f, s:f}", "window", report->examples, "accuracy",
                  report->accuracy, "loss", report->loss);
    if (json && report->calibration_error >= 0)
        json_object_set_new(json, "calibration_error",
                            json_real(report->calibration_error));
    return json;
}

/* Over the window, fading, and for each class that is in the window. */
static json_t *
describe_progress(const soma_served *served, const soma_progressive *p)
{
    soma_progress_report all = soma_progressive_report(p, -1);
    json_t *json = describe_report(&all), *classes = json_object();
    for (int i = 0; i < served->spec.classes && i < 1000; i++) {
        char number[16];
        soma_progress_report one = soma_progressive_report(p, i);
        snprintf(number, sizeof number, "%d", i);
        if (one.examples)
            json_object_set_new(classes,
                                served->classes.count ? served->classes.names[i]
                                                      : number,
                                describe_report(&one));
    }
    json_object_set_new(json, "fading_accuracy", json_real(p->fading_accuracy));
    json_object_set_new(json, "fading_loss", json_real(p->fading_loss));
    json_object_set_new(json, "drift_alarms",
                        json_integer((json_int_t)p->alarms));
    json_object_set_new(json, "last_drift_alarm",
                        json_integer((json_int_t)p->last_alarm));
    json_object_set_new(json, "classes", classes);
    return json;
}

static json_t *
describe_learning(const soma_trainer_report *report)
{
    const soma_learning *l = &report->learning;
    json_t *json =
        json_pack("{s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:I, s:s}",
                  "learning_rate", (double)l->sgd.rate, "momentum",
                  (double)l->sgd.momentum, "l2", (double)l->sgd.l2, "clip",
                  (double)l->sgd.clip, "rehearse", l->rehearse, "max_steps",
                  l->max_steps, "memory", report->kept, "memory_active",
                  report->active, "stream_memory", report->stream, "checkpoint",
                  (json_int_t)report->checkpoint, "state",
                  report->stopped                            ? "stopped"
                  : report->state == SOMA_TRAINER_RECOVERING ? "recovering"
                                                             : "ready");
    if (json && report->stopped)
        json_object_set_new(json, "reason", json_string(report->err.text));
    return json;
}

/* The guard examples, and what was read of them; NULL: there are none. */
static json_t *
describe_guard(const soma_trainer_report *report)
{
    if (!report->guard)
        return NULL;
    json_t *json = json_pack("{s:i}", "examples", report->guard);
    if (!json || !report->guard_judged)
        return json;
    double of = report->guard_judged, base = report->guard_base / of;
    json_t *verdict =
        json_pack("{s:f, s:f, s:I, s:f, s:f, s:I}", "accuracy",
                  report->guard_right / of, "loss", report->guard_loss,
                  "version", (json_int_t)report->guard_version, "file_accuracy",
                  base, "bound", base - report->guard_drop / 100, "last_good",
                  (json_int_t)report->guard_good);
    json_object_update(json, verdict);
    json_decref(verdict);
    return json;
}

static json_t *
describe_delayed(soma_served *served)
{
    soma_recall_counts counts =
        soma_recall_count(&served->recall, soma_recall_now());
    return json_pack("{s:I, s:I, s:I}", "remembered",
                     (json_int_t)counts.remembered, "labelled",
                     (json_int_t)counts.labelled, "right",
                     (json_int_t)counts.right);
}

/* What GET /models/{model} answers; a new reference, or NULL with *err. */
static json_t *
describe(soma_served *served, soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1];
    soma_snapshot *snapshot = soma_shelf_current(&served->shelf);
    soma_trainer_report report;
    soma_trainer_ask(served->trainer, &report);
    if (soma_snapshot_digest(snapshot, digest, err))
        return NULL;
    json_t *json = json_pack("{s:s, s:I, s:s}", "name", served->name, "version",
                             (json_int_t)snapshot->version, "digest", digest);
    json_t *spec = soma_checkpoint_describe(&served->spec, snapshot->model,
                                            &served->classes);
    json_t *rest = json_pack(
        "{s:I, s:I, s:o, s:o, s:o*, s:o, s:s*}", "parameters",
        (json_int_t)served->spec.trainable, "examples",
        (json_int_t)snapshot->progressive.examples, "progressive",
        describe_progress(served, &snapshot->progressive), "learning",
        describe_learning(&report), "guard", describe_guard(&report), "delayed",
        describe_delayed(served), "fork_of", served->origin);
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

soma_outcome
soma_reply_json(soma_request *request, json_t *json)
{
    soma_text *text = &request->reply.text;
    if (json_dump_callback(json, put_dump, text,
                           JSON_COMPACT | JSON_REAL_PRECISION(9)))
        text->failed = true; /* also of NULL */
    /* What was made of it may lack a member, since the request was begun. */
    if (soma_json_memory_short())
        text->failed = true;
    soma_json_memory_begin();
    soma_text_put(text, "\n");
    json_decref(json);
    return soma_reply_text(request, "application/json");
}

soma_outcome
soma_api_models(soma_request *request)
{
    soma_served *models[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(request->worker->web->registry, models);
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        soma_error err;
        json_t *model = describe(models[i], &err);
        if (!model) {
            json_decref(list);
            return soma_reply_failure(request, &err);
        }
        json_array_append_new(list, model);
    }
    return soma_reply_json(request, json_pack("{s:o}", "models", list));
}

soma_outcome
soma_api_model(soma_request *request)
{
    soma_refusal refusal;
    soma_error err;
    if (!soma_input_model(request, NULL, &refusal))
        return soma_reply_refusal(request, &refusal);
    json_t *model = describe(request->served, &err);
    return model ? soma_reply_json(request, model)
                 : soma_reply_failure(request, &err);
}

soma_outcome
soma_api_guard(soma_request *request)
{
    soma_refusal refusal;
    soma_trainer_report report;
    if (!soma_input_model(request, NULL, &refusal))
        return soma_reply_refusal(request, &refusal);
    soma_trainer_ask(request->served->trainer, &report);
    if (!report.guard)
        return soma_reply_error(request, 404, "no_guard",
                                "model %s has no guard examples (--guard, or "
                                "soma train --guard)",
                                request->served->name);
    request->job = (soma_job){.kind = SOMA_JOB_JUDGE};
    return soma_worker_submit(request);
}

void
soma_api_judged(soma_request *request, const soma_snapshot *snapshot,
                const float *scores)
{
    const soma_job *job = &request->job;
    (void)snapshot, (void)scores;
    soma_reply_json(
        request,
        json_pack("{s:s, s:I, s:i, s:i, s:f, s:f}", "model",
                  request->served->name, "version", (json_int_t)job->version,
                  "examples", job->judged, "right", job->right, "accuracy",
                  (double)job->right / job->judged, "loss", job->loss));
}

/* ---- Weights ---- */

/* What of them, of a request that was checked. */
static const soma_layer *
layer_of(const soma_request *request, long long *number, long long *units,
         soma_refusal *refusal)
{
    const soma_spec *spec = &request->served->spec;
    if (!soma_api_take_number(request->layer, "layer", 0, spec->depth - 1, 0,
                              number, refusal))
        return NULL;
    const soma_layer *layer = &spec->layers[*number];
    return soma_api_take_number(request->units, "units", 1, layer->out,
                                layer->out, units, refusal)
               ? layer
               : NULL;
}

/* Bytes of the answer, about; 0: refused. */
static size_t
size_of_weights(const soma_request *request, soma_refusal *refusal)
{
    long long number, units;
    if (!request->layer)
        return (size_t)request->served->spec.trainable * sizeof(float);
    const soma_layer *layer = layer_of(request, &number, &units, refusal);
    return layer ? (size_t)layer->in * (size_t)units * sizeof(float) : 0;
}

/* Made later: they may be hundreds of MB, and as many may be asked for at once
 * as there are connections. */
soma_outcome
soma_api_weights(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_input_model(request, NULL, &refusal))
        return soma_reply_refusal(request, &refusal);
    if (request->units && !request->layer) {
        soma_refuse(&refusal, 400, "bad_units",
                    "\"units\" are those of a \"layer\", which is missing");
        return soma_reply_refusal(request, &refusal);
    }
    size_t size = size_of_weights(request, &refusal);
    if (!size)
        return soma_reply_refusal(request, &refusal);
    if (size > SOMA_REQUEST_FREE && !soma_request_charge(request, size))
        return soma_reply_busy(request);
    return soma_worker_later(request);
}

/* The first rows of one layer's weights, float32 and nothing else: what a page
 * draws as pictures, again and again. */
static void
reply_layer(soma_request *request)
{
    soma_refusal refusal;
    long long number, units;
    const soma_layer *layer = layer_of(request, &number, &units, &refusal);
    const soma_snapshot *snapshot = soma_shelf_current(&request->served->shelf);
    const soma_model *model = snapshot->model;
    size_t in = (size_t)layer->in, all = in * (size_t)layer->out;
    float *rows = malloc(all * sizeof *rows);
    if (!rows) {
        soma_reply_error(request, 503, "out_of_memory",
                         "no memory for the answer");
        return;
    }
    soma_matrix_to_rows(layer->in, layer->out,
                        soma_model_weights(model, (int)number), rows);
    soma_text_bytes(&request->reply.text, rows,
                    (size_t)units * in * sizeof *rows);
    free(rows);
    soma_reply_version(request, snapshot->version);
    request->reply.unsaid = true;
    soma_reply_text(request, "application/octet-stream");
}

static void
reply_checkpoint(soma_request *request)
{
    soma_error err;
    soma_bytes bytes = {NULL, 0};
    soma_served *served = request->served;
    soma_snapshot *snapshot = soma_shelf_current(&served->shelf);
    soma_checkpoint checkpoint = {.model = snapshot->model,
                                  .classes = served->classes};
    checkpoint.made = json_pack("{s:s, s:I}", "by", "soma", "version",
                                (json_int_t)snapshot->version);
    soma_status status =
        soma_checkpoint_build(&checkpoint, SOMA_F32, &bytes, &err);
    json_decref(checkpoint.made);
    if (status) {
        soma_reply_failure(request, &err);
        return;
    }
    soma_reply_version(request, snapshot->version);
    /* The text takes over the bytes as they are. */
    soma_text_free(&request->reply.text);
    request->reply.text =
        (soma_text){(char *)bytes.data, bytes.size, bytes.size, false};
    soma_reply_text(request, "application/octet-stream");
}

void
soma_api_weighed(soma_request *request, const soma_snapshot *snapshot,
                 const float *scores)
{
    (void)snapshot, (void)scores;
    (request->layer ? reply_layer : reply_checkpoint)(request);
}
