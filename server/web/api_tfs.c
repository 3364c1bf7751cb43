/* POST /v1/models/{model}:predict and :classify: TensorFlow Serving's REST API
 * (its g3doc/api_rest.md), which KServe's first protocol and Vertex AI share.
 *
 * A model has one input, so its name is not looked at: an instance is a value
 * or an object of one value.
 */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/input.h"
#include "server/web/oip.h"
#include "server/web/tfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The request ---- */

typedef struct tfs {
    soma_request *request;
    soma_document document;
    soma_refusal *refusal;
    const float *rows;
} tfs;

/* The only value of an object, or what it is itself. */
static const json_t *
only_value(json_t *value)
{
    return json_object_size(value) == 1
               ? json_object_iter_value(json_object_iter(value))
               : value;
}

static bool
refuse_array(const tfs *t, const char *where)
{
    return soma_refuse(t->refusal, 400, "wrong_shape",
                       "%s: expected %d numbers, evenly nested", where,
                       t->request->served->spec.input.size);
}

/* A list of examples in one array. */
static bool
take_list(tfs *t, const soma_array *array, const char *where)
{
    soma_request *request = t->request;
    request->rows =
        soma_input_rows(array, &request->floats, &request->served->spec,
                        request->worker->web->options.max_rows, where,
                        &request->list, t->refusal);
    t->rows = request->floats.data + array->first;
    if (request->rows && !request->list)
        return soma_refuse(t->refusal, 400, "wrong_shape",
                           "%s: expected a list of examples, got one", where);
    return request->rows > 0;
}

/* Rows that each stand in an object. They were lifted in order, so each moves
 * down to behind the one before. */
static bool
take_objects(tfs *t, const json_t *list, const char *where)
{
    char name[64];
    bool listed;
    soma_request *request = t->request;
    const soma_spec *spec = &request->served->spec;
    size_t size = (size_t)spec->input.size, count = json_array_size(list);
    int most = request->worker->web->options.max_rows;
    if (count > (size_t)most)
        return soma_refuse(t->refusal, 413, "too_many_rows",
                           "%s: %zu examples, at most %d may come in one "
                           "request",
                           where, count, most);
    float *to = request->floats.data;
    for (size_t i = 0; i < count; i++, to += size) {
        snprintf(name, sizeof name, "%.32s[%zu]", where, i);
        const soma_array *array = soma_document_array(
            &t->document, only_value(json_array_get(list, i)));
        if (!array)
            return refuse_array(t, name);
        int rows = soma_input_rows(array, &request->floats, spec, 1, name,
                                   &listed, t->refusal);
        if (rows == 0)
            return false;
        memmove(to, request->floats.data + array->first, size * sizeof *to);
    }
    request->rows = (int)count;
    t->rows = request->floats.data;
    return count > 0 || soma_refuse(t->refusal, 400, "no_instances",
                                    "%s: expected at least one example", where);
}

static bool
take_examples(tfs *t, const json_t *value, const char *where)
{
    const soma_array *array = soma_document_array(&t->document, value);
    if (array)
        return take_list(t, array, where);
    if (!json_is_array(value))
        return soma_refuse(t->refusal, 400, "wrong_shape",
                           "%s: expected a list of examples", where);
    return take_objects(t, value, where);
}

static bool
take_signature(const tfs *t)
{
    const json_t *name = json_object_get(t->document.json, "signature_name");
    const char *text = json_string_value(name);
    return !name || json_is_null(name) ||
           (text && (!*text || !strcmp(text, SOMA_TFS_SIGNATURE))) ||
           soma_refuse(t->refusal, 400, "unknown_signature",
                       "\"signature_name\": expected \"" SOMA_TFS_SIGNATURE
                       "\"");
}

static bool
take_predict(tfs *t)
{
    const json_t *rows = json_object_get(t->document.json, "instances");
    json_t *columns = json_object_get(t->document.json, "inputs");
    if (rows && columns)
        return soma_refuse(t->refusal, 400, "bad_instances",
                           "expected \"instances\" or \"inputs\", got both");
    if (!rows && !columns)
        return soma_refuse(t->refusal, 400, "bad_instances",
                           "Missing 'inputs' or 'instances' key");
    t->request->form = rows ? SOMA_TFS_ROWS : SOMA_TFS_COLUMNS;
    return rows ? take_examples(t, rows, "\"instances\"")
                : take_examples(t, only_value(columns), "\"inputs\"");
}

static bool
take_classify(tfs *t)
{
    const json_t *examples = json_object_get(t->document.json, "examples");
    t->request->form = SOMA_TFS_CLASSES;
    return examples ? take_examples(t, examples, "\"examples\"")
                    : soma_refuse(t->refusal, 400, "bad_examples",
                                  "\"examples\" is missing");
}

soma_outcome
soma_tfs_run(soma_request *request, bool classify)
{
    soma_refusal refusal;
    tfs t = {.request = request, .refusal = &refusal};
    soma_api_lend_rows(request);
    bool good = soma_oip_model(request, &refusal) &&
                soma_input_json(request, &t.document, &refusal) &&
                take_signature(&t) &&
                (classify ? take_classify(&t) : take_predict(&t)) &&
                soma_api_place_rows(request, t.rows, &refusal);
    soma_document_free(&t.document);
    return good ? soma_api_queue(request) : soma_api_refuse(request, &refusal);
}

soma_outcome
soma_api_tfs_predict(soma_request *request)
{
    return soma_tfs_run(request, false);
}

soma_outcome
soma_api_tfs_classify(soma_request *request)
{
    return soma_tfs_run(request, true);
}

soma_outcome
soma_api_tfs_regress(soma_request *request)
{
    soma_refusal refusal;
    if (!soma_oip_model(request, &refusal))
        return soma_reply_refusal(request, &refusal);
    soma_refuse(&refusal, 400, "no_regression",
                "model %s is a classifier: ask :predict or :classify",
                request->served->name);
    return soma_api_refuse(request, &refusal);
}

/* ---- The answer ---- */

static void
put_values(soma_text *text, const float *answer, int count)
{
    for (int i = 0; i < count; i++) {
        soma_text_put(text, i ? "," : "[");
        soma_text_float(text, answer[i]);
    }
    soma_text_put(text, "]");
}

/* [["label", score], ...], in the order of the classes. */
static void
put_classes(soma_text *text, const soma_served *served, const float *answer)
{
    float both[2];
    const float *values = soma_api_per_class(&served->spec, answer, both);
    for (int i = 0; i < served->spec.classes; i++) {
        char number[16];
        soma_text_put(text, i ? ",[" : "[[");
        soma_text_quote(text, soma_api_class_name(served, i, number));
        soma_text_put(text, ",");
        soma_text_float(text, values[i]);
        soma_text_put(text, "]");
    }
    soma_text_put(text, "]");
}

void
soma_api_tfs_predicted(soma_request *request, const soma_snapshot *snapshot,
                       const float *scores)
{
    static const char *const heads[] = {[SOMA_TFS_ROWS] = "{\"predictions\":[",
                                        [SOMA_TFS_COLUMNS] = "{\"outputs\":[",
                                        [SOMA_TFS_CLASSES] = "{\"results\":["};
    soma_text *text = &request->reply.text;
    const soma_spec *spec = &request->served->spec;
    int count = soma_loss_answers(spec->loss, spec->outputs);
    float few[SOMA_API_FEW], *answer = soma_api_take_row(request, few);
    if (!answer)
        return;
    soma_text_put(text, heads[request->form]);
    for (int r = 0; r < request->rows; r++) {
        spec->loss->answer(spec->outputs,
                           scores + (size_t)r * (size_t)spec->outputs, answer);
        soma_text_put(text, r ? "," : "");
        if (request->form == SOMA_TFS_CLASSES)
            put_classes(text, request->served, answer);
        else
            put_values(text, answer, count);
    }
    soma_api_drop_row(answer, few);
    soma_text_put(text, "],\"soma_version\":");
    soma_text_whole(text, snapshot->version);
    soma_text_put(text, "}\n");
    soma_reply_text(request, "application/json");
}
