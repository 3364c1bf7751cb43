/* Small networks for tests: specs by name, models and rows of random numbers.
 */
#ifndef SOMA_TESTS_UNIT_NETS_H
#define SOMA_TESTS_UNIT_NETS_H

#include "core/activation.h"
#include "core/loss.h"
#include "core/matrix.h"
#include "core/model.h"
#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct nets_layer {
    int units;
    const char *activation;
    int pieces;  /* 0: 2 for maxout, else 1 */
    float slope; /* 0: 0.1 for leaky_relu */
} nets_layer;

#define NETS_LAYERS (const nets_layer[])
#define DENSE(units, activation)                                               \
    {                                                                          \
        units, activation, 0, 0                                                \
    }
#define MAXOUT(units, pieces)                                                  \
    {                                                                          \
        units, "maxout", pieces, 0                                             \
    }

/* Fails the test that calls it when the status is not SOMA_OK. */
static inline void
nets_ok(soma_status status, const soma_error *err)
{
    if (status)
        fail_msg("status %d: %s", (int)status, err->text);
}

/* cmocka's setup of a group. */
static inline int
nets_setup(void **state)
{
    (void)state;
    return soma_matrix_setup(NULL);
}

static inline void *
nets_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    assert_non_null(memory);
    return memory;
}

static inline float *
nets_floats(size_t count)
{
    return nets_alloc(count, sizeof(float));
}

static inline soma_layer
nets_make_layer(const nets_layer *from)
{
    soma_error err;
    soma_layer layer = {.units = from->units, .pieces = from->pieces};
    nets_ok(soma_activation_find(from->activation, &layer.activation, &err),
            &err);
    if (layer.pieces == 0)
        layer.pieces = strcmp(from->activation, "maxout") ? 1 : 2;
    if (!strcmp(from->activation, "leaky_relu"))
        layer.slope = from->slope > 0 ? from->slope : 0.1f;
    return layer;
}

/* A spec with a flat input from -2 to 2, before soma_spec_finish. */
static inline soma_spec
nets_unfinished(int inputs, const char *loss, int depth,
                const nets_layer *layers)
{
    soma_error err;
    soma_spec spec = {.input = {.rank = 1, .low = -2, .high = 2},
                      .depth = depth};
    spec.input.shape[0] = inputs;
    for (int i = 0; i < depth; i++)
        spec.layers[i] = nets_make_layer(&layers[i]);
    nets_ok(soma_loss_find(loss, &spec.loss, &err), &err);
    return spec;
}

static inline soma_spec
nets_spec(int inputs, const char *loss, int depth, const nets_layer *layers)
{
    soma_error err;
    soma_spec spec = nets_unfinished(inputs, loss, depth, layers);
    nets_ok(soma_spec_finish(&spec, &err), &err);
    return spec;
}

static inline float
nets_between(soma_rng *rng, float low, float high)
{
    return low + (high - low) * soma_rng_uniform(rng);
}

static inline void
nets_fill(soma_rng *rng, float low, float high, size_t count, float *values)
{
    for (size_t i = 0; i < count; i++)
        values[i] = nets_between(rng, low, high);
}

/* Every number of the block is random: biases, means and stds as well. */
static inline soma_model *
nets_model(const soma_spec *spec, uint64_t seed)
{
    soma_rng rng = soma_rng_seed(seed, 1);
    soma_model *model = soma_model_create(spec, NULL);
    assert_non_null(model);
    for (int i = 0; i < spec->depth; i++) {
        const soma_layer *layer = &spec->layers[i];
        float bound = 2 / sqrtf((float)layer->in);
        nets_fill(&rng, -bound, bound, (size_t)layer->in * (size_t)layer->out,
                  soma_model_weights(model, i));
        nets_fill(&rng, -0.5f, 0.5f, (size_t)layer->out,
                  soma_model_bias(model, i));
    }
    size_t normals = (size_t)spec->input.normals;
    nets_fill(&rng, -1, 1, normals, soma_model_mean(model));
    nets_fill(&rng, 0.5f, 2, normals, soma_model_std(model));
    return model;
}

/* Random rows in the input's range; free() them. */
static inline float *
nets_rows(const soma_spec *spec, int rows, uint64_t seed)
{
    soma_rng rng = soma_rng_seed(seed, 2);
    size_t count = (size_t)rows * (size_t)spec->input.size;
    float *x = nets_floats(count);
    nets_fill(&rng, spec->input.low, spec->input.high, count, x);
    return x;
}

static inline int *
nets_labels(const soma_spec *spec, int rows, uint64_t seed)
{
    soma_rng rng = soma_rng_seed(seed, 3);
    int *labels = nets_alloc((size_t)rows, sizeof *labels);
    for (int r = 0; r < rows; r++)
        labels[r] = (int)soma_rng_below(&rng, (uint32_t)spec->classes);
    return labels;
}

/* The trainable block with weights as rows [out x in] in place of panels,
 * everything where it was; free() it. */
static inline float *
nets_unpack(const soma_spec *spec, const float *block)
{
    float *rows = nets_floats(spec->trainable);
    memcpy(rows, block, spec->trainable * sizeof *rows);
    for (int i = 0; i < spec->depth; i++) {
        const soma_layer *layer = &spec->layers[i];
        soma_matrix_to_rows(layer->in, layer->out, block + layer->weights,
                            rows + layer->weights);
    }
    return rows;
}

static inline size_t
nets_at(int row, int columns)
{
    return (size_t)row * (size_t)columns;
}

#endif
