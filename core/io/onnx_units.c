/* Activations, maxout, and the tails that exporters put behind classifiers. */
#include "core/io/onnx_parts.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

soma_status
soma_onnx_refuse_activation(const soma_onnx_node *node, const char *what,
                            soma_error *err)
{
    char known[128] = "";
    size_t used = 0;
    for (int i = 0; soma_activation_at(i); i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 i ? ", " : "", soma_activation_at(i)->name);
    return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                            "soma does not have the activation %s; there are: "
                            "%s: train the network with one of them",
                            what, known);
}

soma_status
soma_onnx_activate(soma_onnx *onnx, const soma_onnx_node *node,
                   const soma_onnx_value *from, const char *name, float slope,
                   soma_onnx_value **made, soma_error *err)
{
    soma_status status = soma_onnx_check_float(node, from, err);
    if (status)
        return status;
    *made = soma_onnx_derive(onnx, node, ONNX_ACTIVATED, from, err);
    if (!*made)
        return err->status;
    (*made)->slope = slope;
    return soma_activation_find(name, &(*made)->activation, err);
}

soma_status
soma_onnx_relu(soma_onnx *onnx, const soma_onnx_node *node,
               soma_onnx_value **made, soma_error *err)
{
    return soma_onnx_activate(onnx, node, soma_onnx_arg(onnx, node, 0), "relu",
                              0, made, err);
}

soma_status
soma_onnx_sigmoid(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    return soma_onnx_activate(onnx, node, soma_onnx_arg(onnx, node, 0),
                              "sigmoid", 0, made, err);
}

soma_status
soma_onnx_tanh(soma_onnx *onnx, const soma_onnx_node *node,
               soma_onnx_value **made, soma_error *err)
{
    return soma_onnx_activate(onnx, node, soma_onnx_arg(onnx, node, 0), "tanh",
                              0, made, err);
}

soma_status
soma_onnx_leaky(soma_onnx *onnx, const soma_onnx_node *node,
                soma_onnx_value **made, soma_error *err)
{
    return soma_onnx_activate(
        onnx, node, soma_onnx_arg(onnx, node, 0), "leaky_relu",
        soma_onnx_attr_float(node, "alpha", 0.01f), made, err);
}

soma_status
soma_onnx_unknown_units(soma_onnx *onnx, const soma_onnx_node *node,
                        soma_onnx_value **made, soma_error *err)
{
    (void)onnx, (void)made;
    return soma_onnx_refuse_activation(node, node->op_type, err);
}

/* ---- PRelu: a slope for each unit ----
 *
 * One slope for all is leaky_relu. Otherwise the unit is max(z, slope * z) if
 * its slope is at most 1: a maxout unit of two pieces. */

soma_status
soma_onnx_slopes(soma_onnx *onnx, const soma_onnx_node *node,
                 const soma_onnx_value *from, const double *slopes,
                 soma_onnx_value **made, soma_error *err)
{
    size_t size = from->size;
    bool same = true, maxout = true;
    for (size_t i = 0; i < size; i++) {
        same = same && slopes[i] == slopes[0];
        maxout = maxout && slopes[i] <= 1;
    }
    if (same)
        return soma_onnx_activate(onnx, node, from, "leaky_relu",
                                  (float)slopes[0], made, err);
    if (!maxout)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "slopes that differ, and some above 1: soma "
                                "has no such activation; train with one slope, "
                                "or none above 1");
    double *scale = soma_onnx_alloc(onnx, 2 * size, sizeof *scale, err);
    soma_onnx_value *pieces =
        scale ? soma_onnx_derive(onnx, node, ONNX_PIECES, from, err) : NULL;
    if (!pieces)
        return err->status;
    for (size_t i = 0; i < size; i++) {
        scale[i] = 1;
        scale[size + i] = slopes[i];
    }
    pieces->scale = scale;
    pieces->pieces = 2;
    *made = soma_onnx_derive(onnx, node, ONNX_LARGEST, pieces, err);
    if (!*made)
        return err->status;
    pieces->size = 2 * size;
    (*made)->pieces = 2;
    return SOMA_OK;
}

soma_status
soma_onnx_prelu(soma_onnx *onnx, const soma_onnx_node *node,
                soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    double *slopes;
    soma_status status = soma_onnx_spread(
        onnx, node, soma_onnx_arg(onnx, node, 1), from, &slopes, err);
    return status ? status
                  : soma_onnx_slopes(onnx, node, from, slopes, made, err);
}

/* ---- Clip and Max ---- */

/* A bound of Clip: an input, before opset 11 an attribute. */
static soma_status
clip_bound(soma_onnx *onnx, const soma_onnx_node *node, size_t i,
           const char *name, float *bound, soma_error *err)
{
    soma_onnx_value *value = soma_onnx_arg(onnx, node, i);
    *bound = soma_onnx_attr_float(node, name, *bound);
    if (!value)
        return SOMA_OK;
    soma_status status = soma_onnx_floats(onnx, node, value, err);
    if (!status && value->size != 1)
        return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                "a bound that is not one number");
    if (!status)
        *bound = value->floats[0];
    return status;
}

soma_status
soma_onnx_clip(soma_onnx *onnx, const soma_onnx_node *node,
               soma_onnx_value **made, soma_error *err)
{
    float low = -FLT_MAX, high = FLT_MAX;
    soma_status status = clip_bound(onnx, node, 1, "min", &low, err);
    if (!status)
        status = clip_bound(onnx, node, 2, "max", &high, err);
    if (status)
        return status;
    if (high < FLT_MAX || (low > -FLT_MAX && low != 0))
        return soma_onnx_refuse_activation(
            node,
            "that cuts off above, or elsewhere than at 0 (ReLU6, "
            "Hardtanh)",
            err);
    if (low == 0)
        return soma_onnx_relu(onnx, node, made, err);
    return soma_onnx_identity(onnx, node, made, err);
}

/* Max(x, 0) is relu; Max of dense layers over the same values is maxout. */
static soma_status
max_relu(soma_onnx *onnx, const soma_onnx_node *node,
         const soma_onnx_value *data, soma_onnx_value *c,
         soma_onnx_value **made, soma_error *err)
{
    double *values;
    soma_status status = soma_onnx_spread(onnx, node, c, data, &values, err);
    for (size_t i = 0; !status && i < data->size; i++)
        if (values[i] != 0)
            return soma_onnx_refuse_activation(
                node, "max(x, c) for a c that is not 0", err);
    return status ? status
                  : soma_onnx_activate(onnx, node, data, "relu", 0, made, err);
}

/* The dense layer that a piece is made of, NULL if it is something else. */
static const soma_onnx_value *
dense_of(const soma_onnx_value *value)
{
    while (value && (value->kind == ONNX_SAME || value->kind == ONNX_AFFINE))
        value = value->from;
    return value && value->kind == ONNX_DENSE ? value : NULL;
}

static soma_status
stack(soma_onnx *onnx, const soma_onnx_node *node, soma_onnx_value **made,
      soma_error *err)
{
    const soma_onnx_value **parts =
        soma_onnx_alloc(onnx, node->n_input, sizeof *parts, err);
    if (!parts)
        return err->status;
    const soma_onnx_value *root = NULL;
    for (size_t i = 0; i < node->n_input; i++) {
        parts[i] = soma_onnx_arg(onnx, node, i);
        const soma_onnx_value *dense = dense_of(parts[i]);
        if (!dense || (i && dense->from != root) ||
            parts[i]->size != parts[0]->size)
            return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                    "expected the largest of dense layers of "
                                    "one size over the same values (maxout)");
        root = dense->from;
    }
    soma_onnx_value *all = soma_onnx_derive(onnx, node, ONNX_STACK, root, err);
    *made = soma_onnx_derive(onnx, node, ONNX_LARGEST, parts[0], err);
    if (!all || !*made)
        return err->status;
    all->parts = parts;
    all->pieces = (*made)->pieces = (int)node->n_input;
    all->size = parts[0]->size * node->n_input;
    (*made)->from = all;
    return SOMA_OK;
}

soma_status
soma_onnx_max(soma_onnx *onnx, const soma_onnx_node *node,
              soma_onnx_value **made, soma_error *err)
{
    if (node->n_input == 1)
        return soma_onnx_identity(onnx, node, made, err);
    for (size_t i = 0; i < node->n_input; i++) {
        soma_onnx_value *value = soma_onnx_arg(onnx, node, i);
        if (!value || node->n_input > 1024)
            return soma_onnx_refuse(node, err, SOMA_E_FORMAT,
                                    "expected 1 to 1024 inputs");
        const soma_onnx_value *other = soma_onnx_arg(onnx, node, 1 - (i > 0));
        if (value->kind == ONNX_CONSTANT && node->n_input == 2 &&
            soma_onnx_is_data(other))
            return max_relu(onnx, node, other, value, made, err);
    }
    return stack(onnx, node, made, err);
}

/* Over one dimension of [.., pieces, ..]: maxout, once the pieces stand in
 * front of the units. */
soma_status
soma_onnx_reduce_max(soma_onnx *onnx, const soma_onnx_node *node,
                     soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    int axes[ONNX_MAX_RANK], count;
    soma_status status = soma_onnx_axes(
        onnx, node, 1, from->rank + from->batched, axes, &count, err);
    if (status)
        return status;
    int axis = count == 1 ? axes[0] - from->batched : -1;
    if (axis < 0 || from->is_whole)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "expected the largest along one dimension of "
                                "an example (maxout)");
    size_t pieces = (size_t)from->dims[axis], inner = 1;
    for (int k = axis + 1; k < from->rank; k++)
        inner *= (size_t)from->dims[k];
    size_t units = from->size / pieces;
    soma_onnx_value *sorted =
        soma_onnx_derive(onnx, node, ONNX_PERMUTED, from, err);
    int *index = soma_onnx_alloc(onnx, from->size, sizeof *index, err);
    *made = soma_onnx_derive(onnx, node, ONNX_LARGEST, from, err);
    if (!sorted || !index || !*made)
        return err->status;
    for (size_t i = 0; i < from->size; i++) {
        size_t piece = i / units, unit = i % units;
        index[i] =
            (int)((unit / inner * pieces + piece) * inner + unit % inner);
    }
    sorted->index = index;
    soma_onnx_value *value = *made;
    value->from = sorted;
    value->pieces = (int)pieces;
    value->size = units;
    value->dims[axis] = 1;
    if (soma_onnx_attr_int(node, "keepdims", 1))
        return SOMA_OK;
    return soma_onnx_drop_ones(node, &axis, 1, value->dims, &value->rank, err);
}

/* ---- Tails ---- */

/* Before opset 13 all from `axis` (1) on is taken together; since then just
 * the one `axis` (-1). Here it must be all of an example. */
soma_status
soma_onnx_softmax(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    bool old = onnx->opset < 13;
    int rank = from->rank + from->batched;
    int64_t axis = soma_onnx_attr_int(node, "axis", old ? 1 : -1);
    axis = (axis < 0 ? axis + rank : axis) - from->batched;
    size_t taken = 1;
    for (int k = (int)axis; axis >= 0 && k < from->rank; k++)
        taken *= (size_t)(old || k == axis ? from->dims[k] : 1);
    if (axis < 0 || taken != from->size || from->is_whole)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it is not taken over all scores of an "
                                "example");
    *made = soma_onnx_derive(onnx, node, ONNX_SOFTMAX, from, err);
    return *made ? SOMA_OK : err->status;
}

/* scikit-learn makes two columns of one probability: 1 - p, p. */
soma_status
soma_onnx_concat(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *rest = soma_onnx_arg(onnx, node, 0);
    const soma_onnx_value *p = soma_onnx_arg(onnx, node, 1);
    bool good = node->n_input == 2 && rest && p && rest->kind == ONNX_AFFINE &&
                rest->from == p && p->size == 1 && rest->scale && rest->shift &&
                rest->scale[0] == -1 && rest->shift[0] == 1;
    if (!good)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it joins values of which some depend on the "
                                "input; soma's layers are one chain, without "
                                "branches: train a network without this one");
    *made = soma_onnx_derive(onnx, node, ONNX_TWO, p, err);
    if (!*made)
        return err->status;
    (*made)->size = 2;
    (*made)->rank = 1;
    (*made)->dims[0] = 2;
    return SOMA_OK;
}

/* Which class it is: nothing that soma would have to be told. */
soma_status
soma_onnx_label(soma_onnx *onnx, const soma_onnx_node *node,
                soma_onnx_value **made, soma_error *err)
{
    *made = soma_onnx_derive(onnx, node, ONNX_LABEL,
                             soma_onnx_arg(onnx, node, 0), err);
    return *made ? SOMA_OK : err->status;
}

/* From a class's number to its label: the constant has the labels. */
soma_status
soma_onnx_extractor(soma_onnx *onnx, const soma_onnx_node *node,
                    soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_value *labels = soma_onnx_arg(onnx, node, 0);
    const soma_onnx_value *number = soma_onnx_arg(onnx, node, 1);
    if (labels->kind != ONNX_CONSTANT || !number || number->kind != ONNX_LABEL)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it chooses some of the features");
    onnx->labels = labels;
    *made = soma_onnx_derive(onnx, node, ONNX_LABEL, number->from, err);
    return *made ? SOMA_OK : err->status;
}

/* The probabilities with names; these are in its attributes. */
soma_status
soma_onnx_zip_map(soma_onnx *onnx, const soma_onnx_node *node,
                  soma_onnx_value **made, soma_error *err)
{
    onnx->classifier = node;
    return soma_onnx_identity(onnx, node, made, err);
}

/* Probabilities that are 1 in sum already stay as they are. */
soma_status
soma_onnx_normalizer(soma_onnx *onnx, const soma_onnx_node *node,
                     soma_onnx_value **made, soma_error *err)
{
    const soma_onnx_attribute *norm = soma_onnx_attr(node, "norm");
    soma_onnx_value *from = soma_onnx_arg(onnx, node, 0);
    if ((from->kind != ONNX_SOFTMAX && from->kind != ONNX_TWO) || !norm ||
        norm->s.len != 2 || memcmp(norm->s.data, "L1", 2) != 0)
        return soma_onnx_refuse(node, err, SOMA_E_UNSUPPORTED,
                                "it scales each example by itself, which no "
                                "layer of soma does");
    return soma_onnx_identity(onnx, node, made, err);
}
