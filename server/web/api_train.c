/* POST /train: examples are checked whole before the first one is taken. */
#include "server/web/api.h"
#include "server/web/input.h"
#include "server/web/routes.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A label that came later than its input. */
typedef struct soma_label {
    char id[SOMA_RECALL_ID + 1]; /* "": the input came with it */
    soma_recalled served;        /* what was answered then */
} soma_label;

static bool
no_memory(soma_refusal *refusal)
{
    refusal->status = 0;
    soma_error_memory(&refusal->err, "examples");
    return false;
}

static bool
make_room(soma_request *request, size_t rows, soma_refusal *refusal)
{
    request->labels = malloc((rows + 1) * sizeof *request->labels);
    request->lessons = calloc(rows + 1, sizeof *request->lessons);
    return (request->labels && request->lessons) || no_memory(refusal);
}

/* The remembered input of this id, to `to` [size]. */
static bool
recall(soma_request *request, const json_t *id, int row, const char *where,
       float *to, soma_refusal *refusal)
{
    const char *text = json_string_value(id);
    soma_label *label = &request->delayed[row];
    int64_t now = soma_recall_now();
    if (!text)
        return soma_refuse(refusal, 400, "bad_id",
                           "\"%sid\": expected a string, as /predict gave it",
                           where);
    if (soma_recall_get(&request->served->recall, text, now, to, &label->served,
                        &refusal->err))
        return soma_refuse(refusal, 404, "unknown_id", "\"%sid\": %s", where,
                           refusal->err.text);
    memcpy(label->id, text, sizeof label->id);
    return true;
}

static bool
take_pixels(soma_request *request, const soma_document *document,
            const json_t *pixels, const char *where, float *to,
            soma_refusal *refusal)
{
    char name[64];
    bool list;
    const soma_spec *spec = &request->served->spec;
    const soma_array *array = soma_document_array(document, pixels);
    snprintf(name, sizeof name, "\"%spixels\"", where);
    if (!pixels)
        return soma_refuse(refusal, 400, "no_pixels",
                           "%s is missing (or \"id\", of an input that "
                           "/predict remembered)",
                           name);
    if (!array)
        return soma_refuse(refusal, 400, "wrong_shape",
                           "%s: expected %d numbers, evenly nested", name,
                           spec->input.size);
    if (!soma_input_rows(array, &request->floats, spec, 1, name, &list,
                         refusal))
        return false;
    memmove(to, request->floats.data + array->first,
            (size_t)spec->input.size * sizeof *to);
    return true;
}

/* The example in `object`: its input goes to `to` [size], which must be where
 * its pixels are or before, or in other memory. */
static bool
take_example(soma_request *request, const soma_document *document,
             const json_t *object, int row, const char *where, float *to,
             soma_refusal *refusal)
{
    char label_at[64];
    const json_t *id = json_object_get(object, "id");
    const json_t *pixels = json_object_get(object, "pixels");
    snprintf(label_at, sizeof label_at, "\"%slabel\"", where);
    return (id && !pixels
                ? recall(request, id, row, where, to, refusal)
                : take_pixels(request, document, pixels, where, to, refusal)) &&
           soma_input_label(request->served, json_object_get(object, "label"),
                            label_at, &request->labels[row], refusal);
}

/* Examples stand in the document in the order of their numbers' floats unless
 * the JSON is perverse ("examples" twice): each must lie at or behind its row
 * so that moving one does not overwrite another. */
static bool
in_order(const soma_document *document, const json_t *examples, size_t size)
{
    size_t last = 0;
    for (size_t i = 0; i < json_array_size(examples); i++) {
        const soma_array *array = soma_document_array(
            document, json_object_get(json_array_get(examples, i), "pixels"));
        if (array && (array->first < i * size || array->first < last))
            return false;
        last = array ? array->first : last;
    }
    return true;
}

/* Memory of their own for the rows of a request, where not all of them come
 * with it. */
static bool
make_rows(soma_request *request, size_t count, float **rows,
          soma_refusal *refusal)
{
    size_t bytes =
        count * (size_t)request->served->spec.input.size * sizeof **rows;
    refusal->status = 0;
    if (!soma_request_charge(request, bytes))
        return !soma_request_busy(&refusal->err);
    *rows = malloc(bytes);
    request->delayed = calloc(count, sizeof *request->delayed);
    if (*rows && request->delayed)
        return true;
    free(*rows);
    return no_memory(refusal);
}

static bool
has_ids(const json_t *examples)
{
    for (size_t i = 0; i < json_array_size(examples); i++)
        if (json_object_get(json_array_get(examples, i), "id"))
            return true;
    return false;
}

static bool
take_rows(soma_request *request, const soma_document *document,
          const json_t *examples, float *rows, soma_refusal *refusal)
{
    size_t size = (size_t)request->served->spec.input.size;
    for (size_t i = 0; i < json_array_size(examples); i++) {
        char where[40];
        const json_t *example = json_array_get(examples, i);
        snprintf(where, sizeof where, "examples[%zu].", i);
        if (!json_is_object(example))
            return soma_refuse(refusal, 400, "bad_examples",
                               "\"examples[%zu]\": expected an object", i);
        if (!take_example(request, document, example, (int)i, where,
                          rows ? rows + i * size : NULL, refusal))
            return false;
    }
    return true;
}

static bool
take_examples(soma_request *request, const soma_document *document,
              const json_t *examples, soma_refusal *refusal)
{
    size_t count = json_array_size(examples);
    size_t size = (size_t)request->served->spec.input.size;
    size_t most = (size_t)request->worker->web->options.max_rows;
    bool ids = has_ids(examples);
    float *rows = request->floats.data;
    if (count == 0)
        return soma_refuse(refusal, 400, "no_examples",
                           "\"examples\": expected an array of {\"pixels\", "
                           "\"label\"}");
    if (count > most)
        return soma_refuse(refusal, 413, "too_many_rows",
                           "\"examples\": %zu, at most %zu may come in one "
                           "request",
                           count, most);
    if (!make_room(request, count, refusal))
        return false;
    if (!ids && !in_order(document, examples, size))
        return soma_refuse(refusal, 400, "bad_examples",
                           "\"examples\": expected each to have pixels of its "
                           "own");
    if (ids && !make_rows(request, count, &rows, refusal))
        return false;
    bool good = take_rows(request, document, examples, rows, refusal);
    if (ids) {
        soma_floats_free(&request->floats);
        request->floats =
            (soma_floats){rows, count * size, count * size, count * size, true};
    }
    request->rows = (int)count;
    request->list = true;
    return good;
}

static bool
take_one(soma_request *request, const soma_document *document,
         soma_refusal *refusal)
{
    size_t size = (size_t)request->served->spec.input.size;
    if (!make_room(request, 1, refusal))
        return false;
    request->rows = 1;
    if (json_object_get(document->json, "id")) {
        refusal->status = 0;
        request->delayed = calloc(1, sizeof *request->delayed);
        if (!request->delayed)
            return no_memory(refusal);
        if (soma_floats_reserve(&request->floats, size, &refusal->err))
            return false;
    }
    return take_example(request, document, document->json, 0, "",
                        request->floats.data, refusal);
}

/* "learning_rate", of the body or the query; without it the settings' own. */
static bool
take_rate(soma_request *request, const json_t *value, soma_refusal *refusal)
{
    double most = request->worker->web->options.max_learning_rate, rate = -1;
    if (!value && !request->rate) {
        request->job.rate = 0;
        return true;
    }
    if (value && json_is_number(value))
        rate = json_number_value(value);
    else if (!value) {
        char *end;
        rate = strtod(request->rate, &end);
        rate = end == request->rate || *end ? -1 : rate;
    }
    request->job.rate = (float)rate;
    if (rate > 0 && rate <= most && request->job.rate > 0)
        return true;
    return soma_refuse(refusal, 400, "bad_learning_rate",
                       "\"learning_rate\": expected a number above 0, at most "
                       "%g (--max-learning-rate)",
                       most);
}

static bool
take_json(soma_request *request, soma_refusal *refusal)
{
    soma_document document = {0};
    bool good = soma_input_json(request, &document, refusal) &&
                soma_input_model(
                    request, json_object_get(document.json, "model"), refusal);
    if (good) {
        const json_t *examples = json_object_get(document.json, "examples");
        good =
            take_rate(request, json_object_get(document.json, "learning_rate"),
                      refusal) &&
            (examples ? take_examples(request, &document, examples, refusal)
                      : take_one(request, &document, refusal));
    }
    soma_document_free(&document);
    return good;
}

/* Bytes or a picture, all with the label of the query. */
static bool
take_other(soma_request *request, soma_body_kind kind, soma_refusal *refusal)
{
    int label, max_rows = request->worker->web->options.max_rows;
    if (!soma_input_model(request, NULL, refusal) ||
        !take_rate(request, NULL, refusal))
        return false;
    if (!request->label)
        return soma_refuse(refusal, 400, "no_label",
                           "the label is missing: add ?label= to the URL");
    if (!soma_input_label_text(request->served, request->label, &label,
                               refusal) ||
        !soma_input_other(request, kind, max_rows, refusal) ||
        !make_room(request, (size_t)request->rows, refusal))
        return false;
    for (int i = 0; i < request->rows; i++)
        request->labels[i] = label;
    return true;
}

/* What makes two requests with one key the same. */
static void
take_fingerprint(soma_request *request)
{
    struct sha256_ctx context;
    const soma_job *job = &request->job;
    size_t rows = (size_t)request->rows;
    size_t size = (size_t)request->served->spec.input.size;
    sha256_init(&context);
    sha256_update(&context, sizeof job->rate, (const uint8_t *)&job->rate);
    sha256_update(&context, rows * sizeof *request->labels,
                  (const uint8_t *)request->labels);
    sha256_update(&context, rows * size * sizeof(float),
                  (const uint8_t *)request->floats.data);
    sha256_digest(&context, sizeof request->key.fingerprint,
                  request->key.fingerprint);
}

/* The label of a remembered input is taught once, whoever says it again. */
static bool
take_key(soma_request *request)
{
    soma_journal_key *key = &request->key;
    if (request->idempotency_key)
        snprintf(key->text, sizeof key->text, "%s", request->idempotency_key);
    else if (!request->list && request->delayed && request->delayed->id[0])
        snprintf(key->text, sizeof key->text, SOMA_RECALL_KEY "%s",
                 request->delayed->id);
    else
        return false;
    take_fingerprint(request);
    return true;
}

/* job.rate is there already. */
static void
fill_job(soma_request *request)
{
    soma_job *job = &request->job;
    *job = (soma_job){.kind = SOMA_JOB_LEARN,
                      .count = request->rows,
                      .x = request->floats.data,
                      .labels = request->labels,
                      .rate = job->rate,
                      .lessons = request->lessons};
    job->key = take_key(request) ? &request->key : NULL;
}

soma_outcome
soma_api_train(soma_request *request)
{
    soma_refusal refusal;
    soma_body_kind kind = soma_body_kind_of(request->type);
    soma_input_own(request);
    bool good = kind == SOMA_BODY_JSON ? take_json(request, &refusal)
                                       : take_other(request, kind, &refusal);
    if (!good)
        return soma_reply_refusal(request, &refusal);
    fill_job(request);
    return soma_worker_submit(request);
}

/* ---- The answer ---- */

/* The prediction that was served, now that its label is known. */
static void
put_served(soma_request *request, int row)
{
    soma_text *text = &request->reply.text;
    if (!request->delayed || !request->delayed[row].id[0])
        return;
    const soma_label *delayed = &request->delayed[row];
    const soma_recalled *served = &delayed->served;
    soma_recall_label(&request->served->recall, delayed->id,
                      request->labels[row]);
    soma_text_put(text, ",\"served\":{\"version\":");
    soma_text_whole(text, served->version);
    soma_text_put(text, ",");
    soma_api_put_class(text, request->served, served->label);
    soma_text_put(text, served->label == request->labels[row]
                            ? ",\"right\":true}"
                            : ",\"right\":false}");
}

static void
put_lesson(soma_request *request, int row)
{
    soma_text *text = &request->reply.text;
    const soma_lesson *lesson = &request->lessons[row];
    soma_text_put(text, "\"version\":");
    soma_text_whole(text, lesson->version);
    soma_text_put(text, ",\"loss\":");
    soma_text_float(text, lesson->loss);
    soma_text_put(text, ",\"predicted\":{");
    soma_api_put_class(text, request->served, lesson->predicted);
    soma_text_put(text, lesson->rejected ? "},\"rejected\":true" : "}");
    put_served(request, row);
}

void
soma_api_trained(soma_request *request, const soma_snapshot *snapshot,
                 const float *scores)
{
    (void)snapshot, (void)scores;
    soma_text *text = &request->reply.text;
    const soma_lesson *last = &request->lessons[request->rows - 1];
    if (!request->list && last->rejected) {
        soma_reply_error(request, 400, "not_finite",
                         "learning this example would make weights that are "
                         "not finite; nothing was learned (record %llu)",
                         (unsigned long long)last->version);
        return;
    }
    soma_reply_version(request, last->version);
    soma_text_put(text, "{\"model\":");
    soma_text_quote(text, request->served->name);
    soma_text_put(text, ",");
    if (!request->list) {
        put_lesson(request, 0);
    } else {
        soma_text_put(text, "\"version\":");
        soma_text_whole(text, last->version);
        soma_text_put(text, ",\"results\":[");
        for (int i = 0; i < request->rows; i++) {
            soma_text_put(text, i ? ",{" : "{");
            put_lesson(request, i);
            soma_text_put(text, "}");
        }
        soma_text_put(text, "]");
    }
    soma_text_put(text, "}\n");
    soma_reply_text(request, "application/json");
}
