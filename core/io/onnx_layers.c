/* From a chain of values to dense layers.
 *
 * What stands between the input (or an activation) and the next dense layer is
 * kept as "pending": y[i] = (scale * x + shift)[index[i]], and folded into
 * that layer's weights. Behind a dense layer it is folded into its rows. Where
 * there is no dense layer to take it, one with the identity as weights is put
 * in; ONNX Runtime's answer stays the same.
 */
#include "core/io/onnx_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The widest identity that is put in: 64 MiB of weights. */
enum { MAX_IDENTITY = 4096 };

typedef struct builder {
    soma_onnx *onnx;
    soma_onnx_net *net;
    int normals;           /* entries of mean and std that the input may have */
    size_t size;           /* of what comes out so far */
    double *scale, *shift; /* pending, in the arena; NULL: none */
    int *index;
    soma_onnx_layer *open; /* dense, without an activation yet */
} builder;

void
soma_onnx_net_free(soma_onnx_net *net)
{
    for (int i = 0; i < net->depth; i++) {
        free(net->layers[i].weights);
        free(net->layers[i].bias);
    }
    net->depth = 0;
}

/* ---- Pending ---- */

static soma_status
start_pending(builder *b, soma_error *err)
{
    if (b->scale)
        return SOMA_OK;
    b->scale = soma_onnx_alloc(b->onnx, b->size, sizeof *b->scale, err);
    b->shift = soma_onnx_alloc(b->onnx, b->size, sizeof *b->shift, err);
    if (!b->scale || !b->shift)
        return err->status;
    for (size_t i = 0; i < b->size; i++)
        b->scale[i] = 1;
    return SOMA_OK;
}

static void
clear_pending(builder *b)
{
    b->scale = b->shift = NULL;
    b->index = NULL;
}

static soma_status
add_affine(builder *b, const soma_onnx_value *v, soma_error *err)
{
    if (b->open) {
        size_t in = (size_t)b->open->in;
        for (size_t i = 0; i < b->size; i++) {
            double scale = v->scale ? v->scale[i] : 1;
            double shift = v->shift ? v->shift[i] : 0;
            float *row = b->open->weights + i * in;
            for (size_t k = 0; v->scale && k < in; k++)
                row[k] = (float)((double)row[k] * scale);
            b->open->bias[i] =
                (float)((double)b->open->bias[i] * scale + shift);
        }
        return SOMA_OK;
    }
    soma_status status = start_pending(b, err);
    for (size_t i = 0; i < b->size && !status; i++) {
        size_t at = b->index ? (size_t)b->index[i] : i;
        double scale = v->scale ? v->scale[i] : 1;
        b->scale[at] *= scale;
        b->shift[at] = b->shift[at] * scale + (v->shift ? v->shift[i] : 0);
    }
    return status;
}

/* `count` rows, each a multiple of one that is there: row i of the new layer
 * is scale[i] times row from[i]. */
static soma_status
remake_rows(builder *b, size_t count, const int *from, const double *scale,
            soma_error *err)
{
    soma_onnx_layer *layer = b->open;
    size_t in = (size_t)layer->in;
    if (count * in > SOMA_MAX_PARAMS)
        return soma_error_set(err, SOMA_E_LIMIT, "more than %zu parameters",
                              SOMA_MAX_PARAMS);
    float *weights = malloc(count * in * sizeof *weights);
    float *bias = malloc(count * sizeof *bias);
    if (!weights || !bias) {
        free(weights);
        free(bias);
        return soma_error_memory(err, "weights");
    }
    for (size_t i = 0; i < count; i++) {
        size_t row = from ? (size_t)from[i] : i % (size_t)layer->out;
        double factor = scale ? scale[i] : 1;
        for (size_t k = 0; k < in; k++)
            weights[i * in + k] =
                (float)((double)layer->weights[row * in + k] * factor);
        bias[i] = (float)((double)layer->bias[row] * factor);
    }
    free(layer->weights);
    free(layer->bias);
    layer->weights = weights;
    layer->bias = bias;
    layer->out = (int)count;
    return SOMA_OK;
}

static soma_status
add_permutation(builder *b, const soma_onnx_value *v, soma_error *err)
{
    if (b->open)
        return remake_rows(b, b->size, v->index, NULL, err);
    int *index = soma_onnx_alloc(b->onnx, b->size, sizeof *index, err);
    if (!index)
        return err->status;
    for (size_t i = 0; i < b->size; i++)
        index[i] = b->index ? b->index[v->index[i]] : v->index[i];
    b->index = index;
    return SOMA_OK;
}

/* ---- Dense layers ---- */

static soma_status
open_layer(builder *b, const soma_onnx_node *node, size_t out, soma_error *err)
{
    soma_onnx_net *net = b->net;
    if (net->depth == SOMA_MAX_LAYERS)
        return soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                                "more than %d dense layers: train a network of "
                                "fewer",
                                SOMA_MAX_LAYERS);
    if (b->open && !b->open->activation)
        soma_activation_find("identity", &b->open->activation, NULL);
    if (out < 1 || b->size < 1 || out > SOMA_MAX_UNITS ||
        out * b->size > SOMA_MAX_PARAMS)
        return soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                                "more than %zu parameters", SOMA_MAX_PARAMS);
    soma_onnx_layer *layer = &net->layers[net->depth++];
    *layer =
        (soma_onnx_layer){.in = (int)b->size, .out = (int)out, .pieces = 1};
    layer->weights = calloc(out * b->size, sizeof *layer->weights);
    layer->bias = calloc(out, sizeof *layer->bias);
    if (!layer->weights || !layer->bias)
        return soma_error_memory(err, "weights");
    b->open = layer;
    return SOMA_OK;
}

/* The same scale and shift for all values of a channel, and a scale above 0:
 * then the model's mean and std can be it. */
static bool
is_normalisation(const builder *b)
{
    if (b->net->depth || b->index || !b->normals || !b->scale)
        return false;
    size_t each = b->size / (size_t)b->normals;
    for (size_t i = 0; i < b->size; i++) {
        size_t first = i / each * each;
        double std = 1 / b->scale[i], mean = -b->shift[i] / b->scale[i];
        if (!(b->scale[i] > 0) || b->scale[i] != b->scale[first] ||
            b->shift[i] != b->shift[first] || !((float)std > 0) ||
            !((float)std < HUGE_VALF) || !(fabs(mean) < 1e30))
            return false;
    }
    return true;
}

/* Puts the rows of one dense value, scaled, below `row` of the open layer.
 * scale, shift [v->size] may be NULL; `pending` is what enters. */
static void
fill_rows(const builder *b, const builder *pending, const soma_onnx_value *v,
          size_t row, const double *scale, const double *shift)
{
    soma_onnx_layer *layer = b->open;
    size_t in = (size_t)layer->in;
    const float *from = v->weights->floats;
    for (size_t j = 0; j < v->size; j++) {
        double factor = scale ? scale[j] : 1;
        double bias = v->shift ? v->shift[j] : 0;
        float *to = layer->weights + (row + j) * in;
        for (size_t i = 0; i < in; i++) {
            size_t at = pending->index ? (size_t)pending->index[i] : i;
            double w =
                v->alpha *
                (double)from[v->out_first ? j * in + i : i * v->size + j];
            if (pending->shift)
                bias += w * pending->shift[at];
            if (pending->scale)
                w *= pending->scale[at];
            to[at] = (float)(w * factor);
        }
        layer->bias[row + j] = (float)(bias * factor + (shift ? shift[j] : 0));
    }
}

/* What is pending before the first layer becomes mean and std if it can. */
static void
take_normalisation(builder *b)
{
    if (!is_normalisation(b))
        return;
    size_t each = b->size / (size_t)b->normals;
    for (int c = 0; c < b->normals; c++) {
        b->scale[c] = b->scale[(size_t)c * each];
        b->shift[c] = b->shift[(size_t)c * each];
    }
    b->net->scale = b->scale;
    b->net->shift = b->shift;
    clear_pending(b);
}

static soma_status
add_dense(builder *b, const soma_onnx_value *v, soma_error *err)
{
    take_normalisation(b);
    builder pending = *b;
    soma_status status = open_layer(b, v->node, v->size, err);
    if (status)
        return status;
    fill_rows(b, &pending, v, 0, NULL, NULL);
    b->size = v->size;
    clear_pending(b);
    return SOMA_OK;
}

/* A layer that only passes on what is pending. */
static soma_status
add_identity(builder *b, const soma_onnx_node *node, soma_error *err)
{
    if (b->size > MAX_IDENTITY)
        return soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                                "no dense layer stands before it, and %zu "
                                "values are too many to put one in: at most %d",
                                b->size, MAX_IDENTITY);
    take_normalisation(b);
    builder pending = *b;
    soma_status status = open_layer(b, node, b->size, err);
    for (size_t i = 0; i < b->size && !status; i++) {
        size_t at = pending.index ? (size_t)pending.index[i] : i;
        b->open->weights[i * b->size + at] =
            pending.scale ? (float)pending.scale[at] : 1;
        b->open->bias[i] = pending.shift ? (float)pending.shift[at] : 0;
    }
    clear_pending(b);
    return status;
}

/* scale and shift of all that stands between a piece and its dense layer. */
static soma_status
compose(builder *b, const soma_onnx_value *part, const soma_onnx_value **dense,
        double **scale, double **shift, soma_error *err)
{
    size_t size = part->size;
    *scale = soma_onnx_alloc(b->onnx, size, sizeof **scale, err);
    *shift = soma_onnx_alloc(b->onnx, size, sizeof **shift, err);
    if (!*scale || !*shift)
        return err->status;
    for (size_t i = 0; i < size; i++)
        (*scale)[i] = 1;
    for (; part->kind != ONNX_DENSE; part = part->from)
        for (size_t i = 0; part->kind == ONNX_AFFINE && i < size; i++) {
            (*shift)[i] += part->shift ? (*scale)[i] * part->shift[i] : 0;
            (*scale)[i] *= part->scale ? part->scale[i] : 1;
        }
    *dense = part;
    return SOMA_OK;
}

static soma_status
add_stack(builder *b, const soma_onnx_value *v, soma_error *err)
{
    take_normalisation(b);
    builder pending = *b;
    soma_status status = open_layer(b, v->node, v->size, err);
    for (int p = 0; p < v->pieces && !status; p++) {
        const soma_onnx_value *dense = NULL;
        double *scale, *shift;
        status = compose(b, v->parts[p], &dense, &scale, &shift, err);
        if (!status)
            fill_rows(b, &pending, dense, (size_t)p * dense->size, scale,
                      shift);
    }
    b->size = v->size;
    clear_pending(b);
    return status;
}

/* ---- Activations ---- */

static soma_status
close_layer(builder *b, const soma_activation *activation, int pieces,
            float slope)
{
    b->open->activation = activation;
    b->open->pieces = pieces;
    b->open->slope = slope;
    b->open = NULL;
    return SOMA_OK;
}

static soma_status
need_open(builder *b, const soma_onnx_value *v, soma_error *err)
{
    return b->open ? SOMA_OK : add_identity(b, v->node, err);
}

static soma_status
add_largest(builder *b, const soma_onnx_value *v, soma_error *err)
{
    const soma_activation *maxout;
    soma_status status = need_open(b, v, err);
    if (!status)
        status = soma_activation_find("maxout", &maxout, err);
    if (status)
        return status;
    b->size = v->size;
    if (v->pieces == 1) /* and goes on */
        return SOMA_OK;
    return close_layer(b, maxout, v->pieces, 0);
}

static soma_status
add_pieces(builder *b, const soma_onnx_value *v, soma_error *err)
{
    soma_status status = need_open(b, v, err);
    if (!status)
        status = remake_rows(b, v->size, NULL, v->scale, err);
    b->size = v->size;
    return status;
}

static soma_status
add(builder *b, const soma_onnx_value *v, soma_error *err)
{
    soma_status status;
    switch (v->kind) {
    case ONNX_INPUT:
        b->size = v->size;
        return SOMA_OK;
    case ONNX_SAME:
        return SOMA_OK;
    case ONNX_AFFINE:
        return add_affine(b, v, err);
    case ONNX_PERMUTED:
        return add_permutation(b, v, err);
    case ONNX_DENSE:
        return add_dense(b, v, err);
    case ONNX_STACK:
        return add_stack(b, v, err);
    case ONNX_PIECES:
        return add_pieces(b, v, err);
    case ONNX_LARGEST:
        return add_largest(b, v, err);
    case ONNX_ACTIVATED:
        status = need_open(b, v, err);
        return status ? status : close_layer(b, v->activation, 1, v->slope);
    default:
        return soma_onnx_refuse(v->node, err, SOMA_E_UNSUPPORTED,
                                "it stands within the network; soma has it "
                                "only at the end: train with an activation "
                                "that it has here, such as sigmoid");
    }
}

/* The values from the input to `last`, in order. */
static soma_status
chain_of(soma_onnx *onnx, const soma_onnx_value *last,
         const soma_onnx_value ***chain, size_t *count, soma_error *err)
{
    *count = 0;
    for (const soma_onnx_value *v = last; v; v = v->from)
        ++*count;
    *chain = soma_onnx_alloc(onnx, *count, sizeof **chain, err);
    if (!*chain)
        return err->status;
    size_t at = *count;
    for (const soma_onnx_value *v = last; v; v = v->from)
        (*chain)[--at] = v;
    return SOMA_OK;
}

soma_status
soma_onnx_layers(soma_onnx *onnx, const soma_onnx_value *scores, int normals,
                 soma_onnx_net *net, soma_error *err)
{
    builder b = {.onnx = onnx, .net = net, .normals = normals};
    const soma_onnx_value **chain;
    size_t count;
    *net = (soma_onnx_net){.depth = 0};
    soma_status status = chain_of(onnx, scores, &chain, &count, err);
    for (size_t i = 0; i < count && !status; i++)
        status = add(&b, chain[i], err);
    if (status)
        return status;
    if (net->depth == 0)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "there is no dense layer (Gemm, MatMul) between "
                              "the input and the output");
    if (!b.open && (b.scale || b.index))
        status = add_identity(&b, scores->node, err);
    if (!status && b.open && !b.open->activation)
        status = soma_activation_find("identity", &b.open->activation, err);
    return status;
}
