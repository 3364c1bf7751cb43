/* POST /predict */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/input.h"
#include "server/web/routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The path's model, else the default: where rows will most likely go. */
static soma_batch *
likely_batch(soma_request *request)
{
    soma_served *served = NULL;
    soma_registry *registry = request->worker->web->registry;
    if (soma_registry_find(registry, request->model[0] ? request->model : NULL,
                           &served, NULL))
        return NULL;
    return soma_worker_batch(request->worker, served);
}

/* Numbers are decoded to where they will be used: behind the last row of the
 * batch. Those of a request that turns out to be wrong are not counted. */
void
soma_api_lend_rows(soma_request *request)
{
    soma_batch *batch = likely_batch(request);
    const soma_web_options *options = &request->worker->web->options;
    float *lent = NULL;
    int room = 0;
    size_t size = 0;
    if (batch) {
        if (batch->rows == SOMA_BATCH_ROWS)
            soma_worker_flush(request->worker, batch);
        lent = soma_batch_next(batch, &room);
        size = (size_t)batch->served->spec.input.size;
    }
    /* Each number takes two bytes or more of a JSON body, one of others. */
    request->floats =
        soma_floats_lent(lent, (size_t)room * size, options->max_body);
}

/* The request waits with rows of its own; what it no longer needs is given
 * back first. */
static bool
keep_rows(soma_request *request, const float *rows, soma_refusal *refusal)
{
    const soma_spec *spec = &request->served->spec;
    size_t count = (size_t)request->rows * (size_t)spec->input.size;
    size_t scores = (size_t)request->rows * (size_t)spec->outputs;
    size_t first = (size_t)(rows - request->floats.data);
    soma_request_drop_body(request);
    if (!soma_request_charge(request, (count + scores) * sizeof(float)))
        return refusal->status = 0, !soma_request_busy(&refusal->err);
    soma_status status =
        soma_floats_own(&request->floats, first, count, &refusal->err);
    if (!status && !(request->scores = malloc(scores * sizeof(float))))
        status = soma_error_memory(&refusal->err, "a request's scores");
    refusal->status = 0; /* it is in err */
    request->offset = -1;
    request->x = request->floats.data;
    return !status;
}

/* The rows stand where they were lent, or are brought there if they fit; or
 * the request keeps them. */
bool
soma_api_place_rows(soma_request *request, const float *rows,
                    soma_refusal *refusal)
{
    soma_batch *batch = soma_worker_batch(request->worker, request->served);
    size_t size = (size_t)request->served->spec.input.size;
    int room;
    if (!batch) {
        refusal->status = 0; /* it is in err */
        soma_error_memory(&refusal->err, "a batch");
        return false;
    }
    float *next = soma_batch_next(batch, &room);
    if (request->rows <= room && !soma_worker_must_wait(request)) {
        if (rows != next)
            memmove(next, rows, (size_t)request->rows * size * sizeof *next);
        request->offset = batch->rows;
        batch->rows += request->rows;
        return true;
    }
    return keep_rows(request, rows, refusal);
}

static bool
take_top_k(soma_request *request, const json_t *value, soma_refusal *refusal)
{
    long most = 0;
    if (value && !json_is_null(value))
        most = json_is_integer(value) ? (long)json_integer_value(value) : -1;
    else if (request->top_k) {
        char *end;
        errno = 0;
        most = strtol(request->top_k, &end, 10);
        most = end == request->top_k || *end || errno || most == 0 ? -1 : most;
    } else {
        return true;
    }
    if (most < 1)
        return soma_refuse(refusal, 400, "bad_top_k",
                           "\"top_k\": expected a whole number from 1");
    int classes = request->served->spec.classes;
    request->most = most < classes ? (int)most : classes;
    return true;
}

/* Whether the input is to be remembered: "remember", or ?remember=1. */
static bool
take_remember(soma_request *request, const json_t *value, soma_refusal *refusal)
{
    const char *text = request->asked_to_remember;
    value = json_is_null(value) ? NULL : value;
    bool good = value ? json_is_boolean(value)
                      : !text || !strcmp(text, "0") || !strcmp(text, "1");
    request->remember = value ? json_is_true(value) : text && *text == '1';
    return good || soma_refuse(refusal, 400, "bad_remember",
                               "\"remember\": expected true or false, in the "
                               "query 1 or 0");
}

static bool
take_json(soma_request *request, soma_refusal *refusal)
{
    soma_document document = {0};
    const json_t *pixels;
    bool good =
        soma_input_json(request, &document, refusal) &&
        soma_input_model(request, json_object_get(document.json, "model"),
                         refusal) &&
        take_top_k(request, json_object_get(document.json, "top_k"), refusal) &&
        take_remember(request, json_object_get(document.json, "remember"),
                      refusal);
    if (good && !(pixels = json_object_get(document.json, "pixels")))
        good = soma_refuse(refusal, 400, "no_pixels", "\"pixels\" is missing");
    if (good) {
        const soma_array *array = soma_document_array(&document, pixels);
        if (!array) {
            good = soma_refuse(refusal, 400, "wrong_shape",
                               "\"pixels\": expected %d numbers, evenly "
                               "nested",
                               request->served->spec.input.size);
        } else {
            request->rows =
                soma_input_rows(array, &request->floats, &request->served->spec,
                                request->worker->web->options.max_rows,
                                "\"pixels\"", &request->list, refusal);
            good = request->rows > 0 &&
                   soma_api_place_rows(
                       request, request->floats.data + array->first, refusal);
        }
    }
    soma_document_free(&document);
    return good;
}

static bool
take_other(soma_request *request, soma_body_kind kind, soma_refusal *refusal)
{
    int max_rows = request->worker->web->options.max_rows;
    return soma_input_model(request, NULL, refusal) &&
           take_top_k(request, NULL, refusal) &&
           take_remember(request, NULL, refusal) &&
           soma_input_other(request, kind, max_rows, refusal) &&
           soma_api_place_rows(request, request->floats.data, refusal);
}

bool
soma_api_is_ready(soma_request *request)
{
    /* Until then it would answer as if it had never learned. */
    if (soma_trainer_is_ready(request->served->trainer))
        return true;
    request->reply.retry_after = 1;
    soma_reply_error(request, 503, "recovering",
                     "the model is recovering what it has learned; try again "
                     "later");
    return false;
}

soma_outcome
soma_api_queue(soma_request *request)
{
    return soma_api_is_ready(request) ? soma_worker_predict(request)
                                      : SOMA_DONE;
}

soma_outcome
soma_api_refuse(soma_request *request, const soma_refusal *refusal)
{
    if (request->served) {
        soma_counts *counts =
            soma_worker_counts(request->worker, request->served);
        soma_counts_add(counts, SOMA_COUNT_FAILED, 1);
        soma_counts_add(counts, SOMA_COUNT_FAILED_TIME,
                        soma_clock_ticks() - request->started);
    }
    return soma_reply_refusal(request, refusal);
}

soma_outcome
soma_api_predict(soma_request *request)
{
    soma_refusal refusal;
    soma_body_kind kind = soma_body_kind_of(request->type);
    soma_api_lend_rows(request);
    bool good = kind == SOMA_BODY_JSON ? take_json(request, &refusal)
                                       : take_other(request, kind, &refusal);
    return good ? soma_api_queue(request) : soma_api_refuse(request, &refusal);
}

/* ---- The answer ---- */

void
soma_api_put_class(soma_text *text, const soma_served *served, int label)
{
    soma_text_put(text, "\"label\":");
    soma_text_whole(text, (uint64_t)label);
    soma_text_put(text, ",\"class\":");
    if (served->classes.count) {
        soma_text_quote(text, served->classes.names[label]);
    } else {
        soma_text_put(text, "\"");
        soma_text_whole(text, (uint64_t)label);
        soma_text_put(text, "\"");
    }
}

const char *
soma_api_class_name(const soma_served *served, int label, char number[16])
{
    if (served->classes.count)
        return served->classes.names[label];
    snprintf(number, 16, "%d", label);
    return number;
}

const float *
soma_api_per_class(const soma_spec *spec, const float *answer, float both[2])
{
    if (soma_loss_answers(spec->loss, spec->outputs) == spec->classes)
        return answer;
    both[0] = -answer[0];
    both[1] = answer[0];
    return both;
}

float *
soma_api_take_row(soma_request *request, float few[SOMA_API_FEW])
{
    const soma_spec *spec = &request->served->spec;
    int count = soma_loss_answers(spec->loss, spec->outputs);
    if (count <= SOMA_API_FEW)
        return few;
    float *row = malloc((size_t)count * sizeof *row);
    if (!row)
        soma_reply_error(request, 503, "out_of_memory",
                         "no memory for the answer");
    return row;
}

void
soma_api_drop_row(float *row, const float few[SOMA_API_FEW])
{
    if (row != few)
        free(row);
}

int
soma_api_next_best(const float *answer, int count, int last)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        bool after = last < 0 || answer[i] < answer[last] ||
                     (i > last && answer[i] <= answer[last]);
        if (after && i != last && (best < 0 || answer[i] > answer[best]))
            best = i;
    }
    return best;
}

/* "top": the most probable classes, best first. */
static void
put_top(soma_text *text, const soma_served *served, const float *answer,
        int most)
{
    const soma_spec *spec = &served->spec;
    const char *name = spec->loss->probabilities ? "probability" : "score";
    float both[2];
    const float *values = soma_api_per_class(spec, answer, both);
    int last = -1;
    soma_text_put(text, ",\"top\":[");
    for (int i = 0; i < most && i < spec->classes; i++) {
        last = soma_api_next_best(values, spec->classes, last);
        soma_text_put(text, i ? ",{" : "{");
        soma_api_put_class(text, served, last);
        soma_text_put(text, ",\"");
        soma_text_put(text, name);
        soma_text_put(text, "\":");
        soma_text_float(text, values[last]);
        soma_text_put(text, "}");
    }
    soma_text_put(text, "]");
}

/* One row: "label", "class" and "probabilities" (or "scores"). */
static void
put_row(soma_request *request, const float *scores, float *answer)
{
    soma_text *text = &request->reply.text;
    const soma_served *served = request->served;
    const soma_spec *spec = &served->spec;
    int count = soma_loss_answers(spec->loss, spec->outputs);
    spec->loss->answer(spec->outputs, scores, answer);
    soma_api_put_class(text, served,
                       soma_loss_decide(spec->loss, spec->outputs, scores));
    if (request->most) {
        put_top(text, served, answer, request->most);
        return;
    }
    soma_text_put(text, spec->loss->probabilities ? ",\"probabilities\":["
                                                  : ",\"scores\":[");
    for (int i = 0; i < count; i++) {
        if (i)
            soma_text_put(text, ",");
        soma_text_float(text, answer[i]);
    }
    soma_text_put(text, "]");
}

/* Where the input of row r stands still. */
static const float *
row_at(const soma_request *request, int r)
{
    size_t size = (size_t)request->served->spec.input.size;
    const soma_batch *batch = &request->worker->batches[request->served->index];
    return request->offset < 0
               ? request->x + (size_t)r * size
               : batch->x + (size_t)(request->offset + r) * size;
}

/* Remembers row r, and says under which id. */
static bool
put_id(soma_request *request, int r, uint64_t version, const float *scores)
{
    char id[SOMA_RECALL_ID + 1];
    soma_error err;
    const soma_spec *spec = &request->served->spec;
    soma_recalled answer = {
        version, soma_loss_decide(spec->loss, spec->outputs, scores)};
    int64_t now = soma_recall_now();
    if (soma_recall_put(&request->served->recall, row_at(request, r), &answer,
                        now, id, &err)) {
        soma_reply_failure(request, &err);
        return false;
    }
    soma_text_put(&request->reply.text, ",\"id\":\"");
    soma_text_put(&request->reply.text, id);
    soma_text_put(&request->reply.text, "\"");
    return true;
}

void
soma_api_predicted(soma_request *request, const soma_snapshot *snapshot,
                   const float *scores)
{
    soma_text *text = &request->reply.text;
    const soma_spec *spec = &request->served->spec;
    size_t outputs = (size_t)spec->outputs;
    float few[SOMA_API_FEW], *answer = soma_api_take_row(request, few);
    if (!answer)
        return;
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, snapshot->version);
    soma_text_put(text, request->list ? ",\"predictions\":[" : ",");
    bool good = true;
    for (int r = 0; r < request->rows; r++) {
        if (request->list)
            soma_text_put(text, r ? ",{" : "{");
        const float *row = scores + (size_t)r * outputs;
        put_row(request, row, answer);
        if (request->remember && !put_id(request, r, snapshot->version, row)) {
            good = false;
            break;
        }
        if (request->list)
            soma_text_put(text, "}");
    }
    soma_api_drop_row(answer, few);
    if (!good)
        return;
    soma_text_put(text, request->list ? "]}\n" : "}\n");
    soma_reply_text(request, "application/json");
}
