/* POST /models/{model}/explain: why one image is answered as it is.
 *
 * It is worked out at once, in the turn that reads the request, on a workspace
 * of its own: people look at one picture at a time, and predictions need no
 * room for a backward pass. */
#include "core/explain.h"

#include "core/activation.h"
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/input.h"

#include <stdlib.h>

/* ---- The question ---- */

static bool
one_image(soma_refusal *refusal)
{
    return soma_refuse(refusal, 400, "one_image",
                       "one image is explained at a time");
}

static bool
take_json(soma_request *request, int *label, soma_refusal *refusal)
{
    soma_document document = {0};
    bool good = soma_input_json(request, &document, refusal) &&
                soma_input_model(
                    request, json_object_get(document.json, "model"), refusal);
    const json_t *asked = json_object_get(document.json, "label");
    const json_t *pixels = json_object_get(document.json, "pixels");
    if (good && asked && !json_is_null(asked))
        good = soma_input_label(request->served, asked, "\"label\"", label,
                                refusal);
    if (good && !pixels)
        good = soma_refuse(refusal, 400, "no_pixels", "\"pixels\" is missing");
    if (good) {
        const soma_spec *spec = &request->served->spec;
        const soma_array *array = soma_document_array(&document, pixels);
        if (!array) {
            good = soma_refuse(refusal, 400, "wrong_shape",
                               "\"pixels\": expected %d numbers, evenly nested",
                               spec->input.size);
        } else {
            int max_rows = request->worker->web->options.max_rows;
            request->rows =
                soma_input_rows(array, &request->floats, spec, max_rows,
                                "\"pixels\"", &request->list, refusal);
            request->x = request->floats.data + array->first;
            good = request->rows > 0;
        }
    }
    soma_document_free(&document);
    return good;
}

static bool
take(soma_request *request, int *label, soma_refusal *refusal)
{
    soma_body_kind kind = soma_body_kind_of(request->type);
    *label = -1;
    if (kind == SOMA_BODY_JSON) {
        if (!take_json(request, label, refusal))
            return false;
    } else {
        int max_rows = request->worker->web->options.max_rows;
        if (!soma_input_model(request, NULL, refusal) ||
            !soma_input_other(request, kind, max_rows, refusal))
            return false;
        request->x = request->floats.data;
    }
    if (*label < 0 && request->label &&
        !soma_input_label_text(request->served, request->label, label, refusal))
        return false;
    return request->rows == 1 || one_image(refusal);
}

/* ---- The answer ---- */

static void
put_floats(soma_text *text, const char *name, int count, const float *values)
{
    soma_text_put(text, ",\"");
    soma_text_put(text, name);
    soma_text_put(text, "\":[");
    for (int i = 0; i < count; i++) {
        if (i)
            soma_text_put(text, ",");
        soma_text_float(text, values[i]);
    }
    soma_text_put(text, "]");
}

/* The numbers of those units that are marked. */
static void
put_units(soma_text *text, const char *name, int count,
          const unsigned char *marked)
{
    bool first = true;
    soma_text_put(text, ",\"");
    soma_text_put(text, name);
    soma_text_put(text, "\":[");
    for (int u = 0; u < count; u++)
        if (marked[u]) {
            soma_text_put(text, first ? "" : ",");
            soma_text_whole(text, (uint64_t)u);
            first = false;
        }
    soma_text_put(text, "]");
}

static void
put_layer(soma_text *text, soma_served *served, int i, const float *a,
          unsigned char *marked)
{
    const soma_layer *layer = &served->spec.layers[i];
    const soma_activation *activation = layer->activation;
    soma_health_report report;
    soma_text_put(text, i ? ",{\"layer\":" : "{\"layer\":");
    soma_text_whole(text, (uint64_t)i);
    soma_text_put(text, ",\"activation\":");
    soma_text_quote(text, activation->name);
    soma_text_put(text, ",\"kind\":");
    soma_text_put(text, activation->stuck == SOMA_STUCK_NEVER  ? "null"
                        : activation->stuck == SOMA_STUCK_DEAD ? "\"dead\""
                                                               : "\"saturated"
                                                                 "\"");
    put_floats(text, "activations", layer->units, a);
    for (int u = 0; u < layer->units; u++)
        marked[u] = activation->is_stuck && activation->is_stuck(a[u]);
    put_units(text, "stuck", layer->units, marked);
    soma_health_ask_units(&served->health, &served->spec, i, &report, marked);
    put_units(text, "always_stuck", layer->units, marked);
    soma_text_put(text, ",\"sampled_rows\":");
    soma_text_whole(text, (uint64_t)report.rows);
    soma_text_put(text, "}");
}

/* What a request needs besides its own memory. */
typedef struct scratch {
    soma_workspace *ws;
    float *attribution, *answer; /* [input.size], [answers] */
    unsigned char *marked;       /* [units of the widest layer] */
} scratch;

static bool
get_scratch(scratch *s, const soma_spec *spec)
{
    int answers = soma_loss_answers(spec->loss, spec->outputs), widest = 1;
    for (int i = 0; i < spec->depth; i++)
        if (spec->layers[i].units > widest)
            widest = spec->layers[i].units;
    s->ws = soma_workspace_create(spec, 1, SOMA_PASS_LEARN, NULL);
    s->attribution = malloc((size_t)spec->input.size * sizeof(float));
    s->answer = malloc((size_t)answers * sizeof(float));
    s->marked = malloc((size_t)widest);
    return s->ws && s->attribution && s->answer && s->marked;
}

static void
free_scratch(scratch *s)
{
    soma_workspace_free(s->ws);
    free(s->attribution);
    free(s->answer);
    free(s->marked);
}

static void
put_answer(soma_request *request, const soma_snapshot *snapshot, scratch *s,
           int explained)
{
    soma_text *text = &request->reply.text;
    soma_served *served = request->served;
    const soma_spec *spec = &served->spec;
    const float *scores = soma_pass_scores(s->ws);
    spec->loss->answer(spec->outputs, scores, s->answer);
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, served->name);
    soma_text_put(text, ",\"version\":");
    soma_text_whole(text, snapshot->version);
    soma_text_put(text, ",");
    soma_api_put_class(text, served,
                       soma_loss_decide(spec->loss, spec->outputs, scores));
    put_floats(text, spec->loss->probabilities ? "probabilities" : "scores",
               soma_loss_answers(spec->loss, spec->outputs), s->answer);
    soma_text_put(text, ",\"explained\":{");
    soma_api_put_class(text, served, explained);
    soma_text_put(text, ",\"logit\":");
    soma_text_float(text, soma_explain_logit(spec, scores, explained));
    soma_text_put(text, "}");
    put_floats(text, "attribution", spec->input.size, s->attribution);
    soma_text_put(text, ",\"layers\":[");
    for (int i = 0; i + 1 < spec->depth; i++)
        put_layer(text, served, i, soma_pass_activations(s->ws, i), s->marked);
    soma_text_put(text, "]}\n");
}

soma_outcome
soma_api_explain(soma_request *request)
{
    soma_refusal refusal;
    scratch s;
    int label;
    soma_input_own(request);
    if (!take(request, &label, &refusal))
        return soma_reply_refusal(request, &refusal);
    if (!soma_api_is_ready(request))
        return SOMA_DONE;
    if (soma_worker_must_wait(request))
        return soma_worker_refuse_version(request);
    if (!get_scratch(&s, &request->served->spec)) {
        free_scratch(&s);
        return soma_reply_error(request, 503, "out_of_memory",
                                "no memory for the answer");
    }
    const soma_snapshot *snapshot = soma_shelf_current(&request->served->shelf);
    label =
        soma_explain(snapshot->model, s.ws, request->x, label, s.attribution);
    soma_reply_version(request, snapshot->version);
    put_answer(request, snapshot, &s, label);
    free_scratch(&s);
    return soma_reply_text(request, "application/json");
}
