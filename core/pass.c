#include "core/pass.h"

#include "core/activation.h"
#include "core/loss.h"
#include "core/matrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one layer leaves behind for the backward pass. When only predicting,
 * a is the memory of z wherever a unit has one piece. */
typedef struct layer_scratch {
    float *z;               /* [rows x out] */
    float *a;               /* [rows x units] */
    float *mask;            /* [rows x units]: 0 or 1/(1-dropout) */
    float *kept;            /* [rows x units]: a times mask */
    float *dz;              /* [rows x out]: dL/dz */
    const float *in;        /* [rows x in]: what entered it */
    double gradient_square; /* sum of (dL/dz)^2, last gradient */
} layer_scratch;

/* The first row of the next pass, through the first layer already. */
typedef struct expected {
    const soma_model *of; /* NULL: none */
    float *x;             /* [input.size] */
    float *in;            /* [input.size], normalised */
    float *z;             /* [out] */
} expected;

struct soma_workspace {
    int max_rows;
    int rows; /* of the last pass */
    int depth;
    soma_pass_mode mode;
    float *x;  /* [rows x in], normalised */
    float *da; /* [rows x widest units or input] */
    layer_scratch *layers;
    expected expected; /* when learning */
    float *block;      /* all of the above stand in it */
};

/* Each array starts on a cache line. */
static size_t
padded(int rows, int columns)
{
    size_t floats = (size_t)rows * (size_t)columns;
    return (floats + 15) / 16 * 16;
}

/* Hands out pieces of the block; with block NULL it only counts. */
static float *
carve(float *block, size_t *used, size_t floats)
{
    float *piece = block ? block + *used : NULL;
    *used += floats;
    return piece;
}

static size_t
lay_out(soma_workspace *ws, const soma_spec *spec, float *block)
{
    size_t used = 0;
    int rows = ws->max_rows, widest_in = 1, widest_out = 1;
    bool learn = ws->mode == SOMA_PASS_LEARN;
    ws->x = carve(block, &used, padded(rows, spec->input.size));
    for (int i = 0; i < spec->depth; i++) {
        const soma_layer *layer = &spec->layers[i];
        layer_scratch *scratch = &ws->layers[i];
        scratch->z = carve(block, &used, padded(rows, layer->out));
        scratch->a = scratch->z;
        if (learn || layer->pieces > 1)
            scratch->a = carve(block, &used, padded(rows, layer->units));
        if (learn) {
            scratch->mask = carve(block, &used, padded(rows, layer->units));
            scratch->kept = carve(block, &used, padded(rows, layer->units));
            scratch->dz = carve(block, &used, padded(rows, layer->out));
        }
        widest_in = layer->in > widest_in ? layer->in : widest_in;
        widest_out = layer->out > widest_out ? layer->out : widest_out;
    }
    if (learn) {
        ws->expected.x = carve(block, &used, padded(1, spec->input.size));
        ws->expected.in = carve(block, &used, padded(1, spec->input.size));
        ws->expected.z = carve(block, &used, padded(1, spec->layers[0].out));
        int widest = widest_in > widest_out ? widest_in : widest_out;
        ws->da = carve(block, &used, padded(rows, widest));
    }
    return used;
}

soma_workspace *
soma_workspace_create(const soma_spec *spec, int max_rows, soma_pass_mode mode,
                      soma_error *err)
{
    soma_workspace *ws = calloc(1, sizeof *ws);
    if (!ws)
        goto no_memory;
    ws->max_rows = max_rows;
    ws->depth = spec->depth;
    ws->mode = mode;
    ws->layers = calloc((size_t)spec->depth, sizeof *ws->layers);
    if (!ws->layers)
        goto no_memory;
    size_t floats = lay_out(ws, spec, NULL);
    ws->block = aligned_alloc(64, floats * sizeof(float));
    if (!ws->block)
        goto no_memory;
    lay_out(ws, spec, ws->block);
    return ws;

no_memory:
    soma_workspace_free(ws);
    soma_error_memory(err, "a workspace");
    return NULL;
}

void
soma_workspace_free(soma_workspace *ws)
{
    if (!ws)
        return;
    free(ws->block);
    free(ws->layers);
    free(ws);
}

static void
normalise(const soma_model *model, int rows, const float *x, float *to)
{
    const soma_input *input = &model->spec.input;
    int channels = input->normals;
    int each = input->size / channels;
    const float *mean = soma_model_mean(model), *std = soma_model_std(model);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < channels; c++) {
            float shift = mean[c], scale = 1 / std[c];
            for (int i = 0; i < each; i++)
                *to++ = (*x++ - shift) * scale;
        }
}

static const float *
enter(const soma_model *model, soma_workspace *ws, int rows, const float *x)
{
    ws->rows = rows;
    if (model->spec.input.normals == 0)
        return x;
    normalise(model, rows, x, ws->x);
    return ws->x;
}

const float *
soma_pass_expect(const soma_model *model, soma_workspace *ws, const float *x,
                 float **z)
{
    const soma_spec *spec = &model->spec;
    expected *e = &ws->expected;
    memcpy(e->x, x, (size_t)spec->input.size * sizeof *x);
    memcpy(e->z, soma_model_bias(model, 0),
           (size_t)spec->layers[0].out * sizeof *e->z);
    e->of = model;
    *z = e->z;
    if (spec->input.normals == 0)
        return e->x;
    normalise(model, 1, x, e->in);
    return e->in;
}

void
soma_pass_forget(soma_workspace *ws)
{
    ws->expected.of = NULL;
}

static bool
is_expected(const soma_model *model, const soma_workspace *ws, const float *x)
{
    return ws->expected.of == model &&
           !memcmp(ws->expected.x, x,
                   (size_t)model->spec.input.size * sizeof *x);
}

/* The first `known` rows, at most one, were expected. */
static const float *
forward_layer(const soma_model *model, soma_workspace *ws, int i, int known,
              int rows, const float *in)
{
    const soma_layer *layer = &model->spec.layers[i];
    layer_scratch *scratch = &ws->layers[i];
    if (known)
        memcpy(scratch->z, ws->expected.z,
               (size_t)layer->out * sizeof *scratch->z);
    soma_matrix_forward(layer->in, layer->out, soma_model_weights(model, i),
                        soma_model_bias(model, i), rows - known,
                        in + known * layer->in,
                        scratch->z + known * layer->out);
    layer->activation->forward(layer, rows, scratch->z, scratch->a);
    return scratch->a;
}

const float *
soma_pass_forward(const soma_model *model, soma_workspace *ws, int rows,
                  const float *x)
{
    int known = is_expected(model, ws, x);
    const float *a = enter(model, ws, rows, x);
    for (int i = 0; i < model->spec.depth; i++) {
        ws->layers[i].in = a;
        a = forward_layer(model, ws, i, i ? 0 : known, rows, a);
    }
    return a;
}

const float *
soma_pass_scores(const soma_workspace *ws)
{
    return ws->layers[ws->depth - 1].a;
}

/* Inverted dropout (Srivastava et al. 2014): what is kept is scaled up, so
 * that predicting needs no correction. */
static const float *
drop(layer_scratch *scratch, size_t values, const soma_pass_options *options)
{
    float scale = 1 / (1 - options->dropout);
    for (size_t i = 0; i < values; i++) {
        bool dropped = soma_rng_uniform(options->rng) < options->dropout;
        scratch->mask[i] = dropped ? 0 : scale;
        scratch->kept[i] = scratch->a[i] * scratch->mask[i];
    }
    return scratch->kept;
}

static size_t
unit_values(const soma_spec *spec, int i, int rows)
{
    return (size_t)rows * (size_t)spec->layers[i].units;
}

/* Loss of each row; ws->da receives dL/dscores of the mean loss. */
static double
loss_gradient(const soma_spec *spec, soma_workspace *ws, int rows,
              const int *labels, const soma_pass_options *options)
{
    int outputs = spec->outputs;
    const float *scores = soma_pass_scores(ws);
    double sum = 0;
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)r * (size_t)outputs;
        sum += (double)spec->loss->gradient(outputs, scores + at, labels[r],
                                            options->smoothing, ws->da + at);
        if (options->hold && options->hold[r] > 0)
            for (size_t i = at; i < at + (size_t)outputs; i++)
                ws->da[i] += options->hold[r] * (scores[i] - options->held[i]);
    }
    float share = 1 / (float)rows;
    for (size_t i = 0; i < (size_t)rows * (size_t)outputs; i++)
        ws->da[i] *= share;
    return sum;
}

static double
square_sum(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sum;
}

/* ws->da holds dL/da of layer i; leaves that of layer i - 1 there. */
static void
backward_layer(const soma_model *model, soma_workspace *ws, int i, int rows,
               bool dropout)
{
    const soma_layer *layer = &model->spec.layers[i];
    layer_scratch *scratch = &ws->layers[i];
    layer->activation->backward(layer, rows, scratch->z, scratch->a, ws->da,
                                scratch->dz);
    scratch->gradient_square =
        square_sum(scratch->dz, (size_t)rows * (size_t)layer->out);
    if (i == 0)
        return;
    soma_matrix_backward_input(layer->in, layer->out,
                               soma_model_weights(model, i), rows, scratch->dz,
                               ws->da);
    if (dropout) {
        const float *mask = ws->layers[i - 1].mask;
        for (size_t k = 0; k < (size_t)rows * (size_t)layer->in; k++)
            ws->da[k] *= mask[k];
    }
}

double
soma_pass_deltas(const soma_model *model, soma_workspace *ws, int rows,
                 const float *x, const int *labels,
                 const soma_pass_options *options)
{
    static const soma_pass_options plain = {.rng = NULL};
    const soma_spec *spec = &model->spec;
    if (!options)
        options = &plain;
    bool dropout = options->dropout > 0;

    int known = is_expected(model, ws, x);
    const float *a = enter(model, ws, rows, x);
    for (int i = 0; i < spec->depth; i++) {
        ws->layers[i].in = a;
        a = forward_layer(model, ws, i, i ? 0 : known, rows, a);
        if (dropout && i + 1 < spec->depth)
            a = drop(&ws->layers[i], unit_values(spec, i, rows), options);
    }
    double sum = loss_gradient(spec, ws, rows, labels, options);
    for (int i = spec->depth - 1; i >= 0; i--)
        backward_layer(model, ws, i, rows, dropout);
    return sum;
}

double
soma_pass_gradient(const soma_model *model, soma_workspace *ws, int rows,
                   const float *x, const int *labels,
                   const soma_pass_options *options, float *grad)
{
    double sum = soma_pass_deltas(model, ws, rows, x, labels, options);
    soma_matrix_weights_product *product =
        options && options->exactly ? soma_matrix_backward_weights_exactly
                                    : soma_matrix_backward_weights;
    for (int i = 0; i < model->spec.depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        product(layer->in, layer->out, rows, ws->layers[i].in, ws->layers[i].dz,
                grad + layer->weights, grad + layer->bias);
    }
    return sum;
}

void
soma_pass_input_gradient(const soma_model *model, soma_workspace *ws,
                         int output, float factor, float *dx)
{
    const soma_spec *spec = &model->spec;
    const soma_input *input = &spec->input;
    const soma_layer *first = &spec->layers[0];
    for (int i = 0; i < ws->rows * spec->outputs; i++)
        ws->da[i] = i % spec->outputs == output ? factor : 0;
    for (int i = spec->depth - 1; i >= 0; i--)
        backward_layer(model, ws, i, ws->rows, false);
    soma_matrix_backward_input(first->in, first->out,
                               soma_model_weights(model, 0), ws->rows,
                               ws->layers[0].dz, dx);
    if (input->normals == 0)
        return;
    const float *std = soma_model_std(model);
    int each = input->size / input->normals;
    for (int i = 0; i < ws->rows * input->size; i++)
        dx[i] /= std[i % input->size / each];
}

int
soma_pass_rows(const soma_workspace *ws)
{
    return ws->rows;
}

const float *
soma_pass_activations(const soma_workspace *ws, int layer)
{
    return ws->layers[layer].a;
}

const float *
soma_pass_entered(const soma_workspace *ws, int layer)
{
    return ws->layers[layer].in;
}

const float *
soma_pass_delta(const soma_workspace *ws, int layer)
{
    return ws->layers[layer].dz;
}

static void
count_stuck(const soma_layer *layer, int rows, const float *a,
            soma_layer_health *health)
{
    size_t stuck = 0, always = 0, units = (size_t)layer->units;
    for (size_t u = 0; u < units; u++) {
        size_t times = 0;
        for (size_t r = 0; r < (size_t)rows; r++)
            times += layer->activation->is_stuck(a[r * units + u]);
        stuck += times;
        always += times == (size_t)rows;
    }
    health->stuck = (double)stuck / ((double)rows * (double)units);
    health->always_stuck = (double)always / (double)units;
}

void
soma_pass_health(const soma_model *model, const soma_workspace *ws,
                 soma_layer_health *health)
{
    for (int i = 0; i < ws->depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        health[i] = (soma_layer_health){0, 0, 0};
        if (layer->activation->is_stuck)
            count_stuck(layer, ws->rows, ws->layers[i].a, &health[i]);
        health[i].gradient_norm = sqrt(ws->layers[i].gradient_square);
    }
}
