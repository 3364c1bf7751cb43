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
 * range is [0, 255] if left out; mean and std are 0 and 1 if left out, and
 * have one entry for each channel or one for all; activation is identity if
 * left out; leaky_relu takes "slope" (0.01), maxout "pieces" (2). Members not
 * named here are ignored.
 */
#include "core/activation.h"
#include "core/io/checkpoint.h"
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
    char *text = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    soma_error_set(err, SOMA_E_FORMAT, "%s: expected %s, got %.60s", where,
                   what, text ? text : "nothing");
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
        return expected(err, "input.shape", "1 to 4 whole numbers from 1",
                        shape);
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

/* mean or std: `count` finite numbers, above `least` (std must be above 0).
 */
static soma_status
read_normals(const json_t *array, const char *where, float above,
             float **values, soma_error *err)
{
    size_t count = json_array_size(array);
    float *read = malloc((count + 1) * sizeof *read);
    if (!read)
        return soma_error_memory(err, where);
    bool good = count > 0;
    for (size_t i = 0; good && i < count; i++)
        good = finite_number(json_array_get(array, i), &read[i]) &&
               read[i] > above;
    if (!good) {
        free(read);
        return expected(err, where,
                        above < 0 ? "finite numbers" : "finite numbers above 0",
                        array);
    }
    *values = read;
    return SOMA_OK;
}

static soma_status
read_input(const json_t *json, soma_input *input, float **mean, float **std,
           soma_error *err)
{
    if (!json_is_object(json))
        return expected(err, "input", "an object", json);
    const json_t *means = json_object_get(json, "mean");
    const json_t *stds = json_object_get(json, "std");
    soma_status status = read_shape(json_object_get(json, "shape"), input, err);
    if (!status)
        status = read_range(json_object_get(json, "range"), input, err);
    if (status || (!means && !stds))
        return status;
    if (json_array_size(means) != json_array_size(stds))
        return expected(err, "input.std", "as many numbers as input.mean",
                        stds);
    input->normals = (int)json_array_size(means);
    status = read_normals(means, "input.mean", -INFINITY, mean, err);
    if (!status)
        status = read_normals(stds, "input.std", 0, std, err);
    return status;
}

static soma_status
read_layer(const json_t *json, int i, soma_layer *layer, soma_error *err)
{
    char where[64];
    snprintf(where, sizeof where, "layers[%d]", i);
    if (!json_is_object(json))
        return expected(err, where, "an object", json);
    const json_t *units = json_object_get(json, "units");
    const json_t *activation = json_object_get(json, "activation");
    const json_t *slope = json_object_get(json, "slope");
    const json_t *pieces = json_object_get(json, "pieces");
    snprintf(where, sizeof where, "layers[%d].units", i);
    if (!whole_in(units, 1, &layer->units))
        return expected(err, where, "a whole number from 1 to 1048576", units);
    snprintf(where, sizeof where, "layers[%d].activation", i);
    if (activation && !json_is_string(activation))
        return expected(err, where, "a name", activation);
    soma_status status = soma_activation_find(
        activation ? json_string_value(activation) : "identity",
        &layer->activation, err);
    if (status) {
        soma_error_prefix(err, "%s", where);
        return status;
    }
    const char *parameter = layer->activation->parameter;
    layer->pieces = parameter && !strcmp(parameter, "pieces") ? 2 : 1;
    layer->slope = 0.01f;
    snprintf(where, sizeof where, "layers[%d].slope", i);
    if (slope && !finite_number(slope, &layer->slope))
        return expected(err, where, "a finite number", slope);
    snprintf(where, sizeof where, "layers[%d].pieces", i);
    if (pieces && layer->pieces > 1 && !whole_in(pieces, 2, &layer->pieces))
        return expected(err, where, "a whole number from 2", pieces);
    return SOMA_OK;
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
read_classes(const json_t *json, int count, soma_classes *classes,
             soma_error *err)
{
    if (!json)
        return SOMA_OK;
    if (!json_is_array(json) || json_array_size(json) != (size_t)count) {
        char what[48];
        snprintf(what, sizeof what, "an array of %d names", count);
        return expected(err, "classes", what, json);
    }
    classes->names = calloc((size_t)count, sizeof *classes->names);
    if (!classes->names)
        return soma_error_memory(err, "names of classes");
    for (int i = 0; i < count; i++) {
        const json_t *name = json_array_get(json, (size_t)i);
        if (json_string_length(name) == 0 ||
            soma_classes_find(classes, json_string_value(name)) >= 0)
            return expected(err, "classes",
                            "names that are not empty and differ", name);
        classes->names[i] = strdup(json_string_value(name));
        if (!classes->names[i])
            return soma_error_memory(err, "names of classes");
        classes->count++;
    }
    return SOMA_OK;
}

soma_status
soma_checkpoint_spec(const json_t *object, soma_spec *spec, float **mean,
                     float **std, soma_classes *classes, soma_error *err)
{
    *spec = (soma_spec){0};
    *mean = *std = NULL;
    *classes = (soma_classes){0, NULL};
    if (!json_is_object(object))
        return expected(err, "soma", "an object", object);
    const json_t *format = json_object_get(object, "format");
    const json_t *loss = json_object_get(object, "loss");
    if (!json_is_integer(format) || json_integer_value(format) != 1)
        return expected(err, "format", "1", format);
    soma_status status = read_input(json_object_get(object, "input"),
                                    &spec->input, mean, std, err);
    if (!status)
        status = read_layers(json_object_get(object, "layers"), spec, err);
    if (!status && !json_is_string(loss))
        status = expected(err, "loss", "a name", loss);
    if (!status)
        status = soma_loss_find(json_string_value(loss), &spec->loss, err);
    if (!status)
        status = soma_spec_finish(spec, err);
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

/* The shortest decimal that reads back as this float32, as a JSON number. */
static json_t *
number(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    double read = strtod(text, NULL);
    return read == floor(read) && fabs(read) < 1e15
               ? json_integer((json_int_t)read)
               : json_real(read);
}

static json_t *
numbers(const float *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(array, number(values[i]));
    return array;
}

static json_t *
describe_input(const soma_input *input, const soma_model *model)
{
    json_t *shape = json_array();
    for (int i = 0; i < input->rank; i++)
        json_array_append_new(shape, json_integer(input->shape[i]));
    json_t *json = json_pack("{s:o, s:[o, o]}", "shape", shape, "range",
                             number(input->low), number(input->high));
    if (json && input->normals) {
        json_object_set_new(json, "mean",
                            numbers(soma_model_mean(model), input->normals));
        json_object_set_new(json, "std",
                            numbers(soma_model_std(model), input->normals));
    }
    return json;
}

static json_t *
describe_layer(const soma_layer *layer)
{
    const char *parameter = layer->activation->parameter;
    json_t *json = json_pack("{s:i, s:s}", "units", layer->units, "activation",
                             layer->activation->name);
    if (json && parameter && !strcmp(parameter, "pieces"))
        json_object_set_new(json, parameter, json_integer(layer->pieces));
    else if (json && parameter)
        json_object_set_new(json, parameter, number(layer->slope));
    return json;
}

json_t *
soma_checkpoint_describe(const soma_spec *spec, const soma_model *model,
                         const soma_classes *classes)
{
    json_t *layers = json_array();
    for (int i = 0; i < spec->depth; i++)
        json_array_append_new(layers, describe_layer(&spec->layers[i]));
    json_t *json = json_pack("{s:o, s:o, s:s}", "input",
                             describe_input(&spec->input, model), "layers",
                             layers, "loss", spec->loss->name);
    if (json && classes->count) {
        json_t *names = json_array();
        for (int i = 0; i < classes->count; i++)
            json_array_append_new(names, json_string(classes->names[i]));
        json_object_set_new(json, "classes", names);
    }
    return json;
}
