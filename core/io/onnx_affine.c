/* Operators that are affine element by element: y = scale * x + shift. */
#include "core/io/onnx_parts.h"

#include <math.h>
#include <string.h>

static soma_status
refuse_branches(const soma_onnx_node *node, const char *does, soma_error *err)
{
    return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                            "it %s two values that both depend on the input; "
                            "soma's layers are one chain, without branches: "
                            "train a network without this one",
                            does);
}

soma_status
soma_onnx_check_float(const soma_onnx_node *node, const soma_onnx_value *data,
                      soma_error *err)
{
    if (!data->is_whole)
        return SOMA_OK;
    return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                            "it computes with integers: cast the input to "
                            "float first");
}

/* numpy's broadcasting, of c alone: the last dimensions stand below each
 * other; a dimension of 1 is repeated. */
soma_status
soma_onnx_spread(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_value *c, const soma_onnx_value *data,
                 double **values, soma_error *err)
{
    soma_status status = soma_onnx_floats(onnx, node, c, err);
    if (status)
        return status;
    int lead = c->rank - data->rank; /* dimensions of c before data's */
    bool fits = lead <= data->batched || !data->batched;
    for (int i = 0; fits && i < lead; i++)
        fits = c->dims[i] == 1;
    size_t steps[ONNX_MAX_RANK] = {0}, step = 1;
    for (int k = data->rank - 1; fits && k >= 0; k--) {
        int64_t dim = k + lead >= 0 ? c->dims[k + lead] : 1;
        fits = dim == 1 || dim == data->dims[k];
        steps[k] = dim == 1 ? 0 : step;
        step *= (size_t)dim;
    }
    if (!fits)
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "its constant of %zu values does not have the "
                                "shape of one example, which has %zu here: "
                                "export the model with a batch of any size",
                                c->size, data->size);
    *values = soma_onnx_alloc(onnx, data->size, sizeof **values, err);
    if (!*values)
        return err->status;
    int64_t at[ONNX_MAX_RANK] = {0};
    for (size_t i = 0; i < data->size; i++) {
        size_t place = 0;
        for (int k = 0; k < data->rank; k++)
            place += (size_t)at[k] * steps[k];
        (*values)[i] = (double)c->floats[place];
        for (int k = data->rank - 1; k >= 0; k--) {
            if (++at[k] < data->dims[k])
                break;
            at[k] = 0;
        }
    }
    return SOMA_OK;
}

soma_status
soma_onnx_make_affine(soma_onnx *onnx, const soma_onnx_node *node,
                      const soma_onnx_value *from, const double *scale,
                      const double *shift, soma_onnx_value **made,
                      soma_error *err)
{
    soma_status status = soma_onnx_check_float(node, from, err);
    if (status)
        return status;
    for (size_t i = 0; i < from->size; i++)
        if ((scale && !isfinite(scale[i])) || (shift && !isfinite(shift[i])))
            return soma_onnx_refuse(node, err, SOMA_E_NOT_FINITE,
                                    "it divides by zero, or by something close "
                                    "to it");
    *made = soma_onnx_derive(onnx, node, ONNX_AFFINE, from, err);
    if (!*made)
        return err->status;
    (*made)->scale = scale;
    (*made)->shift = shift;
    return SOMA_OK;
}

/* One operand is data, the other is spread to its shape. */
typedef struct pair {
    const soma_onnx_value *data;
    double *c;
    bool data_first;
} pair;

static soma_status
take_pair(soma_onnx *onnx, const soma_onnx_node *node, const char *does,
          pair *p, soma_error *err)
{
    soma_onnx_value *a = soma_onnx_arg(onnx, node, 0);
    soma_onnx_value *b = soma_onnx_arg(onnx, node, 1);
    if (!a || !b)
        return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                "an input is missing");
    if (soma_onnx_is_data(a) && soma_onnx_is_data(b))
        return refuse_branches(node, does, err);
    p->data_first = soma_onnx_is_data(a);
    p->data = p->data_first ? a : b;
    return soma_onnx_spread(onnx, node, p->data_first ? b : a, p->data, &p->c,
                            err);
}

static void
negate(double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = -values[i];
}

static const soma_onnx_value *
bare(const soma_onnx_value *value)
{
    while (value->kind == ONNX_SAME)
        value = value->from;
    return value;
}

static bool
is_relu(const soma_onnx_value *value)
{
    return value->kind == ONNX_ACTIVATED &&
           !strcmp(value->activation->name, "relu");
}

/* Whether value is -1 times from. */
static bool
is_negative(const soma_onnx_value *value, const soma_onnx_value *from)
{
    bool good = value->kind == ONNX_AFFINE && value->scale && !value->shift &&
                bare(value->from) == from;
    for (size_t i = 0; good && i < value->size; i++)
        good = value->scale[i] == -1;
    return good;
}

/* Keras writes PReLU as relu(v) + c * relu(-v), which is v for v > 0, else
 * -c * v. *found NULL: it is something else; *slopes is -c. */
static soma_status
find_prelu(soma_onnx *onnx, const soma_onnx_node *node,
           const soma_onnx_value **found, double **slopes, soma_error *err)
{
    *found = NULL;
    for (size_t i = 0; i < 2; i++) {
        const soma_onnx_value *a = bare(soma_onnx_arg(onnx, node, i));
        const soma_onnx_value *b = bare(soma_onnx_arg(onnx, node, 1 - i));
        if (!is_relu(a) || b->kind != ONNX_AFFINE || b->shift ||
            !is_relu(bare(b->from)))
            continue;
        const soma_onnx_value *v = bare(a->from);
        if (!is_negative(bare(bare(b->from)->from), v))
            continue;
        *slopes = soma_onnx_alloc(onnx, b->size, sizeof **slopes, err);
        if (!*slopes)
            return err->status;
        for (size_t k = 0; k < b->size; k++)
            (*slopes)[k] = -b->scale[k];
        *found = v;
        return SOMA_OK;
    }
    return SOMA_OK;
}

soma_status
soma_onnx_add(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    pair p = {NULL, NULL, false};
    soma_onnx_value *a = soma_onnx_arg(onnx, node, 0);
    soma_onnx_value *b = soma_onnx_arg(onnx, node, 1);
    double *slopes = NULL;
    if (a && b && soma_onnx_is_data(a) && soma_onnx_is_data(b)) {
        const soma_onnx_value *v;
        soma_status status = find_prelu(onnx, node, &v, &slopes, err);
        if (status)
            return status;
        if (v)
            return soma_onnx_slopes(onnx, node, v, slopes, made, err);
    }
    soma_status status = take_pair(onnx, node, "adds", &p, err);
    return status ? status
                  : soma_onnx_make_affine(onnx, node, p.data, NULL, p.c, made,
                                          err);
}

soma_status
soma_onnx_sub(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    pair p = {NULL, NULL, false};
    double *scale = NULL;
    soma_status status = take_pair(onnx, node, "subtracts", &p, err);
    if (status)
        return status;
    if (p.data_first) {
        negate(p.c, p.data->size);
    } else {
        scale = soma_onnx_alloc(onnx, p.data->size, sizeof *scale, err);
        if (!scale)
            return err->status;
        for (size_t i = 0; i < p.data->size; i++)
            scale[i] = -1;
    }
    return soma_onnx_make_affine(onnx, node, p.data, scale, p.c, made, err);
}

/* x * sigmoid(x), which is worth a word of its own. */
static bool
is_silu(soma_onnx *onnx, const soma_onnx_node *node)
{
    for (size_t i = 0; i < 2; i++) {
        const soma_onnx_value *a = soma_onnx_arg(onnx, node, i);
        const soma_onnx_value *b = soma_onnx_arg(onnx, node, 1 - i);
        if (a && b && a->kind == ONNX_ACTIVATED && a->from == b &&
            !strcmp(a->activation->name, "sigmoid"))
            return true;
    }
    return false;
}

soma_status
soma_onnx_mul(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    pair p = {NULL, NULL, false};
    if (is_silu(onnx, node))
        return soma_onnx_refuse_activation(node, "SiLU (swish)", err);
    soma_status status = take_pair(onnx, node, "multiplies", &p, err);
    return status ? status
                  : soma_onnx_make_affine(onnx, node, p.data, p.c, NULL, made,
                                          err);
}

soma_status
soma_onnx_div(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    pair p = {NULL, NULL, false};
    soma_status status = take_pair(onnx, node, "divides", &p, err);
    if (status)
        return status;
    if (!p.data_first)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it divides by a value that depends on the "
                                "input: train a network without, or divide "
                                "before the request");
    for (size_t i = 0; i < p.data->size; i++)
        p.c[i] = 1 / p.c[i];
    return soma_onnx_make_affine(onnx, node, p.data, p.c, NULL, made, err);
}

soma_status
soma_onnx_neg(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    double *scale = soma_onnx_alloc(onnx, from->size, sizeof *scale, err);
    if (!scale)
        return err->status;
    for (size_t i = 0; i < from->size; i++)
        scale[i] = -1;
    return soma_onnx_make_affine(onnx, node, from, scale, NULL, made, err);
}

/* y = (x - mean) / sqrt(var + epsilon) * scale + bias, for each channel, which
 * is the first dimension behind the batch. */
soma_status
soma_onnx_batch_norm(soma_onnx *onnx, const soma_onnx_node *node,
                     soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    const float *parts[4]; /* scale, bias, mean, variance */
    double epsilon = (double)soma_onnx_attr_float(node, "epsilon", 1e-5f);
    int axis = 1 - from->batched;
    if (soma_onnx_attr_int(node, "training_mode", 0))
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "the model was exported for training: export "
                                "it for inference (model.eval())");
    size_t channels = axis < from->rank ? (size_t)from->dims[axis] : 0;
    for (size_t i = 0; i < 4; i++) {
        soma_onnx_value *part = soma_onnx_arg(onnx, node, i + 1);
        soma_status status = soma_onnx_floats(onnx, node, part, err);
        if (status)
            return status;
        if (part->size != channels || channels == 0)
            return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                    "%zu constants for %zu channels",
                                    part->size, channels);
        parts[i] = part->floats;
    }
    double *scale = soma_onnx_alloc(onnx, from->size, sizeof *scale, err);
    double *shift =
        scale ? soma_onnx_alloc(onnx, from->size, sizeof *shift, err) : NULL;
    if (!shift)
        return err->status;
    size_t each = 1;
    for (int k = axis + 1; k < from->rank; k++)
        each *= (size_t)from->dims[k];
    for (size_t i = 0; i < from->size; i++) {
        size_t c = i / each % channels;
        scale[i] = (double)parts[0][c] / sqrt((double)parts[3][c] + epsilon);
        shift[i] = (double)parts[1][c] - (double)parts[2][c] * scale[i];
    }
    return soma_onnx_make_affine(onnx, node, from, scale, shift, made, err);
}

/* ai.onnx.ml.Scaler: (x - offset) * scale, each one number or one for each
 * feature. */
soma_status
soma_onnx_scaler(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    const soma_onnx_attribute *o = soma_onnx_attr(node, "offset");
    const soma_onnx_attribute *s = soma_onnx_attr(node, "scale");
    size_t offsets = o ? o->n_floats : 0, scales = s ? s->n_floats : 0;
    if ((offsets > 1 && offsets != from->size) ||
        (scales > 1 && scales != from->size))
        return soma_onnx_refuse(node, err, SOMA_E_SHAPE,
                                "%zu offsets and %zu scales for %zu features",
                                offsets, scales, from->size);
    double *scale = soma_onnx_alloc(onnx, from->size, sizeof *scale, err);
    double *shift =
        scale ? soma_onnx_alloc(onnx, from->size, sizeof *shift, err) : NULL;
    if (!shift)
        return err->status;
    for (size_t i = 0; i < from->size; i++) {
        double offset = offsets ? (double)o->floats[offsets > 1 ? i : 0] : 0;
        scale[i] = scales ? (double)s->floats[scales > 1 ? i : 0] : 1;
        shift[i] = -offset * scale[i];
    }
    /* It takes integers, too, and answers floats. */
    soma_onnx_value *data = soma_onnx_derive(onnx, node, ONNX_SAME, from, err);
    if (!data)
        return err->status;
    data->is_whole = false;
    return soma_onnx_make_affine(onnx, node, data, scale, shift, made, err);
}
