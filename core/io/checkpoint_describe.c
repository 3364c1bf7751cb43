/* A spec as JSON (format: checkpoint_spec.c). */
#include "core/activation.h"
#include "core/io/checkpoint.h"
#include "core/io/json.h"
#include "core/loss.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest decimal that reads back as this float32, as a JSON number. */
static json_t *
number(float value)
{
    double read = value;
    for (int digits = 6; digits <= 9; digits++) {
        char text[32];
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        read = strtod(text, NULL);
        if ((float)read == value)
            break;
    }
    return read == floor(read) && fabs(read) < 1e15
               ? json_integer((json_int_t)read)
               : json_real(read);
}

static json_t *
numbers(const float *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        soma_json_append(&array, number(values[i]));
    return array;
}

static json_t *
describe_input(const soma_input *input, const soma_model *model)
{
    json_t *shape = json_array(), *json = json_object();
    for (int i = 0; i < input->rank; i++)
        soma_json_append(&shape, json_integer(input->shape[i]));
    soma_json_set(&json, "shape", shape);
    soma_json_set(&json, "range",
                  numbers((float[]){input->low, input->high}, 2));
    if (input->normals) {
        soma_json_set(&json, "mean",
                      numbers(soma_model_mean(model), input->normals));
        soma_json_set(&json, "std",
                      numbers(soma_model_std(model), input->normals));
    }
    return json;
}

static json_t *
describe_layer(const soma_layer *layer)
{
    const char *parameter = layer->activation->parameter;
    json_t *json = json_object();
    soma_json_set(&json, "units", json_integer(layer->units));
    soma_json_set(&json, "activation", json_string(layer->activation->name));
    if (parameter)
        soma_json_set(&json, parameter,
                      strcmp(parameter, "pieces")
                          ? number(layer->slope)
                          : json_integer(layer->pieces));
    return json;
}

json_t *
soma_checkpoint_describe(const soma_spec *spec, const soma_model *model,
                         const soma_classes *classes)
{
    json_t *layers = json_array(), *json = json_object();
    for (int i = 0; i < spec->depth; i++)
        soma_json_append(&layers, describe_layer(&spec->layers[i]));
    soma_json_set(&json, "input", describe_input(&spec->input, model));
    soma_json_set(&json, "layers", layers);
    soma_json_set(&json, "loss", json_string(spec->loss->name));
    if (classes->count) {
        json_t *names = json_array();
        for (int i = 0; i < classes->count; i++)
            soma_json_append(&names, json_string(classes->names[i]));
        soma_json_set(&json, "classes", names);
    }
    return json;
}
