/* A model is a spec (what it is) and one flat block of float32 (what it has
 * learned).
 *
 * The spec is a plain value without pointers into the heap: copy it freely.
 * Kinds (activation, loss) point to the rows of their constant tables.
 *
 * Thread rule, true for every type in core: through a pointer to const a
 * value may be used by many threads at once; through a non-const pointer by
 * one at a time.
 */
#ifndef SOMA_CORE_MODEL_H
#define SOMA_CORE_MODEL_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

struct soma_activation;
struct soma_loss;
struct soma_rng;

enum {
    SOMA_MAX_RANK = 4,
    SOMA_MAX_LAYERS = 32,
    SOMA_MAX_UNITS = 1 << 20, /* of one layer, pieces included; of the input */
};

/* The most parameters of one model: 4 GiB of float32. */
#define SOMA_MAX_PARAMS ((size_t)1 << 30)

/* What a model is fed: `size` values in the given range. A value p of channel
 * c enters the first layer as (p - mean[c]) / std[c]. The channels are the
 * first dimension of a [C][H][W] or a [N] input; a [H][W] input has one. */
typedef struct soma_input {
    int rank;
    int shape[SOMA_MAX_RANK];
    float low, high; /* the range that values come in, e.g. 0 to 255 */
    int normals;     /* entries of mean and std: 0 (none), 1 or channels */
    /* Derived by soma_spec_finish: */
    int size;     /* product of shape */
    int channels; /* see above */
} soma_input;

/* A dense layer, z = W a + b, then the activation. A maxout layer has
 * `pieces` linear maps per unit: output p * units + u is piece p of unit u. */
typedef struct soma_layer {
    int units;
    int pieces;  /* 1 unless maxout */
    float slope; /* of leaky_relu */
    const struct soma_activation *activation;
    /* Derived by soma_spec_finish: */
    int in;               /* values that enter */
    int out;              /* units * pieces: values that W and b produce */
    size_t weights, bias; /* where they start in the block, in floats */
} soma_layer;

typedef struct soma_spec {
    soma_input input;
    int depth; /* number of layers, at least 1 */
    soma_layer layers[SOMA_MAX_LAYERS];
    const struct soma_loss *loss;
    /* Derived by soma_spec_finish: */
    int outputs;      /* units of the last layer: the scores */
    int classes;      /* 2 for binary losses, else outputs */
    size_t trainable; /* floats that SGD may change */
    size_t mean, std; /* where the input's constants start */
    size_t params;    /* floats in the whole block */
} soma_spec;

/* Checks every field against its bounds and against the loss, then fills the
 * derived ones. A spec that has not been through here is not one.
 * SOMA_E_ARGUMENT or SOMA_E_LIMIT, naming the field. */
soma_status soma_spec_finish(soma_spec *spec, soma_error *err);

/* Whether two specs describe the same layers, input and loss. */
bool soma_spec_equal(const soma_spec *a, const soma_spec *b);

/* Block layout, in floats, each layer in order:
 *
 *     weights  panels of matrix.h   in * out
 *     bias                          out
 *
 * then the input's mean and std, `normals` each, which no step changes.
 * The block is aligned to 64 bytes. */
typedef struct soma_model {
    soma_spec spec;
    float *params;
} soma_model;

/* A model with all weights 0, mean 0 and std 1. `spec` must be finished.
 * NULL and SOMA_E_MEMORY in *err when there is no memory. */
soma_model *soma_model_create(const soma_spec *spec, soma_error *err);
soma_model *soma_model_clone(const soma_model *model, soma_error *err);
void soma_model_free(soma_model *model); /* NULL is fine */

/* Copies the whole block; both must have equal specs. */
void soma_model_copy(soma_model *to, const soma_model *from);

/* Weights drawn for their activation, biases 0: He (N(0, 2/in), He et al.
 * 2015) for rectifiers, Glorot (U(+-sqrt(6/(in+out))), Glorot and Bengio
 * 2010) for the rest. Order of draws: layer, output, input, so the panel
 * width does not matter. */
void soma_model_init(soma_model *model, struct soma_rng *rng);

static inline float *
soma_model_weights(const soma_model *model, int layer)
{
    return model->params + model->spec.layers[layer].weights;
}

static inline float *
soma_model_bias(const soma_model *model, int layer)
{
    return model->params + model->spec.layers[layer].bias;
}

static inline float *
soma_model_mean(const soma_model *model)
{
    return model->params + model->spec.mean;
}

static inline float *
soma_model_std(const soma_model *model)
{
    return model->params + model->spec.std;
}

/* Whether every float of the block is finite. */
bool soma_model_finite(const soma_model *model);

#endif
