#include "server/web/input.h"

#include "core/io/picture.h"
#include "server/web/worker.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
soma_refuse(soma_refusal *refusal, int status, const char *code,
            const char *format, ...)
{
    /* The arguments may be the refusal's own text. */
    char text[sizeof refusal->err.text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(refusal->err.text, text, sizeof text);
    refusal->status = status;
    refusal->code = code;
    return false;
}

soma_outcome
soma_reply_refusal(soma_request *request, const soma_refusal *refusal)
{
    if (!refusal->status)
        return soma_reply_failure(request, &refusal->err);
    return soma_reply_error(request, refusal->status, refusal->code, "%s",
                            refusal->err.text);
}

/* A lower layer's error: soma_reply_failure knows its status. */
static bool
pass_on(soma_refusal *refusal)
{
    refusal->status = 0;
    return false;
}

void
soma_input_own(soma_request *request)
{
    request->floats =
        soma_floats_lent(NULL, 0, request->worker->web->options.max_body);
}

soma_body_kind
soma_body_kind_of(const char *type)
{
    static const struct {
        const char *type;
        soma_body_kind kind;
    } kinds[] = {
        {"application/json", SOMA_BODY_JSON},
        {"application/x-www-form-urlencoded", SOMA_BODY_JSON},
        {"application/octet-stream", SOMA_BODY_BYTES},
        {"application/x-npy", SOMA_BODY_NPY},
        {"image/png", SOMA_BODY_PICTURE},
        {"image/jpeg", SOMA_BODY_PICTURE},
    };
    if (!type)
        return SOMA_BODY_JSON;
    size_t length = strcspn(type, "; \t");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].type) == length &&
            !strncasecmp(type, kinds[i].type, length))
            return kinds[i].kind;
    return SOMA_BODY_OTHER;
}

static void
shape_text(int rank, const size_t *shape, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "[%zu]", shape[i]);
}

static bool
same_shape(const soma_array *array, int from, const soma_input *input)
{
    if (array->rank - from != input->rank)
        return false;
    for (int i = 0; i < input->rank; i++)
        if (array->shape[from + i] != (size_t)input->shape[i])
            return false;
    return true;
}

static bool
flat(const soma_array *array, int from, const soma_input *input)
{
    return array->rank - from == 1 && array->shape[from] == (size_t)input->size;
}

static bool
refuse_shape(const soma_array *array, const soma_input *input,
             const char *where, soma_refusal *refusal)
{
    char got[200] = "", nested[96] = "", text[128] = "";
    size_t shape[SOMA_MAX_RANK];
    for (int i = 0; i < input->rank; i++)
        shape[i] = (size_t)input->shape[i];
    shape_text(array->rank, array->shape, got, sizeof got);
    shape_text(input->rank, shape, nested, sizeof nested);
    if (input->rank > 1)
        snprintf(text, sizeof text, "nested as %s, ", nested);
    return soma_refuse(refusal, 400, "wrong_shape",
                       "%s: expected %d numbers, %sor a list of such, got "
                       "%zu numbers nested as %s",
                       where, input->size, text, array->count, got);
}

static bool
refuse_infinite(const soma_array *array, const soma_floats *floats,
                const char *where, soma_refusal *refusal)
{
    size_t i = 0;
    while (i + 1 < array->count && isfinite(floats->data[array->first + i]))
        i++;
    return soma_refuse(refusal, 400, "not_finite",
                       "%s: number %zu is beyond the range of float32, "
                       "+-3.4e38",
                       where, i);
}

int
soma_input_rows(const soma_array *array, const soma_floats *floats,
                const soma_spec *spec, int max_rows, const char *where,
                bool *list, soma_refusal *refusal)
{
    const soma_input *input = &spec->input;
    size_t rows = 0;
    *list = false;
    if (flat(array, 0, input) || same_shape(array, 0, input)) {
        rows = 1;
    } else if (flat(array, 1, input) || same_shape(array, 1, input)) {
        rows = array->shape[0];
        *list = true;
    } else {
        refuse_shape(array, input, where, refusal);
    }
    if (rows > (size_t)max_rows) {
        soma_refuse(refusal, 413, "too_many_rows",
                    "%s: %zu examples, at most %d may come in one request",
                    where, rows, max_rows);
        return 0;
    }
    if (rows && !array->finite) {
        refuse_infinite(array, floats, where, refusal);
        return 0;
    }
    return (int)rows;
}

bool
soma_input_bytes(soma_request *request, int max_rows, soma_refusal *refusal)
{
    size_t size = (size_t)request->served->spec.input.size;
    size_t rows = request->body_size / size;
    if (rows == 0 || request->body_size % size)
        return soma_refuse(refusal, 400, "wrong_shape",
                           "expected %zu bytes, one a value, or a multiple of "
                           "that, got %zu",
                           size, request->body_size);
    if (rows > (size_t)max_rows)
        return soma_refuse(refusal, 413, "too_many_rows",
                           "%zu examples, at most %d may come in one request",
                           rows, max_rows);
    if (soma_floats_reserve(&request->floats, request->body_size,
                            &refusal->err))
        return pass_on(refusal);
    const unsigned char *bytes = (const unsigned char *)request->body;
    float *to = request->floats.data + request->floats.used;
    for (size_t i = 0; i < request->body_size; i++)
        to[i] = bytes[i];
    request->floats.used += request->body_size;
    request->rows = (int)rows;
    request->list = rows > 1;
    return true;
}

bool
soma_input_picture(soma_request *request, soma_refusal *refusal)
{
    const soma_input *input = &request->served->spec.input;
    soma_picture picture;
    if (input->rank != 2 && input->rank != 3)
        return soma_refuse(refusal, 415, "not_a_picture_model",
                           "this model's input has no rows and columns: send "
                           "its %d numbers",
                           input->size);
    soma_status status = soma_picture_decode(request->body, request->body_size,
                                             &picture, &refusal->err);
    if (status == SOMA_E_FORMAT)
        return soma_refuse(refusal, 400, "malformed_picture", "%s",
                           refusal->err.text);
    if (status)
        return pass_on(refusal);
    status = soma_floats_reserve(&request->floats, (size_t)input->size,
                                 &refusal->err);
    if (!status)
        status = soma_picture_planes(
            &picture, input->rank == 2 ? 1 : input->shape[0],
            input->shape[input->rank - 2], input->shape[input->rank - 1],
            request->floats.data + request->floats.used, &refusal->err);
    soma_picture_free(&picture);
    if (status)
        return pass_on(refusal);
    request->floats.used += (size_t)input->size;
    request->rows = 1;
    return true;
}

bool
soma_input_json(soma_request *request, soma_document *document,
                soma_refusal *refusal)
{
    soma_status status = soma_document_parse(
        request->body_size ? request->body : "", request->body_size,
        &request->floats, document, &refusal->err);
    if (status == SOMA_E_FORMAT)
        return soma_refuse(refusal, 400, "malformed_json", "%s",
                           refusal->err.text);
    if (status)
        return pass_on(refusal);
    if (!json_is_object(document->json))
        return soma_refuse(refusal, 400, "not_an_object",
                           "the body: expected a JSON object");
    return true;
}

bool
soma_input_model(soma_request *request, const json_t *name,
                 soma_refusal *refusal)
{
    const char *wanted = request->model[0] ? request->model : NULL;
    if (!wanted && name && !json_is_null(name)) {
        wanted = json_string_value(name);
        if (!wanted)
            return soma_refuse(refusal, 400, "bad_model",
                               "\"model\": expected a model's name, a string");
    }
    soma_status status =
        soma_registry_find(request->worker->web->registry, wanted,
                           &request->served, &refusal->err);
    if (!status) {
        soma_served_use(request->served, request->worker->index);
        return true;
    }
    return soma_refuse(refusal, status == SOMA_E_NOT_FOUND ? 404 : 400,
                       status == SOMA_E_NOT_FOUND ? "unknown_model"
                                                  : "no_model",
                       "%s", refusal->err.text);
}

static bool
refuse_label(const soma_served *served, const char *where, const char *got,
             soma_refusal *refusal)
{
    return soma_refuse(refusal, 400, "unknown_label",
                       "%s: expected a label from 0 to %d%s, got %.100s", where,
                       served->spec.classes - 1,
                       served->classes.count ? " or the name of a class" : "",
                       got);
}

bool
soma_input_label_text(const soma_served *served, const char *text, int *label,
                      soma_refusal *refusal)
{
    char *end;
    long number = strtol(text, &end, 10);
    bool whole = end != text && !*end;
    int named = soma_classes_find(&served->classes, text);
    if (named >= 0)
        number = named;
    if ((!whole && named < 0) || number < 0 || number >= served->spec.classes)
        return refuse_label(served, "label", text, refusal);
    *label = (int)number;
    return true;
}

bool
soma_input_label(const soma_served *served, const json_t *value,
                 const char *where, int *label, soma_refusal *refusal)
{
    json_int_t number = -1;
    if (!value)
        return soma_refuse(refusal, 400, "no_label", "%s is missing", where);
    if (json_is_integer(value))
        number = json_integer_value(value);
    else if (json_is_string(value))
        number = soma_classes_find(&served->classes, json_string_value(value));
    if (number < 0 || number >= served->spec.classes) {
        char *got = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        refuse_label(served, where, got ? got : "something else", refusal);
        free(got);
        return false;
    }
    *label = (int)number;
    return true;
}
