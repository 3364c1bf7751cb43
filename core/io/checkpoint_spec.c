/* The spec as JSON, as it stands in a model file's metadata:
 *
 *     {"format": 1,
 *      "input": {"shape": [3, 32, 32], "range": [0, 255],
 *                "mean": [125.3, 123.0, 113.9], "std": [63.0, 62.1, 66.7]},
 *      "layers": [{"units": 100, "activation": "relu"},
 *                 {"units": 10, "activation": "identity"}],
 *      "loss": "softmax_cross_entropy",
 *      "classes": ["airplane", ...],
 *      "training": {...}, "made": {...}}
 *
 * input.shape   1 to 4 whole numbers
 * input.range   two numbers, the lower first; [0, 255] if left out
 * input.mean    one number for each channel, or one for all; 0 if left out
 * input.std     the same, above 0; 1 if left out
 * layers        1 to 32; activation is identity if left out; leaky_relu takes
 *               "slope" (0.01), maxout "pieces" (2), the others take neither
 * classes       names that differ, one for each class; may be left out
 * training,     objects, may be left out; nothing in here is read by soma
 * made
 *
 * All numbers must be finite float32. Members not named here are ignored.
 */
#include "core/activation.h"
#include "core/io/checkpoint.h"
#include "core/io/quote.h"
#include "core/loss.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "where: expected ..., got VALUE" */
static soma_status
expected(soma_error *err, const char *where, const char *what,
         const json_t *got)
{
    enum { MOST = 60 };
    size_t flags = JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII |
                   JSON_REAL_PRECISION(9);
    char *text = got ? json_dumps(got, flags) : NULL;
    soma_error_set(err, SOMA_E_FORMAT, "%s: expected %s, got %.*s%s", where,
                   what, MOST, text ? text : "nothing",
                   text && strlen(text) > MOST ? "..." : "");
    free(text);
    return SOMA_E_FORMAT;
}

static bool
whole_in(const json_t *json, int low, int *value)
{
    if (!json_is_integer(json) || json_integer_value(json) < low ||
        json_integer_value(json) > SOMA_MAX_UNITS)
        return false;
    *value = (int)json_integer_value(json);
    return true;
}

static bool
finite_number(const json_t *json, float *value)
{
    if (!json_is_number(json))
        return false;
    *value = (float)json_number_value(json);
    return isfinite(*value);
}

static soma_status
read_shape(const json_t *shape, soma_input *input, soma_error *err)
{
    size_t rank = json_array_size(shape);
    bool good = rank >= 1 && rank <= SOMA_MAX_RANK;
    for (size_t i = 0; good && i < rank; i++)
        good = whole_in(json_array_get(shape, i), 1, &input->shape[i]);
    if (!good)
        return expected(err, "input.shape",
                        "1 to 4 whole numbers from 1 to 1048576", shape);
    input->rank = (int)rank;
    return SOMA_OK;
}

static soma_status
read_range(const json_t *range, soma_input *input, soma_error *err)
{
    input->low = 0;
    input->high = 255;
    if (!range)
        return SOMA_OK;
    if (json_array_size(range) != 2 ||
        !finite_number(json_array_get(range, 0), &input->low) ||
        !finite_number(json_array_get(range, 1), &input->high) ||
        input->low >= input->high)
        return expected(err, "input.range",
                        "two finite numbers, the lower first", range);
    return SOMA_OK;
}

/* How many entries mean or std has: input->normals becomes the larger. */
static soma_status
count_normals(const json_t *array, const char *where, soma_input *input,
              soma_error *err)
{
    char what[64];
    size_t size = json_array_size(array);
    if (!array)
        return SOMA_OK;
    if (size != 1 && size != (size_t)input->channels) {
        snprintf(what, sizeof what,
                 input->channels > 1 ? "an array of 1 or %d numbers"
                                     : "an array of %d number",
                 input->channels);
        return expected(err, where, what, array);
    }
    if ((int)size > input->normals)
        input->normals = (int)size;
    return SOMA_OK;
}

/* `count` numbers; a single one stands for all. */
static soma_status
fill_normals(const json_t *array, const char *where, int count, bool positive,
             float **values, soma_error *err)
{
    bool single = json_array_size(array) == 1;
    *values = malloc((size_t)count * sizeof **values);
    if (!*values)
        return soma_error_memory(err, where);
    for (int i = 0; i < count; i++) {
        float *value = &(*values)[i];
        *value = positive ? 1 : 0;
        if (array &&
            (!finite_number(json_array_get(array, single ? 0 : (size_t)i),
                            value) ||
             (positive && *value <= 0)))
            return expected(
                err, where,
                positive ? "finite numbers above 0" : "finite numbers", array);
    }
    return SOMA_OK;
}

/* Needs the input's channels. */
static soma_status
read_normals(const json_t *json, soma_input *input, float **mean, float **std,
             soma_error *err)
{
    const json_t *means = json_object_get(json, "mean");
    const json_t *stds = json_object_get(json, "std");
    soma_status status = count_normals(means, "input.mean", input, err);
    if (!status)
        status = count_normals(stds, "input.std", input, err);
    if (status || input->normals == 0)
        return status;
    status =
        fill_normals(means, "input.mean", input->normals, false, mean, err);
    if (!status)
        status =
            fill_normals(stds, "input.std", input->normals, true, std, err);
    return status;
}

static soma_status
read_input(const json_t *json, soma_input *input, soma_error *err)
{
    if (!json_is_object(json))
        return expected(err, "input", "an object", json);
    soma_status status = read_shape(json_object_get(json, "shape"), input, err);
    if (!status)
        status = read_range(json_object_get(json, "range"), input, err);
    return status;
}

/* The parameter that some activations have. */
static soma_status
read_parameter(const json_t *json, int i, soma_layer *layer, soma_error *err)
{
    static const char *const names[] = {"slope", "pieces"};
    const char *own = layer->activation->parameter;
    char where[48];
    layer->pieces = 1;
    layer->slope = 0;
    for (int k = 0; k < 2; k++) {
        const json_t *value = json_object_get(json, names[k]);
        bool taken = own && !strcmp(own, names[k]);
        float number = layer->activation->parameter_default;
        snprintf(where, sizeof where, "layers[%d].%s", i, names[k]);
        if (value && !taken)
            return soma_error_set(err, SOMA_E_FORMAT, "%s: %s takes none",
                                  where, layer->activation->name);
        if (!taken)
            continue;
        if (k == 0) {
            layer->slope = number;
            if (value && !finite_number(value, &layer->slope))
                return expected(err, where, "a finite number", value);
        } else {
            layer->pieces = (int)number;
            if (value && !whole_in(value, 2, &layer->pieces))
                return expected(err, where, "a whole number from 2 to 1048576",
                                value);
        }
    }
    return SOMA_OK;
}

/* What soma_activation_find and soma_loss_find do not know is a fault of the
 * file here. */
static soma_status
unknown_kind(soma_error *err, const char *where)
{
    soma_error_prefix(err, "%s", where);
    if (err)
        err->status = SOMA_E_FORMAT;
    return SOMA_E_FORMAT;
}

static soma_status
read_layer(const json_t *json, int i, soma_layer *layer, soma_error *err)
{
    char where[48];
    snprintf(where, sizeof where, "layers[%d]", i);
    if (!json_is_object(json))
        return expected(err, where, "an object", json);
    const json_t *units = json_object_get(json, "units");
    const json_t *activation = json_object_get(json, "activation");
    snprintf(where, sizeof where, "layers[%d].units", i);
    if (!whole_in(units, 1, &layer->units))
        return expected(err, where, "a whole number from 1 to 1048576", units);
    snprintf(where, sizeof where, "layers[%d].activation", i);
    if (activation && !json_is_string(activation))
        return expected(err, where, "a name", activation);
    char name[SOMA_QUOTE_SIZE]; /* changes no known name */
    soma_quote(activation ? json_string_value(activation) : "identity", name);
    if (soma_activation_find(name, &layer->activation, err))
        return unknown_kind(err, where);
    return read_parameter(json, i, layer, err);
}

static soma_status
read_layers(const json_t *json, soma_spec *spec, soma_error *err)
{
    size_t depth = json_array_size(json);
    if (depth < 1 || depth > SOMA_MAX_LAYERS)
        return expected(err, "layers", "an array of 1 to 32 layers", json);
    spec->depth = (int)depth;
    soma_status status = SOMA_OK;
    for (int i = 0; i < spec->depth && !status; i++)
        status = read_layer(json_array_get(json, (size_t)i), i,
                            &spec->layers[i], err);
    return status;
}

static soma_status
read_loss(const json_t *json, const soma_loss **loss, soma_error *err)
{
    if (!json_is_string(json))
        return expected(err, "loss", "a name", json);
    char name[SOMA_QUOTE_SIZE]; /* changes no known name */
    if (soma_loss_find(soma_quote(json_string_value(json), name), loss, err))
        return unknown_kind(err, "loss");
    return SOMA_OK;
}

/* `seen` is an object of the names so far: to look each up in the array would
 * take forever for a million. */
static soma_status
read_names(const json_t *json, int count, soma_classes *classes, json_t *seen,
           soma_error *err)
{
    char where[48];
    for (int i = 0; i < count; i++) {
        const json_t *name = json_array_get(json, (size_t)i);
        const char *text = json_string_value(name);
        snprintf(where, sizeof where, "classes[%d]", i);
        if (json_string_length(name) == 0)
            return expected(err, where, "a name that is not empty", name);
        if (json_object_get(seen, text))
            return expected(err, where, "a name that differs from the others",
                            name);
        classes->names[i] = strdup(text);
        if (!classes->names[i])
            return soma_error_memory(err, "names of classes");
        classes->count++;
        if (json_object_set_new(seen, text, json_true()))
            return soma_error_memory(err, "names of classes");
    }
    return SOMA_OK;
}

static soma_status
read_classes(const json_t *json, int count, soma_classes *classes,
             soma_error *err)
{
    char what[48];
    if (!json)
        return SOMA_OK;
    if (!json_is_array(json) || json_array_size(json) != (size_t)count) {
        snprintf(what, sizeof what, "an array of %d names", count);
        return expected(err, "classes", what, json);
    }
    json_t *seen = json_object();
    classes->names = calloc((size_t)count, sizeof *classes->names);
    soma_status status = seen && classes->names
                             ? read_names(json, count, classes, seen, err)
                             : soma_error_memory(err, "names of classes");
    json_decref(seen);
    return status;
}

/* The spec is finished twice: mean and std are checked against the channels,
 * which the first time derives, and move what stands behind them. */
static soma_status
read_spec(const json_t *object, soma_spec *spec, float **mean, float **std,
          soma_error *err)
{
    const json_t *format = json_object_get(object, "format");
    const json_t *input = json_object_get(object, "input");
    if (!json_is_integer(format) || json_integer_value(format) != 1)
        return expected(err, "format", "1", format);
    soma_status status = read_input(input, &spec->input, err);
    if (!status)
        status = read_layers(json_object_get(object, "layers"), spec, err);
    if (!status)
        status = read_loss(json_object_get(object, "loss"), &spec->loss, err);
    if (!status)
        status = soma_spec_finish(spec, err);
    if (!status)
        status = read_normals(input, &spec->input, mean, std, err);
    if (!status)
        status = soma_spec_finish(spec, err);
    return status;
}

soma_status
soma_checkpoint_spec(const json_t *object, soma_spec *spec, float **mean,
                     float **std, soma_classes *classes, soma_error *err)
{
    *spec = (soma_spec){0};
    *mean = *std = NULL;
    *classes = (soma_classes){0, NULL};
    if (!json_is_object(object))
        return expected(err, "spec", "an object", object);
    soma_status status = read_spec(object, spec, mean, std, err);
    if (!status)
        status = read_classes(json_object_get(object, "classes"), spec->classes,
                              classes, err);
    if (status) {
        free(*mean);
        free(*std);
        *mean = *std = NULL;
        soma_classes_free(classes);
    }
    return status;
}
