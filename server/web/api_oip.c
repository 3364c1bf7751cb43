/* POST /v2/models/{model}/infer: Open Inference Protocol v2 with Triton's
 * extensions for binary tensors and classification (read in the protocol's
 * inference_rest.md and Triton's docs/protocol).
 *
 * A body is JSON, and behind it, where Inference-Header-Content-Length says
 * how long the JSON is, the bytes of those tensors that have a
 * "binary_data_size". With that header 0 it is the bytes of one input only.
 *
 * A model has one input and one output. They are called "input" and "output",
 * but since there is just one of each any name is taken, and the output comes
 * back under the name that it was asked for by.
 */
#include "core/loss.h"
#include "server/web/api.h"
#include "server/web/input.h"
#include "server/web/oip.h"
#include "server/web/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char forms[] = "expected an object {\"inputs\": [{\"name\", "
                            "\"shape\", \"datatype\", \"data\"}]}";

/* ---- The request ---- */

typedef struct infer {
    soma_request *request;
    soma_document document;
    soma_refusal *refusal;
    const unsigned char *bytes; /* behind the JSON */
    size_t byte_count;
    /* The input: */
    const char *name;
    const soma_datatype *type;
    soma_array array; /* its shape, and where its values are */
} infer;

/* Where the JSON ends. */
static bool
take_head_size(const soma_request *request, size_t *size, soma_refusal *refusal)
{
    const char *text = request->inference_header;
    *size = request->body_size;
    if (!text)
        return true;
    size_t digits = strspn(text, "0123456789");
    *size = (size_t)strtoull(text, NULL, 10);
    return (digits && digits < 19 && !text[digits] &&
            *size <= request->body_size) ||
           soma_refuse(refusal, 400, "bad_header",
                       "Inference-Header-Content-Length: expected the length "
                       "of the JSON, 0 to the body's %zu bytes, got %.32s",
                       request->body_size, text);
}

/* The JSON must end in a NUL, which takes the place of a tensor's first byte
 * while it is parsed. */
static bool
parse(infer *f, size_t size)
{
    static char none[] = "";
    soma_request *request = f->request;
    char *body = request->body ? request->body : none;
    char kept = body[size];
    body[size] = '\0';
    soma_status status = soma_document_parse(body, size, &request->floats,
                                             &f->document, &f->refusal->err);
    body[size] = kept;
    f->bytes = (const unsigned char *)body + size;
    f->byte_count = request->body_size - size;
    if (status == SOMA_E_FORMAT)
        return soma_refuse(f->refusal, 400, "malformed_json", "%s",
                           f->refusal->err.text);
    f->refusal->status = 0; /* it is in err */
    return !status && (json_is_object(f->document.json) ||
                       soma_refuse(f->refusal, 400, "not_an_object",
                                   "the body: %s", forms));
}

static bool
take_name(infer *f, const json_t *input)
{
    f->name = json_string_value(json_object_get(input, "name"));
    return f->name || soma_refuse(f->refusal, 400, "bad_input",
                                  "inputs[0]: \"name\": expected a string");
}

static bool
take_type(infer *f, const json_t *input)
{
    const char *name = json_string_value(json_object_get(input, "datatype"));
    f->type = name ? soma_datatype_find(name) : NULL;
    return (f->type && f->type->size) ||
           soma_refuse(f->refusal, 400, "bad_datatype",
                       "input \"%.64s\": \"datatype\": expected FP32, FP64, "
                       "FP16, BF16, INT8 to INT64, UINT8 to UINT64 or BOOL, "
                       "got %.64s",
                       f->name, name ? name : "no string");
}

/* "shape": whole numbers, none of them 0. */
static bool
take_shape(infer *f, const json_t *input)
{
    const soma_array *shape =
        soma_document_array(&f->document, json_object_get(input, "shape"));
    bool good = shape && shape->rank == 1 && shape->count &&
                shape->count <= SOMA_ARRAY_MAX_RANK;
    f->array = (soma_array){.count = 1, .finite = true};
    for (size_t i = 0; good && i < shape->count; i++) {
        float value = f->request->floats.data[shape->first + i];
        good = value >= 1 && value <= 0x1p24f &&
               value == (float)(size_t)value &&
               f->array.count <= SIZE_MAX / sizeof(double) / (size_t)value;
        f->array.shape[i] = good ? (size_t)value : 0;
        f->array.count *= f->array.shape[i];
        f->array.rank++;
    }
    return good ||
           soma_refuse(f->refusal, 400, "bad_shape",
                       "input \"%.64s\": \"shape\": expected 1 to %d whole "
                       "numbers from 1",
                       f->name, SOMA_ARRAY_MAX_RANK);
}

/* Which examples of the model the array holds; it must have its shape. */
static bool
take_rows(infer *f)
{
    char where[96];
    soma_request *request = f->request;
    snprintf(where, sizeof where, "input \"%.64s\"", f->name);
    request->rows =
        soma_input_rows(&f->array, &request->floats, &request->served->spec,
                        request->worker->web->options.max_rows, where,
                        &request->list, f->refusal);
    return request->rows > 0;
}

static bool
check_finite(infer *f)
{
    const float *values = f->request->floats.data + f->array.first;
    size_t bad = soma_tensor_not_finite(values, f->array.count);
    return bad == f->array.count ||
           soma_refuse(f->refusal, 400, "not_finite",
                       "input \"%.64s\": element %zu is not finite, or beyond "
                       "the range of float32",
                       f->name, bad);
}

/* Converted to where they will be used: the numbers that were lifted from the
 * JSON, its shapes, are not needed any more. */
static bool
take_bytes(infer *f, const unsigned char *bytes, size_t size)
{
    soma_floats *floats = &f->request->floats;
    size_t count = f->array.count;
    if (size / (size_t)f->type->size != count || size % (size_t)f->type->size)
        return soma_refuse(f->refusal, 400, "wrong_shape",
                           "input \"%.64s\": %zu elements of %s are %zu bytes, "
                           "got %zu",
                           f->name, count, f->type->name,
                           count * (size_t)f->type->size, size);
    if (!take_rows(f))
        return false;
    floats->used = 0;
    if (soma_floats_reserve(floats, count, &f->refusal->err))
        return f->refusal->status = 0, false;
    f->type->read(bytes, count, floats->data);
    floats->used = count;
    f->array.first = 0;
    return check_finite(f);
}

/* Appends what "data" holds where it is not all numbers or not evenly nested;
 * its depth is bounded by the parser. */
static bool
flatten(infer *f, const json_t *data)
{
    soma_floats *floats = &f->request->floats;
    const soma_array *array = soma_document_array(&f->document, data);
    size_t count = array ? array->count : 1;
    bool good = true;
    if (json_is_array(data) && !array) {
        for (size_t i = 0; i < json_array_size(data) && good; i++)
            good = flatten(f, json_array_get(data, i));
        return good;
    }
    if (!array && !json_is_boolean(data) && !json_is_number(data))
        return soma_refuse(f->refusal, 400, "bad_data",
                           "input \"%.64s\": \"data\": expected %s", f->name,
                           f->type->high == 1 ? "true and false" : "numbers");
    if (soma_floats_reserve(floats, count, &f->refusal->err))
        return f->refusal->status = 0, false;
    float *to = floats->data + floats->used;
    if (array)
        memcpy(to, floats->data + array->first, count * sizeof *to);
    else
        *to = json_is_number(data) ? (float)json_number_value(data)
                                   : (float)json_is_true(data);
    floats->used += count;
    return true;
}

static bool
take_data(infer *f, const json_t *input)
{
    const json_t *data = json_object_get(input, "data");
    const soma_array *lifted = soma_document_array(&f->document, data);
    soma_floats *floats = &f->request->floats;
    if (!json_is_array(data))
        return soma_refuse(f->refusal, 400, "no_data",
                           "input \"%.64s\": expected \"data\", an array, or "
                           "\"parameters\": {\"binary_data_size\"}",
                           f->name);
    if (!f->type->json)
        return soma_refuse(f->refusal, 400, "bad_datatype",
                           "input \"%.64s\": %s has no form in JSON: send it "
                           "as a binary tensor, or FP32",
                           f->name, f->type->name);
    size_t first = lifted ? lifted->first : floats->used;
    if (!lifted && !flatten(f, data))
        return false;
    size_t count = lifted ? lifted->count : floats->used - first;
    if (count != f->array.count)
        return soma_refuse(f->refusal, 400, "wrong_shape",
                           "input \"%.64s\": \"shape\" says %zu elements, "
                           "\"data\" has %zu",
                           f->name, f->array.count, count);
    f->array.first = first;
    size_t bad = soma_tensor_out_of_range(f->type, floats->data + first, count);
    if (bad < count)
        return soma_refuse(f->refusal, 400, "out_of_range",
                           "input \"%.64s\": element %zu is no %s", f->name,
                           bad, f->type->name);
    return check_finite(f) && take_rows(f);
}

static bool
take_input(infer *f)
{
    const json_t *inputs = json_object_get(f->document.json, "inputs");
    const json_t *input = json_array_get(inputs, 0);
    if (json_array_size(inputs) != 1 || !json_is_object(input))
        return soma_refuse(f->refusal, 400, "bad_inputs",
                           "\"inputs\": expected one tensor, the model has one "
                           "input, got %zu; %s",
                           json_array_size(inputs), forms);
    if (!take_name(f, input) || !take_type(f, input) || !take_shape(f, input))
        return false;
    const json_t *size = json_object_get(json_object_get(input, "parameters"),
                                         "binary_data_size");
    bool binary = size && !json_is_null(size);
    if (binary && (!json_is_integer(size) || json_integer_value(size) < 0))
        return soma_refuse(f->refusal, 400, "bad_binary_data_size",
                           "input \"%.64s\": \"binary_data_size\": expected a "
                           "whole number of bytes",
                           f->name);
    size_t bytes = binary ? (size_t)json_integer_value(size) : 0;
    if (bytes != f->byte_count)
        return soma_refuse(f->refusal, 400, "wrong_binary_data",
                           "the binary tensors have %zu bytes, %zu follow the "
                           "JSON (Inference-Header-Content-Length)",
                           bytes, f->byte_count);
    return binary ? take_bytes(f, f->bytes, bytes) : take_data(f, input);
}

/* ---- What is wanted ---- */

/* A parameter that is true or false; stays as it is where there is none. */
static bool
take_switch(const json_t *object, const char *name, bool *value,
            soma_refusal *refusal)
{
    const json_t *all = json_object_get(object, "parameters");
    const json_t *wanted = json_object_get(all, name);
    if (all && !json_is_null(all) && !json_is_object(all))
        return soma_refuse(refusal, 400, "bad_parameters",
                           "\"parameters\": expected an object");
    if (!wanted || json_is_null(wanted))
        return true;
    *value = json_is_true(wanted);
    return json_is_boolean(wanted) ||
           soma_refuse(refusal, 400, "bad_parameter",
                       "\"%s\": expected true or false", name);
}

static bool
take_classification(infer *f, const json_t *output)
{
    const json_t *wanted = json_object_get(
        json_object_get(output, "parameters"), "classification");
    int classes = f->request->served->spec.classes;
    if (!wanted || json_is_null(wanted))
        return true;
    json_int_t most = json_integer_value(wanted);
    f->request->most = most < classes ? (int)most : classes;
    return most >= 1 || soma_refuse(f->refusal, 400, "bad_classification",
                                    "\"classification\": expected a whole "
                                    "number of classes, from 1");
}

static bool
take_outputs(infer *f, const char **name)
{
    const json_t *outputs = json_object_get(f->document.json, "outputs");
    size_t count = json_array_size(outputs);
    bool none = !outputs || json_is_null(outputs);
    *name = SOMA_OIP_OUTPUT;
    if (!take_switch(f->document.json, "binary_data_output",
                     &f->request->binary, f->refusal))
        return false;
    if (none || (json_is_array(outputs) && count == 0))
        return true;
    const json_t *output = json_array_get(outputs, 0);
    *name = json_string_value(json_object_get(output, "name"));
    if (count != 1 || !*name)
        return soma_refuse(f->refusal, 400, "bad_outputs",
                           "\"outputs\": expected one object with a \"name\", "
                           "the model has one output");
    return take_switch(output, "binary_data", &f->request->binary,
                       f->refusal) &&
           take_classification(f, output);
}

/* The answer as far as it is known; the rest comes with the scores. */
static bool
begin_answer(infer *f, const json_t *id, const char *output)
{
    soma_text *text = &f->request->reply.text;
    if (id && !json_is_null(id) && !json_is_string(id))
        return soma_refuse(f->refusal, 400, "bad_id",
                           "\"id\": expected a string");
    soma_text_put(text, "{\"model_name\":");
    soma_text_quote(text, f->request->served->name);
    soma_text_put(text, ",\"model_version\":\"" SOMA_OIP_VERSION "\"");
    if (json_is_string(id)) {
        soma_text_put(text, ",\"id\":");
        soma_text_quote(text, json_string_value(id));
    }
    soma_text_put(text, ",\"outputs\":[{\"name\":");
    soma_text_quote(text, output);
    return true;
}

/* The body is one example's bytes: float32, or one byte a value. */
static bool
take_raw(infer *f)
{
    const soma_request *request = f->request;
    size_t size = (size_t)request->served->spec.input.size;
    size_t bytes = request->body_size;
    if (bytes != size && bytes != size * sizeof(float))
        return soma_refuse(f->refusal, 400, "wrong_shape",
                           "the body: expected one example, %zu bytes of FP32 "
                           "or %zu of UINT8, got %zu",
                           size * sizeof(float), size, bytes);
    f->name = SOMA_OIP_INPUT;
    f->type = soma_datatype_find(bytes == size ? "UINT8" : "FP32");
    f->array =
        (soma_array){.rank = 1, .shape = {size}, .count = size, .finite = true};
    f->request->binary = true;
    return take_bytes(f, (const unsigned char *)request->body, bytes) &&
           begin_answer(f, NULL, SOMA_OIP_OUTPUT);
}

static bool
take(infer *f)
{
    size_t head;
    const char *output;
    soma_request *request = f->request;
    if (!soma_oip_model(request, f->refusal) ||
        !take_head_size(request, &head, f->refusal))
        return false;
    bool raw = request->inference_header && head == 0;
    bool good =
        raw ? take_raw(f)
            : parse(f, head) && take_outputs(f, &output) && take_input(f) &&
                  begin_answer(f, json_object_get(f->document.json, "id"),
                               output);
    return good &&
           soma_api_place_rows(request, request->floats.data + f->array.first,
                               f->refusal);
}

soma_outcome
soma_api_infer(soma_request *request)
{
    soma_refusal refusal;
    infer f = {.request = request, .refusal = &refusal};
    soma_api_lend_rows(request);
    bool good = take(&f);
    soma_document_free(&f.document);
    return good ? soma_api_queue(request) : soma_api_refuse(request, &refusal);
}
