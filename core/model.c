#include "core/model.h"

#include "core/activation.h"
#include "core/loss.h"
#include "core/matrix.h"
#include "core/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static soma_status
finish_input(soma_input *input, soma_error *err)
{
    if (input->rank < 1 || input->rank > SOMA_MAX_RANK)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "input shape: expected 1 to %d dimensions, "
                              "got %d",
                              SOMA_MAX_RANK, input->rank);
    long size = 1;
    for (int i = 0; i < input->rank; i++) {
        int side = input->shape[i];
        if (side < 1 || side > SOMA_MAX_UNITS)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "input shape: dimension %d is %d, expected "
                                  "1 to %d",
                                  i, side, SOMA_MAX_UNITS);
        size *= side;
        if (size > SOMA_MAX_UNITS)
            return soma_error_set(err, SOMA_E_LIMIT,
                                  "input shape: more than %d values",
                                  SOMA_MAX_UNITS);
    }
    input->size = (int)size;
    input->channels = input->rank == 2 ? 1 : input->shape[0];
    if (!(isfinite(input->low) && isfinite(input->high) &&
          input->low < input->high))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "input range: expected two finite numbers, the "
                              "lower first, got %g and %g",
                              (double)input->low, (double)input->high);
    if (input->normals != 0 && input->normals != 1 &&
        input->normals != input->channels)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "input mean and std: expected 1 or %d entries, "
                              "got %d",
                              input->channels, input->normals);
    return SOMA_OK;
}

static soma_status
finish_layer(soma_layer *layer, int i, int in, soma_error *err)
{
    if (!layer->activation)
        return soma_error_set(err, SOMA_E_ARGUMENT, "layer %d: no activation",
                              i);
    if (layer->units < 1 || layer->units > SOMA_MAX_UNITS)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "layer %d: %d units, expected 1 to %d", i,
                              layer->units, SOMA_MAX_UNITS);
    const char *parameter = layer->activation->parameter;
    bool maxout = parameter && !strcmp(parameter, "pieces");
    if (maxout ? layer->pieces < 2 : layer->pieces != 1)
        return soma_error_set(
            err, SOMA_E_ARGUMENT, "layer %d: %d pieces, expected %s", i,
            layer->pieces, maxout ? "2 or more" : "1 (not maxout)");
    if ((long)layer->units * layer->pieces > SOMA_MAX_UNITS)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "layer %d: more than %d units times pieces", i,
                              SOMA_MAX_UNITS);
    if (!isfinite(layer->slope))
        return soma_error_set(err, SOMA_E_NOT_FINITE,
                              "layer %d: the slope is not finite", i);
    if (!parameter || strcmp(parameter, "slope"))
        layer->slope = 0;
    layer->in = in;
    layer->out = layer->units * layer->pieces;
    return SOMA_OK;
}

static soma_status
finish_loss(soma_spec *spec, soma_error *err)
{
    if (!spec->loss)
        return soma_error_set(err, SOMA_E_ARGUMENT, "no loss");
    spec->outputs = spec->layers[spec->depth - 1].units;
    spec->classes = spec->loss->binary ? 2 : spec->outputs;
    if (spec->loss->binary && spec->outputs != 1)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "loss %s: the last layer must have 1 unit, "
                              "it has %d",
                              spec->loss->name, spec->outputs);
    if (!spec->loss->binary && spec->outputs < 2)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "loss %s: the last layer must have 2 or more "
                              "units, it has %d",
                              spec->loss->name, spec->outputs);
    return SOMA_OK;
}

soma_status
soma_spec_finish(soma_spec *spec, soma_error *err)
{
    soma_status status = finish_input(&spec->input, err);
    if (status)
        return status;
    if (spec->depth < 1 || spec->depth > SOMA_MAX_LAYERS)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%d layers, expected 1 to %d", spec->depth,
                              SOMA_MAX_LAYERS);
    size_t at = 0;
    int in = spec->input.size;
    for (int i = 0; i < spec->depth; i++) {
        soma_layer *layer = &spec->layers[i];
        status = finish_layer(layer, i, in, err);
        if (status)
            return status;
        layer->weights = at;
        layer->bias = at + (size_t)layer->in * (size_t)layer->out;
        at = layer->bias + (size_t)layer->out;
        if (at > SOMA_MAX_PARAMS)
            return soma_error_set(err, SOMA_E_LIMIT, "more than %zu parameters",
                                  SOMA_MAX_PARAMS);
        in = layer->units;
    }
    spec->trainable = at;
    spec->mean = at;
    spec->std = at + (size_t)spec->input.normals;
    spec->params = spec->std + (size_t)spec->input.normals;
    return finish_loss(spec, err);
}

static bool
inputs_equal(const soma_input *a, const soma_input *b)
{
    if (a->rank != b->rank || a->normals != b->normals || a->low != b->low ||
        a->high != b->high)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return true;
}

bool
soma_spec_equal(const soma_spec *a, const soma_spec *b)
{
    if (!inputs_equal(&a->input, &b->input) || a->depth != b->depth ||
        a->loss != b->loss)
        return false;
    for (int i = 0; i < a->depth; i++) {
        const soma_layer *p = &a->layers[i], *q = &b->layers[i];
        if (p->units != q->units || p->pieces != q->pieces ||
            p->activation != q->activation || p->slope != q->slope)
            return false;
    }
    return true;
}

static size_t
block_bytes(const soma_spec *spec)
{
    size_t bytes = spec->params * sizeof(float);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static soma_model *
allocate(const soma_spec *spec, soma_error *err)
{
    soma_model *model = malloc(sizeof *model);
    float *params = aligned_alloc(ALIGNMENT, block_bytes(spec));
    if (!model || !params) {
        free(model);
        free(params);
        soma_error_memory(err, "a model's parameters");
        return NULL;
    }
    model->spec = *spec;
    model->params = params;
    return model;
}

soma_model *
soma_model_create(const soma_spec *spec, soma_error *err)
{
    soma_model *model = allocate(spec, err);
    if (!model)
        return NULL;
    memset(model->params, 0, block_bytes(spec));
    for (int i = 0; i < spec->input.normals; i++)
        soma_model_std(model)[i] = 1;
    return model;
}

soma_model *
soma_model_clone(const soma_model *model, soma_error *err)
{
    soma_model *clone = allocate(&model->spec, err);
    if (clone)
        soma_model_copy(clone, model);
    return clone;
}

void
soma_model_free(soma_model *model)
{
    if (!model)
        return;
    free(model->params);
    free(model);
}

void
soma_model_copy(soma_model *to, const soma_model *from)
{
    memcpy(to->params, from->params, from->spec.params * sizeof(float));
}

static float
draw_weight(const soma_layer *layer, soma_rng *rng)
{
    float in = (float)layer->in, out = (float)layer->units;
    if (layer->activation->init == SOMA_INIT_HE)
        return soma_rng_normal(rng) * sqrtf(2 / in);
    return (2 * soma_rng_uniform(rng) - 1) * sqrtf(6 / (in + out));
}

static void
init_layer(soma_model *model, int i, soma_rng *rng)
{
    const soma_layer *layer = &model->spec.layers[i];
    float *panels = soma_model_weights(model, i);
    for (int j = 0; j < layer->out; j++) {
        int first = j / SOMA_PANEL * SOMA_PANEL;
        int width =
            layer->out - first < SOMA_PANEL ? layer->out - first : SOMA_PANEL;
        float *column =
            panels + (size_t)first * (size_t)layer->in + (size_t)(j - first);
        for (int k = 0; k < layer->in; k++)
            column[(size_t)k * (size_t)width] = draw_weight(layer, rng);
    }
    memset(soma_model_bias(model, i), 0, (size_t)layer->out * sizeof(float));
}

void
soma_model_init(soma_model *model, soma_rng *rng)
{
    for (int i = 0; i < model->spec.depth; i++)
        init_layer(model, i, rng);
}

bool
soma_model_finite(const soma_model *model)
{
    for (size_t i = 0; i < model->spec.params; i++)
        if (!isfinite(model->params[i]))
            return false;
    return true;
}
