/* Dense layers: Gemm, MatMul, and ai.onnx.ml's LinearClassifier. */
#include "core/io/onnx_parts.h"

#include <math.h>
#include <string.h>

/* W's shape against one example's; the layer must see all of it. */
static soma_status
dense(soma_onnx *onnx, const soma_onnx_node *node, const soma_onnx_value *from,
      soma_onnx_value *weights, bool out_first, soma_onnx_value **made,
      soma_error *err)
{
    soma_status status = soma_onnx_floats(onnx, node, weights, err);
    if (!status)
        status = soma_onnx_check_float(node, from, err);
    if (status)
        return status;
    if (weights->rank != 2 || from->rank < 1)
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "weights of %d dimensions and %d of an "
                                "example, expected 2 and 1",
                                weights->rank, from->rank);
    int64_t in = weights->dims[out_first ? 1 : 0];
    int64_t out = weights->dims[out_first ? 0 : 1];
    int64_t last = from->dims[from->rank - 1];
    if (last != in)
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "weights for %lld values, it gets %lld: the "
                                "file is not in order, export it again",
                                (long long)in, (long long)last);
    if (from->size != (size_t)in)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it applies the same weights to %zu parts of "
                                "an example; soma's layers see all of it at "
                                "once: flatten before",
                                from->size / (size_t)in);
    if (out < 1 || out > SOMA_MAX_UNITS)
        return soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                                "%lld units, expected 1 to %d", (long long)out,
                                SOMA_MAX_UNITS);
    *made = soma_onnx_derive(onnx, node, ONNX_DENSE, from, err);
    if (!*made)
        return err->status;
    (*made)->dims[(*made)->rank - 1] = out;
    (*made)->size = (size_t)out;
    (*made)->weights = weights;
    (*made)->out_first = out_first;
    return SOMA_OK;
}

/* beta * C, which may be a scalar, [N], [1, N] or [1, 1]. */
static soma_status
add_bias(soma_onnx *onnx, const soma_onnx_node *node, soma_onnx_value *layer,
         soma_onnx_value *c, double beta, soma_error *err)
{
    double *shift;
    soma_status status = soma_onnx_spread(onnx, node, c, layer, &shift, err);
    if (status)
        return status;
    for (size_t i = 0; i < layer->size; i++)
        shift[i] *= beta;
    layer->shift = shift;
    return SOMA_OK;
}

/* Y = alpha A' B' + beta C, with A' the data. */
soma_status
soma_onnx_gemm(soma_onnx *onnx, const soma_onnx_node *node,
               soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    soma_onnx_value *weights = soma_onnx_arg(onnx, node, 1);
    soma_onnx_value *c = soma_onnx_arg(onnx, node, 2);
    double alpha = (double)soma_onnx_attr_float(node, "alpha", 1);
    double beta = (double)soma_onnx_attr_float(node, "beta", 1);
    if (soma_onnx_attr_int(node, "transA", 0) ||
        from->rank + from->batched != 2 || !isfinite(alpha) || !isfinite(beta))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "expected one row for each example (transA=0), "
                                "and finite alpha and beta: export the model "
                                "with the batch as first dimension");
    soma_status status =
        dense(onnx, node, from, weights,
              soma_onnx_attr_int(node, "transB", 0) != 0, made, err);
    if (status)
        return status;
    (*made)->alpha = alpha;
    return c && beta != 0 ? add_bias(onnx, node, *made, c, beta, err) : SOMA_OK;
}

soma_status
soma_onnx_matmul(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    soma_onnx_value *weights = soma_onnx_arg(onnx, node, 1);
    return dense(onnx, node, from, weights, false, made, err);
}

/* ---- ai.onnx.ml.LinearClassifier ----
 *
 * scores = x coefficients^T + intercepts, [classes, features]. Its outputs are
 * the label and the scores after post_transform. */

static bool
text_is(const soma_onnx_attribute *attribute, const char *text)
{
    size_t length = strlen(text);
    return attribute && attribute->has_s && attribute->s.len == length &&
           !memcmp(attribute->s.data, text, length);
}

/* Two rows that are each other's negative: one unit, whose sigmoid is the
 * second class's probability. */
static bool
is_mirrored(const float *rows, size_t size, const float *bias)
{
    bool good = bias[0] == -bias[1];
    for (size_t i = 0; good && i < size; i++)
        good = rows[i] == -rows[size + i];
    return good;
}

static soma_status
linear_layer(soma_onnx *onnx, const soma_onnx_node *node,
             const soma_onnx_value *from, const float *rows, const float *bias,
             size_t out, soma_onnx_value **made, soma_error *err)
{
    int64_t dims[2] = {(int64_t)out, (int64_t)from->size};
    soma_onnx_value *weights =
        soma_onnx_constant(onnx, node, 2, dims, false, err);
    double *shift = soma_onnx_alloc(onnx, out, sizeof *shift, err);
    if (!weights || !shift)
        return err->status;
    memcpy((float *)weights->floats, rows,
           weights->size * sizeof *weights->floats);
    for (size_t i = 0; i < out; i++)
        shift[i] = (double)bias[i];
    soma_status status = dense(onnx, node, from, weights, true, made, err);
    if (!status)
        (*made)->shift = shift;
    return status;
}

static soma_status
transform(soma_onnx *onnx, const soma_onnx_node *node, bool mirrored,
          soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_attribute *post = soma_onnx_attr(node, "post_transform");
    soma_onnx_kind kind = ONNX_SAME;
    soma_status status = SOMA_OK;
    if (text_is(post, "LOGISTIC"))
        status = soma_onnx_activate(onnx, node, *made, "sigmoid", 0, made, err);
    else if (text_is(post, "SOFTMAX"))
        kind = ONNX_SOFTMAX;
    else if (post && !text_is(post, "NONE"))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "its post_transform: expected NONE, LOGISTIC "
                                "or SOFTMAX");
    kind = mirrored ? ONNX_TWO : kind;
    if (status || kind == ONNX_SAME)
        return status;
    *made = soma_onnx_derive(onnx, node, kind, *made, err);
    if (*made && mirrored) {
        (*made)->size = 2;
        (*made)->dims[(*made)->rank - 1] = 2;
    }
    return *made ? SOMA_OK : err->status;
}

soma_status
soma_onnx_linear(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    const soma_onnx_attribute *c = soma_onnx_attr(node, "coefficients");
    const soma_onnx_attribute *b = soma_onnx_attr(node, "intercepts");
    size_t out = b ? b->n_floats : 0, size = from->size;
    if (!c || out < 2 || c->n_floats / out != size || c->n_floats % out)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "expected intercepts for two or more classes, "
                                "and a coefficient for each of %zu features "
                                "and each of them",
                                size);
    for (size_t i = 0; i < c->n_floats + out; i++)
        if (!isfinite(i < out ? b->floats[i] : c->floats[i - out]))
            return soma_onnx_refuse(node, err, SOMA_E_NOT_FINITE,
                                    "coefficients that are not finite");
    bool mirrored = out == 2 && is_mirrored(c->floats, size, b->floats) &&
                    text_is(soma_onnx_attr(node, "post_transform"), "LOGISTIC");
    soma_onnx_value *data = soma_onnx_derive(onnx, node, ONNX_SAME, from, err);
    soma_onnx_value *scores = NULL;
    if (!data)
        return err->status;
    data->is_whole = false;
    soma_status status =
        linear_layer(onnx, node, data, c->floats + (mirrored ? size : 0),
                     b->floats + mirrored, mirrored ? 1 : out, &scores, err);
    if (!status)
        status = transform(onnx, node, mirrored, &scores, err);
    if (!status && node->n_output > 1)
        status = soma_onnx_name(onnx, node->output[1], scores, err);
    if (status)
        return status;
    onnx->classifier = node;
    *made = soma_onnx_derive(onnx, node, ONNX_LABEL, scores, err);
    return *made ? SOMA_OK : err->status;
}
